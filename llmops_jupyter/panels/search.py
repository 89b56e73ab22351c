"""The widget that searches an index: results with both legs' scores, and documents opened at the passage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import traitlets

from llmops_jupyter.errors import DataError, LLMOpsError, OptionError, StoreError
from llmops_jupyter.panels.assets import script, style
from llmops_jupyter.panels.base import Panel, number_of, text_of
from llmops_jupyter.panels.results import bundle_of, document_of, results_of
from llmops_jupyter.rag import kept
from llmops_jupyter.rag.index import MOST_QUERY
from llmops_jupyter.rag.searching import MODES

if TYPE_CHECKING:
    from llmops_jupyter.rag import Index

# Passages that are shown at first, and those that can be asked for.
FIRST, MOST = 10, 100
FAILED = "That failed. Search again; if it fails again, %rag search shows the error."
WILD = frozenset("*?[")


class SearchPanel(Panel):
    """Searches an index while one types, and shows documents at the passage that was found.

    The browser sends one question at a time and gives it a name, which the answer has again: what belongs to a
    question that nobody waits for any more is not shown. Nothing is changed in the index.

    Args:
        index: that is searched.
        query: searched for at once.
        tell: told what a saved notebook keeps after each search, as a MIME bundle.
    """

    _esm = script("search")
    _css = style("search")
    about = traitlets.Dict().tag(sync=True)
    answer = traitlets.Dict().tag(sync=True)
    opened = traitlets.Dict().tag(sync=True)
    what = "search panel"

    def __init__(
        self, index: Index, query: str = "", tell: Callable[[dict[str, str]], None] | None = None
    ) -> None:
        modes = MODES if index.row.embedder else ("auto", "words")
        super().__init__(tell, about={"index": index.name, "modes": list(modes), "step": FIRST})
        self.index = index
        if query:
            self._search({"query": query})

    def _take(self, action: str, content: Mapping[str, Any]) -> None:
        """A question of the browser; others than these two are none."""
        if action == "search":
            self._search(content)
        elif action == "open":
            self._open(content)

    def _search(self, content: Mapping[str, Any]) -> None:
        asked: dict[str, Any] = {
            "ask": text_of(content.get("ask")),
            "query": text_of(content.get("query")).strip(),
            "mode": text_of(content.get("mode")) or "auto",
            "source": text_of(content.get("source")).strip(),
            "diverse": bool(content.get("diverse")),
            "limit": min(MOST, max(1, number_of(content.get("limit"), FIRST))),
        }
        answer: dict[str, Any] = {"said": FAILED, "failed": True, "results": [], "more": False}
        try:
            answer = self._answer(asked)
        except LLMOpsError as e:
            answer["said"] = self._advice(e, asked["mode"])
        finally:
            asked["query"] = asked["query"][:MOST_QUERY]
            self.answer = {**asked, **answer}  # whatever happened: the browser waits for it
        if self._tell is not None:
            self._tell(self.bundle())

    def _answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self._check_index()
        query, source, limit = asked["query"], asked["source"], asked["limit"]
        where = None if not source else {"source": source if WILD & set(source) else f"*{source}*"}
        found = self.index.find(
            query, limit, mode=asked["mode"], where=where, diverse=asked["diverse"]
        )
        results = results_of(self.index, query, found)
        said = "" if results else self._nothing(filtered=bool(source))
        if results and len(query) > MOST_QUERY:
            said = f"The query is long: only its first {MOST_QUERY:,} characters were searched for."
        more = len(found) == limit and limit < MOST
        return {"said": said, "failed": False, "results": results, "more": more}

    def _open(self, content: Mapping[str, Any]) -> None:
        facts: dict[str, Any] = {"said": FAILED}
        try:
            facts = {"said": "", **self._document(content)}
        except LLMOpsError as e:
            facts["said"] = str(e)
        finally:
            self.opened = {"ask": text_of(content.get("ask")), **facts}

    def _document(self, content: Mapping[str, Any]) -> dict[str, Any]:
        self._check_index()
        query = text_of(content.get("query"))[:MOST_QUERY]
        source, version = text_of(content.get("source")), content.get("version")
        document = kept.document_row(self.index.store, self.index.row.id, source)
        shown = None
        if document is not None and document.digest == version:
            position, root = number_of(content.get("position"), 0), text_of(content.get("root"))
            shown = document_of(self.index, query, document, position, root)
        if shown is None:
            raise DataError("The document was added anew or taken out meanwhile. Search again.")
        return shown

    def _check_index(self) -> None:
        """Raise an OptionError if the index was deleted, or is another one of that name now."""
        name = self.index.name
        row = kept.index_row(self.index.store, name)
        if row is None:
            raise OptionError(
                f"The index {name!r} was deleted. Make it again: %rag add {name} FOLDER"
            )
        if row.id != self.index.row.id:
            raise OptionError(
                f"The index {name!r} was deleted and made anew. Run the cell again to search the new one."
            )

    def _nothing(self, *, filtered: bool) -> str:
        name = self.index.name
        if not kept.has_passages(self.index.store, self.index.row.id):
            return f"The index {name!r} has no passages yet. Add documents: %rag add {name} FOLDER"
        return f"Nothing was found. Try other words{' or other sources' if filtered else ''}."

    def _advice(self, error: LLMOpsError, mode: str) -> str:
        said = str(error)
        of_model = bool(self.index.row.embedder) and mode != "words"
        if of_model and not isinstance(error, OptionError | StoreError):
            said += " The mode 'words' needs no model."
        return said

    def bundle(self) -> dict[str, str]:
        """The last search as text and HTML."""
        return bundle_of(self.index.name, self.answer)
