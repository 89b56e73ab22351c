"""Schedulers that save, of each kind of memory, driven by hand."""

from __future__ import annotations

import queue

import numpy as np
from tiny_models import VOCABULARY, write_gemma, write_lfm, write_llama, write_mamba

from llmops_jupyter.engine import native
from llmops_jupyter.engine.adapters import LoadedAdapters, checked
from llmops_jupyter.engine.context import Context, Size
from llmops_jupyter.engine.identity import Identities
from llmops_jupyter.engine.saved import SavedStates
from llmops_jupyter.engine.saving import Saving
from llmops_jupyter.engine.scheduler import NODES, SPARE, Scheduler
from llmops_jupyter.engine.scoring import Labels
from llmops_jupyter.models.model import sha256_of

KINDS = {
    "attention": write_llama,
    "recurrent": write_mamba,
    "hybrid": write_lfm,
    "sliding window": lambda path: write_gemma(path, 64),
}
LABELS = [[3], [4, 5], [6]]


def words(seed, count):
    return (np.random.default_rng(seed).integers(1, VOCABULARY, count)).tolist()


class Engine:
    """A scheduler that saves, driven by hand as its owner's thread would."""

    def __init__(self, path, folder, *, cells=1024, digest=None, most=10**8):
        self.model = native.load_model(path, 0)
        size = Size(3, cells, 64, 32)
        self.context = Context(self.model, size, 1, 3 + SPARE + NODES, VOCABULARY)
        self.adapters = LoadedAdapters(self.model, "llama")
        self.scheduler = Scheduler(self.context, 3, self.adapters.pairs)
        self.jobs = queue.SimpleQueue()
        self.states = SavedStates(folder, most)
        identities = Identities(self.context, self.model, digest or sha256_of(path), 0)
        self.saving = self.scheduler.saving = Saving(
            self.context,
            self.scheduler.prefixes,
            self.scheduler.pace,
            self.states,
            identity=lambda used: identities.of(self.adapters.contents(used)),
            submit=self.jobs.put,
            busy=lambda: self.scheduler.busy,
        )
        self.fed = []
        feed = self.context.feed
        self.context.feed = lambda pieces: (
            self.fed.append(sum(len(p.tokens) for p in pieces)) or feed(pieces)
        )

    def score(self, *texts, adapters=(), interactive=False):
        """Log-probabilities of the labels after each text, and how many tokens were computed for it."""
        found, self.fed[:] = {}, []
        for i, tokens in enumerate(texts):
            row = Labels(tokens, LABELS, lambda r, i=i: found.__setitem__(i, r), checked(adapters))
            row.interactive = interactive
            self.scheduler.add(row)
        while self.scheduler.step():
            pass
        for result in found.values():
            if isinstance(result, Exception):
                raise result
        return [np.array(found[i]) for i in range(len(texts))], sum(self.fed)

    def idle(self):
        """As long as there is something to save."""
        self.saving.step()
        while self.saving._under_way:
            self.jobs.get(timeout=60)()
            self.saving.step()

    def entries(self):
        return self.states.usage().entries

    def close(self):
        self.context.free()
        self.adapters.free()
        native.library().llama_model_free(self.model)
