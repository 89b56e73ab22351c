"""A model's Markdown is never live, whichever renderer shows it; what is harmless stays as it is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_renderers import assert_inert

from llmops_jupyter import render
from llmops_jupyter.records import Completion

IMG = "<img src=x onerror=alert(1)>"
FRAGMENTS = st.sampled_from(
    [
        *("```", "````", "~~~", "~~~~", "`", "``", "```js", "```text", "~~~ `x`", '```a"b', "\\`"),
        *("\n", "\n\n", "\n \n", "\r", "\r\n", "\u2028", "\u2029", "\x0b", "\x0c", "\x85", "\x1c"),
        *(" ", "  ", "   ", "    ", "\t", "\u00a0", "\0", "- ", "* ", "1. ", "10) ", "> ", ">"),
        *("| a | b |\n|---|---|\n", "|", "---", "===", "# ", "**", "_", "\\", "&lt;", "&#60;"),
        *(IMG, "<script>", "</p>", "<!--", "-->", "<?php", "<![CDATA[", "<a href='x'>", "<", ">"),
        *("![x](http://e/t.png)", "![](", "![x][y]", "!", "[x]", "[y]", "[x]:", "[^1]:", "]", "["),
        *("(javascript:alert(1))", "](", "http://e/x", "<http://e>", "<javascript:x>", "(#a)"),
        *("javascript:alert(1)", "ftp://e/x", "www.e.org", "a@e.org", '"', "'", '"t"', "(", ")"),
        *("$", "$$", "\\begin{a}", "\\end{a}", "\\href{javascript:x}{y}", "{", "}", "x", "code"),
    ]
)


@settings(max_examples=1500, deadline=None)
@given(st.lists(FRAGMENTS, max_size=25).map("".join))
def test_no_renderer_finds_anything_live(text):
    assert_inert(render.safe_markdown(text))
    done = Completion(text, reasoning=text, notes=(text,), prompt_version=text)
    assert_inert(done._repr_mimebundle_()[0]["text/markdown"])


@pytest.mark.parametrize(
    "text",
    [
        f"```\ncode\n   ```\n{IMG}",
        f"  ```\nfoo\n```\n{IMG}",
        *(f"abc{end}```\n{IMG}" for end in "\u2028\u2029\x0b\x0c\x85\x1c\r"),
        f"- ```\nfoo\n```\n\n````html\n```\n{IMG}\n````",
        f"> ~~~\n\n```\n~~~\n{IMG}\n```",
        f"~~~ `x`\ncode\n~~~~\n{IMG}",
        f'[a]: http://x "\n```\n"\n{IMG}\n```',
        f"1. ```sh\n   ls\n   ```\n{IMG}",
    ],
)
def test_a_fence_that_renderers_read_differently_makes_nothing_live(text):
    assert_inert(render.safe_markdown(text))
    assert_inert(Completion(text)._repr_mimebundle_()[0]["text/markdown"])


def test_a_formula_cannot_carry_a_quote_into_a_links_address():
    shown = render.safe_markdown('[x](http://e/$"onmouseover=alert(1)//$)')
    assert "](" not in shown
    assert "://" not in shown
    assert render.safe_markdown('a "b" [x](http://e/)') == 'a "b" [x](http://e/)'
    quoted = Completion("", reasoning='http://e/$\n\n"onmouseover=alert(1)//$')
    assert "://" not in quoted._repr_mimebundle_()[0]["text/markdown"]


def test_letters_as_numbers_spell_no_formula_command():
    shown = render.safe_markdown("&dollar;&#92;h&#x72;ef{javascript:x}{y}&dollar; it&#39;s")
    assert "&#92;" not in shown
    assert "&#x72;" not in shown
    assert "it&#39;s" in shown


@pytest.mark.parametrize(
    "text",
    [
        "Use **this**:\n\n```html\n<b>kept</b> ![x](y) $a$\n```\n\nand `that`.",
        "````markdown\n```py\nx = 1\n```\n````",
        "```cpp\n#include <vector>\n```",
        "- one\n- two `x`\n\n> quoted",
        "~~struck~~ and 1 < 2",
        "",
        "\n",
    ],
)
def test_harmless_markdown_stays_as_it_is(text):
    assert render.safe_markdown(text) == text


def test_code_in_a_list_stays_readable_and_an_open_fence_is_closed():
    shown = render.safe_markdown("1. Do:\n\n    ```html\n    <b>x</b>\n    ```\n2. Then")
    assert "&lt;" not in shown
    assert shown.replace("\u2060", "") == "1. Do:\n\n    ```html\n    <b>x</b>\n    ```\n2. Then"
    assert render.safe_markdown("a\n ```py\n x = 1\n") == "a\n\n```py\nx = 1\n```\n"
