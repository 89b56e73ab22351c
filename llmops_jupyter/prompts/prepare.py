"""From a version, its variables and the options of a call to the request that an engine gets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from llmops_jupyter.engine.protocol import Engine, Request
from llmops_jupyter.engine.replay import live_engine
from llmops_jupyter.errors import ContextLengthError, OptionError, SchemaError
from llmops_jupyter.prompts import content as contents
from llmops_jupyter.prompts import conversation, reasoning
from llmops_jupyter.prompts.content import Content, Examples
from llmops_jupyter.prompts.examples import example_messages
from llmops_jupyter.prompts.grounding import (
    PLACE,
    Context,
    Source,
    Sources,
    put,
    question_of,
    reserved,
    with_place,
)
from llmops_jupyter.prompts.guarding import Guarding, guarding_of, marked
from llmops_jupyter.prompts.options import Options
from llmops_jupyter.prompts.registry import PromptVersion
from llmops_jupyter.prompts.spending import Purse
from llmops_jupyter.prompts.template import fill_stretches, variables_of
from llmops_jupyter.records import Message

MAX_KEPT_VALUE = 10_000


class Engines(Protocol):
    """Where engines come from; the workspace plugs this in."""

    def engine(self, model: str | None) -> Engine:
        """The loaded engine of a model reference; None means the default model."""
        ...


class ExampleRows(Protocol):
    """Reads the rows of a data set that a version's examples point at."""

    def __call__(self, examples: Examples) -> Sequence[Mapping[str, Any]]: ...


@dataclass(frozen=True)
class Prepared:
    """A request with all that its trace and its completion need to know.

    `attributes` are further ones of the root span. With a `source` passages of documents are put into the
    messages when the run begins; `context` has them then. `turns` are those of the session, `question` what is
    searched for if it is not the last message. `told` is `asked` with the places of passages still in it,
    `guarding` the policy that the run is under, and `purse` keeps the budgets, if there are any.
    """

    engine: Engine
    content: Content
    version: PromptVersion | None
    options: Options
    variables: Mapping[str, Any]
    messages: tuple[Message, ...]
    asked: tuple[Message, ...]
    request: Request
    notes: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    source: Source | None = None
    context: Context | None = None
    turns: Sequence[conversation.Turn] = ()
    question: str = ""
    told: tuple[Message, ...] = ()
    guarding: Guarding | None = None
    purse: Purse | None = None


def check_schema_option(content: Content, schema: Any) -> None:
    """A schema given at run time must be the version's own; another one would be another version."""
    if schema is None:
        return
    if contents.as_schema(schema) != content.schema:
        raise SchemaError(
            "This version has another schema. Save a version with the new schema, then run that one."
        )


def with_tools(content: Content, options: Options, *, versioned: bool) -> Content:
    """The content of a call with tools; those of a version are the version's own.

    Raises:
        OptionError: the version has other tools, or functions for its tools are missing.
    """
    if not (options.tools or content.tools):
        return content
    from llmops_jupyter.prompts.tools import told_tools

    told = told_tools(options.tools)
    if content.cot:
        raise OptionError("Tools and a chain of thought do not go together. Leave cot out.")
    if told == content.tools:
        return content
    if not told:
        wanted = ", ".join(str(tool.get("name")) for tool in content.tools)
        raise OptionError(
            f"This prompt has tools, which are functions of yours: give them again, tools=[{wanted}] or "
            "--tools VAR."
        )
    if content.tools or versioned:
        raise OptionError(
            "This version has other tools, or tools with other signatures. Save a version with these: "
            "prompts.save(name, template, tools=…)"
        )
    return replace(content, tools=told)


def render_messages(
    content: Content, asked: tuple[Message, ...], rows: ExampleRows
) -> tuple[Message, ...]:
    """All messages of a version: those of its filled template, examples, and what is added to them."""
    shots: tuple[Message, ...] = ()
    if content.examples is not None:
        said = next((m.content for m in reversed(asked) if m.role == "user"), "")
        shots = example_messages(content.template, rows(content.examples), content.examples, said)
    head = tuple(m for m in asked if m.role == "system")
    rest = tuple(m for m in asked if m.role != "system")
    messages = (*head, *shots, *rest) if shots else asked
    if content.cot:
        messages = reasoning.ask_to_reason(messages, structured=content.schema is not None)
    return messages


def build_request(
    content: Content, options: Options, messages: tuple[Message, ...], request_id: str
) -> Request:
    """The first request of a run: with chain of thought, the one that reasons."""
    sampling, schema = options.sampling, content.schema
    if schema is not None:
        schema = reasoning.without_root_reference(schema)
    if content.cot and schema is not None:
        schema = reasoning.reasoning_schema(schema)
    elif content.cot:
        sampling = replace(sampling, stop=(*sampling.stop, reasoning.ANSWER))
    return Request(
        request_id,
        messages=messages,
        sampling=sampling,
        schema=schema,
        tools=tuple(found.tool for found in options.tools),
        tool_choice=options.tool_choice[0] if options.tool_choice else "auto",
        deadline_s=options.timeout,
        adapters=tuple((a.path, a.scale) for a in options.adapters),
        # Who gives a seed wants the same answer again, which takes a computation of the same shape.
        exact=options.exact or options.sampling.seed is not None,
    )


def prepare(
    content: Content,
    version: PromptVersion | None,
    options: Options,
    variables: Mapping[str, Any],
    *,
    engines: Engines,
    rows: ExampleRows,
    turns: Callable[[str], Sequence[conversation.Turn]],
    sources: Sources,
) -> Prepared:
    """Render and check everything that can be checked before a trace is opened.

    Raises:
        TemplateError, OptionError, ModelError: nothing has been written.
    """
    content = with_tools(content, options, versioned=version is not None)
    source = sources(options.documents) if options.documents is not None else None
    question = question_of(content.template, variables) if source is not None else ""
    variables = with_place(variables, source is not None)
    stretches = fill_stretches(content.template, variables)
    filled = asked = tuple(one.message for one in stretches)
    messages = render_messages(content, asked, rows)
    used = variables_of(content.template)
    guarding = guarding_of(options.guard, stretches)
    engine = engines.engine(options.model)
    notes = list(options.notes)
    earlier: Sequence[conversation.Turn] = ()
    if options.session:
        earlier = turns(options.session)
        reserve = min(options.sampling.max_tokens, engine.context_length // 4)
        if options.tools:
            told = json.dumps(list(content.tools), ensure_ascii=False)
            reserve += engine.count_tokens(told)
        if options.documents is not None:
            reserve += reserved(options.documents, engine.context_length)
        messages, left_out = conversation.with_history(
            messages, earlier, engine.count_tokens, engine.context_length - reserve
        )
        if left_out:
            notes.append(f"session {options.session}: the {left_out} oldest turns did not fit")
    request = build_request(content, options, marked(guarding, messages), "1")
    if source is not None:
        messages, asked = put(messages, ""), put(asked, "")
    return Prepared(
        engine=engine,
        content=content,
        version=version,
        options=options,
        variables={
            k: kept_value(variables[k])
            for k in used
            if k in variables and variables[k] is not PLACE
        },
        messages=messages,
        asked=asked,
        request=request,
        notes=tuple(notes),
        source=source,
        turns=earlier,
        question=question,
        told=filled,
        guarding=guarding,
    )


def check_length(prepared: Prepared) -> None:
    """Raise a ContextLengthError if the prompt leaves no room for an answer in the model's context.

    An engine that replays needs no check: its answer is there.
    """
    engine = live_engine(prepared.engine)
    if engine is None:
        return
    count = engine.count_tokens(prepared.messages)
    if count >= engine.context_length:
        raise ContextLengthError(
            f"The prompt has {count:,} tokens, more than the context of {engine.context_length:,} "
            "holds. Shorten it, or load the model with a longer context: %config LLMOps.context_length"
        )


def kept_value(value: Any) -> Any:
    """A variable's value as a trace keeps it: JSON values as they are, others as text, long ones cut."""
    if isinstance(value, bool | int | float) or value is None:
        return value
    if not isinstance(value, str):
        try:
            text = json.dumps(value, ensure_ascii=False)
        except (TypeError, ValueError):
            text = str(value)
        else:
            if len(text) <= MAX_KEPT_VALUE:
                return value
        value = text
    if len(value) <= MAX_KEPT_VALUE:
        return value
    return f"{value[:MAX_KEPT_VALUE]}… ({len(value)} characters)"
