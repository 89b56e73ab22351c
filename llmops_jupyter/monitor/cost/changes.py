"""A detector of lasting increases in a stream, whose false alarms are set on its own baseline.

Values are logarithms, so that an increase is a shift. They are put on a robust scale (median, and median absolute
deviation) and winsorised, since one call in a hundred that takes twenty times as long is no change. river's
Page-Hinkley test (Page, Biometrika 41, 1954) then sums up what lies above the mean by more than an allowance of half
the shift that is looked for, and alarms above a threshold.

The threshold is found by simulation: baselines and streams are drawn from the user's own baseline, in blocks, since
neighbouring calls are alike, and each stream is judged by the median and spread of its own drawn baseline. So what
is not known of a finite baseline counts too, without which such charts alarm several times as often as they
promise (Gandy and Kvaloy, Scandinavian Journal of Statistics 40, 2013, adjust thresholds in this way).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from llmops_jupyter.errors import DataError, missing_dependency

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Numbers: TypeAlias = "NDArray[np.float64]"

MAD_TO_SIGMA = 1.4826
WINSORISED = 3.0
LEAST_BASELINE = 150
# Of a simulation: streams, calls of each, calls of a block.
STREAMS, CALLS, BLOCK = 200, 2_000, 10
# Thresholds that are tried at once, on the robust scale.
LOWEST, HIGHEST, STEPS = 3.0, 120.0, 32
MOST_ALLOWANCE = 1.0
# Streams drawn from a few hundred calls are tamer than what comes: by simulation their rate was a third too low.
MARGIN = 0.7
# A baseline that hardly varies gets a spread of a part of the shift.
PARTS = 6.0


@dataclass(frozen=True)
class Scale:
    """What is normal: the median, and the robust standard deviation."""

    centre: float
    spread: float

    def of(self, values: Numbers) -> Numbers:
        """Values on this scale, winsorised."""
        import numpy as np

        found: Numbers = np.clip((values - self.centre) / self.spread, -WINSORISED, WINSORISED)
        return found


@dataclass(frozen=True)
class Delay:
    """Calls from a shift to its alarm, by simulation; `missed` is the share that 2,000 calls did not show."""

    shift: float
    median: float
    ninetieth: float
    missed: float


@dataclass(frozen=True)
class Detector:
    """A detector with what it promises.

    Args:
        scale: what is normal.
        allowance: of Page and Hinkley's sums, on that scale.
        threshold: above which they alarm.
        baseline: its values on that scale, in their order.
        promised: false alarms in 1,000 calls without a change.
        measured: those of the simulation with this threshold, which is to lie a third below.
        bound: the upper bound of a one-sided 95 % interval of that, over baselines.
        delay: of the shift that it looks for.
    """

    scale: Scale
    allowance: float
    threshold: float
    baseline: Numbers
    promised: float
    measured: float
    bound: float
    delay: Delay

    def alarms(self, values: Sequence[float] | Numbers) -> list[int]:
        """Places in a stream after the baseline at which it alarms; after each it begins anew."""
        import numpy as np

        primed = self._primed()
        detector, found = copy.deepcopy(primed), []
        for place, value in enumerate(self.scale.of(np.asarray(values, dtype=np.float64))):
            detector.update(float(value))
            if detector.drift_detected:
                found.append(place)
                detector = copy.deepcopy(primed)
        return found

    def onset(self, values: Numbers, begin: int, alarm: int) -> int:
        """Where in a stream the change began that alarmed: after the last low of the sums."""
        import numpy as np

        steps = self.scale.of(values[begin : alarm + 1]) - self.baseline.mean() - self.allowance
        sums = np.concatenate([[0.0], np.cumsum(steps)])
        return begin + int(np.argmin(sums[:-1]))

    def _primed(self) -> Any:
        """The detector of river that knows the baseline's mean and has summed up nothing.

        Fed with the mean itself its sums stay at their lowest. Fed with the calls they would stand wherever the last of
        them left them, above the threshold at worst.
        """
        detector = page_hinkley(
            min_instances=len(self.baseline) + 1,
            delta=self.allowance,
            threshold=self.threshold,
            alpha=1.0,
            mode="up",
        )
        mean = float(self.baseline.mean())
        for _ in range(len(self.baseline)):
            detector.update(mean)
        return detector


def page_hinkley(**options: Any) -> Any:
    """The Page-Hinkley test of river.

    Raises:
        MissingDependencyError: river is not installed.
    """
    try:
        from river.drift import PageHinkley
    except ImportError:
        raise missing_dependency("river", "Finding spikes", "monitor") from None
    return PageHinkley(**options)


def calibrated(
    baseline: Sequence[float] | Numbers, shift: float, per_thousand: float, *, seed: int = 0
) -> Detector:
    """A detector for a shift that keeps to a rate of false alarms on streams like a baseline.

    Args:
        baseline: logarithms of what is watched, in the order of the calls.
        shift: the increase that is looked for, as a share (0.2 is 20 %).
        per_thousand: false alarms in 1,000 calls without a change, at most, on average over baselines.
        seed: of the simulation.

    Raises:
        DataError: the baseline is too short, or not all of it is finite.
    """
    import numpy as np

    values = np.asarray(baseline, dtype=np.float64)
    if len(values) < LEAST_BASELINE:
        raise DataError(
            f"A baseline needs {LEAST_BASELINE} calls; there are {len(values)}. Wait for more calls."
        )
    if not np.isfinite(values).all():
        raise DataError("The baseline has values that are not finite. Leave these calls out.")
    step = math.log1p(shift)
    scale = _scale(values, step)
    allowance = min(0.5 * step / scale.spread, MOST_ALLOWANCE)
    drawn = _drawn(values, step, np.random.default_rng(seed))
    threshold, measured, bound = _threshold(drawn, allowance, per_thousand)
    delay = _delay(drawn, allowance, threshold, shift)
    base = scale.of(values)
    return Detector(scale, allowance, threshold, base, per_thousand, measured, bound, delay)


def _scale(values: Numbers, step: float) -> Scale:
    import numpy as np

    centre = float(np.median(values))
    spread = MAD_TO_SIGMA * float(np.median(np.abs(values - centre)))
    return Scale(centre, max(spread, step / PARTS))


@dataclass(frozen=True)
class _Drawn:
    """Simulated baselines and the streams after them, each on the scale of its own baseline.

    `step` is what the shift comes to on that scale. Shapes: (streams, calls).
    """

    raw: Numbers
    baselines: Numbers
    streams: Numbers
    spreads: Numbers
    centres: Numbers
    step: float


def _drawn(values: Numbers, step: float, rng: np.random.Generator) -> _Drawn:
    import numpy as np

    def blocks(length: int) -> Numbers:
        count = -(-length // BLOCK)
        starts = rng.integers(0, len(values), (STREAMS, count))
        places = (starts[:, :, None] + np.arange(BLOCK)) % len(values)
        found: Numbers = values[places.reshape(STREAMS, -1)[:, :length]]
        return found

    base, raw = blocks(len(values)), blocks(CALLS)
    centres = np.median(base, axis=1, keepdims=True)
    mad = np.median(np.abs(base - centres), axis=1, keepdims=True)
    spreads = np.maximum(MAD_TO_SIGMA * mad, step / PARTS)

    def scaled(x: Numbers) -> Numbers:
        found: Numbers = np.clip((x - centres) / spreads, -WINSORISED, WINSORISED)
        return found

    return _Drawn(raw, scaled(base), scaled(raw), spreads, centres, step)


def _threshold(drawn: _Drawn, allowance: float, per_thousand: float) -> tuple[float, float, float]:
    """The lowest threshold that keeps to the rate, with its simulated rate and the bound of that."""
    import numpy as np
    from scipy.stats import t

    thresholds = np.geomspace(LOWEST, HIGHEST, STEPS)[:, None]
    mean, n = drawn.baselines.mean(axis=1), drawn.baselines.shape[1]
    above = np.zeros((STEPS, STREAMS))
    total = np.repeat((mean * n)[None, :], STEPS, axis=0)
    seen = np.full((STEPS, STREAMS), float(n))
    alarms = np.zeros((STEPS, STREAMS))
    for place in range(CALLS):
        value = drawn.streams[:, place]
        total += value
        seen += 1
        # S - min S follows max(0, .), as S itself is not needed.
        above = np.maximum(0.0, above + value - total / seen - allowance)
        hit = above > thresholds
        if hit.any():
            alarms += hit
            above = np.where(hit, 0.0, above)
            total = np.where(hit, mean * n, total)
            seen = np.where(hit, float(n), seen)
    rates = alarms * 1000 / CALLS
    means = rates.mean(axis=1)
    bounds = means + t.ppf(0.95, STREAMS - 1) * rates.std(axis=1, ddof=1) / math.sqrt(STREAMS)
    good = np.flatnonzero(bounds <= MARGIN * per_thousand)
    chosen = int(good[0]) if len(good) else STEPS - 1
    return float(thresholds[chosen, 0]), float(means[chosen]), float(bounds[chosen])


def _delay(drawn: _Drawn, allowance: float, threshold: float, shift: float) -> Delay:
    """How many calls a shift takes to be seen."""
    import numpy as np

    mean, n = drawn.baselines.mean(axis=1), drawn.baselines.shape[1]
    above = np.zeros(STREAMS)
    streams = np.clip(
        (drawn.raw + drawn.step - drawn.centres) / drawn.spreads, -WINSORISED, WINSORISED
    )
    total, first = mean * n, np.full(STREAMS, np.inf)
    for place in range(CALLS):
        value = streams[:, place]
        total = total + value
        above = np.maximum(0.0, above + value - total / (n + place + 1) - allowance)
        first = np.where((above > threshold) & np.isinf(first), place + 1, first)
        if np.isfinite(first).all():
            break
    missed = float(np.isinf(first).mean())
    capped = np.minimum(first, CALLS)
    return Delay(shift, float(np.median(capped)), float(np.quantile(capped, 0.9)), missed)
