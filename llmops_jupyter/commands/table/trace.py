"""The commands of %trace."""

from __future__ import annotations

from llmops_jupyter.commands.arguments import LIMIT, NOTE, OUT, TRACE_FILTERS, TRACE_ID
from llmops_jupyter.commands.command import Argument, Command, Option

COMMANDS: tuple[Command, ...] = (
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
