"""What a check came to: what changed, how sure that is, and how often such a check alarms for nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llmops_jupyter import render
from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.monitor.drift import choosing
from llmops_jupyter.monitor.drift.baselines import Baseline
from llmops_jupyter.monitor.drift.collecting import check_limit
from llmops_jupyter.monitor.drift.sample import Sample
from llmops_jupyter.render.html import bundle, escaped
from llmops_jupyter.store import aliases

if TYPE_CHECKING:
    from llmops_jupyter.data import Dataset, Datasets
    from llmops_jupyter.evaluation.suites import Suite
    from llmops_jupyter.monitor.drift.explaining import Explanation
    from llmops_jupyter.monitor.drift.plots import Distribution, Map, Timeline
    from llmops_jupyter.prompts import Prompts

NUMBER, CATEGORY, TEXT = "number", "category", "text"


@dataclass(frozen=True)
class Test:
    """One test of a check.

    Args:
        feature: what was compared.
        kind: 'number', 'category' or 'text'.
        method: how.
        p_value: of the hypothesis that nothing changed, by permutation.
        adjusted: for the number of tests in the report (Holm).
        before: the baseline, in words.
        after: the window, in words.
        n_before: the baseline's rows with a value.
        n_after: the window's.
    """

    __test__ = False  # pytest looks for classes with this name

    feature: str
    kind: str
    method: str
    p_value: float
    adjusted: float
    before: str
    after: str
    n_before: int
    n_after: int

    def row(self, level: float) -> dict[str, Any]:
        """The test as a row of a table."""
        return {
            "feature": self.feature,
            "test": self.method,
            "before": self.before,
            "now": self.after,
            "p": _p(self.p_value),
            "p (all tests)": _p(self.adjusted),
            "changed": "yes" if self.adjusted <= level else "",
        }


@dataclass(frozen=True)
class Measured:
    """How often something happened when it was tried on the baseline's own rows.

    Args:
        what: was tried.
        count: how often it happened.
        trials: of how many.
        low: of the exact 95 % interval of the rate (Clopper and Pearson).
        high: of it.
    """

    what: str
    count: int
    trials: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        return self.count / self.trials if self.trials else float("nan")

    def __str__(self) -> str:
        if not self.trials:
            return f"{self.what}: not measured"
        return (
            f"{self.what}: {self.rate:.1%} ({self.count} of {self.trials}, 95 % interval {self.low:.1%} to "
            f"{self.high:.1%})"
        )


@dataclass(frozen=True)
class Plugs:
    """What a report needs of the workspace to go on from an alarm."""

    traces: Callable[[Sequence[str]], list[Any]]
    to_data: Callable[[str, Sequence[tuple[str, Mapping[str, Any]]], str], Dataset]
    save_suite: Callable[[str, str], Suite]
    variables: Callable[[Sequence[tuple[str, str]]], Mapping[tuple[str, str], Mapping[str, Any]]]
    prompts: Callable[[], Prompts]
    data: Callable[[], Datasets]


@dataclass(frozen=True)
class Report:
    """A check of a window against a baseline.

    Args:
        baseline: what it was compared with.
        window: the rows that were looked at.
        tests: all that were made, the most changed first.
        level: the probability of any false alarm in the report, over baselines and windows that are alike.
        false_alarms: how often windows drawn from the baseline itself alarmed.
        consecutive: how often windows of the baseline's rows in their order did.
        power: how often planted changes were found, by what was planted.
        permutations: that p-values rest on.
        notes: what a reader should know.
        reference: the baseline's rows, as they were compared.
        can_alarm: whether any rows at all could alarm; not so where the window has too few sessions.
    """

    baseline: Baseline
    window: Sample
    tests: tuple[Test, ...]
    level: float
    false_alarms: Measured
    consecutive: Measured
    power: tuple[Measured, ...]
    permutations: int
    notes: tuple[str, ...]
    at: str
    reference: Sample = field(repr=False)
    _plugs: Plugs = field(repr=False, compare=False)
    can_alarm: bool = True

    @property
    def alarm(self) -> bool:
        """Whether something changed."""
        return bool(self.changed)

    @property
    def changed(self) -> tuple[Test, ...]:
        """The tests that say so."""
        return tuple(test for test in self.tests if test.adjusted <= self.level)

    def summary(self) -> str:
        """What may be said, on one line."""
        rows = f"{len(self.window):,} rows against {self.baseline.ref}"
        many = (
            f"{len(self.tests)} tests at a level of {self.level:.0%} together"
            if len(self.tests) > 1
            else f"1 test at a level of {self.level:.0%}"
        )
        if not self.can_alarm:
            few = f"{self.window.n_sessions:,} session{'s' if self.window.n_sessions > 1 else ''}"
            return f"Nothing can be said of {rows}: they are of {few}, with which no test can alarm ({many})"
        if not self.alarm:
            return f"No drift found in {rows}: {many}"
        names = dict.fromkeys(test.feature for test in self.changed)
        said = []
        for name in list(names)[:4]:
            first = next(t for t in self.changed if t.feature == name)
            how = f"{first.before} → {first.after}" if first.kind != TEXT else first.method
            what = f"{name} texts" if first.kind == TEXT else name
            said.append(f"{what} ({how}, p = {_p(first.adjusted)})")
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        return f"Drift in {rows}: {'; '.join(said)}{more} ({many})"

    def facts(self) -> list[str]:
        """What a careful reader wants to know beside it."""
        said = [str(self.false_alarms)]
        if self.consecutive.trials:
            said.append(str(self.consecutive))
        said += [str(one) for one in self.power]
        said.append(
            f"p-values by {self.permutations:,} permutations of whole sessions, corrected for all tests (Holm)"
        )
        return [*said, *self.notes]

    def rows(self) -> list[dict[str, Any]]:
        """The tests as a table."""
        return [test.row(self.level) for test in self.tests]

    @cached_property
    def explanation(self) -> Explanation:
        """What changed: clusters and words that grew or shrank, rows that stand out, numbers before and after."""
        from llmops_jupyter.monitor.drift.explaining import explain

        return explain(self)

    def explain(self) -> Explanation:
        """The same, as a call."""
        return self.explanation

    def traces(self, feature: str | None = None, limit: int = 20) -> list[Any]:
        """The window's traces (or rows, if it is no window of traces) that stand out most, in their order.

        Args:
            feature: by which; that which changed most if left out.
            limit: at most so many.

        Raises:
            UnknownNameError: the feature is not watched.
        """
        check_limit(limit)
        places = self._standing_out(feature)[:limit]
        if not self.window.from_traces:
            return [{"id": self.window.ids[i], **self.window.row(i)} for i in places]
        return self._plugs.traces(list(dict.fromkeys(self.window.ids[i] for i in places)))

    def to_data(self, name: str, *, feature: str | None = None, limit: int = 200) -> Dataset:
        """Those rows as a data set: input, output, the prompt's variables, and the features of each.

        A variable has the column of its own name, so that the prompt runs on the rows; a feature of the same name is
        then called ``trace NAME``.

        Args:
            name: of the data set.
            feature: by which rows stand out; that which changed most if left out.
            limit: at most so many.
        """
        check_limit(limit)
        aliases.check_name("data set", name)
        pairs = self.data_rows(feature, limit)
        return self._plugs.to_data(name, pairs, self.origin)

    def data_rows(
        self, feature: str | None = None, limit: int | None = None
    ) -> list[tuple[str, dict[str, Any]]]:
        """The rows that stand out, as `to_data` writes them, with their ids; all rows where there is no limit."""
        places = self._standing_out(feature)[:limit]
        spans = self.window.spans
        at = [(self.window.ids[i], spans[i] if spans else "") for i in places]
        variables = self._plugs.variables(at) if self.window.from_traces else {}
        return [
            ("/".join(filter(None, one)), self._data_row(place, variables.get(one, {})))
            for one, place in zip(at, places, strict=True)
        ]

    @property
    def origin(self) -> str:
        """Where data sets of its rows come from, on one line."""
        return f"drift against {self.baseline.ref}, {self.at}"

    def gate(
        self,
        name: str,
        *,
        variant: str | None = None,
        data: str | Dataset | None = None,
        gates: Sequence[Mapping[str, Any]] | None = None,
        limit: int = 200,
    ) -> Suite:
        """A suite for `llmops gate` on those rows, kept as `name`: what changed must not happen again.

        Args:
            name: of the suite, and of its data set if none is given.
            variant: what is gated, such as ``support@production``; the baseline's prompt if left out.
            data: a data set to gate on; made by `to_data` if left out, of rows that the variant can run on.
            gates: demands as in a suite's file; made from what the baseline was like if left out.
            limit: rows of the data set that is made.

        Raises:
            OptionError: there is nothing to gate, the rows lack what the variant needs, or no demand follows from what
                changed. Nothing is kept then.
            UnknownNameError: there is no such prompt or data set.
        """
        from llmops_jupyter.monitor.drift.gating import gated

        check_limit(limit)
        prompt = variant or self.baseline.filters.get("prompt")
        if prompt is None:
            raise OptionError(
                "The baseline is of no one prompt. Name what is to be gated: variant='support@production'."
            )
        return gated(
            *(self, self._plugs, name),
            variant=str(prompt),
            data=data,
            gates=gates,
            limit=limit,
        )

    def timeline(self, feature: str) -> Timeline:
        """A feature over time, with the band in which the baseline's windows lie."""
        from llmops_jupyter.monitor.drift.plots import Timeline

        return Timeline(self, choosing.drawable(self, feature, ("numbers",), "timeline"))

    def distribution(self, feature: str | None = None) -> Distribution:
        """A feature before and after; that which changed most if none is named."""
        from llmops_jupyter.monitor.drift.plots import Distribution

        if feature is None:
            watched = [t.feature for t in self.tests if t.kind != TEXT]
            if not watched:
                raise OptionError("Only texts were compared. report.map() shows these.")
            feature = watched[0]
        return Distribution(
            self, choosing.drawable(self, feature, ("numbers", "categories"), "distribution")
        )

    def map(self, text: str | None = None) -> Map:
        """The texts on a plane, coloured by where there are more or fewer than before."""
        from llmops_jupyter.monitor.drift.plots import Map

        return Map(self, self.text(text))

    def text(self, name: str | None = None) -> str:
        """The text that changed most, or the one that is named, if both sides have vectors of it.

        Raises:
            OptionError: none has.
        """
        if name is not None:
            return choosing.drawable(self, name, ("vectors",), "map")
        ordered = [t.feature for t in self.tests if t.kind == TEXT]
        if not ordered:
            raise OptionError("No texts were compared, so there is no map of them.")
        return ordered[0]

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "baseline": self.baseline.ref,
            "at": self.at,
            "alarm": self.alarm,
            "can_alarm": self.can_alarm,
            "summary": self.summary(),
            "level": self.level,
            "rows": len(self.window),
            "tests": [vars(test) for test in self.tests],
            "false_alarms": vars(self.false_alarms),
            "consecutive": vars(self.consecutive),
            "power": [vars(one) for one in self.power],
            "permutations": self.permutations,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        return "\n".join([self.summary(), render.text_table(self.rows()), *self.facts()])

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        page = f"<p><strong>{escaped(self.summary())}</strong></p>"
        shown = [test.row(self.level) for test in self.changed]
        if shown:
            page += render.table_html(shown)
        page += f"<details><summary>{len(self.tests)} tests</summary>{render.table_html(self.rows())}</details>"
        page += "".join(f"<p><em>{escaped(fact)}</em></p>" for fact in self.facts())
        return bundle(str(self), page)

    def _standing_out(self, feature: str | None) -> list[int]:
        from llmops_jupyter.monitor.drift.explaining import standing_out

        if not self.tests:
            raise DataError("Nothing was compared, so no row stands out.")
        return standing_out(self, feature or self.tests[0].feature)

    def _data_row(self, place: int, variables: Mapping[str, Any]) -> dict[str, Any]:
        row = self.window.row(place)
        if self.window.from_traces:
            row = {"trace_id": self.window.ids[place], **row}
        if len(variables) == 1 and "input" in variables:
            del row["input"]  # which is that variable, and may be cut
        named = {f"trace {key}" if key in variables else key: value for key, value in row.items()}
        return {k: v for k, v in {**variables, **named}.items() if v is not None}


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.0995 else f"{value:.2g}"
