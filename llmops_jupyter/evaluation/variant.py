"""What is evaluated: a prompt with its settings, a function, or answers that are there already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llmops_jupyter.errors import OptionError, did_you_mean
from llmops_jupyter.prompts.content import Content
from llmops_jupyter.prompts.options import DOCUMENTS, SAMPLING, TOOLS
from llmops_jupyter.prompts.registry import PromptVersion

OPTIONS = (
    "model",
    "adapters",
    "exact",
    "timeout",
    "schema",
    "guard",
    *TOOLS,
    *DOCUMENTS,
    *SAMPLING,
)
COLUMN = "column"
# Settings that are objects and say nothing in a label.
HIDDEN = ("schema", "tools", "allow")
_NUMBERS = {"max_tokens", "seed", "top_k", "penalty_window", "logprobs"}


@dataclass(frozen=True)
class Variant:
    """One of the things that are compared. Variants may differ in prompt, model, adapter, index, guard or sampling.

    Args:
        prompt: a reference, a `PromptVersion` or scratch `Content`.
        options: settings of the run: model, adapters, exact, timeout, schema, tools and what belongs to them,
            documents (rag and what belongs to it), guard, and the fields of `Sampling`.
        column: the column that has the answers already.
        function: a function of a row that returns an answer (a text or a `Completion`).
        name: for people; made from the rest if left out.
    """

    prompt: str | PromptVersion | Content | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    column: str = ""
    function: Callable[..., Any] | None = None
    name: str = ""

    def __post_init__(self) -> None:
        given = [x for x in (self.prompt, self.column or None, self.function) if x is not None]
        if len(given) != 1:
            raise OptionError("A variant is one of a prompt, a column of answers and a function.")
        for name in self.options:
            if name not in OPTIONS:
                raise OptionError(
                    f"A variant has no setting {name!r}.{did_you_mean(name, OPTIONS)} "
                    f"Settings: {', '.join(OPTIONS)}."
                )

    @property
    def label(self) -> str:
        """The name, or what the variant is made of."""
        if self.name:
            return self.name
        if self.column:
            return f"{COLUMN}={self.column}"
        if self.function is not None:
            return getattr(self.function, "__name__", type(self.function).__name__)
        base = (
            self.prompt if isinstance(self.prompt, str) else getattr(self.prompt, "ref", "scratch")
        )
        plain = {k: v for k, v in self.options.items() if v is not None and k not in HIDDEN}
        shown = ",".join(f"{k}={_shown(v)}" for k, v in plain.items())
        return f"{base}:{shown}" if shown else str(base)

    def with_options(self, **options: Any) -> Variant:
        """The same with settings where it has none of its own; those that are None are left out."""
        given = {k: v for k, v in options.items() if v is not None}
        return replace(self, options={**given, **self.options})


def as_variant(value: Any) -> Variant:
    """A variant from what users write.

    ``"support@3"``, ``"support@3:model=qwen,temperature=0"``, ``"column=answer"``, a `PromptVersion`, scratch
    `Content` or a function of a row.

    Raises:
        OptionError: it is none of these, or a setting cannot be used.
    """
    if isinstance(value, Variant):
        return value
    if isinstance(value, str):
        return _parse(value)
    if isinstance(value, PromptVersion | Content):
        return Variant(prompt=value)
    if callable(value):
        return Variant(function=value)
    raise OptionError(
        f"A variant is a prompt such as 'support@3', a function or a Variant, not {type(value).__name__}."
    )


def _parse(text: str) -> Variant:
    if text.startswith(f"{COLUMN}="):
        return Variant(column=text.removeprefix(f"{COLUMN}="))
    prompt, _, rest = text.partition(":")
    options: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, given = part.partition("=")
        if not equals:
            raise OptionError(
                f"{part!r} in {text!r} is no setting. Write NAME@VERSION:setting=value,setting=value."
            )
        if key in ("adapter", "adapters"):
            options.setdefault("adapters", []).append(given)
        else:
            options[key] = _value(key, given)
    return Variant(prompt=prompt, options=options)


def _value(key: str, text: str) -> Any:
    """A setting's value from its text; texts of settings that are texts stay."""
    if key in ("model", "guard", "rag", "rag_rerank"):
        return text
    if key == "rag_tokens":
        return int(text) if text.isdigit() else text
    if key in ("exact", "rag_only", "rag_quote"):
        return text.lower() not in ("false", "no", "0")
    if key == "stop":
        return (text,)
    try:
        return int(text) if key in _NUMBERS else float(text)
    except ValueError:
        if key not in OPTIONS:
            return text  # the variant itself says that there is no such setting
        raise OptionError(f"{key} is a number, not {text!r}.") from None


def _shown(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
