"""Metrics: what scores an answer, by code, by a judge, or by a function of the user's.

A name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.metrics.attacks import attacked, useful
    from llmops_jupyter.evaluation.metrics.figures import (
        cost,
        finished,
        first_token,
        latency,
        length,
        logprob,
        pii,
        repetition,
        sentences,
        speed,
        tokens,
        tool_called,
        words,
    )
    from llmops_jupyter.evaluation.metrics.functions import function
    from llmops_jupyter.evaluation.metrics.metric import Case, Metric, Scored
    from llmops_jupyter.evaluation.metrics.named import (
        Entry,
        as_metric,
        bounded,
        catalogue,
        parse,
    )
    from llmops_jupyter.evaluation.metrics.refusals import refusal
    from llmops_jupyter.evaluation.metrics.similarity import (
        bleu,
        chrf,
        edit,
        embedding,
        f1,
        rouge_l,
    )
    from llmops_jupyter.evaluation.metrics.structure import (
        field,
        json_equal,
        json_valid,
        numeric,
        python,
        schema,
    )
    from llmops_jupyter.evaluation.metrics.texts import (
        contains,
        contains_all,
        contains_any,
        ends_with,
        exact,
        icontains,
        iexact,
        one_of,
        regex,
        starts_with,
    )

_HOMES = {
    "attacks": ("attacked", "useful"),
    "named": ("Entry", "as_metric", "bounded", "catalogue", "parse"),
    "figures": (
        *("cost", "finished", "first_token", "latency", "length", "logprob", "pii"),
        *("repetition", "sentences", "speed", "tokens", "tool_called", "words"),
    ),
    "functions": ("function",),
    "metric": ("Case", "Metric", "Scored"),
    "refusals": ("refusal",),
    "similarity": ("bleu", "chrf", "edit", "embedding", "f1", "rouge_l"),
    "structure": ("field", "json_equal", "json_valid", "numeric", "python", "schema"),
    "texts": (
        *("contains", "contains_all", "contains_any", "ends_with", "exact", "icontains"),
        *("iexact", "one_of", "regex", "starts_with"),
    ),
}

__all__ = [
    "Case",
    "Entry",
    "Metric",
    "Scored",
    "as_metric",
    "attacked",
    "bleu",
    "bounded",
    "catalogue",
    "chrf",
    "contains",
    "contains_all",
    "contains_any",
    "cost",
    "edit",
    "embedding",
    "ends_with",
    "exact",
    "f1",
    "field",
    "finished",
    "first_token",
    "function",
    "icontains",
    "iexact",
    "json_equal",
    "json_valid",
    "latency",
    "length",
    "logprob",
    "numeric",
    "one_of",
    "parse",
    "pii",
    "python",
    "refusal",
    "regex",
    "repetition",
    "rouge_l",
    "schema",
    "sentences",
    "speed",
    "starts_with",
    "tokens",
    "tool_called",
    "useful",
    "words",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = value  # a module of the same name must not stand before it
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
