"""The words of a query in texts, and passages among their neighbours."""

from __future__ import annotations

import pytest

from llmops_jupyter.rag.highlighting import TOKENIZER, excerpt, highlighted
from llmops_jupyter.rag.kept import documents
from llmops_jupyter.rag.passages import count_of, passages, passages_around, state_of


def words(query, text):
    return [piece for piece, marked in highlighted(query, [text])[0] if marked]


@pytest.mark.parametrize(
    ("query", "text", "found"),
    [
        ("adding", "It was added; additional.", ["added"]),
        ("opens", "Open it: opening, opened, often.", ["Open", "opening", "opened"]),
        ("ADDED", "Adding", ["Adding"]),
        ("cafe naive", "A café, naïve.", ["café", "naïve"]),
        ("what is the valve", "what is the valve", ["valve"]),  # common words say nothing
        ("what is it", "what is it", ["what", "is", "it"]),  # unless there are no others
        ("foo_bar", "call foo_bar(baz)", ["foo_bar"]),
        ('" OR x NEAR(valve*', "a valve, x", ["valve", "x"]),
        ("клапан", "Клапан открыт", ["Клапан"]),
        ("🙂", "🙂 valve", []),
        ("valve", "pump", []),
        ("valve", "", []),
    ],
)
def test_what_the_index_s_tokenizer_matches_is_marked(query, text, found):
    assert words(query, text) == found


def test_the_tokenizer_is_that_of_the_index(ws):
    (sql,) = ws.store.row("SELECT sql FROM sqlite_master WHERE name = 'rag_text'")
    assert f'tokenize="{TOKENIZER}"' in sql


def test_pieces_are_the_text_again_whatever_is_in_it():
    texts = [
        "<img onerror=1> valve & <b>",
        "no\x00\x01valve\x02 \n\ttab",
        "valve",
        "🙂 valve 🙂",
        "",
    ]
    for text, pieces in zip(texts, highlighted("valve", texts), strict=True):
        plain = text.replace("\x00", " ").replace("\x01", " ").replace("\x02", " ")
        assert "".join(piece for piece, _ in pieces) == plain
        assert sum(marked for _, marked in pieces) == ("valve" in text)


def test_an_excerpt_begins_a_little_before_the_first_match():
    text = "before " * 200 + "the valve opens " + "after " * 200
    (pieces,) = highlighted("valve", [text])
    found = excerpt(pieces, 300)
    shown = "".join(piece for piece, _ in found)
    assert shown.startswith("…before")
    assert shown.endswith("…")
    assert ("valve", True) in found
    assert len(shown) <= 302
    assert excerpt(pieces, 10_000) == pieces
    (plain,) = highlighted("pump", [text])
    assert "".join(p for p, _ in excerpt(plain, 20)) == text[:20] + "…"


def test_passages_come_with_their_neighbours_up_to_a_length(ws, tmp_path):
    for name in ("a", "b"):
        text = "".join(f"# Part {n}\n\n{name} {n} {'x' * 90}.\n\n" for n in range(9))
        (tmp_path / f"{name}.md").write_text(text)
    ws.rag.add("manual", tmp_path, embedder="none", tokens=32)
    index = ws.rag.index("manual")
    document = documents(ws.store, index.row.id)[next(s for s in index.documents() if "b.md" in s)]
    assert count_of(ws.store, document.id) == 9

    def places(position, each_side, most):
        near = passages_around(ws.store, document.id, position, each_side, most)
        assert all(p.text.startswith(f"b {p.position} ") for p in near)
        return [p.position for p in near]

    assert places(4, 2, 10_000) == [2, 3, 4, 5, 6]
    assert places(0, 2, 10_000) == [0, 1, 2]
    assert places(4, 9, 300) == [3, 4, 5]
    assert places(4, 9, 1) == [4]
    assert places(9, 2, 10_000) == []
    ids = [p.id for p in passages_around(ws.store, document.id, 4, 1, 10_000)]
    known = passages(ws.store, [*ids, 10**6])
    assert sorted(known) == sorted(ids)
    assert known[ids[0]].heading == "Part 3"


def test_a_file_that_was_touched_is_the_same_and_one_that_was_written_is_not(ws, tmp_path):
    path = tmp_path / "a.md"
    path.write_text("one valve\n")
    ws.rag.add("manual", path, embedder="none")
    index = ws.rag.index("manual")
    (document,) = index.documents().values()
    path.write_text("one valve\n")
    assert state_of(document, index.base) == ""
    path.write_text("two valve\n")
    assert state_of(document, index.base) == "changed"
    path.write_text("three valves\n")
    assert state_of(document, index.base) == "changed"
    path.unlink()
    assert state_of(document, index.base) == "gone"
