"""Reasoning and answer are told apart, however the text is cut into pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_jupyter.engine.thinking import KNOWN, Thinking, begun, marks_of

TEXT = st.text(alphabet="ab <>/think|[]\n", max_size=30)


def split(marks, text, cuts=(), *, inside=False):
    thinking = Thinking(marks, inside=inside)
    places = [0, *sorted({min(cut, len(text)) for cut in cuts}), len(text)]
    parts = [p for a, b in itertools.pairwise(places) for p in thinking.feed(text[a:b])]
    parts += thinking.finish()
    assert all(piece for _, piece in parts)
    kinds = [kind for kind, _ in parts]
    assert kinds == sorted(kinds, reverse=True)
    return tuple("".join(p for kind, p in parts if kind is wanted) for wanted in (True, False))


@pytest.mark.parametrize("marks", KNOWN)
@given(
    reasoning=TEXT.map(str.strip),
    answer=TEXT.map(str.strip),
    cuts=st.lists(st.integers(0, 200), max_size=12),
    inside=st.booleans(),
    space=st.sampled_from(["", "\n", "\n\n"]),
)
def test_cuts_do_not_matter(marks, reasoning, answer, cuts, inside, space):
    if marks.end in reasoning + marks.end[:-1] or reasoning.endswith(marks.end[:1]):
        return
    text = f"{'' if inside else marks.begin}{space}{reasoning}{space}{marks.end}{space}{answer}"
    assert split(marks, text, cuts, inside=inside) == (reasoning, answer)


@given(text=TEXT, cuts=st.lists(st.integers(0, 40), max_size=8))
def test_text_without_marks_is_all_answer(text, cuts):
    if not text.lstrip().startswith("<think>"):
        assert split(KNOWN[0], text, cuts) == ("", text)
    assert split(None, text, cuts) == ("", text)


def test_marks_later_in_the_text_belong_to_the_answer():
    text = "To think, write <think>x</think>."
    assert split(KNOWN[0], text, range(40)) == ("", text)
    assert split(KNOWN[0], f"<think>a</think>b{text}", range(60)) == ("a", "b" + text)


def test_reasoning_that_was_cut_off_is_all_reasoning():
    assert split(KNOWN[0], "<think>so far </thi", range(20)) == ("so far </thi", "")
    assert split(KNOWN[0], "so far", inside=True) == ("so far", "")


def test_an_empty_answer_and_empty_reasoning():
    assert split(KNOWN[0], "<think>\n\n</think>\n\n", range(20)) == ("", "")
    assert split(KNOWN[0], "<think></think>yes", range(20)) == ("", "yes")


@pytest.mark.parametrize(
    ("template", "marks"),
    [
        ("{%- if '</think>' in content %}{{ '<think>\\n' }}", KNOWN[0]),
        ("[THINK]{{ x }}[/THINK]", KNOWN[1]),
        ("{{ '<|start|>assistant<|channel|>analysis<|message|>' }} <|channel|>final", KNOWN[3]),
        ("{{ messages }}", None),
        ("", None),
    ],
)
def test_the_template_tells_the_marks(template, marks):
    assert marks_of(template) == marks


def test_a_prompt_may_end_within_reasoning():
    assert begun(KNOWN[0], "<|im_start|>assistant\n<think>\n")
    assert not begun(KNOWN[0], "<|im_start|>assistant\n<think>\n\n</think>\n\n")
