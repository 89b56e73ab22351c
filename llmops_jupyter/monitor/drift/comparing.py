"""What of a baseline and a window can be compared, and how it is put to the tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_jupyter.errors import DataError, OptionError, unknown_name
from llmops_jupyter.monitor.drift.report import CATEGORY, NUMBER, TEXT
from llmops_jupyter.monitor.drift.sample import Sample
from llmops_jupyter.monitor.drift.statistics.clouds import Cloud, cloud_of
from llmops_jupyter.monitor.drift.statistics.counting import Bins, category_bins, number_bins
from llmops_jupyter.monitor.drift.statistics.pool import Pool
from llmops_jupyter.monitor.drift.statistics.units import units_of
from llmops_jupyter.monitor.drift.vectors import weighted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Values that a feature needs on each side.
LEAST = 5
WORDS = {NUMBER: "numbers", CATEGORY: "words"}
# Shares of missing values that differ by so much, and by more than chance would have it, are told.
MISSING, BY_CHANCE = 0.1, 0.01
# What rows that were asked together have not.
TIMES = ("latency s", "time to first token s", "tokens per s")


@dataclass(frozen=True)
class Feature:
    """A feature that both sides have."""

    name: str
    kind: str


def comparable(
    before: Sample, now: Sample, wanted: Sequence[str] | None
) -> tuple[list[Feature], list[str]]:
    """Features that can be compared, and notes on those that cannot.

    Raises:
        UnknownNameError: a wanted feature is not in the baseline.
        DataError: none can be compared.
    """
    wanted = _wanted(wanted)
    kinds = dict.fromkeys(before.numbers, NUMBER) | dict.fromkeys(before.categories, CATEGORY)
    kinds |= dict.fromkeys(before.vectors, TEXT)
    for name in wanted or ():
        if name not in kinds:
            known = ", ".join(kinds)
            raise unknown_name("feature", name, kinds, f"The baseline has: {known}.")
    found: list[Feature] = []
    absent: list[str] = []
    constant: list[str] = []
    other: list[str] = []
    for name, kind in kinds.items():
        if wanted is not None and name not in wanted:
            continue
        if min(_there(before, name, kind), _there(now, name, kind)) < LEAST:
            turned = _turned(before, now, name)
            (other if turned else absent).append(f"{name} ({turned})" if turned else name)
        elif _is_constant(before, now, name, kind):
            constant.append(name)
        else:
            found.append(Feature(name, kind))
    notes = []
    if absent:
        notes.append(
            f"not compared, since one side has fewer than {LEAST} values: {', '.join(absent)}"
        )
    if other:
        notes.append(
            f"not compared, since numbers and words do not compare: {', '.join(other)}. Write both sides alike"
        )
    if constant:
        notes.append(f"not compared, since all values are equal: {', '.join(constant)}")
    if not found:
        raise DataError(
            "The baseline and the window have nothing in common that can be compared"
            f"{': ' + '; '.join(notes) if notes else ''}. Give both the same columns, or filter both alike."
        )
    new = [n for n in (*now.numbers, *now.categories, *now.vectors) if n not in kinds]
    if new and wanted is None:
        notes.append(f"only in the window, so not compared: {', '.join(new)}")
    return found, notes


def _wanted(names: Sequence[str] | None) -> Sequence[str] | None:
    """The features that are asked for; one alone may be given as a text.

    Raises:
        OptionError: they are none.
    """
    if isinstance(names, str):
        return [names]
    if names is not None and not len(names):
        raise OptionError(
            "features names at least one, as in features=['input']. Leave it out for all."
        )
    return names


def _turned(before: Sample, now: Sample, name: str) -> str:
    """How a column that is of numbers on one side and of words on the other changed; '' if it did not."""
    for first, second in ((NUMBER, CATEGORY), (CATEGORY, NUMBER)):
        if _there(before, name, first) >= LEAST and _there(now, name, second) >= LEAST:
            return f"{WORDS[first]} before, {WORDS[second]} now"
    return ""


def _there(sample: Sample, name: str, kind: str) -> int:
    import numpy as np

    if kind == NUMBER:
        return int(np.isfinite(sample.numbers[name]).sum()) if name in sample.numbers else 0
    if kind == CATEGORY:
        return sum(v is not None for v in sample.categories.get(name, ()))
    return len(sample.vectors[name].rows) if name in sample.vectors else 0


def missing_of(sample: Sample, name: str) -> int | None:
    """How many rows lack a number, a category or a text; None where the sample has nothing of that name."""
    import numpy as np

    if name in sample.numbers:
        return int((~np.isfinite(sample.numbers[name])).sum())
    if name in sample.categories:
        return sum(v is None for v in sample.categories[name])
    if name in sample.texts:
        return sum(not text for text in sample.texts[name])
    return None


def missing_shares(before: Sample, now: Sample, name: str) -> tuple[float, float]:
    """The shares of rows without a value; of what a side has not at all, that is every row."""
    first, second = missing_of(before, name), missing_of(now, name)
    return (
        1.0 if first is None else first / max(1, len(before)),
        1.0 if second is None else second / max(1, len(now)),
    )


def gone_missing(before: Sample, now: Sample, name: str) -> bool:
    """Whether a feature of the baseline has many more missing values, or fewer, by Fisher's test of the rows."""
    from scipy.stats import fisher_exact

    shares = missing_shares(before, now, name)
    if abs(shares[1] - shares[0]) < MISSING:
        return False
    counts = [
        [round(share * len(side)), len(side) - round(share * len(side))]
        for share, side in zip(shares, (before, now), strict=True)
    ]
    return bool(fisher_exact(counts)[1] < BY_CHANCE)


def missing_note(before: Sample, now: Sample, wanted: Sequence[str] | None) -> list[str]:
    """What is missing more often than before, or more rarely, in words."""
    wanted = _wanted(wanted)
    names = dict.fromkeys((*before.numbers, *before.categories, *before.texts))
    found = [
        name
        for name in names
        if (wanted is None or name in wanted)
        and not _turned(before, now, name)
        and gone_missing(before, now, name)
    ]
    if not found:
        return []
    said = [f"{n} {missing_words(before, now, n)}" for n in found]
    why = ""
    if now.from_traces and any(
        name in TIMES and _there(now, name, NUMBER) < LEAST for name in found
    ):
        why = ". Rows that were asked together, as by --over or map, have no times of their own"
    return [
        f"values are missing otherwise than before, which no test looks at: {', '.join(said)}{why}"
    ]


def missing_words(before: Sample, now: Sample, name: str) -> str:
    """Shares of missing values for people."""
    first, second = missing_shares(before, now, name)
    return f"{first:.0%} → {second:.0%}"


def _is_constant(before: Sample, now: Sample, name: str, kind: str) -> bool:
    import numpy as np

    if kind == CATEGORY:
        return len({*before.categories[name], *now.categories[name]} - {None}) < 2
    if kind == TEXT:
        first, second = before.vectors[name], now.vectors[name]
        if first.digest != second.digest:
            return False  # which is an error, told where they are compared
        both = np.concatenate([first.values, second.values])
        return bool((np.ptp(both, axis=0) < 1e-3).all())
    pooled = np.concatenate([before.numbers[name], now.numbers[name]])
    pooled = pooled[np.isfinite(pooled)]
    return bool(pooled.min() == pooled.max())


def pool_of(before: Sample, now: Sample, features: Sequence[Feature]) -> Pool:
    """The pooled rows for the tests of these features."""
    import numpy as np

    units = units_of(before.sessions, now.sessions)
    bins: list[Bins] = []
    clouds: list[Cloud] = []
    for feature in features:
        name = feature.name
        if feature.kind == NUMBER:
            bins.append(
                number_bins(name, np.concatenate([before.numbers[name], now.numbers[name]]))
            )
        elif feature.kind == CATEGORY:
            bins.append(category_bins(name, (*before.categories[name], *now.categories[name])))
        else:
            first, second = before.vectors[name], now.vectors[name]
            values = np.concatenate(weighted(first, second))
            rows = np.concatenate([first.rows, second.rows + len(before)])
            clouds.append(cloud_of(name, rows, values, units.of_row))
    return Pool(units, tuple(bins), tuple(clouds))


def alone(sample: Sample, features: Sequence[Feature]) -> Pool:
    """The rows of a baseline, for windows that are drawn from it."""
    import numpy as np

    return pool_of(sample, sample.only(np.arange(0)), features)


def in_words(sample: Sample, feature: Feature, other: Sample) -> str:
    """What a side is like: its median, or the share of the category that changed most."""
    import numpy as np

    if feature.kind == NUMBER:
        values = sample.numbers[feature.name]
        return f"median {np.median(values[np.isfinite(values)]):.4g}"
    if feature.kind == CATEGORY:
        own, others = _shares(sample, feature.name), _shares(other, feature.name)
        kind = max(sorted({*own, *others}), key=lambda k: abs(own.get(k, 0.0) - others.get(k, 0.0)))
        return f"{kind}: {own.get(kind, 0.0):.1%}"
    return f"{len(sample.vectors[feature.name].rows):,} texts"


def _shares(sample: Sample, name: str) -> dict[str, float]:
    found = Counter(v for v in sample.categories[name] if v is not None)
    return {kind: n / max(1, found.total()) for kind, n in found.items()}


def without_shared(before: Sample, now: Sample) -> tuple[Sample, list[str]]:
    """The window without traces that the baseline has.

    Raises:
        DataError: it has no others.
    """
    if not (before.from_traces and now.from_traces):
        return now, []
    known = set(before.ids)
    kept = [i for i, row_id in enumerate(now.ids) if row_id not in known]
    shared = len(now) - len(kept)
    if not shared:
        return now, []
    if not kept:
        raise DataError(
            f"All {len(now)} traces of the window are in the baseline. Give later ones, for instance since='1h', or wait "
            "for some."
        )
    return now.only(kept), [f"{shared} traces of the window are in the baseline and do not count"]


def values_there(sample: Sample, feature: Feature) -> int:
    """How many rows have a value."""
    return _there(sample, feature.name, feature.kind)


def blocks(units_in_order: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Consecutive groups of units, each of that size; what is left over at the end makes none."""
    return [units_in_order[i : i + size] for i in range(0, len(units_in_order) - size + 1, size)]
