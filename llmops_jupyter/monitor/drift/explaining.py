"""What changed: clusters of texts that grew or shrank, the words that name them, rows that stand out, figures before and after."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter import render
from llmops_jupyter.errors import unknown_name
from llmops_jupyter.monitor.drift.comparing import gone_missing, missing_shares, missing_words
from llmops_jupyter.monitor.drift.statistics.clusters import clusters_of
from llmops_jupyter.monitor.drift.vectors import weighted
from llmops_jupyter.render.html import bundle, cut, escaped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llmops_jupyter.monitor.drift.report import Report
    from llmops_jupyter.monitor.drift.sample import Sample

MOST_CLUSTERS, ROWS_A_CLUSTER = 12, 25
WORDS, EXAMPLES = 6, 3
ABSENT = "–"
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
_WORD = re.compile(r"[^\W\d_][\w'’-]+")


@dataclass(frozen=True)
class Cluster:
    """Texts that are alike.

    Args:
        words: that tell it from the others.
        before: its share of the baseline's rows.
        now: its share of the window's.
        low: of the interval of the difference, for all clusters together at 95 %.
        high: of it.
        examples: of the window's rows, or the baseline's if the window has none, the most typical first.
        ids: of the window's rows in it, the most typical first.
    """

    words: tuple[str, ...]
    before: float
    now: float
    low: float
    high: float
    examples: tuple[str, ...]
    ids: tuple[str, ...]

    @property
    def change(self) -> str:
        """'grew', 'shrank' or 'about the same', by the interval."""
        if self.low > 0:
            return "grew"
        return "shrank" if self.high < 0 else "about the same"

    def row(self) -> dict[str, Any]:
        """The cluster as a row of a table."""
        return {
            "words": ", ".join(self.words),
            "before": f"{self.before:.1%}",
            "now": f"{self.now:.1%}",
            "difference": f"{100 * self.low:+.1f} to {100 * self.high:+.1f} points",
            "": self.change,
            "for example": " · ".join(cut(text, 70) for text in self.examples[:2]),
        }


@dataclass(frozen=True)
class Explanation:
    """What changed in a report.

    Args:
        clusters: by text, those that changed most first.
        words: by text, that are more frequent than before, and less; with their log-odds in standard errors.
        strange: by text, the window's rows that speak most for a change, as (id, text).
        numbers: quantiles before and now, by feature; '–' where a side has no value.
        kinds: shares before and now, by feature; of those that changed, or are missing otherwise than before.
    """

    clusters: dict[str, tuple[Cluster, ...]]
    words: dict[str, tuple[tuple[str, float], ...]]
    strange: dict[str, tuple[tuple[str, str], ...]]
    numbers: tuple[dict[str, Any], ...]
    kinds: tuple[dict[str, Any], ...]

    def grown(self, text: str | None = None) -> tuple[Cluster, ...]:
        """Clusters that grew."""
        chosen = [text] if text else list(self.clusters)
        return tuple(c for n in chosen for c in self.clusters.get(n, ()) if c.change == "grew")

    def _blocks(self) -> list[tuple[str, list[dict[str, Any]]]]:
        found: list[tuple[str, list[dict[str, Any]]]] = []
        for name, clusters in self.clusters.items():
            found.append((f"Clusters of {name}", [c.row() for c in clusters]))
        for name, rows in self.strange.items():
            table = [{"id": row_id[:12], "text": cut(text, 120)} for row_id, text in rows]
            found.append((f"Rows of {name} that speak most for a change", table))
        for name, words in self.words.items():
            more = [w for w, z in words if z > 0]
            less = [w for w, z in words if z < 0]
            said = [{"more often": ", ".join(more), "more rarely": ", ".join(less)}]
            found.append((f"Words of {name}", said))
        if self.numbers:
            found.append(("Numbers: quantiles before → now", list(self.numbers)))
        if self.kinds:
            found.append(("Categories: shares", list(self.kinds)))
        return [(title, rows) for title, rows in found if rows]

    def __str__(self) -> str:
        return "\n\n".join(f"{title}\n{render.text_table(rows)}" for title, rows in self._blocks())

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        page = "".join(
            f"<p><strong>{escaped(title)}</strong></p>{render.table_html(rows)}"
            for title, rows in self._blocks()
        )
        return bundle(str(self), page)


def explain(report: Report) -> Explanation:
    """What changed in a report, also where it did not alarm."""
    before, now = report.reference, report.window
    clusters, words, strange = {}, {}, {}
    for name in before.vectors:
        if name in now.vectors and len(now.vectors[name].rows) >= 2:
            clusters[name] = _clusters(before, now, name)
            places = standing_out(report, name)[:EXAMPLES]
            strange[name] = tuple((now.ids[i], _text(now, name, i)) for i in places)
    for name in before.texts:
        if name in now.texts:
            words[name] = _words(before.texts[name], now.texts[name])
    changed = {test.feature for test in report.changed}
    numbers = [
        _quantiles(before, now, n, n in changed)
        for n in before.numbers
        if n in now.numbers or n not in now.categories
    ]
    kinds = [
        row
        for n in before.categories
        if n not in now.numbers and (n in changed or gone_missing(before, now, n))
        for row in _shares(before, now, n)
    ]
    return Explanation(clusters, words, strange, tuple(numbers), tuple(kinds))


def _text(sample: Sample, name: str, place: int) -> str:
    texts = sample.texts.get(name)
    return texts[place] if texts is not None else ""


def _clusters(before: Sample, now: Sample, name: str) -> tuple[Cluster, ...]:
    """K-means on the pooled vectors; differences of shares with Newcombe's intervals, Bonferroni over clusters."""
    import numpy as np
    from statsmodels.stats.proportion import confint_proportions_2indep

    first, second = weighted(before.vectors[name], now.vectors[name])
    pooled = np.concatenate([first, second])
    count = max(2, min(MOST_CLUSTERS, len(pooled) // ROWS_A_CLUSTER))
    made = clusters_of(pooled, count, tries=4)
    count = len(made.centres)
    texts = [_text(before, name, i) for i in before.vectors[name].rows]
    texts += [_text(now, name, i) for i in now.vectors[name].rows]
    gaps = ((pooled - made.centres[made.labels]) ** 2).sum(1)
    of_window = np.arange(len(pooled)) >= len(first)
    background = Counter(word for text in texts for word in _words_of(text))
    found = []
    for place in range(count):
        inside = made.labels == place
        counts = int(inside[of_window].sum()), int(inside[~of_window].sum())
        low, high = confint_proportions_2indep(
            counts[0], len(second), counts[1], len(first), method="newcomb", alpha=0.05 / count
        )
        members = np.flatnonzero(inside)
        members = members[np.argsort(gaps[members], kind="stable")]
        inner = [int(i) for i in members if of_window[i]]
        rows = now.vectors[name].rows
        found.append(
            Cluster(
                words=_naming([texts[i] for i in members], background),
                before=counts[1] / len(first),
                now=counts[0] / len(second),
                low=float(low),
                high=float(high),
                examples=tuple(texts[i] for i in (inner or list(members))[:EXAMPLES]),
                ids=tuple(now.ids[rows[i - len(first)]] for i in inner),
            )
        )
    return tuple(sorted(found, key=lambda c: -abs(c.now - c.before)))


def _naming(texts: Sequence[str], background: Counter[str]) -> tuple[str, ...]:
    inside = Counter(word for text in texts for word in _words_of(text))
    outside = Counter({word: n - inside[word] for word, n in background.items()})
    scored = log_odds(inside, outside, background)
    return tuple(word for word, z in scored[:WORDS] if z > 1.5)


def _words(before: Sequence[str], now: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Words that are more frequent than before, and less."""
    first = Counter(word for text in before for word in _words_of(text))
    second = Counter(word for text in now for word in _words_of(text))
    scored = log_odds(second, first, first + second)
    more = [pair for pair in scored[: 2 * WORDS] if pair[1] > 2.5]
    less = [pair for pair in scored[: -2 * WORDS - 1 : -1] if pair[1] < -2.5]
    return (*more, *less)


def _words_of(text: str) -> set[str]:
    """Each word of a text once, so that a text that repeats itself does not count more."""
    return {word.casefold() for word in _WORD.findall(text)}


def log_odds(
    first: Counter[str], second: Counter[str], background: Counter[str]
) -> list[tuple[str, float]]:
    """Words by how much more frequent they are in the first, in standard errors.

    The log-odds ratio with an informative Dirichlet prior from the background (Monroe, Colaresi and Quinn,
    Political Analysis 16, 2008), which keeps rare words from leading.
    """
    import numpy as np

    words = [word for word, n in background.items() if n >= 2]
    if not words:
        return []
    a = np.asarray([first[word] for word in words], float)
    b = np.asarray([second[word] for word in words], float)
    prior = np.asarray([background[word] for word in words], float)
    prior *= min(500.0, prior.sum()) / prior.sum()
    up, down = a + prior, b + prior
    odds = np.log(up / (up.sum() - up + 1e-9)) - np.log(down / (down.sum() - down + 1e-9))
    z = odds / np.sqrt(1 / up + 1 / down)
    order = np.argsort(-z, kind="stable")
    return [(words[i], float(z[i])) for i in order]


def _quantiles(before: Sample, now: Sample, name: str, changed: bool) -> dict[str, Any]:
    import numpy as np

    sides = [s.numbers.get(name, np.empty(0)) for s in (before, now)]
    sides = [values[np.isfinite(values)] for values in sides]
    row: dict[str, Any] = {"feature": name, "changed": "yes" if changed else ""}
    for q in QUANTILES:
        found = [f"{np.quantile(v, q):.4g}" if len(v) else ABSENT for v in sides]
        row[f"{q:.0%}"] = " → ".join(found)
    row["missing"] = missing_words(before, now, name)
    return row


def _shares(before: Sample, now: Sample, name: str) -> list[dict[str, Any]]:
    """Shares of the rows with a value; those without one are told in a row of their own."""
    first = Counter(v for v in before.categories[name] if v is not None)
    second = Counter(v for v in now.categories.get(name, ()) if v is not None)
    totals = max(1, first.total()), max(1, second.total())
    kinds = sorted(
        {*first, *second}, key=lambda k: -abs(second[k] / totals[1] - first[k] / totals[0])
    )
    rows = [
        {
            "feature": name,
            "value": kind,
            "before": f"{first[kind] / totals[0]:.1%}" if first else ABSENT,
            "now": f"{second[kind] / totals[1]:.1%}" if second else ABSENT,
        }
        for kind in kinds[:8]
    ]
    missing = missing_shares(before, now, name)
    if any(missing):
        said = [f"{share:.1%}" for share in missing]
        rows.append({"feature": name, "value": "(missing)", "before": said[0], "now": said[1]})
    return rows


def standing_out(report: Report, feature: str) -> list[int]:
    """The window's rows by how much they speak for a change of a feature, most first.

    Of texts it is the witness of the discrepancy (Gretton et al. 2012, section 2.3): how much more alike a
    row is to the window than to the baseline. Of numbers the share of the baseline's on the other side,
    towards where the window has moved; of categories how much more frequent the row's own has become.
    """
    import numpy as np

    before, now = report.reference, report.window
    if feature in before.vectors and feature in now.vectors:
        score = _witness(before, now, feature)
        rows = now.vectors[feature].rows
        return [int(rows[i]) for i in np.argsort(-score, kind="stable")]
    if feature in before.numbers and feature in now.numbers:
        return _outlying(before.numbers[feature], now.numbers[feature])
    if feature in before.categories and feature in now.categories:
        first, second = Counter(before.categories[feature]), Counter(now.categories[feature])
        ratio = {
            kind: (n / len(now)) / ((first[kind] + 0.5) / (len(before) + 1))
            for kind, n in second.items()
        }
        there = [i for i, kind in enumerate(now.categories[feature]) if kind is not None]
        return sorted(there, key=lambda i: -ratio[now.categories[feature][i]])
    known = [test.feature for test in report.tests]
    raise unknown_name("feature", feature, known, f"Features here: {', '.join(known)}.")


def _witness(before: Sample, now: Sample, name: str) -> NDArray[np.float64]:
    import numpy as np

    from llmops_jupyter.monitor.drift.statistics.clouds import WIDTH

    first, second = weighted(before.vectors[name], now.vectors[name])
    to_first = np.maximum(0, 2 - 2 * second @ first.T)
    to_second = np.maximum(0, 2 - 2 * second @ second.T)
    width = WIDTH * float(np.median(to_first)) or 1.0
    kernel = np.exp(-to_second / width)
    np.fill_diagonal(kernel, 0)
    own = kernel.sum(1) / max(1, len(second) - 1)
    found: NDArray[np.float64] = own - np.exp(-to_first / width).mean(1)
    # Rows that are like nothing before stand out where they are like nothing else as well.
    apart = np.sqrt(to_first.min(1))
    both: NDArray[np.float64] = found / (found.std() + 1e-12)
    both += (apart - apart.mean()) / (apart.std() + 1e-12)
    return both


def _outlying(first: NDArray[np.float64], second: NDArray[np.float64]) -> list[int]:
    import numpy as np

    there = np.flatnonzero(np.isfinite(second))
    known = np.sort(first[np.isfinite(first)])
    rank = np.searchsorted(known, second[there], side="right") / max(1, len(known))
    strange = rank if rank.mean() >= 0.5 else 1 - rank
    order = np.lexsort((-np.abs(second[there] - np.median(known)), -strange))
    return [int(there[i]) for i in order]
