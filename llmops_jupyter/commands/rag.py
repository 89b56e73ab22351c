"""`%rag` and `llmops rag`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands.prompt import settings_of
from llmops_jupyter.commands.view import (
    Advice,
    Context,
    Result,
    Rows,
    line,
    minute,
    size,
    table,
    told,
    where_of,
)

if TYPE_CHECKING:
    from llmops_jupyter.rag import Index
    from llmops_jupyter.rag.searching import Found
    from llmops_jupyter.records import Completion, Hit

SHOWN = 8
# Characters of a passage in a table.
CUT = 300


def list_(context: Context, _: Mapping[str, Any]) -> Result:
    return table(context.workspace.rag.list(), "No indexes yet. Make one: %rag add NAME FOLDER")


def add_(context: Context, values: Mapping[str, Any]) -> Result:
    given = _given(context, values["given"])
    with told(context) as tell:
        report = context.workspace.rag.add(
            values["index"],
            given,
            embedder=values["embedder"],
            tokens=values["tokens"],
            patterns=tuple(values["include"] or ()),
            column=values["column"],
            on=values["on"],
            progress=tell,
        )
    skipped = [{"skipped": source, "why": why} for source, why in report.skipped.items()]
    views: list[Any] = [report.sentence()]
    if skipped:
        views.append(Rows(skipped))
    row = next(r for r in context.workspace.rag.list() if r["index"] == values["index"])
    if str(row["embedder"]).startswith("none"):
        views.append(
            "This index has no embedding model: it finds words, and not what means the same. Add a model with "
            "vectors (%model add), and make the index with --embedder."
        )
    return Result(report.as_dict(), tuple(views))


def search_(context: Context, values: Mapping[str, Any]) -> Result:
    index = context.workspace.rag.index(values["index"])
    query = " ".join(values["query"])
    k = SHOWN if values["limit"] is None else values["limit"]
    found = index.find(
        query,
        k,
        mode=values["mode"] or "auto",
        where=where_of(values["where"]),
        diverse=values["diverse"],
        rerank=context.workspace.rag.reranker(values["rerank"]),
    )
    pairs = index.paired(found)
    hits = [hit for hit, _ in pairs]
    rows = [_row(hit, one) for hit, one in pairs]
    if not rows:
        return Result(hits, ("Nothing was found. Try other words.",))
    return Result(hits, (Rows(rows),))


def ask_(context: Context, values: Mapping[str, Any]) -> Result:
    from llmops_jupyter.render.bundles import completion_text

    done = context.workspace.rag.ask(
        values["index"], " ".join(values["question"]), **asking(values)
    )
    return Result(facts_of(done), (completion_text(done),))


def eval_(context: Context, values: Mapping[str, Any]) -> Result:
    data = values["data"]
    if data in context.variables:
        data = context.variables[data]
    with told(context) as tell:
        found = context.workspace.rag.eval(
            values["index"],
            data,
            generate=values["generate"],
            k=5 if values["k"] is None else values["k"],
            answers=values["answers"],
            seed=values["seed"] or 0,
            model=values["model"],
            where=where_of(values["where"]),
            rerank=values["rerank"],
            progress=tell,
        )
    views: list[Any] = [found.sentence(), Rows(found.table()), found.chart()]
    lost = [row for row in found.rows if any(row.get(w, 1) is None for w in found.figures)]
    if lost:
        ways = list(found.figures)
        views.append(Rows([{"question": r["question"], **_places(r, ways)} for r in lost[:10]]))
    return Result(found if values.get("out") else found.as_dict(), tuple(v for v in views if v))


def _places(row: Mapping[str, Any], ways: Sequence[str]) -> dict[str, str]:
    """Where each way of searching has the first passage that answers."""
    return {way: "not found" if row.get(way) is None else f"{row[way]}." for way in ways}


def asking(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options for `rag.ask` that a command line gave."""
    found = settings_of(values)
    if values["prompt"]:
        found["prompt"] = values["prompt"]
    if values["tokens"] is not None:
        found["rag_tokens"] = values["tokens"]
    if values["where"]:
        found["rag_where"] = where_of(values["where"])
    if values["rerank"]:
        found["rag_rerank"] = values["rerank"]
    if values["quote"]:
        found["rag_quote"] = True
    if values["any"]:
        found["rag_only"] = False
    return found


def facts_of(done: Completion) -> dict[str, Any]:
    """An answer as JSON values."""
    grounding = done.grounding
    return {
        "text": done.text,
        "answered": grounding is not None and grounding.answered,
        "grounding": None if grounding is None else asdict(grounding),
        "hits": [asdict(hit) for hit in done.hits],
        "verdicts": [verdict.as_dict() for verdict in done.verdicts],
        "trace_id": done.trace_id,
    }


def status_(context: Context, values: Mapping[str, Any]) -> Result:
    found = context.workspace.rag.index(values["index"]).status()
    value = found if values.get("out") else found.as_dict()
    return Result(value, (Rows(found.rows()),))


def documents_(context: Context, values: Mapping[str, Any]) -> Result:
    index: Index = context.workspace.rag.index(values["index"])
    rows = [
        {
            "document": source,
            "size": size(document.size) if document.size else "",
            "indexed": minute(document.indexed_at),
            "not read because": document.error,
        }
        for source, document in index.documents().items()
    ]
    return table(rows, f"{index.name} has no documents. Add some: %rag add {index.name} FOLDER")


def forget_(context: Context, values: Mapping[str, Any]) -> Result:
    found = context.workspace.rag.forget(values["index"], values["source"])
    return Result(asdict(found), (Advice(found.sentence()),))


def remove_(context: Context, values: Mapping[str, Any]) -> Result:
    context.workspace.rag.remove(values["index"])
    return line(f"The index {values['index']} is deleted.")


def _given(context: Context, texts: Sequence[str]) -> Any:
    """Rows of a variable or data set where one is named, else paths."""
    if len(texts) == 1:
        (text,) = texts
        if text in context.variables:
            return context.variables[text]
        if text.partition("@")[0] in {d.name for d in context.workspace.data.list()}:
            return context.workspace.data.get(text)
    return list(texts)


def _row(hit: Hit, found: Found) -> dict[str, Any]:
    text = hit.text if len(hit.text) <= CUT else f"{hit.text[:CUT]}…"
    return {
        "source": hit.source,
        "where": hit.locator,
        "words": "–" if found.word_rank is None else f"{found.word_rank}.",
        "vectors": "–" if found.cosine is None else f"{found.vector_rank}. ({found.cosine:.2f})",
        "text": text,
    }
