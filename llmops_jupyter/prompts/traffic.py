"""The traffic of a prompt's alias, split between versions."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from llmops_jupyter.errors import OptionError, UnknownNameError
from llmops_jupyter.prompts.content import Content
from llmops_jupyter.prompts.registry import KIND, PromptVersion, Registry
from llmops_jupyter.prompts.splitting import PRODUCTION, Split, Splits, attributes_of
from llmops_jupyter.store import Store, aliases

Runnable = str | PromptVersion | Content


class Traffic(Registry):
    """Prompts whose aliases may be split."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.splits = Splits(store)

    def split(
        self,
        name: str,
        arms: Mapping[int, float],
        *,
        alias: str = PRODUCTION,
        note: str = "",
        salt: str | None = None,
    ) -> Split:
        """Split the traffic of an alias between versions, or change the shares of a running split.

        Args:
            name: of the prompt.
            arms: versions with their weights, such as ``{3: 90, 4: 10}``.
            alias: whose traffic it is; it must point at a version.
            note: why.
            salt: of another split, to assign units as it did.
        """
        known = [v.version for v in self.history(name)]
        return self.splits.begin(name, aliases.check_alias(alias), arms, known, note, salt)

    def end_split(self, reference: str, *, promote: int | None = None, note: str = "") -> None:
        """End the split of ``name@alias``; with `promote`, that version gets the alias.

        Raises:
            UnknownNameError: no split runs, or there is no such version.
        """
        name, alias = aliases.parse_reference(reference, KIND)
        if promote is None:
            self.splits.end(name, alias or PRODUCTION)
            return
        if self.splits.running(name, alias or PRODUCTION) is None:
            raise UnknownNameError(f"No split of {name}@{alias or PRODUCTION} runs.")
        self.alias(f"{name}@{promote}", alias or PRODUCTION, note or "promoted from a split")

    def assigned(
        self, prompt: Runnable, unit: str | None, session: Any
    ) -> tuple[Runnable, Mapping[str, Any]]:
        """The version that a unit gets where the alias is split, and what the trace says of it."""
        if unit is not None and not isinstance(unit, str):
            raise OptionError(f"unit is a text such as a user's id, not {type(unit).__name__}.")
        if not isinstance(prompt, str) or "@" not in prompt:
            return prompt, {}
        name, selector = aliases.parse_reference(prompt, KIND)
        if selector is None or selector.isdigit():
            return prompt, {}
        split = self.splits.running(name, selector)
        if split is None:
            return prompt, {}
        known = unit if unit is not None else session or None
        version = split.arm_of(known if known is not None else secrets.token_hex(8))
        return f"{name}@{version}", attributes_of(split, version, known)
