"""CLINC150's questions as vectors, made once; `oos_test` is held out and is never read."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from benchmarks.corpora import KEPT, DataMissing, data_folder

SPLITS, SCATTERED = ("train", "val"), ("oos_train", "oos_val")


@dataclass(frozen=True)
class Clinc:
    """Vectors of unit length; the domain of each question, 'oos' where it is of none."""

    vectors: np.ndarray
    domains: np.ndarray

    @property
    def known(self) -> np.ndarray:
        return np.flatnonzero(self.domains != "oos")

    @property
    def scattered(self) -> np.ndarray:
        return np.flatnonzero(self.domains == "oos")

    @property
    def names(self) -> list[str]:
        return sorted(set(self.domains[self.known]))


def clinc(*, quick: bool) -> Clinc:
    """The set; when quick, the 200 scattered questions and 4,000 of the others.

    Raises:
        DataMissing: it is not there, or there is no embedding model.
    """
    folder = data_folder("clinc150")
    of = {
        intent: domain
        for domain, intents in json.loads((folder / "domains.json").read_text("utf-8")).items()
        for intent in intents
    }
    data = json.loads((folder / "data_full.json").read_text("utf-8"))
    pairs = [(text, of[intent]) for split in SPLITS for text, intent in data[split]]
    if quick:
        pairs = pairs[:: len(pairs) // 4_000]
    pairs += [(text, "oos") for split in SCATTERED for text, _ in data[split]]
    vectors = _vectors([text for text, _ in pairs], f"clinc-{'few' if quick else 'all'}.npy")
    return Clinc(vectors, np.asarray([domain for _, domain in pairs]))


def _vectors(texts: list[str], name: str) -> np.ndarray:
    path = KEPT / name
    if path.is_file():
        found = np.load(path)
        if len(found) == len(texts):
            return found
    import llmops_jupyter as lo
    from llmops_jupyter.rag.embedding import Embedder

    print(f"  embedding {len(texts):,} questions (some minutes, once)", flush=True)
    with lo.open(":memory:") as ws:
        model = ws.rag.default_embedder()
        if not model:
            raise DataMissing("not run: there is no embedding model (make demo installs one)")
        found = Embedder(model, ws.engine.engine(model)).embed(texts)
    KEPT.mkdir(parents=True, exist_ok=True)
    np.save(path, found)
    return found
