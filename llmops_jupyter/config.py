"""Settings and where they come from: defaults, then `LLMOPS_*` variables, then `%config LLMOps`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from llmops_jupyter.errors import OptionError, did_you_mean
from llmops_jupyter.records import Sampling


@dataclass(frozen=True)
class Settings:
    """What holds where neither a cell nor a call says otherwise."""

    model: str = ""
    temperature: float = Sampling.temperature
    max_tokens: int = Sampling.max_tokens
    seed: int | None = None
    context_length: int | None = None
    threads: int | None = None
    stream: bool = True
    durable: bool = False
    redact: str = ""
    keep_days: float | None = None
    keep_bytes: int | None = None


HELP: Mapping[str, str] = {
    "model": "Model of cells without -m; empty: the workspace's default, else the only one.",
    "temperature": "Sampling temperature of cells without --temperature; 0 is greedy.",
    "max_tokens": "Longest answer in tokens of cells without --max-tokens.",
    "seed": "Seed of cells without --seed; None draws a fresh one each time.",
    "context_length": "Tokens of context to load a model with; None: its own, at most 4,096.",
    "threads": "Threads that a model runs on; None: all physical cores that may be used.",
    "stream": "Show answers while they are written.",
    "durable": "Wait for the disk at each commit, so that a power cut loses nothing either.",
    "redact": "What to take out of traces before they are written: empty, 'pii', or kinds such as "
    "'email,credit_card'.",
    "keep_days": "Delete traces older than this many days when a workspace opens; None keeps all.",
    "keep_bytes": "Delete the oldest traces when the store holds more bytes; None keeps all.",
}


def _boolean(text: str) -> bool:
    return text.strip().lower() not in ("", "0", "false", "no", "off")


def _optional(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text.strip().lower() in ("", "none") else kind(text)


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "model": str,
    "temperature": float,
    "max_tokens": int,
    "seed": _optional(int),
    "context_length": _optional(int),
    "threads": _optional(int),
    "stream": _boolean,
    "durable": _boolean,
    "redact": str,
    "keep_days": _optional(float),
    "keep_bytes": _optional(int),
}


def from_environment(environ: Mapping[str, str] | None = None) -> Settings:
    """The defaults with `LLMOPS_MODEL`, `LLMOPS_TEMPERATURE`, … where they are set."""
    variables = os.environ if environ is None else environ
    changes: dict[str, Any] = {}
    for field in fields(Settings):
        text = variables.get(f"LLMOPS_{field.name.upper()}")
        if text is None:
            continue
        try:
            changes[field.name] = _PARSERS[field.name](text)
        except ValueError as e:
            raise OptionError(
                f"The variable LLMOPS_{field.name.upper()} has the value {text!r}, which is no "
                f"{getattr(_PARSERS[field.name], '__name__', 'number')}. Correct or unset it."
            ) from e
    return check(replace(Settings(), **changes))


def changed(settings: Settings, **changes: Any) -> Settings:
    """The settings with some replaced, checked whole."""
    known = {f.name for f in fields(Settings)}
    for name in changes:
        if name not in known:
            raise OptionError(
                f"There is no setting {name!r}.{did_you_mean(name, known)} "
                f"Settings: {', '.join(sorted(known))}."
            )
    return check(replace(settings, **changes))


def check(settings: Settings) -> Settings:
    """The settings themselves, if their values can be used."""
    check_sampling(Sampling(settings.temperature, settings.max_tokens, settings.seed))
    for name, what in (("context_length", "tokens"), ("threads", "threads")):
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise OptionError(f"{name} is a number of {what}, at least 1; it is {value}.")
    return settings


def check_sampling(sampling: Sampling) -> Sampling:
    """The sampling itself, if its values can be used; else an OptionError that gives the range."""
    rules: tuple[tuple[str, float, float], ...] = (
        ("temperature", 0.0, 100.0),
        ("max_tokens", 1, 2**31 - 1),
        ("top_k", 0, 2**31 - 1),
        ("top_p", 0.0, 1.0),
        ("min_p", 0.0, 1.0),
        ("repeat_penalty", 0.0, 100.0),
    )
    for name, low, high in rules:
        value = getattr(sampling, name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise OptionError(f"{name} is a number, not {value!r}.")
        if not low <= value <= high:
            most = f" and at most {high:g}" if high <= 100 else ""
            raise OptionError(f"{name} must be at least {low:g}{most}; it is {value:g}.")
    if sampling.seed is not None and not 0 <= sampling.seed < 2**32:
        raise OptionError(f"seed must lie between 0 and 4294967295; it is {sampling.seed}.")
    return sampling
