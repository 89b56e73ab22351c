"""What a preparation came to: the versions it made, and its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmops_jupyter import render
from llmops_jupyter.data.dataset import Dataset
from llmops_jupyter.data.preparing.masking import Preview
from llmops_jupyter.data.preparing.picture import Chart
from llmops_jupyter.data.preparing.recipe import RULES
from llmops_jupyter.render.html import bundle, escaped

MOST_SHOWN = 10


@dataclass(frozen=True)
class Prepared:
    """The cleaned rows as a version, the dropped ones as another, and the report on both.

    Args:
        dataset: the rows that stayed; ids are those of the source.
        dropped: the rows that went, with `_rule`, `_detail` and `_like`; None if none did.
        source: the data set that was prepared.
        rows: of the source.
        recipe: the options that were not at their default.
        counts: rows that went, by rule.
        flagged: rows that a rule names and that stayed.
        examples: for each rule some of its rows, without personal data.
        changes: rows that were cleaned, by kind of change; `changed` shows some.
        pii: pieces of personal data that were found, by kind; `pii_rows` is in how many rows.
        languages: rows by language; '?' where it is not sure.
        contamination: rows that the evaluation set has too, exactly, nearly or in a run of 12 words.
        conflicts: questions that have several answers.
        same_answers: answers that many questions share.
        templated: pairs of rows that share a template and were kept; `templated_rows` is how many there are.
        balance: labels, topics, lengths, groups of people, and advice on what would even them out.
        tokens: of the rows that stayed, at the quantiles of `balance["lengths"]`; empty without a model.
        previews: rows as the model reads them, with what is learned.
        notes: what was not done, and why.
    """

    dataset: Dataset
    dropped: Dataset | None
    source: str
    rows: int
    recipe: Mapping[str, Any]
    counts: Mapping[str, int]
    flagged: Mapping[str, int] = field(default_factory=dict)
    examples: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    changes: Mapping[str, int] = field(default_factory=dict)
    changed: Sequence[Mapping[str, Any]] = ()
    changed_rows: int = 0
    pii: Mapping[str, int] = field(default_factory=dict)
    pii_rows: int = 0
    languages: Mapping[str, int] = field(default_factory=dict)
    contamination: Sequence[Mapping[str, Any]] = ()
    conflicts: Sequence[Mapping[str, Any]] = ()
    same_answers: Sequence[Mapping[str, Any]] = ()
    templated: Sequence[Mapping[str, Any]] = ()
    templated_rows: int = 0
    balance: Mapping[str, Any] = field(default_factory=dict)
    tokens: Sequence[int] = ()
    previews: Sequence[dict[str, Any]] = ()
    notes: Sequence[str] = ()

    def sentence(self) -> str:
        """The result on one line."""
        gone = ", ".join(f"{n:,} {rule}" for rule, n in self.counts.items())
        went = f"; {self.rows - len(self.dataset):,} went ({gone})" if gone else "; none went"
        kept = f" and are {self.dropped.ref}" if self.dropped is not None else ""
        cleaned = f"; {self.changed_rows:,} cleaned" if self.changed_rows else ""
        stayed = f"{len(self.dataset):,} of {counted(self.rows)} stayed"
        return f"{self.dataset.ref}: {stayed}{went}{kept}{cleaned}"

    def table(self) -> list[dict[str, Any]]:
        """Each rule that met a row: how many went, how many stayed, and an example."""
        found = []
        for rule, says in RULES.items():
            went, stayed = self.counts.get(rule, 0), self.flagged.get(rule, 0)
            if went or stayed:
                example = next(iter(self.examples.get(rule, ())), {})
                like = f" (like row {example['like']})" if example.get("like") else ""
                found.append(
                    {
                        "rule": rule,
                        "went": went,
                        "stayed": stayed,
                        "what it says": says,
                        "for example": f"row {example.get('row')}{like}: {example.get('why')}",
                    }
                )
        return found

    def warnings(self) -> list[str]:
        """What a person should look at, a sentence each."""
        said = list(self.notes)
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in self.pii.items())
        how = self.recipe.get("pii", "keep")
        if self.pii and how == "keep":
            said.append(
                f"{counted(self.pii_rows)} with personal data or secrets ({kinds}), which the model would learn: --pii "
                "redact takes them out, --pii drop leaves the rows out."
            )
        elif self.pii:
            done = "left out" if how == "drop" else "redacted"
            said.append(f"{counted(self.pii_rows)} with personal data or secrets {done} ({kinds}).")
        if self.conflicts:
            said.append(
                f"{counted(len(self.conflicts), 'question')} with several answers that differ."
            )
        if self.templated_rows:
            said.append(
                f"{counted(self.templated_rows)} of one template with others, which differ in its slots: no "
                "near-duplicates, so they stay."
            )
        if self.same_answers:
            first = self.same_answers[0]
            said.append(f"{first['rows']:,} rows have the same answer: {first['answer']}")
        return said

    def views(self) -> tuple[Any, ...]:
        """What a notebook shows, one after the other: texts, tables (lists), and what shows itself."""
        titled: tuple[tuple[str, Sequence[Mapping[str, Any]]], ...] = (
            ("Repaired, for example:", self.changed),
            ("In the evaluation set too:", self.contamination[:MOST_SHOWN]),
            ("Questions with several answers:", self.conflicts[:MOST_SHOWN]),
            ("Rows of one template, which stay, for example:", self.templated),
            ("Groups of people in the rows that stayed:", self.balance.get("people", ())),
        )
        views: list[Any] = [self.sentence(), *self.warnings()]
        if self.table():
            views.append(self.table())
        for title, rows in titled:
            views += [title, list(rows)] if rows else []
        if self.previews:
            views.append(Preview(self.previews))
        return (*views, *self.balance.get("advice", ()))

    def chart(self) -> Chart:
        """Rows by rule, lengths, labels or topics."""
        return Chart(self)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        dropped = self.dropped.ref if self.dropped is not None else None
        return {**self.report(), "dataset": self.dataset.ref, "dropped": dropped}

    def report(self) -> dict[str, Any]:
        """All that is not a data set, as JSON values."""
        return {n: v for n, v in vars(self).items() if n not in ("dataset", "dropped")}

    def __str__(self) -> str:
        return "\n".join(
            render.text_table(v) if isinstance(v, list) else str(v) for v in self.views()
        )

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:

        parts = []
        for view in self.views():
            if isinstance(view, list):
                parts.append(render.table_html(view))
            elif isinstance(view, str):
                parts.append(f"<p>{escaped(view)}</p>")
            else:
                parts.append(view._repr_mimebundle_()["text/html"])
        return bundle(str(self), "".join(parts))


def counted(number: int, noun: str = "row") -> str:
    """A number of rows for people: ``1 row``, ``2 rows``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
