"""What a look for spikes found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from llmops_jupyter.monitor.cost.changes import Detector, Numbers
from llmops_jupyter.render.clock import local
from llmops_jupyter.render.html import bundle, escaped, table_html, text_table

if TYPE_CHECKING:
    from llmops_jupyter.monitor.cost.spikeplots import SpikePlot

SHOWN_TRACES = 5


@dataclass(frozen=True)
class Spike:
    """A time in which a figure of a version was higher than normal.

    Args:
        metric: 'latency', 'tokens' or 'cost'.
        prompt, model: whose calls.
        ratio: how many times as high as normal, by the median.
        began_at, detected_at: when the change began, by estimate, and when the detector saw it; UTC,
            ISO 8601. Sentences tell them by the clock of this place.
        ended: whether calls after it were normal again.
        calls: how many calls it holds, and `delay` how many passed before it was seen.
        trace_ids: of its calls, the highest first.
    """

    metric: str
    prompt: str
    model: str
    ratio: float
    began_at: str
    detected_at: str
    ended: bool
    calls: int
    delay: int
    trace_ids: Sequence[str]
    first: int = 0
    last: int = 0
    alarm: int = 0

    def sentence(self) -> str:
        """What it says, with times by the clock of this place."""
        began = local(round(datetime.fromisoformat(self.began_at).timestamp() * 1e9))
        state = "and ended" if self.ended else "and goes on"
        return (
            f"{self.prompt} on {self.model}: {self.metric} × {self.ratio:.2f} from {began}, seen after "
            f"{self.delay} calls, {self.calls} calls so far, {state}"
        )


@dataclass(frozen=True)
class Series:
    """One figure of one version: its calls in their order, and the detector.

    `values` are times the normal, `times` seconds since 1970; the first `baseline` of both are the baseline.
    """

    metric: str
    prompt: str
    model: str
    baseline: int
    detector: Detector
    times: Numbers
    values: Numbers
    spikes: Sequence[Spike]

    @property
    def calls(self) -> int:
        """Calls after the baseline."""
        return len(self.values) - self.baseline

    def row(self) -> dict[str, Any]:
        """A line of a table."""
        found = self.detector
        delay = found.delay
        seen = f"+{delay.shift:.0%} after {delay.median:.0f} calls (90 %: {delay.ninetieth:.0f})"
        return {
            "prompt": self.prompt,
            "model": self.model,
            "figure": self.metric,
            "baseline": self.baseline,
            "calls since": self.calls,
            "spikes": len(self.spikes),
            "false alarms per 1,000": f"{found.measured:.2f} (under {found.bound:.2f})",
            "sees": seen if delay.missed < 0.5 else f"+{delay.shift:.0%} rarely",
        }


@dataclass(frozen=True)
class SpikeReport:
    """Spikes of the calls that were looked at.

    Args:
        series: one for each figure of each version that has calls enough.
        per_thousand: false alarms in 1,000 calls of a version, all its figures together, that were accepted.
        short: versions with too few calls, and how many they have.
        notes: what to know.
    """

    series: Sequence[Series]
    per_thousand: float
    short: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def spikes(self) -> list[Spike]:
        """All spikes, the newest first."""
        found = [spike for one in self.series for spike in one.spikes]
        return sorted(found, key=lambda spike: spike.detected_at, reverse=True)

    @property
    def ok(self) -> bool:
        """Whether no spike goes on."""
        return all(spike.ended for spike in self.spikes)

    @property
    def trace_ids(self) -> list[str]:
        """The traces of all spikes."""
        return list(dict.fromkeys(trace for spike in self.spikes for trace in spike.trace_ids))

    @property
    def plot(self) -> SpikePlot:
        """The figures over time with their bands and spikes."""
        from llmops_jupyter.monitor.cost.spikeplots import SpikePlot

        return SpikePlot(self)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "per_thousand": self.per_thousand,
            "ok": self.ok,
            "spikes": [{**vars(s), "trace_ids": list(s.trace_ids)} for s in self.spikes],
            "series": [
                {
                    "prompt": s.prompt,
                    "model": s.model,
                    "metric": s.metric,
                    "baseline": s.baseline,
                    "calls": s.calls,
                    "threshold": s.detector.threshold,
                    "false_alarms_per_thousand": s.detector.measured,
                    "bound": s.detector.bound,
                    "delay": vars(s.detector.delay),
                }
                for s in self.series
            ],
            "short": dict(self.short),
            "notes": list(self.notes),
        }

    def words(self) -> list[str]:
        """What was found, line by line."""
        found = [spike.sentence() for spike in self.spikes]
        if not found and self.series:
            found = ["No spike."]
        for spike in self.spikes[:1]:
            ids = ", ".join(trace[:8] for trace in spike.trace_ids[:SHOWN_TRACES])
            found.append(f"Its highest calls: traces {ids}.")
        return [*found, *self.notes]

    def __str__(self) -> str:
        rows = [one.row() for one in self.series]
        return "\n".join([*self.words(), *([text_table(rows)] if rows else [])])

    def __repr__(self) -> str:
        return f"SpikeReport({len(self.spikes)} spikes in {len(self.series)} series)"

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        words = "".join(f"<p>{escaped(line)}</p>" for line in self.words())
        if not self.series:
            return bundle(str(self), words)
        table = table_html([one.row() for one in self.series])
        return bundle(str(self), words + self.plot.page() + table)
