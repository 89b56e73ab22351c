"""What guards decided in a window: rates by policy, place and check, how they changed, and examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmops_jupyter import render
from llmops_jupyter.errors import OptionError
from llmops_jupyter.evaluation.statistics import adjusted, rate, separate_rates
from llmops_jupyter.evaluation.summary import number
from llmops_jupyter.monitor.alerts.ages import age
from llmops_jupyter.monitor.alerts.guarded import GUARDRAIL, verdicts_of
from llmops_jupyter.monitor.alerts.states import S
from llmops_jupyter.monitor.alerts.traffic import BATCH
from llmops_jupyter.monitor.alerts.windows import first_id, traces_of
from llmops_jupyter.records import Verdict
from llmops_jupyter.render.clock import local
from llmops_jupyter.render.html import bundle, escaped
from llmops_jupyter.store import Store
from llmops_jupyter.tracing import values

LEVEL = 0.05
EXAMPLES = 5
CUT = 160


@dataclass
class _Counted:
    """Traces in which a check looked at something, and those in which it found something, now and before."""

    now: set[str] = field(default_factory=set)
    hits_now: set[str] = field(default_factory=set)
    before: set[str] = field(default_factory=set)
    hits_before: set[str] = field(default_factory=set)
    blocked: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class CheckRate:
    """How often a check found something, of the traces in which it looked at a text.

    Args:
        policy: whose check it is.
        place: input, context or output.
        check: its name.
        hits: traces in which it decided other than 'allow'.
        blocked: of these, traces in which something was done.
        n: traces in which it looked.
        low: of the 95 % interval of the rate.
        high: of the same.
        n_before: traces in the window before, in which it looked.
        hits_before: of these, traces with a hit.
        change: of the rate; None where there is no window before to compare with.
        change_low: of its 95 % interval.
        change_high: of the same.
        p_value: that it did not change, corrected by Holm over all rows.
    """

    policy: str
    place: str
    check: str
    hits: int
    blocked: int
    n: int
    low: float
    high: float
    n_before: int = 0
    hits_before: int = 0
    change: float | None = None
    change_low: float | None = None
    change_high: float | None = None
    p_value: float | None = None

    @property
    def rate(self) -> float:
        """The share of traces with a hit."""
        return self.hits / self.n

    @property
    def changed(self) -> bool:
        """Whether the rate is another one than in the window before, at the level of the report."""
        return self.p_value is not None and self.p_value <= LEVEL


@dataclass(frozen=True)
class SafetyReport:
    """What guards decided in a window.

    Args:
        window: that was looked at.
        traces: guarded ones in it.
        rates: by policy, place and check, the highest first.
        examples: the newest hits.
        unguarded: traces of the window that no guard looked at.
    """

    window: str
    traces: int
    rates: tuple[CheckRate, ...]
    examples: tuple[Mapping[str, Any], ...]
    unguarded: int = 0

    def title(self) -> str:
        """The report on one line."""
        if not self.traces:
            return f"no guard looked at any of {self.unguarded:,} traces in the last {self.window}"
        hits = [r for r in self.rates if r.hits]
        changed = [r.check for r in self.rates if r.changed]
        said = f"{self.traces:,} guarded traces in the last {self.window}"
        if self.unguarded:
            said += f" ({self.unguarded:,} without a guard)"
        said += f": {len(hits)} of {len(self.rates)} checks found something"
        return f"{said}; changed: {', '.join(changed)}" if changed else said

    def rows(self) -> list[dict[str, Any]]:
        """One row a check."""
        return [
            {
                "policy": r.policy,
                "place": r.place,
                "check": r.check,
                "found in": f"{r.hits} of {r.n}",
                "rate": number(r.rate, True, ""),
                "95 % interval": f"{number(r.low, True, '')} to {number(r.high, True, '')}",
                "acted": r.blocked,
                "before": f"{r.hits_before} of {r.n_before}" if r.n_before else "–",
                "change": _change(r),
                "": "changed" if r.changed else "",
            }
            for r in self.rates
        ]

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "window": self.window,
            "traces": self.traces,
            "unguarded": self.unguarded,
            "rates": [{**vars(r), "rate": r.rate, "changed": r.changed} for r in self.rates],
            "examples": [dict(e) for e in self.examples],
        }

    def __str__(self) -> str:
        parts = [self.title()]
        if self.rates:
            parts.append(render.text_table(self.rows()))
        if self.examples:
            parts += ["", "the newest:", render.text_table(self.examples)]
        return "\n".join(parts)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        blocks = [f"<p><strong>{escaped(self.title())}</strong></p>"]
        if self.rates:
            blocks.append(render.table_html(self.rows()))
        if self.examples:
            blocks.append(f"<p>the newest:</p>{render.table_html(self.examples)}")
        return bundle(str(self), "".join(blocks))


def _change(r: CheckRate) -> str:
    if r.change is None or r.change_low is None or r.change_high is None:
        return "–"
    low, high = (number(x, True, "", signed=True) for x in (r.change_low, r.change_high))
    return f"{number(r.change, True, '', signed=True)} ({low} to {high})"


def report(
    store: Store,
    window: str,
    filters: Mapping[str, Any],
    *,
    now_ns: int,
    examples: int = EXAMPLES,
) -> SafetyReport:
    """What guards decided in the window that ends now, beside the window of the same length before it.

    Args:
        store: with the traces.
        window: such as 24h.
        filters: prompt, model, notebook, session, source of the traces.
        now_ns: the time now.
        examples: how many of the newest hits are shown.

    Raises:
        DataError: the window is no span of time.
        OptionError: `examples` is negative.
    """
    if examples < 0:
        raise OptionError(f"The number of examples is 0 or more, not {examples}.")
    length = int(age(window, "A window") * S)
    counted: dict[tuple[str, str, str], _Counted] = {}
    newest: list[dict[str, Any]] = []
    guarded: set[str] = set()
    for row, verdicts in _spans(store, filters, now_ns - 2 * length):
        is_now = row["start_ns"] >= now_ns - length
        if is_now:
            guarded.add(row["trace_id"])
        for verdict in verdicts:
            _count(counted, verdict, row["trace_id"], is_now=is_now)
            if is_now and verdict.decision != "allow":
                newest.append(_example(row, verdict))
        del newest[: max(0, len(newest) - examples)]
    return SafetyReport(
        window,
        len(guarded),
        _rates(counted),
        tuple(reversed(newest)),
        _traces(store, filters, now_ns - length) - len(guarded),
    )


def _spans(
    store: Store, filters: Mapping[str, Any], since_ns: int
) -> Iterator[tuple[Any, list[Verdict]]]:
    """Spans of guards since a moment, oldest first, with what they decided."""
    fits = traces_of(filters)
    after = first_id(store, since_ns) - 1
    while True:
        rows = store.rows(
            "SELECT g.id, g.trace_id, g.start_ns, g.attributes FROM spans g WHERE g.op = ? AND g.id > ? "
            "AND g.start_ns >= ? AND EXISTS (SELECT 1 FROM spans s WHERE s.trace_id = g.trace_id AND "
            f"{fits.where}) ORDER BY g.id LIMIT ?",
            (GUARDRAIL, after, since_ns, *fits.parameters, BATCH),
        )
        for row in rows:
            yield row, verdicts_of(values.read(row["attributes"]))
        if len(rows) < BATCH:
            return
        after = rows[-1]["id"]


def _traces(store: Store, filters: Mapping[str, Any], since_ns: int) -> int:
    fits = traces_of(filters, walk=True)
    row = store.row(
        f"SELECT count(DISTINCT s.trace_id) FROM spans s WHERE {fits.where} AND s.id >= ? AND s.start_ns >= ?",
        (*fits.parameters, first_id(store, since_ns), since_ns),
    )
    return int(row[0]) if row else 0


def _count(
    counted: dict[tuple[str, str, str], _Counted], verdict: Verdict, trace_id: str, *, is_now: bool
) -> None:
    one = counted.setdefault((verdict.policy, verdict.place, verdict.check), _Counted())
    hit = verdict.decision != "allow"
    (one.now if is_now else one.before).add(trace_id)
    if hit:
        (one.hits_now if is_now else one.hits_before).add(trace_id)
    if hit and is_now and verdict.action in ("replaced", "blocked"):
        one.blocked.add(trace_id)


def _example(row: Any, verdict: Verdict) -> dict[str, Any]:
    return {
        "trace": row["trace_id"][:8],
        "at": local(row["start_ns"]),
        "check": verdict.check,
        "place": verdict.place,
        "decision": verdict.decision,
        "action": verdict.action,
        "score": "" if verdict.score is None else f"{verdict.score:.2f}",
        "reason": verdict.reason,
        "evidence": render.html.cut(verdict.evidence, CUT),
    }


def _rates(counted: Mapping[tuple[str, str, str], _Counted]) -> tuple[CheckRate, ...]:
    made: list[CheckRate] = []
    p_values: list[float] = []
    compared: list[int] = []
    for (policy, place, check), one in counted.items():
        if not one.now:
            continue
        hits = _marks(one.hits_now, one.now)
        interval = rate(hits).interval
        facts: dict[str, Any] = {}
        if one.before:
            change = separate_rates(_marks(one.hits_before, one.before), hits)
            facts = {
                "change": change.value,
                "change_low": change.interval.low,
                "change_high": change.interval.high,
            }
            compared.append(len(made))
            p_values.append(1.0 if change.p_value is None else change.p_value)
        made.append(
            CheckRate(
                *(policy, place, check, len(one.hits_now), len(one.blocked), len(one.now)),
                *(interval.low, interval.high, len(one.before), len(one.hits_before)),
                **facts,
            )
        )
    corrected = dict(zip(compared, adjusted(p_values, "holm"), strict=True)) if compared else {}
    full = [_with_p(one, corrected.get(place)) for place, one in enumerate(made)]
    return tuple(sorted(full, key=lambda r: (-r.rate, r.policy, r.place, r.check)))


def _with_p(one: CheckRate, p_value: float | None) -> CheckRate:
    return CheckRate(**{**vars(one), "p_value": p_value})


def _marks(hits: Sequence[str] | set[str], traces: Sequence[str] | set[str]) -> list[float]:
    return [1.0] * len(hits) + [0.0] * (len(traces) - len(hits))
