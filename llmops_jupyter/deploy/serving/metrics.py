"""Figures for Prometheus, under the names of vLLM and those of OpenTelemetry's conventions for generative AI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmops_jupyter.deploy.serving.admission import Gate
    from llmops_jupyter.deploy.serving.running import Traces

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
BETWEEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5)


class Metrics:
    """The figures of one server.

    Args:
        model: the name under which it answers.
        gate: says how many run and wait.
        traces: says how many were lost.
    """

    def __init__(self, model: str, gate: Gate, traces: Traces) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = CollectorRegistry()
        self._model = model
        names, registry = ["model_name"], self.registry

        def gauge(name: str, text: str, read: Any) -> None:
            Gauge(name, text, names, registry=registry).labels(model).set_function(read)

        def histogram(name: str, text: str, labels: list[str], buckets: Any) -> Any:
            return Histogram(name, text, labels, registry=registry, buckets=buckets)

        gauge("vllm:num_requests_running", "Answers that are written.", lambda: gate.running)
        gauge("vllm:num_requests_waiting", "Requests that wait.", lambda: gate.waiting)
        gauge("llmops_traces_lost", "Traces that could not be written.", lambda: traces.lost)
        self._prompt = Counter("vllm:prompt_tokens", "Tokens read.", names, registry=registry)
        self._written = Counter(
            "vllm:generation_tokens", "Tokens written.", names, registry=registry
        )
        self._cached = Counter(
            "vllm:prompt_tokens_cached", "Tokens that were read before.", names, registry=registry
        )
        self._success = Counter(
            "vllm:request_success",
            "Answers by how they ended.",
            [*names, "finished_reason"],
            registry=registry,
        )
        self._queue = histogram(
            "vllm:request_queue_time_seconds", "Time until an answer is begun.", names, SECONDS
        )
        self._first = histogram(
            "vllm:time_to_first_token_seconds", "Time to the first token.", names, SECONDS
        )
        self._between = histogram(
            "vllm:inter_token_latency_seconds", "Time between tokens.", names, BETWEEN
        )
        self._whole = histogram(
            "vllm:e2e_request_latency_seconds", "Time to the end.", names, SECONDS
        )
        told = ["gen_ai_operation_name", "gen_ai_request_model", "error_type"]
        self._duration = histogram(
            "gen_ai_server_request_duration_seconds", "Time to the end.", told, SECONDS
        )
        self._otel_first = histogram(
            "gen_ai_server_time_to_first_token_seconds", "As above.", told[:2], SECONDS
        )
        self._otel_between = histogram(
            "gen_ai_server_time_per_output_token_seconds", "As above.", told[:2], BETWEEN
        )
        self._refused = Counter(
            "llmops_requests_refused",
            "Requests that got an error, by status and code.",
            ["status", "code"],
            registry=registry,
        )
        self._release = Gauge(
            "llmops_release_in_service",
            "1 for each release in service.",
            ["slot", "release"],
            registry=registry,
        )

    def answered(self, reason: str, usage: Any) -> None:
        """One answer has ended."""
        self._success.labels(self._model, reason).inc()
        self._prompt.labels(self._model).inc(usage.input_tokens)
        self._written.labels(self._model).inc(usage.output_tokens)
        self._cached.labels(self._model).inc(usage.cached_tokens)

    def waited(self, seconds: float) -> None:
        """A request was begun after so many seconds."""
        self._queue.labels(self._model).observe(seconds)

    def timed(self, operation: str, whole: float, first: float | None, tokens: int) -> None:
        """A request was answered: seconds from its arrival to its end and to its first token."""
        self._whole.labels(self._model).observe(whole)
        self._duration.labels(operation, self._model, "").observe(whole)
        if first is None:
            return
        self._first.labels(self._model).observe(first)
        self._otel_first.labels(operation, self._model).observe(first)
        if tokens > 1:
            between = max(0.0, whole - first) / (tokens - 1)
            self._between.labels(self._model).observe(between)
            self._otel_between.labels(operation, self._model).observe(between)

    def refused(self, status: int, code: str | None) -> None:
        """A request got an error."""
        self._refused.labels(str(status), code or "").inc()

    def failed(self, operation: str, whole: float, error: str) -> None:
        """A request that had been begun has failed."""
        self._duration.labels(operation, self._model, error).observe(whole)

    def text(self, refs: dict[str, str]) -> bytes:
        """All figures in Prometheus' text format."""
        from prometheus_client import generate_latest

        self._release.clear()
        for slot, ref in refs.items():
            self._release.labels(slot, ref).set(1)
        return bytes(generate_latest(self.registry))
