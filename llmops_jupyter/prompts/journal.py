"""Finished rows of an unfinished map, kept so that a killed one goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, Protocol

from llmops_jupyter.prompts.options import Options
from llmops_jupyter.prompts.prepare import Prepared
from llmops_jupyter.records import (
    Completion,
    Grounding,
    Hit,
    Message,
    Resources,
    Timing,
    TokenLogprob,
    Usage,
    Verdict,
)
from llmops_jupyter.tracing import Tracer
from llmops_jupyter.tracing.process import is_dead, this_process

REDACTED = "taken from the run that was broken off, where personal data was left out of this answer"
CONTENT = (
    "text",
    "reasoning",
    "parsed",
    "hits",
    "tool_calls",
    "verdicts",
    "notes",
    "logprobs",
    "messages",
    "grounding",
)


class Kept(Protocol):
    """Where the finished rows of a map are kept, and where those come from that need not run."""

    done: dict[int, Completion]

    def keep(self, position: int, done: Completion) -> None:
        """A row has its completion."""
        ...

    def finish(self) -> None:
        """All rows have been run."""
        ...


# Makes it from the first row's request and the hash of what the prompt has become in each row.
Keep = Callable[[Prepared, Sequence[str]], Kept]


class Journal:
    """The rows of one map.

    A map is the same if prompt content, model, settings and what the prompt has become in each row are
    (`map_key`). One that has come to its end is not resumed: running it again runs it anew. Nor is one
    that another living process works on. What is kept is redacted as traces are.
    """

    def __init__(self, tracer: Tracer, key: str, total: int) -> None:
        self.tracer = tracer
        self.store = tracer.store
        self.done: dict[int, Completion] = {}
        found = None
        for row in self.store.rows(
            "SELECT r.id, p.* FROM map_runs r LEFT JOIN processes p ON p.id = r.process_id "
            "WHERE r.key = ? AND r.finished_at IS NULL ORDER BY r.id DESC",
            (key,),
        ):
            mine = row["pid"] is None or row[1] == this_process().id
            if mine or is_dead(row):
                found = row[0]
                break
        with self.store.write() as conn:
            if found is None:
                cursor = conn.execute(
                    "INSERT INTO map_runs(key, total, process_id, started_at) VALUES (?, ?, ?, ?)",
                    (key, total, this_process().id, self.store.now()),
                )
                self.id = int(cursor.lastrowid or 0)
                return
            self.id = found
            conn.execute(
                "UPDATE map_runs SET process_id = ? WHERE id = ?", (this_process().id, found)
            )
        for row in self.store.rows(
            "SELECT position, completion FROM map_rows WHERE run_id = ?", (self.id,)
        ):
            self.done[row[0]] = completion_from_json(row[1])

    def keep(self, position: int, done: Completion) -> None:
        with self.store.write() as conn:
            conn.execute(
                "INSERT OR REPLACE INTO map_rows(run_id, position, completion) VALUES (?, ?, ?)",
                (self.id, position, completion_to_json(done, self.tracer.clean)),
            )

    def finish(self) -> None:
        """The map is complete: its rows are in the traces, the journal's copies go."""
        with self.store.write() as conn:
            conn.execute(
                "UPDATE map_runs SET finished_at = ? WHERE id = ?", (self.store.now(), self.id)
            )
            conn.execute("DELETE FROM map_rows WHERE run_id = ?", (self.id,))


def map_key(prepared: Prepared, rows: str, count: int) -> str:
    """What makes two maps the same work; `rows` is the fingerprint of the filled prompts."""
    options = prepared.options
    parts = [
        prepared.content.to_text(),
        prepared.engine.model_digest,
        json.dumps(asdict(options.sampling), sort_keys=True),
        json.dumps(
            [
                *(options.adapter_pairs(), options.exact, count),
                *_of_tools(options),
                *_of_documents(prepared),
                *_of_guard(prepared),
            ]
        ),
        rows,
    ]
    return _hashed(parts)


def settings_key(prepared: Prepared) -> str:
    """What decides the answers of a prompt beside the rows: content, model, adapters, sampling, tools."""
    options = prepared.options
    return _hashed(
        [
            prepared.content.to_json(),
            prepared.engine.model_digest,
            json.dumps(asdict(options.sampling), sort_keys=True),
            json.dumps(
                [
                    *(options.adapter_pairs(), options.exact),
                    *_of_tools(options),
                    *_of_documents(prepared),
                    *_of_guard(prepared),
                ]
            ),
        ]
    )


def _hashed(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "backslashreplace")).hexdigest()


def _of_tools(options: Options) -> list[Any]:
    """Settings that decide the answers of a prompt with tools."""
    if not options.tools:
        return []
    return [options.tool_choice, options.max_steps, options.approve]


def _of_documents(prepared: Prepared) -> list[Any]:
    """What decides the answers of a prompt that is given documents: index, its content, search, packing."""
    return [] if prepared.source is None else [prepared.source.key]


def _of_guard(prepared: Prepared) -> list[Any]:
    """What decides the answers of a prompt under a guard policy."""
    return [] if prepared.guarding is None else [f"guard {prepared.guarding.key}"]


def completion_to_json(done: Completion, clean: Callable[[Any], Any]) -> str:
    """A completion as text, its content cleaned; a parsed pydantic object is dumped.

    Where cleaning took something out, the log-probabilities go too: token by token they would tell it.
    """
    value: dict[str, Any] = {k: v for k, v in vars(done).items() if k not in CONTENT}
    value["usage"], value["timing"] = asdict(done.usage), asdict(done.timing)
    value["resources"] = None if done.resources is None else asdict(done.resources)
    dump = getattr(done.parsed, "model_dump", None)
    content = {
        **{name: getattr(done, name) for name in CONTENT},
        "parsed": dump(mode="json") if callable(dump) else done.parsed,
        "hits": [asdict(h) for h in done.hits],
        "verdicts": [verdict.as_dict() for verdict in done.verdicts],
        "logprobs": [asdict(t) for t in done.logprobs],
        "messages": [message.as_dict() for message in done.messages],
        "grounding": asdict(done.grounding) if done.grounding is not None else None,
    }
    plain = json.loads(json.dumps(content, default=str))
    kept = clean(plain)
    if kept != plain:
        kept["logprobs"] = []
        value["redacted"] = True
    return json.dumps({**value, **kept}, ensure_ascii=True)


def completion_from_json(text: str) -> Completion:
    """The completion that `completion_to_json` wrote."""
    value = json.loads(text)
    redacted = value.pop("redacted", False)
    made = Completion(
        **{
            **value,
            "usage": Usage(**value["usage"]),
            "timing": Timing(**value["timing"]),
            "resources": Resources(**value["resources"]) if value.get("resources") else None,
            "hits": tuple(Hit(**h) for h in value["hits"]),
            "logprobs": tuple(
                TokenLogprob(t["token"], t["logprob"], tuple((w, p) for w, p in t["top"]))
                for t in value.get("logprobs", ())
            ),
            "messages": tuple(Message.from_dict(m) for m in value.get("messages", ())),
            "grounding": Grounding.from_dict(value["grounding"])
            if value.get("grounding")
            else None,
            "verdicts": tuple(Verdict.from_dict(v) for v in value["verdicts"]),
            **{k: tuple(value[k]) for k in ("tool_calls", "notes")},
        }
    )
    return replace(made, notes=(*made.notes, REDACTED)) if redacted else made
