"""Fixtures: checks of a guard in the place of fitted ones, and collectors that traces are sent to."""

from __future__ import annotations

import pytest


@pytest.fixture
def fitted(monkeypatch):
    """The fitted checks of a guard are those of `guard_fakes`: quick, and known in what they find."""
    from guard_fakes import put_in

    put_in(monkeypatch)


@pytest.fixture
def collector():
    """Begins collectors, each with its answers; see `otlp_fakes`."""
    from otlp_fakes import Collector

    made = []

    def start(*answers, port=0):
        made.append(Collector(*answers, port=port))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def soon(monkeypatch):
    """No waiting between two tries, and nothing that the user has set for OpenTelemetry."""
    from llmops_jupyter.tracing.otlp import sending

    monkeypatch.setattr(sending, "FIRST_WAIT_S", 0.005)
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)
