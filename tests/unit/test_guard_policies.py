"""Policies: read with the place of each fault, kept by content, compared, exported, calibrated."""

from __future__ import annotations

import itertools
import random

import pytest
from engine_fakes import plug
from guard_fakes import ATTACK

import llmops_jupyter as lo
from llmops_jupyter.errors import (
    DataError,
    GuardError,
    LLMOpsError,
    OptionError,
    UnknownNameError,
)
from llmops_jupyter.guard.calibration import (
    exact_interval,
    needed,
    share_to_come,
    threshold_for,
)
from llmops_jupyter.guard.check import Finding
from llmops_jupyter.guard.kept import ours, read_folder
from llmops_jupyter.guard.policy import MESSAGE, Policy, read_policy
from llmops_jupyter.guard.texts import distinct_texts

TEXT = """# of the shop
name: support
message: "No."
input:
  - check: injection
    rate: 0.05
    action: deny
  - check: secrets
output:
  - check: links
    allow: [example.org]
    action: modify
  - canary
"""


def test_a_policy_is_read_with_what_it_leaves_out():
    policy, text = read_policy(TEXT)
    assert text == TEXT
    assert (policy.name, policy.mode, policy.message) == ("support", "enforce", "No.")
    assert [(r.check, r.place, r.action) for r in policy.rules] == [
        ("injection", "input", "deny"),
        ("secrets", "input", "modify"),
        ("links", "output", "modify"),
        ("canary", "output", "deny"),
    ]
    assert policy.at("input")[0].rate == 0.05
    assert policy.at("output")[0].options == {"allow": ["example.org"]}
    assert read_policy({"output": ["canary"]})[0].message == MESSAGE
    again, _ = read_policy(policy.text())
    assert again == policy
    assert again.digest == policy.digest


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "inptu:\n  - check: secrets\n",
            "line 1: a policy has no key 'inptu'. Did you mean 'input'",
        ),
        (
            "input:\n  - check: secretz\n",
            "line 2: there is no check 'secretz'. Did you mean 'secrets'",
        ),
        (
            "input:\n  - check: secrets\n    acton: deny\n",
            "line 3: .* no option 'acton'. Did you mean 'action'",
        ),
        (
            "input:\n  - check: secrets\n    action: dney\n",
            "line 3: action is one of .* Did you mean 'deny'",
        ),
        ("input:\n  - check: secrets\n\n    threshold: 0.5\n", "line 4: .* has no score"),
        (
            "input:\n  - check: injection\n    threshold: 1.5\n",
            "line 3: threshold is a number above 0",
        ),
        ("input:\n  - check: injection\n    threshold: .nan\n", "line 3: threshold is a number"),
        ("input:\n  - check: injection\n    rate: yes\n", "line 3: rate is a number"),
        ("input:\n  - check: injection\n    rate: 1\n", "line 3: rate is a share"),
        ("input:\n  - check: canary\n", "line 2: the check canary is for output, not for input"),
        ("output:\n  - check: canary\n    action: modify\n", "line 3: .* cannot take out"),
        (
            "output:\n  - check: links\n    allow: example.org\n",
            "line 3: allow .* is a list of texts",
        ),
        ("output:\n  - check: leak\n    words: 2\n", "line 3: words .* whole number from 5"),
        ("output:\n  - check: length\n", "line 2: The check length has no bound"),
        ("output:\n  - check: words\n    banned: ['*']\n", "line 2: '\\*' is no phrase"),
        ("output:\n  - check: pii\n    kinds: [emial]\n", "line 2: .* Did you mean 'email'"),
        ("output:\n  - check: secrets\n  - action: deny\n", "line 3: a rule names a check"),
        ("output: secrets\nname: x\n", "line 1: output is a list of checks"),
        (
            "mode: enforced\ninput: [secrets]\n",
            "line 1: mode is one of enforce, observe.* Did you mean 'enforce'",
        ),
        ("message: 3\ninput: [secrets]\n", "line 1: message is a text"),
        ("message: ' '\ninput: [secrets]\n", "line 1: message is a text"),
        ("on_error: explode\ninput: [secrets]\n", "line 1: on_error is one of"),
        (
            "input: [secrets]\ninput: [pii]\n",
            "line 2: input is there a second time .first in line 1",
        ),
        ("name: x\n", "no checks"),
        ("- secrets\n- pii\n", "is no policy"),
        ("\n\n", "is no policy"),
        ("input: [secrets\n\n", "line 3 is no YAML"),
        ("input:\n  - check: !!python/object:os.system x\n", "is no YAML"),
        ("output:\n  - check: schema\n    schema: &s {a: {}}\nnote: *s\n", "a second time"),
        ("input:\n - check: {a: b}\n", "a rule names a check"),
        ("a: &a [*a]\ninput: [secrets]\n", "a second time"),
    ],
)
def test_a_fault_is_named_with_its_line_and_what_may_be_meant(text, says):
    with pytest.raises(GuardError, match=says):
        read_policy(text)


def test_a_fault_of_a_mapping_is_named_with_its_key(tmp_path):
    with pytest.raises(GuardError, match=r"the policy, input\.2\.action: action is one of"):
        read_policy({"input": ["secrets", {"check": "pii", "action": 3}]})
    with pytest.raises(GuardError, match="cannot be read: No such file"):
        read_policy(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GuardError, match="no text in UTF-8"):
        read_policy(tmp_path / "binary.yaml")
    with pytest.raises(GuardError, match="not int"):
        read_policy(3)
    deep = "input: " + "[" * 3000 + "]" * 3000 + "\n"
    with pytest.raises(GuardError):
        read_policy(deep)


def test_any_key_with_a_typo_is_refused():
    lines = TEXT.splitlines(keepends=True)
    chance = random.Random(1)
    for number, line in enumerate(lines):
        key = line.strip(" -").partition(":")[0]
        if ":" not in line or line.startswith("#"):
            continue
        place = chance.randrange(1, len(key))
        wrong = line.replace(key, key[:place] + key[place + 1 :] + "x", 1)
        broken = "".join([*lines[:number], wrong, *lines[number + 1 :]])
        with pytest.raises(GuardError):
            read_policy(broken)


def test_a_policy_that_decides_the_same_is_the_version_that_is_there(ws):
    one = ws.guard.add("support", TEXT)
    assert (one.ref, one.created, one.text) == ("support@1", True, TEXT)
    same = ws.guard.add("support", TEXT.replace("# of the shop", "# another comment"))
    assert (same.ref, same.created) == ("support@1", False)
    two = ws.guard.add("support", TEXT.replace("0.05", "0.02"), note="stricter")
    assert (two.ref, two.note) == ("support@2", "stricter")
    assert ws.guard.get("support").ref == "support@2"
    assert ws.guard.add("support", TEXT).ref == "support@1"
    assert "-    rate: 0.05" in str(ws.guard.diff("support"))
    assert [v.version for v in ws.guard.history("support")] == [2, 1]
    with pytest.raises(OptionError, match="first version"):
        ws.guard.diff("support@1")


def test_a_name_and_a_file_are_checked_before_anything_is_kept(ws, tmp_path):
    with pytest.raises(OptionError, match="cannot be the name"):
        ws.guard.add("My Policy", TEXT)
    with pytest.raises(OptionError, match="no policy holds"):
        ws.guard.add("none", TEXT)
    with pytest.raises(GuardError, match=r"bad.yaml line 1"):
        (tmp_path / "bad.yaml").write_text("inpt: [secrets]\n")
        ws.guard.add("bad", tmp_path / "bad.yaml")
    assert ws.store.row("SELECT count(*) FROM policies")[0] == 0
    (tmp_path / "one.yaml").write_text("{input: [secrets]}")
    assert ws.guard.add("one", tmp_path / "one.yaml").policy.rules[0].check == "secrets"
    assert ws.guard.get("one").text == "{input: [secrets]}\n"


def test_aliases_point_at_versions_and_are_logged(ws):
    ws.guard.add("support", TEXT)
    ws.guard.add("support", TEXT.replace("0.05", "0.02"))
    ws.guard.alias("support@1", "production", "steady")
    assert ws.guard.get("support@production").ref == "support@1"
    assert ws.guard.get("support@1").aliases == ("production",)
    assert [c.note for c in ws.guard.alias_log("support")] == ["steady"]
    ws.guard.unalias("support@production")
    with pytest.raises(UnknownNameError, match="no alias 'production'"):
        ws.guard.get("support@production")
    with pytest.raises(UnknownNameError, match="Did you mean 'support'"):
        ws.guard.get("suport")
    with pytest.raises(UnknownNameError, match="no version 7"):
        ws.guard.get("support@7")


def test_the_policies_that_come_along_are_version_0_and_yours_go_before(ws):
    assert {"standard", "basic", "watch"} <= set(ours())
    assert ws.guard.get("basic").ref == "basic@0"
    assert ws.guard.add("basic", TEXT).ref == "basic@1"
    assert ws.guard.get("basic").ref == "basic@1"
    assert ws.guard.get("basic@0").policy == ours()["basic"][0]
    assert {v.name for v in ws.guard.list()} >= {"standard", "basic", "watch"}
    for name, (policy, text) in ours().items():
        assert policy.name == name
        assert policy.note
        assert text.startswith("#")


def test_policies_travel_as_text_and_merge_by_content(ws, tmp_path):
    ws.guard.add("support", TEXT)
    ws.guard.add("support", TEXT.replace("0.05", "0.02"))
    ws.guard.alias("support@1", "production")
    ws.guard.alias("standard@0", "mine")
    written = ws.export(tmp_path / "out")
    assert tmp_path / "out" / "policies" / "support" / "0001.yaml" in written
    assert (tmp_path / "out/policies/support/0001.yaml").read_text() == TEXT
    with lo.open(tmp_path / "b.db") as other:
        other.guard.add("support", "input: [pii]\n\n")
        assert other.import_(tmp_path / "out")["policies"] == 2
        assert other.guard.get("support@production").ref == "support@2"
        assert other.guard.get("support@2").text == TEXT
        assert other.import_(tmp_path / "out")["policies"] == 0


def test_an_exported_policy_with_a_fault_leaves_nothing(ws, tmp_path):
    ws.guard.add("support", TEXT)
    ws.prompts.save("p", "hi")
    ws.export(tmp_path / "out")
    folder = tmp_path / "out" / "policies" / "support"
    (folder / "0002.yaml").write_text("input:\n  - check: secretz\n")
    with lo.open(tmp_path / "b.db") as other:
        with pytest.raises(GuardError, match=r"0002.yaml line 2"):
            other.import_(tmp_path / "out")
        assert other.prompts.list() == []
    (folder / "0002.yaml").unlink()
    (folder / "aliases.json").write_text('{"production": 9}')
    with pytest.raises(GuardError, match="names version 9"):
        read_folder(tmp_path / "out" / "policies")
    (folder / "aliases.json").write_text("[]")
    with pytest.raises(GuardError, match="cannot be read"):
        read_folder(tmp_path / "out" / "policies")


def test_a_check_of_yours_can_be_named(ws, monkeypatch):
    from llmops_jupyter.guard import named

    monkeypatch.setattr(named, "_known", dict(named._known))
    ws.guard.register("shouting", lambda text: text.isupper(), summary="capitals")
    ws.guard.add("loud", "input:\n  - check: shouting\n    action: deny\n")
    assert not ws.guard.check("STOP", "loud").allowed
    assert ws.guard.check("stop", "loud").allowed
    ws.guard.register("scored", lambda text: len(text) / 10)
    ws.guard.add("long", "input:\n  - check: scored\n    threshold: 0.4\n    action: warn\n")
    assert ws.guard.check("abcd", "long").decision == "warn"
    assert ws.guard.check("abc", "long").decision == "allow"
    ws.guard.register("own", lambda text: Finding(None, True, "yes", replaced="left"))
    ws.guard.add("cut", "input:\n  - check: own\n    action: modify\n")
    assert ws.guard.check("x", "cut").text == "left"
    ws.guard.register("wrong", lambda text: "yes")
    ws.guard.add("odd", "input:\n  - check: wrong\n    action: deny\n")
    assert "returned str" in ws.guard.check("x", "odd").verdicts[0].reason
    with pytest.raises(GuardError, match="one of our checks"):
        ws.guard.register("secrets", lambda text: True)
    with pytest.raises(OptionError, match="place is one of"):
        ws.guard.register("place", lambda text: True, places=("inside",))
    with pytest.raises(OptionError, match="cannot be the name"):
        ws.guard.register("My Check", lambda text: True)
    monkeypatch.setattr(named, "_known", {e.name: e for e in named._ENTRIES})
    assert "no check 'shouting'" in next(v for v in ws.guard.list() if v.name == "loud").policy.note
    with pytest.raises(GuardError, match="no check 'shouting'"):
        ws.guard.get("loud")


# Calibration


@pytest.mark.parametrize(("rate", "n"), list(itertools.product((0.01, 0.05, 0.1, 0.3), (0, 1, 7))))
def test_no_more_than_the_wanted_share_is_at_or_above_the_threshold(rate, n):
    chance = random.Random(f"{rate}{n}")
    scores = [chance.random() for _ in range(needed(rate) + n * 50)]
    threshold = threshold_for(scores, rate)
    assert sum(s >= threshold for s in scores) <= rate * (len(scores) + 1)
    # The next lower score would be above it: no stricter than needed.
    hits = sum(s >= sorted(scores)[-1 - sum(s >= threshold for s in scores)] for s in scores)
    assert hits > rate * (len(scores) + 1) - 1


def test_texts_to_come_keep_to_the_rate_over_calibrations():
    chance = random.Random(7)
    hits = total = 0
    for _ in range(400):
        threshold = threshold_for([chance.random() for _ in range(99)], 0.05)
        hits += sum(chance.random() >= threshold for _ in range(50))
        total += 50
    low, high = exact_interval(hits, total)
    assert low <= 0.05 <= high or hits / total < 0.05


def test_too_few_texts_are_refused_with_how_many_are_needed():
    assert [needed(r) for r in (0.01, 0.05, 0.5, 0.3)] == [99, 19, 1, 3]
    with pytest.raises(GuardError, match="takes 99 harmless texts or more, and there are 98"):
        threshold_for([0.1] * 98, 0.01)
    assert threshold_for([0.1] * 99, 0.01) == pytest.approx(0.100001)
    with pytest.raises(GuardError, match="highest score there is"):
        threshold_for([1.0] * 99, 0.01)


def test_the_share_to_come_is_that_of_the_beta_distribution():
    low, high = share_to_come(99, 0.01)
    assert low == pytest.approx(0.000256, abs=1e-5)
    assert high == pytest.approx(0.0366, abs=1e-4)
    assert exact_interval(0, 50)[0] == 0.0
    assert exact_interval(50, 50)[1] == 1.0


BENIGN = [" ".join(["word"] * n) for n in range(1, 41)]
SCORED = "input:\n  - check: injection\n    action: deny\n  - check: secrets\n"


def test_calibration_makes_a_version_with_thresholds(ws, fitted):
    ws.guard.add("support", SCORED)
    made = ws.guard.calibrate("support", BENIGN, 0.1)
    assert made.policy.ref == "support@2"
    assert "calibrated from support@1 on 40 input texts" in made.policy.note
    (check,) = made.checks
    rule = made.policy.policy.at("input")[0]
    assert rule.threshold == check.threshold == pytest.approx(0.370001)
    assert rule.rate == 0.1
    assert (check.n, check.found, check.before, check.before_found) == (40, 3, 0.5, 0)
    assert check.interval[0] < 0.1 < check.interval[1]
    assert made.whole["input"][0] == 3
    assert "3 of 40" in str(made)
    assert "any of the policy" in made._repr_mimebundle_()["text/html"]
    assert ws.guard.check(BENIGN[-1], "support").decision == "deny"
    assert ws.guard.check(BENIGN[20], "support").decision == "allow"


def test_calibration_reads_data_sets_traces_and_places(ws, fitted):
    ws.guard.add(
        "support", SCORED.replace("deny", "deny\n    rate: 0.2") + "context: [injection]\n"
    )
    ws.data.add("benign", [{"id": i, "question": t} for i, t in enumerate(BENIGN)])
    made = ws.guard.calibrate("support", "benign")
    assert made.checks[0].rate == 0.2
    assert made.policy.note.endswith("of benign")
    assert made.notes == (
        "injection at context keeps its threshold: there are no harmless texts for it",
    )
    both = ws.guard.calibrate("support@1", {"input": BENIGN, "context": BENIGN}, 0.1)
    assert [c.place for c in both.checks] == ["input", "context"]
    for text in BENIGN[:20]:
        with ws.tracer.span("t", messages=(lo.Message("user", text),)) as span:
            span.output("answer")
    assert ws.guard.calibrate("support@1", {"since": "1h"}, 0.1).checks[0].n == 20


def test_calibration_counts_each_text_once(ws, fitted):
    ws.guard.add("support", SCORED)
    made = ws.guard.calibrate("support", [*BENIGN, *BENIGN[:7], "", "  "], 0.1)
    assert made.n == {"input": 40}
    assert made.checks[0].n == 40
    assert made.notes == ("of the input texts were left out: 2 empty, 7 copies",)
    assert made.whole["input"][1] == exact_interval(3, 40)
    with pytest.raises(GuardError, match=r"there are 1\..*199 copies"):
        ws.guard.calibrate("support", ["hello"] * 200, 0.1)
    with pytest.raises(DataError, match="all empty"):
        ws.guard.calibrate("support", [""] * 200, 0.1)
    assert [v.version for v in ws.guard.history("support")] == [2, 1]


@pytest.mark.parametrize(
    ("texts", "notes"),
    [
        (
            [f"{ATTACK} {n}" for n in range(40)],
            ["found something in 40 of these 40 texts until now"],
        ),
        ([str(n) for n in range(40)], []),
    ],
)
def test_calibration_doubts_texts_that_were_found_before(ws, fitted, texts, notes):
    ws.guard.add("support", SCORED)
    made = ws.guard.calibrate("support", texts, 0.1)
    assert len(made.notes) == len(notes)
    for said, note in zip(made.notes, notes, strict=True):
        assert note in said
        assert said in str(made)


@pytest.mark.parametrize(
    ("low", "high", "note"),
    [
        (0.9992, 0.9994, "as good as switched off"),
        (0.0001, 0.0003, "since they are all alike"),
    ],
)
def test_calibration_doubts_thresholds_that_say_nothing(ws, low, high, note):
    chance = random.Random(1)
    ws.guard.register("mine", lambda text: chance.uniform(low, high))
    ws.guard.add("own", "input:\n  - check: mine\n    action: deny\n")
    made = ws.guard.calibrate("own", BENIGN, 0.1)
    assert any(note in said for said in made.notes)


def test_calibration_takes_of_traces_what_is_new_in_each_turn_and_as_it_was_said(
    ws,
    fitted,
):
    plug(ws)
    ws.guard.add("support", SCORED)
    ws.guard.add("out", "output:\n  - check: words\n    banned: [nine]\n    action: modify\n")
    content = ws.prompts.scratch("user: {{ q }}", examples=[{"input": "an example", "output": "x"}])
    for n in range(12):
        ws.prompts.run(content, {"q": f"turn {n}"}, session="s")
    ws.prompts.run(content, {"q": "key AKIAABCDEFGHIJKLMNOP"}, guard="support")
    ws.prompts.run(content, {"q": ATTACK}, guard="support")
    ws.prompts.run(content, {"q": "ninth and nine"}, guard="out")
    texts = distinct_texts({"since": "1h"}, "input", ws.data, ws.traces)
    assert sorted(texts.by_place["input"]) == sorted(
        [f"turn {n}" for n in range(12)] + ["ninth and nine"]
    )
    assert "No." not in str(texts.by_place["output"])
    assert len(texts.by_place["output"]) == 13
    assert texts.notes == (
        "of the traces were left out what a policy has changed: 2",
        "of the traces were left out what a policy has denied: 1",
    )


def test_calibration_refuses_what_cannot_be_used(ws, fitted):
    ws.guard.add("support", SCORED)
    with pytest.raises(GuardError, match=r"injection at input: A rate of 0.01 takes 99"):
        ws.guard.calibrate("support", BENIGN)
    with pytest.raises(OptionError, match="checks with a score are for input"):
        ws.guard.calibrate("support", BENIGN, 0.1, place="output")
    with pytest.raises(OptionError, match="no check with a score"):
        ws.guard.calibrate("basic", BENIGN, 0.1)
    with pytest.raises(OptionError, match="rate is a share"):
        ws.guard.calibrate("support", BENIGN, 1.5)
    with pytest.raises(OptionError, match="place is one of"):
        ws.guard.calibrate("support", BENIGN, 0.1, place="inside")
    with pytest.raises(GuardError, match="there are 2"):
        ws.guard.calibrate("support", [lo.Completion("a"), lo.Completion("b")], 0.1)
    for wrong in ([], [3], 4, [{"a": "x", "b": "y"}], b"x"):
        with pytest.raises(DataError):
            ws.guard.calibrate("support", wrong, 0.1)
    with pytest.raises(DataError, match="No traces match"):
        ws.guard.calibrate("support", {"prompt": "none"}, 0.1)
    ws.guard.add("broken", "input: [toxicity]\n\n")
    with pytest.raises(GuardError, match="gives no score for text 1"):
        ws.guard.calibrate("broken", BENIGN, 0.1)
    assert [v.version for v in ws.guard.history("support")] == [1]


def test_a_policy_that_needs_an_embedding_model_says_so(ws, monkeypatch):
    monkeypatch.setattr(ws.guard, "_embed", lambda: None)
    ws.guard.add("topic", {"input": [{"check": "off-topic", "examples": ["a b", "c d", "e f"]}]})
    with pytest.raises(GuardError, match="needs an embedding model"):
        ws.guard.check("x", "topic")


def test_a_policy_is_a_value():
    assert isinstance(read_policy(TEXT)[0], Policy)
    assert read_policy(SCORED)[0] == read_policy(SCORED)[0] != read_policy(TEXT)[0]
    assert issubclass(GuardError, LLMOpsError)
