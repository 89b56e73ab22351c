"""Live spans: written when they open, updated while they run, complete when they have returned."""

from __future__ import annotations

import contextvars
import os
import sqlite3
import sys
import time
import warnings
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from llmops_jupyter.errors import PrivacyError, StoreError
from llmops_jupyter.records import Message, Resources, Usage
from llmops_jupyter.tracing import names, purposes, threads, values
from llmops_jupyter.tracing.messages import clean, store_messages
from llmops_jupyter.tracing.search import enqueue, index_known, texts_of_span
from llmops_jupyter.tracing.tracer import Provenance, Tracer

PARTIAL_EVERY_S = 0.25
MAX_UNSAVED = 100

_current: ContextVar[Span | None] = ContextVar("llmops_span", default=None)
threads.carried.append(_current)


def _breaks_off(error: BaseException) -> bool:
    """Whether a call was ended from outside; a task is cancelled only where asyncio has been loaded."""
    asyncio = sys.modules.get("asyncio")
    return isinstance(error, KeyboardInterrupt) or (
        asyncio is not None and isinstance(error, asyncio.CancelledError)
    )


class TraceNotSavedWarning(UserWarning):
    """A span could not be written; the traced work itself went on."""


def current_span() -> Span | None:
    """The innermost open span of this thread or task."""
    return _current.get()


INSERT = (
    "INSERT INTO spans(trace_id, span_id, parent_id, session, name, op, kind, start_ns, status, "
    "provider, model, model_digest, prompt_name, prompt_version, seed, notebook, cell_id, "
    "execution_count, kernel_id, process_id, input_message, attributes, schema_url) "
    "VALUES (?, ?, ?, ?, ?, ?, 'INTERNAL', ?, 'open', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
UPDATE = (
    "UPDATE spans SET end_ns = ?, first_token_ns = ?, status = ?, error_type = ?, "
    "error_message = ?, input_tokens = ?, output_tokens = ?, cached_tokens = ?, cost = ?, seed = ?, "
    "session = ?, input_message = ?, output_message = ?, partial = NULL, attributes = ? "
    "WHERE id = ?"
)

TAKEN = (
    "UPDATE spans SET busy_s = ?, cpu_s = ?, peak_bytes = ?, energy_j = ?, shared = ?, "
    "energy_source = ? WHERE id = ?"
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
        self._cost: float | None = None
        self._resources: Resources | None = None
        self._row = 0
        self._start_ns = 0
        self._clock = 0.0
        self._end_ns: int | None = None
        self._first_token_ns: int | None = None
        self._input_hash: str | None = None
        self._parent: Span | None = None
        self._answer: tuple[tuple[Message, ...], str | None, str | None] = ((), None, None)
        self._partial_at = 0.0
        self._warned = False
        self._silent = False
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
        self._messages, self._input_hash = tuple(messages), None

    def output(self, messages: Sequence[Message] | str) -> None:
        """What came out."""
        if isinstance(messages, str):
            messages = (Message("assistant", messages),)
        self._output = tuple(messages)

    def usage(self, usage: Usage) -> None:
        """Tokens read and written."""
        self._usage = usage
        if usage.reasoning_tokens:
            self.attributes[names.REASONING_TOKENS] = usage.reasoning_tokens

    def cost(self, dollars: float | None) -> None:
        """What it cost in US dollars; None if that is not known."""
        self._cost = dollars

    def resources(self, taken: Resources | None) -> None:
        """What it took of this machine; None if that is not known."""
        self._resources = taken

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
        try:
            shown = self.tracer.clean_text(text)
            with self.tracer.store.write() as conn:
                conn.execute("UPDATE spans SET partial = ? WHERE id = ?", (shown, self._row))
        except (StoreError, PrivacyError, sqlite3.Error) as e:
            self._warn(e)

    def begin(self, parent: Span | None = None) -> Span:
        """Open the span without making it current, for work that goes on beside other work."""
        if parent is not None and parent.tracer.store is self.tracer.store:
            self._parent, self.parent_id, self.trace_id = parent, parent.span_id, parent.trace_id
            self.stored = parent.stored
            self._input_hash = parent.kept_messages(self._messages)
        made_for = purposes.current()
        if made_for is not None:
            self.attributes.setdefault(names.PURPOSE, made_for)
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

    def kept_answer(self, messages: tuple[Message, ...], last: str | None) -> str | None:
        """The hash under which a step of this span has kept these messages after `last`."""
        kept, after, found = self._answer
        return found if messages == kept and last == after else None

    def keep_answer(self, messages: tuple[Message, ...], last: str | None, found: str) -> None:
        """Note what a step has kept, since a workflow often ends with the answer of its last step."""
        self._answer = messages, last, found

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
            self.status = "interrupted" if _breaks_off(error) else "error"
        if self._end_ns is None:
            self._end_ns = self._now_ns()
        if not self.stored:
            return
        try:
            self._close(error)
            self.tracer.save_unsaved()
        except PrivacyError as e:
            self._warn(e)
            self._forget_texts()
            self.finish_again(error)
        except (StoreError, sqlite3.Error) as e:
            self._warn(e)
            self._leave_for_later(error)
        except KeyboardInterrupt:
            self._leave_for_later(error)
            raise

    def finish_again(self, error: BaseException | None) -> None:
        """Write the end of the span once more; it waits on if that fails as well."""
        try:
            self._close(error)
        except (StoreError, PrivacyError, sqlite3.Error):
            self._leave_for_later(error)

    def _leave_for_later(self, error: BaseException | None) -> None:
        if len(self.tracer.unsaved) < MAX_UNSAVED:
            self.tracer.unsaved.append((self, error))

    def _forget_texts(self) -> None:
        """Keep nothing that could not be redacted."""
        self.attributes, self._messages, self._output = {}, (), ()
        self._silent = True

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"The trace {self.trace_id[:8]} was not saved whole: {error}",
                TraceNotSavedWarning,
                stacklevel=4,
            )

    def _now_ns(self) -> int:
        return self._start_ns + int((time.perf_counter() - self._clock) * 1e9)

    def _open(self) -> None:
        tracer, columns = self.tracer, self.columns
        get = {name: values.column(value) for name, value in columns.items()}.get
        where = tracer.place() if self.parent_id is None else Provenance()
        with tracer.store.write() as conn:
            process_id = tracer.register_process(conn)
            if self._messages and self._input_hash is None:
                self._input_hash = store_messages(conn, tracer.clean_messages(self._messages))
            cursor = conn.execute(
                INSERT,
                (
                    *(
                        self.trace_id,
                        self.span_id,
                        self.parent_id,
                        get("session"),
                        clean(self.name),
                    ),
                    *(self.op, self._start_ns, get("provider"), get("model")),
                    *(get("model_digest"), get("prompt_name"), get("prompt_version"), get("seed")),
                    *(where.notebook, where.cell_id, where.execution_count, where.kernel_id),
                    *(process_id, self._input_hash),
                    values.fitted(tracer.clean_values(self.attributes))[0],
                    names.SCHEMA_URL,
                ),
            )
            self._row = int(cursor.lastrowid or 0)
        tracer.registered()

    def _close(self, error: BaseException | None) -> None:
        tracer, usage, taken = self.tracer, self._usage, self._resources
        stored, attributes = values.fitted(tracer.clean_values(self.attributes))
        error_type = error_message = None
        if error is not None:
            error_type = type(error).__name__
            error_message = None if self._silent else tracer.clean_text(_text_of(error))[:2000]
        inputs, outputs = tracer.clean_messages(self._messages), tracer.clean_messages(self._output)
        given, made = texts_of_span(self.op, inputs, outputs, attributes)
        waiting = tracer.texts_to_index()
        input_hash = self._input_hash
        with tracer.store.write() as conn:
            if inputs and input_hash is None:
                input_hash = store_messages(conn, inputs)
            output_hash = self.kept_answer(outputs, input_hash)
            if outputs and output_hash is None:
                output_hash = store_messages(conn, outputs, input_hash)
            conn.execute(
                UPDATE,
                (
                    *(self._end_ns, self._first_token_ns, self.status, error_type, error_message),
                    usage.input_tokens if usage else None,
                    usage.output_tokens if usage else None,
                    usage.cached_tokens if usage else None,
                    self._cost,
                    values.column(self.columns.get("seed")),
                    values.column(self.columns.get("session")),
                    *(input_hash, output_hash, stored, self._row),
                ),
            )
            if taken is not None:
                source = None if taken.energy_j is None else taken.energy_source
                figures = (taken.busy_s, taken.cpu_s, taken.peak_bytes, taken.energy_j)
                conn.execute(TAKEN, (*figures, int(taken.shared), source, self._row))
            if given or made:
                enqueue(conn, self._row)
            index_known(conn, waiting)
        tracer.ended(self._row, given, made)
        if output_hash is not None and self._parent is not None and not tracer.store.writing:
            self._parent.keep_answer(outputs, input_hash, output_hash)


def _text_of(error: BaseException) -> str:
    return str(values.plain(error))
