"""A trace as JSON for the Lab renderer, as HTML that reads anywhere, and as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_jupyter.render.calls import call_text
from llmops_jupyter.render.controls import visible
from llmops_jupyter.render.html import bundle, cut, escaped
from llmops_jupyter.render.quantities import quantity

TRACE_MIME = "application/vnd.llmops.trace.v1+json"


def trace_bundle(trace: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The MIME bundle of a trace given as plain JSON values (`Trace.as_dict`)."""
    data = {TRACE_MIME: dict(trace), **bundle(trace_text(trace), trace_html(trace))}
    return data, {"llmops": {"trace_id": visible(trace["trace_id"])}}


def _ordered(trace: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    """Spans with their depth, children below their parents in the order of their start."""
    spans = trace["spans"]
    known = {s["span_id"] for s in spans}
    children: dict[str | None, list[Mapping[str, Any]]] = {}
    for span in spans:
        parent = span["parent_id"] if span["parent_id"] in known else None
        children.setdefault(parent, []).append(span)
    found: list[tuple[int, Mapping[str, Any]]] = []
    stack = [(0, s) for s in reversed(children.get(None, []))]
    while stack:
        depth, span = stack.pop()
        found.append((depth, span))
        stack.extend((depth + 1, s) for s in reversed(children.get(span["span_id"], [])))
    return found


def _facts(span: Mapping[str, Any]) -> str:
    facts = [str(span["status"])]
    if span["duration_s"] is not None:
        facts.append(f"{span['duration_s']:.3f} s")
    if span["input_tokens"] is not None:
        facts.append(f"{span['input_tokens']} → {span['output_tokens'] or 0} tokens")
    facts += [_figure(name, figure) for name, figure in (span.get("resources") or {}).items()]
    if span["cost"] is not None:
        facts.append(f"{quantity(span['cost'], '$')} (estimated)")
    if span["model"]:
        facts.append(str(span["model"]))
    if span["prompt"]:
        facts.append(str(span["prompt"]))
    return " · ".join(facts)


def _figure(name: str, figure: Mapping[str, Any]) -> str:
    """A figure with how it was come by, if it was not simply measured."""
    source = "" if figure["source"] == "measured" else f" ({figure['source']})"
    return f"{name} {quantity(figure['value'], figure['unit'])}{source}"


def _score(score: Mapping[str, Any]) -> str:
    shown = score["label"] if score["label"] is not None else score["value"]
    why = f" – {score['explanation']}" if score["explanation"] else ""
    return f"{score['name']} = {shown} ({score['source']}){why}"


def trace_text(trace: Mapping[str, Any]) -> str:
    """The tree of spans with messages, errors and scores, indented."""
    lines = [f"trace {trace['trace_id']}  {trace['started_at']}"]
    for depth, span in _ordered(trace):
        pad = "  " * (depth + 1)
        lines.append(f"{pad}{span['name']}  [{_facts(span)}]")
        lines += [f"{pad}  {m['role']}: {cut(_said(m), 500)}" for m in span["input"]]
        lines += [f"{pad}  → {m['role']}: {cut(_said(m), 500)}" for m in span["output"]]
        lines += [f"{pad}  {cut(text, 500)}" for text in (*_called(span), *_guarded(span))]
        if span["error_message"]:
            lines.append(f"{pad}  ! {span['error_type']}: {cut(span['error_message'], 500)}")
    if trace["notebook"]:
        lines.append(f"  from {trace['notebook']} cell {trace['cell_id']}")
    lines += [f"  score {_score(s)}" for s in trace["scores"]]
    return "\n".join(lines)


def _said(message: Mapping[str, Any]) -> str:
    """A message's text, with the calls that it asks for."""
    calls = [call_text(call["name"], call["arguments"]) for call in message.get("tool_calls", ())]
    return "\n".join(part for part in (str(message["content"]), *calls) if part)


def _called(span: Mapping[str, Any]) -> list[str]:
    """The call of a tool and its result, of a span that is one."""
    attributes = span["attributes"]
    arguments = attributes.get("gen_ai.tool.call.arguments")
    if not isinstance(arguments, Mapping):
        return []
    found = [call_text(str(attributes.get("gen_ai.tool.name", "")), arguments)]
    result = attributes.get("gen_ai.tool.call.result")
    return found if result is None else [*found, f"→ {result}"]


def _guarded(span: Mapping[str, Any]) -> list[str]:
    """The verdicts of a span of a guard, those that found something first."""
    verdicts = span["attributes"].get("llmops.guard.verdicts")
    if not isinstance(verdicts, list):
        return []
    made = [v for v in verdicts if isinstance(v, Mapping)]
    return [_verdict(v) for v in sorted(made, key=lambda v: v.get("decision") == "allow")]


def _verdict(verdict: Mapping[str, Any]) -> str:
    score = verdict.get("score")
    shown = f" (score {score:.3f} of {verdict.get('threshold')})" if score is not None else ""
    why = f": {verdict['reason']}" if verdict.get("reason") else ""
    done = verdict.get("action")
    did = f" → {done}" if done not in (None, "none") else ""
    evidence = f" – {verdict['evidence']}" if verdict.get("evidence") else ""
    return f"{verdict.get('decision')} {verdict.get('check')}{shown}{did}{why}{evidence}"


def _message_html(message: Mapping[str, Any], mark: str = "") -> str:
    role, content = escaped(str(message["role"])), escaped(_said(message))
    return (
        f"<div style='margin:.3em 0'><b>{mark}{role}</b>"
        f"<pre style='white-space:pre-wrap;margin:0'>{content}</pre></div>"
    )


def trace_html(trace: Mapping[str, Any]) -> str:
    """The tree of spans as escaped HTML that needs neither script nor server."""
    blocks = [
        (
            f"<div><b>trace</b> <code>{escaped(trace['trace_id'])}</code> "
            f"{escaped(trace['started_at'])}</div>"
        )
    ]
    for depth, span in _ordered(trace):
        inner = "".join(_message_html(m) for m in span["input"])
        inner += "".join(_message_html(m, "→ ") for m in span["output"])
        called = escaped("\n".join((*_called(span), *_guarded(span))))
        inner += f"<pre style='white-space:pre-wrap;margin:0'>{called}</pre>" if called else ""
        if span["error_message"]:
            text = escaped(f"{span['error_type']}: {span['error_message']}")
            inner += f"<div style='color:var(--jp-error-color1,#c00)'>{text}</div>"
        blocks.append(
            f"<details open style='margin-left:{depth * 1.5}em'>"
            f"<summary><b>{escaped(span['name'])}</b> "
            f"<small>{escaped(_facts(span))}</small></summary>{inner}</details>"
        )
    if trace["notebook"]:
        where = f"{trace['notebook']} cell {trace['cell_id']} [{trace['execution_count']}]"
        blocks.append(f"<div><small>from {escaped(where)}</small></div>")
    blocks += [f"<div>score {escaped(_score(s))}</div>" for s in trace["scores"]]
    return f"<div class='llmops-trace' style='overflow-wrap:anywhere'>{''.join(blocks)}</div>"
