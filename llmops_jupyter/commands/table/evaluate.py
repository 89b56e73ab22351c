"""The commands of %evaluate."""

from __future__ import annotations

from llmops_jupyter.commands.arguments import (
    ADAPTER,
    DATA,
    EXACT,
    EXPECTED,
    FRESH,
    GUARD,
    LIMIT,
    METRIC,
    MODEL,
    ON,
    OUT,
    SAMPLING,
)
from llmops_jupyter.commands.command import Argument, Command, Option

CLUSTER = Option(
    ("--cluster",), "column of what rows belong together, such as document", "text", "COLUMN"
)
REPEAT = Option(("--repeat",), "answers for each row, where they are drawn", "int", "N")
RUN = Argument("run", "number of a run, see %evaluate list", complete="run")
HOW = (DATA, METRIC, EXPECTED, MODEL, *SAMPLING, EXACT, ADAPTER, GUARD, REPEAT, CLUSTER, FRESH, OUT)
CONFIDENCE = Option(("--confidence",), "of all looks together; left out: 0.95", "float", "SHARE")
POWER = Option(
    ("--power",), "probability of finding the difference; left out: 0.8", "float", "SHARE"
)
DETECT = Option(("--detect",), "the difference that you want to find, such as 0.05", "float", "D")

COMMANDS: tuple[Command, ...] = (
    Command(
        "evaluate",
        "run",
        "Run a variant on rows and score its answers; what was recorded is not computed again.",
        (
            Argument(
                "variant",
                "NAME@VERSION, NAME:model=M,temperature=0, column=NAME, or a variable",
                complete="prompt",
            ),
        ),
        (*HOW, ON),
        "%evaluate run ask@2 --data qa --metric exact --metric rouge-l",
    ),
    Command(
        "evaluate",
        "compare",
        "Compare the first variant (or run) with each other one: by how much, how sure, or not yet.",
        (Argument("variants", "two or more variants, or numbers of runs", "+", "prompt"),),
        (
            *HOW,
            Option(("--slices",), "column whose values are looked at one by one", "text", "COLUMN"),
            Option(("--margin",), "loss that does not matter: 'not worse'", "float", "D"),
            DETECT,
            CONFIDENCE,
            Option(
                ("--correction",),
                "for several comparisons at once; left out: holm",
                "text",
                "HOW",
                choices=("holm", "benjamini-hochberg", "none"),
            ),
            Option(
                ("--final",), "no rows will be added: spend the whole error on this look", "flag"
            ),
            Option(("--common",), "compare the rows that both runs have", "flag"),
        ),
        "%evaluate compare ask@1 ask@2 --data qa --metric exact --slices topic",
    ),
    Command(
        "evaluate",
        "plan",
        "Say what a comparison on these rows can show, before anything runs.",
        (Argument("data", "data set, variable with rows, or a number of rows", complete="rows"),),
        (
            DETECT,
            Option(
                ("--changed",),
                "share of rows that will change (yes-or-no metrics)",
                "float",
                "SHARE",
            ),
            Option(("--spread",), "standard deviation of the rows' differences", "float", "S"),
            POWER,
            CONFIDENCE,
            OUT,
        ),
        "%evaluate plan qa --detect 0.05",
    ),
    Command("evaluate", "list", "Show the latest runs.", (), (LIMIT,), "%evaluate list"),
    Command(
        "evaluate",
        "show",
        "Show a run with its scores, the lowest first.",
        (RUN,),
        (METRIC, LIMIT, OUT),
        "%evaluate show 3 --metric exact",
    ),
    Command(
        "evaluate",
        "label",
        "Label the answers of a run, or choose between those of two; blind, with keys, kept at once.",
        (Argument("runs", "number of a run, or of two runs on the same rows", "+", "run"),),
        (
            Option(
                ("--name",), "name of the labels; left out: correct, or preference", "text", "NAME"
            ),
            Option(
                ("--labels",),
                "labels, of two the first counts 1; left out: good,bad",
                "text",
                "A,B",
            ),
            Option(("--by",), "annotator; left out: who is logged in", "text", "WHO"),
            Option(
                ("--order",),
                "random, or first where judges are least sure",
                "text",
                "HOW",
                choices=("random", "uncertain"),
            ),
            Option(("--seed",), "of the order", "int", "S"),
            Option(("--limit",), "how many answers at most", "int", "N"),
            Option(
                ("--overlap",),
                "share of answers that all annotators get; left out, all get the same",
                "float",
                "SHARE",
            ),
            OUT,
        ),
        "%evaluate label 3 --name correct --labels good,bad --by ann",
    ),
    Command(
        "evaluate",
        "agreement",
        "Show how far annotators agree, and a judge with them.",
        (RUN, Argument("name", "name of the labels")),
        (
            Option(
                ("--judge",), "metric of the run to compare with people", "text", "METRIC", "metric"
            ),
            OUT,
        ),
        "%evaluate agreement 3 correct --judge judge:relevance",
    ),
    Command(
        "evaluate",
        "correct",
        "Correct a judge's mean over a run by labels of answers drawn at random.",
        (
            RUN,
            Argument("judge", "metric of the run", complete="metric"),
            Argument("name", "name of the labels"),
        ),
        (OUT,),
        "%evaluate correct 3 judge:relevance correct",
    ),
    Command(
        "evaluate",
        "gate",
        "Run a suite and decide its gates, by the bounds of intervals.",
        (Argument("suite", "YAML file, or the name of a kept suite"),),
        (
            Option(("--junit",), "write JUnit's XML", "text", "FILE"),
            Option(("--markdown",), "append a summary in Markdown", "text", "FILE"),
            OUT,
        ),
        "%evaluate gate suite.yaml",
    ),
    Command(
        "evaluate",
        "optimize",
        "Search for a better instruction and few-shot set, and compare it on rows it never saw.",
        (Argument("ref", "the prompt to improve", complete="prompt"),),
        (
            DATA,
            METRIC,
            EXPECTED,
            Option(
                ("--held-out",),
                "rows of the comparison; left out: 30 % of the rows",
                "text",
                "DATA",
                "rows",
            ),
            Option(("--budget",), "answers that may be computed; left out: 500", "int", "N"),
            Option(("--proposer",), "model that proposes instructions", "text", "MODEL", "model"),
            Option(("--shots",), "sizes of few-shot sets, such as 2,4; 0 for none", "text", "N,N"),
            Option(("--think",), "try a chain of thought as well", "flag"),
            CLUSTER,
            MODEL,
            *SAMPLING,
            Option(("--save",), "keep the result as a version of this prompt", "text", "NAME"),
            OUT,
        ),
        "%evaluate optimize ask --data qa.train --held-out qa.test --metric exact --budget 400",
    ),
    Command(
        "evaluate",
        "forget",
        "Delete a run's answers with their scores and labels, where no other run has them.",
        (RUN,),
        (),
        "%evaluate forget 3",
    ),
    Command("evaluate", "metrics", "Show the metrics that are there.", example="%evaluate metrics"),
)
