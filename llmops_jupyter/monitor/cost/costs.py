"""What calls of models took, by prompt, model, notebook, session or day.

All sums are made in SQLite in one pass over the calls (spans of the operation ``chat``), so that a million traces
take no memory here. What a sum stands on is the weakest of what its parts stand on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import OptionError, did_you_mean
from llmops_jupyter.evaluation.statistics.estimate import check_confidence
from llmops_jupyter.models.prices import assumptions_of
from llmops_jupyter.monitor.cost.lines import SHARE, SUMS, CostLine, line_of
from llmops_jupyter.monitor.cost.pricing import dollars_of, energy_of
from llmops_jupyter.records import Figure, load_pandas
from llmops_jupyter.render import visible
from llmops_jupyter.render.html import bundle, escaped, table_html, text_table
from llmops_jupyter.render.quantities import quantity
from llmops_jupyter.store import Store
from llmops_jupyter.tracing import arrivals, names, notebooks
from llmops_jupyter.tracing.query import parse_when

if TYPE_CHECKING:
    import pandas

    from llmops_jupyter.monitor.cost.plots import CostPlot

ROOT = "spans r WHERE r.trace_id = s.trace_id AND r.parent_id IS NULL"
NOTEBOOK = f"(SELECT r.notebook FROM {ROOT} LIMIT 1)"
DAY = "date(s.start_ns / 1000000000, 'unixepoch', 'localtime')"
VERSION = "s.prompt_name || '@' || s.prompt_version"
GROUPS: Mapping[str, str] = {
    "prompt": "s.prompt_name",
    "version": VERSION,
    "model": "s.model",
    "notebook": NOTEBOOK,
    "session": "s.session",
    "day": DAY,
    "status": "s.status",
    "source": arrivals.source_of("s"),
}
UNNAMED: Mapping[str, str] = {"prompt": "(scratch)", "version": "(scratch)"}
FILTERS = ("prompt", "model", "session", "notebook", "source", "since", "until")
MOST_POINTS = 400


@dataclass(frozen=True)
class CostReport:
    """What calls took, group by group, the dearest first, and all together.

    Args:
        by: what the groups are.
        lines: one for each group.
        total: of all of them.
        over_time: (start of the step, calls, tokens, seconds computed, dollars) by time; for the plot.
        notes: what to know of the figures.
        confidence: of the intervals.
    """

    by: str
    lines: Sequence[CostLine]
    total: CostLine
    over_time: Sequence[tuple[float, int, float, float, float]]
    notes: Sequence[str]
    confidence: float

    @property
    def plot(self) -> CostPlot:
        """Cost over time, and of each group."""
        from llmops_jupyter.monitor.cost.plots import CostPlot

        return CostPlot(self)

    def rows(self) -> list[dict[str, Any]]:
        """The table, the sum last."""
        lines = [line.row(self.by) for line in self.lines]
        return [*lines, {**self.total.row(self.by), self.by: "all"}]

    def records(self) -> list[dict[str, Any]]:
        """One dictionary a group, numbers as numbers, each figure beside its source."""
        found = []
        for line in self.lines:
            record: dict[str, Any] = {
                self.by: line.name,
                "calls": line.calls,
                "failed": line.failed,
            }
            for name, figure in line.figures.items():
                record[name], record[f"{name}_source"] = figure.value, figure.source
            for name, mean in line.means.items():
                record[f"{name}_mean"] = mean.value
                if mean.interval is not None:
                    record[f"{name}_low"], record[f"{name}_high"] = (
                        mean.interval.low,
                        mean.interval.high,
                    )
            found.append(record)
        return found

    def to_pandas(self) -> pandas.DataFrame:
        """The records as a DataFrame, one group a row; needs pandas."""
        frame: pandas.DataFrame = load_pandas().DataFrame(self.records())
        return frame

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "by": self.by,
            "confidence": self.confidence,
            "lines": [line.as_dict() for line in self.lines],
            "total": self.total.as_dict(),
            "notes": list(self.notes),
        }

    def _table(self) -> tuple[list[dict[str, Any]], list[str]]:
        rows = self.rows()
        return rows, list(dict.fromkeys(name for row in [rows[-1], *rows] for name in row))

    def __str__(self) -> str:
        if not self.total.calls:
            return "No calls of models. " + " ".join(self.notes)
        return "\n".join([text_table(*self._table()), *self._means(), *self.notes])

    def __repr__(self) -> str:
        return f"CostReport(by {self.by}, {self.total.calls:,} calls)"

    def _means(self) -> list[str]:
        shown = []
        for name, mean in self.total.means.items():
            if mean.interval is not None:
                unit = _UNITS.get(name, "")
                low, high = (quantity(x, unit) for x in (mean.interval.low, mean.interval.high))
                shown.append(f"{_LABELS[name]} {quantity(mean.value, unit)} ({low} to {high})")
        if not shown:
            return []
        return [f"A call on average, with {self.confidence:.0%} intervals: {'; '.join(shown)}."]

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:

        if not self.total.calls:
            return {"text/plain": visible(str(self))}
        words = "".join(
            f"<p><small>{escaped(n)}</small></p>" for n in [*self._means(), *self.notes]
        )
        return bundle(str(self), table_html(*self._table()) + words + self.plot.page())


_UNITS = {"seconds": "s", "cpu_s": "s", "cost": "$"}
_LABELS = {
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
    "seconds": "time",
    "cpu_s": "processor time",
    "cost": "price",
}


def cost_report(
    store: Store, by: str, filters: Mapping[str, Any], *, confidence: float = 0.95
) -> CostReport:
    """What the calls took that fit the filters.

    Raises:
        OptionError: they cannot be grouped or filtered so.
    """
    if by not in GROUPS:
        raise OptionError(
            f"Costs cannot be shown by {by!r}.{did_you_mean(by, GROUPS)} Choose one of {', '.join(GROUPS)}."
        )
    check_confidence(confidence)
    where, parameters = conditions(filters)
    rows = store.rows(_grouped(GROUPS[by], where), parameters)
    lines = _lines(rows, by, confidence)
    total = line_of("", rows, confidence)
    over_time = _over_time(store, where, parameters)
    return CostReport(by, lines, total, over_time, _notes(lines, total), confidence)


def conditions(filters: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """The calls that fit filters, as a condition of SQL with its parameters; of a prompt no alias, but a number."""
    where = ["s.op = 'chat'", "s.end_ns IS NOT NULL"]
    parameters: list[Any] = []
    for name, value in filters.items():
        if name not in FILTERS:
            raise OptionError(
                f"Calls cannot be filtered by {name!r}.{did_you_mean(name, FILTERS)} Use {', '.join(FILTERS)}."
            )
        if value is None:
            continue
        if name == "prompt":
            prompt, _, version = str(value).partition("@")
            where.append("s.prompt_name = ?")
            parameters.append(prompt)
            if version:
                if not version.isdigit():
                    raise OptionError(f"{value!r} names no version: write {prompt}@3 for a number.")
                where.append("s.prompt_version = ?")
                parameters.append(int(version))
        elif name in ("since", "until"):
            where.append(f"s.start_ns {'>=' if name == 'since' else '<'} ?")
            parameters.append(parse_when(value))
        elif name == "notebook":
            meant, more = notebooks.condition("r.notebook", str(value))
            where.append(f"EXISTS (SELECT 1 FROM {ROOT} AND {meant})")
            parameters += more
        elif name == "source":
            meant, more = arrivals.condition("s", str(value))
            where.append(meant)
            parameters += more
        else:
            where.append(f"s.{name} = ?")
            parameters.append(value)
    return " AND ".join(where), parameters


def _grouped(group: str, where: str) -> str:
    sums = ", ".join(
        f"total({column}) AS {name}, count({column}) AS n_{name}, total({column} * {column}) AS q_{name}"
        for name, column in SUMS.items()
    )
    # By model as well: what the user assumes is said of each model.
    return (
        f"SELECT {group} AS name, s.model AS model, count(*) AS calls, {sums}, "
        f"total(s.status != 'ok') AS failed, total({names.MAP_ROWS_SQL} > 1) AS waiting, max(s.peak_bytes) AS peak, max(s.shared) AS shared, "
        "total(s.energy_source = 'estimated') AS guessed, total(s.provider IN ('llama.cpp', 'mlx')) AS here, "
        "total(CASE WHEN s.busy_s IS NULL AND s.provider IN ('llama.cpp', 'mlx') THEN "
        f"{SHARE} END) AS unmetered_s, "
        "total(CASE WHEN s.energy_j IS NULL THEN s.busy_s END) AS uncounted_s "
        f"FROM spans s WHERE {where} GROUP BY 1, 2"
    )


def _lines(rows: Sequence[Any], by: str, confidence: float) -> list[CostLine]:
    groups: dict[Any, list[Any]] = {}
    for row in rows:
        groups.setdefault(row["name"], []).append(row)
    made = [
        line_of(str(name) if name is not None else UNNAMED.get(by, "(none)"), parts, confidence)
        for name, parts in groups.items()
    ]
    if by == "day":
        return sorted(made, key=lambda line: line.name)
    return sorted(made, key=_weight, reverse=True)


def _weight(line: CostLine) -> tuple[float, ...]:
    def of(name: str) -> float:
        return line.figures[name].value if name in line.figures else 0.0

    return of("dollars"), of("busy"), of("seconds"), of("output"), float(line.calls)


def _over_time(
    store: Store, where: str, parameters: Sequence[Any]
) -> list[tuple[float, int, float, float, float]]:
    """Sums by steps of time that are as long as the whole needs for a plot."""
    ends = store.row(
        f"SELECT min(s.start_ns), max(s.start_ns) FROM spans s WHERE {where}", parameters
    )
    if ends is None or ends[0] is None:
        return []
    span_s = (ends[1] - ends[0]) / 1e9
    steps = (60, 600, 3600, 6 * 3600, 86_400, 7 * 86_400)
    step = next((s for s in steps if span_s / s <= MOST_POINTS / 4), steps[-1])
    rows = store.rows(
        f"SELECT s.start_ns / {step * 10**9} AS step, s.model AS model, count(*), "
        "total(s.input_tokens) + total(s.output_tokens), "
        f"total(coalesce(s.busy_s, {SHARE})), total(s.cost), total(s.energy_j), "
        "total(s.provider IN ('llama.cpp', 'mlx')) "
        f"FROM spans s WHERE {where} GROUP BY 1, 2 ORDER BY 1",
        parameters,
    )
    found: dict[int, tuple[int, float, float, float]] = {}
    for row in rows:
        calls, tokens, busy, dollars = found.get(row[0], (0, 0.0, 0.0, 0.0))
        assumed = assumptions_of(row["model"] or "") if row[7] else None
        energy = Figure(row[6], "J", "measured") if row[6] else energy_of(row[4], None, assumed)
        guess = dollars_of(row[4], energy, assumed)
        found[row[0]] = (
            calls + row[2],
            tokens + row[3],
            busy + row[4],
            dollars + row[5] + (guess.value if guess is not None else 0.0),
        )
    return [(number * step, *sums) for number, sums in found.items()]


def _notes(lines: Sequence[CostLine], total: CostLine) -> list[str]:
    notes = []
    sources = {figure.source for line in lines for figure in line.figures.values()}
    marks = {"estimated": "≈ estimated", "assumed": "? assumed"}
    shown = [words for source, words in marks.items() if source in sources]
    if shown:
        notes.append(f"{', '.join(shown)}; figures without a mark are measured.")
    said = dict.fromkeys(
        f"{name}: {f.note}."
        for name, f in total.figures.items()
        if f.source != "measured" and f.note
    )
    notes += said
    if total.waiting:
        notes.append(_waiting(total))
    if total.uncosted:
        notes.append(
            f"Nothing says what {total.uncosted:,} of {total.calls:,} calls cost; say watts and prices in prices.json "
            "(docs: cost)."
        )
    if not total.calls:
        notes.append("Run a prompt first, or widen the filters.")
    return notes


def _waiting(total: CostLine) -> str:
    """What is said of rows that were asked together: their times add up to much more than what passed."""
    others = total.calls - total.waiting
    of = f"seconds is the time of the {others:,} others" if others else "their time is not added up"
    told = "; what the model computed for them is in busy" if "busy" in total.figures else ""
    return f"{total.waiting:,} calls were rows that were asked together and waited for each other: {of}{told}."


def moment(seconds: float) -> datetime:
    """A time for the axis of a plot, in this zone."""
    return datetime.fromtimestamp(seconds, timezone.utc).astimezone()
