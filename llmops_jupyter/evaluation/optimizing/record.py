"""What an optimisation came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmops_jupyter import render
from llmops_jupyter.evaluation.comparison import Comparison
from llmops_jupyter.evaluation.summary import number
from llmops_jupyter.prompts.content import Content
from llmops_jupyter.prompts.registry import PromptVersion
from llmops_jupyter.prompts.stage import Prompts
from llmops_jupyter.render.html import bundle, escaped

METHOD = (
    "Candidates are instructions (the original, general edits, proposals of a model) with and without "
    "few-shot examples. All are scored on a few training rows; the better half is scored on twice as many, "
    "and so on (successive halving, Jamieson and Talwalkar 2016). The best is compared with the original on "
    "held-out rows."
)


@dataclass(frozen=True)
class Tried:
    """A candidate with what it scored in each round: rows and mean."""

    name: str
    content: Content = field(repr=False)
    rounds: tuple[tuple[int, float], ...] = ()

    @property
    def mean(self) -> float | None:
        """Of its last round."""
        return self.rounds[-1][1] if self.rounds else None


@dataclass(frozen=True)
class Optimization:
    """What a search for a better prompt came to.

    Args:
        prompt: the original's reference.
        metric: what was optimised.
        best: the candidate that did best on training rows.
        tried: all candidates, the best first.
        comparison: of the best with the original on held-out rows; None if the original was best.
        computed: answers that were computed, proposals included.
        recorded: answers that were there already.
        budget: answers that could be computed.
        train: rows that candidates were scored on at most.
        held_out: rows of the comparison.
        seconds: that it took.
        notes: what the user should know.
        settings: of the runs: model, temperature and the like.
    """

    prompt: str
    metric: str
    best: Tried
    tried: tuple[Tried, ...]
    comparison: Comparison | None
    computed: int
    recorded: int
    budget: int
    train: int
    held_out: int
    seconds: float
    original: Content = field(repr=False)
    notes: tuple[str, ...] = ()
    yes_no: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    _prompts: Prompts | None = field(default=None, repr=False, compare=False)

    @property
    def is_better(self) -> bool:
        """Whether it is, on rows that the search did not see."""
        return self.comparison is not None and self.comparison.verdict == "better"

    def save(self, name: str | None = None, *, note: str = "") -> PromptVersion:
        """Keep the best as a version of a prompt, the original's if no name is given; no alias moves.

        It is run with the settings with which it was found.
        """
        assert self._prompts is not None
        target = name or self.prompt.partition("@")[0]
        said = note or f"optimised: {self.best.name}"
        saved = self._prompts.save(target, self.best.content, note=said)
        if self.settings and not saved.defaults:
            self._prompts.keep_defaults(saved, self.settings)
        return self._prompts.get(saved.ref)

    def diff(self) -> str:
        """What the best changed, as text."""
        return render.diff_text(
            self.original.readable(), self.best.content.readable(), (self.prompt, self.best.name)
        )

    def sentence(self) -> str:
        """What may be said, on one line."""
        if self.comparison is None:
            return f"nothing was better than {self.prompt} on training rows: keep it"
        if self.is_better:
            return f"{self.comparison.sentence()}, on rows that it never saw"
        return f"keep {self.prompt}: {self.comparison.sentence()}"

    def rows(self) -> list[dict[str, Any]]:
        """One row a candidate."""
        return [
            {
                "candidate": t.name,
                "rows": t.rounds[-1][0] if t.rounds else 0,
                f"{self.metric} on training rows": "–"
                if t.mean is None
                else number(t.mean, self.yes_no, ""),
            }
            for t in self.tried
        ]

    def facts(self) -> list[str]:
        """How it was found."""
        spent = (
            f"{self.computed} answers computed of a budget of {self.budget}, {self.recorded} recorded before; "
            f"{len(self.tried)} candidates on up to {self.train} rows, {self.held_out} rows held out; "
            f"{self.seconds:.0f} s"
        )
        lines = [spent]
        if self.comparison is not None and self.best.mean is not None:
            lines.append(
                f"on training rows {number(self.best.mean, self.yes_no, '')}, on held-out rows "
                f"{number(self.comparison.b_value, self.yes_no, '')}: the first was chosen for being high"
            )
        more = self.comparison.facts() if self.comparison is not None else []
        return [*lines, *self.notes, *more]

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {
            "prompt": self.prompt,
            "metric": self.metric,
            "best": self.best.name,
            "template": self.best.content.template,
            "is_better": self.is_better,
            "comparison": self.comparison.as_dict() if self.comparison else None,
            "tried": [{"name": t.name, "rounds": [list(r) for r in t.rounds]} for t in self.tried],
            "computed": self.computed,
            "recorded": self.recorded,
            "budget": self.budget,
            "notes": list(self.notes),
        }

    def chart(self) -> Any:
        """Each candidate's mean over the rounds."""
        from llmops_jupyter.evaluation.charts import Rounds

        lines = {t.name: t.rounds for t in self.tried if t.rounds}
        return Rounds(lines, self.best.name, self.metric)

    def __str__(self) -> str:
        parts = [self.sentence(), render.text_table(self.rows()), *self.facts()]
        if self.comparison is not None:
            parts += ["", self.diff()]
        return "\n".join(parts)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        blocks = [
            f"<p><strong>{escaped(self.sentence())}</strong></p>",
            render.table_html(self.rows()),
            *(f"<p><em>{escaped(line)}</em></p>" for line in self.facts()),
        ]
        if self.comparison is not None:
            before, after = self.original.readable(), self.best.content.readable()
            blocks.append(render.diff_html(before, after, (self.prompt, self.best.name)))
        return bundle(str(self), "".join(blocks))
