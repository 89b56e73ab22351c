"""From a version, its variables and the options of a call to the request that an engine gets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol

from llmops_jupyter.config import Settings, check_sampling
from llmops_jupyter.engine.protocol import Engine, Request
from llmops_jupyter.errors import OptionError, SchemaError, did_you_mean
from llmops_jupyter.prompts import content as contents
from llmops_jupyter.prompts import conversation, reasoning
from llmops_jupyter.prompts.content import Content, Examples
from llmops_jupyter.prompts.examples import example_messages
from llmops_jupyter.prompts.registry import PromptVersion
from llmops_jupyter.prompts.template import fill, variables_of
from llmops_jupyter.records import Message, Sampling

SAMPLING = tuple(f.name for f in fields(Sampling))
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
class Options:
    """Settings of one call; they make no version."""

    model: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    session: str | None = None
    adapters: tuple[tuple[str, float], ...] = ()
    model_class: Any = None

    def defaults(self) -> dict[str, Any]:
        """What is remembered with the version."""
        kept: dict[str, Any] = {n: getattr(self.sampling, n) for n in SAMPLING}
        kept["stop"] = list(self.sampling.stop)
        if self.model:
            kept["model"] = self.model
        if self.adapters:
            kept["adapters"] = [list(a) for a in self.adapters]
        return kept


@dataclass(frozen=True)
class Prepared:
    """A request with all that its trace and its completion need to know."""

    engine: Engine
    content: Content
    version: PromptVersion | None
    options: Options
    variables: Mapping[str, Any]
    messages: tuple[Message, ...]
    asked: tuple[Message, ...]
    request: Request
    notes: tuple[str, ...] = ()


def make_options(
    given: Mapping[str, Any], settings: Settings, defaults: Mapping[str, Any]
) -> Options:
    """Options from a call's keywords; what is None comes from `defaults`, then from `settings`.

    Raises:
        OptionError: an option has an unknown name or a value out of range.
    """
    known = {"model", "session", "adapters", "schema", *SAMPLING}
    for name in given:
        if name not in known:
            raise OptionError(
                f"There is no option {name!r}.{did_you_mean(name, known)} "
                f"Options: {', '.join(sorted(known))}."
            )
    base: dict[str, Any] = {
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
        "seed": settings.seed,
    }
    base.update({k: v for k, v in defaults.items() if k in SAMPLING})
    base.update({k: v for k, v in given.items() if k in SAMPLING and v is not None})
    stop = base.get("stop", ())
    base["stop"] = (stop,) if isinstance(stop, str) else tuple(stop)
    if any(not isinstance(s, str) or not s for s in base["stop"]):
        raise OptionError("stop is a text or a list of texts that are not empty.")
    schema = given.get("schema")
    adapters = given.get("adapters") or tuple(tuple(a) for a in defaults.get("adapters", ()))
    return Options(
        model=given.get("model") or defaults.get("model") or settings.model or None,
        sampling=check_sampling(Sampling(**base)),
        session=given.get("session"),
        adapters=tuple(adapters),
        model_class=schema if hasattr(schema, "model_validate") else None,
    )


def check_schema_option(content: Content, schema: Any) -> None:
    """A schema given at run time must be the version's own; another one would be another version."""
    if schema is None:
        return
    if contents.as_schema(schema) != content.schema:
        raise SchemaError(
            "This version has another schema. Save a version with the new schema, then run that one."
        )


def render_messages(
    content: Content, variables: Mapping[str, Any], rows: ExampleRows
) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """All messages of a version with its variables filled in, and those without the examples."""
    asked = fill(content.template, variables)
    shots: tuple[Message, ...] = ()
    if content.examples is not None:
        said = next((m.content for m in reversed(asked) if m.role == "user"), "")
        shots = example_messages(content.template, rows(content.examples), content.examples, said)
    head = tuple(m for m in asked if m.role == "system")
    rest = tuple(m for m in asked if m.role != "system")
    messages = (*head, *shots, *rest) if shots else asked
    if content.cot:
        messages = reasoning.ask_to_reason(messages, structured=content.schema is not None)
    return messages, asked


def build_request(
    content: Content, options: Options, messages: tuple[Message, ...], request_id: str
) -> Request:
    """The first request of a run: with chain of thought, the one that reasons."""
    sampling, schema = options.sampling, content.schema
    if content.cot and schema is not None:
        schema = reasoning.reasoning_schema(schema)
    elif content.cot:
        sampling = replace(sampling, stop=(*sampling.stop, reasoning.ANSWER))
    return Request(
        request_id,
        messages=messages,
        sampling=sampling,
        schema=schema,
        adapters=options.adapters,
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
) -> Prepared:
    """Render and check everything that can be checked before a trace is opened.

    Raises:
        TemplateError, OptionError, ModelError: nothing has been written.
    """
    messages, asked = render_messages(content, variables, rows)
    engine = engines.engine(options.model)
    notes: list[str] = []
    if options.session:
        earlier = turns(options.session)
        reserve = min(options.sampling.max_tokens, engine.context_length // 4)
        messages, left_out = conversation.with_history(
            messages, earlier, engine.count_tokens, engine.context_length - reserve
        )
        if left_out:
            notes.append(f"session {options.session}: the {left_out} oldest turns did not fit")
    used = set(variables_of(content.template))
    return Prepared(
        engine=engine,
        content=content,
        version=version,
        options=options,
        variables={k: kept_value(v) for k, v in variables.items() if k in used},
        messages=messages,
        asked=asked,
        request=build_request(content, options, messages, "1"),
        notes=tuple(notes),
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
