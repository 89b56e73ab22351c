"""What a workspace watches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from llmops_jupyter.monitor.alerting import Alerting
from llmops_jupyter.store import Store
from llmops_jupyter.tracing import Tracer, Traces

if TYPE_CHECKING:
    from llmops_jupyter.data import Datasets
    from llmops_jupyter.engine.engines import Engines
    from llmops_jupyter.evaluation import Evaluation
    from llmops_jupyter.prompts import Prompts
    from llmops_jupyter.rag import Rag


class Monitor(Alerting):
    """Baselines, drift, cost, alerts and attacks of one workspace.

    The other stages are given as functions, so that none is made before it is used.
    """

    def __init__(
        self,
        store: Store,
        tracer: Tracer,
        traces: Traces,
        engine: Engines,
        *,
        data: Callable[[], Datasets],
        prompts: Callable[[], Prompts],
        evaluation: Callable[[], Evaluation],
        rag: Callable[[], Rag],
    ) -> None:
        self.store = store
        self.tracer = tracer
        self.traces = traces
        self.engine = engine
        self._data = data
        self._prompts = prompts
        self._evaluation = evaluation
        self._rag = rag
