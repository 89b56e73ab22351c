"""%%prompt and the commands of %prompt."""

from __future__ import annotations

from llmops_jupyter.commands.arguments import (
    ADAPTER,
    ALIAS,
    EXACT,
    MODEL,
    NO_STREAM,
    NOTE,
    OUT,
    OVER,
    REF,
    REMOVE,
    SAMPLING,
    SCHEMA,
    SESSION,
    later,
)
from llmops_jupyter.commands.command import Argument, Command, Option

CELL = Command(
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
        EXACT,
        ADAPTER,
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
    CELL,
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
        (REF, later("prompt")),
        example="%prompt diff greet@1 greet@3",
    ),
    Command(
        "prompt",
        "alias",
        "Point an alias at a version.",
        (REF, ALIAS),
        (NOTE, REMOVE),
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
        (MODEL, OUT, *SAMPLING, EXACT, ADAPTER, SCHEMA, SESSION, OVER, NO_STREAM),
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
)
