"""What people asked of an index: questions without support, and whether they move away from the documents."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.store import Store

# Newest questions that are looked at, and how many a drift needs on each side.
MOST, LEAST = 2_000, 20


@dataclass(frozen=True)
class Question:
    """A question that was asked of an index."""

    text: str
    at_ns: int
    trace_id: str
    cosine: float | None
    enough: bool
    answered: bool | None


@dataclass(frozen=True)
class Drift:
    """The newer half of the questions against the older one, by how near the nearest passage is.

    Args:
        n: questions of both halves.
        before: median cosine of the older half.
        after: of the newer half.
        p_value: of the hypothesis that the newer ones are not further away (Mann and Whitney 1947, one-sided).
    """

    n: int
    before: float
    after: float
    p_value: float

    def sentence(self) -> str:
        """What it says."""
        medians = f"median cosine {self.before:.2f}, then {self.after:.2f}; p = {self.p_value:.2g}"
        if self.p_value < 0.05:
            return f"newer questions are further from the documents ({medians}, n = {self.n})"
        return f"no sign that questions move away ({medians}, n = {self.n})"


@dataclass(frozen=True)
class Asked:
    """What was asked of an index."""

    questions: Sequence[Question]

    @property
    def without_support(self) -> list[Question]:
        """Those of which the documents say nothing, or whose answer they do not support; newest first."""
        return [q for q in self.questions if not (q.enough if q.answered is None else q.answered)]

    def drift(self) -> Drift | None:
        """Whether newer questions are further from the documents; None with too few of them."""
        from scipy.stats import mannwhitneyu

        near = [q.cosine for q in reversed(self.questions) if q.cosine is not None]
        half = len(near) // 2
        if half < LEAST:
            return None
        import numpy as np

        before, after = near[:half], near[half:]
        found = mannwhitneyu(after, before, alternative="less")
        return Drift(
            len(near), float(np.median(before)), float(np.median(after)), float(found.pvalue)
        )

    def facts(self) -> dict[str, str]:
        """For a table of the index's health."""
        if not self.questions:
            return {}
        lost = self.without_support
        facts = {
            "questions asked": f"{len(self.questions):,}",
            "without support": f"{len(lost):,} ({100 * len(lost) / len(self.questions):.0f} %)"
            + "".join(f"\n{' '.join(q.text.split())[:80]}" for q in lost[:3]),
        }
        found = self.drift()
        if found is not None:
            facts["drift of questions"] = found.sentence()
        return facts

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        found = self.drift()
        return {
            "questions": len(self.questions),
            "without_support": [q.text for q in self.without_support],
            "drift": None if found is None else vars(found),
        }


def asked(store: Store, index: str, most: int = MOST) -> Asked:
    """The newest questions that prompts asked of an index, newest first."""
    rows = store.rows(
        "SELECT p.trace_id, p.start_ns, p.attributes AS packing, r.attributes AS retrieval, "
        "root.attributes AS root FROM spans p "
        "JOIN spans r ON r.trace_id = p.trace_id AND r.parent_id = p.parent_id AND r.op = 'retrieval' "
        "JOIN spans root ON root.trace_id = p.trace_id AND root.span_id = p.parent_id "
        "WHERE p.op = 'packing' AND json_extract(p.attributes, '$.\"gen_ai.data_source.id\"') = ? "
        "ORDER BY p.id DESC LIMIT ?",
        (index, most),
    )
    return Asked([_question(row) for row in rows])


def _question(row: sqlite3.Row) -> Question:
    packing, root = json.loads(row["packing"]), json.loads(row["root"])
    text = json.loads(row["retrieval"]).get("gen_ai.retrieval.query.text", "")
    return Question(
        str(text),
        row["start_ns"],
        row["trace_id"],
        packing.get("llmops.rag.top_cosine"),
        bool(packing.get("llmops.rag.enough", True)),
        root.get("llmops.rag.answered"),
    )
