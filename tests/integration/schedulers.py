"""Schedulers of small models, and passages that are read on one."""

from __future__ import annotations

import contextlib

import numpy as np
from tiny_models import VOCABULARY

from llmops_jupyter.engine import native
from llmops_jupyter.engine.adapters import LoadedAdapters, checked
from llmops_jupyter.engine.context import Context, Size
from llmops_jupyter.engine.scheduler import NODES, SPARE, Scheduler
from llmops_jupyter.engine.scoring import Passage


@contextlib.contextmanager
def scheduler_of(path, *, rows=3, cells=512, batch=64, architecture="llama"):
    model = native.load_model(path, 0)
    context = Context(model, Size(rows, cells, batch, 32), 1, rows + SPARE + NODES, VOCABULARY)
    adapters = LoadedAdapters(model, architecture)
    try:
        yield Scheduler(context, rows, adapters.pairs)
    finally:
        context.free()
        adapters.free()
        native.library().llama_model_free(model)


def passages(scheduler, texts, adapters=()):
    """Log-probabilities of token lists, run together."""
    found = {}
    for i, tokens in enumerate(texts):
        used = adapters[i] if adapters else ()
        scheduler.add(
            Passage(tokens, lambda r, i=i: found.__setitem__(i, r), adapters=checked(used))
        )
    while scheduler.step():
        pass
    for result in found.values():
        if isinstance(result, Exception):
            raise result
    return [np.array(found[i]) for i in range(len(texts))]
