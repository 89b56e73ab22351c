"""The one table of magics and their options.

Parsers, the help behind ``?``, completion, the command line and the documentation are made from it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """A named option. `kind` is flag, text, int or float; `complete` names what completes its value."""

    flags: tuple[str, ...]
    help: str
    kind: str = "text"
    metavar: str = ""
    complete: str = ""
    choices: tuple[str, ...] = ()
    repeat: bool = False

    @property
    def name(self) -> str:
        return self.flags[-1].lstrip("-").replace("-", "_")


@dataclass(frozen=True)
class Argument:
    """A positional argument; `count` is 1, '?' (may be left out), '*' or '+'."""

    name: str
    help: str
    count: str = "1"
    complete: str = ""


@dataclass(frozen=True)
class Command:
    """A magic's subcommand, or its cell form (then `name` is empty)."""

    magic: str
    name: str
    summary: str
    arguments: tuple[Argument, ...] = ()
    options: tuple[Option, ...] = ()
    example: str = ""

    @property
    def title(self) -> str:
        return f"%%{self.magic}" if not self.name else f"%{self.magic} {self.name}"

    def usage(self) -> str:
        """The call on one line, in the usual notation."""
        parts = [self.title]
        for argument in self.arguments:
            shown = argument.name.upper()
            parts.append(
                {"1": shown, "?": f"[{shown}]", "*": f"[{shown} …]", "+": f"{shown} …"}[
                    argument.count
                ]
            )
        for option in self.options:
            value = f" {option.metavar or option.name.upper()}" if option.kind != "flag" else ""
            parts.append(f"[{'|'.join(option.flags)}{value}]")
        return " ".join(parts)


MODEL = Option(
    ("-m", "--model"), "model to run: a name, NAME@VERSION or an alias", "text", "MODEL", "model"
)
OUT = Option(("-o", "--out"), "variable that gets the result", "text", "VAR", "variable")
LIMIT = Option(("-n", "--limit"), "how many to show", "int", "N")
NOTE = Option(("--note",), "why, for the log", "text", "TEXT")
SAMPLING = (
    Option(("--temperature",), "0 takes the most likely token; higher varies more", "float", "T"),
    Option(("--max-tokens",), "longest answer in tokens", "int", "N"),
    Option(("--seed",), "seed of the sampling, for the same answer again", "int", "S"),
    Option(("--top-k",), "sample among the K most likely tokens; 0 among all", "int", "K"),
    Option(("--top-p",), "sample among the tokens that make up this probability", "float", "P"),
    Option(("--min-p",), "leave out tokens less likely than P times the best one", "float", "P"),
    Option(
        ("--stop",), "end the answer before this text; may be repeated", "text", "TEXT", repeat=True
    ),
)
SESSION = Option(
    ("--session",), "conversation whose earlier turns are sent along", "text", "NAME", "session"
)
NO_STREAM = Option(("--no-stream",), "show the answer when it is complete", "flag")
OVER = Option(
    ("--over",), "run once for each row of a list, DataFrame or data set", "text", "VAR", "rows"
)
SCHEMA = Option(
    ("--schema",),
    "JSON schema or pydantic class that the answer satisfies",
    "text",
    "VAR",
    "variable",
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
)

REF = Argument("ref", "NAME, NAME@VERSION or NAME@ALIAS", complete="prompt")
MODEL_REF = Argument("ref", "NAME, NAME@VERSION or NAME@ALIAS", complete="model")
DATA_REF = Argument("ref", "NAME or NAME@VERSION", complete="data")
TRACE_ID = Argument("id", "a trace id or its beginning; the last one if left out", "?", "trace")

PROMPT_CELL = Command(
    "prompt",
    "",
    "Run the cell as a prompt template and keep it as a version of NAME if it is new.",
    (
        Argument(
            "name",
            "name to keep it under; without one it is traced, not versioned",
            "?",
            "prompt_name",
        ),
    ),
    (
        MODEL,
        OUT,
        *SAMPLING,
        SCHEMA,
        Option(
            ("--shots",),
            "few-shot examples: a list, a DataFrame or a data set",
            "text",
            "VAR",
            "rows",
        ),
        Option(
            ("--pick",),
            "take the first examples or those most like the input",
            "text",
            "HOW",
            choices=("first", "similar"),
        ),
        Option(("--count",), "how many examples to take", "int", "N"),
        Option(("--cot",), "ask for reasoning first; it is kept apart from the answer", "flag"),
        SESSION,
        OVER,
        Option(("--note",), "what is new in this version", "text", "TEXT"),
        NO_STREAM,
    ),
    "%%prompt support-reply -m smollm2 -o reply --temperature 0",
)

COMMANDS: tuple[Command, ...] = (
    PROMPT_CELL,
    Command("prompt", "list", "Show all prompts.", example="%prompt list"),
    Command(
        "prompt",
        "show",
        "Show a version with its settings.",
        (REF,),
        example="%prompt show greet@2",
    ),
    Command(
        "prompt",
        "history",
        "Show the versions and the moves of the aliases.",
        (Argument("name", "a prompt", complete="prompt"),),
        example="%prompt history greet",
    ),
    Command(
        "prompt",
        "diff",
        "Show what changed between two versions.",
        (
            REF,
            Argument(
                "other", "the later version; left out: REF against the one before", "?", "prompt"
            ),
        ),
        example="%prompt diff greet@1 greet@3",
    ),
    Command(
        "prompt",
        "alias",
        "Point an alias at a version.",
        (REF, Argument("alias", "a word such as production")),
        (NOTE, Option(("--remove",), "take the alias away", "flag")),
        example="%prompt alias greet@3 production",
    ),
    Command(
        "prompt",
        "rollback",
        "Point an alias back at what it pointed at before.",
        (Argument("ref", "NAME@ALIAS", complete="prompt"),),
        (NOTE,),
        example="%prompt rollback greet@production",
    ),
    Command(
        "prompt",
        "run",
        "Run a kept version; variables come from the notebook.",
        (REF,),
        (MODEL, OUT, *SAMPLING, SCHEMA, SESSION, OVER, NO_STREAM),
        example="reply = %prompt run greet@production",
    ),
    Command(
        "prompt",
        "load",
        "Put a version into a new cell for editing.",
        (REF,),
        example="%prompt load greet@2",
    ),
    Command(
        "prompt",
        "sessions",
        "Show conversations, or the turns of one.",
        (Argument("session", "a conversation", "?", "session"),),
        example="%prompt sessions",
    ),
    Command(
        "prompt",
        "fork",
        "Begin a conversation with the first turns of another.",
        (
            Argument("session", "a conversation", complete="session"),
            Argument("new", "name of the new one"),
        ),
        (Option(("--at",), "how many turns to take; left out: all", "int", "N"),),
        example="%prompt fork support try-2 --at 3",
    ),
    Command(
        "model",
        "list",
        "Show registered models, and with --found those that could be added.",
        options=(
            Option(("--found",), "also look in packages and in the folders of other tools", "flag"),
        ),
        example="%model list --found",
    ),
    Command(
        "model",
        "add",
        "Register a GGUF file where it lies; nothing is copied.",
        (
            Argument(
                "source",
                "a path, package:NAME, hf:org/repo/file, ollama:NAME or lmstudio:PATH",
                complete="source",
            ),
        ),
        (Option(("--name",), "name to register it under", "text", "NAME"),),
        example="%model add ~/models/qwen3.gguf --name qwen3",
    ),
    Command(
        "model",
        "pull",
        "Download a GGUF file from a Hugging Face hub and register it.",
        (Argument("source", "hf:org/repo/file.gguf"),),
        (
            Option(("--name",), "name to register it under", "text", "NAME"),
            Option(("--revision",), "branch, tag or commit", "text", "REV"),
        ),
        example="%model pull hf:org/repo/file.gguf --name small",
    ),
    Command(
        "model",
        "use",
        "Make a model the default of this workspace.",
        (MODEL_REF,),
        example="%model use smollm2",
    ),
    Command(
        "model",
        "show",
        "Show a model's metadata, read without loading it.",
        (MODEL_REF,),
        example="%model show smollm2",
    ),
    Command(
        "model",
        "verify",
        "Read the file again and compare its hash.",
        (MODEL_REF,),
        example="%model verify smollm2",
    ),
    Command(
        "model",
        "alias",
        "Point an alias at a version of a model.",
        (MODEL_REF, Argument("alias", "a word such as production")),
        (Option(("--remove",), "take the alias away", "flag"),),
        example="%model alias smollm2@1 production",
    ),
    Command("model", "status", "Show what is loaded and how.", example="%model status"),
    Command(
        "model",
        "remove",
        "Take a model off the list; the file stays.",
        (MODEL_REF,),
        example="%model remove old-model",
    ),
    Command("data", "list", "Show all data sets.", example="%data list"),
    Command(
        "data",
        "add",
        "Keep rows as a version of a data set.",
        (
            Argument("name", "name of the data set", complete="data_name"),
            Argument(
                "rows",
                "a variable, or a .jsonl, .json, .csv, .tsv or .parquet file",
                complete="rows",
            ),
        ),
        (Option(("--id",), "column that identifies a row", "text", "COLUMN"), NOTE),
        example="%data add questions questions.csv",
    ),
    Command(
        "data",
        "show",
        "Show rows of a data set.",
        (DATA_REF,),
        (LIMIT, OUT),
        example="%data show questions@2 -n 5",
    ),
    Command(
        "data",
        "history",
        "Show the versions of a data set.",
        (Argument("name", "a data set", complete="data"),),
        example="%data history questions",
    ),
    Command(
        "data",
        "diff",
        "Show added, removed and changed rows.",
        (
            DATA_REF,
            Argument(
                "other", "the later version; left out: REF against the one before", "?", "data"
            ),
        ),
        example="%data diff questions@1 questions@2",
    ),
    Command(
        "data",
        "split",
        "Split into parts by row, stable when rows are added.",
        (DATA_REF, Argument("parts", "NAME=SHARE, adding up to 1", "+")),
        (
            Option(("--seed",), "another seed gives another split", "int", "S"),
            Option(("--by",), "column whose equal values stay together", "text", "COLUMN"),
            Option(("--stratify",), "column whose values keep their proportions", "text", "COLUMN"),
        ),
        example="%data split questions train=0.8 test=0.2",
    ),
    Command(
        "data",
        "from-traces",
        "Make a data set from traces.",
        (Argument("name", "name of the data set", complete="data_name"),),
        (LIMIT, *TRACE_FILTERS),
        example="%data from-traces to-fix -n 200 --score thumb=down",
    ),
    Command(
        "trace",
        "last",
        "Show the newest trace, or the newest N as a list.",
        options=(LIMIT, OUT),
        example="%trace last",
    ),
    Command(
        "trace",
        "list",
        "Show the newest traces.",
        options=(LIMIT, OUT, *TRACE_FILTERS),
        example="%trace list -n 20 --status error",
    ),
    Command(
        "trace", "show", "Show a whole trace.", (TRACE_ID,), (OUT,), example="%trace show 1f0a9c2e"
    ),
    Command(
        "trace",
        "search",
        "Find traces by the words in them.",
        (Argument("text", 'words; "a phrase"; a beginning*', "+"),),
        (
            LIMIT,
            OUT,
            Option(("--ranked",), "best matches first instead of newest", "flag"),
            *TRACE_FILTERS,
        ),
        example='%trace search "late delivery" -n 10',
    ),
    Command(
        "trace",
        "score",
        "Keep a score, such as thumb=down or relevance=0.8.",
        (
            Argument("id", "a trace id or its beginning, or last", complete="trace"),
            Argument("score", "NAME=VALUE", "+"),
        ),
        (NOTE,),
        example='%trace score last thumb=down --note "wrong city"',
    ),
    Command(
        "trace",
        "export",
        "Write traces as JSON lines.",
        (Argument("path", "file to write"),),
        (LIMIT, *TRACE_FILTERS),
        example="%trace export traces.jsonl --since 7d",
    ),
    Command(
        "trace",
        "prune",
        "Delete old traces, by age or by the size of the file.",
        options=(
            Option(("--older-than",), "an age such as 90d", "text", "AGE"),
            Option(("--max-mb",), "keep the newest that fit into so many megabytes", "float", "MB"),
            Option(("--dry-run",), "only count", "flag"),
        ),
        example="%trace prune --older-than 90d --dry-run",
    ),
    Command(
        "trace",
        "record",
        "Record every model call into a cassette, or stop with off.",
        (Argument("path", "file to write, or off"),),
        example="%trace record demo.cassette.json",
    ),
    Command(
        "trace",
        "replay",
        "Answer every model call from a cassette, or stop with off.",
        (Argument("path", "file to read, or off"),),
        example="%trace replay demo.cassette.json",
    ),
)

MAGICS: tuple[str, ...] = tuple(dict.fromkeys(c.magic for c in COMMANDS))


def commands_of(magic: str) -> dict[str, Command]:
    """The subcommands of a magic by name; the cell form is not among them."""
    return {c.name: c for c in COMMANDS if c.magic == magic and c.name}


def cell_of(magic: str) -> Command | None:
    """The cell form of a magic, if it has one."""
    return next((c for c in COMMANDS if c.magic == magic and not c.name), None)


def describe(command: Command) -> str:
    """Help for one command."""
    lines = [command.usage(), "", f"    {command.summary}", ""]
    rows = [(a.name.upper(), a.help) for a in command.arguments]
    for option in command.options:
        value = f" {option.metavar or option.name.upper()}" if option.kind != "flag" else ""
        choice = f" ({', '.join(option.choices)})" if option.choices else ""
        rows.append((f"{', '.join(option.flags)}{value}", f"{option.help}{choice}"))
    width = max((len(left) for left, _ in rows), default=0)
    lines += [f"    {left.ljust(width)}  {right}" for left, right in rows]
    if command.example:
        lines += ["", f"    For example: {command.example}"]
    return "\n".join(lines)


def help_of(magic: str) -> str:
    """The text behind ``%magic?``."""
    cell = cell_of(magic)
    blocks = [describe(cell)] if cell is not None else []
    blocks += [describe(c) for c in commands_of(magic).values()]
    return "\n\n".join(blocks)


def markdown_of(magic: str) -> str:
    """The same for the documentation: a section and a table for each command."""
    cell = cell_of(magic)
    blocks = []
    for command in [*([cell] if cell else []), *commands_of(magic).values()]:
        rows = [(a.name.upper(), a.help) for a in command.arguments]
        for option in command.options:
            value = f" {option.metavar or option.name.upper()}" if option.kind != "flag" else ""
            rows.append((f"{', '.join(option.flags)}{value}", option.help))
        table = "".join(
            f"| `{left}` | {right.replace('|', chr(92) + '|')} |\n" for left, right in rows
        )
        block = f"## {command.title}\n\n{command.summary}\n\n```\n{command.example}\n```\n"
        if table:
            block += f"\n| option | meaning |\n|---|---|\n{table}"
        blocks.append(block)
    return "\n".join(blocks)
