"""The cells that the side panel writes to run a trace again mean what the trace says.

`labextension/src/traces/__tests__/replays.json` holds traces with the cells that the panel makes of them, which its own
tests check; here they are read as IPython and the magics read them.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from llmops_jupyter import workspace
from llmops_jupyter.commands.options import cell_of
from llmops_jupyter.commands.parsing import parse, parse_magic
from llmops_jupyter.commands.prompt import settings_of
from llmops_jupyter.prompts.template import check_template, fill

FIXTURE = Path(__file__).parents[2] / "labextension/src/traces/__tests__/replays.json"
CASES = json.loads(FIXTURE.read_text(encoding="utf-8"))


class Kernel:
    """Takes down what a cell would run."""

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}

    def run_line_magic(self, name: str, line: str) -> None:
        command, values = parse_magic(name, line)
        assert (command.magic, command.name) == ("prompt", "run")
        self.given = {"ref": values["ref"], "options": settings_of(values)}

    def run_cell_magic(self, name: str, line: str, cell: str) -> None:
        form = cell_of(name)
        assert form is not None
        values = parse(form, line)
        assert values["name"] is None
        self.given = {"messages": said(cell), "options": settings_of(values)}


class Prompts:
    """Takes down what a cell of Python would run."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def scratch(self, template: str) -> list[list[str]]:
        return said(template)

    def run(self, prompt: Any, variables: dict[str, Any], **options: Any) -> None:
        what = (
            {"ref": prompt, "variables": variables}
            if isinstance(prompt, str)
            else {"messages": prompt}
        )
        self.kernel.given = {**what, "options": options}


def said(template: str) -> list[list[str]]:
    check_template(template)
    return [[message.role, message.content] for message in fill(template, {})]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_replayed_cell_runs_what_the_trace_says(
    case: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel()
    prompts = Prompts(kernel)
    monkeypatch.setattr(workspace, "current_workspace", lambda: SimpleNamespace(prompts=prompts))
    code = TransformerManager().transform_cell(case["cell"])
    names: dict[str, Any] = {"get_ipython": lambda: kernel}
    exec(compile(code, "cell", "exec"), names)

    given, expected = kernel.given, case["gives"]
    if "ref" in given:
        kept = {k: v for k, v in names.items() if k not in ("get_ipython", "__builtins__")}
        given.setdefault("variables", kept)
    assert given == expected


def test_the_cells_are_of_every_kind() -> None:
    starts = {case["cell"].split("\n")[0].split(" ")[0] for case in CASES}
    runs = ["%prompt run" in case["cell"] for case in CASES]
    scripts = ["current_workspace" in case["cell"] for case in CASES]
    assert "%%prompt" in starts
    assert any(runs)
    assert any(scripts)
