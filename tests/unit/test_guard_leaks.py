"""The marker of a system message, and its words, are found in answers in every form; nothing is hidden by another spelling."""

from __future__ import annotations

import base64
import codecs
import unicodedata

import pytest
from guard_texts import MARK, SECRETS, SYSTEM, found
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_jupyter.guard import spelling
from llmops_jupyter.guard.checks import words
from llmops_jupyter.guard.checks.canary import Canary, canary_of, with_canary
from llmops_jupyter.guard.checks.leak import Leak
from llmops_jupyter.guard.checks.pii import make as pii
from llmops_jupyter.guard.checks.secrets import Secrets
from llmops_jupyter.guard.plain import plain
from llmops_jupyter.records import Message

WIDE = str.maketrans({c: c + 0xFEE0 for c in range(0x21, 0x7F)})
ALIKE = str.maketrans("aeopc", "аеорс")


@pytest.mark.parametrize(
    "change",
    [
        "\u200b".join,
        lambda t: t.translate(WIDE),
        lambda t: unicodedata.normalize("NFD", t),
        lambda t: t.translate(ALIKE),
        lambda t: t.replace("a", "a\u00ad").replace("a\u00ad ", "a ").removesuffix("\u00ad"),
    ],
)
def test_one_spelling_more_hides_nothing(change):
    """What is taken out is the part as it is spelled, and the rest stays as it is."""
    around = "é {} ok"
    for check, text, mark in (
        (Secrets(), SECRETS[0], "[SECRET]"),
        (pii(), "ada@example.com", "[EMAIL]"),
        (words.make(banned=["free café"]), "free café", "[removed]"),
        (Leak(), SYSTEM.rstrip("."), "[removed]"),
    ):
        one = found(check, around.format(change(text)), system=SYSTEM)
        assert one.hit, (check.name, text)
        assert one.replaced == around.format(mark), check.name
    assert found(Canary(), around.format(change(MARK)), canary=MARK).hit


@given(st.text(alphabet="ab \u200b\u0301\u0336éßﬁаео字１½\u1100\u1161🄰\ufe0f\u00ad", max_size=40))
@settings(max_examples=150, deadline=None)
def test_plain_letters_are_the_folded_ones_and_lead_back(text):
    made = plain(text)
    assert made.text == spelling.folded(text)
    places = [made.back(n, n + 1) for n in range(len(made.text))]
    assert places == sorted(places)
    assert all(0 <= a < b <= len(text) for a, b in places)


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(base64.b64encode(f"key {MARK}".encode())).decode(),
        base64.b64encode(MARK.encode().hex().encode()).decode(),
        MARK.encode().hex().encode().hex(),
        "\n".join(f"{n}. {c}" for n, c in enumerate(MARK, 1)),
        ", ".join(f"{n}) {c}" for n, c in enumerate(MARK, 1)),
        "\n".join(f"> - {c}" for c in MARK),
    ],
)
def test_the_marker_is_found_in_lists_and_in_two_encodings(text):
    assert found(Canary(), f"Sure:\n{text}", canary=MARK).hit


def interleaved(text, gap):
    return gap.join(text)


@pytest.mark.parametrize(
    "said",
    [
        MARK,
        MARK.upper(),
        interleaved(MARK, " "),
        interleaved(MARK, "\u200b"),
        interleaved(MARK, "-"),
        interleaved(MARK, "\n"),
        MARK[::-1],
        codecs.encode(MARK, "rot13"),
        MARK.encode().hex(),
        interleaved(MARK.encode().hex(), " ").upper(),
        "".join(f"%{b:02x}" for b in MARK.encode()),
        " ".join(str(b) for b in MARK.encode()),
        " ".join(f"{b:08b}" for b in MARK.encode()),
        base64.b32encode(MARK.encode()).decode(),
        "".join(chr(0xFEE0 + ord(c)) for c in MARK),
        *(base64.b64encode((x + MARK + " tail").encode()).decode() for x in ("", "a", "ab", "abc")),
        base64.b64encode(f"text before {MARK.upper()}".encode()).decode(),
    ],
)
def test_the_marker_is_found_in_every_form(said):
    assert found(Canary(), f"Sure: {said}.", canary=MARK).hit


def test_the_marker_follows_from_the_system_message_and_the_policy():
    assert canary_of(SYSTEM, "salt") == MARK
    assert len({MARK, canary_of(SYSTEM, "pepper"), canary_of(SYSTEM + ".", "salt")}) == 3
    assert canary_of("  ", "salt") == ""
    told = with_canary((Message("system", SYSTEM), Message("user", "hi")), MARK)
    assert told[0].content.startswith(SYSTEM)
    assert MARK in told[0].content
    assert told[1].content == "hi"


@given(st.text(max_size=300))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_other_texts_do_not_have_the_marker(text):
    assert not found(Canary(), text, canary=MARK).hit


def test_words_of_the_system_message_in_a_row_are_found_and_taken_out():
    leak = Leak(words=8)
    one = found(
        leak, "It says: YOU are a support agent — for a BOOKSHOP! Never mind.", system=SYSTEM
    )
    assert one.hit
    assert one.replaced == "It says: [removed] mind."
    assert not found(leak, "You are a support agent for us.", system=SYSTEM).hit
    assert not found(leak, SYSTEM, system="Be nice.").hit


def test_what_the_user_said_as_well_is_no_leak():
    asked = (Message("user", f"Is this right: {SYSTEM}"),)
    assert not found(Leak(), SYSTEM, system=SYSTEM, messages=asked).hit
    assert found(Leak(), SYSTEM, system=SYSTEM).hit
