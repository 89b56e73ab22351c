"""What is shown: a model's Markdown is never live, errors are one line, options come from one table."""

from __future__ import annotations

import pytest

from llmops_jupyter import errors, render
from llmops_jupyter.commands import options
from llmops_jupyter.commands.parsing import parse, parse_magic, split_line
from llmops_jupyter.errors import LLMOpsError, OptionError, did_you_mean
from llmops_jupyter.records import Completion, Timing, Usage


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("<script>alert(1)</script>", "<script"),
        ("a <img src=x onerror=alert(1)>", "<img"),
        ("`<img src=x>`", "<img"),
        ("- ```\n<img src=x>\n```", "<img"),
        ("foo ` bar\n`<b>x</b>`", "<b>"),
        ("![pixel](http://example.org/p.png)", "!["),
        ("[x](javascript:alert(1))", "](javascript"),
        (r"[x\](javascript:alert(1))", "](javascript"),
        ("[x](&#106;avascript:alert(1))", "](&#106;"),
        ("[x]: javascript:alert(1)", "]: javascript"),
        (r"$\href{javascript:alert(1)}{x}$", r"\href"),
        ("```html<img src=x>\ncode\n```", "<img"),
    ],
)
def test_nothing_live_is_left_in_a_models_markdown(text, gone):
    assert gone not in render.safe_markdown(text)


@pytest.mark.parametrize(
    "text",
    [
        "**bold** and `code`",
        "```html\n<b>kept</b>\n```\n",
        "a < b and c > d",
        "[ok](https://x.org)",
    ],
)
def test_harmless_markdown_stays_as_it_is(text):
    assert render.safe_markdown(text) == text


def test_a_completion_shows_its_answer_and_one_quiet_line():
    done = Completion(
        "```py\nx = 1",
        usage=Usage(3, 2),
        timing=Timing(0.5, 0.1, 10),
        finish_reason="length",
        trace_id="abcdef0123456789",
        prompt_version="p@2",
        model="m",
    )
    data, metadata = done._repr_mimebundle_()
    assert data["text/markdown"].startswith("```py\nx = 1\n```\n\n*")
    assert "p@2 · m · 3 → 2 tokens · 0.5 s (10/s) · cut at max\\_tokens" in data["text/markdown"]
    assert metadata["llmops"]["trace_id"] == done.trace_id


def test_html_is_escaped_in_tables_and_traces():
    evil = "<script>x</script>"
    assert "<script" not in render.table_html([{evil: evil}])
    assert "<script" not in render.diff_html(evil, "", (evil, "b"))


def test_every_error_is_one_line_and_of_our_kind():
    kinds = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, LLMOpsError)]
    assert len(kinds) > 20
    for kind in kinds:
        assert kind("two\nlines")._render_traceback_() == [f"{kind.__name__}: two lines"]
        assert kind.__name__.endswith("Error")


def test_near_names_are_proposed():
    assert did_you_mean("smolm2", ["smollm2", "qwen"]) == " Did you mean 'smollm2'?"
    assert did_you_mean("SMOLLM2", ["smollm2"]) == " Did you mean 'smollm2'?"
    assert did_you_mean("zzz", ["smollm2"]) == ""


def test_lines_are_cut_the_same_way_everywhere():
    words = [
        w.text for w in split_line(r"""don't "two words" 'it is' C:\dir\x --note "a \"b\"" """)
    ]
    assert words == ["don't", "two words", "it is", r"C:\dir\x", "--note", 'a "b"']


def test_options_are_written_out_and_near_ones_proposed():
    cell = options.cell_of("prompt")
    assert parse(cell, "name --temperature 0 --stop a --stop b")["stop"] == ["a", "b"]
    assert parse(cell, "--seed -5")["seed"] == -5
    assert parse(cell, 'p --note "-x y"')["note"] == "-x y"
    for line, says in (
        ("-over x", "Did you mean '--over'"),
        ("--temp 1", "no option '--temp'"),
        ("--temperature warm", "invalid float value"),
        ("a b", "nrecognized arguments"),
        ("--pick some", "invalid choice"),
    ):
        with pytest.raises(OptionError, match=says):
            parse(cell, line)
    with pytest.raises(OptionError, match="Did you mean 'show'"):
        parse_magic("prompt", "shwo x")


def test_every_command_of_the_table_has_its_function_and_its_help():
    from importlib import import_module

    from llmops_jupyter.magics.dispatch import IN_NOTEBOOK

    for command in options.COMMANDS:
        room = "magics" if (command.magic, command.name) in IN_NOTEBOOK else "commands"
        if command.name:
            module = import_module(f"llmops_jupyter.{room}.{command.magic}")
            assert callable(getattr(module, f"{command.name.replace('-', '_')}_"))
        assert command.example.startswith(("%", "reply ="))
        assert command.summary in options.help_of(command.magic)
        assert command.title in options.markdown_of(command.magic)
