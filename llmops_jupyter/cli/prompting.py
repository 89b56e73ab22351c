"""`llmops demo`, and `llmops prompts run`: what runs a model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmops_jupyter.cli import output
from llmops_jupyter.commands import Result, options
from llmops_jupyter.commands.parsing import add_arguments, literal
from llmops_jupyter.commands.prompt import settings_of
from llmops_jupyter.errors import OptionError

if TYPE_CHECKING:
    from llmops_jupyter.cli.program import Terminal
    from llmops_jupyter.prompts import PromptVersion

DEMO_NAME = "demo"
DEMO_TEMPLATE = (
    "system: You are a helpful assistant. Answer in one short sentence.\nuser: {{ question }}\n"
)
# Options that name what only a notebook has, or that mean something else in a terminal.
NOTEBOOK_ONLY = (
    *("out", "schema", "over", "no_stream"),
    *("tools", "tool_choice", "max_steps", "approve"),
)
DEMO_QUESTION = "What is the capital of France?"


def add_commands(groups: Any, common: argparse.ArgumentParser) -> None:
    """Add `llmops demo`."""
    demo = groups.add_parser(
        "demo",
        parents=[common],
        allow_abbrev=False,
        help="answer a question with a local model, keep the version and the trace",
    )
    demo.add_argument("question", nargs="?", default=DEMO_QUESTION)
    demo.add_argument("-m", "--model", help="model to ask")
    demo.set_defaults(_call=run_demo)


def add_run(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `llmops prompts run`."""
    command = options.commands_of("prompt")["run"]
    sub = commands.add_parser(
        "run", help=literal(command.summary), parents=[common], allow_abbrev=False
    )
    kept = tuple(o for o in command.options if o.name not in NOTEBOOK_ONLY)
    add_arguments(sub, options.Command("prompt", "run", command.summary, command.arguments, kept))
    sub.add_argument("--var", action="append", metavar="NAME=VALUE", help="a variable; repeatable")
    sub.add_argument("--over", metavar="DATA", help="data set to run over, a row at a time")
    sub.set_defaults(_call=run_prompt)


def variables_of(pairs: Sequence[str]) -> dict[str, str]:
    """Variables from NAME=VALUE."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name.isidentifier() and equals):
            raise OptionError(f"{pair!r} is no variable. Write --var NAME=VALUE.")
        found[name] = value
    return found


def run_demo(terminal: Terminal, values: Mapping[str, Any]) -> Result:
    """Answer a question at temperature 0, so that the same question gets the same answer."""
    prompts = terminal.workspace.prompts
    version = prompts.save(DEMO_NAME, DEMO_TEMPLATE, note="made by llmops demo")
    chosen = {"model": values["model"], "temperature": 0.0, "max_tokens": 128}
    result = _stream(terminal, version, {"question": values["question"]}, chosen, values)
    trace = terminal.workspace.traces.get(result.value["trace_id"])
    path = terminal.workspace.path
    return Result(
        {**result.value, "store": str(path)},
        (*result.views, "", trace, "", f"kept in {path}"),
    )


def run_prompt(terminal: Terminal, values: Mapping[str, Any]) -> Result:
    """Run a kept version once, or over a data set."""
    prompts = terminal.workspace.prompts
    version = prompts.get(values["ref"])
    chosen = settings_of(values)
    if not values["over"]:
        if values["on"]:
            raise OptionError("A cluster computes many rows: --on goes with --over DATA.")
        return _stream(terminal, values["ref"], terminal.variables, chosen, values)
    show = terminal.progress()
    table = prompts.map(
        version,
        values["over"],
        variables=terminal.variables,
        progress=lambda p: show(str(p)),
        on=values["on"],
        **chosen,
    )
    lines = [f"{i}\t{' '.join(c.text.split())}" for i, c in zip(table.row_ids, table, strict=True)]
    failures = [f"row {f.row_id}: {f.error}" for f in table.failures]
    return Result(table, ("\n".join([*lines, *failures]),))


def _stream(
    terminal: Terminal,
    version: PromptVersion | str,
    variables: Mapping[str, Any],
    chosen: Mapping[str, Any],
    values: Mapping[str, Any],
) -> Result:
    from llmops_jupyter.render import quiet_line

    prompts = terminal.workspace.prompts

    def write(text: str) -> None:
        if not values["json"]:
            sys.stdout.write(output.for_reader(text))

    with prompts.stream(version, variables, unit=values.get("unit"), **chosen) as run:
        for piece in run:
            write(piece)
            sys.stdout.flush()
    prompts.remember(run)
    done = run.completion
    write("\n")
    facts = {
        "text": done.text,
        "prompt_version": done.prompt_version,
        "model": done.model,
        "trace_id": done.trace_id,
        "finish_reason": done.finish_reason,
        "reasoning": done.reasoning,
        "cost": done.cost,
        "verdicts": [verdict.as_dict() for verdict in done.verdicts],
        "usage": vars(done.usage),
        "timing": vars(done.timing),
    }
    return Result(facts, (f"[{quiet_line(done)}]",))
