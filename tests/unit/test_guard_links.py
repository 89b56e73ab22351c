"""Links and images that lead where none may lose their addresses and keep their words."""

from __future__ import annotations

import pytest
from guard_texts import found

from llmops_jupyter.guard.checks import links


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("![x](https://evil.test/p?q=1)", "x [image removed]"),
        ("![](http://evil.test/p.png)", "[image removed]"),
        ("a [link](javascript:alert(1)) b", "a link [link removed] b"),
        ("[x]( JaVaScRiPt:alert )", "x [link removed]"),
        ("<a href='java\tscript:alert'>", "[link removed]"),
        ("[x](&#106;avascript:alert)", "x [link removed]"),
        ("[x](%6aavascript:alert)", "x [link removed]"),
        ("[x](data:text/html;base64,PHNjcmlwdD4=)", "x [link removed]"),
        ("[x](//evil.test/a 'title')", "x [link removed]"),
        ("[x](https:\\\\evil.test)", "x [link removed]"),
        ("[x](https://example.org@evil.test/)", "x [link removed]"),
        ("[x](https://example.org.evil.test/)", "x [link removed]"),
        ("[x](https://notexample.org/)", "x [link removed]"),
        ("<https://evil.test>", "[link removed]"),
        ("see https://evil.test/a, please", "see [link removed], please"),
        ("[1]: https://evil.test", "[link removed]"),
        ("<img src='https://evil.test/p'>", "[image removed]"),
        ('<img src="x" onerror="go()">', ""),
        ("<script>go()</script>", "go()"),
        ("<iframe src=https://example.org>", ""),
        ("<p style='background:url(//evil.test)'>", ""),
        (
            "[![a](https://evil.test/i)](https://example.org)",
            "[a [image removed]](https://example.org)",
        ),
        ("file:///etc/passwd [x](file:///etc/passwd)", "file:///etc/passwd x [link removed]"),
        ("[x](https://[broken)", "x [link removed]"),
        ("![a [b] c](https://evil.test/i)", "a [b] c [image removed]"),
        (f"![{'a ' * 800}](https://evil.test/i)", f"{('a ' * 800).strip()} [image removed]"),
        ("![a\\]](https://evil.test/i)", "a\\] [image removed]"),
        ("<img alt='>' src='https://evil.test/i'>", "[image removed]"),
        (f"<img alt='{'a' * 9_000}' src='https://evil.test/i'>", "[image removed]"),
        ("<img srcset='https://evil.test/i 2x, a.png'>", "[image removed]"),
        ("<x-y onfocus=go() autofocus>", ""),
        ("[x](https:evil.test/a)", "x [link removed]"),
        ("[x](https:/evil.test/a)", "x [link removed]"),
        ("[x](///evil.test/a)", "x [link removed]"),
        ("see www.evil.test/a", "see [link removed]"),
        ("<a ping=https://evil.test href=https://example.org>", "[link removed]"),
    ],
)
def test_unsafe_links_lose_their_addresses_and_keep_their_words(text, left):
    check = links.make(allow=["example.org"])
    one = found(check, text)
    assert one.hit, text
    assert one.replaced == left
    assert not found(check, one.replaced).hit


@pytest.mark.parametrize(
    "text",
    [
        "[x](https://example.org/a?b=c#d) and https://docs.example.org/page.",
        "![x](https://img.example.org/a.png)",
        "[x](page.html) [y](#part) [z](/root)",
        "mail [us](mailto:help@example.org)",
        "if a < b and c > d: x[i](y)",
        "f[0](1) and the ratio 3:4 at 12:30",
        "a footnote[^1]\n\n[^1]: Some text here",
        "<b>bold</b> and `<tag>`",
        "std::vector<int> a; List<String> b; if (a <b) { x['y'] }",
        "<p class='a'>it's <b>fine</b></p>",
        "",
    ],
)
def test_allowed_and_relative_links_and_plain_text_stay(text):
    assert not found(links.make(allow=["example.org"]), text).hit


def test_an_image_is_one_whatever_stands_between_its_brackets():
    check = links.make()
    assert found(check, f"![{'a' * 2_000}](https://evil.test/i)").hit
    assert found(check, "![a [b] c](https://evil.test/i)").hit
    assert not found(check, "![a](local.png) and [b](https://any.test/i)").hit
    assert not found(check, "wow!! [b](https://any.test/i)").hit


def test_what_a_host_carries_away_is_not_repeated():
    one = found(links.make(allow=["example.org"]), "[x](https://akia-secret-data.evil.test/)")
    assert one.reason == "a link to …evil.test, which is not on the list"


def test_without_a_list_links_lead_anywhere_and_images_nowhere():
    check = links.make()
    assert not found(check, "[x](https://any.test/page) https://other.test").hit
    assert found(check, "![x](https://any.test/i.png)").hit
    assert not found(check, "![x](https://any.test/i.png)", links=("any.test",)).hit
    assert not found(links.make(images=True), "![x](https://any.test/i.png)").hit
    assert not found(links.make(allow=["*"]), "![x](https://any.test/i.png)").hit


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/?q=" + "x" * 101,
        "https://example.org/#" + "x" * 101,
        "https://example.org/" + "x" * 151,
        "https://" + "x" * 41 + ".example.org/",
    ],
)
def test_long_data_in_an_address_is_found_on_allowed_hosts_too(address):
    one = found(links.make(allow=["example.org"]), f"[x]({address})")
    assert "long data" in one.reason
    assert not found(
        links.make(allow=["example.org"], data=500), "https://example.org/?q=" + "x" * 101
    ).hit
