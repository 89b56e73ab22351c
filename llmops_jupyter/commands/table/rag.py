"""The commands of %rag."""

from __future__ import annotations

from llmops_jupyter.commands.arguments import (
    ADAPTER,
    EXACT,
    GUARD,
    LIMIT,
    MODEL,
    NO_STREAM,
    ON,
    OUT,
    SAMPLING,
    SESSION,
    TIMEOUT,
)
from llmops_jupyter.commands.command import Argument, Command, Option

INDEX = Argument("index", "an index", complete="index")

WHERE = Option(
    ("--where",),
    "only documents whose metadata, or source, has this value; can be repeated",
    "text",
    "KEY=VALUE",
    repeat=True,
)
RERANK = Option(
    ("--rerank",), "reranker that orders the passages that were found", "text", "MODEL", "model"
)
ASKING = (
    MODEL,
    OUT,
    SESSION,
    WHERE,
    RERANK,
    Option(("--tokens",), "tokens of all passages together", "int", "N"),
    Option(
        ("--prompt",),
        "kept prompt to answer with, with {{ context }} and {{ question }}",
        "text",
        "REF",
        "prompt",
    ),
    Option(("--quote",), "answer with the passages' own sentences, without a model", "flag"),
    Option(("--any",), "show what the model says even if no passage supports it", "flag"),
    *SAMPLING,
    EXACT,
    ADAPTER,
    GUARD,
    TIMEOUT,
    NO_STREAM,
)
CELL = Command(
    "rag",
    "",
    "Ask the documents of an index the question in the cell; each sentence of the answer is looked for in them.",
    (Argument("ask", "the word ask"), INDEX),
    ASKING,
    "%%rag ask docs --session tour",
)

COMMANDS: tuple[Command, ...] = (
    CELL,
    Command("rag", "list", "Show all indexes.", example="%rag list"),
    Command(
        "rag",
        "add",
        "Add documents to an index, which is made if it is not there; only what changed is embedded.",
        (
            Argument("index", "the index's name", complete="index"),
            Argument("given", "files, folders, patterns, or one variable or data set", "+", "rows"),
        ),
        (
            Option(
                ("--include",),
                "which files of a folder, as in *.md or docs/**/*.py; can be repeated",
                "text",
                "PATTERN",
                repeat=True,
            ),
            Option(("--column",), "of rows: the column with the text", "text", "COLUMN"),
            Option(
                ("--embedder",),
                "embedding model of a new index; none for an index of words",
                "text",
                "MODEL",
                "model",
            ),
            Option(("--tokens",), "length of a new index's passages", "int", "N"),
            ON,
        ),
        example="%rag add docs docs/ README.md",
    ),
    Command(
        "rag",
        "search",
        "Search an index by words and vectors.",
        (INDEX, Argument("query", "what to look for; in quotes if it ends in ?", "+")),
        (
            LIMIT,
            Option(
                ("--mode",),
                "which legs search",
                "text",
                "MODE",
                choices=("auto", "hybrid", "words", "vectors"),
            ),
            WHERE,
            RERANK,
            Option(("--diverse",), "leave out passages that repeat others", "flag"),
            OUT,
        ),
        example='%rag search docs "how is a model added" -n 3',
    ),
    Command(
        "rag",
        "ask",
        "Ask the documents of an index; each sentence of the answer is looked for in them.",
        (INDEX, Argument("question", "in quotes if it ends in ?", "+")),
        ASKING,
        example='%rag ask docs "How is a model added?"',
    ),
    Command(
        "rag",
        "panel",
        "Search an index in a panel: a search box, highlighted passages, documents opened at the place.",
        (INDEX, Argument("query", "what to look for at once", "*")),
        example="%rag panel docs",
    ),
    Command(
        "rag",
        "eval",
        "Measure how well an index finds what answers questions, by words, by vectors and by both, with intervals.",
        (INDEX,),
        (
            Option(
                ("--data",),
                "questions: columns question and source or quote; answerable False where nothing answers",
                "text",
                "DATA",
                "rows",
            ),
            Option(
                ("--generate",), "make this many questions from passages, and keep them", "int", "N"
            ),
            Option(("-k", "--k"), "passages that are looked at; left out: 5", "int", "K"),
            Option(
                ("--answers",), "have the questions answered too, and the answers checked", "flag"
            ),
            Option(("--seed",), "of the draw of passages", "int", "S"),
            MODEL,
            WHERE,
            RERANK,
            OUT,
        ),
        example="%rag eval docs --data questions -k 5",
    ),
    Command(
        "rag",
        "status",
        "Show the health of an index: stale, skipped, double and flagged documents, size, speed.",
        (INDEX,),
        (OUT,),
        example="%rag status docs",
    ),
    Command(
        "rag",
        "documents",
        "List the documents of an index, those that could not be read among them.",
        (INDEX,),
        example="%rag documents docs",
    ),
    Command(
        "rag",
        "forget",
        "Take a document out so that its text and vectors are in no file of the workspace's index.",
        (INDEX, Argument("source", "the document, as %rag documents names it")),
        example="%rag forget docs docs/old.md",
    ),
    Command(
        "rag",
        "remove",
        "Delete an index.",
        (INDEX,),
        example="%rag remove docs",
    ),
)
