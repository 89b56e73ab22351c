"""One cell, three places to run: llama.cpp, MLX and an endpoint."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
import time

import httpx
import pytest

pytestmark = pytest.mark.model

SETTINGS = {"temperature": 0, "max_tokens": 40}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}},
    "required": ["city"],
    "additionalProperties": False,
}
ASKED = (
    "---system\nYou answer in one short sentence.\n---user\nWhat is the capital of {{ country }}?"
)


@pytest.fixture(scope="module")
def url(model_path, tmp_path_factory):
    for name in ("fastapi", "uvicorn", "sse_starlette", "starlette_context", "pydantic_settings"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"llama_cpp.server needs {name}, which is not installed (extra test)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(model_path)]
    command += ["--port", str(port), "--model_alias", "smollm2", "--n_ctx", "1024"]
    with (tmp_path_factory.mktemp("server") / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/v1/models").is_success:
                break
        except httpx.TransportError:
            time.sleep(0.1)
    yield f"http://127.0.0.1:{port}/v1"
    process.terminate()
    process.wait(20)


@pytest.fixture(params=["llama.cpp", "mlx", "endpoint"])
def place(request, ws, model_path):
    """The name of the provider that is to answer, with the model chosen as the workspace's default."""
    if request.param == "endpoint":
        from llmops_jupyter.models.endpoint import Endpoint

        ws.models.add_endpoint("far", Endpoint(request.getfixturevalue("url"), "smollm2"))
        ws.models.use("far")
        return "llama.cpp"
    if request.param == "mlx":
        pytest.importorskip("mlx_lm", reason="mlx-lm is not installed (extra mlx)")
    ws.models.add(model_path, "smollm2")
    ws.configure(backend=request.param)
    return request.param


def double(number: int) -> int:
    """Twice a number."""
    return 2 * number


def test_the_same_cell_runs_unchanged(ws, place):
    prompt = ws.prompts.save("capital", ASKED)
    made = ws.prompts.run(prompt, {"country": "France"}, **SETTINGS)
    assert "Paris" in made.text
    table = ws.prompts.map(prompt, [{"country": c} for c in ("Italy", "Spain")], **SETTINGS)
    assert ["Rome" in table[0].text, "Madrid" in table[1].text] == [True, True]
    shaped = ws.prompts.scratch(ASKED, schema=SCHEMA)
    assert set(ws.prompts.run(shaped, {"country": "Japan"}, **SETTINGS).parsed) == {"city"}
    called = ws.prompts.run(
        ws.prompts.scratch("What is twice 21?"),
        tools=[double],
        tool_choice=["double", "none"],
        temperature=0,
        max_tokens=60,
    )
    (call,) = called.tool_calls
    assert call["name"] == "double"
    assert json.loads(call["result"]) == 2 * call["arguments"]["number"]
    trace = ws.traces.get(called.trace_id)
    assert [span.op for span in trace.spans].count("execute_tool") == 1
    assert {span.provider for span in trace.spans if span.op == "chat"} == {place}
