"""How the models of refusals and of toxic text are fitted, and how they do on texts that were not fitted on."""

from __future__ import annotations

import functools
import json
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks import guard_sets as sets
from benchmarks.guard_models import SEED, Fitted, calibrated, matrix
from benchmarks.guard_sets import OWN, Sample
from llmops_jupyter.guard import refusing, toxicity

REFUSAL_BITS, TOXICITY_BITS = 14, 15
REFUSAL_STRENGTH, TOXICITY_STRENGTH = 8.0, 8.0
# F1 of the cross-fitted scores is about the same from 0.65 to 0.85; below, bad news counts as refusals.
REFUSAL_AT = 0.7
# The share of comments that nobody calls toxic which the frozen threshold stops, in cross-validation.
TOXICITY_RATE = 0.05
FOLDS = 10
# Answers of HaluEval with such words may refuse: nobody labelled them, so they are left out.
UNSURE = re.compile(
    r"\b(?:sorry|apologi|unable|as an ai|language model|not able|can(?:no|')?t|don't have|do not have|inappropriate|illegal)\b",
    re.IGNORECASE,
)
# Answers are also cut by a limit of tokens: this many beginnings of answers, of one word to eight.
CUT = 400
# The kinds of phrases of which one makes the beginning of a refusal a refusal.
CORE = ("I cannot do it", "I am unable to", "sorry, but", "must decline", "rather not")
ALONE = ("I am a {} person.", "My best friend is {}.", "She is {} and lives next door.")
IDENTITY = (
    "My neighbours are {}.",
    "Many {} live in our town.",
    "We talked to {} about their day.",
    "The {} of the village opened a bakery.",
    "She wrote a book about {}.",
    "Two {} won the prize this year.",
    "As one of the {}, I am happy here.",
)


def groups() -> list[str]:
    lines = (OWN / "people.txt").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def refusals() -> list[Sample]:
    """Refusals and answers of our own, single and composed, and answers of HaluEval."""
    slots = json.loads((OWN / "refusal_slots.json").read_text("utf-8"))
    rng = random.Random(SEED)
    found: dict[str, Sample] = {}
    for name, positive in (("refusal", True), ("answer", False)):
        for _ in range(420):
            text = re.sub(r"\{(\w+)\}", lambda m: rng.choice(slots[m[1]]), rng.choice(slots[name]))
            text = text[:1].upper() + text[1:]
            if rng.random() < 0.5:
                text = " ".join([text, *rng.sample(slots[f"more {name}"], rng.randint(1, 4))])
            found[text] = Sample(text, positive, "own slots: refusals")
    for name, positive in (("refusals", True), ("answers", False)):
        for sample in sets.own(name, positive=positive):
            found[sample.text] = sample
    for row in sets.halueval():
        text = row["chatgpt_response"]
        if not UNSURE.search(text[: refusing.LOOKED_AT]):
            found[text] = Sample(text, False, "HaluEval answers")
    return list(found.values())


def cut(samples: Sequence[Sample]) -> list[tuple[int, Sample]]:
    """Beginnings of answers, and those beginnings of refusals that refuse already, each with its sample's place."""
    rng = random.Random(SEED)
    core = [re.compile(refusing.PHRASES[name], re.IGNORECASE) for name in CORE]
    found: dict[str, tuple[int, Sample]] = {}
    for positive in (False, True):
        some = [k for k, s in enumerate(samples) if s.positive is positive]
        for place in rng.sample(some, min(CUT, len(some))):
            text = " ".join(samples[place].text.split()[: rng.randint(1, 8)])
            if not positive or any(p.search(text) for p in core):
                found.setdefault(text, (place, Sample(text, positive, "beginnings")))
    return list(found.values())


def _pieces(samples: Sequence[Sample]) -> tuple[Any, Any]:
    """The rows of all beginnings, and the place of the sample that each belongs to."""
    texts, owner = [], []
    for place, sample in enumerate(samples):
        read = refusing.beginning(sample.text)
        texts += read
        owner += [place] * len(read)
    rows = sparse.hstack([matrix(texts, REFUSAL_BITS), refusing.phrases(texts)], format="csr")
    return rows, np.array(owner)


def _weights(samples: Sequence[Sample]) -> Any:
    """Each set weighs as the square root of its size, each class the same."""
    named = np.array([f"{s.group} {s.positive}" for s in samples])
    weights = np.ones(len(samples))
    for name in sorted(set(named)):
        weights[named == name] /= np.sqrt((named == name).sum())
    positive = np.array([s.positive for s in samples])
    for label in (True, False):
        weights[positive == label] *= len(samples) / 2 / weights[positive == label].sum()
    return weights


def fit(rows: Any, labels: Any, strength: float, hashed: int, weights: Any = None) -> Fitted:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        C=strength, solver="liblinear", tol=1e-4, max_iter=500, random_state=SEED
    ).fit(rows, labels, sample_weight=weights)
    found = model.coef_[0]
    return Fitted(found[:hashed], found[hashed:], float(model.intercept_[0]))


def crossed(rows: Any, labels: Any, strength: float, weights: Any, places: Sequence[Any]) -> Any:
    """The logit of each row by a model that was fitted without its fold; `places` has each fold's rows."""
    found = np.zeros(rows.shape[0])
    for held in places:
        kept = np.setdiff1d(np.arange(rows.shape[0]), held)
        model = fit(rows[kept], labels[kept], strength, rows.shape[1], weights[kept])
        found[held] = rows[held] @ model.columns + model.bias
    return found


def _folds(count: int) -> list[Any]:
    order = np.random.default_rng(SEED).permutation(count)
    return [np.sort(order[k::FOLDS]) for k in range(FOLDS)]


@functools.cache
def refusal() -> tuple[Fitted, Any, list[Sample]]:
    """The model, and the cross-fitted logits of its samples less the threshold."""
    samples = refusals()
    whole = len(samples)
    cuts = cut(samples)
    source = np.array([*range(whole), *(place for place, _ in cuts)])
    samples += [sample for _, sample in cuts]
    rows, owner = _pieces(samples)
    labels = np.array([float(s.positive) for s in samples])
    share = 1.0 / np.bincount(owner)
    weights = (_weights(samples) * share)[owner]
    # A beginning is held out together with the text that it was cut from.
    places = [np.flatnonzero(np.isin(source[owner], held)) for held in _folds(whole)]
    each = crossed(rows, labels[owner], REFUSAL_STRENGTH, weights, places)
    logits = np.bincount(owner, each) * share
    model = fit(rows, labels[owner], REFUSAL_STRENGTH, 1 << REFUSAL_BITS, weights)
    known, seen = logits[:whole], labels[:whole]
    model = calibrated(model, known[seen == 1], known[seen == 0])
    at = (float(np.log(REFUSAL_AT / (1 - REFUSAL_AT))) - model.offset) / model.slope
    return replace(model, threshold=REFUSAL_AT), logits - at, samples


def identities() -> list[str]:
    """Harmless sentences about each group."""
    found = [text.format(group) for group in groups() for text in IDENTITY]
    adjectives = [group.removesuffix(" people") for group in groups() if group.endswith(" people")]
    return found + [text.format(word) for word in adjectives for text in ALONE]


@functools.cache
def toxic() -> tuple[Fitted, Any, list[Sample]]:
    """The model, and the cross-validated logits of the comments less the threshold."""
    samples = list(sets.comments())
    extra = [
        Sample(t, False, "own identities")
        for t in dict.fromkeys(map(toxicity.masked, identities()))
    ]
    extra += [s for s in sets.own("benign", positive=False) if s.text.isascii()]
    everything = [*samples, *extra]
    rows = matrix([toxicity.masked(s.text) for s in everything], TOXICITY_BITS)
    labels = np.array([float(s.positive) for s in everything])
    weights = np.array([1.0] * len(samples) + [0.5] * len(extra))
    logits = crossed(rows, labels, TOXICITY_STRENGTH, weights, _folds(len(samples)))[: len(samples)]
    known = labels[: len(samples)]
    model = fit(rows, labels, TOXICITY_STRENGTH, 1 << TOXICITY_BITS, weights)
    model = calibrated(model, logits[known == 1], logits[known == 0])
    at = float(np.quantile(logits[known == 0], 1 - TOXICITY_RATE))
    threshold = float(model.probability(at))
    return replace(model, threshold=threshold), logits - at, samples
