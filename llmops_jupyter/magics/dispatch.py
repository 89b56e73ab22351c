"""From the option table to functions that IPython calls."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands import options
from llmops_jupyter.commands.parsing import parse, parse_magic
from llmops_jupyter.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmops_jupyter.magics.session import Session

IN_NOTEBOOK = {
    ("prompt", "run"),
    ("prompt", "load"),
    ("prompt", "panel"),
    ("evaluate", "label"),
    ("rag", "ask"),
    ("rag", "panel"),
    ("finetune", "run"),
    ("finetune", "resume"),
    ("finetune", "panel"),
    ("monitor", "panel"),
}


def magic_function(session: Session, magic: str) -> Callable[..., Any]:
    """The function behind ``%magic`` (and ``%%magic``, if it has a cell form).

    It takes the line as typed: IPython's own ``{x}`` and ``$x`` do not apply. The modules behind it are
    imported when it is first used.
    """
    from IPython.core.magic import no_var_expand

    cell_form = options.cell_of(magic)

    def call(line: str, cell: str | None = None) -> Any:
        if cell is not None:
            if cell_form is None:
                raise OptionError(f"%{magic} has no cell form. Write it on one line.")
            module = import_module(f"llmops_jupyter.magics.{magic}")
            return module.run_cell(session, parse(cell_form, line), cell)
        command, values = parse_magic(magic, line)
        return run(session, command, values)

    call.__name__ = magic
    call.__doc__ = options.help_of(magic)
    function: Callable[..., Any] = no_var_expand(call)
    return function


def run(session: Session, command: options.Command, values: dict[str, Any]) -> Any:
    """Run a subcommand: those that need the notebook stand beside the magic, the rest in `commands`."""
    name = f"{command.name.replace('-', '_')}_"
    if (command.magic, command.name) in IN_NOTEBOOK:
        module = import_module(f"llmops_jupyter.magics.{command.magic}")
        made = getattr(module, name)(session, values)
        session.ran(command.magic, command.name, values)
        return made
    from llmops_jupyter.magics.display import show_result

    module = import_module(f"llmops_jupyter.commands.{command.magic}")
    try:
        result = getattr(module, name)(session, values)
    finally:
        session.end_progress()
    session.assign(values.get("out"), result.value)
    show_result(session.shell, result)
    session.ran(command.magic, command.name, values)
    return None
