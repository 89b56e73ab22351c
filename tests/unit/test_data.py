"""Data sets: versions by content, ids that stay, clear faults."""

from __future__ import annotations

import datetime
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_jupyter.data.values import canonical
from llmops_jupyter.errors import DataError, UnknownNameError

ROWS = [{"id": "a", "q": "one"}, {"id": "b", "q": "two"}]


def test_equal_rows_are_the_same_version(ws):
    first = ws.data.add("d", ROWS)
    assert ws.data.add("d", [dict(reversed(list(r.items()))) for r in ROWS]).ref == first.ref
    assert ws.data.add("d", ROWS[::-1]).ref == "d@2"
    assert list(ws.data.get("d@1").items()) == [("a", ROWS[0]), ("b", ROWS[1])]


def test_ids_made_from_content_stay_when_rows_come_and_go(ws):
    ws.data.add("d", ["x", "y", "x"])
    ws.data.add("d", ["new", "y"])
    first, second = dict(ws.data.get("d@1").items()), dict(ws.data.get("d@2").items())
    assert [r["text"] for r in first.values()] == ["x", "y", "x"]
    assert {i for i, r in first.items() if r["text"] == "y"} <= set(second)


def test_files_and_frames_give_the_same_rows(ws, tmp_path):
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    frame = pandas.DataFrame({"n": [1, 2], "t": ["é", "b,c"]})
    frame.to_csv(tmp_path / "f.csv", index=False)
    frame.to_parquet(tmp_path / "f.parquet")
    frame.to_json(tmp_path / "f.jsonl", orient="records", lines=True)
    expected = [{"n": 1, "t": "é"}, {"n": 2, "t": "b,c"}]
    assert list(ws.data.add("d", frame).rows()) == expected
    assert ws.data.add("d", tmp_path / "f.parquet").ref == "d@1"
    assert ws.data.add("d", str(tmp_path / "f.jsonl")).ref == "d@1"
    assert list(ws.data.add("c", tmp_path / "f.csv").rows())[1] == {"n": "2", "t": "b,c"}
    assert ws.data.get("d").to_pandas().n.tolist() == [1, 2]


def test_values_become_json_and_nothing_is_guessed(ws):
    day = datetime.date(2026, 1, 2)
    made = ws.data.add("d", [{"x": math.nan, "d": day, "l": (1, [2])}])
    assert next(made.rows()) == {"x": None, "d": "2026-01-02", "l": [1, [2]]}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"x,x\n1,2\n", "two columns 'x'"),
        ("a.csv", b"x,y\n1\n", "line 2 has 1 cells"),
        ("a.csv", b"", "empty"),
        ("a.csv", b"x\n\xff\xfe\n", "not UTF-8 at byte"),
        ("a.jsonl", b'{"a": 1}\n{oops}\n', "line 2 is not JSON"),
        ("a.json", b'{"a": 1}', "no list"),
        ("a.parquet", b"nonsense", "no readable Parquet"),
        ("a.xlsx", b"x", "none of"),
    ],
)
def test_broken_files_name_the_place_and_leave_nothing(ws, tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says):
        ws.data.add("d", tmp_path / name)
    assert ws.data.list() == []
    assert ws.store.rows("SELECT count(*) FROM dataset_rows")[0][0] == 0


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"id": 1}, {"id": 1}], "Rows 1 and 2 have the same id"),
        ([{"id": 1}, {"x": 1, "id": None}], "no 'id'"),
        ([{"x": b"raw"}], "bytes"),
        ([{"x": math.inf}], "infinite"),
        ([{"x": "\ud800"}], "not valid Unicode"),
        ([{"x": object()}], "cannot be kept"),
        ([3], "mapping"),
        ([], "no rows"),
    ],
)
def test_rows_that_cannot_be_kept_say_why(ws, rows, says):
    with pytest.raises(DataError, match=says):
        ws.data.add("d", rows)
    assert ws.data.list() == []


def test_a_difference_is_by_row_id(ws):
    ws.data.add("d", [*ROWS, {"id": "c", "q": "three"}])
    ws.data.add("d", [{"id": "a", "q": "ONE"}, ROWS[1], {"id": "x", "q": "new"}])
    difference = ws.data.diff("d@1", "d@2")
    assert list(difference.added) == ["x"]
    assert list(difference.removed) == ["c"]
    assert [(c.row_id, c.columns) for c in difference.changed] == [("a", ("q",))]
    assert "1 added, 1 removed, 1 changed, 1 unchanged" in str(difference)


def test_a_row_keeps_its_part_when_rows_are_added(ws):
    rows = [{"id": str(i), "g": i // 4, "y": i % 2} for i in range(200)]
    ws.data.add("d", rows)
    first = ws.data.split("d", {"train": 0.8, "test": 0.2}, seed=1)
    ws.data.add("d", [*rows, *({"id": f"n{i}", "g": 900, "y": 0} for i in range(50))])
    second = ws.data.split("d", {"train": 0.8, "test": 0.2}, seed=1)
    before, after = dict(first["test"].items()), dict(second["test"].items())
    assert set(before) <= set(after)
    assert 20 <= len(before) <= 60
    grouped = ws.data.split("d@1", {"a": 0.5, "b": 0.5}, by="g")
    assert not {r["g"] for r in grouped["a"].rows()} & {r["g"] for r in grouped["b"].rows()}
    even = ws.data.split("d@1", {"c": 0.9, "e": 0.1}, stratify="y")
    assert sum(r["y"] for r in even["e"].rows()) == len(even["e"]) / 2


def test_shares_must_add_up(ws):
    ws.data.add("d", ROWS)
    with pytest.raises(DataError, match=r"add up to 0\.9"):
        ws.data.split("d", {"a": 0.5, "b": 0.4})
    with pytest.raises(DataError, match="Did you mean 'q'"):
        ws.data.split("d", {"a": 0.5, "b": 0.5}, by="qq")


def test_traces_with_a_thumb_down_become_a_data_set(ws):
    ids = []
    for n in range(3):
        with ws.tracer.span("prompt", attributes={"llmops.prompt.variables": {"n": n}}) as span:
            span.output(f"answer {n}")
        ids.append(span.trace_id)
        ws.traces.score(span.trace_id, "thumb", "down" if n else "up")
    made = ws.data_from_traces("fix", score="thumb=down")
    assert [(r["n"], r["output"], r["thumb"]) for r in made.rows()] == [
        (2, "answer 2", "down"),
        (1, "answer 1", "down"),
    ]
    with pytest.raises(DataError, match="No traces match"):
        ws.data_from_traces("none", score="thumb=sideways")


def test_an_unknown_name_proposes_the_near_one(ws):
    ws.data.add("questions", ROWS)
    with pytest.raises(UnknownNameError, match="Did you mean 'questions'"):
        ws.data.get("question")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=6,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES, min_size=1), min_size=1))
def test_what_goes_in_comes_out(ws, rows):
    made = ws.data.add("any", rows)
    assert [canonical(r) for r in made.rows()] == [canonical(r) for r in rows]


def test_others_can_write_while_a_slow_source_is_read(ws):
    import llmops_jupyter as lo

    with lo.open() as other:

        def rows():
            for n in range(3):
                with ws.tracer.span(f"row {n}"):
                    pass
                assert not ws.store.writer().in_transaction
                other.prompts.save("p", f"text {n}")
                yield {"n": n}
            raise RuntimeError("boom")

        with pytest.raises(RuntimeError):
            ws.data.add("d", rows())
        assert len(ws.traces.newest()) == 3
        assert len(other.prompts.history("p")) == 3
    assert ws.data.list() == []
    assert ws.store.rows("SELECT count(*) FROM dataset_rows")[0][0] == 0


def test_many_rows_go_by_way_of_the_disk(ws, monkeypatch):
    from llmops_jupyter.data import spool

    monkeypatch.setattr(spool, "MOST_IN_MEMORY", 100)
    rows = [{"n": n % 7, "t": "a\u2028b\n\x85\r"} for n in range(50)]
    made = ws.data.add("d", rows)
    assert list(made.rows()) == rows
    assert ws.store.rows("SELECT count(*) FROM dataset_rows")[0][0] == 7


def test_a_byte_that_is_no_utf8_is_counted_from_the_beginning(ws, tmp_path):
    content = b"q\n" + b"line of text\n" * 10_000
    (tmp_path / "a.csv").write_bytes(content + b"caf\xe9\n")
    with pytest.raises(DataError, match=f"at byte {len(content) + 3}\\."):
        ws.data.add("d", tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", "nests (too deep|deeper)"),
        ('{"a":' + "[" * 500 + "]" * 500 + "}", "nests deeper than 200"),
        ('{"a":' + "9" * 5000 + "}", "more than 4,300 digits"),
    ],
)
def test_lines_that_python_cannot_hold_are_refused(ws, tmp_path, text, says):
    for name, content in (("a.jsonl", text), ("a.json", f"[{text}]")):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=says):
            ws.data.add("d", tmp_path / name)


def test_moments_of_numpy_stay_moments(ws):
    numpy = pytest.importorskip("numpy", reason="needs NumPy")
    moments = [
        ("2020-01-02", "ns", "2020-01-02T00:00:00"),
        ("2020-01-02T03:04:05.000000007", "ns", "2020-01-02T03:04:05.000000007"),
        ("2020-01-02", "D", "2020-01-02"),
        ("2020-01-02T03:04", "s", "2020-01-02T03:04:00"),
        ("NaT", "ns", None),
    ]
    made = ws.data.add("d", [{"t": numpy.datetime64(text, unit)} for text, unit, _ in moments])
    assert [r["t"] for r in made.rows()] == [wanted for _, _, wanted in moments]
    array = numpy.array(["2020-01-02"], dtype="datetime64[ns]")
    assert next(ws.data.add("e", [{"t": array}]).rows()) == {"t": ["2020-01-02T00:00:00"]}
    with pytest.raises(DataError, match="timedelta64"):
        ws.data.add("f", [{"t": numpy.timedelta64(1, "ns")}])


def test_values_that_are_equal_only_to_python_are_changes(ws):
    ws.data.add("d", [{"id": "a", "v": 1}, {"id": "b", "v": 1}, {"id": "c", "v": [1]}])
    ws.data.add("d", [{"id": "a", "v": True}, {"id": "b", "v": 1.0}, {"id": "c", "v": [1]}])
    difference = ws.data.diff("d@1", "d@2")
    assert [c.row_id for c in difference.changed] == ["a", "b"]
    assert difference.unchanged == 1


def test_a_data_set_has_no_aliases_and_says_so(ws):
    ws.data.add("d", ROWS)
    with pytest.raises(UnknownNameError, match=r"write d@1\. See %data history d"):
        ws.data.get("d@production")
