"""What was made from a forgotten document: passages and answers in traces, conversations and evaluations."""

from __future__ import annotations

import json
import re
import sqlite3
from dataclasses import replace
from typing import Any

from llmops_jupyter.prompts.grounding import NOT_FOUND, UNSUPPORTED
from llmops_jupyter.prompts.journal import completion_from_json, completion_to_json
from llmops_jupyter.rag.followups import QUOTED
from llmops_jupyter.rag.packing import name_of
from llmops_jupyter.records import Completion
from llmops_jupyter.store import Store
from llmops_jupyter.tracing.rewriting import (
    Change,
    changed_texts,
    rewrite_attributes,
    rewrite_messages,
)

GONE = "(forgotten)"
# Shorter answers, such as "yes", stand in too many texts.
LEAST = 12


def redact(store: Store, index: str, source: str) -> int:
    """Take a document's passages, and the answers that were made with them, out of what the store keeps of runs.

    That is the traces of these runs and of the sessions they belong to, their turns, and what evaluations and
    maps that were broken off keep. Returns how many traces had passages of it.
    """
    with store.write() as conn:
        traces = traces_of(conn, index, source)
        if not traces:
            return 0
        sessions = _sessions(conn, traces)
        spans = _spans(conn, traces, sessions)
        change = _change(source, _answers(conn, traces))
        rewrite_messages(conn, spans, change)
        own = set(traces)
        rewrite_attributes(
            conn, [s for s, trace in spans.items() if trace in own], lambda f: _facts(f, change)
        )
        rewrite_attributes(
            conn,
            [s for s, trace in spans.items() if trace not in own],
            lambda f: changed_texts(f, change),
        )
        for trace_id in traces:
            conn.execute(
                "UPDATE scores SET explanation = ? WHERE trace_id = ? AND source != 'human' AND "
                "explanation IS NOT NULL AND explanation != ''",
                (GONE, trace_id),
            )
        _redact_turns(conn, sessions, change)
        _redact_outputs(conn, traces, source)
        _drop_unfinished(conn, traces)
    return len(traces)


def _sessions(conn: sqlite3.Connection, traces: list[str]) -> set[str]:
    found: set[str] = set()
    for trace_id in traces:
        for row in conn.execute(
            "SELECT session FROM spans WHERE trace_id = ? AND session IS NOT NULL "
            "UNION SELECT session FROM session_turns WHERE trace_id = ?",
            (trace_id, trace_id),
        ):
            found.add(row[0])
    return found


def _spans(conn: sqlite3.Connection, traces: list[str], sessions: set[str]) -> dict[int, str]:
    """The spans of these traces, and of traces of these sessions, which were told what was answered before."""
    known = set(traces)
    for session in sessions:
        for row in conn.execute("SELECT trace_id FROM spans WHERE session = ?", (session,)):
            known.add(row[0])
    found = {}
    for trace_id in known:
        for row in conn.execute("SELECT id FROM spans WHERE trace_id = ?", (trace_id,)):
            found[row[0]] = trace_id
    return found


def traces_of(conn: sqlite3.Connection, index: str, source: str) -> list[str]:
    """Traces of runs that were given passages of a document."""
    found = []
    for row in conn.execute("SELECT trace_id, attributes FROM spans WHERE op = 'packing'"):
        facts = json.loads(row["attributes"])
        if facts.get("gen_ai.data_source.id") == index and any(
            p.get("source") == source for p in facts.get("llmops.rag.passages", ())
        ):
            found.append(row["trace_id"])
    return list(dict.fromkeys(found))


def _answers(conn: sqlite3.Connection, traces: list[str]) -> set[str]:
    """What models said in these traces."""
    found: set[str] = set()
    for trace_id in traces:
        for row in conn.execute(
            "SELECT m.parts FROM spans s JOIN messages m ON m.hash = s.output_message "
            "WHERE s.trace_id = ?",
            (trace_id,),
        ):
            found |= {p.get("content", "") for p in json.loads(row["parts"])}
    own = {_bare(NOT_FOUND), _bare(UNSUPPORTED), _bare(GONE), ""}
    return {text for text in found if _bare(text) not in own}


def _bare(text: str) -> str:
    return text.strip(" .!\n").casefold()


def _change(source: str, answers: set[str]) -> Change:
    # As `packing` writes it: the number, then source and place.
    block = re.compile(
        rf'<passage (\d+) from="{re.escape(name_of(source))}(?:, [^"\n]*)?">\n.*?\n</passage \1>',
        re.DOTALL,
    )

    def change(role: str, text: str) -> str:
        if text in answers and role in ("assistant", ""):
            return GONE
        for answer in answers:
            # A question that was rewritten quotes the answers before it.
            for part in (answer, answer[:QUOTED]):
                if len(part) >= LEAST:
                    text = text.replace(part, GONE)
        return block.sub(rf"<passage \1>\n{GONE}\n</passage \1>", text)

    return change


# Attributes of a run with a document that may hold what it says.
_TELLING = (
    "llmops.rag.claims",
    "llmops.reasoning",
    "llmops.request.prefill",
    "input.value",
    "output.value",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
)


def _facts(facts: dict[str, Any], change: Change) -> Any:
    """The attributes of a run that was given the document."""
    told = {key: GONE for key in _TELLING if key in facts}
    if facts.get("llmops.rag.query_is") == "rewritten":
        told["gen_ai.retrieval.query.text"] = GONE
    return changed_texts({**facts, **told}, change)


def _redact_turns(conn: sqlite3.Connection, sessions: set[str], change: Change) -> None:
    rows = conn.execute("SELECT session, position, messages FROM session_turns").fetchall()
    for row in rows:
        if row["session"] not in sessions:
            continue
        messages = json.loads(row["messages"])
        made = [{**m, **_said(m, change)} for m in messages]
        if made != messages:
            conn.execute(
                "UPDATE session_turns SET messages = ? WHERE session = ? AND position = ?",
                (json.dumps(made, ensure_ascii=False), row["session"], row["position"]),
            )


def _said(message: dict[str, Any], change: Change) -> dict[str, Any]:
    content = message.get("content")
    return (
        {"content": change(str(message.get("role")), content)} if isinstance(content, str) else {}
    )


def _redact_outputs(conn: sqlite3.Connection, traces: list[str], source: str) -> None:
    """Answers that evaluations keep."""
    known = set(traces)
    for row in conn.execute("SELECT id, trace_id, completion FROM evaluation_outputs").fetchall():
        if row["trace_id"] in known:
            done = _without(completion_from_json(row["completion"]), source)
            conn.execute(
                "UPDATE evaluation_outputs SET completion = ?, key = ? WHERE id = ?",
                # Under its key it would be taken for the answer if the document comes back.
                (
                    completion_to_json(done, lambda value: value),
                    f"forgotten-{row['id']}",
                    row["id"],
                ),
            )
            conn.execute(
                "UPDATE scores SET explanation = ? WHERE output_id = ? AND source != 'human' AND "
                "explanation IS NOT NULL AND explanation != ''",
                (GONE, row["id"]),
            )


def _without(done: Completion, source: str) -> Completion:
    hits = tuple(replace(h, text=GONE) if h.source == source else h for h in done.hits)
    return replace(
        done,
        text=done.text if done.text in (NOT_FOUND, UNSUPPORTED) else GONE,
        reasoning="",
        parsed=None,
        hits=hits,
        logprobs=(),
        messages=(),
        grounding=None,
    )


def _drop_unfinished(conn: sqlite3.Connection, traces: list[str]) -> None:
    """Rows of maps that were broken off: they are run again."""
    known = set(traces)
    for row in conn.execute("SELECT run_id, position, completion FROM map_rows").fetchall():
        if json.loads(row["completion"]).get("trace_id") in known:
            conn.execute(
                "DELETE FROM map_rows WHERE run_id = ? AND position = ?",
                (row["run_id"], row["position"]),
            )
