"""What the magics share in one kernel: the shell, the settings, the workspace."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands import options
from llmops_jupyter.errors import UnknownNameError, did_you_mean
from llmops_jupyter.magics import settings
from llmops_jupyter.magics.notices import Notices

if TYPE_CHECKING:
    from llmops_jupyter.magics.display import Status
    from llmops_jupyter.tracing import Provenance
    from llmops_jupyter.workspace import Workspace


class Session:
    """The magics of one shell."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self._opened: Workspace | None = None
        self._cell_id: str | None = None
        self._status: Status | None = None
        self._matcher: Callable[[Any], Any] | None = None
        # The result that a line magic has shown, and the cell in which it did.
        self.shown: tuple[Any, int | None] = (None, None)
        self.settings = settings.LLMOps(shell)
        self._notices = Notices()

    @property
    def workspace(self) -> Workspace:
        """The workspace opened last in this kernel, else the one of the working directory."""
        from llmops_jupyter.workspace import current_workspace

        self._opened = current_workspace()
        return self._opened

    def variable(self, name: str, option: str) -> Any:
        """The notebook's variable of that name.

        Raises:
            UnknownNameError: there is none.
        """
        names = self.shell.user_ns
        if name not in names:
            known = [n for n in names if not n.startswith("_")]
            raise UnknownNameError(
                f"{option} names the variable {name!r}, which is not defined."
                f"{did_you_mean(name, known)} Define it in a cell before this one."
            )
        return names[name]

    def assign(self, name: str | None, value: Any) -> None:
        """Set a variable of the notebook, if a name is given."""
        if name:
            self.shell.push({name: value})

    @property
    def variables(self) -> Mapping[str, Any]:
        """The notebook's variables."""
        names: Mapping[str, Any] = self.shell.user_ns
        return names

    def progress(self) -> Callable[[str], None]:
        """Show how far long work is, on one line that is updated in place."""
        from llmops_jupyter.magics.display import Status

        self._status = Status(self.shell)
        return self._status.show

    def end_progress(self) -> None:
        """Leave the last state of the progress line standing."""
        if self._status is not None:
            self._status.finish()
            self._status = None

    def provenance(self) -> Provenance:
        """Notebook, cell and kernel of the cell that runs."""
        from llmops_jupyter.tracing import Provenance

        kernel = getattr(self.shell, "kernel", None)
        return Provenance(
            notebook=notebook_path(self.shell),
            cell_id=self._cell_id,
            execution_count=cell_number(self.shell),
            kernel_id=kernel_id(kernel),
        )

    def register(self) -> None:
        """Put magics, settings, completion and the cell hook into the shell."""
        from llmops_jupyter import workspace
        from llmops_jupyter.magics import completion, dispatch, display

        for magic in options.MAGICS:
            # Those without a cell form too: for an unknown one IPython raises an error that passes tests.
            function = dispatch.magic_function(self, magic)
            self.shell.register_magic_function(function, magic_kind="line_cell", magic_name=magic)
        workspace.set_provenance(self.provenance)
        display.display_once(self.shell, self._was_shown)
        self.shell.configurables.append(self.settings)
        self.shell.events.register("pre_run_cell", self._before_cell)
        self.shell.events.register("post_run_cell", self._after_cell)
        self._matcher = completion.matcher(self)
        completer = getattr(self.shell, "Completer", None)
        if completer is not None:
            completer.custom_matchers.append(self._matcher)

    def unregister(self) -> None:
        """Undo `register` and close the workspace."""
        from llmops_jupyter import workspace
        from llmops_jupyter.magics import display

        workspace.set_provenance(None)
        workspace.forget_defaults()
        display.display_always(self.shell)
        magics = self.shell.magics_manager.magics
        for magic in options.MAGICS:
            magics["line"].pop(magic, None)
            magics["cell"].pop(magic, None)
        if self.settings in self.shell.configurables:
            self.shell.configurables.remove(self.settings)
        self.shell.events.unregister("pre_run_cell", self._before_cell)
        self.shell.events.unregister("post_run_cell", self._after_cell)
        completer = getattr(self.shell, "Completer", None)
        if completer is not None and self._matcher in completer.custom_matchers:
            completer.custom_matchers.remove(self._matcher)
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _was_shown(self, value: Any) -> bool:
        return value is self.shown[0] and self.shown[1] == cell_number(self.shell)

    def _before_cell(self, info: Any) -> None:
        self._cell_id = getattr(info, "cell_id", None)
        explain_lost_questions(getattr(info, "raw_cell", None) or "")

    def ran(self, magic: str, command: str, values: Mapping[str, Any]) -> None:
        """Note that a command has run and shown what it does."""
        if magic == "monitor":
            self._notices.ran(command, values)

    def _after_cell(self, result: Any) -> None:
        del result
        workspace = sys.modules.get("llmops_jupyter.workspace")
        if workspace is None:
            return
        from llmops_jupyter.magics.display import say

        self._notices.after_cell(workspace.opened_workspace(), say)


_QUESTION = re.compile(
    rf"^\s*(?:[^%\n=]+=\s*)?%({'|'.join(options.MAGICS)})[ \t]+(\S.*?[\w*])\?{{1,2}}\s*$",
    re.MULTILINE,
)


def explain_lost_questions(cell: str) -> None:
    """Say why a line that ends in a question mark did not reach its magic."""
    if cell.lstrip().startswith("%%"):
        return
    for magic, rest in _QUESTION.findall(cell):
        from llmops_jupyter.magics.display import say

        command, _, text = rest.partition(" ")
        help_ = f"Help on the commands: %{magic}?"
        quoted = f'Put the text in quotes: %{magic} {command} "{text.strip()}?"' if text else help_
        say(f"IPython takes a line that ends in ? for a search for help. {quoted}")


def cell_number(shell: Any) -> int | None:
    """The number of the cell that runs, as its output shows it.

    IPython 9 counts on before it runs a cell, earlier ones after; its display hook knows.
    """
    hook = getattr(shell, "displayhook", None)
    found = getattr(hook, "prompt_count", getattr(shell, "execution_count", None))
    return found if isinstance(found, int) else None


def notebook_path(shell: Any) -> str | None:
    """The notebook's path as the front end tells it: Jupyter server, or VS Code."""
    return os.environ.get("JPY_SESSION_NAME") or shell.user_ns.get("__vsc_ipynb_file__")


def kernel_id(kernel: Any) -> str | None:
    """The kernel's id, from the name of its connection file."""
    if kernel is None:
        return None
    file = getattr(getattr(kernel, "config", {}).get("IPKernelApp", {}), "connection_file", "")
    name = os.path.basename(str(file or getattr(kernel.parent, "connection_file", "")))  # noqa: PTH119
    return name.removeprefix("kernel-").removesuffix(".json") or None
