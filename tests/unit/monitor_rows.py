"""Rows and traces of a shop's support, with planted changes."""

from __future__ import annotations

import json
import random

from llmops_jupyter.records import Message, Usage

TOPICS = {
    "order": [
        "where",
        "is",
        "my",
        "{}",
        "order",
        "it",
        "was",
        "shipped",
        "to",
        "{}",
        "last",
        "week",
    ],
    "refund": [
        "i",
        "want",
        "a",
        "refund",
        "for",
        "the",
        "{}",
        "that",
        "came",
        "broken",
        "from",
        "{}",
    ],
    "card": ["my", "credit", "card", "was", "charged", "twice", "for", "the", "{}", "in", "{}"],
}
NEW = ["how", "do", "i", "cancel", "the", "gym", "membership", "for", "{}", "in", "{}", "please"]
THINGS = ("lamp", "book", "kettle", "chair", "jacket", "phone", "desk", "clock", "mirror", "carpet")
TOWNS = ("oslo", "rome", "paris", "porto", "ghent", "lyon", "berlin", "madrid")


def question(rng, words):
    text = " ".join(words).format(rng.choice(THINGS), rng.choice(TOWNS)).split()
    rng.shuffle(text)
    return " ".join(text[: rng.randint(6, len(text))])


def rows(count, seed=0, *, new=0.0, slower=1.0, refusing=0.05, session=None):
    """Rows with input, output, latency and a category; `new` of them on a topic that is new."""
    rng = random.Random(seed)
    made = []
    for place in range(count):
        words = NEW if rng.random() < new else TOPICS[rng.choice(sorted(TOPICS))]
        refused = rng.random() < refusing
        row = {
            "id": f"{seed}-{place}",
            "input": question(rng, words),
            "output": "I'm sorry, but I can't help with that."
            if refused
            else f"It is on its way and comes in {rng.randint(2, 90)} days.",
            "latency": slower * rng.gammavariate(3.0, 0.2),
            "channel": rng.choice(("web", "web", "mail", "phone")),
        }
        if session is not None:
            row["session"] = f"{seed}-s{place // session}"
        made.append(row)
    return made


def trace(ws, row, *, prompt="support", session=None, scores=None, together=1):
    """A trace as running a prompt leaves one; returns its id."""
    root = ws.tracer.span(
        f"prompt {prompt}@1",
        op="invoke_workflow",
        attributes={"llmops.prompt.variables": {"question": row["input"]}},
        messages=(Message("system", "Be kind."), Message("user", f"Customer: {row['input']}")),
        model="small",
        prompt_name=prompt,
        prompt_version=1,
        session=session or row.get("session"),
    ).begin()
    root.usage(Usage(len(row["input"].split()), len(row["output"].split())))
    root.first_token(row["latency"] / 4)
    root.output(row["output"])
    root.set("gen_ai.response.finish_reasons", ["stop"])
    root.set("llmops.map.rows", together)
    root.timed(row["latency"])
    root.finish()
    for name, value in (scores or {}).items():
        ws.traces.score(root.trace_id, name, value, source="judge")
    return root.trace_id


def bulk(ws, count, *, first_ns=1_700_000_000_000_000_000, sessions=0):
    """Many traces, put into the store without a tracer."""
    rng = random.Random(5)
    with ws.store.write() as conn:
        process = ws.tracer.register_process(conn)
        last = conn.execute("SELECT coalesce(max(id), 0) FROM spans").fetchone()[0]
        made = []
        for place in range(last, last + count):
            start = first_ns + place * 1_000_000_000
            text = question(rng, TOPICS[rng.choice(sorted(TOPICS))])
            made.append(
                (
                    f"{place:032x}",
                    f"{place:016x}",
                    f"s{place % sessions}" if sessions else None,
                    *("prompt", "invoke_workflow", "INTERNAL", start, start + 10**8, "ok"),
                    *("support", 1, rng.randint(5, 90), rng.randint(5, 90), process),
                    json.dumps(
                        {"llmops.prompt.variables": {"question": text}, "output.value": text}
                    ),
                    "",
                )
            )
        conn.executemany(
            "INSERT INTO spans(trace_id, span_id, session, name, op, kind, start_ns, end_ns, status, "
            "prompt_name, prompt_version, input_tokens, output_tokens, process_id, attributes, schema_url) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            made,
        )
