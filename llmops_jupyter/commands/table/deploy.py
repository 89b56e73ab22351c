"""The commands of %deploy."""

from __future__ import annotations

from llmops_jupyter.commands.arguments import (
    ADAPTER,
    DOCUMENTS,
    EXACT,
    GUARD,
    LIMIT,
    MODEL,
    NOTE,
    OUT,
    SAMPLING,
    TIMEOUT,
)
from llmops_jupyter.commands.command import Argument, Command, Option

NAME = Argument("name", "name of the deployment", complete="deployment")
RELEASE = Argument(
    "ref", "NAME, NAME@RELEASE, NAME@live, or the folder of a bundle", complete="release"
)
PIPELINE = Argument("file", "YAML; deploy.yaml if left out", "?")
EXPECTED = Option(
    ("--expected",),
    "release that you believe to be live; with another one nothing is done",
    "text",
    "NAME@RELEASE",
)

COMMANDS: tuple[Command, ...] = (
    Command(
        "deploy",
        "build",
        "Put prompt, model, adapter, index and policy into a bundle, and register it as a release.",
        (
            NAME,
            Argument(
                "prompt", "prompt that is deployed; the one of that name if left out", "?", "prompt"
            ),
        ),
        (
            MODEL,
            ADAPTER,
            GUARD,
            *DOCUMENTS,
            *SAMPLING,
            EXACT,
            TIMEOUT,
            Option(
                ("--weights",),
                "how the bundle has the model: by its digest, a copy, or a hard link",
                "text",
                choices=("reference", "copy", "link"),
            ),
            Option(
                ("--run",),
                "evaluation run that speaks for it; may be repeated",
                "text",
                "N",
                "run",
                repeat=True,
            ),
            Option(
                ("--suite",),
                "suite of gates that is run on it first; may be repeated",
                "text",
                "SUITE",
                repeat=True,
            ),
            Option(
                ("--folder",), "folder to be made; beside the store if left out", "text", "FOLDER"
            ),
            Option(("--overwrite",), "replace another bundle in that folder", "flag"),
            OUT,
        ),
        example="%deploy build support support@production -m smollm2 --guard standard",
    ),
    Command(
        "deploy",
        "run",
        "Run a pipeline: test, evaluate, gate, package, stage, canary, promote; goes on where it was broken off.",
        (PIPELINE,),
        (
            Option(
                ("--until",),
                "last step that is run",
                "text",
                choices=("test", "evaluate", "gate", "package", "stage", "canary", "promote"),
            ),
            Option(("--fresh",), "run every step, also those that succeeded before", "flag"),
            Option(("--again",), "promote also what was rolled back before", "flag"),
            Option(
                ("--folder",),
                "folder of the bundle; beside the store if left out",
                "text",
                "FOLDER",
            ),
            Option(("--markdown",), "append a report in Markdown to this file", "text", "FILE"),
            OUT,
        ),
        example="%deploy run deploy.yaml",
    ),
    Command(
        "deploy",
        "promote",
        "Make a release live, or give it a share of the units.",
        (RELEASE,),
        (
            Option(
                ("--canary",), "share of the units, such as 0.1; the rest stays", "float", "SHARE"
            ),
            Option(("--stage",), "only put it where it waits", "flag"),
            EXPECTED,
            NOTE,
            Option(("--anyway",), "also if its gate did not pass", "flag"),
            OUT,
        ),
        example="%deploy promote support@3 --canary 0.1",
    ),
    Command(
        "deploy",
        "rollback",
        "Make live what was live before, in one step.",
        (NAME,),
        (
            Option(("--canary",), "only take the canary back", "flag"),
            EXPECTED,
            NOTE,
            OUT,
        ),
        example="%deploy rollback support --note 'answers in French'",
    ),
    Command(
        "deploy",
        "status",
        "Show what is live, staged and canary, how the canary does, and how far the pipeline is.",
        (Argument("name", "name of the deployment; all if left out", "?", "deployment"),),
        (
            Option(("--log",), "also what each step of the last pipeline told", "flag"),
            OUT,
        ),
        example="%deploy status support",
    ),
    Command(
        "deploy",
        "list",
        "Show the deployments, or the releases of one.",
        (Argument("name", "name of a deployment; all if left out", "?", "deployment"),),
        example="%deploy list support",
    ),
    Command(
        "deploy",
        "history",
        "Show who moved which release, when, why, and on which evidence.",
        (NAME,),
        (LIMIT, OUT),
        example="%deploy history support",
    ),
    Command(
        "deploy",
        "ci",
        "Write a workflow for GitHub Actions or GitLab CI that runs the pipeline on an exported folder.",
        (
            Argument("system", "github or gitlab"),
            Argument("pipeline", "YAML; deploy.yaml if left out", "?"),
        ),
        (
            Option(
                ("--exported",),
                "folder that llmops export wrote; llmops if left out",
                "text",
                "FOLDER",
            ),
            Option(
                ("--documents",),
                "folder of the index's documents in the repository; may be repeated",
                "text",
                "FOLDER",
                repeat=True,
            ),
            Option(("--python",), "version of Python; 3.12 if left out", "text", "VERSION"),
            Option(
                ("--file",), "file to write; left out: the usual one of that system", "text", "FILE"
            ),
            Option(("--show",), "print it and write nothing", "flag"),
            Option(("--overwrite",), "replace the file if it is there", "flag"),
        ),
        example="%deploy ci github",
    ),
    Command(
        "deploy",
        "serve",
        "Serve a release, or the folder of a bundle, with OpenAI's interface.",
        (RELEASE,),
        (
            Option(("--host",), "address to listen at; 127.0.0.1 if left out", "text", "HOST"),
            Option(("--port",), "port to listen at; 8000 if left out", "int", "PORT"),
        ),
        example="%deploy serve support",
    ),
    Command(
        "deploy",
        "stop",
        "End what serves a deployment, once the requests that run have their answers.",
        (NAME,),
        example="%deploy stop support",
    ),
    Command(
        "deploy",
        "export",
        "Write a release for another engine: a folder for vLLM, or an application for a Ray cluster.",
        (RELEASE, Argument("folder", "folder to be made")),
        (
            Option(("--target",), "vllm if left out", "text", choices=("vllm", "ray")),
            Option(("--merged",), "vllm: add the adapter to the weights", "flag"),
            Option(("--served-as",), "vllm: id of the model in requests", "text", "ID"),
            Option(
                ("--arguments",), "vllm: further arguments of vllm serve, in quotes", "text", "TEXT"
            ),
            Option(("--replicas",), "ray: how many there always are", "int", "N"),
            Option(("--min-replicas",), "ray: at least, by the load", "int", "N"),
            Option(("--max-replicas",), "ray: at most, by the load", "int", "N"),
            Option(("--at",), "ray: where the folder lies on each node", "text", "FOLDER"),
            Option(("--host",), "ray: address of the head node to listen at", "text", "HOST"),
            Option(("--port",), "ray: port of it", "int", "PORT"),
            Option(("--keys",), "ray: file of the keys on each node", "text", "FILE"),
            Option(("--model",), "ray: file of the weights on each node", "text", "FILE"),
            Option(("--overwrite",), "replace an earlier export in that folder", "flag"),
            OUT,
        ),
        example="%deploy export support@3 out/vllm --target vllm",
    ),
    Command(
        "deploy",
        "use",
        "Register a deployment that is served as a model, so that prompts and evaluations run on it.",
        (
            NAME,
            Argument("url", "where it is served; left out, where this machine serves it", "?"),
        ),
        (
            Option(("--model",), "its id in requests; its name if left out", "text", "ID"),
            Option(("--key-env",), "variable of the environment with the key", "text", "VAR"),
            Option(("--as",), "name of the model; NAME-served if left out", "text", "MODEL"),
            OUT,
        ),
        example="%deploy use support http://127.0.0.1:8000/v1 --key-env SUPPORT_KEY",
    ),
)
