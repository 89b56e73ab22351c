"""The commands of %finetune."""

from __future__ import annotations

from dataclasses import fields

from llmops_jupyter.commands.arguments import MODEL, OUT
from llmops_jupyter.commands.command import Argument, Command, Option
from llmops_jupyter.finetune.recipe import CHOICES, KINDS, Recipe

RUN = Argument("run", "a run's id or its adapter's name; the newest if left out", "?", "training")
BACKGROUND = Option(
    ("--background",), "return at once; %finetune status shows how far it is", "flag"
)
RECIPE = tuple(
    Option(
        (f"--{f.name.replace('_', '-')}",),
        f.metadata["help"],
        KINDS[f.name],
        choices=CHOICES.get(f.name, ()),
    )
    for f in fields(Recipe)
)
FORMAT = (
    Option(
        ("--format",),
        "how rows are read",
        "text",
        choices=("auto", "chat", "completion", "text"),
    ),
    Option(("--prompt",), "column of what is asked", "text", "COLUMN"),
    Option(("--answer",), "column of answers", "text", "COLUMN"),
    Option(
        ("--system",),
        "system message of examples that have none; a text, or a variable with one",
        "text",
        "TEXT",
    ),
)

COMMANDS: tuple[Command, ...] = (
    Command(
        "finetune",
        "run",
        "Train an adapter on the answers of a data set, and register it.",
        (
            Argument("name", "name of the adapter"),
            Argument("data", "data set, or variable with rows", complete="rows"),
        ),
        (
            MODEL,
            Option(
                ("--eval",), "data set, or variable with rows, to look at", "text", "DATA", "rows"
            ),
            *FORMAT,
            BACKGROUND,
            Option(("--estimate",), "say what it would take, and do nothing", "flag"),
            *RECIPE,
            Option(
                ("--weights",),
                "Hugging Face folder that the model was made from, where GGUF cannot be trained",
                "text",
                "FOLDER",
            ),
            Option(("--trainer",), "what trains", "text", choices=("auto", "torch", "mlx")),
            OUT,
        ),
        example="%finetune run tickets support-mails -m smollm2 --epochs 3",
    ),
    Command(
        "finetune",
        "status",
        "Show how far a run is.",
        (RUN,),
        (OUT,),
        example="%finetune status tickets",
    ),
    Command(
        "finetune",
        "stop",
        "End a run after the step that it takes; what was best becomes its adapter.",
        (RUN,),
        example="%finetune stop tickets",
    ),
    Command(
        "finetune",
        "resume",
        "Go on with a run that was stopped or killed, from its last checkpoint.",
        (RUN,),
        (BACKGROUND, OUT),
        example="%finetune resume tickets",
    ),
    Command(
        "finetune",
        "panel",
        "Show a run in a panel: its curve while it grows, its samples, and buttons that stop it or go on.",
        (RUN,),
        example="%finetune panel tickets",
    ),
    Command("finetune", "list", "Show all runs.", example="%finetune list"),
    Command(
        "finetune",
        "show",
        "Show a run, and compare its adapter with the base on rows that were not learned.",
        (RUN,),
        (
            Option(
                ("--metric",),
                "what scores the answers; exact or rouge-l if left out",
                "text",
                "METRIC",
                "metric",
            ),
            Option(
                ("--general",),
                "data set of something else, to show what was forgotten",
                "text",
                "DATA",
                "rows",
            ),
            Option(("--no-compare",), "only the curve and the samples", "flag"),
            OUT,
        ),
        example="%finetune show tickets --general small-talk",
    ),
    Command(
        "finetune",
        "remove",
        "Delete a run with its checkpoints and its curve; its adapter stays.",
        (Argument("run", "a run's id or its adapter's name", complete="training"),),
        (Option(("--with-adapter",), "delete its adapter too", "flag"),),
        example="%finetune remove tickets",
    ),
    Command(
        "finetune",
        "export",
        "Write an adapter for use elsewhere, and measure what was written.",
        (
            Argument("name", "an adapter or its run", complete="adapter"),
            Argument("folder", "folder to be made"),
        ),
        (
            Option(
                ("--to",),
                "adapter: GGUF and PEFT; gguf: merged into one file; ollama; vllm",
                "text",
                choices=("adapter", "gguf", "ollama", "vllm"),
            ),
            Option(
                ("--kind",),
                "weights of a merged file, such as Q8_0",
                "text",
                "KIND",
                "quantization",
            ),
            Option(("--merged",), "for ollama and vllm: merge the adapter into the model", "flag"),
            Option(("--scale",), "of the adapter; 1 if left out", "float", "S"),
            Option(("--overwrite",), "replace an earlier export in the folder", "flag"),
            Option(("--no-check",), "do not measure what was written", "flag"),
            OUT,
        ),
        example="%finetune export tickets out/tickets --to ollama",
    ),
)
