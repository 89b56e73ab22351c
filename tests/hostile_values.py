"""Texts that attack whoever shows them, objects that hold nothing else, and what is live in a page."""

from __future__ import annotations

import ast
import collections.abc
import dataclasses
import enum
import functools
import importlib
import inspect
import pkgutil
import re
import types
import typing
from html.parser import HTMLParser
from pathlib import Path

import numpy
import numpy.typing

import llmops_jupyter

MARK = "pwned"
HOSTILE = (
    "<script>window.pwned=1</script><img src=x onerror='window.pwned=2'>"
    '<svg onload="window.pwned=3"></svg><a href="javascript:window.pwned=4">a</a>'
    "<iframe srcdoc='<script>parent.pwned=5</script>'></iframe>"
    "'\"><b onmouseover='window.pwned=6'>&lt;script&gt;&#60;img&#62;"
    "![i](http://leak.invalid/i.png) [l](javascript:window.pwned=7) [r][ref]\n\n"
    "[ref]: javascript:window.pwned=8\n"
    "<div style=\"background:url('http://leak.invalid/css')\">expression(window.pwned=9)</div>"
    r"$\href{javascript:window.pwned=10}{m}$ \(\style{background:url(http://leak.invalid/m)}{n}\) "
    "$\\frac{$ \x1b[8mhidden\x1b[0m\x1b]52;c;cHduZWQ=\x07 \u202eturned\u202c\u2066x\x00\x08\x9b31m\ud800 "
    + "long"
    * 400
)
# The same without what no store takes.
KEPT = HOSTILE.replace("\ud800", "").replace("\x00", "")
# What no text that is shown may hold.
OBEYED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
SAFE_TAGS = {
    *("p", "div", "span", "pre", "code", "b", "strong", "em", "small", "br", "mark", "hr"),
    *("table", "thead", "tbody", "tr", "th", "td", "ul", "ol", "li"),
    *("details", "summary", "img"),
}
SAFE_STYLE = re.compile(r"[\w\s:;.,%#()/-]*")


class Live(HTMLParser):
    """Collects what is live in a page of ours, and texts that a notebook would take for a formula."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.found = []
        self.inside = []

    def handle_starttag(self, tag, attrs):
        if tag not in SAFE_TAGS:
            self.found.append(f"<{tag}>")
        if tag not in ("br", "img", "hr"):
            self.inside.append(tag)
        for name, value in attrs:
            said = value or ""
            harmless = {
                "style": SAFE_STYLE.fullmatch(said) and "url" not in said,
                "src": said.startswith("data:image/png;base64,"),
                "alt": True,
                "class": MARK not in said,
                "open": True,
            }
            if not harmless.get(name):
                self.found.append(f"{tag} {name}={said[:60]}")

    def handle_endtag(self, tag):
        if not self.inside or self.inside.pop() != tag:
            self.found.append(f"</{tag}>")

    def handle_data(self, data):
        # Notebooks look for formulas in each piece of text by itself, but for code.
        if not {"pre", "code"} & set(self.inside) and re.search(
            r"\$[^$]*\$|\\\(.*\\\)|\\\[.*\\\]|\\begin", data, re.DOTALL
        ):
            self.found.append(f"formula {data[:60]}")

    def handle_comment(self, data):
        self.found.append("comment")

    handle_pi = handle_decl = unknown_decl = handle_comment


def live_in(page):
    parser = Live()
    parser.feed(page)
    parser.close()
    return parser.found + [f"<{tag}> is open" for tag in parser.inside]


@functools.cache
def modules():
    """All modules of the package that can be imported here."""
    found = {}
    for info in pkgutil.walk_packages(llmops_jupyter.__path__, "llmops_jupyter."):
        if info.name.endswith("__main__"):
            continue
        try:
            found[info.name] = importlib.import_module(info.name)
        except ImportError:
            continue
    return found


@functools.cache
def classes():
    """All classes of the package, by module and name."""
    return {
        f"{name}.{cls.__qualname__}": cls
        for name, module in modules().items()
        for cls in vars(module).values()
        if inspect.isclass(cls) and cls.__module__ == name
    }


def sources():
    """The text of all modules, by path below the package."""
    root = Path(llmops_jupyter.__path__[0])
    return {p.relative_to(root).as_posix(): p.read_text("utf-8") for p in root.rglob("*.py")}


MANY = (list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Iterable)


def annotation_names(module):
    """What a module's annotations may name: its own names, and those that it imports for them only."""
    found = {}
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            try:
                source = importlib.import_module(node.module)
            except ImportError:
                continue
            for alias in node.names:
                found[alias.asname or alias.name] = getattr(source, alias.name, object)
    return found


class Builder:
    """Makes objects whose texts are all hostile, from their annotations.

    `given` has values for classes that have none, or for which another one is needed.
    """

    def __init__(self, given=()):
        self.given = dict(given)
        self.names = {cls.__name__: cls for cls in classes().values()}
        self.names |= {n: v for n, v in vars(typing).items() if not n.startswith("_")}
        self.names |= {"np": numpy, "NDArray": numpy.typing.NDArray}
        self.names |= {n: getattr(collections.abc, n) for n in collections.abc.__all__}

    def make(self, cls, **fields):
        """An object of a class; some of its fields may be given."""
        if cls in self.given and not fields:
            found = self.given[cls]
            return found() if inspect.isfunction(found) else found
        module = importlib.import_module(cls.__module__)
        names = {**self.names, **annotation_names(module), **vars(module)}
        if dataclasses.is_dataclass(cls):
            hints = typing.get_type_hints(cls, names)
            wanted = [f.name for f in dataclasses.fields(cls) if f.init]
        else:
            hints = typing.get_type_hints(cls.__init__, names)
            wanted = [name for name in hints if name != "return"]
        made = {name: self.value(hints[name]) for name in wanted if name not in fields}
        return cls(**made, **fields)

    def value(self, hint):
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if hint in self.given or dataclasses.is_dataclass(hint):
            return self.make(hint)
        simple = {str: HOSTILE, int: 3, float: 0.5, bool: True, bytes: b"", typing.Any: HOSTILE}
        simple |= {object: HOSTILE, type(None): None, Path: Path("x")}
        if hint in simple:
            return simple[hint]
        if origin in (typing.Union, types.UnionType):
            return self.value(next(a for a in args if a is not type(None)))
        if origin is typing.Literal:
            return args[0]
        if origin is tuple and args[-1] is not Ellipsis:
            return tuple(self.value(a) for a in args)
        if origin in MANY:
            some = [self.value(args[0]) for _ in range(2)]
            return some if origin is list else tuple(some)
        if origin in (dict, collections.abc.Mapping):
            return {self.value(args[0]): self.value(args[1])}
        if origin is numpy.ndarray:
            return numpy.linspace(0.1, 0.9, 5)
        if inspect.isclass(hint) and getattr(hint, "_is_protocol", False):
            return None
        if origin is collections.abc.Callable:
            return lambda *_, **__: HOSTILE
        if inspect.isclass(hint) and issubclass(hint, enum.Enum):
            return next(iter(hint))
        if inspect.isclass(hint) and hint.__module__.startswith("llmops_jupyter."):
            return self.make(hint)
        raise TypeError(f"nothing is known to be a {hint}")
