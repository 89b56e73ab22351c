"""The table of magics and their options, looked up.

Parsers, the help behind ``?``, completion, the command line and the documentation are made from it.
"""

from __future__ import annotations

from llmops_jupyter.commands.command import Argument, Command, Option
from llmops_jupyter.commands.table import COMMANDS

__all__ = [
    "COMMANDS",
    "MAGICS",
    "Argument",
    "Command",
    "Option",
    "cell_of",
    "commands_of",
    "describe",
    "help_of",
    "markdown_of",
]

MAGICS: tuple[str, ...] = tuple(dict.fromkeys(c.magic for c in COMMANDS))


def commands_of(magic: str) -> dict[str, Command]:
    """The subcommands of a magic by name; the cell form is not among them."""
    return {c.name: c for c in COMMANDS if c.magic == magic and c.name}


def cell_of(magic: str) -> Command | None:
    """The cell form of a magic, if it has one."""
    return next((c for c in COMMANDS if c.magic == magic and not c.name), None)


def describe(command: Command) -> str:
    """Help for one command."""
    lines = [command.usage(), "", f"    {command.summary}", ""]
    rows = [(a.name.upper(), a.help) for a in command.arguments]
    for option in command.options:
        value = f" {option.metavar or option.name.upper()}" if option.kind != "flag" else ""
        choice = f" ({', '.join(option.choices)})" if option.choices else ""
        rows.append((f"{', '.join(option.flags)}{value}", f"{option.help}{choice}"))
    width = max((len(left) for left, _ in rows), default=0)
    lines += [f"    {left.ljust(width)}  {right}" for left, right in rows]
    if command.example:
        lines += ["", f"    For example: {command.example}"]
    return "\n".join(lines)


def help_of(magic: str) -> str:
    """The text behind ``%magic?``."""
    cell = cell_of(magic)
    blocks = [describe(cell)] if cell is not None else []
    blocks += [describe(c) for c in commands_of(magic).values()]
    return "\n\n".join(blocks)


def markdown_of(magic: str) -> str:
    """The same for the documentation: a section and a table for each command."""
    cell = cell_of(magic)
    blocks = []
    for command in [*([cell] if cell else []), *commands_of(magic).values()]:
        rows = [(a.name.upper(), a.help) for a in command.arguments]
        for option in command.options:
            value = f" {option.metavar or option.name.upper()}" if option.kind != "flag" else ""
            rows.append((f"{', '.join(option.flags)}{value}", option.help))
        table = "".join(
            f"| `{left}` | {right.replace('|', chr(92) + '|')} |\n" for left, right in rows
        )
        block = f"## {command.title}\n\n{command.summary}\n\n```\n{command.example}\n```\n"
        if table:
            block += f"\n| option | meaning |\n|---|---|\n{table}"
        blocks.append(block)
    return "\n".join(blocks)
