"""Live spans: written when they open, updated while they run, complete when they have returned."""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.errors import StoreError
from llmops_jupyter.privacy import redact_json
from llmops_jupyter.records import Message, Usage
from llmops_jupyter.store import Store
from llmops_jupyter.tracing import names, threads
from llmops_jupyter.tracing.messages import clean, store_messages
from llmops_jupyter.tracing.process import this_process
from llmops_jupyter.tracing.search import enqueue, index_known, texts_of_span

PARTIAL_EVERY_S = 0.25
INDEX_EVERY = 64
MAX_VALUE = 200_000
INTERRUPTS = (KeyboardInterrupt, asyncio.CancelledError)

_current: ContextVar[Span | None] = ContextVar("llmops_span", default=None)
threads.carried.append(_current)


class TraceNotSavedWarning(UserWarning):
    """A span could not be written; the traced work itself went on."""


@dataclass(frozen=True)
class Provenance:
    """Where in a notebook a root span was made."""

    notebook: str | None = None
    cell_id: str | None = None
    execution_count: int | None = None
    kernel_id: str | None = None


def current_span() -> Span | None:
    """The innermost open span of this thread or task."""
    return _current.get()


def as_json(value: Any) -> str:
    """JSON for anything, other objects by their text; long values are cut with a note."""
    text = clean(json.dumps(value, ensure_ascii=False, default=_by_text))
    if len(text) > MAX_VALUE:
        text = json.dumps(f"{text[:MAX_VALUE]}… (cut, {len(text)} characters)", ensure_ascii=False)
    return text


def _by_text(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    text = str(value)
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"


class Tracer:
    """Opens spans in one store.

    `redact` is applied to every text before it is written. `provenance` is asked once for each root.
    """

    def __init__(
        self,
        store: Store,
        *,
        redact: Callable[[str], str] | None = None,
        provenance: Callable[[], Provenance] | None = None,
    ) -> None:
        self.store = store
        self.redact = redact
        self.provenance = provenance
        self.waiting: list[tuple[int, str, str]] = []
        self._registered_pid = 0

    def span(
        self,
        name: str,
        *,
        op: str = "",
        attributes: Mapping[str, Any] | None = None,
        messages: Sequence[Message] = (),
        trace_id: str | None = None,
        **columns: Any,
    ) -> Span:
        """A span to use in a `with` statement.

        `columns` are provider, model, model_digest, prompt_name, prompt_version, session and seed.
        A root with a `trace_id` that the store holds already, as in a replay, is not written again.
        """
        return Span(
            self,
            name,
            op or "span",
            dict(attributes or {}),
            tuple(messages),
            columns,
            trace_id,
        )

    def clean(self, value: Any) -> Any:
        """A value as it may be written: redacted if a rule is set."""
        return value if self.redact is None else redact_json(value, self.redact)

    def clean_messages(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        if self.redact is None:
            return tuple(messages)
        return tuple(Message(m.role, self.redact(m.content)) for m in messages)

    def register_process(self, conn: Any) -> str:
        """The id of this process, with its row in the store."""
        process = this_process()
        if self._registered_pid != os.getpid():
            conn.execute(
                "INSERT OR IGNORE INTO processes(id, pid, started, host, boot, first_seen, "
                "first_span) VALUES (?, ?, ?, ?, ?, ?, "
                "(SELECT coalesce(max(id), 0) + 1 FROM spans))",
                (
                    process.id,
                    process.pid,
                    process.started,
                    process.host,
                    process.boot,
                    self.store.now(),
                ),
            )
            self._registered_pid = os.getpid()
        return process.id


INSERT = (
    "INSERT INTO spans(trace_id, span_id, parent_id, session, name, op, kind, start_ns, status, "
    "provider, model, model_digest, prompt_name, prompt_version, seed, notebook, cell_id, "
    "execution_count, kernel_id, process_id, input_message, attributes, schema_url) "
    "VALUES (?, ?, ?, ?, ?, ?, 'INTERNAL', ?, 'open', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
UPDATE = (
    "UPDATE spans SET end_ns = ?, first_token_ns = ?, status = ?, error_type = ?, "
    "error_message = ?, input_tokens = ?, output_tokens = ?, cached_tokens = ?, seed = ?, "
    "session = ?, input_message = ?, output_message = ?, partial = NULL, attributes = ? "
    "WHERE id = ?"
)


class Span:
    """One step of work. Use it as a context manager; what is set is written when it ends."""

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        op: str,
        attributes: dict[str, Any],
        messages: tuple[Message, ...],
        columns: dict[str, Any],
        trace_id: str | None,
    ) -> None:
        self.tracer = tracer
        self.name = name
        self.op = op
        self.attributes = attributes
        self.columns = columns
        self.status = "open"
        self.parent_id: str | None = None
        self.trace_id = trace_id or ""
        self.span_id = os.urandom(8).hex()
        self.stored = True
        self._messages = messages
        self._output: tuple[Message, ...] = ()
        self._usage: Usage | None = None
        self._row = 0
        self._start_ns = 0
        self._clock = 0.0
        self._end_ns: int | None = None
        self._first_token_ns: int | None = None
        self._input_hash: str | None = None
        self._partial_at = 0.0
        self._token: contextvars.Token[Span | None] | None = None

    def set(self, key: str, value: Any) -> None:
        """Set an attribute; OpenTelemetry names such as ``gen_ai.prompt.name`` fill their columns."""
        column = names.COLUMN_OF.get(key)
        if column in ("session", "seed"):
            self.columns[column] = value
        else:
            self.attributes[key] = value

    def input(self, messages: Sequence[Message]) -> None:
        """What goes in."""
        self._messages = tuple(messages)

    def output(self, messages: Sequence[Message] | str) -> None:
        """What came out."""
        if isinstance(messages, str):
            messages = (Message("assistant", messages),)
        self._output = tuple(messages)

    def usage(self, usage: Usage) -> None:
        """Tokens read and written."""
        self._usage = usage

    def first_token(self, seconds: float | None = None) -> None:
        """Mark the first token: now, or a number of seconds after the start."""
        if seconds is not None:
            self._first_token_ns = self._start_ns + int(seconds * 1e9)
        elif self._first_token_ns is None:
            self._first_token_ns = self._now_ns()

    def timed(self, seconds: float) -> None:
        """End the span that many seconds after its start, as a replay does."""
        self._end_ns = self._start_ns + int(seconds * 1e9)

    def event(self, name: str, **attributes: Any) -> None:
        """Something that happened at a moment inside the span."""
        events = self.attributes.setdefault(names.EVENTS, [])
        events.append({"name": name, "time_ns": self._now_ns(), **attributes})

    def partial(self, text: str) -> None:
        """Keep the answer so far; written at most four times a second."""
        self._output = (Message("assistant", text),)
        now = time.perf_counter()
        if now - self._partial_at < PARTIAL_EVERY_S or not self.stored:
            return
        self._partial_at = now
        shown = clean(self.tracer.clean(text))
        with self.tracer.store.write() as conn:
            conn.execute("UPDATE spans SET partial = ? WHERE id = ?", (shown, self._row))

    def begin(self, parent: Span | None = None) -> Span:
        """Open the span without making it current, for work that goes on beside other work."""
        if parent is not None and parent.tracer.store is self.tracer.store:
            self.parent_id, self.trace_id = parent.span_id, parent.trace_id
            self.stored = parent.stored
            self._input_hash = parent.kept_messages(self._messages)
        replayed = bool(self.trace_id) and self.parent_id is None
        self.trace_id = self.trace_id or os.urandom(16).hex()
        self._start_ns, self._clock = time.time_ns(), time.perf_counter()
        if replayed and self.tracer.store.row(
            "SELECT 1 FROM spans WHERE trace_id = ?", (self.trace_id,)
        ):
            self.stored = False
        if self.stored:
            self._open()
        threads.follow()
        return self

    def kept_messages(self, messages: tuple[Message, ...]) -> str | None:
        """The hash under which this span has kept these messages already, if it has."""
        return self._input_hash if messages and messages == self._messages else None

    def __enter__(self) -> Span:
        self.begin(_current.get())
        self.activate()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        self.deactivate()
        self.finish(error)

    def activate(self) -> None:
        """Make this the current span of the running thread or task."""
        self._token = _current.set(self)

    def deactivate(self) -> None:
        """Give the place back to the span that was current before."""
        token, self._token = self._token, None
        if token is not None:
            try:
                _current.reset(token)
            except ValueError:  # ended in another task than it began in
                _current.set(None)

    def finish(self, error: BaseException | None = None) -> None:
        """Write the end of the span; a failure to write is a warning, since the work is done."""
        if self.status != "open":
            return
        if error is None:
            self.status = "ok"
        else:
            self.status = "interrupted" if isinstance(error, INTERRUPTS) else "error"
        if self._end_ns is None:
            self._end_ns = self._now_ns()
        if not self.stored:
            return
        try:
            self._close(error)
        except StoreError as e:
            warnings.warn(
                f"The trace {self.trace_id[:8]} was not saved whole: {e}",
                TraceNotSavedWarning,
                stacklevel=3,
            )

    def _now_ns(self) -> int:
        return self._start_ns + int((time.perf_counter() - self._clock) * 1e9)

    def _open(self) -> None:
        tracer, get = self.tracer, self.columns.get
        where = Provenance()
        if self.parent_id is None and tracer.provenance is not None:
            where = tracer.provenance()
        with tracer.store.write() as conn:
            process_id = tracer.register_process(conn)
            if self._messages and self._input_hash is None:
                self._input_hash = store_messages(conn, tracer.clean_messages(self._messages))
            cursor = conn.execute(
                INSERT,
                (
                    *(self.trace_id, self.span_id, self.parent_id, get("session"), self.name),
                    *(self.op, self._start_ns, get("provider"), get("model")),
                    *(get("model_digest"), get("prompt_name"), get("prompt_version"), get("seed")),
                    *(where.notebook, where.cell_id, where.execution_count, where.kernel_id),
                    *(process_id, self._input_hash),
                    as_json(tracer.clean(self.attributes)) if self.attributes else "{}",
                    names.SCHEMA_URL,
                ),
            )
            self._row = int(cursor.lastrowid or 0)

    def _close(self, error: BaseException | None) -> None:
        tracer, usage = self.tracer, self._usage
        attributes = tracer.clean(self.attributes)
        error_type = error_message = None
        if error is not None:
            error_type = type(error).__name__
            error_message = clean(str(tracer.clean(str(error))))[:2000]
        inputs, outputs = tracer.clean_messages(self._messages), tracer.clean_messages(self._output)
        with tracer.store.write() as conn:
            if inputs and self._input_hash is None:
                self._input_hash = store_messages(conn, inputs)
            output_hash = store_messages(conn, outputs, self._input_hash) if outputs else None
            conn.execute(
                UPDATE,
                (
                    *(self._end_ns, self._first_token_ns, self.status, error_type, error_message),
                    usage.input_tokens if usage else None,
                    usage.output_tokens if usage else None,
                    usage.cached_tokens if usage else None,
                    *(self.columns.get("seed"), self.columns.get("session")),
                    *(self._input_hash, output_hash),
                    as_json(attributes) if attributes else "{}",
                    self._row,
                ),
            )
            given, made = texts_of_span(self.op, inputs, outputs, attributes)
            if given or made:
                enqueue(conn, self._row)
                tracer.waiting.append((self._row, given, made))
            if len(tracer.waiting) >= INDEX_EVERY:
                waiting, tracer.waiting = tracer.waiting, []
                index_known(conn, waiting)
