from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_jupyter.errors import PrivacyError
from llmops_jupyter.privacy import KINDS, Finding, find, redact, redact_json, redactor

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA0Z3V\nAx-By=\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"

REAL = [
    ("email", "anna.berg+shop@mail.example.co.uk"),
    ("email", "jürgen@büro.example"),
    ("phone", "+49 (0)30 1234567"),
    ("phone", "+14155550132"),
    ("phone", "(212) 555-0187"),
    ("phone", "415-555-0132 ext 44"),
    ("phone", "020 7946 0958"),
    ("phone", "06 12 34 56 78"),
    ("credit_card", "4111111111111111"),
    ("credit_card", "4111 1111 1111 1111"),
    ("credit_card", "3782-822463-10005"),
    ("credit_card", "5555555555554444"),
    ("iban", "GB82WEST12345698765432"),
    ("iban", "DE89 3704 0044 0532 0130 00"),
    ("iban", "nl91abna0417164300"),
    ("ip_address", "203.0.113.9"),
    ("ip_address", "2001:db8::8a2e:370:7334"),
    ("us_ssn", "536-22-1234"),
    ("secret", "sk-proj-abcDEF0123456789abcDEF0123"),
    ("secret", "ghp_0123456789abcdefghijklmnopqrstuvwxyz"),
    ("secret", "AKIAIOSFODNN7EXAMPLE"),
    ("secret", "xoxb-123456789012-abcdefABCDEF"),
    ("secret", "AIzaSyA0123456789abcdefghijklmnopqrstuv"),
    ("secret", "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"),
    ("secret", JWT),
    ("secret", KEY),
]

NOT_PERSONAL = [
    "4111111111111112",  # Luhn
    "9111111111111111",  # no issuer
    "0000000000000000",
    "0.4111111111111111",
    "a4111111111111111f",
    "GB83WEST12345698765432",  # mod 97
    "GB82WEST1234569876543",  # a digit short
    "ZZ82WEST12345698765432",  # no country
    "256.1.1.1",
    "v1.2.3.4",
    "12:30:45",
    "std::vector<int>",
    "::1",
    "000-22-1234",
    "666-22-1234",
    "912-22-1234",
    "536-00-1234",
    "536-22-0000",
    "2024-01-31 10:11:12",
    "3.14159265358979",
    "1,234,567",
    "@decorator",
    "user@localhost",
    "sk-learn-is-a-library-for-people",
    "https://example.com:8080/path",
    "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
]


@pytest.mark.parametrize(("kind", "value"), REAL)
def test_real_identifiers_are_found_exactly_where_they_stand(kind, value):
    text = f"Here: {value}, thanks"
    assert find(text) == [Finding(kind, 6, 6 + len(value))]


@pytest.mark.parametrize("text", NOT_PERSONAL)
def test_what_fails_a_checksum_or_a_range_is_left_alone(text):
    assert find(f"Here: {text}, thanks") == []


def test_redaction_names_the_kind_and_counts_it():
    text = "a@example.org and b@example.org paid with 4111111111111111."
    clean, counts = redact(text)
    assert clean == "[EMAIL] and [EMAIL] paid with [CREDIT_CARD]."
    assert counts == {"email": 2, "credit_card": 1}


def test_only_the_kinds_asked_for_are_redacted():
    assert redact("a@example.org 203.0.113.9", ["email"])[0] == "[EMAIL] 203.0.113.9"


def test_no_part_of_a_password_in_a_url_is_left():
    clean, counts = redact("postgres://bob:p$ss!w0rd@db.example.com:5432/x")
    assert clean == "postgres://[URL_CREDENTIALS]:5432/x"
    assert counts == {"url_credentials": 1}


def test_candidates_that_overlap_become_one_finding_that_covers_both():
    text = "https://u:hf_abcdefghijklmnopqrstuvwxyzABCDEFGH@example.com/"
    assert [f.kind for f in find(text)] == ["url_credentials"]
    assert "hf_" not in redact(text)[0]


def test_a_card_number_is_found_among_other_groups_of_digits():
    clean, _ = redact("1234 4111 1111 1111 1111 and 4111 1111 1111 1111 123")
    assert clean == "1234 [CREDIT_CARD] and [CREDIT_CARD] 123"


def test_card_numbers_in_a_line_of_csv_are_each_found():
    assert redact("4111111111111111,5555555555554444")[0] == "[CREDIT_CARD],[CREDIT_CARD]"


def test_an_iban_does_not_swallow_the_word_behind_it():
    assert redact("GB82 WEST 1234 5698 7654 32 USA")[0] == "[IBAN] USA"


def test_a_sentence_may_end_with_an_address():
    assert redact("Ping 203.0.113.9. Or 2001:db8::8a2e:370:7334.")[0] == (
        "Ping [IP_ADDRESS]. Or [IP_ADDRESS]."
    )


def test_a_word_that_announces_a_phone_number_makes_any_grouping_one():
    assert redact("Phone:\n60-56-85-91")[0] == "Phone:\n[PHONE]"
    assert redact("Part 60-56-85-91")[1] == {}


def test_a_private_key_that_was_cut_off_is_still_taken_out():
    body = "MIIEpAIBAAKCAQEA0Z3VS5JJcds3xfn"
    clean, _ = redact(f"-----BEGIN PRIVATE KEY-----\n{body}\n{body}")
    assert clean == "[SECRET]"


def test_an_unknown_kind_is_refused_with_a_suggestion():
    with pytest.raises(PrivacyError, match="Did you mean 'email'"):
        find("x", ["emial"])
    with pytest.raises(PrivacyError, match="Did you mean 'credit_card'"):
        redactor("email,creditcard")


@pytest.mark.parametrize("rule", [None, "", "  ", ","])
def test_an_empty_rule_is_off(rule):
    assert redactor(rule) is None


def test_rules_by_name():
    text = "a@example.org 203.0.113.9"
    assert redactor("pii")(text) == "[EMAIL] [IP_ADDRESS]"
    assert redactor(" ip_address , ")(text) == "a@example.org [IP_ADDRESS]"


def test_a_function_that_raises_lets_nothing_by():
    def broken(text):
        raise KeyError(text)

    with pytest.raises(PrivacyError, match="'broken' raised KeyError"):
        redactor(broken)("anna")


@pytest.mark.parametrize("result", [None, 3, b"x"])
def test_a_function_that_returns_no_text_lets_nothing_by(result):
    with pytest.raises(PrivacyError, match="It must return the text"):
        redactor(lambda _: result)("anna")


def test_a_rule_that_is_no_rule_is_refused():
    with pytest.raises(PrivacyError, match="not int"):
        redactor(3)


def test_json_is_redacted_in_values_keys_and_long_numbers():
    value = {
        "a@example.org": {"to": ["b@example.org", 4111111111111111, 7, 0.5, None, True]},
        "b@example.org": ("x",),
    }
    assert redact_json(value, redactor("pii")) == {
        "[EMAIL]": {"to": ["[EMAIL]", "[CREDIT_CARD]", 7, 0.5, None, True]},
        "[EMAIL] 2": ["x"],
    }


def test_objects_and_bytes_get_by_only_as_redacted_text():
    class Letter:
        def __str__(self):
            return "to a@example.org"

    class Model:
        def model_dump(self, mode):
            return {"to": "a@example.org", "mode": mode}

    assert redact_json([Letter(), b"a@example.org", Model()], redactor("pii")) == [
        "to [EMAIL]",
        "[EMAIL]",
        {"to": "[EMAIL]", "mode": "json"},
    ]


def test_a_value_that_refers_to_itself_is_refused():
    value = []
    value.append(value)
    with pytest.raises(PrivacyError, match="refers to itself"):
        redact_json(value, redactor("pii"))


def test_every_kind_has_an_example_here():
    assert {kind for kind, _ in REAL} | {"url_credentials"} == set(KINDS)


HOSTILE = ["1 ", "4111 ", "a@a.", "@a.", "eyJ", "sk-", "://a:", "-----BEGIN PRIVATE KEY-----"]
HOSTILE += ["GB82 ", "GB82WEST", "a:", "::", "1.", "tel ..", "+1 ", "0 ", "-a", "é@é.", "a"]


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_megabyte_of_hostile_text_is_searched_to_its_end(piece):
    text = (piece * (1_000_000 // len(piece))) + "\n a@example.org"
    assert Finding("email", len(text) - 13, len(text)) in find(text)


@given(st.text(alphabet="aZ09@.:/-+ ()_\n[]é", max_size=200))
def test_findings_lie_in_order_inside_the_text(text):
    found = find(text)
    ends = [0, *(f.end for f in found)]
    assert all(end <= f.start < f.end <= len(text) for end, f in zip(ends, found, strict=False))
    assert sum(redact(text)[1].values()) == len(found)
