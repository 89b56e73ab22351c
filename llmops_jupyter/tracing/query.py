"""Reading traces: one, the newest, those that match a text; scores; export."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import OptionError, UnknownNameError
from llmops_jupyter.store import Store
from llmops_jupyter.tracing import arrivals, notebooks, paging, process, retention, scores, search
from llmops_jupyter.tracing.exchange import Exchange
from llmops_jupyter.tracing.messages import clean
from llmops_jupyter.tracing.purposes import traffic
from llmops_jupyter.tracing.records import Facets, Page, Score, Trace, TraceSummary
from llmops_jupyter.tracing.rows import SUMMARY, dead_owners, span_of, summary_of
from llmops_jupyter.tracing.runs import OF_RUNS, inner, inside
from llmops_jupyter.tracing.tracer import Tracer

# Filters that each span answers for itself.
OF_SPANS = ("status", "since", "until")
STATUSES = ("open", "ok", "error", "interrupted")
BATCH = 500
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
AGE = re.compile(r"([0-9]*\.?[0-9]+|[0-9]+\.)([smhdw])")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def parse_when(text: str | datetime | timedelta | None) -> int | None:
    """A moment in nanoseconds: an ISO date or time, or an age such as ``90m``, ``24h``, ``7d``."""
    if text is None:
        return None
    now = datetime.now(timezone.utc)
    if isinstance(text, timedelta):
        return nanoseconds(now - text)
    if isinstance(text, datetime):
        return nanoseconds(text)
    try:
        age = AGE.fullmatch(text)
        moment = (
            datetime.fromisoformat(text.replace("Z", "+00:00"))
            if age is None
            else now - timedelta(seconds=float(age[1]) * UNITS[age[2]])
        )
        return _fitting(nanoseconds(moment))
    except (ValueError, OverflowError) as e:
        raise OptionError(
            f"{text!r} is no time. Write an age such as 90m, 24h or 7d, or a date such as 2026-01-31."
        ) from e


def _fitting(ns: int) -> int:
    """Nanoseconds that SQLite's whole numbers have room for: the years 1678 to 2262."""
    if abs(ns) >= 2**63:
        raise OverflowError(ns)
    return ns


def nanoseconds(moment: datetime) -> int:
    """A moment since 1970, exactly: a float has no room for nanoseconds. Without a zone it is local time."""
    return (moment.astimezone(timezone.utc) - EPOCH) // timedelta(microseconds=1) * 1_000


def moment_of(ns: int) -> datetime:
    """The last microsecond that is not after some nanoseconds since 1970."""
    return EPOCH + timedelta(microseconds=ns // 1_000)


class Traces(Exchange):
    """The traces of one store."""

    def __init__(self, store: Store, tracer: Tracer) -> None:
        super().__init__(tracer)
        self.store = store

    def get(self, trace_id: str) -> Trace:
        """A whole trace by its id, or by the beginning of it.

        Raises:
            UnknownNameError: no trace, or more than one, begins like that.
        """
        full = self.find_id(trace_id)
        conn = self.store.read()
        rows = self.store.rows("SELECT * FROM spans WHERE trace_id = ? ORDER BY id", (full,))
        dead = self._dead_processes(rows)
        spans = tuple(span_of(conn, row, dead) for row in rows)
        return Trace(full, spans, tuple(self.scores(full)))

    def last(self) -> Trace:
        """The newest trace."""
        found = self.newest(1)
        if not found:
            raise UnknownNameError("There are no traces yet. Run a %%prompt cell first.")
        return self.get(found[0].trace_id)

    def find_id(self, prefix: str) -> str:
        """The full id of the trace that begins with `prefix`."""
        text = prefix.strip().lower()
        if not text or not all(c in "0123456789abcdef" for c in text):
            raise UnknownNameError(
                f"{prefix!r} is no trace id. Ids are hexadecimal; %trace list shows them."
            )
        rows = self.store.rows(
            "SELECT DISTINCT trace_id FROM spans WHERE trace_id >= ? AND trace_id < ? LIMIT 3",
            (text, text + "g"),
        )
        if len(rows) == 1:
            return str(rows[0][0])
        if rows:
            raise UnknownNameError(
                f"More than one trace begins with {prefix!r}. Give more of the id."
            )
        raise UnknownNameError(f"There is no trace {prefix!r}. %trace list shows the newest ones.")

    def newest(self, limit: int = 100, **filters: Any) -> list[TraceSummary]:
        """The newest traces first.

        Filters: prompt ("name" or "name@2"), model, session, status, since, until, name, notebook,
        notebook_part (any part of its path), source ('here', 'imported', or the service that imported ones came from), and
        score (a name, or a mapping of name to label or value).
        """
        where, parameters = self._where(filters)
        sql = f"{SUMMARY} WHERE s.parent_id IS NULL {where} ORDER BY s.id DESC LIMIT ?"
        return self._summaries(self.store.rows(sql, (*parameters, limit)))

    def page(
        self, *, after: str | None = None, limit: int = 100, text: str = "", **filters: Any
    ) -> Page:
        """A page of the newest traces, or of those in which the words of `text` occur, newest first.

        Args:
            after: what the page before gave as `next`; None for the first page.
            limit: of traces.
            text: words, as for `search`.
            filters: as for `newest`.

        Raises:
            OptionError: `after` is no such cursor, or a filter cannot be used.
        """
        condition = self._where(filters)
        place = paging.place_of(after, searched=bool(text))
        if not text:
            rows = paging.newest(self.store, condition, place, limit + 1)
            more = paging.cursor(rows[limit - 1]["id"]) if len(rows) > limit else None
            return Page(tuple(self._summaries(rows[:limit])), more)
        hits = paging.found(self.store, text, condition, place, limit + 1)
        more = paging.cursor(hits[limit - 1][0], searched=True) if len(hits) > limit else None
        return Page(tuple(self.summaries([trace for _, trace in hits[:limit]])), more)

    def facets(self, among: int = 5_000) -> Facets:
        """What there is to filter by among the newest traces, and how often each occurs there."""
        return paging.facets(self.store, among)

    def summaries(self, ids: Sequence[str]) -> list[TraceSummary]:
        """The traces with these whole ids, in their order; those that are gone are left out."""
        by_id: dict[str, TraceSummary] = {}
        for start in range(0, len(ids), BATCH):
            batch = list(ids[start : start + BATCH])
            marks = ",".join("?" * len(batch))
            found = self.store.rows(
                f"{SUMMARY} WHERE s.parent_id IS NULL AND s.trace_id IN ({marks})", batch
            )
            by_id.update({summary.trace_id: summary for summary in self._summaries(found)})
        return [by_id[i] for i in ids if i in by_id]

    def runs(
        self,
        *,
        after: int = 0,
        newest: int | None = None,
        evaluations: bool = True,
        **filters: Any,
    ) -> Iterator[list[sqlite3.Row]]:
        """Spans as rows of the store, in batches and in the order in which they came.

        Roots that fit; and where filters name a prompt, model or session, also runs of prompts that fit and stand in a
        function that is traced: the outermost ones, so that nothing comes twice.

        Args:
            after: only those whose `id` is greater.
            newest: only so many of the newest.
            evaluations: whether those that were made for an evaluation are among them.
            filters: as for `newest`; name, notebook, source and score are those of the trace.
        """
        fits = self.fitting(filters)
        found = " UNION ALL ".join(
            f"SELECT s.id FROM spans s WHERE s.id > ? AND {where}"
            f"{'' if evaluations else f' AND {traffic()}'}"
            for where, _ in fits
        )
        limit = "" if newest is None else f" DESC LIMIT {int(newest)}"
        # Sorted once: each batch for itself would sort all that come after it.
        ids = self.store.numbers(
            f"{found} ORDER BY id{limit}", [v for _, given in fits for v in (after, *given)]
        )
        if newest is not None:
            ids.reverse()
        for begin in range(0, len(ids), BATCH):
            part = ids[begin : begin + BATCH]
            marks = ",".join("?" * len(part))
            yield self.store.rows(f"SELECT * FROM spans WHERE id IN ({marks}) ORDER BY id", part)

    def fitting(self, filters: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
        """Filters as for `runs`, as conditions on a span ``s``, of which one holds for each, with their parameters."""
        where, parameters = self._where(filters)
        found = [(f"s.parent_id IS NULL{where}", parameters)]
        given = {key: value for key, value in filters.items() if value is not None}
        own = {key: given[key] for key in OF_RUNS if key in given}
        if own:
            of_run = {key: given.pop(key) for key in (*own, *OF_SPANS) if key in given}
            where, parameters = self._where(of_run)
            around, more = self._where(own, "a")
            where += f" AND NOT {inside(around.removeprefix(' AND '))}"
            parameters += more
            if given:
                root, more = self._where(given, "r")
                where += (
                    " AND EXISTS (SELECT 1 FROM spans r WHERE r.trace_id = s.trace_id "
                    f"AND r.parent_id IS NULL{root})"
                )
                parameters += more
            found.append((f"{inner()}{where}", parameters))
        return found

    def search(
        self, text: str, *, order: str = "newest", limit: int = 20, **filters: Any
    ) -> list[TraceSummary]:
        """Traces in which the words occur, by date (``newest``) or by weight (``relevance``).

        Relevance is BM25 among the newest 5,000 spans that match; in a store opened for reading only, the
        newest spans may come last, since they are not in the index yet. Filters as for `newest`.
        """
        if order not in ("newest", "relevance"):
            raise OptionError(f"order is 'newest' or 'relevance', not {order!r}.")
        where, parameters = self._where(filters)
        ids = search.traces_with(self.store, text, order, (where, parameters), limit)
        return self.summaries(ids)

    def score(
        self,
        trace_id: str,
        name: str,
        value: float | str | bool,
        *,
        explanation: str = "",
        source: str = "human",
        identifier: str = "",
    ) -> Score:
        """Keep a score: a number, or a label such as ``down``.

        A later score of the same name, source and identifier replaces the earlier one; both are kept.
        """
        full = self.find_id(trace_id)
        return scores.add(
            self.store,
            Score(
                full,
                name,
                *scores.value_and_label(value),
                self.tracer.clean_text(explanation),
                source,
                identifier,
                self.store.now(),
            ),
        )

    def scores(self, trace_id: str) -> list[Score]:
        """The valid scores of a trace, oldest first."""
        return scores.of_trace(self.store, trace_id)

    def export(
        self,
        path: str | Path,
        *,
        limit: int | None = None,
        progress: Callable[[int], None] | None = None,
        **filters: Any,
    ) -> int:
        """Write traces as JSON lines, oldest first; returns how many. Filters as for `newest`."""
        target = Path(path).expanduser()
        part = target.with_name(f".{target.name}.part")
        summaries = self.newest(-1 if limit is None else limit, **filters)
        count = 0
        try:
            with part.open("w", encoding="utf-8") as file:
                for summary in reversed(summaries):
                    record = self.get(summary.trace_id).as_dict()
                    file.write(clean(json.dumps(record, ensure_ascii=False)) + "\n")
                    count += 1
                    if progress is not None:
                        progress(count)
            part.replace(target)
        except OSError as e:
            raise OptionError(f"{str(target)!r} cannot be written: {e.strerror}.") from e
        finally:
            part.unlink(missing_ok=True)
        return count

    def rows(self, limit: int = 200, **filters: Any) -> Iterator[dict[str, Any]]:
        """Traces as flat rows for a data set, newest first: input, output, variables, scores."""
        for summary in self.newest(limit, **filters):
            yield self.get(summary.trace_id).row()

    def prune(
        self,
        *,
        older_than: str | timedelta | None = None,
        max_bytes: int | None = None,
        dry_run: bool = False,
    ) -> int:
        """Delete traces by age and by the size of the file; returns how many (see `retention`)."""
        before = parse_when(older_than)
        return retention.prune(self.store, before, max_bytes, dry_run=dry_run)

    def _where(self, filters: Mapping[str, Any], s: str = "s") -> tuple[str, list[Any]]:
        """Filters as conditions on the span of the name `s`, each after an AND, with their parameters."""
        where: list[str] = []
        parameters: list[Any] = []
        more: list[Any]
        for key, value in filters.items():
            if value is None:
                continue
            if key == "prompt":
                name, _, version = str(value).partition("@")
                where.append(f"{s}.prompt_name = ?")
                parameters.append(name)
                if version:
                    where.append(f"{s}.prompt_version = ?")
                    parameters.append(int(version) if version.isdigit() else -1)
            elif key == "notebook":
                clause, more = notebooks.condition(f"{s}.notebook", value)
                where.append(clause)
                parameters += more
            elif key == "notebook_part":
                where.append(f"instr(lower({s}.notebook), lower(?)) > 0")
                parameters.append(value)
            elif key in ("model", "session", "name"):
                where.append(f"{s}.{key} = ?")
                parameters.append(value)
            elif key == "status":
                if value not in STATUSES:
                    raise OptionError(f"status is one of {', '.join(STATUSES)}, not {value!r}.")
                clause, more = self._status_clause(value, s)
                where.append(clause)
                parameters += more
            elif key in ("since", "until"):
                where.append(f"{s}.start_ns {'>=' if key == 'since' else '<'} ?")
                parameters.append(parse_when(value))
            elif key == "score":
                clause, more = scores.clause(value, s)
                where.append(clause)
                parameters += more
            elif key == "source":
                clause, more = arrivals.condition(s, str(value))
                where.append(clause)
                parameters += more
            else:
                raise OptionError(
                    f"Traces cannot be filtered by {key!r}. Use prompt, model, session, status, "
                    "since, until, name, notebook, source or score."
                )
        return "".join(f" AND {w}" for w in where), parameters

    def _status_clause(self, status: str, s: str) -> tuple[str, list[str]]:
        """A span left open by a dead process counts as interrupted before anyone has marked it."""
        if status not in ("open", "interrupted"):
            return f"{s}.status = ?", [status]
        owners = self.store.rows("SELECT * FROM processes WHERE NOT swept")
        dead = [row["id"] for row in owners if process.is_dead(row)]
        left = f"{s}.status = 'open' AND {s}.process_id IN ({','.join('?' * len(dead))})"
        if status == "open":
            return f"{s}.status = 'open' AND NOT ({left})", dead
        return f"({s}.status = 'interrupted' OR ({left}))", dead

    def _dead_processes(self, rows: Iterable[sqlite3.Row]) -> set[str]:
        return dead_owners(self.store, rows)

    def _summaries(self, rows: list[sqlite3.Row]) -> list[TraceSummary]:
        dead = self._dead_processes(rows)
        return [summary_of(row, dead) for row in rows]
