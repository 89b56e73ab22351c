"""An embedding model of words, for tests of what is made of vectors."""

from __future__ import annotations

import hashlib
import re

import numpy as np
from engine_fakes import FakeEngine

WIDTH = 256


class WordEngine(FakeEngine):
    """A text's vector is the sum of its words' random ones; a token is a word. Counts what it embeds."""

    model_name = "words"
    context_length = 258

    def __init__(self, digest="w" * 64):
        super().__init__()
        self.model_digest = digest
        self.embedded = []

    def embed(self, texts):
        self.embedded += texts
        rows = []
        for text in texts:
            vector = np.full(WIDTH, 1e-3, np.float32)
            for word in re.findall(r"\w+", text.lower()):
                seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
                vector += np.random.default_rng(seed).normal(size=WIDTH).astype(np.float32)
            rows.append(vector / np.linalg.norm(vector))
        return np.stack(rows)
