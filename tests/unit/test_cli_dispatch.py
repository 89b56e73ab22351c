"""Every command of the option table is called on the command line with what was typed."""

from __future__ import annotations

import argparse
from importlib import import_module

import pytest

from llmops_jupyter.cli import labelling, program
from llmops_jupyter.commands import Result, options

COMMANDS = [
    (magic, name)
    for magic in program.GROUPS
    for name, command in options.commands_of(magic).items()
    if command.arguments
    and (magic, name) not in program.ONLY_IN_NOTEBOOKS
    and (magic, name) != program.RUN
]


def words(arguments):
    """Something for each argument that must be given, or may be."""
    return [f"given-{a.name}" for a in arguments]


@pytest.mark.parametrize(("magic", "name"), COMMANDS)
def test_a_command_gets_its_arguments(magic, name, ws, monkeypatch, capsys):
    arguments = options.commands_of(magic)[name].arguments
    got = {}

    def call(terminal, values):
        got.update(values)
        return Result({}, ("called",))

    if (magic, name) == program.LABEL:
        monkeypatch.setattr(labelling, "run_label", call)
    else:
        module = import_module(f"llmops_jupyter.commands.{magic}")
        monkeypatch.setattr(module, f"{name.replace('-', '_')}_", call)
    status = program.run([program.GROUPS[magic], name, *words(arguments)])
    assert (status, capsys.readouterr()) == (0, ("called\n", ""))
    for argument in arguments:
        value = got[argument.name]
        assert f"given-{argument.name}" in (value if isinstance(value, list) else [value])


def test_a_positional_argument_is_given_to_a_run_of_fine_tuning(ws, begun_run, capsys):
    run, _, events = begun_run(ws, "r1", "tickets")
    events.add({"kind": "phase", "text": "loading"})
    assert program.run(["finetune", "status", "tickets"]) == 0
    assert capsys.readouterr().out == f"{run} · loading\n"


def parsers(parser, path="llmops"):
    """A parser and all below it, by what is typed."""
    yield path, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from parsers(below, f"{path} {name}")


@pytest.mark.parametrize(
    ("typed", "parser"), [pytest.param(*p, id=p[0]) for p in parsers(program.build())]
)
def test_help_is_shown(typed, parser):
    assert f"usage: {typed}" in " ".join(parser.format_help().split())
    assert parser.get_default("_call") is not None or parser._subparsers is not None
