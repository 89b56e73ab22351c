"""Traces out to collectors, and in from other programs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from llmops_jupyter.tracing.tracer import Tracer

if TYPE_CHECKING:
    from llmops_jupyter.tracing.otlp.exports import Exports
    from llmops_jupyter.tracing.otlp.imports import Imported
    from llmops_jupyter.tracing.otlp.ledger import EndpointStatus
    from llmops_jupyter.tracing.otlp.sending import Sent


class Exchange:
    """What `Traces` does with other programs."""

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer
        self._exports: Exports | None = None

    def send(
        self,
        endpoint: str = "",
        *,
        since: str | datetime | timedelta | None = None,
        again: bool = False,
        patience_s: float | None = 60.0,
        progress: Callable[[int], None] | None = None,
        redact: str | Callable[[str], str] | None = None,
        **settings: Any,
    ) -> Sent:
        """Send to an OTLP/HTTP collector what waits for it, and come back.

        The place reached is kept for each endpoint, so that the next call goes on where this one ended, however it ended;
        a new endpoint gets all that there is. A span that has no end yet goes once it has one.

        Args:
            endpoint: as in http://localhost:4318; left out, that of OTEL_EXPORTER_OTLP_ENDPOINT.
            since: go to the spans that began then, forward or back: an age, a date, 'all' or 'now'.
            again: offer once more what was refused.
            patience_s: seconds that an endpoint may fail for until the rest is left for later; None waits for ever.
            progress: is told how many spans have gone.
            redact: a second rule beside the store's; '' for none.
            settings: headers, content, service, deployment, openinference: see `Endpoint`. What is left out stays as it was.

        Raises:
            OptionError, PrivacyError: an argument cannot be used; nothing was written.
            SendError: the endpoint cannot be sent to like this, or another process is at it; nothing is lost.
            MissingDependencyError: the extra `otel` is not installed.
        """
        return self._exporting().send(
            endpoint,
            since=since,
            again=again,
            patience_s=patience_s,
            progress=progress,
            redact=redact,
            settings=settings,
        )

    def follow(
        self,
        endpoint: str = "",
        *,
        since: str | datetime | timedelta | None = None,
        again: bool = False,
        redact: str | Callable[[str], str] | None = None,
        **settings: Any,
    ) -> EndpointStatus:
        """Send what waits and what comes, in the background until `stop_following`; arguments and errors as for `send`.

        Closing the workspace, or the end of the process, sends what is left for five seconds at most.
        """
        return self._exporting().follow(
            endpoint, since=since, again=again, redact=redact, settings=settings
        )

    def import_(
        self,
        source: Any,
        *,
        strict: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Imported:
        """Import traces of other programs; what is there already is left alone, so that importing twice is importing once.

        Read are OTLP as JSON (one record a line, or one document) and as protobuf (one message, or each behind its length),
        also under gzip, and what `export` wrote. Attributes may follow OpenTelemetry's conventions for generative AI, now or
        before, or OpenInference. Spans say where they came from in `llmops.import.*`. A span whose parent has not come
        stands under the root of its trace until it comes.

        Args:
            source: a file, several, bytes, records as JSON values, messages of opentelemetry-proto.
            strict: import nothing if anything cannot be read; it is read twice. Otherwise that is skipped, and said.
            progress: is told how many spans were looked at.

        Raises:
            DataError: a file cannot be read at all, or something in it cannot with `strict`.
            MissingDependencyError: the source is OTLP, and the extra `otel` is not installed.
        """
        from llmops_jupyter.tracing.otlp.imports import Import

        return Import(self.tracer).run(source, strict=strict, progress=progress)

    def stop_following(self, endpoint: str = "") -> list[str]:
        """End sending in the background, to one endpoint or to all; returns which."""
        return self._exporting().stop(endpoint)

    def endpoints(self) -> list[EndpointStatus]:
        """How the endpoints stand that traces were sent to: what went, what waits, what was refused and why."""
        return self._exporting().statuses()

    def endpoint(self, endpoint: str) -> EndpointStatus:
        """How one endpoint stands.

        Raises:
            UnknownNameError: nothing was ever sent there.
        """
        return self._exporting().status(endpoint)

    def forget_endpoint(self, endpoint: str) -> None:
        """Forget an endpoint, with its settings and its place.

        Raises:
            UnknownNameError: nothing was ever sent there.
        """
        self._exporting().forget(endpoint)

    def close(self) -> None:
        """End what is done in the background."""
        if self._exports is not None:
            self._exports.close()

    def _exporting(self) -> Exports:
        if self._exports is None:
            from llmops_jupyter.tracing.otlp.exports import Exports

            self._exports = Exports(self.tracer)
        return self._exports
