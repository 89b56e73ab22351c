"""What a command and its options are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """A named option; `complete` names what completes its value.

    `kind` is flag, text, int, float or variable: a name that a notebook's variable may have.
    """

    flags: tuple[str, ...]
    help: str
    kind: str = "text"
    metavar: str = ""
    complete: str = ""
    choices: tuple[str, ...] = ()
    repeat: bool = False

    @property
    def name(self) -> str:
        return self.flags[-1].lstrip("-").replace("-", "_")


@dataclass(frozen=True)
class Argument:
    """A positional argument; `count` is 1, '?' (may be left out), '*' or '+'."""

    name: str
    help: str
    count: str = "1"
    complete: str = ""


@dataclass(frozen=True)
class Command:
    """A magic's subcommand, or its cell form (then `name` is empty)."""

    magic: str
    name: str
    summary: str
    arguments: tuple[Argument, ...] = ()
    options: tuple[Option, ...] = ()
    example: str = ""

    @property
    def title(self) -> str:
        return f"%%{self.magic}" if not self.name else f"%{self.magic} {self.name}"

    def usage(self) -> str:
        """The call on one line, in the usual notation."""
        parts = [self.title]
        for argument in self.arguments:
            shown = argument.name.upper()
            parts.append(
                {"1": shown, "?": f"[{shown}]", "*": f"[{shown} …]", "+": f"{shown} …"}[
                    argument.count
                ]
            )
        for option in self.options:
            value = f" {option.metavar or option.name.upper()}" if option.kind != "flag" else ""
            parts.append(f"[{'|'.join(option.flags)}{value}]")
        return " ".join(parts)
