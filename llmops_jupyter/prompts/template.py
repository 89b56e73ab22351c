"""Prompt templates: split into messages first, filled afterwards, so that a value never makes a role."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from llmops_jupyter.errors import TemplateError, did_you_mean
from llmops_jupyter.records import Message, Role

if TYPE_CHECKING:
    import jinja2
    from jinja2 import nodes

MARKER = re.compile(r"(system|user|assistant):[ \t]?")
ESCAPED = re.compile(r"^\\(?=(?:system|user|assistant):)", re.MULTILINE)
# What the template language takes notice of: a text without any of it stands for itself.
NOTICED = ("{{", "}}", "{%", "%}", "\r", "\x00")
RAW = "put {% raw %} before and {% endraw %} after text that holds braces"
MAX_NAMED = 8


@dataclass(frozen=True)
class Part:
    """The template of one message; `line` is where it begins in the cell, counted from 1."""

    role: Role
    source: str
    line: int


@dataclass(frozen=True)
class Stretch:
    """A stretch of a filled message; `given` says that values stand there, and not the template's own text."""

    text: str
    given: bool


@dataclass(frozen=True)
class Filled:
    """A message of a template with its variables filled in, and which of it came from them."""

    role: Role
    stretches: tuple[Stretch, ...]

    @property
    def message(self) -> Message:
        return Message(self.role, "".join(s.text for s in self.stretches))


class _Value(str):
    """The text of a value; it stays one of these until the message is put together."""

    __slots__ = ()

    def __str__(self) -> str:
        return self


def split_roles(text: str) -> tuple[Part, ...]:
    r"""The messages of a template.

    Role markers (``system:``, ``user:``, ``assistant:`` at the start of a line) count only if the first
    line that is not blank is one; otherwise the whole text is one user message. ``\user:`` at the start
    of a line stands for the plain text ``user:``.
    """
    lines = text.split("\n")
    first = next((line for line in lines if line.strip()), "")
    if not MARKER.match(first):
        return (_part("user", lines, 0),)
    parts: list[Part] = []
    begin, role = 0, ""
    for number, line in enumerate(lines):
        marker = MARKER.match(line)
        if not marker:
            continue
        if role:
            parts.append(_part(role, lines[begin:number], begin))
        begin, role = number, marker.group(1)
        lines[number] = line[marker.end() :]
    parts.append(_part(role, lines[begin:], begin))
    return tuple(parts)


def _part(role: str, lines: list[str], begin: int) -> Part:
    blank = next((i for i, line in enumerate(lines) if line.strip()), 0)
    source = ESCAPED.sub("", "\n".join(lines[blank:]).rstrip())
    return Part(cast("Role", role), source, begin + blank + 1)


def _is_plain(part: Part) -> bool:
    return not any(mark in part.source for mark in NOTICED)


@functools.lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        # Comments are off: no text can contain these.
        comment_start_string="\x00{#",
        comment_end_string="#}\x00",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_as_value,
    )
    environment.globals = {"range": environment.globals["range"]}
    return environment


# How notebooks know what is to be seen or heard.
_MEDIA = {"_repr_png_": "an image", "_repr_jpeg_": "an image", "_repr_video_": "a video"}
_MEDIA_CLASSES = {
    "IPython.lib.display.Audio": "audio",
    "IPython.core.display.Video": "a video",
    "matplotlib.figure.Figure": "an image",
}


def _as_value(value: Any) -> Any:
    """What stands for a value in a message."""
    import jinja2

    if isinstance(value, jinja2.Undefined):
        return value  # it raises where it becomes a text
    return _Value(value if isinstance(value, str) else str(_as_text(value)))


def _as_text(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        raise TemplateError(
            "A value is bytes, not text. Decode it first, for example value.decode('utf-8'); images and "
            "audio cannot be given to a model here, which reads and writes text only."
        )
    kind = type(value)
    what = _MEDIA_CLASSES.get(f"{kind.__module__}.{kind.__qualname__}")
    what = what or next((said for name, said in _MEDIA.items() if getattr(kind, name, None)), None)
    if what:
        raise TemplateError(
            f"A value is {what} ({kind.__name__}), and models read and write text only here. Put what it "
            "shows into words, for example with a program that describes or transcribes it."
        )
    return value


def check_template(text: str) -> None:
    """Raise a TemplateError that shows the place, if a template cannot be parsed."""
    check_text(text, "The prompt")
    if not text.strip():
        raise TemplateError("The prompt is empty. Write what to ask below the %%prompt line.")
    for part in split_roles(text):
        if not _is_plain(part):
            _parse(part)


def variables_of(text: str) -> tuple[str, ...]:
    """The names that a template takes from outside, sorted."""
    found: set[str] = set()
    for part in split_roles(text):
        if not _is_plain(part):
            found |= _names(_parse(part))
    return tuple(sorted(found))


def fill(text: str, variables: Mapping[str, Any]) -> tuple[Message, ...]:
    """The messages of a template with its variables filled in, once.

    Raises:
        TemplateError: a name is not defined, an expression fails, or a value cannot be text.
    """
    return tuple(filled.message for filled in fill_stretches(text, variables))


def fill_stretches(text: str, variables: Mapping[str, Any]) -> tuple[Filled, ...]:
    """The messages of a template with its variables filled in, once, and which of them came from variables."""
    return tuple(_filled(part, variables) for part in split_roles(text))


def fill_part(part: Part, variables: Mapping[str, Any]) -> Message:
    """One message with its variables filled in."""
    return _filled(part, variables).message


def _filled(part: Part, variables: Mapping[str, Any]) -> Filled:
    if _is_plain(part):
        check_text(part.source, f"The {part.role} message")
        return Filled(part.role, (Stretch(part.source, given=False),))
    import jinja2

    try:
        template, used, recursive = _compiled(part)
        given = {name: variables[name] for name in used if name in variables}
        pieces = list(template.root_render_func(template.new_context(given)))
    except jinja2.UndefinedError as e:
        raise _undefined(e, part, variables) from e
    except TemplateError:
        raise
    except jinja2.TemplateError as e:
        raise TemplateError(f"The prompt cannot be filled: {e.message}. Or {RAW}.") from e
    except Exception as e:
        raise TemplateError(
            f"The prompt cannot be filled: {type(e).__name__}: {e}. Check the values in {{{{ }}}}."
        ) from e
    check_text("".join(pieces), f"The {part.role} message")
    if recursive:  # its loops put values and text together themselves
        return Filled(part.role, (Stretch("".join(pieces), given=True),))
    return Filled(part.role, _stretches(pieces))


def _stretches(pieces: Iterable[str]) -> tuple[Stretch, ...]:
    """Pieces as they were rendered, those of one kind that follow each other as one."""
    return tuple(
        Stretch("".join(some), given)
        for given, some in itertools.groupby(pieces, lambda piece: isinstance(piece, _Value))
    )


@functools.lru_cache(maxsize=64)
def _compiled(part: Part) -> tuple[jinja2.Template, frozenset[str], bool]:
    """A part ready to be filled, as often as there are rows, the names it takes, and whether a loop calls itself."""
    from jinja2 import nodes

    tree = _parse(part)
    recursive = any(loop.recursive for loop in tree.find_all(nodes.For))
    return _environment().from_string(tree), frozenset(_names(tree)), recursive


def check_text(text: str, what: str) -> None:
    """Raise a TemplateError for text that is not valid Unicode (lone surrogates)."""
    try:
        text.encode()
    except UnicodeEncodeError as e:
        raise TemplateError(
            f"{what} is not valid Unicode at character {e.start} ({text[e.start]!a}). It was probably "
            "decoded with the wrong encoding: read the text again with encoding='utf-8'."
        ) from e


def _parse(part: Part) -> nodes.Template:
    import jinja2

    environment = _environment()
    try:
        tokens = list(environment.lex(part.source))
        tree = environment.parse(part.source)
    except jinja2.TemplateSyntaxError as e:
        raise TemplateError(
            f"{_place(part, e.lineno)}: {e.message}. Variables are written {{{{ name }}}}; {RAW}."
        ) from e
    _refuse_stray_braces(part, tokens)
    _refuse_other_statements(part, tree)
    return tree


def _refuse_stray_braces(part: Part, tokens: list[tuple[int, str, str]]) -> None:
    raw = False
    for line, kind, value in tokens:
        raw = kind == "raw_begin" or (raw and kind != "raw_end")
        if kind != "data" or raw:
            continue
        for stray in ("}}", "%}"):
            before, found, _ = value.partition(stray)
            if found:
                where = line + before.count("\n")
                raise TemplateError(
                    f"{_place(part, where)}: {stray!r} closes nothing. Variables are written "
                    f"{{{{ name }}}}; {RAW}, or write '}} }}' with a space."
                )


def _refuse_other_statements(part: Part, tree: nodes.Template) -> None:
    from jinja2 import nodes

    allowed = (nodes.Output, nodes.For, nodes.If)
    for node in tree.find_all(nodes.Stmt):
        if not isinstance(node, allowed):
            raise TemplateError(
                f"{_place(part, node.lineno)}: {{% {type(node).__name__.lower()} %}} is not available "
                f"in prompts; use for, if and raw. To send it as text, {RAW}."
            )


def _names(tree: nodes.Template) -> set[str]:
    from jinja2 import meta

    return meta.find_undeclared_variables(tree) - {"range"}


def _undefined(error: Exception, part: Part, variables: Mapping[str, Any]) -> TemplateError:
    from jinja2 import nodes

    tree = _parse(part)
    missing = sorted(name for name in _names(tree) if name not in variables)
    named = next((name for name in missing if f"'{name}'" in str(error)), None)
    if named is None:
        return TemplateError(f"{_place(part, 1)}: {error}. Check the values in {{{{ }}}}.")
    lines = [n.lineno for n in tree.find_all(nodes.Name) if n.name == named]
    known = [n for n in variables if not n.startswith("_")]
    near = did_you_mean(named, known)
    have = ""
    if not near and 0 < len(known) <= MAX_NAMED:
        have = f" Known here: {', '.join(sorted(known))}."
    documents = ", name an index for its passages (--rag INDEX)" if named == "context" else ""
    return TemplateError(
        f"{_place(part, min(lines, default=1))}: {{{{ {named} }}}} is not defined.{near}{have} Give "
        f"{named} a value first{documents}, or {RAW}."
    )


def _place(part: Part, line: int) -> str:
    lines = part.source.split("\n")
    text = lines[min(line, len(lines)) - 1].strip()
    shown = text if len(text) <= 50 else text[:49] + "…"
    return f"Line {part.line + line - 1} ({shown!r})"
