"""Settings and where they come from: defaults, then `LLMOPS_*` variables, then `%config LLMOps`."""

from __future__ import annotations

import math
import numbers
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from llmops_jupyter.errors import OptionError, did_you_mean
from llmops_jupyter.records import Sampling

MAX_LOGPROBS = 100
WORKERS = ("shared", "private", "off")
BACKENDS = ("auto", "llama.cpp", "mlx")
ENERGY = ("auto", "rapl", "codecarbon", "off")
# What traces say of the deployment that they are of, and of its release.
DEPLOYMENT, RELEASE = "llmops.deployment", "llmops.deployment.release"
_DEPLOYMENT = re.compile(r"[a-z0-9][a-z0-9._-]*(@[a-z0-9][a-z0-9._-]*)?")


@dataclass(frozen=True)
class Settings:
    """What holds where neither a cell nor a call says otherwise."""

    model: str = ""
    temperature: float = Sampling.temperature
    max_tokens: int = Sampling.max_tokens
    seed: int | None = None
    context_length: int | None = None
    threads: int | None = None
    backend: str = "auto"
    worker: str = "shared"
    worker_idle_s: float = 300.0
    prefix_cache_mb: int = 512
    stream: bool = True
    durable: bool = False
    redact: str = ""
    keep_days: float | None = None
    keep_bytes: int | None = None
    exact: bool = False
    energy: str = "auto"
    deployment: str = ""


HELP: Mapping[str, str] = {
    "model": "Model of cells without -m; empty: the workspace's default, else the only one.",
    "temperature": "Sampling temperature of cells without --temperature; 0 is greedy.",
    "max_tokens": "Longest answer in tokens of cells without --max-tokens.",
    "seed": "Seed of cells without --seed; None draws a fresh one each time. With a seed a single prompt "
    "is computed alone (see exact).",
    "context_length": "Tokens of context to load a model with; None: its own, at most 4,096.",
    "threads": "Threads that a model runs on; None: all physical cores that may be used.",
    "backend": "What runs models on this machine: 'llama.cpp', 'mlx', or 'auto': MLX on Apple silicon for files "
    "that it holds without loss, else llama.cpp. Folders of mlx-lm always run on MLX. From the next load on.",
    "worker": "Where models run: 'shared', in a process that notebooks share; 'private', in one of this "
    "notebook's own; 'off', in the notebook's own process. From the next load on.",
    "worker_idle_s": "Seconds after which a shared worker that nobody uses ends.",
    "prefix_cache_mb": "Megabytes that read beginnings of prompts may take on disk, for the next kernel; 0 "
    "keeps none there, and so does redact. From the next load on.",
    "stream": "Show answers while they are written.",
    "durable": "Wait for the disk at each commit, so that a power cut loses nothing either.",
    "redact": "What to take out of traces before they are written: empty, 'pii', or kinds such as "
    "'email,credit_card'.",
    "keep_days": "Delete traces older than this many days, when it is set and when a workspace opens; "
    "None keeps all.",
    "keep_bytes": "Delete the oldest traces when they take more bytes, likewise; None keeps all.",
    "exact": "Compute each answer alone and in a fixed shape: slower, and the same every time.",
    "energy": "What counts the energy of calls: 'auto', the processor's counter if it may be read; 'rapl', that or an "
    "error; 'codecarbon', which estimates where there is none; 'off'. From the next load on.",
    "deployment": "Deployment that runs are of, for traces and budgets: NAME, or NAME@RELEASE; empty: of none.",
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
    "backend": str,
    "worker": str,
    "worker_idle_s": float,
    "prefix_cache_mb": int,
    "stream": _boolean,
    "durable": _boolean,
    "redact": str,
    "keep_days": _optional(float),
    "keep_bytes": _optional(int),
    "exact": _boolean,
    "energy": str,
    "deployment": str,
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
    """The settings with NumPy's numbers as Python's, if their values can be used."""
    sampling = check_sampling(Sampling(settings.temperature, settings.max_tokens, settings.seed))
    found: dict[str, Any] = {
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
    }
    for name in ("context_length", "threads", "keep_bytes"):
        if getattr(settings, name) is not None:
            low = 0 if name == "keep_bytes" else 1
            found[name] = _within(name, whole(name, getattr(settings, name)), low, 2**63 - 1)
    if settings.keep_days is not None:
        found["keep_days"] = _within(
            "keep_days", number("keep_days", settings.keep_days), 0, 365_000
        )
    idle_s = number("worker_idle_s", settings.worker_idle_s)
    found["worker_idle_s"] = _within("worker_idle_s", idle_s, 0, MOST)
    megabytes = whole("prefix_cache_mb", settings.prefix_cache_mb)
    found["prefix_cache_mb"] = _within("prefix_cache_mb", megabytes, 0, 10**7)
    if settings.backend not in BACKENDS:
        raise OptionError(
            f"backend is one of {', '.join(BACKENDS)}, not {settings.backend!r:.80}."
            f"{did_you_mean(str(settings.backend), BACKENDS)}"
        )
    if settings.energy not in ENERGY:
        raise OptionError(
            f"energy is one of {', '.join(ENERGY)}, not {settings.energy!r:.80}."
            f"{did_you_mean(str(settings.energy), ENERGY)}"
        )
    if settings.worker not in WORKERS:
        raise OptionError(
            f"worker is one of {', '.join(WORKERS)}, not {settings.worker!r:.80}."
            f"{did_you_mean(str(settings.worker), WORKERS)}"
        )
    for name in ("model", "redact", "deployment"):
        if not isinstance(getattr(settings, name), str):
            raise OptionError(f"{name} is a text, not {getattr(settings, name)!r:.80}.")
    if settings.deployment and not _DEPLOYMENT.fullmatch(settings.deployment):
        raise OptionError(
            f"deployment is the name of a deployment, such as support or support@3, not {settings.deployment!r:.80}."
        )
    return replace(settings, **found)


def deployment_attributes(settings: Settings) -> dict[str, str]:
    """What a trace says of the deployment that it is of."""
    name, _, release = settings.deployment.partition("@")
    if not name:
        return {}
    return {DEPLOYMENT: name, **({RELEASE: release} if release else {})}


def whole(name: str, value: Any) -> int:
    """A whole number, NumPy's included."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise OptionError(f"{name} is a whole number, not {value!r:.80}.")
    return int(value)


def number(name: str, value: Any) -> float:
    """A number, NumPy's included."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise OptionError(f"{name} is a number, not {value!r:.80}.")
    return float(value)


def _within(name: str, value: Any, low: float, high: float) -> Any:
    if value < low:
        raise OptionError(f"{name} must be at least {low:,}; it is {value:,}.")
    if not value <= high:
        raise OptionError(f"{name} must be at most {high:,}; it is {value:,}.")
    return value


MOST = 2**31 - 1
WHOLE = {"max_tokens": (1, MOST), "top_k": (0, MOST), "penalty_window": (0, MOST)}
OPTIONAL_WHOLE = {"seed": (0, 2**32 - 1), "logprobs": (0, MAX_LOGPROBS)}
NUMBERS = {
    "temperature": (0, 100),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "repeat_penalty": (0, 100),
    "frequency_penalty": (-100, 100),
    "presence_penalty": (-100, 100),
}


def check_sampling(sampling: Sampling) -> Sampling:
    """The sampling with NumPy's numbers as Python's, if its values can be used.

    Raises:
        OptionError: a value is of another type or out of its range, which the message gives.
    """
    found: dict[str, Any] = {}
    for name, (low, high) in NUMBERS.items():
        found[name] = _within(name, number(name, getattr(sampling, name)), low, high)
    for name, (least, most) in (*WHOLE.items(), *OPTIONAL_WHOLE.items()):
        value = getattr(sampling, name)
        if value is not None or name in WHOLE:
            found[name] = _within(name, whole(name, value), least, most)
    found["stop"] = _stop(sampling.stop)
    found["logit_bias"] = _logit_bias(sampling.logit_bias)
    return replace(sampling, **found)


def _stop(given: Any) -> tuple[str, ...]:
    texts = (given,) if isinstance(given, str) else given
    if not isinstance(texts, list | tuple) or any(not isinstance(t, str) or not t for t in texts):
        raise OptionError(
            f"stop is a text or a list of texts that are not empty, not {given!r:.80}."
        )
    return tuple(texts)


def _logit_bias(given: Any) -> tuple[tuple[int | str, float], ...]:
    pairs = list(given.items()) if isinstance(given, Mapping) else given
    advice = 'Give token ids or texts, and numbers, for example {" blue": -100}.'
    if not isinstance(pairs, list | tuple) or any(
        not isinstance(p, list | tuple) or len(p) != 2 for p in pairs
    ):
        raise OptionError(f"logit_bias is {given!r:.80}. {advice}")
    found = []
    for token, bias in pairs:
        amount = number(f"The logit_bias of {token!r:.40}", bias)
        if (
            math.isnan(amount)
            or amount == math.inf
            or not isinstance(token, str | numbers.Integral)
        ):
            raise OptionError(f"logit_bias has the pair {token!r:.40}, {bias!r}. {advice}")
        found.append((token if isinstance(token, str) else int(token), amount))
    return tuple(found)
