"""The guard policy that a prompt was last run under, which holds until it is put off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmops_jupyter.prompts.options import NO_GUARD, Options
from llmops_jupyter.prompts.registry import PromptVersion, Registry


@dataclass(frozen=True)
class Remembered:
    """A policy as it was written, and the number of the prompt's version that remembers it."""

    reference: str
    by: int

    def notes(self, version: PromptVersion, made: Options, given: Any) -> tuple[str, ...]:
        """What the user is told, where the policy is put off or is that of an older version."""
        if self.reference == NO_GUARD:
            return ()
        if made.guard is None:
            return (f"guard {self.reference} no longer holds for {version.ref}",)
        if given is None and self.by != version.version:
            holds = f"guard {self.reference} holds as for {version.name}@{self.by}"
            return (f"{holds}; --guard none puts it off",)
        return ()


def guard_before(prompts: Registry, version: PromptVersion) -> Remembered | None:
    """The policy of a version's last run; of one that was never run, that of the newest older one that was.

    So a prompt that is changed does not lose its policy unseen.
    """
    number, defaults = prompts.last_defaults(version) or (version.version, version.defaults)
    reference = defaults.get("guard")
    return Remembered(reference, number) if reference else None
