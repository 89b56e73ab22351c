"""How well an index finds what answers questions, and how far answers rest on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import OptionError
from llmops_jupyter.evaluation.statistics import Estimate, Interval, mean, paired_means, rate
from llmops_jupyter.rag.judging import Ranked, Wanted, covered, ranked
from llmops_jupyter.render.html import cut
from llmops_jupyter.render.plots import GOOD, INK, NEUTRAL, Picture, new_figure, paint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from llmops_jupyter.rag.index import Index
    from llmops_jupyter.rag.indexing import Tell
    from llmops_jupyter.records import Completion

DEPTH = 50
MOST_K = 20
RERANKED = "reranked"
METRICS = {
    "recall": "recall@{k}",
    "ndcg": "nDCG@{k}",
    "reciprocal_rank": "MRR@{k}",
    "precision": "context precision@{k}",
}
NEED_ANSWERS = "answered, where a document answers"
FALSE_ANSWERS = "answered, where none does"


@dataclass(frozen=True)
class Retrieval:
    """An evaluation of an index.

    Args:
        index: its name.
        fingerprint: of its content.
        k: passages that are looked at.
        figures: by way of searching and metric.
        answers: figures of what a model answered, by name.
        questions: how many, those that no document answers among them.
        generated: how many of them a model made.
        rows: a mapping a question: ranks by way of searching, what was found first.
        difference: of nDCG between both legs joined and the better one alone, where there are both.
    """

    index: str
    fingerprint: str
    k: int
    figures: Mapping[str, Mapping[str, Estimate]]
    answers: Mapping[str, Estimate]
    questions: int
    generated: int
    rows: Sequence[Mapping[str, Any]]
    difference: Estimate | None = None
    better: str = ""

    def sentence(self) -> str:
        """What came out, in a sentence or two."""
        best = self.figures.get("hybrid") or next(iter(self.figures.values()), {})
        parts = []
        if best:
            found = best[METRICS["recall"].format(k=self.k)]
            parts.append(
                f"{self.index} finds {100 * found.value:.0f} % of what answers {found.n} questions among the first {self.k} "
                f"({100 * found.interval.low:.0f} to {100 * found.interval.high:.0f} %)."
            )
        if self.difference is not None:
            low, high = self.difference.interval.low, self.difference.interval.high
            sure = "that is sure" if low > 0 or high < 0 else "that is not sure"
            parts.append(
                f"Both legs together against {self.better} alone: nDCG {self.difference.value:+.3f} ({low:+.3f} to "
                f"{high:+.3f}): {sure}."
            )
        if self.generated:
            parts.append(
                f"{self.generated} of {self.questions} questions were made by a model from the passages, and are easier to "
                "find than what people ask."
            )
        return " ".join(parts)

    def table(self) -> list[dict[str, Any]]:
        """One line a metric: each way of searching with its interval, then what answers came to."""
        names = dict.fromkeys(name for found in self.figures.values() for name in found)
        lines = [
            {"metric": name, **{way: _shown(found[name]) for way, found in self.figures.items()}}
            for name in names
        ]
        way = next(iter(self.figures), "answers")
        lines += [{"metric": name, way: _shown(found)} for name, found in self.answers.items()]
        return lines

    def chart(self) -> Chart:
        """The figures with their intervals."""
        return Chart(self)

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "index": self.index,
            "fingerprint": self.fingerprint,
            "k": self.k,
            "questions": self.questions,
            "generated": self.generated,
            "figures": {
                way: {name: asdict(e) for name, e in found.items()}
                for way, found in self.figures.items()
            },
            "answers": {name: asdict(e) for name, e in self.answers.items()},
            "rows": [dict(row) for row in self.rows],
        }

    def __str__(self) -> str:
        return self.sentence()


class Chart(Picture):
    """Each metric's figures by way of searching, with intervals."""

    description = "figures of retrieval with their intervals"

    def __init__(self, found: Retrieval) -> None:
        self.found = found

    def figure(self) -> Figure:
        ways = list(self.found.figures)
        names = list(dict.fromkeys(n for f in self.found.figures.values() for n in f))
        made = new_figure(7.0, 0.7 + 0.28 * len(names) * (len(ways) + 0.6))
        axes = made.subplots()
        colours = {"hybrid": GOOD, "words": NEUTRAL, "vectors": INK}
        ticks = []
        for i, name in enumerate(names):
            base = i * (len(ways) + 0.8)
            ticks.append(base + (len(ways) - 1) / 2)
            for j, way in enumerate(ways):
                one = self.found.figures[way][name]
                axes.plot(
                    [one.interval.low, one.interval.high],
                    [base + j] * 2,
                    color=colours.get(way, INK),
                    lw=2,
                )
                axes.plot(
                    one.value,
                    base + j,
                    "o",
                    color=colours.get(way, INK),
                    label=cut(way, 40) if i == 0 else None,
                )
        axes.set_yticks(ticks, [cut(name, 40) for name in names])
        axes.invert_yaxis()
        axes.set_xlim(0, 1.02)
        legend = axes.legend(frameon=False, fontsize=8, loc="lower left")
        for text in legend.get_texts():
            text.set_color(INK)
        paint(axes)
        return made


def evaluate(
    index: Index,
    questions: Sequence[Wanted],
    *,
    k: int,
    ask: Callable[[str], Completion] | None = None,
    where: Mapping[str, Any] | None = None,
    rerank: Callable[[str, Sequence[str]], Sequence[float]] | None = None,
    tell: Tell | None = None,
) -> Retrieval:
    """Search for each question in every way that the index has; with `ask` have it answered too.

    Raises:
        OptionError: k is no number from 1 to 20.
    """
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= MOST_K:
        raise OptionError(f"k is a number of passages from 1 to {MOST_K}, not {k!r}.")
    if ask is None and not any(one.answerable for one in questions):
        raise OptionError(
            "No document answers any of these questions: there is nothing to find. Have them asked: --answers"
        )
    ways = ["hybrid", "words", "vectors"] if index.row.embedder else ["words"]
    if rerank is not None:
        ways.append(RERANKED)
    ranks: dict[str, list[Ranked]] = {way: [] for way in ways}
    context: dict[str, list[float]] = {way: [] for way in ways}
    rows, answers = [], _Answers()
    for number, one in enumerate(questions, 1):
        row: dict[str, Any] = {"id": one.row_id, "question": one.question}
        for way in ways if one.answerable else ():
            options: dict[str, Any] = {"mode": way, "where": where}
            if way == RERANKED:
                options |= {"mode": "auto", "rerank": rerank}
            hits = index.search(one.question, DEPTH, **options)
            found = ranked(one, hits, k)
            ranks[way].append(found)
            share = covered(one, hits[:k])
            if share is not None:
                context[way].append(share)
            row[way] = found.first
        if ask is not None:
            row |= answers.add(one, ask(one.question))
        rows.append(row)
        if tell is not None:
            tell(f"{number}/{len(questions)} questions")
    figures = {way: _figures(ranks[way], context[way], k) for way in ways if ranks[way]}
    difference, better = _difference(ranks) if "hybrid" in figures else (None, "")
    return Retrieval(
        index.name,
        index.fingerprint(),
        k,
        figures,
        answers.figures(),
        len(questions),
        sum(one.generated for one in questions),
        rows,
        difference,
        better,
    )


class _Answers:
    """What a model's answers come to."""

    def __init__(self) -> None:
        self.right: list[float] = []
        self.wrong: list[float] = []
        self.shares: list[float] = []

    def add(self, one: Wanted, done: Completion) -> dict[str, Any]:
        grounding = done.grounding
        answered = grounding is not None and grounding.answered
        (self.right if one.answerable else self.wrong).append(float(answered))
        share = grounding.share() if grounding is not None and answered else None
        if share is not None:
            self.shares.append(share)
        return {"answer": done.text, "answered": answered, "supported": share}

    def figures(self) -> dict[str, Estimate]:
        found = {}
        if self.right:
            found[NEED_ANSWERS] = rate(self.right)
        if self.wrong:
            found[FALSE_ANSWERS] = rate(self.wrong)
        if len(self.shares) > 1:
            found["sentences that passages support"] = _estimate(self.shares)
        return found


def _figures(ranks: Sequence[Ranked], context: Sequence[float], k: int) -> dict[str, Estimate]:
    found = {
        label.format(k=k): _estimate([getattr(r, name) for r in ranks])
        for name, label in METRICS.items()
    }
    if context:
        found[f"context recall@{k}"] = _estimate(context)
    return found


def _estimate(values: Sequence[float]) -> Estimate:
    """A rate where all values are 0 or 1, else a mean whose interval stays between them."""
    from dataclasses import replace

    if set(values) <= {0.0, 1.0}:
        return rate(values)
    if len(values) < 2:
        return Estimate(values[0], Interval(0.0, 1.0, method="one question says nothing"), 1)
    found = mean(values, method="bootstrap" if len(set(values)) > 1 else "t")
    return replace(found, interval=found.interval.within(0.0, 1.0))


def _difference(ranks: Mapping[str, Sequence[Ranked]]) -> tuple[Estimate | None, str]:
    """NDCG of both legs joined against that of the better one."""
    scores = {way: [r.ndcg for r in found] for way, found in ranks.items()}
    if len(scores["hybrid"]) < 2:
        return None, ""
    better = max(("words", "vectors"), key=lambda way: sum(scores[way]))
    return paired_means(scores[better], scores["hybrid"]), better


def _shown(one: Estimate) -> str:
    return f"{one.value:.3f} ({one.interval.low:.3f}–{one.interval.high:.3f}, n = {one.n})"
