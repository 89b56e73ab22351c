"""The declaration of a pipeline: what is deployed, how it is tested, and how it goes into service."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmops_jupyter.deploy.folders import REFERENCE
from llmops_jupyter.deploy.watching import Rules
from llmops_jupyter.errors import OptionError, did_you_mean

TEST, EVALUATE, GATE, PACKAGE = "test", "evaluate", "gate", "package"
STAGE, CANARY, PROMOTE = "stage", "canary", "promote"
STEPS = (TEST, EVALUATE, GATE, PACKAGE, STAGE, CANARY, PROMOTE)
AUTO, MANUAL = "auto", "manual"


@dataclass(frozen=True)
class Case:
    """One call that must answer as expected.

    Args:
        variables: of the prompt; ``expected`` among them is what metrics compare with.
        expect: metrics that must hold, such as ``contains=order``.
        line: in the file.
    """

    variables: Mapping[str, Any]
    expect: tuple[str, ...]
    line: int = 0


@dataclass(frozen=True)
class Measure:
    """What the step 'evaluate' runs."""

    data: str
    metrics: tuple[str, ...]
    expected: str | None = None
    baseline: str | None = None
    cluster: str | None = None
    repeat: int = 1


@dataclass(frozen=True)
class Demands:
    """What the step 'gate' decides: suites of gates, and rules of the monitor that must not be in alarm."""

    suites: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    allow_undecided: bool = False


@dataclass(frozen=True)
class Trial:
    """The canary: its share of the units, and by what it is watched."""

    weight: float
    rules: Rules


@dataclass(frozen=True)
class Plan:
    """A pipeline as it was declared.

    Args:
        name: of the deployment.
        prompt: that is deployed.
        options: of its runs: model, adapters, guard, rag and the rest.
        weights: how they are in the bundle.
        cases: calls that must answer as expected.
        commands: that must end with 0, one after the other, without a shell.
        evaluate: what is measured; None for nothing.
        gate: what must hold; None for nothing.
        stage: whether a release waits before it is promoted.
        canary: the share that it is tried on first; None for none.
        promote: 'auto', or 'manual' where a person does it.
        text: of the file.
        folder: in which it lies, from which names of files are read.
        out: folder of the bundle; None puts it beside the store.
    """

    name: str
    prompt: str
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: str = REFERENCE
    cases: tuple[Case, ...] = ()
    commands: tuple[str, ...] = ()
    evaluate: Measure | None = None
    gate: Demands | None = None
    stage: bool = True
    canary: Trial | None = None
    promote: str = AUTO
    text: str = field(default="", repr=False, compare=False)
    folder: Path = field(default_factory=Path, compare=False)
    out: Path | None = None

    @property
    def digest(self) -> str:
        """Of the file's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def steps(self) -> list[str]:
        """The declared steps in their order; what is not declared is not run."""
        declared = {
            TEST: bool(self.cases or self.commands),
            EVALUATE: self.evaluate is not None,
            GATE: self.gate is not None,
            PACKAGE: True,
            STAGE: self.stage,
            CANARY: self.canary is not None,
            PROMOTE: True,
        }
        return [step for step in STEPS if declared[step]]


def check_until(until: str | None, steps: Sequence[str]) -> str:
    """The last step that is run.

    Raises:
        OptionError: there is no such step, or it is not declared.
    """
    if until is None:
        return steps[-1]
    if until not in steps:
        raise OptionError(
            f"There is no step {until!r}.{did_you_mean(until, steps)} Steps of this pipeline: {', '.join(steps)}."
        )
    return until
