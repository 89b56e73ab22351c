"""Runs under a guard policy: which policy it is, what of the messages it is asked about, and what the trace says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from llmops_jupyter.guard.checks.canary import canary_of, with_canary
from llmops_jupyter.guard.guardspan import ACTION, DECISION, MODE, POLICY
from llmops_jupyter.guard.report import worst
from llmops_jupyter.guard.running import Pipeline
from llmops_jupyter.prompts.grounding import PLACE
from llmops_jupyter.prompts.stretches import checked_stretches
from llmops_jupyter.prompts.template import Filled, Stretch
from llmops_jupyter.records import Message, Verdict

if TYPE_CHECKING:
    from llmops_jupyter.prompts.prepare import Prepared
    from llmops_jupyter.tracing import Span

VARIABLES = "llmops.prompt.variables"
# The marker of a system message is the same under all versions of a policy, so that recordings made under one can be
# replayed under another.
SALT = "guard"


class FindPolicy(Protocol):
    """Finds a guard policy by its reference and makes its checks; the workspace plugs this in."""

    def __call__(self, policy: Any) -> Pipeline: ...


@dataclass(frozen=True)
class Guarding:
    """The policy of one run.

    Args:
        pipeline: its checks.
        canary: the marker in the system message of this run; '' without one.
        system: the system messages, without the marker.
        stretches: the messages that are new in this run; those that are `given` are checked.
    """

    pipeline: Pipeline
    canary: str = ""
    system: str = ""
    stretches: tuple[tuple[Stretch, ...], ...] = ()

    @property
    def ref(self) -> str:
        return self.pipeline.ref

    @property
    def holds_back(self) -> bool:
        """Whether the answer may be changed or withheld, so that none of it is shown before its end."""
        return self.pipeline.policy.holds_back("output")

    @property
    def key(self) -> str:
        """What decides about texts."""
        return self.pipeline.key

    def with_system(self, messages: Sequence[Message]) -> Guarding:
        """The same for messages whose system messages have changed."""
        system = system_of(messages)
        return replace(self, system=system, canary=_canary(self.pipeline, system))


def guarding_of(pipeline: Pipeline | None, filled: Sequence[Filled]) -> Guarding | None:
    """What guards a run with these messages of its template."""
    if pipeline is None:
        return None
    system = system_of([one.message for one in filled])
    return Guarding(pipeline, _canary(pipeline, system), system, checked_stretches(filled))


def system_of(messages: Sequence[Message]) -> str:
    """What the system messages say, without the place of passages."""
    return "\n\n".join(m.content for m in messages if m.role == "system").replace(PLACE, "")


def _canary(pipeline: Pipeline, system: str) -> str:
    return canary_of(system, SALT) if pipeline.has_canary else ""


def marked(guarding: Guarding | None, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages as the model gets them: with the marker, if the policy has one."""
    return with_canary(messages, guarding.canary) if guarding and guarding.canary else messages


def is_checked_first(prepared: Prepared) -> bool:
    """Whether something may be taken out of the input, which is then not to be on the disk before it is."""
    return prepared.guarding is not None and prepared.guarding.pipeline.policy.holds_back("input")


def tell_input(root: Span, prepared: Prepared) -> None:
    """Have the root span say what went in, where that was to be checked first."""
    if is_checked_first(prepared):
        root.set(VARIABLES, dict(prepared.variables))
        root.input(prepared.messages)


def tell_root(root: Span, guarding: Guarding | None, verdicts: Sequence[Verdict]) -> None:
    """Have the span of a run say which policy held and what it came to."""
    if guarding is None:
        return
    root.set(POLICY, guarding.ref)
    root.set(MODE, guarding.pipeline.policy.mode)
    root.set(DECISION, worst(verdicts))
    blocked = [v.check for v in verdicts if v.action == "blocked"]
    if blocked:
        root.set(ACTION, "blocked")
