"""Renderers of Markdown as notebooks have them, and what of their pages is live."""

from __future__ import annotations

from html.parser import HTMLParser

import mistune
from markdown_it import MarkdownIt

PRESETS = [
    MarkdownIt("commonmark", {"html": True}),
    MarkdownIt("gfm-like", {"html": True, "linkify": False}),
]
MISTUNE = mistune.create_markdown(escape=False, plugins=["table", "strikethrough", "url"])
SAFE_TAGS = frozenset(
    [
        "p",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "ul",
        "ol",
        "li",
        "blockquote",
        "pre",
        "code",
        "em",
        "strong",
        "del",
        "s",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "a",
        "br",
        "hr",
    ]
)


class Live(HTMLParser):
    """Collects what is live in HTML: tags and attributes that no harmless Markdown makes."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in SAFE_TAGS:
            self.found.append(tag)
        for name, value in attrs:
            harmless = name in ("class", "start", "title", "align", "style", "id")
            link = name == "href" and (value or "").lower().startswith(
                ("http://", "https://", "mailto:", "#")
            )
            if not (harmless or link):
                self.found.append(f"{tag} {name}={value}")

    def handle_comment(self, data):
        self.found.append("comment")

    def handle_pi(self, data):
        self.found.append("instruction")


def live_in(page: str) -> list[str]:
    parser = Live()
    parser.feed(page)
    parser.close()
    return parser.found


def flat(tokens):
    for token in tokens:
        yield token
        yield from flat(token.children or [])


def assert_inert(text: str) -> None:
    for markdown in PRESETS:
        for token in flat(markdown.parse(text)):
            assert token.type not in ("html_block", "html_inline", "image"), (token, text)
            if token.type == "link_open":
                target = str(token.attrs["href"]).lower()
                assert target.startswith(("http://", "https://", "mailto:", "#")), text
        assert live_in(markdown.render(text)) == [], text
    assert live_in(str(MISTUNE(text))) == [], text
