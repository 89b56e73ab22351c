"""A shell with our magics in the test's own process."""

from __future__ import annotations

from engine_fakes import plug
from IPython.core.interactiveshell import InteractiveShell


class Notebook:
    """Runs cells as a notebook does, on an engine that answers at once; what they raise is raised."""

    def __init__(self, ws):
        self.ws = ws
        self.engine = plug(ws)
        self.shell = InteractiveShell()
        self.shell.run_line_magic("load_ext", "llmops_jupyter")
        self.names = self.shell.user_ns

    def run(self, cell):
        """The result of a cell; its error is raised."""
        done = self.shell.run_cell(cell, store_history=True)
        if done.error_in_exec is not None:
            raise done.error_in_exec
        return done.result

    def close(self):
        self.shell.run_line_magic("unload_ext", "llmops_jupyter")
