"""How a completion is shown: escaped Markdown, and one quiet line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llmops_jupyter.render.calls import calls_tree
from llmops_jupyter.render.controls import visible
from llmops_jupyter.render.grounded import shown_text, sources_markdown, sources_text
from llmops_jupyter.render.markdown import code_block, inert, quote, safe_markdown

if TYPE_CHECKING:
    from llmops_jupyter.records import Completion


def quiet_line(done: Completion) -> str:
    """Version, model, tokens, time and trace of a completion.

    For instance ``greet@3 · smollm2 · 31 → 12 tokens · 0.4 s (96/s) · trace 1f0a9c2e``.
    """
    parts = [done.prompt_version or "scratch", done.model]
    if done.grounding is not None and not done.usage.output_tokens:
        parts = [done.prompt_version, f"from {done.grounding.index}, no model asked"]
        parts.append(done.guarded())
        if done.trace_id:
            parts.append(f"trace {done.trace_id[:8]}")
        return " · ".join(p for p in parts if p)
    thought = done.usage.reasoning_tokens
    parts.append(
        f"{done.usage.input_tokens} → {done.usage.output_tokens} tokens"
        + (f", {thought} of them reasoning" if thought else "")
    )
    time = f"{done.timing.total_s:.1f} s"
    if done.timing.tokens_per_s:
        time += f" ({done.timing.tokens_per_s:.0f}/s)"
    parts.append(time)
    if done.cost is not None:
        parts.append(f"${done.cost:.2g}" if done.cost else "$0")
    if guarded := done.guarded():
        parts.append(guarded)
    if done.finish_reason == "length":
        parts.append("cut at max_tokens")
    elif done.finish_reason not in ("stop", "content_filter"):
        parts.append(done.finish_reason)
    if done.trace_id:
        parts.append(f"trace {done.trace_id[:8]}")
    return " · ".join(p for p in parts if p)


def completion_markdown(done: Completion) -> str:
    """The answer as safe Markdown, with reasoning and calls before and the quiet line after it."""
    blocks = []
    if done.reasoning:
        blocks.append(quote(done.reasoning))
    if done.tool_calls:
        blocks.append(code_block(calls_tree(done.tool_calls), "text"))
    if done.parsed is not None:
        try:
            shown = json.dumps(plain(done.parsed), indent=2, ensure_ascii=False)
            blocks.append(code_block(shown, "json"))
        except TypeError:
            blocks.append(safe_markdown(done.text))
    else:
        blocks.append(safe_markdown(shown_text(done)))
    if done.grounding is not None and (found := sources_markdown(done.grounding)):
        blocks.append(found)
    notes = [quiet_line(done), *done.notes]
    blocks.append("\n".join(f"*{safe_line(n)}*  " for n in notes).rstrip())
    return "\n\n".join(blocks)


def completion_text(done: Completion) -> str:
    """The answer and the quiet line as plain text."""
    before = [done.reasoning, calls_tree(done.tool_calls)]
    lines = [*(f"{part}\n" for part in before if part), shown_text(done), ""]
    if done.grounding is not None and (found := sources_text(done.grounding)):
        lines += [*found, ""]
    return "\n".join([*lines, *(f"[{n}]" for n in (quiet_line(done), *done.notes))])


def completion_bundle(done: Completion) -> tuple[dict[str, Any], dict[str, Any]]:
    """The MIME bundle of a completion, and its metadata with the trace id."""
    data = {
        "text/markdown": completion_markdown(done),
        "text/plain": visible(completion_text(done)),
    }
    facts = {"trace_id": done.trace_id, "prompt_version": done.prompt_version}
    return data, {"llmops": {name: visible(text) for name, text in facts.items()}}


def plain(value: Any) -> Any:
    """A parsed answer as JSON values; pydantic objects are dumped."""
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if callable(dump) else value


def safe_line(text: str) -> str:
    """A line of ours that may hold names a user chose, safe inside Markdown emphasis."""
    return inert(" ".join(text.split())).replace("*", "\\*").replace("_", "\\_")
