"""One request with spans: the OpenTelemetry SDK's exporter makes and sends it, and here is heard what came back."""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import missing_dependency
from llmops_jupyter.tracing.otlp.endpoints import Endpoint

if TYPE_CHECKING:
    import requests
    from opentelemetry.sdk.trace import ReadableSpan

TIMEOUT_S = 10.0
MOST_BODY, PIECE = 65_536, 1024
# What is wrong with the spans that were sent, what with the way they are sent; all else may be better later.
OF_CONTENT = (400, 413, 422)
LATER = (408, 425, 429)
NOT_SENT = "it could not be encoded"


@dataclass(frozen=True)
class Answer:
    """What came of a request.

    Args:
        status: of HTTP; 0 where there was no answer.
        error: what is wrong, for people; '' if nothing is.
        retry_after_s: seconds that the endpoint asks to wait; None if it does not.
        rejected: spans of a request that went well which it has not taken, as it says.
    """

    status: int
    error: str = ""
    retry_after_s: float | None = None
    rejected: int = 0

    @property
    def taken(self) -> bool:
        """Whether the endpoint has the spans."""
        return 200 <= self.status < 300

    @property
    def later(self) -> bool:
        """Whether the same may go well later."""
        return self.status == 0 or self.status in LATER or self.status >= 500

    @property
    def refused(self) -> bool:
        """Whether it will not take these spans, now or later."""
        return self.status in OF_CONTENT


class Poster:
    """Posts spans to one endpoint.

    Raises:
        MissingDependencyError: the extra `otel` is not installed.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http import Compression
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError as e:
            raise missing_dependency(
                "opentelemetry-exporter-otlp-proto-http", "Sending traces", "otel"
            ) from e
        self._endpoint = endpoint
        self._session = _session(local=endpoint.local)
        self._exporter = OTLPSpanExporter(
            endpoint=endpoint.url,
            timeout=int(TIMEOUT_S),
            compression=Compression.Gzip,
            session=self._session,
        )

    def post(self, spans: Sequence[ReadableSpan]) -> Answer:
        """Post spans once.

        Raises:
            SendError: a header's variable is not set.
        """
        from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value

        self._session.own_headers = self._endpoint.values_of_headers()
        self._session.answer = None
        # An instrumented `requests` would trace the sending of traces.
        token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        try:
            self._exporter.export(spans)
        finally:
            detach(token)
        answer: Answer | None = self._session.answer
        return answer or Answer(400, NOT_SENT)

    def close(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()


def _session(*, local: bool) -> Any:
    """A session that keeps the answer, and tells the exporter that all went well.

    The exporter would try again and log by itself, and says no more than whether it went well; when to try again, and what
    was refused, is decided by whoever keeps the place in the store.
    """
    import requests

    class Session(requests.Session):
        own_headers: dict[str, str]
        answer: Answer | None

        def request(self, method: Any, url: Any, **given: Any) -> requests.Response:
            sent = {**self.headers, **(given.pop("headers", None) or {})}
            # Those that the SDK takes from variables of its own are meant for another endpoint, perhaps.
            kept = {k: v for k, v in sent.items() if k.lower() in _OF_THE_BODY}
            self.headers.clear()
            given |= {"allow_redirects": False, "stream": True, "timeout": TIMEOUT_S}
            try:
                with super().request(
                    method, url, headers={**kept, **self.own_headers}, **given
                ) as found:
                    self.answer = _heard(found, self.own_headers.values())
            except (requests.RequestException, OSError, ValueError) as e:
                # Its text may hold the address with more than its host.
                self.answer = Answer(0, f"no answer ({_why(e)})")
            self.headers.update(kept)
            fine = requests.Response()
            fine.status_code = 200
            fine._content = b""  # noqa: SLF001 - the exporter looks into it
            return fine

    made = Session()
    # Without this `requests` puts what ~/.netrc has for the host over our own header.
    made.auth = lambda request: request
    made.trust_env = not local
    return made


_OF_THE_BODY = ("content-type", "content-encoding", "user-agent", "accept", "accept-encoding")


def _heard(found: requests.Response, secrets: Collection[str]) -> Answer:
    """What an endpoint said; a key of ours that it repeats is not kept."""
    body, end = b"", time.monotonic() + TIMEOUT_S
    for piece in found.iter_content(PIECE):
        body += piece
        if len(body) >= MOST_BODY or time.monotonic() > end:
            break
    status = found.status_code
    if 200 <= status < 300:
        return _partly(status, body)
    text = _words(body)
    for secret in (word for value in secrets for word in (value, value.rpartition(" ")[2])):
        text = text.replace(secret, "…")
    text = " ".join(text.split())[:200]
    said = f"it answered {status}{f': {text}' if text.isprintable() and text else ''}"
    return Answer(status, said, _seconds(found.headers.get("Retry-After")))


def _partly(status: int, body: bytes) -> Answer:
    """The answer to spans that were taken, apart from those that it says were not."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        partly = ExportTraceServiceResponse.FromString(body).partial_success
    except DecodeError:  # servers answer "OK", or JSON
        return Answer(status)
    rejected = max(0, int(partly.rejected_spans))
    if not rejected:
        return Answer(status)
    said = f"it took all but {rejected:,} spans: {partly.error_message[:200]}"
    return Answer(status, said, rejected=rejected)


def _words(body: bytes) -> str:
    """What an answer says of an error: a Status of protobuf, or text."""
    from google.protobuf.message import DecodeError
    from google.rpc.status_pb2 import Status

    try:
        message = Status.FromString(body).message
    except DecodeError:
        message = ""
    return message or body.decode("utf-8", "replace")


def _why(error: Exception) -> str:
    import requests

    if isinstance(error, requests.Timeout):
        return f"not within {TIMEOUT_S:.0f} s"
    return "nobody listens there" if "refused" in str(error).lower() else type(error).__name__


def _seconds(value: str | None) -> float | None:
    """What a Retry-After header asks for: seconds, or a time."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
