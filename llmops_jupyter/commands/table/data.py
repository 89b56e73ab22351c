"""The commands of %data."""

from __future__ import annotations

from llmops_jupyter.commands.arguments import (
    DATA_REF,
    LIMIT,
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
        "from-traces",
        "Make a data set from traces.",
        (NEW_DATA,),
        (LIMIT, *TRACE_FILTERS),
        example="%data from-traces to-fix -n 200 --score thumb=down",
    ),
)
