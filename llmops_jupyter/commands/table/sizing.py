"""The commands of %deploy that measure a server and size a deployment."""

from __future__ import annotations

from llmops_jupyter.commands.arguments import OUT
from llmops_jupyter.commands.command import Argument, Command, Option

LIMITS = (
    Option(("--ttft",), "seconds to the first token that a good answer keeps", "float", "S"),
    Option(
        ("--itl",),
        "seconds from token to token that it keeps, averaged over the answer",
        "float",
        "S",
    ),
)
PLOT = Option(("--plot",), "write the picture to this file", "text", "FILE.png")

BENCH = Command(
    "deploy",
    "bench",
    "Load a server and measure tokens a second, first token, token to token, good answers and faults.",
    (
        Argument(
            "target",
            "address of a server with OpenAI's interface, folder of a bundle, or a deployment",
            complete="release",
        ),
    ),
    (
        Option(
            ("--clients",),
            "loops of so many clients; 1,4,16,64 if neither clients nor rates are given",
            "text",
            "N,N…",
        ),
        Option(("--rate",), "Poisson arrivals, in requests a second", "text", "R,R…"),
        Option(("--duration",), "seconds of each level; 30 if left out", "float", "S"),
        Option(("--warmup",), "seconds before each level; 5 if left out", "float", "S"),
        Option(
            ("--data",),
            "data set, or variable, with prompts; a fixed set if left out",
            "text",
            "DATA",
            "rows",
        ),
        Option(("--column",), "column of the prompts", "text", "COLUMN"),
        Option(("--max-tokens",), "longest answer in tokens; 64 if left out", "int", "N"),
        Option(("--temperature",), "of the sampling; 0 if left out", "float", "T"),
        *LIMITS,
        Option(("--timeout",), "seconds after which a request is given up; 120", "float", "S"),
        Option(
            ("--retries",),
            "how often a full server (429, 503) is asked again, after the time that it says; 8",
            "int",
            "N",
        ),
        Option(("--seed",), "of arrivals and of the order of prompts; 0", "int", "N"),
        Option(("--model",), "name of the model there; the first if left out", "text", "ID"),
        Option(
            ("--key-env",), "variable of the environment that holds the key", "text", "VARIABLE"
        ),
        Option(("--file",), "write the result as JSON to this file", "text", "FILE.json"),
        PLOT,
        OUT,
    ),
    example="%deploy bench http://localhost:8000/v1 --clients 1,4,16 --rate 0.5 --ttft 1",
)
SIZE = Command(
    "deploy",
    "size",
    "Say how many replicas a load needs, by a simulation fitted to what was measured, and what tokens cost then.",
    (),
    (
        Option(("--rate",), "requests a second", "float", "R"),
        *LIMITS,
        Option(
            ("--from",),
            "number of a measured load, what was loaded, or a file that bench wrote; the newest if left out",
            "text",
            "RUN",
        ),
        Option(("--replicas",), "only this many", "int", "N"),
        Option(("--slots",), "requests that a replica runs at once; found if left out", "int", "N"),
        Option(
            ("--route",),
            "how requests find a replica; least if left out",
            "text",
            choices=("least", "random", "round"),
        ),
        Option(("--watts",), "that a replica's machine draws while it computes", "float", "W"),
        Option(("--dollars-per-kwh",), "of electricity", "float", "D"),
        Option(("--dollars-per-hour",), "of a replica's machine", "float", "D"),
        PLOT,
        OUT,
    ),
    example="%deploy size --rate 2 --ttft 1 --dollars-per-hour 0.4",
)

COMMANDS: tuple[Command, ...] = (BENCH, SIZE)
