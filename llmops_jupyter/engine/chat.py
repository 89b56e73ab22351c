"""A model's chat template, rendered so that a value can never become a control token.

The template is rendered as transformers does it (Jinja in a sandbox, with the same filters and globals).
Before that, whatever in a message could be read as a control token is replaced by private-use
characters. The result is split at the control tokens that are left, which are the template's own, and
the characters are put back in the runs of text between them.
"""

from __future__ import annotations

import datetime
import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine import callforms, toolcalls
from llmops_jupyter.engine.thinking import begun, marks_of
from llmops_jupyter.errors import ModelError
from llmops_jupyter.records import Message, Tool

if TYPE_CHECKING:
    import jinja2

PRIVATE_USE = range(0xF0000, 0xFFFFE)
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PLAIN = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)


@dataclass(frozen=True)
class Piece:
    """A run of text, or one control token of the template."""

    text: str
    control: bool


@dataclass(frozen=True)
class ChatFormat:
    """A chat template with the texts of the model's control tokens; `source` says where it is from."""

    template: str
    source: str
    control: tuple[str, ...]
    bos: str = ""
    eos: str = ""

    def pieces(
        self, messages: Sequence[Message], prefill: str = "", tools: Sequence[Tool] = ()
    ) -> list[Piece]:
        """The rendered conversation up to where the assistant speaks, then `prefill`.

        Of `tools` the template tells the model, or a text where it cannot.

        Raises:
            ModelError: the template refuses the messages (some allow no system message, for instance).
        """
        knows = callforms.form_of(self.template) is not None
        if not knows and (tools or toolcalls.uses_tools(messages)):
            own = bool(tools) and not any(m.role == "system" for m in messages)
            messages, tools = toolcalls.plain_messages(messages, tools), ()
            if own and not self._takes_system:
                messages = toolcalls.without_system(messages)
        values = toolcalls.template_messages(messages)
        told = [tool.as_dict() for tool in tools]
        mask = Mask.for_texts(self.control, [*_texts(values), *_texts(told), prefill])
        rendered = self._render(_hidden(mask, values), _hidden(mask, told) or None)
        if prefill:
            marks = marks_of(self.template)
            if marks is not None and begun(marks, rendered):
                # What the answer begins with comes after the reasoning.
                rendered += f"\n{marks.end}\n\n"
        return self._split(mask, rendered + mask.hide(prefill))

    def taught(self, messages: Sequence[Message]) -> tuple[list[Piece], list[Piece]]:
        """What the model reads before its last message, as `pieces` gives it, and what it is to write.

        The second is what the template writes for that message up to where the next would begin. Where it
        writes the conversation otherwise once the message is there (some templates drop the reasoning that
        they begin), it is the message's text alone, after a reasoning that is closed.

        Raises:
            ModelError: the template refuses the messages, or knows no calls of tools for the last.
        """
        if callforms.form_of(self.template) is None and toolcalls.uses_tools(messages):
            if messages[-1].tool_calls:
                raise ModelError(
                    "The model's chat template knows no calls of tools, so none can be learned. Leave "
                    "such examples out, or choose another model."
                )
            messages = toolcalls.plain_messages(messages, ())
        values = toolcalls.template_messages(messages)
        mask = Mask.for_texts(self.control, _texts(values))
        hidden = _hidden(mask, values)
        prompt, whole = self._render(hidden[:-1]), self._render(hidden, answer=True)
        if whole.startswith(prompt) and len(whole) > len(prompt):
            return self._split(mask, prompt), self._split(mask, whole[len(prompt) :])
        marks = marks_of(self.template)
        if marks is not None and begun(marks, prompt):
            prompt += f"\n{marks.end}\n\n"
        return self._split(mask, prompt), self._split(mask, mask.hide(messages[-1].content))

    @property
    def _takes_system(self) -> bool:
        """Whether the template allows a message of the system."""
        try:
            self._render([{"role": r, "content": "?"} for r in ("system", "user")])
        except ModelError:
            return False
        return True

    def begins_to_think(self, messages: Sequence[Message]) -> bool:
        """Whether the template ends within reasoning, which the model then goes on with."""
        marks = marks_of(self.template)
        return marks is not None and begun(
            marks, self._render([{"role": m.role, "content": m.content} for m in messages])
        )

    def filled(self, values: Mapping[str, str]) -> list[Piece]:
        """The template with each `{name}` replaced by its value; for templates that are no Jinja."""
        mask = Mask.for_texts(self.control, list(values.values()))
        places = re.compile("|".join(re.escape(f"{{{name}}}") for name in values))
        shown = places.sub(lambda m: mask.hide(values[m.group(0)[1:-1]]), self.template)
        return self._split(mask, shown)

    def _render(
        self, messages: Sequence[Mapping[str, Any]], tools: Any = None, *, answer: bool = False
    ) -> str:
        import jinja2

        try:
            return compiled(self.template).render(
                messages=list(messages),
                add_generation_prompt=not answer,
                bos_token=self.bos,
                eos_token=self.eos,
                tools=tools,
            )
        except (jinja2.TemplateError, TypeError) as e:
            raise ModelError(
                f"The model's chat template refuses these messages: {e}. Change the roles, for "
                "example leave the system message out."
            ) from e

    def _split(self, mask: Mask, rendered: str) -> list[Piece]:
        pattern = _alternatives(self.control)
        if pattern is None:
            return [Piece(mask.show(rendered), control=False)] if rendered else []
        pieces: list[Piece] = []
        end = 0
        for match in pattern.finditer(rendered):
            if match.start() > end:
                pieces.append(Piece(mask.show(rendered[end : match.start()]), control=False))
            pieces.append(Piece(match.group(0), control=True))
            end = match.end()
        if end < len(rendered):
            pieces.append(Piece(mask.show(rendered[end:]), control=False))
        return pieces


@dataclass(frozen=True)
class Mask:
    """Private-use characters that stand for texts, and the way back."""

    stands_for: Mapping[str, str]
    characters: Mapping[str, str]
    control: tuple[str, ...]

    @classmethod
    def for_texts(cls, control: tuple[str, ...], texts: Sequence[str]) -> Mask:
        """A mask that uses none of the characters that occur in the texts."""
        taken = {c for text in texts for c in text if ord(c) >= PRIVATE_USE.start}
        hidden = {t for text in texts for t in _occurring(control, text)}
        hidden |= {e for text in texts for e in _loose_ends(control, text)}
        free = (chr(code) for code in PRIVATE_USE if chr(code) not in taken)
        characters = dict(zip(sorted(hidden), free, strict=False))
        return cls({c: t for t, c in characters.items()}, characters, control)

    def hide(self, text: str) -> str:
        """The text with control tokens and their loose ends replaced."""
        pattern = _alternatives(self.control)
        if pattern is None or not self.characters:
            return text
        text = pattern.sub(lambda m: self.characters[m.group(0)], text)
        ends = _loose_ends(self.control, text)
        if text and text[0] in ends:
            text = self.characters.get(text[0], text[0]) + text[1:]
        if text and text[-1] in ends:
            text = text[:-1] + self.characters.get(text[-1], text[-1])
        return text

    def show(self, text: str) -> str:
        """The way back."""
        for character, original in self.stands_for.items():
            if character in text:
                text = text.replace(character, original)
        return text


def _texts(value: Any) -> list[str]:
    """All texts in JSON values, keys included."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [t for pair in value.items() for part in pair for t in _texts(part)]
    if isinstance(value, list | tuple):
        return [text for part in value for text in _texts(part)]
    return []


def _hidden(mask: Mask, value: Any) -> Any:
    """JSON values with all their texts hidden."""
    if isinstance(value, str):
        return mask.hide(value)
    if isinstance(value, Mapping):
        return {_hidden(mask, key): _hidden(mask, part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden(mask, part) for part in value]
    return value


def _occurring(control: tuple[str, ...], text: str) -> set[str]:
    pattern = _alternatives(control)
    return set(pattern.findall(text)) if pattern is not None else set()


def _loose_ends(control: tuple[str, ...], text: str) -> set[str]:
    """First and last characters of a text that could complete a control token with what stands beside."""
    found = set()
    for token in control:
        for cut in range(1, len(token)):
            if text.endswith(token[:cut]):
                found.add(text[-1])
            if text.startswith(token[cut:]):
                found.add(text[0])
    return {c for c in found if not c.isspace()}


@functools.lru_cache(maxsize=8)
def _alternatives(control: tuple[str, ...]) -> re.Pattern[str] | None:
    texts = sorted((t for t in control if t), key=lambda t: (-len(t), t))
    return re.compile("|".join(map(re.escape, texts))) if texts else None


@functools.lru_cache(maxsize=8)
def compiled(template: str) -> jinja2.Template:
    """A chat template ready to be rendered; raises a ModelError if it cannot be parsed."""
    import jinja2
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _now
    try:
        return environment.from_string(_GENERATION.sub(_plain_block, template))
    except jinja2.TemplateError as e:
        raise ModelError(f"The model's chat template cannot be parsed: {e}.") from e


# A tag of transformers that says which text the assistant wrote; it changes nothing here.
_GENERATION = re.compile(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}")


def _plain_block(tag: re.Match[str]) -> str:
    return f"{{%{tag[1]} {'endif' if tag[2] else 'if true'} {tag[3]}%}}"


def _to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> None:
    import jinja2

    raise jinja2.TemplateError(message)


def _now(pattern: str) -> str:
    return datetime.datetime.now().astimezone().strftime(pattern)


def choose_format(template: str | None, control: Sequence[str], bos: str, eos: str) -> ChatFormat:
    """The model's own template; else ChatML if the model knows its tokens; else plain roles."""
    texts = tuple(sorted(set(control)))
    if template:
        return ChatFormat(template, "model", texts, bos, eos)
    if {"<|im_start|>", "<|im_end|>"} <= set(texts):
        return ChatFormat(CHATML, "chatml", texts, bos, eos)
    return ChatFormat(PLAIN, "plain", texts, bos, eos)


def tokenize_pieces(
    pieces: Sequence[Piece],
    *,
    control_ids: Mapping[str, int],
    strips: Mapping[int, tuple[bool, bool]],
    tokenize: Callable[[str], list[int]],
    bos: int | None,
) -> list[int]:
    """Token ids of the pieces; the start token `bos` goes in front unless it is there already.

    `strips` says which control tokens swallow the white space on their left and right.
    """
    ids: list[int] = []
    for place, piece in enumerate(pieces):
        if piece.control:
            ids.append(control_ids[piece.text])
            continue
        text = piece.text
        before, after = pieces[place - 1] if place else None, pieces[place + 1 : place + 2]
        if before is not None and before.control and strips.get(control_ids[before.text], _NO)[1]:
            text = text.lstrip()
        if after and after[0].control and strips.get(control_ids[after[0].text], _NO)[0]:
            text = text.rstrip()
        if text:
            ids.extend(tokenize(text))
    if bos is not None and ids[:1] != [bos]:
        ids.insert(0, bos)
    return ids


_NO = (False, False)
