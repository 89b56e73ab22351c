"""A collector that reads what it gets with OpenTelemetry's own protobuf, over a real socket, and answers as it is told."""

from __future__ import annotations

import gzip
import http.server
import threading
import time

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Collector(http.server.ThreadingHTTPServer):
    """Keeps the spans of requests that it takes.

    `answers` are called with the names of a request's spans, one after the other, the last one for ever; each gives a status,
    or a status and headers, or a status, headers and a body.
    """

    daemon_threads = True

    def __init__(self, *answers, port=0):
        self.answers = list(answers) or [200]
        self.requests, self.headers, self.spans, self.paths = [], [], [], []
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)
        threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def ids(self):
        return [span.span_id.hex() for span in self.spans]

    @property
    def names(self):
        return [span.name for span in self.spans]

    def answer(self, names):
        with self.lock:
            made = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        made = made(names) if callable(made) else made
        made = made if isinstance(made, tuple) else (made,)
        return (*made, *((200, {}, b"")[len(made) :]))

    def close(self):
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        request = ExportTraceServiceRequest.FromString(body)
        spans = [s for r in request.resource_spans for p in r.scope_spans for s in p.spans]
        server = self.server
        status, headers, said = server.answer([s.name for s in spans])
        if 200 <= status < 300:
            with server.lock:
                server.spans += spans
                server.requests.append(request)
                server.headers.append(dict(self.headers))
                server.paths.append(self.path)
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)
        except OSError:
            pass

    def log_message(self, *_):
        pass


def partly(rejected, message):
    """The body of an answer that says how many spans were not taken."""
    made = ExportTraceServiceResponse()
    made.partial_success.rejected_spans = rejected
    made.partial_success.error_message = message
    return made.SerializeToString()


def attributes(span):
    """Attributes of a span of protobuf as Python values."""
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


def work(ws, *names):
    """A trace for each name; their span ids."""
    ids = []
    for name in names:
        with ws.tracer.span(name) as span:
            span.output(f"the answer of {name}")
        ids.append(span.span_id)
    return ids


def until(check, seconds=20.0):
    """Wait until it is so; a failure if it does not come to that."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end
        time.sleep(0.01)
