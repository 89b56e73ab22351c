"""The commands of %data."""

from __future__ import annotations

from llmops_jupyter.commands.arguments import (
    DATA_REF,
    LIMIT,
    MODEL,
    NEW_DATA,
    NOTE,
    OUT,
    TRACE_FILTERS,
    later,
)
from llmops_jupyter.commands.command import Argument, Command, Option

COMMANDS: tuple[Command, ...] = (
    Command("data", "list", "Show all data sets.", example="%data list"),
    Command(
        "data",
        "add",
        "Keep rows as a version of a data set.",
        (
            NEW_DATA,
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
        (DATA_REF, later("data")),
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
        "prepare",
        "Clean rows for fine-tuning, with a report; what is left out is kept with the rule that did it.",
        (Argument("data", "a data set, a variable with rows, or a file", complete="rows"),),
        (
            MODEL,
            Option(
                ("--name",), "name of the cleaned data set; left out: DATA.clean", "text", "NAME"
            ),
            Option(
                ("--format",),
                "how rows are read; left out: by their columns",
                "text",
                "FORMAT",
                choices=("auto", "chat", "completion", "text"),
            ),
            Option(
                ("--prompt",), "column of the question, the messages or the text", "text", "COLUMN"
            ),
            Option(("--answer",), "column of the answer", "text", "COLUMN"),
            Option(("--system",), "system message of conversations that have none", "text", "TEXT"),
            Option(
                ("--against",),
                "evaluation set whose rows must not be learned; may be repeated",
                "text",
                "DATA",
                "rows",
                repeat=True,
            ),
            Option(
                ("--pii",),
                "personal data: keep and count it (left out), redact it, drop its rows, or redact what Presidio "
                "finds too",
                "text",
                "HOW",
                choices=("keep", "redact", "drop", "presidio"),
            ),
            Option(("--language",), "languages that stay, such as en or en,de", "text", "CODES"),
            Option(
                ("--near",),
                "share of equal words that makes a near-duplicate; left out: 0.9",
                "float",
                "SHARE",
            ),
            Option(("--no-clean",), "repair no encodings, invisible characters and spaces", "flag"),
            Option(("--no-quality",), "apply no rules of quality", "flag"),
            Option(
                ("--cap",),
                "keep at most N rows of each value of a column, or of each 'answer'; may be repeated",
                "text",
                "COLUMN=N",
                repeat=True,
            ),
            Option(
                ("--keep",),
                "count the rows of this rule and keep them; may be repeated",
                "text",
                "RULE",
                repeat=True,
            ),
            Option(
                ("--show",), "show the report of DATA, which an earlier preparation made", "flag"
            ),
            OUT,
        ),
        example="%data prepare tickets --against tickets.test --pii redact -o prepared",
    ),
    Command(
        "data",
        "from-traces",
        "Make a data set from traces.",
        (NEW_DATA,),
        (LIMIT, *TRACE_FILTERS),
        example="%data from-traces to-fix -n 200 --score thumb=down",
    ),
)
