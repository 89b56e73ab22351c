"""Chunks: within the limit, along structure, nothing lost, places right."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_jupyter.rag.chunking import chunks_of
from llmops_jupyter.rag.reading import markdown_sections
from llmops_jupyter.rag.sections import Section


def words(text):
    return len(text.split())


def letters(text):
    return len(text)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab .,\n\n\nשé🙂", min_size=1, max_size=600), st.integers(16, 64))
def test_nothing_is_lost_and_nothing_is_longer_than_it_may(text, tokens):
    made = chunks_of([Section(text, line=1)], letters, tokens=tokens)
    kept = "".join("".join(c.text.split()) for c in made)
    assert kept == "".join(text.split())
    assert all(c.tokens <= tokens + max(1, tokens // 8) for c in made)


def test_chunks_end_where_the_text_pauses():
    text = "One two three four. Five six seven eight.\n\nNine ten eleven twelve. Thirteen fourteen."
    made = chunks_of([Section(text)], words, tokens=10)
    assert [c.text.strip() for c in made] == [
        "One two three four. Five six seven eight.",
        "Nine ten eleven twelve. Thirteen fourteen.",
    ]


def test_headings_are_embedded_but_not_shown():
    (made,) = chunks_of([Section("body", heading=("Guide", "Valves"))], words)
    assert made.text == "body"
    assert made.embedded == "Guide › Valves\nbody"
    assert made.tokens == words(made.embedded)


def test_lines_are_those_of_the_file():
    text = "\n".join(f"line {n} has five words" for n in range(3, 23))
    made = chunks_of([Section(text, line=3)], words, tokens=20)
    for one in made:
        first = int(one.locator.split()[1].split("-")[0])
        assert one.text.startswith(f"line {first} ")


def test_what_is_longer_than_the_window_is_marked():
    headings = tuple("a title of many words " * 4 for _ in range(3))
    (made,) = chunks_of([Section("body", heading=headings)], words, tokens=30, window=20)
    assert made.truncated


def test_a_long_run_of_letters_is_cut():
    made = chunks_of([Section("x" * 1000)], letters, tokens=64)
    assert "".join(c.text for c in made) == "x" * 1000
    assert max(c.tokens for c in made) <= 72


def test_a_line_and_its_example_stay_together_and_keep_their_lines():
    text = "# A\n\nRun this:\n\n```\nmake it\n```\n\n\nAnd then that.\n\n# B\n\nelse\n"
    made = chunks_of(markdown_sections(text), words, tokens=40)
    assert [c.heading for c in made] == [("A",), ("B",)]
    assert made[0].text == text.split("\n\n", 1)[1].split("\n\n# B", maxsplit=1)[0]
    assert made[0].locator == "lines 3-10"
    apart = chunks_of(markdown_sections(text), words, tokens=6)
    assert len(apart) > 2


def test_rows_of_a_table_are_never_joined():
    rows = [Section(f"row {n}", f"row {n}", kind="row") for n in range(3)]
    assert len(chunks_of(rows, words)) == 3
