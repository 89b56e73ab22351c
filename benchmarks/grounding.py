"""Answers from documents: what the signals of support find, and how often a question without an answer gets one."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import Row

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
VERDICTS = ("supported", "unsupported", "contradicted")


def measure(*, quick: bool = False) -> list[Row]:
    rows = _claims()
    rows += _questions(quick=quick)
    rows += _without_documents(quick=quick)
    return rows


def _share(some: int, of: int) -> str:
    """A rate with Wilson's interval."""
    from llmops_jupyter.evaluation.statistics import rate

    if not of:
        return "–"
    found = rate([1] * some + [0] * (of - some))
    return f"{found.value:.2f} ({found.interval.low:.2f}–{found.interval.high:.2f}), {some} of {of}"


def _claims() -> list[Row]:
    """The even items of claims.json, each beside two other passages; the peer calls the likeliest word-overlap alone."""
    from llmops_jupyter.rag.support import Checker
    from llmops_jupyter.records import Hit

    items = json.loads((HERE / "claims.json").read_text("utf-8"))["items"]
    found: Counter[tuple[str, str]] = Counter()
    overlap: Counter[tuple[str, str]] = Counter()
    for i in range(1, len(items), 2):
        passages = [items[j % len(items)]["passage"] for j in (i, i + 2, i + 4)]
        checker = Checker(
            [Hit(text, f"{j}.md", "", 1.0, str(j), str(j)) for j, text in enumerate(passages)]
        )
        for label in VERDICTS:
            for sentence in items[i][label]:
                claim = checker.claim(sentence)
                found[label, claim.verdict] += 1
                share = claim.signals.get("word_overlap", 0.0)
                overlap[label, "supported" if share >= 0.6 else "unsupported"] += 1
    rows = []
    for verdict in VERDICTS:
        right = found[verdict, verdict]
        told = sum(found[label, verdict] for label in VERDICTS)
        there = sum(found[verdict, said] for said in (*VERDICTS, "no claim"))
        rows.append(
            Row(
                f"sentences told to be {verdict}: precision",
                _share(right, told),
                _share(
                    overlap[verdict, verdict], sum(overlap[label, verdict] for label in VERDICTS)
                )
                + " (words alone)",
            )
        )
        rows.append(
            Row(
                f"sentences that are {verdict}: recall",
                _share(right, there),
                _share(overlap[verdict, verdict], there) + " (words alone)",
            )
        )
    return rows


def _questions(*, quick: bool) -> list[Row]:
    """The even questions about this project's pages: with an answer there, and without."""
    import llmops_jupyter as lo

    lists = json.loads((HERE / "questions.json").read_text("utf-8"))
    rows = []
    with tempfile.TemporaryDirectory() as folder, lo.open(Path(folder) / "llmops.db") as workspace:
        workspace.rag.add("docs", DOCS, patterns=["*.md"])
        for name, options in (
            ("in their own words (--quote)", {"rag_quote": True}),
            ("by the bundled model", {}),
        ):
            answered = lists["answered"][1::2][: 5 if quick else None]
            nothing = lists["unanswered"][1::2][: 5 if quick else None]
            said = [workspace.rag.ask("docs", q, **options) for q, _, _ in answered]
            right = sum(
                bool(done.grounding.answered and re.search(key, done.text, re.IGNORECASE))
                for done, (_, _, key) in zip(said, answered, strict=True)
            )
            given = sum(bool(done.grounding.answered) for done in said)
            rows.append(
                Row(
                    f"questions with an answer, {name}: answered",
                    _share(given, len(said)),
                )
            )
            rows.append(
                Row(
                    f"questions with an answer, {name}: the answer has the word that is looked for",
                    _share(right, len(said)),
                )
            )
            false = _answered(workspace, nothing, options)
            rows.append(
                Row(
                    f"questions without an answer, {name}: answered all the same",
                    _share(false, len(nothing)),
                )
            )
        rest = lists["unanswered"][::2][: 5 if quick else None]
        quoting = {"rag_quote": True}
        false = _answered(workspace, [*nothing, *rest], quoting)
        rows.append(
            Row(
                "all questions without an answer (constants were chosen on half of them), --quote: answered all the same",
                _share(false, len(nothing) + len(rest)),
            )
        )
    return rows


def _answered(workspace: Any, questions: Sequence[str], options: dict[str, Any]) -> int:
    return sum(bool(workspace.rag.ask("docs", q, **options).grounding.answered) for q in questions)


def _without_documents(*, quick: bool) -> list[Row]:
    """HaluEval general, first half: there are no documents, so the question is the only passage."""
    folder = os.environ.get("LLMOPS_BENCH_DATA")
    what = "HaluEval general, first half, the question as the only passage"
    path = Path(folder or ".") / "halueval" / "general_first_half.json"
    if not folder or not path.is_file():
        return [Row(what, "not run: LLMOPS_BENCH_DATA has no halueval/")]
    from llmops_jupyter.rag.support import Checker
    from llmops_jupyter.records import Hit

    items = json.loads(path.read_text("utf-8"))[: 200 if quick else None]
    truth = [item["hallucination"] == "yes" for item in items]
    contradicted, unsupported = [], []
    for item in items:
        claims = Checker([Hit(item["user_query"], "q", "", 1.0, "1", "1")]).claims(
            item["chatgpt_response"][:4_000]
        )
        contradicted.append(any(c.verdict == "contradicted" for c in claims))
        unsupported.append(any(c.verdict == "unsupported" for c in claims))
    base = f"{sum(truth) / len(truth):.2f} (all answers)"
    return [
        row
        for name, flags in (("contradicted", contradicted), ("unsupported", unsupported))
        for row in _flags(f"{what}: a sentence {name}", flags, truth, base)
    ]


def _flags(what: str, flags: Sequence[bool], truth: Sequence[bool], base: Any) -> list[Row]:
    right = sum(f and t for f, t in zip(flags, truth, strict=True))
    return [
        Row(f"{what}: precision", _share(right, sum(flags)), base),
        Row(f"{what}: recall", _share(right, sum(truth))),
    ]
