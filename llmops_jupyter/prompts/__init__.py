"""Prompts: templates, versions, aliases, runs, conversations."""

from llmops_jupyter.prompts.content import Content, Examples
from llmops_jupyter.prompts.conversation import Conversation, Sessions, Turn
from llmops_jupyter.prompts.exchange import ExportedPrompt, read_exported
from llmops_jupyter.prompts.mapping import Progress
from llmops_jupyter.prompts.registry import Difference, PromptVersion
from llmops_jupyter.prompts.rows import Rows
from llmops_jupyter.prompts.run import Run
from llmops_jupyter.prompts.stage import Prompts

__all__ = [
    "Content",
    "Conversation",
    "Difference",
    "Examples",
    "ExportedPrompt",
    "Progress",
    "PromptVersion",
    "Prompts",
    "Rows",
    "Run",
    "Sessions",
    "Turn",
    "read_exported",
]
