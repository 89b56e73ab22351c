"""`llmops traces send`: until it is interrupted, or once, for cron."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands import Result
from llmops_jupyter.commands.exchanging import send_
from llmops_jupyter.errors import OptionError

if TYPE_CHECKING:
    from llmops_jupyter.cli.program import Terminal

HELP = (
    "with --once it ends with 0 all sent, 1 an error, 2 some were refused, 3 the endpoint did not answer and the rest waits; "
    "without, it goes on until it is interrupted"
)


def run_send(terminal: Terminal, values: Mapping[str, Any]) -> Result:
    """Send; what only a kernel can do is refused."""
    for name in ("background", "stop"):
        if values[name]:
            raise OptionError(
                f"--{name} goes with a notebook, whose kernel lives on. Here sending goes on until it is interrupted; "
                "--once ends by itself."
            )
    return send_(terminal, values)
