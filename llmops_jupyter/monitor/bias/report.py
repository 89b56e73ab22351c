"""What came of a bias probe: differences between groups with intervals, beside what harmless changes give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from llmops_jupyter import render
from llmops_jupyter.evaluation.statistics import Estimate, Interval, adjusted
from llmops_jupyter.monitor.bias.analysis import contrast
from llmops_jupyter.monitor.bias.people import OF_MEMBERS, groups_of
from llmops_jupyter.render.html import bundle, escaped

if TYPE_CHECKING:
    from llmops_jupyter.monitor.bias.charts import Differences

SHOWN = 6
# Shares of fewer texts have no interval: its width would be half of all that is possible, and rest on a text or two.
LEAST_TEXTS = 10
LIMITS = (
    "A difference is one of these texts and these words; none was found is not the same as there is none. Groups are "
    "made of lists of words and say nothing of a person."
)


@dataclass(frozen=True)
class Answer:
    """An answer to a text with somebody of a group in it; `number` counts harmless changes."""

    text: int
    attribute: str
    group: str
    number: int
    said: str
    answer: str
    trace_id: str = ""
    error: str = ""
    scores: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Measure:
    """What is measured of each answer; None where it cannot be. `share` says that it is 0 or 1."""

    name: str
    values: Sequence[float | None]
    share: bool = False


@dataclass(frozen=True)
class Difference:
    """How a group differs from the others of its attribute.

    Args:
        attribute: what was changed.
        group: whose mean it is, less that of `against`.
        against: another group, or 'the others'.
        measure: of the answers.
        estimate: the difference with its interval; `n` counts texts.
        p_value: allows for the number of differences that were looked at (Holm).
        floor: what harmless changes alone give, at the 95 % point.
        share: whether it is a difference of shares.
    """

    attribute: str
    group: str
    against: str
    measure: str
    estimate: Estimate
    p_value: float
    floor: float
    share: bool = False

    def found(self, confidence: float) -> bool:
        """Whether it is more than chance and more than what harmless changes give."""
        return self.p_value < 1 - confidence and abs(self.estimate.value) > self.floor

    @property
    def interval(self) -> Interval | None:
        """Where the true difference lies: of shares within ±1, and None for fewer than `LEAST_TEXTS` texts."""
        if not self.share:
            return self.estimate.interval
        return self.estimate.interval.within(-1.0, 1.0) if self.estimate.n >= LEAST_TEXTS else None

    def row(self, confidence: float) -> dict[str, Any]:
        """For a table."""
        return {
            "attribute": self.attribute,
            "group": f"{self.group} less {self.against}",
            "measure": self.measure,
            "difference": self._text(self.estimate.value, sign="+"),
            "interval": self._bounds(),
            "harmless changes give": f"±{self._text(self.floor)}",
            "p (Holm)": f"{self.p_value:.3f}",
            "texts": self.estimate.n,
            "found": "differs" if self.found(confidence) else "–",
        }

    def _bounds(self) -> str:
        held = self.interval
        if held is None:
            return "none: few texts"
        return f"{self._text(held.low, sign='+')} to {self._text(held.high, sign='+')}"

    def _text(self, value: float, sign: str = "") -> str:
        return f"{100 * value:{sign}.1f} points" if self.share else f"{value:{sign}.3g}"


@dataclass(frozen=True)
class BiasReport:
    """What came of a bias probe.

    Args:
        prompt: that was probed.
        answers: to all texts.
        differences: of groups by measure, the ones that were found first.
        confidence: of the intervals.
        texts: how many there were.
        notes: what the user should know.
    """

    prompt: str
    answers: tuple[Answer, ...]
    differences: tuple[Difference, ...]
    confidence: float
    texts: int
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        prompt: str,
        answers: Sequence[Answer],
        measures: Sequence[Measure],
        confidence: float,
        texts: int,
        notes: tuple[str, ...],
        each: int,
    ) -> BiasReport:
        """The report of measured answers."""
        raw, alike, little = [], [], []
        for attribute in dict.fromkeys(a.attribute for a in answers):
            for measure in measures:
                made, spread = _differences(answers, measure, attribute, texts, each, confidence)
                raw += made
                if not spread:
                    alike.append(f"{measure.name} ({attribute})")
                elif not made:
                    little.append(attribute)
        p_values = adjusted([one.estimate.p_value or 0.0 for one in raw])
        found = [replace(one, p_value=p) for one, p in zip(raw, p_values, strict=True)]
        found.sort(key=lambda d: (not d.found(confidence), d.p_value, d.attribute))
        told = list(notes)
        if alike:
            told.append(f"the same for every answer: {', '.join(alike)}")
        if little:
            told.append(
                f"too few texts to compare: {', '.join(dict.fromkeys(little))}; give at least two, better ten"
            )
        if any(d.interval is None for d in found):
            told.append(
                f"shares of fewer than {LEAST_TEXTS} texts have no interval: give {LEAST_TEXTS} or more"
            )
        errors = [a for a in answers if a.error]
        if errors:
            told.append(f"{len(errors)} texts have no answer, for instance: {errors[0].error}")
        return cls(prompt, tuple(answers), tuple(found), confidence, texts, tuple(told))

    def found(self) -> list[Difference]:
        """The differences that are more than chance and more than what harmless changes give."""
        return [d for d in self.differences if d.found(self.confidence)]

    def sentence(self) -> str:
        """What was found, in words."""
        found = self.found()
        looked = f"{len(self.differences)} differences looked at on {self.texts} texts"
        if not found:
            return f"{self.prompt}: {looked}, none found at {self.confidence:.0%} confidence."
        told = ", ".join(f"{d.measure} by {d.attribute} ({d.group})" for d in found[:SHOWN])
        return f"{self.prompt}: {looked}, {len(found)} found: {told}."

    def rows(self) -> list[dict[str, Any]]:
        """One row a difference."""
        return [d.row(self.confidence) for d in self.differences]

    def examples(self, limit: int = SHOWN) -> list[dict[str, Any]]:
        """Pairs of the same text with other people, of the differences that were found."""
        shown = []
        for one in self.found():
            mine = [a for a in self.answers if a.attribute == one.attribute and a.number == 0]
            for text in dict.fromkeys(a.text for a in mine):
                pair = {a.group: a for a in mine if a.text == text}
                other = next((g for g in pair if g != one.group), None)
                if one.group in pair and other and pair[one.group].answer != pair[other].answer:
                    shown += [_example(one.measure, pair[one.group]), _example("", pair[other])]
                    break
        return shown[: 2 * limit]

    def chart(self) -> Differences:
        """The differences with their intervals, over what harmless changes give."""
        from llmops_jupyter.monitor.bias.charts import Differences

        return Differences(self)

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {
            "prompt": self.prompt,
            "texts": self.texts,
            "differences": [
                {
                    "attribute": d.attribute,
                    "group": d.group,
                    "against": d.against,
                    "measure": d.measure,
                    "difference": d.estimate.value,
                    "interval": None if d.interval is None else [d.interval.low, d.interval.high],
                    "p_value": d.p_value,
                    "floor": d.floor,
                    "found": d.found(self.confidence),
                }
                for d in self.differences
            ],
            "notes": [*self.notes, LIMITS],
        }

    def __str__(self) -> str:
        return "\n".join([self.sentence(), render.text_table(self.rows()), *self.notes, LIMITS])

    def __repr__(self) -> str:
        return f"BiasReport({self.sentence()!r})"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        blocks = [
            f"<p><strong>{escaped(self.sentence())}</strong></p>",
            render.table_html(self.rows()),
            *(f"<p><em>{escaped(note)}</em></p>" for note in (*self.notes, LIMITS)),
        ]
        shown = self.examples()
        if shown:
            blocks.append(
                f"<details><summary>examples</summary>{render.table_html(shown)}</details>"
            )
        return bundle(str(self), "".join(blocks))


def _differences(
    answers: Sequence[Answer],
    measure: Measure,
    attribute: str,
    texts: int,
    each: int,
    confidence: float,
) -> tuple[list[Difference], bool]:
    """The differences of an attribute's groups by a measure; and whether its values differ at all."""
    import numpy as np

    groups = groups_of(attribute)
    values = np.full((texts, len(groups), each), np.nan)
    for answer, value in zip(answers, measure.values, strict=True):
        if answer.attribute == attribute and value is not None:
            values[answer.text, groups.index(answer.group), answer.number] = value
    known = values[np.isfinite(values)]
    if not len(known) or bool((known == known[0]).all()):
        return [], False
    two = len(groups) == 2
    made = []
    for place, group in enumerate(groups[:1] if two else groups):
        found = contrast(
            values,
            place,
            of_members=attribute in OF_MEMBERS,
            confidence=confidence,
            share=measure.share,
        )
        if found is None:
            continue
        against = groups[1] if two else "the others"
        p_value = found.estimate.p_value or 0.0
        made.append(
            Difference(
                attribute,
                group,
                against,
                measure.name,
                found.estimate,
                p_value,
                found.floor,
                measure.share,
            )
        )
    return made, True


def _example(measure: str, answer: Answer) -> dict[str, Any]:
    return {
        "measure": measure,
        "group": answer.group,
        "text": answer.said,
        "answer": answer.answer,
        "trace": answer.trace_id,
    }
