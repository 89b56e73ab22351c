"""From a request to runs of prompts: the bundle's template is filled, or the caller's messages stand for themselves.

The template is filled where the request has `variables`, and where the template has one variable or none and the request
brings no system message of its own: then the last message of the user is the variable. The filled template stands where
that message was; earlier turns stand before it, and what came after it, such as results of tools, behind. Otherwise the
messages go to the model as they are. In both cases the bundle's settings, adapter, documents and guard hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmops_jupyter.config import check_sampling
from llmops_jupyter.deploy.serving.asking import Asked
from llmops_jupyter.deploy.serving.faults import Refusal
from llmops_jupyter.engine.protocol import Engine, Event, Request
from llmops_jupyter.prompts.content import Content
from llmops_jupyter.prompts.grounding import CONTEXT, put, question_of, with_place
from llmops_jupyter.prompts.guarding import guarding_of, marked
from llmops_jupyter.prompts.prepare import Prepared, build_request, kept_value, render_messages
from llmops_jupyter.prompts.template import Filled, Stretch, fill_stretches, variables_of
from llmops_jupyter.records import Message, Tool

if TYPE_CHECKING:
    from llmops_jupyter.deploy.serving.loaded import Loaded

TEMPLATE, MESSAGES, TEXT = "template", "messages", "text"
ONLY_TEMPLATE = (
    "This server answers with its own prompt only. Leave system messages out and send the last message of the user, or "
    "variables: {names}."
)


@dataclass(frozen=True)
class Told:
    """The messages of a run.

    Args:
        how: 'template', 'messages' or 'text'.
        filled: all that is new, in their order, as the guard is to see it.
        messages: the same with calls of tools.
        every: with examples and what else goes with the template.
        content: of the prompt, as far as it is used.
        variables: of the template.
    """

    how: str
    filled: tuple[Filled, ...]
    messages: tuple[Message, ...]
    every: tuple[Message, ...]
    content: Content
    variables: Mapping[str, Any]


class AsText:
    """An engine that reads the last message as plain text, without the chat template."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def generate(self, requests: Iterable[Request]) -> Iterator[Event]:
        """As the engine does, of texts."""
        return self._engine.generate(
            replace(r, messages=(), text=r.messages[-1].content) for r in requests
        )

    def count_tokens(self, prompt: Sequence[Message] | str) -> int:
        """Tokens of a text."""
        text = prompt if isinstance(prompt, str) else prompt[-1].content
        return self._engine.count_tokens(text)


def prepared(loaded: Loaded, asked: Asked, attributes: Mapping[str, Any]) -> list[Prepared]:
    """The runs of a request, one for each answer, checked as far as they can be before one begins.

    Raises:
        Refusal: the request does not fit the bundle.
        OptionError, TemplateError, ModelError, EngineError: as `prompts.run` does.
    """
    texts: tuple[str | None, ...] = asked.texts or (None,)
    found = []
    for text in texts:
        for number in range(asked.n):
            found.append(_prepared(loaded, asked, text, number, attributes))
    return found


def _prepared(
    loaded: Loaded, asked: Asked, text: str | None, number: int, attributes: Mapping[str, Any]
) -> Prepared:
    told = _told(loaded, asked, text)
    sampling = replace(loaded.options.sampling, **asked.sampling)
    if sampling.seed is not None and number:
        sampling = replace(sampling, seed=(sampling.seed + number) % 2**32)
    options = replace(
        loaded.options, sampling=check_sampling(sampling), timeout=loaded.timeout, tools=()
    )
    prompts, documents = loaded.workspace.prompts, options.documents
    source = None if documents is None else prompts.find_source(documents)
    guarding = guarding_of(options.guard, told.filled)
    request = build_request(told.content, options, marked(guarding, told.every), str(number + 1))
    tools = asked.tools or (_tools_of(told.content) if told.how == TEMPLATE else ())
    if tools:
        request = replace(request, tools=tools, tool_choice=asked.tool_choice)
    if asked.schema is not None:
        request = replace(request, schema=asked.schema)
    engine = loaded.engine()
    return Prepared(
        engine=engine if told.how != TEXT else AsText(engine),
        content=told.content,
        version=loaded.version if told.how == TEMPLATE else None,
        options=options,
        variables={k: kept_value(v) for k, v in told.variables.items() if k != CONTEXT},
        messages=put(told.every, "") if source is not None else told.every,
        asked=put(told.messages, "") if source is not None else told.messages,
        request=request,
        attributes={**attributes, "llmops.serving.prompt": told.how},
        source=source,
        question=question_of(told.content.template, told.variables),
        told=told.messages,
        guarding=guarding,
        purse=loaded.purse(),
    )


def _told(loaded: Loaded, asked: Asked, text: str | None) -> Told:
    content = loaded.content
    names = tuple(n for n in variables_of(content.template) if n != CONTEXT)
    own = any(m.role == "system" for m in asked.messages)
    place = next(
        (i for i in reversed(range(len(asked.messages))) if asked.messages[i].role == "user"), None
    )
    if asked.variables is not None:
        return _template(loaded, asked, asked.variables, names, place)
    if text is None and len(names) <= 1 and not own and place is not None:
        said = asked.messages[place].content
        if names:
            return _template(loaded, asked, {names[0]: said}, names, place)
        if _is_opening(loaded):
            return _template(loaded, asked, {}, names, None)
    if loaded.only_template:
        raise Refusal(400, ONLY_TEMPLATE.format(names=", ".join(names) or "none"), param="messages")
    plain = Content("")
    if text is not None:
        message = Message("user", text)
        return Told(TEXT, (_given(message),), (message,), (message,), plain, {})
    messages = asked.messages
    return Told(MESSAGES, tuple(map(_given, messages)), messages, messages, plain, {})


def _is_opening(loaded: Loaded) -> bool:
    """Whether a template without variables only opens a conversation: it is a system message."""
    filled = fill_stretches(loaded.content.template, with_place({}, has_documents=True))
    return all(one.role == "system" for one in filled)


def _template(
    loaded: Loaded,
    asked: Asked,
    variables: Mapping[str, Any],
    names: Sequence[str],
    place: int | None,
) -> Told:
    """The filled template among the turns of the request."""
    unknown = next((name for name in variables if name not in names), None)
    if unknown is not None:
        raise Refusal(
            400,
            f"The prompt has no variable {unknown!r:.80}. Variables: {', '.join(names) or 'none'}.",
            code="variables_not_valid",
            param=f"variables.{unknown:.80}",
        )
    content = loaded.content
    if asked.schema is not None:
        content = replace(content, schema=None, cot=False)
    turns = tuple(m for m in asked.messages if m.role != "system")
    at = next((i for i in reversed(range(len(turns))) if turns[i].role == "user"), None)
    values = with_place(variables, loaded.options.documents is not None)
    filled = fill_stretches(content.template, values)
    if place is None and asked.variables is None:
        at = None  # a template that is a system message only stands before all
    before = turns if at is None else turns[:at]
    after = () if at is None else turns[at + 1 :]
    head = tuple(f for f in filled if f.role == "system")
    rest = tuple(f for f in filled if f.role != "system")
    every = _placed(
        render_messages(content, tuple(f.message for f in filled), loaded.examples),
        len(rest),
        before,
        after,
    )
    messages = (
        *(f.message for f in head),
        *before,
        *(f.message for f in rest),
        *after,
    )
    new = (*head, *map(_given, before), *rest, *map(_given, after))
    told = {name: variables[name] for name in names if name in variables}
    return Told(TEMPLATE, new, messages, every, content, told)


def _placed(
    base: Sequence[Message], own: int, before: Sequence[Message], after: Sequence[Message]
) -> tuple[Message, ...]:
    """The messages of the template, whose last `own` ones are the turn, with other turns around them."""
    at = len(base) - own
    return (*base[:at], *before, *base[at:], *after)


def _given(message: Message) -> Filled:
    return Filled(message.role, (Stretch(message.content, given=True),))


def _tools_of(content: Content) -> tuple[Tool, ...]:
    """The tools of a prompt, which the caller runs."""
    return tuple(
        Tool(
            str(tool["name"]),
            str(tool.get("description") or ""),
            dict(tool.get("parameters") or {}),
        )
        for tool in content.tools
    )
