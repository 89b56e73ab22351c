"""Prompts: templates, versions, aliases, runs, conversations.

A name is loaded when it is first used: one prompt needs neither maps nor exported text.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmops_jupyter.prompts.content import Content, Examples
    from llmops_jupyter.prompts.conversation import Conversation, Sessions, Turn
    from llmops_jupyter.prompts.exchange import ExportedPrompt, read_exported
    from llmops_jupyter.prompts.mapping import Progress
    from llmops_jupyter.prompts.playground import Playground
    from llmops_jupyter.prompts.registry import PromptVersion
    from llmops_jupyter.prompts.rows import Rows
    from llmops_jupyter.prompts.run import Run
    from llmops_jupyter.prompts.stage import Prompts

__all__ = [
    "Content",
    "Conversation",
    "Examples",
    "ExportedPrompt",
    "Playground",
    "Progress",
    "PromptVersion",
    "Prompts",
    "Rows",
    "Run",
    "Sessions",
    "Turn",
    "read_exported",
]

_HOMES = {
    "content": {"Content", "Examples"},
    "conversation": {"Conversation", "Sessions", "Turn"},
    "exchange": {"ExportedPrompt", "read_exported"},
    "mapping": {"Progress"},
    "playground": {"Playground"},
    "registry": {"PromptVersion"},
    "rows": {"Rows"},
    "run": {"Run"},
    "stage": {"Prompts"},
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
