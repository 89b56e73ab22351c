"""Arguments and options that several commands share."""

from __future__ import annotations

from llmops_jupyter.commands.command import Argument, Option

MODEL = Option(
    ("-m", "--model"), "model to run: a name, NAME@VERSION or an alias", "text", "MODEL", "model"
)
OUT = Option(("-o", "--out"), "variable that gets the result", "variable", "VAR", "variable")
LIMIT = Option(("-n", "--limit"), "how many to show", "int", "N")
NOTE = Option(("--note",), "why, for the log", "text", "TEXT")
REMOVE = Option(("--remove",), "take the alias away", "flag")
REGISTERED_NAME = Option(("--name",), "name to register it under", "text", "NAME")
SAMPLING = (
    Option(("--temperature",), "0 takes the most likely token; higher varies more", "float", "T"),
    Option(("--max-tokens",), "longest answer in tokens", "int", "N"),
    Option(
        ("--seed",),
        "seed of the sampling; a single prompt then gets the same answer each time",
        "int",
        "S",
    ),
    Option(("--top-k",), "sample among the K most likely tokens; 0 among all", "int", "K"),
    Option(("--top-p",), "sample among the tokens that make up this probability", "float", "P"),
    Option(("--min-p",), "leave out tokens less likely than P times the best one", "float", "P"),
    Option(
        ("--repeat-penalty",),
        "above 1: make tokens less likely that were there lately",
        "float",
        "P",
    ),
    Option(
        ("--frequency-penalty",),
        "less likely with each time a token was there lately",
        "float",
        "P",
    ),
    Option(("--presence-penalty",), "less likely once a token was there lately", "float", "P"),
    Option(("--logprobs",), "keep each token's probability and the N likeliest ones", "int", "N"),
    Option(
        ("--stop",), "end the answer before this text; may be repeated", "text", "TEXT", repeat=True
    ),
)
EXACT = Option(("--exact",), "compute alone and in a fixed shape: slower, always the same", "flag")
ADAPTER = Option(
    ("--adapter",),
    "registered adapter to add to the model, with its scale (1 if left out); may be repeated",
    "text",
    "NAME[:SCALE]",
    "adapter",
    repeat=True,
)
SESSION = Option(
    ("--session",), "conversation whose earlier turns are sent along", "text", "NAME", "session"
)
NO_STREAM = Option(("--no-stream",), "show the answer when it is complete", "flag")
OVER = Option(
    ("--over",), "run once for each row of a list, DataFrame or data set", "text", "VAR", "rows"
)
ON = Option(
    ("--on",),
    "Ray cluster that computes: ray://HOST:PORT, auto, or local",
    "text",
    "ADDRESS",
)
SCHEMA = Option(
    ("--schema",),
    "JSON schema or pydantic class that the answer satisfies",
    "text",
    "VAR",
    "variable",
)
TIMEOUT = Option(("--timeout",), "end the run after this many seconds", "float", "S")
UNIT = Option(
    ("--unit",), "user or the like, who gets the same version of a split each time", "text", "ID"
)
TOOLS = (
    Option(
        ("--tools",),
        "function, or list of functions, that the model may call",
        "text",
        "VAR",
        "variable",
    ),
    Option(
        ("--tool-choice",),
        "auto, required, none or a tool's name; several, with commas, for the first steps",
        "text",
        "CHOICE",
    ),
    Option(("--max-steps",), "how often the model is asked at most", "int", "N"),
    Option(
        ("--approve",),
        "functions with side effects: ask, always or never",
        "text",
        "HOW",
        choices=("ask", "always", "never"),
    ),
)
DATA = Option(("--data",), "data set, or variable with rows", "text", "DATA", "rows")
METRIC = Option(
    ("--metric",),
    "what scores the answers, such as exact, contains=Paris, judge:relevance, or a function of yours; may "
    "be repeated",
    "text",
    "METRIC",
    "metric",
    repeat=True,
)
EXPECTED = Option(
    ("--expected",), "column of expected answers; left out: expected", "text", "COLUMN"
)
FRESH = Option(("--fresh",), "compute answers anew that were recorded before", "flag")
SOURCE = Option(
    ("--source",),
    "only those made here, those imported, or those imported from this service",
    "text",
    "here|imported|SERVICE",
)
TRACE_FILTERS = (
    Option(("--prompt",), "only this prompt or version", "text", "NAME[@V]", "prompt"),
    Option(("--model",), "only this model", "text", "NAME", "model"),
    Option(("--session",), "only this conversation", "text", "NAME", "session"),
    Option(
        ("--status",),
        "only ok, error, interrupted or open",
        "text",
        "STATUS",
        choices=("ok", "error", "interrupted", "open"),
    ),
    Option(("--since",), "only newer ones: an age such as 24h or 7d, or a date", "text", "WHEN"),
    Option(("--until",), "only older ones", "text", "WHEN"),
    Option(("--score",), "only with this score, such as thumb=down", "text", "NAME[=VALUE]"),
    SOURCE,
)

REF = Argument("ref", "NAME, NAME@VERSION or NAME@ALIAS", complete="prompt")
MODEL_REF = Argument("ref", "NAME, NAME@VERSION or NAME@ALIAS", complete="model")
DATA_REF = Argument("ref", "NAME or NAME@VERSION", complete="data")
ALIAS = Argument("alias", "a word such as production")
NEW_DATA = Argument("name", "name of the data set", complete="data_name")
TRACE_ID = Argument("id", "a trace id or its beginning; the last one if left out", "?", "trace")


def later(kind: str) -> Argument:
    """The second of two versions that are compared, of prompts or of data sets."""
    return Argument("other", "the later version; left out: REF against the one before", "?", kind)


DOCUMENTS = (
    Option(
        ("--rag",),
        "index whose passages are found for the last user message, put into it and looked for in the answer",
        "text",
        "INDEX",
        "index",
    ),
    Option(("--rag-tokens",), "tokens of all passages together", "int", "N"),
    Option(
        ("--rag-where",),
        "only documents whose metadata, or source, has this value; can be repeated",
        "text",
        "KEY=VALUE",
        repeat=True,
    ),
    Option(
        ("--rag-rerank",),
        "reranker that orders the passages that were found",
        "text",
        "MODEL",
        "model",
    ),
    Option(("--rag-only",), "an answer that no passage supports is none", "flag"),
    Option(("--rag-quote",), "answer with the passages' own sentences, without a model", "flag"),
)
GUARD = Option(
    ("--guard",),
    "guard policy that checks what goes in, what is read and what comes out; none: no policy",
    "text",
    "POLICY",
    "policy",
)
OF_TOOLS = ("timeout", "tool_choice", "max_steps", "approve")
SETTINGS = (
    *("model", *(o.name for o in SAMPLING), "exact", "adapter", "session", "guard"),
    *(*OF_TOOLS, *(o.name for o in DOCUMENTS)),
)
