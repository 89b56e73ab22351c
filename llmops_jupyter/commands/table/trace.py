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
        "send",
        "Send traces to an OTLP collector, from where the last sending ended: what waits, then what comes until it is interrupted.",
        (
            Argument(
                "endpoint",
                "as in http://localhost:4318; left out, that of OTEL_EXPORTER_OTLP_ENDPOINT",
                "?",
                "endpoint",
            ),
        ),
        (
            Option(
                ("--since",),
                "go to what began then, forward or back: an age such as 7d, a date, all or now",
                "text",
                "WHEN",
            ),
            Option(("--once",), "send what waits and end", "flag"),
            Option(("--background",), "go on in the background of this notebook", "flag"),
            Option(("--status",), "show what was sent, what waits and what was refused", "flag"),
            Option(("--stop",), "end sending in the background", "flag"),
            Option(("--forget",), "forget the endpoint and how far it had come", "flag"),
            Option(("--again",), "offer once more what was refused", "flag"),
            Option(
                ("--header",),
                "a header, by the environment variable that holds its value, as in "
                '"Authorization=Bearer PHOENIX_KEY"; may be repeated',
                "text",
                "NAME=VARIABLE",
                repeat=True,
            ),
            Option(
                ("--content",),
                "whether texts go along: yes, or no for names, figures and times alone",
                "text",
                "HOW",
                choices=("yes", "no"),
            ),
            Option(
                ("--redact",),
                "a second rule: pii, kinds such as email,phone, or none",
                "text",
                "RULE",
            ),
            Option(("--service",), "name of the service in the collector", "text", "NAME"),
            Option(("--deployment",), "where it runs, such as production", "text", "NAME"),
            Option(
                ("--openinference",), "write OpenInference's names too, which Phoenix shows", "flag"
            ),
        ),
        example="%trace send http://localhost:6006 --openinference --once",
    ),
    Command(
        "trace",
        "import",
        "Import traces of other programs: OTLP as JSON or protobuf, or what export wrote. Twice is once.",
        (Argument("path", "file to read", "+"),),
        (
            Option(("--strict",), "import nothing if anything cannot be read", "flag"),
            OUT,
        ),
        example="%trace import traces.jsonl",
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
