"""Preparing a data set: what stays, what goes and by which rule, and the versions and the report of it."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_jupyter.cli.program import run
from llmops_jupyter.data.preparing import RULES, Masked
from llmops_jupyter.errors import (
    DataError,
    MissingDependencyError,
    ModelError,
    OptionError,
    UnknownNameError,
)

PARCEL = (
    "The parcel left our warehouse on Monday and should reach you before the weekend. If it has not come by then, "
    "write to us again with your order number, and we will ask the carrier where it is and tell you at once."
)
VOUCHER = (
    "Vouchers do not expire, whoever bought them. Type the code that is printed beneath the picture, and what is "
    "left of its value stays there for another time; two of them may be used for one purchase in our shop."
)


def said(question, answer, **columns):
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages, **columns}


GOOD = [
    {"id": "parcel", **said("Where is my parcel?", PARCEL)},
    {"id": "voucher", **said("Does my voucher expire?", VOUCHER)},
    {"id": "hours", **said("When are you open on Saturdays?", "From eight until noon.")},
]
BAD = {
    "unreadable": {"messages": "Hi"},
    "roles": {"messages": [{"role": "assistant", "content": "Hello."}]},
    "empty": said("Are you there?", " \u200b \n"),
    "repetition": said("Say something.", "I can help you with that today. " * 12),
    "leaked": said(f"Repeat this: {PARCEL} Thank you.", PARCEL),
    "exact": said("where is my PARCEL", PARCEL.upper()),
    "near": said("Where is my parcel, please?", PARCEL.replace("Monday", "Sunday")),
    "contaminated": said("What does the repair of a zip cost?", "Nine euros."),
}
TEST = [said("What does the repair of a zip cost?", "Ten.")]


def prepared(ws, rows, source="d", **options):
    ws.data.add(source, rows)
    return ws.data.prepare(source, **options)


def ids(dataset):
    return [row_id for row_id, _ in dataset.items()]


@pytest.mark.parametrize("rule", BAD)
def test_a_row_goes_by_the_rule_that_it_breaks_and_is_kept_with_it(ws, rule):
    found = prepared(ws, [*GOOD, {"id": "bad", **BAD[rule]}], against=TEST)
    assert found.counts == {rule: 1}
    assert list(found.dataset.items()) == [(row["id"], row) for row in GOOD]
    ((row_id, row),) = found.dropped.items()
    assert row_id == "bad"
    assert row["_rule"] == rule
    assert row["_detail"]
    assert bool(row["_like"]) == (rule in ("exact", "near", "contaminated"))
    assert found.examples[rule][0]["row"] == "bad"
    assert rule in str(found)


def test_all_rows_are_in_one_of_the_two_versions(ws):
    bad = [{"id": rule, **row} for rule, row in BAD.items()]
    found = prepared(ws, [*GOOD, *bad], against=TEST)
    assert found.rows == len(GOOD) + len(bad)
    assert sorted(ids(found.dataset) + ids(found.dropped)) == sorted(r["id"] for r in GOOD + bad)
    assert {row["_rule"] for row in found.dropped.rows()} == set(BAD)
    assert sum(found.counts.values()) == len(found.dropped)
    assert "3 of 11 rows stayed; 8 went" in found.sentence()


def test_the_same_rows_and_options_give_the_same_versions(ws):
    rows = [*GOOD, {"id": "x", **BAD["near"]}]
    first = prepared(ws, rows)
    again = ws.data.prepare("d")
    assert (again.dataset.ref, again.dropped.ref) == ("d.clean@1", "d.clean.dropped@1")
    assert again == first
    other = ws.data.prepare("d", keep=["near"])
    assert other.dataset.ref == "d.clean@2"
    assert other.dropped is None
    assert other.flagged == {"near": 1}
    assert len(other.dataset) == 4


def test_a_report_is_kept_with_its_version(ws):
    found = prepared(ws, [*GOOD, {"id": "x", **BAD["roles"]}], source="tickets", pii="redact")
    assert ws.data.preparation("tickets.clean@1") == found
    assert found.source == "tickets@1"
    assert found.recipe == {"pii": "redact"}
    assert found.dataset.source == "tickets@1"
    assert "pii redact" in found.dataset.note
    with pytest.raises(UnknownNameError, match="was not made by %data prepare"):
        ws.data.preparation("tickets")


def test_reports_of_two_recipes_with_the_same_rows_both_stay(ws):
    prepared(ws, GOOD)
    ws.data.prepare("d", near=0.95)
    assert ws.data.preparation("d.clean").recipe == {"near": 0.95}
    assert ws.store.row("SELECT count(*) FROM preparations")[0] == 2
    assert ws.data.prepare("d").recipe == {}
    assert ws.data.preparation("d.clean").recipe == {}
    assert ws.store.row("SELECT count(*) FROM preparations")[0] == 2


def test_a_cleaned_row_shows_what_was_repaired_and_keeps_its_id(ws):
    found = prepared(ws, [*GOOD, {"id": "odd", **said("What\u200b is  it?", "A kettle.  \n")}])
    assert found.changed_rows == 1
    assert found.changes == {"invisible characters": 1, "spaces": 1}
    assert found.changed[0]["row"] == "odd"
    assert "\\u200b" in found.changed[0]["before"]
    assert dict(found.dataset.items())["odd"]["messages"][0]["content"] == "What is  it?"
    untouched = ws.data.prepare("d", clean=False)
    assert untouched.changed_rows == 0
    assert "\u200b" in dict(untouched.dataset.items())["odd"]["messages"][0]["content"]


def test_personal_data_is_counted_redacted_or_goes(ws):
    rows = [*GOOD, {"id": "pii", **said("Write to me.", "I wrote to ann@example.com just now.")}]
    found = prepared(ws, rows)
    assert found.pii == {"email": 1}
    assert any("--pii redact" in said for said in found.warnings())
    assert "ann@example.com" not in json.dumps(found.as_dict())
    redacted = ws.data.prepare("d", pii="redact")
    assert (
        dict(redacted.dataset.items())["pii"]["messages"][1]["content"]
        == "I wrote to [EMAIL] just now."
    )
    assert ws.data.prepare("d", pii="drop").counts == {"pii": 1}


def test_presidio_is_asked_for_by_name(ws, monkeypatch):
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "llmops-jupyter\[presidio\]"'):
        prepared(ws, GOOD, pii="presidio")
    assert [d.name for d in ws.data.list()] == ["d"]


def test_what_presidio_finds_is_taken_out_too(ws, monkeypatch):
    from types import SimpleNamespace

    class AnalyzerEngine:
        def analyze(self, text, language, score_threshold):
            start = text.find("Ann Lee")
            return (
                [SimpleNamespace(start=start, end=start + 7, entity_type="PERSON")]
                if start >= 0
                else []
            )

    fake = SimpleNamespace(AnalyzerEngine=AnalyzerEngine)
    monkeypatch.setitem(sys.modules, "presidio_analyzer", fake)
    rows = [*GOOD, {"id": "x", **said("Who is it?", "Ann Lee, at ann@example.com.")}]
    found = prepared(ws, rows, pii="presidio")
    assert dict(found.dataset.items())["x"]["messages"][1]["content"] == "[PERSON], at [EMAIL]."
    assert found.pii == {"email": 1, "person": 1}


def test_other_languages_go_when_one_is_asked_for(ws):
    pytest.importorskip("py3langid", reason="needs py3langid")
    german = said(
        "Wo ist mein Paket?",
        "Das Paket hat unser Lager am Montag verlassen und kommt noch vor dem Wochenende.",
    )
    found = prepared(ws, [*GOOD, {"id": "de", **german}])
    assert found.languages["de"] == 1
    assert not found.counts
    assert ws.data.prepare("d", language="en").counts == {"language": 1}
    assert not ws.data.prepare("d", language="en, de").counts
    with pytest.raises(OptionError, match="no code of a language"):
        ws.data.prepare("d", language="english")


def test_what_is_not_installed_is_said_and_only_needed_when_asked_for(ws, monkeypatch):
    for name in ("ftfy", "py3langid"):
        monkeypatch.setitem(sys.modules, name, None)
    found = prepared(ws, GOOD)
    assert sum('"llmops-jupyter[finetune]"' in note for note in found.notes) == 2
    with pytest.raises(MissingDependencyError, match="py3langid"):
        ws.data.prepare("d", language="en")


class Words:
    """A template that takes no system message, and a tokenizer of words."""

    context_length = 60

    def masked(self, example):
        if example.messages[0].role == "system":
            raise ModelError("this template knows no system message")
        pieces = tuple((f"<{m.role}> {m.content}", m.role == "assistant") for m in example.messages)
        counts = [len(text.split()) for text, _ in pieces]
        learned = sum(n for n, (_, learns) in zip(counts, pieces, strict=True) if learns)
        return Masked(pieces, sum(counts), learned)


def test_rows_are_checked_by_the_template_and_the_mask_is_shown(ws):
    system = {"messages": [{"role": "system", "content": "Be brief."}, *GOOD[0]["messages"]]}
    long = said("Tell me a story.", " ".join(f"word{n}" for n in range(70)))
    found = prepared(ws, [*GOOD, {"id": "s", **system}, {"id": "l", **long}], masker=Words())
    assert found.counts == {"template": 1, "too long": 1}
    details = {row["_rule"]: row["_detail"] for row in found.dropped.rows()}
    assert details["template"] == "this template knows no system message"
    assert details["too long"] == "76 tokens; the context has 60"
    assert found.previews[0]["learned"] == len(PARCEL.split()) + 1
    assert f"⟦<assistant> {PARCEL}⟧" in str(found)
    assert found.balance["histogram"]["unit"] == "tokens"
    assert not any("Chat template" in note for note in found.notes)
    assert any("Chat template" in note for note in ws.data.prepare("d").notes)


def test_a_system_message_is_written_into_conversations(ws):
    found = prepared(ws, GOOD, system="Be brief.")
    first = next(found.dataset.rows())["messages"]
    assert first[0] == {"role": "system", "content": "Be brief."}
    assert len(first) == 3


def test_contamination_names_the_row_of_the_evaluation_set(ws):
    ws.data.add(
        "held", [{"id": "q7", "question": "What does the repair of a zip cost?", "answer": "Ten."}]
    )
    rows = [*GOOD, {"id": "bad", **BAD["contaminated"]}]
    found = prepared(ws, rows, against="held")
    assert found.contamination[0]["evaluation row"] == "held@1:q7"
    assert found.contamination[0]["how"] == "exact"
    assert next(found.dropped.rows())["_like"] == "held@1:q7"
    assert found.recipe == {"against": ["held@1"]}
    two = ws.data.prepare("d", against=["held", [{"text": PARCEL}]])
    assert two.counts == {"contaminated": 2}


def test_an_evaluation_set_with_columns_of_other_names_is_read_by_them(ws):
    orders = [f"please send the {n} boxes of tea number {n} again" for n in range(12)]
    rows = [{"message": text, "order": f"order {n} of the day"} for n, text in enumerate(orders)]
    looked = [
        {"message": text, "order": f"another answer, {n}"} for n, text in enumerate(orders[:6])
    ]
    found = prepared(ws, rows, prompt="message", answer="order", against=looked)
    assert found.counts == {"contaminated": 6}
    ours = [{"question": row["message"], "answer": row["order"]} for row in looked]
    again = ws.data.prepare("d", prompt="message", answer="order", against=ours)
    assert again.counts == {"contaminated": 6}


@pytest.mark.parametrize("against", ["d", "d@1", GOOD])
def test_an_evaluation_set_that_is_the_data_set_is_refused(ws, against):
    with pytest.raises(OptionError, match="all of them would go"):
        prepared(ws, GOOD, against=against)


def test_questions_with_several_answers_are_told_and_stay(ws):
    rows = [*GOOD, {"id": "other", **said("When are you open on Saturdays?", "We are closed.")}]
    found = prepared(ws, rows)
    assert not found.counts
    assert found.conflicts[0]["rows"] == "hours, other"
    assert any("1 question with several answers" in said for said in found.warnings())


def test_an_answer_that_many_questions_share_is_told(ws):
    rows = [
        said(f"Can you do {thing}?", "I am sorry, I cannot help with that.") for thing in "abcdef"
    ]
    found = prepared(ws, [*GOOD, *({"id": str(n), **row} for n, row in enumerate(rows))])
    assert found.same_answers == [{"answer": "I am sorry, I cannot help with that.", "rows": 6}]


def test_where_quoting_is_the_task_it_is_no_leak(ws):
    rows = [
        {
            "question": f"Quote the first sentence. {n} {PARCEL} {n}",
            "answer": f"{n} {PARCEL.partition('.')[0]}",
        }
        for n in range(12)
    ]
    found = prepared(ws, rows, keep=["near"])
    assert "leaked" not in found.counts
    assert found.flagged["leaked"] == 12
    assert any("the task itself" in note for note in found.notes)


LABELS = [
    {"id": str(n), "text": f"ticket {n * 7919 % 1000} of {place}", "label": label}
    for n, (label, place) in enumerate(
        [("refund", "Oslo")] * 30 + [("size", "Rome")] * 6 + [("lost", "Lyon")] * 4
    )
]


def test_uneven_labels_come_with_what_evens_them_out_and_a_cap_does(ws):
    found = prepared(ws, LABELS, prompt="text", answer="label")
    assert found.balance["labels"]["label"] == {"refund": 30, "size": 6, "lost": 4}
    (advice,) = (said for said in found.balance["advice"] if said.startswith("label"))
    assert "30 of 40 rows are 'refund'; 50 more of the others" in advice
    assert "--cap label=6" in advice
    capped = ws.data.prepare("d", prompt="text", answer="label", cap={"label": 6})
    assert capped.counts == {"cap": 24}
    assert capped.balance["labels"]["label"] == {"refund": 6, "size": 6, "lost": 4}
    again = prepared(ws, LABELS[::-1], prompt="text", answer="label", cap={"label": 6})
    assert sorted(ids(again.dataset)) == sorted(ids(capped.dataset))


def test_a_cap_on_answers_and_a_cap_on_nothing(ws):
    rows = [said(f"Is {n} odd?", "Yes." if n % 2 else "No.") for n in range(12)]
    assert prepared(ws, rows, cap={"answer": 2}).counts == {"cap": 8}
    with pytest.raises(OptionError, match="no column 'lable' to cap"):
        prepared(ws, LABELS, prompt="text", answer="label", cap={"lable": 2})


def test_the_picture_shows_rules_labels_and_lengths(ws):
    found = prepared(ws, LABELS, prompt="text", answer="label", cap={"label": 6})
    titles = [axes.get_title(loc="left") for axes in found.chart().figure().axes]
    assert titles[0] == "rows by rule"
    assert "rows by label" in titles
    assert titles[-1] == "length of the rows that stayed, in words"
    assert found.chart()._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("rows", "options", "says"),
    [
        ([{"a": 1, "b": 2}], {}, "none of the known forms"),
        ([{"messages": None}], {}, "None of the 1 rows would stay"),
        ([{"text": ""}, {"text": None}], {}, "2 by|1 by"),
        (GOOD, {"prompt": "nosuch"}, "no column 'nosuch'"),
        (GOOD, {"format": "text"}, "none of the known forms"),
        (GOOD, {"against": [{"n": 1}]}, "no text to compare"),
        (GOOD, {"against": "nosuch"}, "no data set 'nosuch'"),
        (GOOD, {"name": "Bad Name"}, "cannot be the name"),
    ],
)
def test_what_cannot_be_prepared_is_said_and_nothing_is_written(ws, rows, options, says):
    with pytest.raises((DataError, OptionError, UnknownNameError), match=says):
        prepared(ws, rows, **options)
    assert [d.name for d in ws.data.list()] == ["d"]
    assert ws.store.row("SELECT count(*) FROM preparations")[0] == 0


def test_one_row_all_equal_rows_and_very_long_rows_are_prepared(ws):
    assert len(prepared(ws, GOOD[:1], source="one").dataset) == 1
    same = prepared(ws, [said("Why not?", "Because.")] * 30, source="same")
    assert len(same.dataset) == 1
    assert same.counts == {"exact": 29}
    words = [" ".join(f"w{n * k % 9973}" for n in range(10_000)) for k in (3, 5, 7)]
    assert (
        len(prepared(ws, [{"text": text} for text in words], source="long", quality=False).dataset)
        == 3
    )


def test_rows_without_a_name_need_one(ws):
    with pytest.raises(OptionError, match="--name"):
        ws.data.prepare(GOOD)
    assert ws.data.prepare(GOOD, "mine").dataset.ref == "mine@1"


def test_an_interrupt_leaves_nothing(ws):
    ws.data.add("d", GOOD)

    def stop(text):
        if text == "balance":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ws.data.prepare("d", progress=stop)
    assert [d.name for d in ws.data.list()] == ["d"]


VALUES = (
    st.none()
    | st.text(max_size=8)
    | st.integers()
    | st.booleans()
    | st.lists(st.text(max_size=3), max_size=2)
)
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant", "system", "x"]) | VALUES,
        "content": VALUES,
    },
)


@given(
    st.lists(
        st.fixed_dictionaries({"messages": VALUES | st.lists(MESSAGE, max_size=4)}),
        min_size=1,
        max_size=4,
    )
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_the_rows_hold_each_goes_or_stays(ws, rows):
    found = ws.data.prepare(ws.data.add("any", [*rows, said("Why?", "Because.")]))
    gone = len(found.dropped) if found.dropped is not None else 0
    assert len(found.dataset) + gone == len(rows) + 1
    assert set(found.counts) <= set(RULES)


def test_the_command_line_prepares_and_shows_again(ws, tmp_path, capsys):
    path = tmp_path / "Tickets 1.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*GOOD, {"id": "x", **BAD["near"]}]))
    assert run(["data", "prepare", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "tickets-1.clean@1: 3 of 4 rows stayed; 1 went (1 near)" in shown
    assert "near" in shown
    assert run(["data", "prepare", "tickets-1.clean", "--show", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["counts"] == {"near": 1}
    assert report["dropped"] == "tickets-1.clean.dropped@1"
    assert run(["data", "prepare", "tickets-1.clen"]) == 1
    assert "Did you mean 'tickets-1.clean'?" in capsys.readouterr().err


def test_the_magic_takes_variables_and_gives_the_result(ws):
    from shells import Notebook

    notebook = Notebook(ws)
    notebook.names.update(rows=[*GOOD, {"id": "x", **BAD["exact"]}], held=TEST)
    try:
        notebook.run("%data prepare rows --against held --keep exact --name mine -o made")
        made = notebook.names["made"]
        assert (made.dataset.ref, made.flagged) == ("mine@1", {"exact": 1})
        with pytest.raises(OptionError, match="COLUMN=N"):
            notebook.run("%data prepare rows --cap label")
        with pytest.raises(OptionError, match="Did you mean '--against'"):
            notebook.run("%data prepare rows --agianst held")
    finally:
        notebook.close()
