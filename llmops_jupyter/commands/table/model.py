"""The commands of %model."""

from __future__ import annotations

from dataclasses import replace

from llmops_jupyter.commands.arguments import (
    ALIAS,
    DATA,
    EXPECTED,
    FRESH,
    METRIC,
    MODEL_REF,
    OUT,
    REGISTERED_NAME,
    REMOVE,
    SAMPLING,
)
from llmops_jupyter.commands.command import Argument, Command, Option

COMMANDS: tuple[Command, ...] = (
    Command(
        "model",
        "list",
        "Show registered models and adapters, and with --found those that could be added.",
        options=(
            Option(("--found",), "also look in packages and in the folders of other tools", "flag"),
        ),
        example="%model list --found",
    ),
    Command(
        "model",
        "add",
        "Register a GGUF file where it lies, or a model that an OpenAI-compatible endpoint runs.",
        (
            Argument(
                "source",
                "a path, package:NAME, hf:org/repo/file, ollama:NAME or lmstudio:PATH; for an endpoint "
                "its address, or a name before it",
                complete="source",
            ),
            Argument("address", "address of an endpoint, such as http://localhost:8000/v1", "?"),
        ),
        (
            REGISTERED_NAME,
            Option(("--model",), "which of an endpoint's models", "text", "ID"),
            Option(
                ("--key-env",), "environment variable that holds the endpoint's key", "text", "VAR"
            ),
            Option(
                ("--context",), "tokens of an endpoint's context, if it does not say", "int", "N"
            ),
            Option(("--concurrency",), "requests to an endpoint at once; left out: 8", "int", "N"),
        ),
        example="%model add big http://localhost:8000/v1 --model qwen3-32b --key-env MY_KEY",
    ),
    Command(
        "model",
        "pull",
        "Download a GGUF file from a Hugging Face hub and register it.",
        (Argument("source", "hf:org/repo/file.gguf"),),
        (
            REGISTERED_NAME,
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
        (MODEL_REF, ALIAS),
        (REMOVE,),
        example="%model alias smollm2@1 production",
    ),
    Command(
        "model",
        "quantize",
        "Make a copy of a model with weights of another kind, and register it.",
        (MODEL_REF, Argument("kind", "such as Q8_0 or Q4_K_M", complete="quantization")),
        (Option(("--name",), "name of the copy; left out: NAME-KIND", "text", "NEW"),),
        example="%model quantize smollm2 Q8_0",
    ),
    Command(
        "model",
        "tune",
        "Measure a model and quantised copies of it on this machine, and register the best.",
        (replace(MODEL_REF, count="?"),),
        (
            Option(
                ("--text",),
                "text file to measure perplexity on; left out: a bundled one",
                "text",
                "FILE",
            ),
            Option(
                ("--allow-loss",),
                "percent of perplexity that may be lost; left out: 1",
                "float",
                "PERCENT",
            ),
            Option(("--only",), "kinds to try, such as Q8_0,Q4_0", "text", "KINDS"),
            Option(("--no-register",), "measure only", "flag"),
            OUT,
        ),
        example="%model tune smollm2",
    ),
    Command(
        "model",
        "compare",
        "Compare models on rows of yours: quality with intervals, speed, memory.",
        (Argument("models", "the first is what the others are compared with", "+", "model"),),
        (
            DATA,
            Option(
                ("--prompt",),
                "prompt to ask; left out: the rows' prompt, question, input or text as it is",
                "text",
                "REF",
                "prompt",
            ),
            METRIC,
            EXPECTED,
            *(o for o in SAMPLING if o.name in ("temperature", "max_tokens", "seed")),
            FRESH,
            OUT,
        ),
        example="%model compare smollm2 smollm2-q8_0 --data qa --prompt ask --metric exact",
    ),
    Command(
        "model",
        "check",
        "Measure whether an adapter does the same on a copy of a model as on the model itself.",
        (
            Argument("copy", "a copy that quantize or tune made", complete="model"),
            Argument("adapter", "NAME or NAME:SCALE", complete="adapter"),
        ),
        example="%model check smollm2-q8_0 style",
    ),
    Command("model", "status", "Show what is loaded and how.", example="%model status"),
    Command(
        "model",
        "forget",
        "Delete the beginnings of prompts that are saved on disk for the next kernel.",
        example="%model forget",
    ),
    Command(
        "model",
        "remove",
        "Take a model off the list; the file stays.",
        (MODEL_REF,),
        example="%model remove old-model",
    ),
)
