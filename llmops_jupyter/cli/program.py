"""Arguments of the `llmops` command, made from the magics' option table, and its exit status."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from llmops_jupyter import __version__
from llmops_jupyter.cli import (
    advice,
    benching,
    doctor,
    gating,
    monitoring,
    output,
    prompting,
    serving,
    upkeep,
)
from llmops_jupyter.commands import Advice, Result, Rows, options
from llmops_jupyter.commands.parsing import add_arguments, literal, options_first
from llmops_jupyter.errors import LLMOpsError, OptionError

if TYPE_CHECKING:
    from llmops_jupyter.workspace import Workspace

GROUPS = {
    "prompt": "prompts",
    "model": "models",
    "data": "data",
    "rag": "rag",
    "finetune": "finetune",
    "evaluate": "evaluate",
    "guard": "guard",
    "monitor": "monitor",
    "deploy": "deploy",
    "trace": "traces",
}
ONLY_IN_NOTEBOOKS = {
    ("prompt", "load"),
    ("prompt", "panel"),
    ("rag", "panel"),
    ("finetune", "panel"),
    ("monitor", "watch"),
    ("monitor", "panel"),
    ("trace", "record"),
    ("trace", "replay"),
    ("trace", "last"),
}
# What runs a prompt in a terminal stands in `prompting`.
RUN = ("prompt", "run")
# What asks a person stands in `labelling`.
LABEL = ("evaluate", "label")
# What only a kernel that lives on can do.
OPTIONS_IN_NOTEBOOKS = {("trace", "send"): ("background", "stop")}
ENDINGS = {
    (
        "trace",
        "send",
    ): "With --once it ends with 0 all sent, 1 an error, 2 some were refused, 3 the endpoint did not answer "
    "and the rest waits. Without, it goes on until it is interrupted."
}
INTERRUPTED = 130


class Terminal:
    """Where commands run here: an opened workspace, variables from ``--var``, progress on stderr."""

    def __init__(self, path: str | None, variables: Mapping[str, Any], *, quiet: bool) -> None:
        self.variables = variables
        self.quiet = quiet
        self._path = path
        self._opened: Workspace | None = None
        self._shown = False

    @property
    def workspace(self) -> Workspace:
        from llmops_jupyter.workspace import open_workspace

        if self._opened is None:
            self._opened = open_workspace(self._path)
        return self._opened

    def progress(self) -> Callable[[str], None]:
        def show(text: str) -> None:
            if not self.quiet and sys.stderr.isatty():
                sys.stderr.write(f"\r{output.for_reader(text, sys.stderr)}\x1b[K")
                self._shown = True

        return show

    def close(self) -> None:
        if self._shown:
            sys.stderr.write("\n")
        if self._opened is not None:
            self._opened.close()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise OptionError(f"{message[:1].upper()}{message[1:]}. See {self.prog} --help")


def build() -> argparse.ArgumentParser:
    """The parser with all subcommands."""
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument("--store", metavar="PATH", help="store file or folder to use")
    common.add_argument("--json", action="store_true", help="print JSON")
    parser = _Parser(
        prog="llmops", description="LLM operations on local models.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"llmops-jupyter {__version__}")
    groups = parser.add_subparsers(dest="group", required=True, metavar="COMMAND")
    _add_group_commands(groups, common)
    for module in (prompting, gating, serving, benching, doctor, upkeep):
        module.add_commands(groups, common)
    return parser


def _add_group_commands(groups: Any, common: argparse.ArgumentParser) -> None:
    for magic, group in GROUPS.items():
        entry = groups.add_parser(group, help=literal(f"what %{magic} does"), allow_abbrev=False)
        if magic == "monitor":
            monitoring.add_watch(entry)
        commands = entry.add_subparsers(
            dest="command", required=magic != "monitor", metavar="COMMAND"
        )
        for command in options.commands_of(magic).values():
            if (magic, command.name) in ONLY_IN_NOTEBOOKS or (magic, command.name) == RUN:
                continue
            sub = commands.add_parser(
                command.name, help=literal(command.summary), parents=[common], allow_abbrev=False
            )
            left_out = OPTIONS_IN_NOTEBOOKS.get((magic, command.name), ())
            kept = tuple(o for o in command.options if o.name not in left_out)
            add_arguments(sub, dataclasses.replace(command, options=kept))
            sub.epilog = ENDINGS.get((magic, command.name))
            sub.set_defaults(_call=_runner(magic, command.name))
        if magic == "prompt":
            prompting.add_run(commands, common)


def _runner(magic: str, name: str) -> Callable[[Terminal, dict[str, Any]], Result]:
    if (magic, name) == LABEL:
        from llmops_jupyter.cli.labelling import run_label

        return run_label

    def run_command(terminal: Terminal, values: dict[str, Any]) -> Result:
        module = import_module(f"llmops_jupyter.commands.{magic}")
        result: Result = getattr(module, f"{name.replace('-', '_')}_")(terminal, values)
        return result

    return run_command


def _options_first(given: Sequence[str]) -> list[str]:
    """The words of a command with its options before its arguments."""
    words = list(given)
    magic = next((magic for magic, group in GROUPS.items() if words[:1] == [group]), "")
    command = options.commands_of(magic).get(words[1]) if magic and words[1:] else None
    if command is None:
        return words
    more = {"--store": True, "--json": False, "-h": False, "--help": False}
    return [*words[:2], *options_first(command, words[2:], more)]


def commands() -> dict[str, dict[str, str]]:
    """What stands here for each magic and its commands."""
    found = {
        magic: {
            name: f"llmops {group} {name}"
            for name in options.commands_of(magic)
            if (magic, name) not in ONLY_IN_NOTEBOOKS
        }
        for magic, group in GROUPS.items()
    }
    found["monitor"]["watch"] = "llmops monitor"
    return found


def only_in_notebooks() -> dict[str, str]:
    """The magic of each command that is not here, by the words that were typed for it."""
    return {f"{GROUPS[magic]} {name}": f"%{magic} {name}" for magic, name in ONLY_IN_NOTEBOOKS}


def run(arguments: Sequence[str] | None = None) -> int:
    """Parse, run and print; errors are one line on stderr and exit status 1."""
    terminal: Terminal | None = None
    output.use_any_encoding()
    given = sys.argv[1:] if arguments is None else arguments
    try:
        parser = build()
        advice.check(parser, given, only_in_notebooks())
        values = monitoring.joined(vars(parser.parse_args(_options_first(given))))
        as_json = bool(values.get("json"))
        terminal = Terminal(
            values.get("store"), prompting.variables_of(values.get("var") or ()), quiet=as_json
        )
        result = values["_call"](terminal, values)
        show(result, as_json=as_json)
        sys.stdout.flush()  # here, where a full disk can still be said
        return int(result.value.get("exit", 0)) if isinstance(result.value, dict) else 0
    except LLMOpsError as e:
        said = advice.in_terminal(" ".join(str(e).split()), commands())
        print(f"{type(e).__name__}: {output.for_reader(said, sys.stderr)}", file=sys.stderr)
        return monitoring.error_code(given)
    except OSError as e:
        if e.filename is not None or e.errno not in output.FAULTS:
            raise
        return output.give_up(e)
    except KeyboardInterrupt as e:
        hint = advice.in_terminal(f" · {e}", commands()) if str(e) else ""
        print(f"interrupted{hint}", file=sys.stderr)
        return INTERRUPTED
    finally:
        if terminal is not None:
            terminal.close()


def show(result: Result, *, as_json: bool) -> None:
    """Print a result as JSON, or its views as text."""
    if as_json:
        ascii_only = not output.speaks_unicode(sys.stdout)
        print(json.dumps(as_plain(result.value), ensure_ascii=ascii_only, indent=1))
        return
    for view in result.views:
        if isinstance(view, Rows):
            from llmops_jupyter.render import text_table

            print(text_table(view.rows, view.columns))
        elif hasattr(view, "ansi") and sys.stdout.isatty():
            print(view.ansi())
        else:
            said = advice.in_terminal(view, commands()) if isinstance(view, Advice) else str(view)
            print(output.for_reader(said))


def as_plain(value: Any) -> Any:
    """JSON values of records, traces and tables."""
    for name in ("as_dict", "records"):
        method = getattr(value, name, None)
        if callable(method):
            return as_plain(method())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f.name for f in dataclasses.fields(value) if not f.name.startswith("_")]
        return {name: as_plain(getattr(value, name)) for name in fields}
    if isinstance(value, Mapping):
        return {str(k): as_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
