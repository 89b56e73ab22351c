"""What the magics share in one kernel: the shell, the settings, the workspace."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands import options
from llmops_jupyter.errors import UnknownNameError, did_you_mean
from llmops_jupyter.magics import settings

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
        self.settings = settings.LLMOps(parent=shell, session=self)

    @property
    def workspace(self) -> Workspace:
        """The workspace opened last in this kernel, else the one of the working directory."""
        from llmops_jupyter import workspace

        found = workspace.current_workspace()
        if found is not self._opened:
            self._opened = found
            found.tracer.provenance = self.provenance
            self.settings.apply(found)
        return found

    @property
    def opened(self) -> Workspace | None:
        """The workspace if the magics have used one."""
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
            execution_count=getattr(self.shell, "execution_count", None),
            kernel_id=kernel_id(kernel),
        )

    def register(self) -> None:
        """Put magics, settings, completion and the cell hook into the shell."""
        from llmops_jupyter.magics import completion, dispatch

        for magic in options.MAGICS:
            function = dispatch.magic_function(self, magic)
            kind = "line_cell" if options.cell_of(magic) else "line"
            self.shell.register_magic_function(function, magic_kind=kind, magic_name=magic)
        self.shell.configurables.append(self.settings)
        self.shell.events.register("pre_run_cell", self._before_cell)
        self._matcher = completion.matcher(self)
        completer = getattr(self.shell, "Completer", None)
        if completer is not None:
            completer.custom_matchers.append(self._matcher)

    def unregister(self) -> None:
        """Undo `register` and close the workspace."""
        magics = self.shell.magics_manager.magics
        for magic in options.MAGICS:
            magics["line"].pop(magic, None)
            magics["cell"].pop(magic, None)
        if self.settings in self.shell.configurables:
            self.shell.configurables.remove(self.settings)
        self.shell.events.unregister("pre_run_cell", self._before_cell)
        completer = getattr(self.shell, "Completer", None)
        if completer is not None and self._matcher in completer.custom_matchers:
            completer.custom_matchers.remove(self._matcher)
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _before_cell(self, info: Any) -> None:
        self._cell_id = getattr(info, "cell_id", None)


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
