"""A check: a window against a baseline, with its false alarms measured."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmops_jupyter.errors import OptionError
from llmops_jupyter.evaluation.statistics import adjusted
from llmops_jupyter.monitor.drift.baselines import Baseline, Baselines
from llmops_jupyter.monitor.drift.calibrating import Calibration, calibrate, measured, power_words
from llmops_jupyter.monitor.drift.collecting import check_size, first_sessions
from llmops_jupyter.monitor.drift.comparing import (
    Feature,
    comparable,
    in_words,
    missing_note,
    pool_of,
    values_there,
    without_shared,
)
from llmops_jupyter.monitor.drift.report import Plugs, Report, Test
from llmops_jupyter.monitor.drift.sample import Sample
from llmops_jupyter.monitor.drift.statistics.units import permutations_for

if TYPE_CHECKING:
    import numpy as np

    from llmops_jupyter.monitor.drift.statistics.pool import Pool

# Rows of a window; fewer say nothing, and fewer than FEW only of large changes.
LEAST, FEW = 10, 30
# Of the baseline's rows so many are compared, and so many times the window's are wanted.
MOST, TIMES = 5_000, 10


def check_level(level: float) -> float:
    """A level between 0.001 and 0.5.

    Raises:
        OptionError: it is none.
    """
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0.001 <= level <= 0.5:
        raise OptionError(f"level is a probability from 0.001 to 0.5, as in 0.05, not {level!r}.")
    return float(level)


def check(
    kept: Baselines,
    baseline: Baseline,
    window: Sample,
    plugs: Plugs,
    *,
    level: float,
    features: Sequence[str] | None = None,
    calibrated: bool = True,
) -> Report:
    """Compare a window with a baseline.

    Args:
        kept: where the baseline's calibrations are.
        baseline: what was normal.
        window: rows to look at.
        plugs: what the report goes on with.
        level: of the whole report.
        features: only these.
        calibrated: measure false alarms and power on the baseline, unless that is known.

    Raises:
        DataError: there are too few rows, or nothing to compare.
    """
    check_level(level)
    before = baseline.sample
    before = before.only(first_sessions(before, MOST))
    step = "Widen since= or the other filters."
    check_size(window, LEAST, "window", step)
    window, notes = without_shared(before, window)
    check_size(window, LEAST, "window", step)
    chosen, more = comparable(before, window, features)
    pool = pool_of(before, window, chosen)
    tests = len(pool.tests)
    permutations = permutations_for(tests, level)
    can_alarm = pool.units.least_p(10**9) <= level / tests
    notes = [
        *missing_note(before, window, features),
        *_remarks(baseline, window, pool, can_alarm=can_alarm),
        *_kinds_of_sessions(before, window),
        *(*notes, *more, *window.notes),
    ]
    p_values = pool.p_values(permutations, _rng(baseline, window))
    found = _calibration(kept, baseline, before, window, chosen, level, calibrated=calibrated)
    if found.power:
        notes.insert(0, power_words(found))
    if found.consecutive.trials >= 3 and _unlikely(found, level):
        notes.insert(
            0,
            "the baseline changes by itself: more of its consecutive windows alarm than chance explains, so an alarm "
            "may be the time of day or the like. Make a baseline of whole days or weeks",
        )
    return Report(
        baseline=baseline,
        window=window,
        tests=_tests(pool, p_values, chosen, before, window),
        level=level,
        false_alarms=found.false_alarms,
        consecutive=found.consecutive,
        power=found.power,
        permutations=permutations,
        notes=tuple(dict.fromkeys(notes)),
        at=kept.store.now(),
        reference=before,
        _plugs=plugs,
        can_alarm=can_alarm,
    )


def _rng(baseline: Baseline, window: Sample) -> np.random.Generator:
    """The same rows get the same permutations, and the same report."""
    import numpy as np

    made = hashlib.sha256(baseline.content_hash.encode())
    made.update("\n".join(window.ids).encode("utf-8", "replace"))
    return np.random.default_rng(int.from_bytes(made.digest()[:8], "big"))


def _tests(
    pool: Pool, p_values: Sequence[float], chosen: Sequence[Feature], before: Sample, now: Sample
) -> tuple[Test, ...]:
    by_name = {feature.name: feature for feature in chosen}
    corrected = adjusted(p_values)
    found = []
    for (name, method), p_value, all_tests in zip(pool.tests, p_values, corrected, strict=True):
        feature = by_name[name]
        found.append(
            Test(
                *(name, feature.kind, method, p_value, all_tests),
                *(in_words(before, feature, now), in_words(now, feature, before)),
                *(values_there(before, feature), values_there(now, feature)),
            )
        )
    return tuple(sorted(found, key=lambda test: test.p_value))


def _remarks(baseline: Baseline, window: Sample, pool: Pool, *, can_alarm: bool) -> list[str]:
    said = []
    if baseline.n_rows < TIMES * len(window):
        said.append(
            f"the baseline has {baseline.n_rows / len(window):.1f} times the window's rows; with less than {TIMES} times, the "
            "promised rate holds over baselines, and this one's own may be several times as high or low"
        )
    if len(window) < FEW:
        said.append(f"{len(window)} rows are few: only large changes can be found")
    if pool.units.shared:
        said.append(
            f"{pool.units.shared} sessions lie on both sides; each side's rows count as a session of their own"
        )
    if not can_alarm:
        said.append(
            f"no test can alarm: {_sessions(int(pool.units.window.sum()))} in the window, which is too few, whatever is in "
            "them. Give more sessions"
        )
    elif pool.units.grouped:
        said.append(
            f"{len(pool.units.of_row):,} rows of {len(pool.units.window):,} sessions: sessions are permuted whole"
        )
    return said


def _calibration(
    kept: Baselines,
    baseline: Baseline,
    before: Sample,
    window: Sample,
    chosen: Sequence[Feature],
    level: float,
    *,
    calibrated: bool,
) -> Calibration:
    """What is known of checks of about this size, measured now if it is not."""
    if not calibrated:
        nothing = measured("false alarms", ())
        return Calibration(nothing, nothing, ())
    tests = sum(2 if f.kind == "text" else 1 for f in chosen)
    size = _rounded(_size(before, window))
    names = hashlib.sha256("\n".join(f"{f.kind} {f.name}" for f in chosen).encode())
    key = f"2 {size} {level:g} {names.hexdigest()[:16]}"
    known = kept.calibration(baseline, key)
    if known is not None:
        return Calibration.of(known)
    found = calibrate(before, chosen, size, level, permutations_for(tests, level))
    kept.keep_calibration(baseline, key, found.as_dict())
    return found


def _sessions(count: int) -> str:
    return f"{count:,} session{'' if count == 1 else 's'}"


def _grouped(sample: Sample) -> bool:
    return sample.n_sessions < len(sample)


def _kinds_of_sessions(before: Sample, window: Sample) -> list[str]:
    """A warning where only one side has rows in sessions."""
    if _grouped(before) == _grouped(window):
        return []
    if _grouped(window):
        return [
            (
                f"the window's {len(window):,} rows are of {_sessions(window.n_sessions)}, and the baseline has single rows, "
                "which cannot show how alike rows of a session are: false alarms may be more frequent than said. Make a "
                "baseline of sessions"
            )
        ]
    return [
        (
            f"the baseline's {len(before):,} rows are of {_sessions(before.n_sessions)}, and the window has single rows: if "
            "these are of sessions, too, say of which, else false alarms may be more frequent than said"
        )
    ]


def _size(before: Sample, window: Sample) -> int:
    """Units of the baseline that make a window like this one: as many rows where only one side has sessions."""
    if _grouped(before) == _grouped(window):
        return window.n_sessions
    return max(1, round(len(window) * before.n_sessions / len(before)))


def _rounded(size: int) -> int:
    """A size to about a tenth, so that windows of nearly one size share what was measured."""
    step = max(1, 10 ** (len(str(size)) - 2))
    return max(2, int(round(size / step) * step))


def _unlikely(found: Calibration, level: float) -> bool:
    """Whether consecutive windows alarm more often than the level explains, at 1 %."""
    from scipy.stats import binom

    return bool(binom.sf(found.consecutive.count - 1, found.consecutive.trials, level) < 0.01)
