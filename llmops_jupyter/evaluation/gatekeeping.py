"""The part of the stage for gates: suites, kept and run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.evaluation.answering import Tell
from llmops_jupyter.evaluation.base import Runs

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.outcomes import GateReport
    from llmops_jupyter.evaluation.suites import Suite


class Gatekeeping(Runs):
    """Suites and their gates."""

    def gate(self, suite: Any, *, progress: Tell | None = None) -> GateReport:
        """Run a suite and decide its gates.

        Args:
            suite: the path of a YAML file, its text, a `Suite`, or the name of a kept one.
            progress: told how far it is.

        Raises:
            DataError: the suite cannot be read.
        """
        from llmops_jupyter.evaluation.gates import run_suite

        def difference(before: str, after: str) -> str:
            return str(self.prompts.diff(before, after))

        return run_suite(self, self.suite(suite), prompt_difference=difference, progress=progress)

    def suite(self, given: Any) -> Suite:
        """A suite from the path of a file, its text, or the name of a kept one."""
        from llmops_jupyter.evaluation import suites

        if isinstance(given, suites.Suite):
            return given
        text = str(given)
        is_file = (
            "\n" in text or text.endswith((".yaml", ".yml")) or Path(text).expanduser().is_file()
        )
        return suites.read_suite(given) if is_file else suites.get(self.store, text)

    def save_suite(self, name: str, suite: str | Path) -> Suite:
        """Keep a suite, a file or its text, as a version of `name`; it is exported with the prompts."""
        from llmops_jupyter.evaluation import suites

        return suites.save(self.store, name, suite)

    def suites(self) -> Sequence[Mapping[str, Any]]:
        """The kept suites."""
        from llmops_jupyter.evaluation import suites

        return suites.saved(self.store)

    def export_suites(self, folder: Path) -> Sequence[Path]:
        """Write the kept suites as YAML files."""
        from llmops_jupyter.evaluation import suites

        return suites.export(self.store, folder)

    def import_suites(self, read: Sequence[tuple[str, str]]) -> int:
        """Keep suites that `suites.read_folder` read; how many were new."""
        from llmops_jupyter.evaluation import suites

        return suites.import_all(self.store, read)
