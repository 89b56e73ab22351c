"""Pictures of drift: a feature over time, before and after, texts on a plane, the capital of a stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmops_jupyter.monitor.drift.vectors import weighted
from llmops_jupyter.render.html import cut
from llmops_jupyter.render.plots import BAD, GOOD, INK, NEUTRAL, Picture, new_figure, paint

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from llmops_jupyter.monitor.drift.report import Report

WIDTH, HEIGHT = 7.0, 3.2
BEFORE, NOW = "before", "now"
# Points of a picture, and kinds of a category, at most.
POINTS, KINDS = 2_000, 10
# A side that takes less of the whole time than this cannot be read against time; dates that are then named.
NARROW, TICKS = 0.05, 7
# Words on a white halo, which both a light and a dark page show.
HALOED = "#303030"
LINES = ("-", "--", "-.", ":", (0, (1, 1)))


class Timeline(Picture):
    """Medians of a numeric feature by time, with the band in which those of the baseline lie."""

    def __init__(self, report: Report, feature: str) -> None:
        self.report, self.feature = report, feature
        self.description = f"{feature} over time"

    def figure(self) -> Figure:
        """One point for each group of rows as they came, with the quarter to three quarters of its rows.

        Where a side is too short to be seen in the time of both, it is drawn against the rows' order, with dates.
        """
        import numpy as np

        before, now = self.report.reference, self.report.window
        known = bool((before.times > 0).all() and (now.times > 0).all())
        sides = [np.sort(s.times) if known else s.times for s in (before, now)]
        timed = known and not _is_narrow(*sides)
        groups = []
        for side, sample in ((BEFORE, before), (NOW, now)):
            values = sample.numbers[self.feature]
            places = sample.times / 1e9 if timed else _ranks(sample.times)
            if side == NOW and not timed:
                places = places + len(before)
            groups.append((side, *_grouped(places, values, max(10, len(now) // 6))))
        found = new_figure(WIDTH, HEIGHT)
        axes = found.add_subplot()
        medians = groups[0][2][:, 1]
        if len(medians) > 2:
            low, high = np.quantile(medians, [0.025, 0.975])
            axes.axhspan(low, high, color=NEUTRAL, alpha=0.15, linewidth=0)
        for (side, places, quarters), colour in zip(groups, (NEUTRAL, BAD), strict=True):
            if len(places):
                axes.fill_between(
                    _dates(places, timed=timed),
                    quarters[:, 0],
                    quarters[:, 2],
                    color=colour,
                    alpha=0.25,
                )
                axes.plot(
                    _dates(places, timed=timed),
                    quarters[:, 1],
                    "o-" if len(places) < 40 else "-",
                    color=colour,
                    markersize=4,
                    label=side,
                )
        axes.set_ylabel(cut(self.feature, 40))
        if known and not timed:
            axes.axvline(len(before) - 0.5, color=INK, linestyle=":", linewidth=1)
            _date_ticks(axes, np.concatenate(sides))
        axes.set_xlabel(
            "time (UTC)"
            if timed
            else "rows in their order, with their time (UTC)"
            if known
            else "rows in their order"
        )
        axes.set_title(
            "medians; quarters of the rows; band: 95 % of the baseline's medians",
            fontsize=9,
            loc="left",
            color=INK,
        )
        _legend(axes, above=True)
        paint(axes)
        if known:
            axes.tick_params(axis="x", labelsize=8, labelrotation=20)
        return found


def _grouped(
    places: NDArray[np.float64], values: NDArray[np.float64], size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middle and quarters of consecutive groups; shapes (groups,) and (groups, 3)."""
    import numpy as np

    order = np.argsort(places, kind="stable")
    order = order[np.isfinite(values[order])]
    count = max(1, len(order) // size)
    parts = [part for part in np.array_split(order, count) if len(part)]
    middles = np.asarray([places[part].mean() for part in parts])
    quarters = np.asarray([np.quantile(values[part], [0.25, 0.5, 0.75]) for part in parts])
    return middles, quarters.reshape(-1, 3)


def _ranks(times: NDArray[np.int64]) -> NDArray[np.float64]:
    """The place of each row in time; rows of one time, or without one, as they came."""
    import numpy as np

    found = np.empty(len(times))
    found[np.argsort(times, kind="stable")] = np.arange(len(times))
    return found


def _is_narrow(before: NDArray[np.int64], now: NDArray[np.int64]) -> bool:
    """Whether one side's time is too short a part of that of both to be seen."""
    whole = max(before[-1], now[-1]) - min(before[0], now[0])
    return bool(min(before[-1] - before[0], now[-1] - now[0]) < NARROW * whole)


def _date_ticks(axes: Any, times: NDArray[np.int64]) -> None:
    """Name the times of some rows, which lie in the order of `times`: with the day, and the year, where they differ."""
    import numpy as np

    places = np.unique(np.linspace(0, len(times) - 1, TICKS).round().astype(int))
    stamps = [str(np.datetime64(int(times[place]), "ns"))[:16].split("T") for place in places]
    days, years = ({stamp[0][:end] for stamp in stamps} for end in (10, 4))
    begin = 0 if len(years) > 1 else 5
    labels = [f"{day[begin:]} {minute}" if len(days) > 1 else minute for day, minute in stamps]
    axes.set_xticks(places, labels)


def _dates(places: NDArray[np.float64], *, timed: bool) -> Any:
    import numpy as np

    return (places * 1e3).astype("datetime64[ms]") if timed else np.asarray(places)


class Distribution(Picture):
    """A feature before and after."""

    def __init__(self, report: Report, feature: str) -> None:
        self.report, self.feature = report, feature
        self.description = f"{feature} before and after"

    def figure(self) -> Figure:
        """Shares of the rows in equal steps, or by category."""
        found = new_figure(WIDTH, HEIGHT)
        axes = found.add_subplot()
        sides = (self.report.reference, self.report.window)
        if all(self.feature in side.numbers for side in sides):
            self._numbers(axes)
        else:
            self._kinds(axes)
        _legend(axes, above=True)
        paint(axes)
        return found

    def _numbers(self, axes: Any) -> None:
        import numpy as np

        sides = [s.numbers[self.feature] for s in (self.report.reference, self.report.window)]
        first, second = (v[np.isfinite(v)] for v in sides)
        pooled = np.concatenate([first, second])
        low, high = np.quantile(pooled, [0.005, 0.995])
        steps = np.linspace(low, high if high > low else low + 1, 31)
        for values, colour, label in ((first, NEUTRAL, BEFORE), (second, BAD, NOW)):
            shares, _ = np.histogram(np.clip(values, low, steps[-1]), steps)
            axes.stairs(
                100 * shares / max(1, len(values)), steps, color=colour, fill=True, alpha=0.35
            )
            axes.stairs(100 * shares / max(1, len(values)), steps, color=colour, linewidth=1.5)
            axes.plot([], [], color=colour, label=f"{label}: median {np.median(values):.4g}")
            axes.axvline(float(np.median(values)), color=colour, linestyle="--", linewidth=1)
        axes.set_xlabel(f"{cut(self.feature, 40)} (the outermost 0.5 % are put at the edges)")
        axes.set_ylabel("share of the rows, %")

    def _kinds(self, axes: Any) -> None:
        import numpy as np

        sides = [
            Counter(v for v in s.categories[self.feature] if v is not None)
            for s in (self.report.reference, self.report.window)
        ]
        totals = [max(1, counts.total()) for counts in sides]
        ordered = sorted(
            {*sides[0], *sides[1]},
            key=lambda kind: (
                -max(c[kind] / n for c, n in zip(sides, totals, strict=True)),
                kind,
            ),
        )
        # One more is shown rather than called "1 others".
        shown = ordered if len(ordered) <= KINDS + 1 else ordered[:KINDS]
        others = ordered[len(shown) :]
        labels = [
            *(cut(name, 30) for name in shown),
            *([f"{len(others)} others"] if others else []),
        ]
        places = np.arange(len(labels))[::-1]
        pairs = ((NEUTRAL, BEFORE, 0.2), (BAD, NOW, -0.2))
        for counts, total, (colour, label, shift) in zip(sides, totals, pairs, strict=True):
            bars = [counts[name] for name in shown]
            bars += [sum(counts[name] for name in others)] if others else []
            shares = [100 * count / total for count in bars]
            axes.barh(places + shift, shares, 0.38, color=colour, label=label)
        axes.set_yticks(places, labels)
        axes.set_xlabel(f"share of the rows, % ({cut(self.feature, 40)})")


class Map(Picture):
    """Texts on the plane in which they differ most; colours say where there are more than before, and where fewer."""

    def __init__(self, report: Report, text: str) -> None:
        self.report, self.text = report, text
        self.description = f"{text}s on a plane, coloured by change"

    def figure(self) -> Figure:
        """The first two principal components; a cluster's words stand at its middle where it grew or shrank."""
        import numpy as np

        first, second = weighted(
            self.report.reference.vectors[self.text], self.report.window.vectors[self.text]
        )
        pooled = np.concatenate([first, second])
        centred = pooled - pooled.mean(0)
        _, _, axes_of = np.linalg.svd(centred, full_matrices=False)
        plane = centred @ axes_of[:2].T
        change = self._change(first, second, pooled)
        found = new_figure(WIDTH, 4.6)
        axes = found.add_subplot()
        step = max(1, len(first) // POINTS)
        limit = max(0.3, float(np.abs(change).max()))
        old, new = plane[: len(first)][::step], plane[len(first) :]
        axes.scatter(old[:, 0], old[:, 1], c=INK, s=8, alpha=0.3, linewidth=0, label=BEFORE)
        dots = axes.scatter(
            new[:, 0],
            new[:, 1],
            c=change[len(first) :],
            cmap="coolwarm",
            vmin=-limit,
            vmax=limit,
            s=26,
            alpha=0.9,
            edgecolor=INK,
            linewidth=0.3,
            label=NOW,
        )
        bar = found.colorbar(dots, ax=axes, shrink=0.8)
        bar.set_label("rows near it: now against before (log2)", color=INK, fontsize=8)
        bar.ax.tick_params(colors=INK, labelsize=8)
        self._name(axes, plane[len(first) :])
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(f"{cut(self.text, 40)}s: grey before, coloured now", fontsize=10)
        paint(axes, grid=False)
        return found

    def _change(
        self, first: NDArray[np.float32], second: NDArray[np.float32], pooled: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Logarithm of the window's share among a row's nearest against that in all."""
        import numpy as np

        near = min(30, len(pooled) - 1)
        share = len(second) / len(pooled)
        found = np.empty(len(pooled))
        for begin in range(0, len(pooled), 500):
            products = pooled[begin : begin + 500] @ pooled.T
            places = np.argpartition(-products, near, axis=1)[:, :near]
            inside = (places >= len(first)).mean(1)
            ratio = (inside * near + share) / (near + 1) / share
            rest = ((1 - inside) * near + 1 - share) / (near + 1) / (1 - share)
            found[begin : begin + 500] = np.log2(ratio / rest)
        return found

    def _name(self, axes: Any, plane: NDArray[np.float64]) -> None:
        import numpy as np
        from matplotlib.patheffects import withStroke

        rows = self.report.window.vectors[self.text].rows
        place = {self.report.window.ids[row]: i for i, row in enumerate(rows)}
        for cluster in self.report.explanation.clusters.get(self.text, ())[:4]:
            if cluster.change == "about the same" or not cluster.ids:
                continue
            dots = plane[[place[i] for i in cluster.ids]]
            axes.annotate(
                cut(f"{', '.join(cluster.words[:3])} ({cluster.change})", 60),
                (np.median(dots[:, 0]), np.quantile(dots[:, 1], 0.9)),
                xytext=(0, 10),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=HALOED,
                fontweight="bold",
                path_effects=[withStroke(linewidth=3, foreground="white")],
                zorder=5,
            )


class Capital(Picture):
    """The capital of bets that nothing has changed, over the rows of a stream."""

    description = "the capital of a stream over its rows"

    def __init__(self, paths: Mapping[str, Sequence[tuple[int, float]]], limit: float) -> None:
        self.paths, self.limit = dict(paths), limit

    def figure(self) -> Figure:
        """Logarithmic; the line is where one feature alone alarms."""
        import math

        found = new_figure(WIDTH, HEIGHT)
        axes = found.add_subplot()
        for place, (name, path) in enumerate(self.paths.items()):
            rows = [0, *(row for row, _ in path)]
            values = [0.0, *(value / math.log(10) for _, value in path)]
            crossed = max(values) >= math.log10(self.limit)
            axes.plot(
                rows,
                values,
                color=BAD if crossed else NEUTRAL,
                linestyle=LINES[place % len(LINES)],
                linewidth=1.8,
                label=cut(name, 30),
            )
        axes.axhline(math.log10(self.limit), color=GOOD, linewidth=1.2)
        axes.annotate(
            f"alarm at {self.limit:,.0f}",
            (0.0, math.log10(self.limit)),
            xycoords=("axes fraction", "data"),
            xytext=(4, 4),
            textcoords="offset points",
            color=GOOD,
            fontsize=8,
        )
        axes.set_xlabel("rows of the stream")
        axes.set_ylabel("capital, power of 10")
        _legend(axes)
        paint(axes)
        return found


def _legend(axes: Any, *, above: bool = False) -> None:
    """The legend where there is room, or above the axes, where nothing lies below it."""
    place = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "ncols": 2, "borderpad": 0.2}
    made = axes.legend(frameon=False, fontsize=8, **(place if above else {}))
    for text in made.get_texts():
        text.set_color(INK)
