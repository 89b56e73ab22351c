"""The stage a workspace hands out: indexes of documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.placing import At, here
from llmops_jupyter.engine.protocol import Engine
from llmops_jupyter.errors import DataError, OptionError, unknown_name
from llmops_jupyter.prompts.rows import Rows, read_rows
from llmops_jupyter.rag import kept
from llmops_jupyter.rag.chunking import TOKENS
from llmops_jupyter.rag.embedding import Embedder
from llmops_jupyter.rag.forgetting import Forgotten, forget_traces
from llmops_jupyter.rag.index import Index
from llmops_jupyter.rag.vectors import Vectors
from llmops_jupyter.store import aliases
from llmops_jupyter.tracing import Tracer

if TYPE_CHECKING:
    from llmops_jupyter.data import Dataset, Datasets
    from llmops_jupyter.models import Models
    from llmops_jupyter.prompts import Prompts
    from llmops_jupyter.prompts.options import Documents
    from llmops_jupyter.prompts.run import Run
    from llmops_jupyter.rag.answering import DocumentSource
    from llmops_jupyter.rag.evaluating import Retrieval
    from llmops_jupyter.rag.indexing import Tell
    from llmops_jupyter.records import Completion

KIND = "index"
# What stands for "no embedding model" where one is asked for.
NONE = "none"


class Rag:
    """The indexes of a workspace."""

    def __init__(
        self,
        tracer: Tracer,
        engine: Callable[[str | None], Engine],
        models: Callable[[], Models],
        datasets: Callable[[], Datasets],
        prompts: Callable[[], Prompts],
        at: At = here,
    ) -> None:
        self._at = at
        self.tracer = tracer
        self.store = tracer.store
        self._engine = engine
        self._models = models
        self._datasets = datasets
        self._prompts = prompts
        self._indexes: dict[str, Index] = {}
        self.base = _base(self.store.path)

    def index(self, name: str) -> Index:
        """An index by its name.

        Raises:
            UnknownNameError: there is none.
        """
        row = kept.index_row(self.store, name)
        if row is None:
            known = [one.name for one in kept.index_rows(self.store)]
            raise unknown_name("index", name, known, "Make one: %rag add NAME FOLDER")
        held = self._indexes.get(name)
        if held is None or _other(held.row, row):
            vectors = Vectors(self._file(row.id), row.width)
            held = self._indexes[name] = Index(self.tracer, row, self._embedder, vectors, self.base)
        return held

    def create(self, name: str, *, embedder: str | None = None, tokens: int | None = None) -> Index:
        """An index of that name; made if it is not there.

        Args:
            name: small letters, digits, '.', '_' and '-'.
            embedder: model for vectors; 'none' for an index of words; left out: the registered embedding model,
                else one that is found in a package, else none.
            tokens: of a passage, by the embedder's tokenizer; 200 if left out.

        Raises:
            OptionError: the index is there with another embedder or other passages.
        """
        aliases.check_name(KIND, name)
        row = kept.index_row(self.store, name)
        if row is not None:
            if embedder is not None and embedder.replace(NONE, "") != row.embedder:
                raise OptionError(
                    f"The index {name!r} is made with {row.embedder or 'no embedder'}, and vectors of two models do not "
                    f"mix. Make another index for {embedder}."
                )
            if tokens is not None and tokens != row.settings["tokens"]:
                raise OptionError(
                    f"The index {name!r} has passages of {row.settings['tokens']} tokens. Make another one for {tokens}."
                )
            return self.index(name)
        chosen = self.default_embedder() if embedder is None else embedder.replace(NONE, "")
        made = self._embedder(chosen) if chosen else None
        size = TOKENS if tokens is None else tokens
        if not 16 <= size <= 8_192 or (made is not None and size > made.window):
            most = made.window if made is not None else 8_192
            raise OptionError(f"Passages have 16 to {most} tokens here, not {size}.")
        width = len(made.embed(["width"])[0]) if made is not None else 0
        digest = made.digest if made is not None else ""
        kept.create(self.store, name, chosen or "", digest, width, {"tokens": size})
        return self.index(name)

    def add(
        self,
        name: str,
        given: Any,
        *,
        embedder: str | None = None,
        tokens: int | None = None,
        on: str | None = None,
        **options: Any,
    ) -> Any:
        """Add documents to an index, which is made if it is not there; options as for `Index.add`.

        With `on` their vectors are computed by the machines of a Ray cluster, as in `prompts.map`.
        """
        index = self.create(name, embedder=embedder, tokens=tokens)
        if not isinstance(given, str | Path) and not (
            isinstance(given, list | tuple) and all(isinstance(g, str | Path) for g in given)
        ):
            given = given if isinstance(given, Rows) else read_rows(given, self._datasets())
        with self._at(on):
            return index.add(given, **options)

    def source(self, documents: Documents) -> DocumentSource:
        """The documents that a run of a prompt is given passages of.

        Raises:
            UnknownNameError: there is no such index, or no such reranker.
            MissingDependencyError: what takes sentences apart is not installed.
        """
        from llmops_jupyter.rag.answering import DocumentSource
        from llmops_jupyter.rag.support import sentences

        index = self.index(documents.index)
        sentences("Checked before a model is asked.")
        return DocumentSource(index, documents, self.reranker(documents.rerank))

    def reranker(self, name: str | None) -> Callable[[str, Sequence[str]], Sequence[float]] | None:
        """What scores passages for a query, by a registered reranker; None if none is named.

        Raises:
            UnknownNameError, ModelError: there is no such model, or it is no reranker.
        """
        return self._engine(name).rerank if name else None

    def stream(self, name: str, question: str, *, prompt: Any = None, **options: Any) -> Run:
        """An answer from an index as a run to iterate over; arguments as for `ask`."""
        from llmops_jupyter.rag.answering import TEMPLATE

        prompts = self._prompts()
        if not isinstance(question, str) or not question.strip():
            raise OptionError("There is no question. Write what to ask of the documents.")
        given = {"temperature": 0.0, "rag_only": True, **options, "rag": name}
        self.index(name)
        return prompts.stream(
            prompts.scratch(TEMPLATE) if prompt is None else prompt,
            {"question": question.strip()},
            **given,
        )

    def ask(self, name: str, question: str, *, prompt: Any = None, **options: Any) -> Completion:
        """An answer from the documents of an index, with what they say of each of its sentences.

        Args:
            name: of the index.
            question: in words.
            prompt: to answer with instead of ours: a reference or content with the variables ``question`` and,
                where the passages go, ``context``.
            options: as for `prompts.stream`: model, session, rag_tokens, rag_where, rag_rerank, rag_quote, the fields of
                `Sampling`; rag_only is on and the temperature 0 unless they say otherwise.

        Returns:
            A `Completion`: `hits` are the numbered passages, `grounding` has sentences, verdicts and citations. Its
            text says that the documents do not say it where they do not speak of the question, or support
            nothing of what the model wrote (`grounding.draft`).

        Raises:
            UnknownNameError: there is no such index.
        """
        with self.stream(name, question, prompt=prompt, **options) as run:
            for _ in run:
                pass
        self._prompts().remember(run)
        return run.completion

    def eval(
        self,
        name: str,
        questions: Any = None,
        *,
        generate: int | None = None,
        k: int = 5,
        answers: bool = False,
        seed: int = 0,
        model: str | None = None,
        where: Mapping[str, Any] | None = None,
        rerank: str | None = None,
        progress: Tell | None = None,
    ) -> Retrieval:
        """How well an index finds what answers questions, with intervals; see `evaluating.Retrieval`.

        Args:
            name: of the index.
            questions: rows, a DataFrame or a data set with the columns question and source (documents, or patterns;
                several with | between) or quote (words of the passage); 'answerable' False where no document answers.
            generate: that many questions are made by a model from passages instead, and kept as the data set
                ``NAME-questions``, in which they are marked as generated.
            k: passages that are looked at.
            answers: have the questions answered too: how many are, and how far passages support the answers.
            seed: of the draw of passages.
            model: that makes questions, and answers them.
            where: only documents that fit.
            rerank: a registered reranker.
            progress: told how far it is.

        Raises:
            DataError: rows that say no question, or nothing of what answers it.
        """
        from llmops_jupyter.rag.evaluating import evaluate
        from llmops_jupyter.rag.judging import wanted

        index = self.index(name)
        if (questions is None) == (generate is None):
            raise OptionError(
                "Give questions (--data), or how many are to be made from the passages (--generate N)."
            )
        if generate is not None:
            questions = self.questions(name, generate, seed=seed, model=model, progress=progress)
        given = questions if isinstance(questions, Rows) else read_rows(questions, self._datasets())
        options = {"model": model, "rag_where": where, "rag_rerank": rerank}
        ask = (lambda q: self.ask(name, q, **options)) if answers else None
        return evaluate(
            index,
            wanted(given.pairs),
            k=k,
            ask=ask,
            where=where,
            rerank=self.reranker(rerank),
            tell=progress,
        )

    def questions(
        self,
        name: str,
        count: int,
        *,
        seed: int = 0,
        model: str | None = None,
        progress: Tell | None = None,
    ) -> Dataset:
        """Questions that a model makes from passages, as the data set ``NAME-questions``."""
        from llmops_jupyter.rag.generating import generated

        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= 1_000:
            raise OptionError(f"The number of questions lies between 1 and 1,000, not {count!r}.")
        rows = generated(self.index(name), self._engine(model), count, seed=seed, tell=progress)
        if not rows:
            raise DataError(
                "The model made no question that can be used. Write questions yourself (--data), or name a larger "
                "model (--model)."
            )
        return self._datasets().add(f"{name}-questions", rows, note="generated from passages")

    def names(self) -> Sequence[str]:
        """The names of all indexes."""
        return [row.name for row in kept.index_rows(self.store)]

    def list(self) -> Sequence[Mapping[str, Any]]:
        """All indexes with what they hold."""
        found = []
        for row in kept.index_rows(self.store):
            counts = self.store.row(
                "SELECT (SELECT count(*) FROM rag_documents WHERE index_id = ? AND error = ''), "
                "(SELECT count(*) FROM rag_chunks WHERE index_id = ?)",
                (row.id, row.id),
            )
            assert counts is not None
            found.append(
                {
                    "index": row.name,
                    "documents": counts[0],
                    "passages": counts[1],
                    "embedder": row.embedder or "none (words only)",
                    "made": row.created_at[:16].replace("T", " "),
                }
            )
        return found

    def forget(self, name: str, source: str) -> Forgotten:
        """Take a document out of an index, or out of what runs kept of one where the index is gone; see `Index.forget`."""
        if kept.index_row(self.store, name) is None:
            found = forget_traces(self.store, name, source)
            if found is not None:
                return found
        return self.index(name).forget(source)

    def remove(self, name: str) -> None:
        """Delete an index with all that it holds."""
        index = self.index(name)
        for source in index.documents():
            with self.store.write() as conn:
                kept.drop_document(conn, index.row.id, source)
        with self.store.write() as conn:
            conn.execute("DELETE FROM rag_freed WHERE index_id = ?", (index.row.id,))
            conn.execute("DELETE FROM rag_indexes WHERE id = ?", (index.row.id,))
        index.vectors.delete()
        self._indexes.pop(name, None)

    def default_embedder(self) -> str:
        """The embedding model that an index gets if none is named; '' if there is none."""
        models = self._models()
        registered = [m.name for m in models.list() if m.metadata.is_embedder]
        if registered:
            return registered[0]
        for candidate in models.discover()[0]:
            if candidate.origin == "package" and candidate.path.is_dir():
                return models.add(candidate.source, name=candidate.name).name
        return ""

    def _embedder(self, name: str) -> Embedder:
        return Embedder(name, self._engine(name))

    def _file(self, index_id: int) -> Path | None:
        if self.store.path is None:
            return None
        return self.store.path.parent / "blobs" / f"rag-{index_id}.f32"


def _other(held: kept.IndexRow, row: kept.IndexRow) -> bool:
    """Whether another process has removed an index and made one of that name anew."""
    return (held.id, held.created_at, held.embedder_digest) != (
        row.id,
        row.created_at,
        row.embedder_digest,
    )


def _base(store: Path | None) -> Path:
    """The project's folder: the one in which the workspace's folder lies."""
    if store is None:
        return Path.cwd()
    folder = store.resolve().parent
    return folder.parent if folder.name.startswith(".") else folder
