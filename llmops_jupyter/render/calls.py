"""Calls of tools as lines of text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llmops_jupyter.render.html import cut

MOST = 120


def call_text(name: str, arguments: Mapping[str, Any]) -> str:
    """A call as one writes it, for instance ``add(a=3, b=4)``."""
    shown = ", ".join(f"{k}={json.dumps(v, ensure_ascii=False)}" for k, v in arguments.items())
    return f"{name}({cut(shown, MOST)})"


def called_text(call: Mapping[str, Any]) -> str:
    """A call with what came of it and its seconds; with dots while it runs."""
    if "result" not in call:
        return f"{call_text(call['name'], call['arguments'])} …"
    mark = "✗" if call.get("error") else "→"
    text = (
        f"{call_text(call['name'], call['arguments'])} {mark} {cut(call.get('result', ''), MOST)}"
    )
    seconds = call.get("duration_s")
    return text if not seconds else f"{text}  [{seconds:.2f} s]"


def calls_tree(calls: Sequence[Mapping[str, Any]]) -> str:
    """The calls below the steps in which they were asked for."""
    lines = []
    for place, call in enumerate(calls):
        step = call.get("step")
        if place == 0 or calls[place - 1].get("step") != step:
            lines.append(f"step {step}")
        more = place + 1 < len(calls) and calls[place + 1].get("step") == step
        lines.append(f"{'├' if more else '└'}─ {called_text(call)}")
    return "\n".join(lines)
