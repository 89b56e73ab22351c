"""What rules can measure: shares of traces, quantiles, means, sums, and tests of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from llmops_jupyter.errors import OptionError, did_you_mean
from llmops_jupyter.evaluation.summary import number

Kind = Literal["share", "quantile", "mean", "sum", "own"]
SPIKES = ("latency", "tokens", "cost")


@dataclass(frozen=True)
class Measure:
    """One thing that can be measured.

    Args:
        name: without what follows the colon.
        help: on one line.
        kind: 'share' of traces for which something is so, 'quantile', 'mean' or 'sum' of a value of each trace;
            'own' for what decides by a test of its own.
        direction: on which side of a threshold it is bad, unless a rule says otherwise.
        unit: of the value.
        q: of a quantile.
        at_least: values from which on there is data, unless a rule says otherwise.
        texts: whether the answers' texts are read.
        needs: what must follow the colon; '' where nothing does.
        argument: what follows it.
        promise: of false alarms, where it has its own.
    """

    name: str
    help: str
    kind: Kind
    direction: Literal["above", "below"] = "above"
    unit: str = ""
    q: float = 0.0
    at_least: int = 30
    texts: bool = False
    needs: str = ""
    argument: str = ""
    promise: str = ""

    @property
    def own(self) -> bool:
        """Whether it decides by a test of its own, without thresholds."""
        return self.kind == "own"

    @property
    def of_calls(self) -> bool:
        """Whether it is summed over calls of models, wherever in a trace they stand."""
        return self.kind == "sum" and self.name != "calls"

    @property
    def rate(self) -> bool:
        """Whether its values are shares from 0 to 1."""
        return self.kind == "share"

    @property
    def can_be_sure(self) -> bool:
        """Whether there are intervals for it that hold at every look."""
        return self.kind in ("share", "quantile", "mean") or self.name == "drift"

    @property
    def approximate(self) -> str:
        """What its promise rests on, where that is not exact."""
        if self.kind == "mean":
            return "; scores that are not within 0 and 1 rest on the normal approximation"
        return ""

    def text(self, value: float | None) -> str:
        """A value for people."""
        return "–" if value is None else number(value, self.rate, self.unit)


_ALL = (
    Measure("error_rate", "traces that ended in an error", "share"),
    Measure("refusal_rate", "answers that decline, by their words", "share", texts=True),
    Measure("empty_rate", "answers without a text", "share", texts=True),
    Measure("cut_rate", "answers that ended at their longest length", "share"),
    Measure("denied_rate", "guarded traces in which a check denied a text", "share"),
    Measure("p50_latency_s", "median of the whole time", "quantile", unit="s", q=0.5),
    Measure("p95_latency_s", "95 % of traces take no longer", "quantile", unit="s", q=0.95),
    Measure("p50_first_token_s", "median time to the first token", "quantile", unit="s", q=0.5),
    Measure(
        "p95_first_token_s", "95 % of first tokens come no later", "quantile", unit="s", q=0.95
    ),
    Measure(
        "tokens_per_s",
        "median speed of writing",
        "quantile",
        direction="below",
        unit="tokens/s",
        q=0.5,
    ),
    Measure(
        "cost_usd",
        "dollars of all calls of models, of those that have a price (see cost)",
        "sum",
        unit="$",
        at_least=1,
    ),
    Measure("calls", "number of traces, or runs of a prompt", "sum", at_least=1),
    Measure("input_tokens", "tokens read by all calls of models", "sum", unit="tokens", at_least=1),
    Measure(
        "output_tokens", "tokens written by all calls of models", "sum", unit="tokens", at_least=1
    ),
    Measure(
        "score",
        "mean of a score, such as score:thumb",
        "mean",
        direction="below",
        needs="the score's name",
    ),
    Measure(
        "drift",
        "traffic against a baseline, such as drift:support",
        "own",
        at_least=1,
        needs="the baseline's name",
        promise="at most {level} of windows without drift alarm; each window is looked at once",
    ),
    Measure(
        "golden",
        "a golden set that is run again, such as golden:support",
        "own",
        direction="below",
        at_least=1,
        needs="the golden set's name",
        promise="at most {level} for all runs against one reference together",
    ),
    Measure(
        "spike",
        f"a sudden change of {', '.join(SPIKES)}",
        "own",
        at_least=1,
        needs="what may spike, such as latency",
        promise="at most 1 in 1,000 calls without a change, as the detector is calibrated on earlier ones",
    ),
)
MEASURES: Mapping[str, Measure] = MappingProxyType({m.name: m for m in _ALL})


def measure_of(metric: str) -> Measure:
    """What ``error_rate`` or ``score:thumb`` stands for.

    Raises:
        OptionError: there is no such metric, or something is missing after the colon or too much.
    """
    name, colon, argument = metric.partition(":")
    if name not in MEASURES:
        raise OptionError(
            f"There is no metric {name!r:.60}.{did_you_mean(name, MEASURES)} Metrics: {', '.join(MEASURES)}."
        )
    measure = MEASURES[name]
    if measure.needs and not argument:
        raise OptionError(f"{name} needs {measure.needs} after a colon, as in {name}:support")
    if not measure.needs and colon:
        raise OptionError(f"{name} takes nothing after a colon. Write {name}")
    if name == "spike" and argument not in SPIKES:
        near = did_you_mean(argument, SPIKES)
        raise OptionError(f"spike is of one of {', '.join(SPIKES)}, not {argument!r:.60}.{near}")
    return replace(measure, argument=argument)
