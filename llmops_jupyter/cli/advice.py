"""Advice that fits a terminal: commands instead of magics, and the nearest name for a wrong one."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import NoReturn

from llmops_jupyter.errors import OptionError, did_you_mean

_MAGIC = re.compile(r"(?<![\w%])%(\w+)(?: ([a-z][a-z-]*))?")
_CELL = re.compile(r"(?<![\w%])%%(\w+)")
_CONFIG = re.compile(r"(?<![\w%])%config LLMOps\.(\w+)(?: = ?(\S+))?")
_NUMBER = re.compile(r"-\d+(\.\d*)?([eE][-+]?\d+)?|-\.\d+")


def in_terminal(text: str, groups: Mapping[str, Mapping[str, str]]) -> str:
    """A message with its magics as commands of `llmops`; what is only there in a notebook says so.

    `groups` maps a magic to its commands, and each of these to what stands for it in a terminal.
    """

    def command(found: re.Match[str]) -> str:
        magic, name = found.groups()
        if magic not in groups:
            return found[0]
        if name is None:
            return next(iter(groups[magic].values())).rpartition(" ")[0]
        return groups[magic].get(name, f"{found[0]} (in a notebook)")

    def setting(found: re.Match[str]) -> str:
        return f"LLMOPS_{found[1].upper()}{f'={found[2]}' if found[2] else ''} (a variable)"

    text = _CONFIG.sub(setting, text)
    text = _CELL.sub(lambda m: f"{m[0]} (in a notebook)" if m[1] in groups else m[0], text)
    return _MAGIC.sub(command, text)


def check(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str],
    elsewhere: Mapping[str, str],
) -> None:
    """Raise an OptionError that proposes the nearest name for a wrong command or option.

    Options are written out, as in a magic: `-over` is not `-o ver`. `elsewhere` has the magics of commands that
    are only there in a notebook.
    """
    command = " ".join(arguments[:2])
    if magic := elsewhere.get(command):
        raise OptionError(
            f"{command!r} is not for a terminal. Run {magic}, or see "
            f"{parser.prog} {arguments[0]} --help"
        )
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        choices = _commands_of(parser)
        if word == "--":
            return
        if word.startswith("-") and word != "-" and not _NUMBER.fullmatch(word):
            _check_option(parser, word)
            if choices and "=" not in word and waiting and _takes_value(parser, word):
                waiting.pop(0)  # which is no command
        elif choices:
            if word not in choices:
                _refuse(parser, "command", word, choices, "Commands")
            parser = choices[word]


def _commands_of(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    for action in parser._actions:  # noqa: SLF001 - argparse shows them nowhere else
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            found: Mapping[str, argparse.ArgumentParser] = action.choices
            return found
    return {}


def _takes_value(parser: argparse.ArgumentParser, word: str) -> bool:
    action = parser._option_string_actions[word]  # noqa: SLF001 - as above
    return action.nargs is None


def _check_option(parser: argparse.ArgumentParser, word: str) -> None:
    name = word.partition("=")[0]
    known = parser._option_string_actions  # noqa: SLF001
    if name in known:
        return
    near = did_you_mean(name, known) or did_you_mean(f"--{name.lstrip('-')}", known)
    listed = [flag for flag in known if flag.startswith("--")]
    _refuse(parser, "option", name, listed, "Options", near=near)


def _refuse(
    parser: argparse.ArgumentParser,
    kind: str,
    name: str,
    known: Sequence[str] | Mapping[str, object],
    title: str,
    *,
    near: str | None = None,
) -> NoReturn:
    near = did_you_mean(name, known) if near is None else near
    raise OptionError(
        f"{parser.prog} has no {kind} {name!r}.{near} {title}: {', '.join(known)}. "
        f"See {parser.prog} --help"
    )
