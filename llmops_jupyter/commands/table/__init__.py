"""The one table of magics and their commands, a module for each magic."""

from __future__ import annotations

from llmops_jupyter.commands.command import Command
from llmops_jupyter.commands.table import (
    data,
    deploy,
    evaluate,
    finetune,
    guard,
    model,
    monitor,
    prompt,
    rag,
    sizing,
    trace,
)

COMMANDS: tuple[Command, ...] = (
    *prompt.COMMANDS,
    *model.COMMANDS,
    *data.COMMANDS,
    *rag.COMMANDS,
    *finetune.COMMANDS,
    *evaluate.COMMANDS,
    *guard.COMMANDS,
    *monitor.COMMANDS,
    *deploy.COMMANDS,
    *sizing.COMMANDS,
    *trace.COMMANDS,
)
