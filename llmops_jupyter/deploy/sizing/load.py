"""What a server is loaded with: levels of clients or of arrivals, the prompts, and for how long."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from llmops_jupyter.errors import OptionError

CLIENTS = (1, 4, 16, 64)
MOST_CLIENTS, MOST_RATE = 4096, 1000.0
LONGEST_S = 24 * 3600.0


@dataclass(frozen=True)
class Level:
    """One strength of the load.

    Args:
        kind: 'closed': so many clients, each of which sends its next request when it has its answer; 'open': requests
            arrive by a Poisson process whether earlier ones are answered or not.
        value: clients, or requests a second.
    """

    kind: str
    value: float

    def words(self) -> str:
        """The level for people."""
        if self.kind == "closed":
            return f"{self.value:.0f} client{'' if self.value == 1 else 's'}"
        return f"{self.value:g} requests/s"


@dataclass(frozen=True)
class Limits:
    """What an answer has to keep to be a good one; None is no limit.

    Args:
        ttft_s: seconds to the first token.
        itl_s: seconds from one token to the next, on average over the answer.
    """

    ttft_s: float | None = None
    itl_s: float | None = None

    def words(self) -> str:
        """The limits for people; '' for none."""
        said = []
        if self.ttft_s is not None:
            said.append(f"first token within {self.ttft_s:g} s")
        if self.itl_s is not None:
            said.append(f"{self.itl_s * 1000:g} ms from token to token")
        return ", ".join(said)


@dataclass(frozen=True)
class Load:
    """A whole measurement.

    Args:
        levels: that are run one after the other.
        duration_s: of each level, after its warm-up.
        warmup_s: in which the same load runs and nothing is counted.
        max_tokens: of an answer.
        temperature: of the sampling.
        limits: of good answers.
        timeout_s: after which a request is given up; also how long the last ones are waited for.
        retries: how often a request is sent again after 429 or 503, when the server said to wait or not.
        seed: of arrivals and of the order of prompts.
    """

    levels: tuple[Level, ...] = tuple(Level("closed", n) for n in CLIENTS)
    duration_s: float = 30.0
    warmup_s: float = 5.0
    max_tokens: int = 64
    temperature: float = 0.0
    limits: Limits = field(default_factory=Limits)
    timeout_s: float = 120.0
    retries: int = 8
    seed: int = 0

    def seconds(self) -> float:
        """How long it takes, without the last answers."""
        return len(self.levels) * (self.duration_s + self.warmup_s)

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Load:
        """A load from what `as_dict` gave."""
        given = dict(values)
        given["levels"] = tuple(Level(**level) for level in given["levels"])
        given["limits"] = Limits(**given["limits"])
        return cls(**given)


def load_of(
    clients: Sequence[int] | None = None,
    rates: Sequence[float] | None = None,
    *,
    ttft: float | None = None,
    itl: float | None = None,
    **options: Any,
) -> Load:
    """A checked load.

    Args:
        clients: closed loops; 1, 4, 16 and 64 if neither clients nor rates are given.
        rates: open loops, in requests a second.
        ttft: seconds to the first token that a good answer keeps.
        itl: seconds from token to token that it keeps, on average.
        options: further fields of `Load`; None is left out.

    Raises:
        OptionError: one of them cannot be used.
    """
    if clients is None and not rates:
        clients = CLIENTS
    levels = [Level("closed", _clients(n)) for n in clients or ()]
    levels += [Level("open", _number("a rate", r, MOST_RATE)) for r in rates or ()]
    if not levels:
        raise OptionError("There is no load: give --clients or --rate.")
    limits = Limits(
        None if ttft is None else _number("--ttft", ttft, LONGEST_S),
        None if itl is None else _number("--itl", itl, LONGEST_S),
    )
    given = {name: value for name, value in options.items() if value is not None}
    for name in ("duration_s", "timeout_s"):
        if name in given:
            given[name] = _number(_flag(name), given[name], LONGEST_S)
    for name, most in (("warmup_s", LONGEST_S), ("temperature", 10.0)):
        if name in given:
            given[name] = _number(_flag(name), given[name], most, zero=True)
    for name, least in (("max_tokens", 1), ("retries", 0)):
        if name in given and (not isinstance(given[name], int) or given[name] < least):
            raise OptionError(
                f"{_flag(name)} is a whole number, at least {least}, not {given[name]!r:.40}."
            )
    return Load(levels=tuple(dict.fromkeys(levels)), limits=limits, **given)


def numbers_of(text: str | None, flag: str, kind: type[int | float]) -> list[Any] | None:
    """Numbers from a text such as ``1,4,16``; None where there is none.

    Raises:
        OptionError: it is written otherwise.
    """
    if text is None:
        return None
    try:
        return [kind(part) for part in text.replace(" ", "").split(",") if part]
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        raise OptionError(
            f"{flag} takes {what} with commas, such as 1,4,16, not {text!r}."
        ) from None


def _flag(name: str) -> str:
    return f"--{name.removesuffix('_s').replace('_', '-')}"


def _clients(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= MOST_CLIENTS:
        raise OptionError(
            f"A number of clients is whole, from 1 to {MOST_CLIENTS:,}, not {given!r:.40}."
        )
    return float(given)


def _number(what: str, given: Any, most: float, *, zero: bool = False) -> float:
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = math.nan
    if not (0 <= value <= most if zero else 0 < value <= most):
        least = "from 0" if zero else "above 0"
        raise OptionError(f"{what} is a number {least} up to {most:,g}, not {given!r:.40}.")
    return value
