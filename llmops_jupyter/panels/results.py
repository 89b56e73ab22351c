"""What the search panel shows: results and documents as JSON values; the last search as text and as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.rag.highlighting import Pieces, excerpt, highlighted
from llmops_jupyter.rag.instructions import HIDDEN, INSTRUCTIONS
from llmops_jupyter.rag.passages import Passage, count_of, passages, passages_around, state_of
from llmops_jupyter.render.html import bundle, cut, escaped

if TYPE_CHECKING:
    from llmops_jupyter.rag import Index
    from llmops_jupyter.rag.kept import DocumentRow
    from llmops_jupyter.rag.searching import Found

# Characters of a passage among the results.
CUT = 700
# Passages before and after the one that is opened, and their characters together.
EACH_SIDE, MOST = 40, 60_000
WARNINGS = {
    INSTRUCTIONS: "carries instructions to a model",
    HIDDEN: "has hidden characters",
}
STATES = {
    "changed": "The file has changed since it was indexed. This is the text of then; add it again to see the new one.",
    "gone": "The file is not there any more. This is its text when it was indexed.",
}


def results_of(index: Index, query: str, found: Sequence[Found]) -> list[dict[str, Any]]:
    """Passages that were found, best first, with what each leg says of them."""
    known = passages(index.store, [one.chunk_id for one in found])
    there = [(one, known[one.chunk_id]) for one in found if one.chunk_id in known]
    shown = _shown(query, [passage for _, passage in there])
    return [
        {
            **sent,
            "pieces": excerpt(sent["pieces"], CUT),
            "words": None
            if one.word_rank is None
            else {"rank": one.word_rank, "score": one.word_score},
            "vectors": None
            if one.vector_rank is None
            else {"rank": one.vector_rank, "score": one.cosine},
        }
        for (one, _), sent in zip(there, shown, strict=True)
    ]


def document_of(
    index: Index, query: str, document: DocumentRow, position: int, root: str
) -> dict[str, Any] | None:
    """A document around one of its passages; None if it has no such passage.

    `root` is the folder of the Jupyter server, '' where that is not known.
    """
    near = passages_around(index.store, document.id, position, EACH_SIDE, MOST)
    if not near:
        return None
    state = state_of(document, index.base)
    return {
        "source": document.source,
        "version": document.digest,
        "position": position,
        "total": count_of(index.store, document.id),
        "notice": STATES.get(state, ""),
        "path": "" if state == "gone" or not document.mtime_ns else _below(index, document, root),
        "passages": _shown(query, near),
    }


def summary_of(name: str, answer: Mapping[str, Any]) -> str:
    """A search in one line."""
    if not answer.get("query"):
        return f"Index {name}: nothing was searched yet."
    count = len(answer["results"])
    said = f"Index {name}, “{cut(answer['query'], 120)}”: "
    if count:
        return f"{said}{count} passage{'' if count == 1 else 's'}"
    return f"{said}{answer['said']}"


def bundle_of(name: str, answer: Mapping[str, Any]) -> dict[str, str]:
    """A search as a saved notebook keeps it: the query, and the results in a list that opens."""
    line = summary_of(name, answer)
    results = answer.get("results") or []
    if not results:
        return bundle(line, f"<p>{escaped(line)}</p>")
    texts = [f"{number}. {_place(one)}\n   {_line(one)}" for number, one in enumerate(results, 1)]
    items = "".join(_item(one) for one in results)
    return bundle(
        "\n".join([line, *texts]),
        f"<details><summary>{escaped(line)}</summary><ol>{items}</ol></details>",
    )


def _shown(query: str, chosen: Sequence[Passage]) -> list[dict[str, Any]]:
    marked = highlighted(query, [t for p in chosen for t in (p.heading, p.text)])
    return [
        {
            "id": passage.id,
            "position": passage.position,
            "source": passage.source,
            "version": passage.version,
            "locator": passage.locator,
            "code": passage.kind == "code",
            "heading": marked[2 * number],
            "pieces": marked[2 * number + 1],
            "warnings": [WARNINGS.get(flag, flag) for flag in passage.flags],
        }
        for number, passage in enumerate(chosen)
    ]


def _below(index: Index, document: DocumentRow, root: str) -> str:
    """A document's path below the server's folder; '' if it is elsewhere, or hidden from the server."""
    if not root:
        return ""
    try:
        path = (index.base / document.source).resolve()
        below = path.relative_to(Path(root).expanduser().resolve())
    except (OSError, RuntimeError, ValueError):
        return ""
    return "" if any(part.startswith(".") for part in below.parts) else below.as_posix()


def legs_of(one: Mapping[str, Any]) -> str:
    """Ranks and scores of both legs on one line."""
    words, vectors = one["words"], one["vectors"]
    return " · ".join(
        (
            "words –" if words is None else f"words no. {words['rank']}, BM25 {words['score']:.2f}",
            "vectors –"
            if vectors is None
            else f"vectors no. {vectors['rank']}, cosine {vectors['score']:.2f}",
        )
    )


def _place(one: Mapping[str, Any]) -> str:
    warnings = "".join(f" · warning: {said}" for said in one["warnings"])
    return f"{one['source']}, {one['locator'] or 'whole text'} · {legs_of(one)}{warnings}"


def _line(one: Mapping[str, Any]) -> str:
    return cut("".join(piece for piece, _ in one["pieces"]))


def _item(one: Mapping[str, Any]) -> str:
    return f"<li>{escaped(_place(one))}<br>{_marked(one['pieces'])}</li>"


def _marked(pieces: Pieces) -> str:
    return "".join(
        f"<mark>{escaped(text)}</mark>" if marked else escaped(text) for text, marked in pieces
    )
