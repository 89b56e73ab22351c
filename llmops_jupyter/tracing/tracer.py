"""Opens spans in one store, with the rules by which their texts are written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmops_jupyter.privacy import redact_json
from llmops_jupyter.records import Message
from llmops_jupyter.store import Store
from llmops_jupyter.tracing import values
from llmops_jupyter.tracing.messages import clean
from llmops_jupyter.tracing.process import this_process

if TYPE_CHECKING:
    from llmops_jupyter.tracing.spans import Span

INDEX_EVERY = 64


@dataclass(frozen=True)
class Provenance:
    """Where in a notebook a root span was made."""

    notebook: str | None = None
    cell_id: str | None = None
    execution_count: int | None = None
    kernel_id: str | None = None


_place: ContextVar[Provenance | None] = ContextVar("llmops_place", default=None)


@contextmanager
def placed(where: Provenance | None) -> Iterator[None]:
    """Have roots that this thread or task begins meanwhile belong to a place, such as the cell that shows a panel.

    With None they are where the tracer says.
    """
    token = _place.set(where)
    try:
        yield
    finally:
        _place.reset(token)


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
        self.unsaved: list[tuple[Span, BaseException | None]] = []
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
        from llmops_jupyter.tracing.spans import Span  # spans know their tracer, too

        return Span(
            self,
            name,
            op or "span",
            dict(attributes or {}),
            tuple(messages),
            columns,
            trace_id,
        )

    def place(self) -> Provenance:
        """Where a root that begins now is made."""
        where = _place.get()
        if where is not None:
            return where
        return self.provenance() if self.provenance is not None else Provenance()

    def clean(self, value: Any) -> Any:
        """A value as it may be written: redacted if a rule is set."""
        return value if self.redact is None else redact_json(value, self.redact)

    def clean_text(self, text: str) -> str:
        """A text as it may be written: redacted if a rule is set."""
        return clean(text if self.redact is None else self.redact(text))

    def clean_values(self, mapping: Mapping[str, Any]) -> dict[str, Any]:
        """Attributes as JSON values that may be written, redacted if a rule is set."""
        if not mapping:
            return {}
        made: dict[str, Any] = values.plain(mapping)
        if self.redact is not None:
            made = redact_json(made, self.redact)
        return made

    def clean_messages(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        if self.redact is None:
            return tuple(messages)
        return tuple(self._redacted(message) for message in messages)

    def _redacted(self, message: Message) -> Message:
        assert self.redact is not None
        calls = tuple(
            replace(call, arguments=redact_json(dict(call.arguments), self.redact))
            for call in message.tool_calls
        )
        return replace(message, content=self.redact(message.content), tool_calls=calls)

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
        return process.id

    def registered(self) -> None:
        """Note that the row of this process is there for good, once a transaction has ended."""
        if not self.store.writing:
            self._registered_pid = os.getpid()

    def save_unsaved(self) -> None:
        """Write the ends of spans that could not be written before, for instance on a full disk."""
        unsaved, self.unsaved = self.unsaved, []
        for span, error in unsaved:
            span.finish_again(error)

    def texts_to_index(self) -> list[tuple[int, str, str]]:
        """Spans whose text is still at hand, once there are enough for a turn of indexing."""
        if len(self.waiting) < INDEX_EVERY:
            return []
        waiting, self.waiting = self.waiting, []
        return waiting

    def ended(self, row: int, given: str, made: str) -> None:
        """Keep the text of a span for the index, unless what wrote it may still be rolled back."""
        if (given or made) and not self.store.writing:
            self.waiting.append((row, given, made))
