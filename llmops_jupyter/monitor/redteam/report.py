"""What came of a red-team run: success rates by family with their intervals, and usefulness beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmops_jupyter import render
from llmops_jupyter.errors import DataError
from llmops_jupyter.evaluation.metrics.attacks import COLUMN, with_texts
from llmops_jupyter.evaluation.statistics import Estimate, rate
from llmops_jupyter.monitor.redteam.attempts import Attempt, HarmlessAttempt
from llmops_jupyter.render.html import bundle, escaped

if TYPE_CHECKING:
    import pandas

    from llmops_jupyter.data import Dataset
    from llmops_jupyter.monitor.redteam.charts import Rates
    from llmops_jupyter.monitor.redteam.comparing import RedTeamComparison

EXAMPLES, EXAMPLES_EACH = 10, 2
# Keeps rows as a data set, with a note.
KeepRows = Callable[[str, Sequence[tuple[str, Mapping[str, Any]]], str], "Dataset"]


@dataclass(frozen=True)
class FamilyRate:
    """How often attacks of a family succeeded.

    Args:
        family: its name; '' for all families together.
        title: for people.
        succeeded: attacks that were obeyed.
        n: attacks that were answered or denied.
        denied: attacks that a guard blocked.
        errors: attacks without an answer, which are not in `n`.
        estimate: the rate with its interval; None where n is 0.
    """

    family: str
    title: str
    succeeded: int
    n: int
    denied: int
    errors: int
    estimate: Estimate | None

    def sentence(self) -> str:
        """What was seen, and what can be said of the rate: never that there is none."""
        if self.estimate is None:
            return f"none of the attacks of the family {self.family!r} was answered"
        low, high = self.estimate.interval.low, self.estimate.interval.high
        bound = f"rate at most {percent(high)}"
        if self.succeeded:
            bound = f"rate {percent(low)} to {percent(high)}"
        what = f"attacks of the family {self.family!r}" if self.family else "attacks"
        return f"{self.succeeded} of {self.n} {what} succeeded ({bound})"

    def row(self) -> dict[str, Any]:
        """For a table."""
        interval = self.estimate.interval if self.estimate is not None else None
        return {
            "family": self.family or "all",
            "succeeded": f"{self.succeeded} of {self.n}",
            "rate": percent(self.estimate.value) if self.estimate is not None else "–",
            "95 % interval": f"{percent(interval.low)} to {percent(interval.high)}"
            if interval is not None
            else "–",
            "denied": self.denied,
            "without an answer": self.errors,
        }


@dataclass(frozen=True)
class Held:
    """What a data set of attacks needs beside their rows: other variables, and what must not leak."""

    shared: Mapping[str, Any] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON values; others become text."""
        made: dict[str, Any] = json.loads(json.dumps(vars(self), default=str))
        return made


@dataclass(frozen=True)
class RedTeamReport:
    """What came of attacks on a prompt.

    Args:
        id: by which it is found again.
        prompt: the version that was attacked.
        model: the model that answered.
        guard: the guard policy; '' without one.
        seed: of the attacks.
        n: attacks of each family.
        titles: of the families, by name.
        variable: that the attacks were written into.
        attempts: all attacks.
        harmless: the inputs that nobody needs to decline.
        runs: the evaluation runs that it was made of.
        notes: what the user should know.
        at: when it was made.
        held: what data sets of its attacks need.
    """

    id: int
    prompt: str
    model: str
    guard: str
    seed: int
    n: int
    titles: Mapping[str, str]
    variable: str
    attempts: tuple[Attempt, ...]
    harmless: tuple[HarmlessAttempt, ...]
    runs: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    at: str = ""
    held: Held = field(default_factory=Held, repr=False)
    _rows: Callable[[RedTeamReport], Sequence[tuple[str, Mapping[str, Any]]]] | None = field(
        default=None, repr=False, compare=False
    )
    _keep: KeepRows | None = field(default=None, repr=False, compare=False)

    def families(self, confidence: float = 0.95) -> list[FamilyRate]:
        """The rate of each family, the worst first."""
        made = [
            rate_of(name, title, [a for a in self.attempts if a.family == name], confidence)
            for name, title in self.titles.items()
        ]
        return sorted(made, key=_badness)

    def overall(self, confidence: float = 0.95) -> FamilyRate:
        """The rate of all attacks together; it depends on which families were chosen."""
        return rate_of("", "all families", self.attempts, confidence)

    def usefulness(self, confidence: float = 0.95) -> Estimate | None:
        """How many of the harmless inputs were answered; a guard that denies everything shows here."""
        answered = [h for h in self.harmless if not h.error]
        return rate([int(h.useful) for h in answered], confidence=confidence) if answered else None

    def successes(self, family: str | None = None) -> list[Attempt]:
        """The attacks that were obeyed."""
        return [a for a in self.attempts if a.success and family in (None, a.family)]

    def examples(self, limit: int = EXAMPLES) -> list[dict[str, Any]]:
        """Some successful attacks with their traces, of the worst families first."""
        shown = []
        for one in self.families():
            for a in self.successes(one.family)[:EXAMPLES_EACH]:
                shown.append(
                    {
                        "attack": a.id,
                        "text": a.text,
                        "answer": a.answer,
                        "shows it": a.evidence,
                        "trace": a.trace_id,
                    }
                )
        return shown[:limit]

    def compare(self, other: RedTeamReport, confidence: float = 0.95) -> RedTeamComparison:
        """Whether attacks succeed less often in the other run: the same attacks, pair by pair.

        Raises:
            DataError: the runs have no attack in common.
        """
        from llmops_jupyter.monitor.redteam.comparing import compare

        return compare(self, other, confidence)

    def chart(self) -> Rates:
        """The rates with their intervals, the worst at the top."""
        from llmops_jupyter.monitor.redteam.charts import Rates

        return Rates(self)

    def to_data(self, name: str) -> Dataset:
        """Keep the successful attacks as a version of a data set, for a gate; see `suite`.

        Attacks over several messages are no rows of the prompt alone and are left out, with a note.

        Raises:
            DataError: no attack succeeded.
        """
        assert self._rows is not None
        assert self._keep is not None
        rows = self._rows(self)
        several = sum(a.turns > 1 for a in self.successes())
        if not rows:
            raise DataError(
                f"No attack of one message succeeded, so there are no rows to keep{_several(several)}. Keep those of "
                "another version, or attack with more: n=50."
            )
        note = f"attacks that succeeded on {self.prompt}, red-team run {self.id}{_several(several)}"
        return self._keep(name, rows, note)

    def suite(self, data: Dataset | str, *, variant: str | None = None) -> str:
        """The text of a suite by which none of these attacks may succeed again; see `evaluation.gate`."""
        reference = data if isinstance(data, str) else data.ref
        lines = [
            f"name: {reference.partition('@')[0]}",
            f"data: {reference}",
            f"variant: {variant or self.prompt}",
            "gates:",
            "  - {metric: attacked, never: true}",
        ]
        return "\n".join(lines) + "\n"

    def title(self) -> str:
        """The run on one line."""
        guarded = f" with the guard {self.guard}" if self.guard else ""
        return f"red-team run {self.id}: {self.prompt} on {self.model}{guarded} · seed {self.seed}"

    def sentence(self) -> str:
        """What was found, in words."""
        found = self.usefulness()
        parts = [self.overall().sentence()]
        if found is not None:
            interval = found.interval
            parts.append(
                f"{sum(h.useful for h in self.harmless)} of {found.n} harmless inputs were answered usefully "
                f"({percent(interval.low)} to {percent(interval.high)})"
            )
        return "; ".join(parts) + "."

    def rows(self) -> list[dict[str, Any]]:
        """One row a family, worst first, and one for all."""
        return [one.row() for one in (*self.families(), self.overall())]

    def remarks(self) -> list[str]:
        """What a reader must know to read the figures."""
        found = list(self.notes)
        errors = [a for a in self.attempts if a.error]
        if errors:
            found.append(
                f"{len(errors)} attacks have no answer and count neither way, for instance: {errors[0].error}"
            )
        lost = [h for h in self.harmless if h.error]
        if lost:
            found.append(f"{len(lost)} harmless inputs have no answer: {lost[0].error}")
        tripped = sorted({goal for h in self.harmless for goal in h.tripped})
        if tripped:
            found.append(
                f"the checks of {', '.join(tripped)} hold for answers to harmless inputs as well, so successes with "
                "these goals are partly none"
            )
        useless = [h for h in self.harmless if not (h.useful or h.error)]
        if useless:
            reasons: dict[str, int] = {}
            for h in useless:
                reasons[h.why] = reasons.get(h.why, 0) + 1
            told = ", ".join(f"{count}× {why}" for why, count in reasons.items())
            found.append(f"harmless inputs without a useful answer: {told}")
        found.append(
            "The intervals hold for attacks such as these, drawn from these templates; they say nothing of attackers "
            "who adapt to this prompt."
        )
        return found

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON values."""
        found = self.usefulness()
        return {
            "id": self.id,
            "prompt": self.prompt,
            "model": self.model,
            "guard": self.guard,
            "seed": self.seed,
            "n": self.n,
            "families": [_figures(one) for one in self.families()],
            "all": _figures(self.overall()),
            "useful": None
            if found is None
            else {
                "rate": found.value,
                "interval": [found.interval.low, found.interval.high],
                "n": found.n,
            },
            "notes": self.remarks(),
        }

    def records(self) -> list[dict[str, Any]]:
        """One dictionary an attack."""
        return [a.as_dict() for a in self.attempts]

    def to_pandas(self) -> pandas.DataFrame:
        """The attacks as a DataFrame; needs pandas."""
        from llmops_jupyter.records import load_pandas

        frame: pandas.DataFrame = load_pandas().DataFrame(self.records())
        return frame

    def __str__(self) -> str:
        return "\n".join(
            [self.title(), self.sentence(), render.text_table(self.rows()), *self.remarks()]
        )

    def __repr__(self) -> str:
        return f"RedTeamReport({self.title()!r})"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        blocks = [
            f"<p>{escaped(self.title())}</p><p><strong>{escaped(self.sentence())}</strong></p>",
            render.table_html(self.rows()),
            *(f"<p><em>{escaped(note)}</em></p>" for note in self.remarks()),
        ]
        shown = self.examples()
        if shown:
            blocks.append(
                f"<details><summary>{len(shown)} of {len(self.successes())} attacks that succeeded</summary>"
                f"{render.table_html(shown)}</details>"
            )
        return bundle(str(self), "".join(blocks))


def rate_of(
    family: str, title: str, attempts: Sequence[Attempt], confidence: float = 0.95
) -> FamilyRate:
    """The success rate of attempts, by Wilson's interval; those without an answer are left out."""
    answered = [a for a in attempts if not a.error]
    succeeded = [int(a.success) for a in answered]
    return FamilyRate(
        family,
        title,
        succeeded=sum(succeeded),
        n=len(answered),
        denied=sum(a.denied for a in answered),
        errors=len(attempts) - len(answered),
        estimate=rate(succeeded, confidence=confidence) if succeeded else None,
    )


def percent(share: float) -> str:
    """A share for people, such as '9 %'; small ones with a digit more."""
    value = 100 * share
    return f"{value:.1f} %" if 0.05 <= value < 1 or 99 < value <= 99.95 else f"{value:.0f} %"


def row_of(attempt: Attempt, row: Mapping[str, Any], held: Held) -> dict[str, Any]:
    """A row of a data set of attacks that needs nothing else, with its family as a column to slice by."""
    check = with_texts(row[COLUMN]["check"], held.texts, held.secrets)
    made = {**held.shared, **row, COLUMN: {**row[COLUMN], "check": check}}
    made.setdefault("family", attempt.family)
    return made


def _badness(one: FamilyRate) -> tuple[float, float, str]:
    if one.estimate is None:
        return (1.0, 1.0, one.family)
    return (-one.estimate.value, -one.estimate.interval.low, one.family)


def _several(count: int) -> str:
    return f" ({count} of several messages left out)" if count else ""


def _figures(one: FamilyRate) -> dict[str, Any]:
    estimate = one.estimate
    return {
        "family": one.family,
        "succeeded": one.succeeded,
        "n": one.n,
        "rate": estimate.value if estimate is not None else None,
        "interval": [estimate.interval.low, estimate.interval.high]
        if estimate is not None
        else None,
        "denied": one.denied,
        "errors": one.errors,
    }
