"""Which spans a rule looks at: whole traces, runs of a prompt wherever they stand, calls of models.

A trace of a function is one trace, and the prompts in it are found by their name, model or session: the outermost span
of such a run is looked at, whatever is around it, so that nothing is counted twice. What is summed is read from the calls of
models, as costs are. Traces of evaluations are made for a test, and are in no window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import OptionError, did_you_mean
from llmops_jupyter.monitor.alerts.ages import Window
from llmops_jupyter.monitor.alerts.catalogue import Measure
from llmops_jupyter.monitor.alerts.rules import FILTERS
from llmops_jupyter.store import Store, aliases
from llmops_jupyter.tracing import arrivals, names, notebooks
from llmops_jupyter.tracing.arrivals import came_ns
from llmops_jupyter.tracing.purposes import traffic
from llmops_jupyter.tracing.runs import OF_RUNS, RUN, inner, inside

if TYPE_CHECKING:
    from llmops_jupyter.prompts import Prompts

# Spans begin in the order of their ids, unless the clock goes back; so many before a moment are looked at too.
SLACK = 1_000
CALL = "chat"
OVER = "({s}.end_ns IS NOT NULL OR {s}.status = 'interrupted')"
NOTEBOOK = (
    "(SELECT r.notebook FROM spans r WHERE r.trace_id = s.trace_id AND r.parent_id IS NULL LIMIT 1)"
)
# Of these the rows of a batch say nothing: their times are those of its queue.
TIMES = (
    *("p50_latency_s", "p95_latency_s", "p50_first_token_s", "p95_first_token_s", "tokens_per_s"),
)
# And these only a run of a prompt has.
SPEEDS = ("p50_first_token_s", "p95_first_token_s", "tokens_per_s")


@dataclass(frozen=True)
class Clause:
    """A condition of SQL on spans `s`, with its parameters."""

    where: str
    parameters: tuple[Any, ...] = ()

    def __and__(self, other: Clause | str) -> Clause:
        more = Clause(other) if isinstance(other, str) else other
        return Clause(f"{self.where} AND {more.where}", (*self.parameters, *more.parameters))


def resolved(filters: Mapping[str, Any], prompts: Callable[[], Prompts]) -> dict[str, str]:
    """Filters with an alias of a prompt as the version that it stands for now.

    Raises:
        OptionError: there is no such filter.
        UnknownNameError: there is no such version or alias of the prompt.
    """
    for key in filters:
        if key not in FILTERS:
            raise OptionError(
                f"Traces cannot be filtered by {key!r}.{did_you_mean(key, FILTERS)} Use {', '.join(FILTERS)}."
            )
    found = {key: str(filters[key]) for key in FILTERS if filters.get(key) is not None}
    if "prompt" in found:
        name, selector = aliases.parse_reference(found["prompt"])
        if selector is not None:
            found["prompt"] = f"{name}@{prompts().get(found['prompt']).version}"
    return found


def fitting(filters: Mapping[str, Any], s: str = "s") -> Clause:
    """Filters on the columns of a span of the name `s`; '+s' keeps SQLite from an index on them."""
    where: list[str] = []
    parameters: list[Any] = []
    for key, value in filters.items():
        if key == "prompt":
            name, _, version = str(value).partition("@")
            where.append(f"{s}.prompt_name = ?")
            parameters.append(name)
            if version:
                where.append(f"{s}.prompt_version = ?")
                parameters.append(int(version))
        elif key == "notebook":
            clause, more = notebooks.condition(f"{s}.notebook", value)
            where.append(clause)
            parameters += more
        elif key == "source":
            clause, more = arrivals.condition(s, value)
            where.append(clause)
            parameters += more
        else:
            where.append(f"{s}.{key} = ?")
            parameters.append(value)
    return Clause(" AND ".join(where) or "1", tuple(parameters))


def roots_of(filters: Mapping[str, Any]) -> Clause:
    """Whole traces whose root fits."""
    return Clause("s.parent_id IS NULL") & fitting(filters)


def traces_of(filters: Mapping[str, Any], *, walk: bool = False, runs: bool = False) -> Clause:
    """What is one trace for a rule: a root; or the outermost run of a prompt that fits.

    Args:
        filters: prompt (a name, or a name and a version), model, notebook, session, source.
        walk: read in the order of ids, without an index whose rows would have to be sorted for each batch anew.
        runs: look into functions for runs of prompts, whatever the filters.
    """
    s = "+s" if walk else "s"
    own = {key: value for key, value in filters.items() if key in OF_RUNS}
    if not own and not runs:
        return Clause("s.parent_id IS NULL") & fitting(filters, s)
    fits, around = fitting(own, s), fitting(own, "a")
    roots = Clause("s.parent_id IS NULL") & fits
    within = (
        Clause(inner())
        & fits
        & Clause(f"NOT {inside(around.where, traces=bool(own))}", around.parameters)
    )
    found = Clause(
        f"(({roots.where}) OR ({within.where}))", (*roots.parameters, *within.parameters)
    )
    return found & _of_place(filters)


def calls_of(filters: Mapping[str, Any]) -> Clause:
    """Calls of models that fit, wherever they stand."""
    own = {key: value for key, value in filters.items() if key in OF_RUNS}
    return Clause(f"s.op = '{CALL}'") & fitting(own, "+s") & _of_place(filters)


def _of_place(filters: Mapping[str, Any]) -> Clause:
    """Where a span was made: in which notebook, as only roots know, and from which source it came."""
    found = fitting({key: value for key, value in filters.items() if key == "source"})
    if "notebook" not in filters:
        return found
    where, parameters = notebooks.condition(
        f"coalesce(s.notebook, {NOTEBOOK})", filters["notebook"]
    )
    return found & Clause(where, tuple(parameters))


def first_id(store: Store, since_ns: int) -> int:
    """The id of a span from which on all that began after a moment are found, by bisection.

    Ids grow with the start; where the clock went back, some that began later have smaller ids, so there is slack.
    What was imported counts by the time when it came, which is later than all that is in it.
    """
    ends = store.row("SELECT (SELECT min(id) FROM spans), (SELECT max(id) FROM spans)")
    if ends is None or ends[0] is None:
        return 1
    low, high = int(ends[0]), int(ends[1]) + 1
    while low < high:
        middle = (low + high) // 2
        row = store.row(
            f"SELECT id, {came_ns('s')} AS came_ns FROM spans s WHERE id >= ? ORDER BY id LIMIT 1",
            (middle,),
        )
        if row is None or row["came_ns"] >= since_ns:
            high = middle
        else:
            low = int(row["id"]) + 1
    return max(1, low - SLACK)


def bounds(
    store: Store, measure: Measure, window: Window, filters: Mapping[str, Any], now_ns: int
) -> tuple[Clause, int]:
    """The spans of a window, and the id that it begins with. Evaluations and golden runs are no traffic.

    A window of so many traces is of the last ones that count; calls of models are those in them.
    """
    runs = measure.name in SPEEDS
    over = Clause(OVER.format(s="s")) & traffic()
    if measure.name in TIMES:
        over = over & f"{names.MAP_ROWS_SQL} = 1"
    walked = calls_of(filters) if measure.of_calls else traces_of(filters, walk=True, runs=runs)
    if window.seconds is not None:
        since = now_ns - int(window.seconds * 1e9)
        return walked & over & Clause("s.start_ns >= ?", (since,)), first_id(store, since)
    counted = traces_of(filters, runs=runs) & over
    first = nth_newest(store, counted, window.traces or 1)
    if measure.of_calls:
        walked = walked & _in_traces(filters, first)
    return walked & over, first


def nth_newest(store: Store, counted: Clause, n: int) -> int:
    """The id of the n-th newest span that fits and is of no evaluation; 1 if there are fewer."""
    row = store.row(
        f"SELECT s.id FROM spans s WHERE {counted.where} AND {traffic()} ORDER BY s.id DESC LIMIT 1 OFFSET ?",
        (*counted.parameters, n - 1),
    )
    return 1 if row is None else int(row[0])


def _in_traces(filters: Mapping[str, Any], first: int) -> Clause:
    """Calls in a trace, or run of a prompt, that is over and began with this id or later."""
    own = fitting({key: value for key, value in filters.items() if key in OF_RUNS}, "u")
    return Clause(
        "EXISTS (SELECT 1 FROM spans u WHERE u.trace_id = s.trace_id AND u.id BETWEEN ? AND s.id AND "
        f"(u.parent_id IS NULL OR u.op = '{RUN}') AND {OVER.format(s='u')} AND {own.where})",
        (first, *own.parameters),
    )
