"""Magic lines: cut into words the same way on every system, and parsed by the option table."""

from __future__ import annotations

import argparse
import keyword
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from llmops_jupyter.commands.options import Command, Option, commands_of
from llmops_jupyter.errors import OptionError, did_you_mean

_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"(?=\s|$)|\'([^\']*)\'(?=\s|$)|(\S+)')
_NUMBER = re.compile(r"-\d+(\.\d*)?([eE][-+]?\d+)?|-\.\d+")
_KINDS: dict[str, Any] = {"text": str, "variable": str, "int": int, "float": float}


@dataclass(frozen=True)
class Word:
    """A word of a line; a quoted one is never an option."""

    text: str
    quoted: bool = False


def split_line(line: str) -> list[Word]:
    """Words of a line.

    Quotes group only around a whole word, so that an apostrophe inside one is a letter, and a backslash
    is a letter too (Windows paths) except before a quote within double quotes.
    """
    words = []
    for double, single, bare in _WORD.findall(line):
        if bare:
            words.append(Word(bare))
        else:
            words.append(Word(double.replace('\\"', '"') or single, quoted=True))
    return words


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise OptionError(
            f"{message[:1].upper()}{message[1:]}. Usage: {(self.usage or '').replace('%%', '%')}"
        )


def literal(text: str) -> str:
    """A help text that argparse shows as it is: it would format a percent sign."""
    return text.replace("%", "%%")


def add_arguments(parser: argparse.ArgumentParser, command: Command) -> None:
    """Give a parser the arguments and options of a command."""
    for argument in command.arguments:
        count = None if argument.count == "1" else argument.count
        parser.add_argument(argument.name, nargs=count, help=literal(argument.help))
    for option in command.options:
        if option.kind == "flag":
            parser.add_argument(
                *option.flags, dest=option.name, action="store_true", help=literal(option.help)
            )
        else:
            parser.add_argument(
                *option.flags,
                dest=option.name,
                action="append" if option.repeat else "store",
                type=_KINDS[option.kind],
                choices=option.choices or None,
                metavar=option.metavar or None,
                help=literal(option.help),
            )


def _build(command: Command) -> _Parser:
    parser = _Parser(
        prog=command.title,
        usage=command.usage().replace("%", "%%"),
        add_help=False,
        allow_abbrev=False,
    )
    add_arguments(parser, command)
    return parser


def parse(command: Command, line: str) -> dict[str, Any]:
    """The values of a line by name; what is left out is None (or False, or an empty list).

    Raises:
        OptionError: an option or value cannot be used; the message proposes the nearest name.
    """
    words = split_line(line)
    _check_flags(command, words)
    given = options_first(command, [_guarded(w) for w in words])
    values = vars(_build(command).parse_args(given))
    found = {name: _plain(value) for name, value in values.items()}
    for option in command.options:
        if option.kind == "variable" and found[option.name] is not None:
            check_variable(option.flags[-1], found[option.name])
    return found


def options_first(
    command: Command, words: list[str], more: Mapping[str, bool] | None = None
) -> list[str]:
    """The words with options before arguments, since argparse takes those that may be left out for left out after one.

    `more` are further options and whether they take a value. Words that lack a value stay as they are.
    """
    if all(argument.count == "1" for argument in command.arguments) or "--" in words:
        return words
    takes = {flag: option.kind != "flag" for option in command.options for flag in option.flags}
    takes.update(more or {})
    first: list[str] = []
    rest: list[str] = []
    waiting = deque(words)
    while waiting:
        word = waiting.popleft()
        name, equals, _ = word.partition("=")
        if name not in takes:
            rest.append(word)
            continue
        first.append(word)
        if takes[name] and not equals:
            if not waiting or waiting[0].partition("=")[0] in takes:
                return words
            first.append(waiting.popleft())
    return [*first, *rest]


def check_variable(flag: str, name: str) -> None:
    """Raise an OptionError unless a variable may have this name."""
    if not name.isidentifier() or keyword.iskeyword(name):
        raise OptionError(
            f"{flag} takes the name of a variable; {name!r} cannot be one. Write for example {flag} reply"
        )


def _guarded(word: Word) -> str:
    # argparse takes a word for an option by its first letter; a space before hides it from that.
    return f" {word.text}" if word.quoted and word.text.startswith("-") else word.text


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value[1:] if isinstance(value, str) and value.startswith(" -") else value


def _check_flags(command: Command, words: list[Word]) -> None:
    # argparse would read -over as -o with the value ver; here every option is written out.
    flags = {flag: option for option in command.options for flag in option.flags}
    for word in words:
        looks = word.text.startswith("-") and word.text != "-" and not word.quoted
        if not looks or _NUMBER.fullmatch(word.text):
            continue
        if word.text.partition("=")[0] not in flags:
            raise OptionError(_unknown_flag(command, word.text, flags))


def _unknown_flag(command: Command, text: str, flags: dict[str, Option]) -> str:
    name = text.partition("=")[0]
    near = did_you_mean(name, flags) or did_you_mean(f"--{name.lstrip('-')}", flags)
    known = ", ".join(flag for flag in flags if flag.startswith("--"))
    return f"{command.title} has no option {name!r}.{near} Options: {known or 'none'}."


def parse_magic(magic: str, line: str) -> tuple[Command, dict[str, Any]]:
    """The subcommand that a line names, and its values.

    Raises:
        OptionError: there is no such subcommand, or its options cannot be used.
    """
    commands = commands_of(magic)
    name, _, rest = line.strip().partition(" ")
    if name not in commands:
        near = did_you_mean(name, commands) if name else ""
        what = f"%{magic} has no subcommand {name!r}." if name else f"%{magic} needs a subcommand."
        raise OptionError(f"{what}{near} There are: {', '.join(commands)}. Help: %{magic}?")
    return commands[name], parse(commands[name], rest)
