"""A bundle on a real Ray cluster: its replicas answer, and one of their nodes is killed under load."""

from __future__ import annotations

import json
import socket
import threading

import pytest
from clusters import cluster

from llmops_jupyter.errors import DeployError, OptionError

pytest.importorskip("ray", reason="needs Ray (extra ray)")
pytest.importorskip("starlette", reason="needs starlette (extra serve)")
httpx = pytest.importorskip("httpx")
pytestmark = [
    pytest.mark.model,
    # Ray's own child processes and files are left to the collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
LOAD, LONG = 10, 160


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture
def served(ws, model_path, tmp_path, monkeypatch):
    """The service, the cluster and its second node."""
    monkeypatch.setenv("LLMOPS_HOME", str(tmp_path / "nodes"))
    ws.models.add(model_path, name="smollm2")
    ws.prompts.save("capital", "system: Answer in one short sentence.\nuser: {{ q }}\n")
    ws.deploy.build("capital", model="smollm2", temperature=0, max_tokens=16)
    with cluster() as (made, nodes):
        running = ws.deploy.ray("capital", replicas=2, port=free_port())
        yield running, made, nodes[1]
        running.stop()


def body(text, *, stream=False, tokens=8):
    messages = [{"role": "user", "content": text}]
    return {"model": "capital", "messages": messages, "max_tokens": tokens, "stream": stream}


def test_no_request_is_lost_with_a_node_and_a_broken_stream_says_so(served, ws):
    running, made, second = served
    url = f"{running.url}/chat/completions"
    answer = httpx.post(url, json=body("What is the capital of France?"), timeout=60).json()
    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert running.status() == {"status": "RUNNING", "replicas": 2}
    refused = httpx.post(url, json={**body("hi"), "model": "other"}, timeout=60)
    assert refused.status_code == 404
    assert "There is no model 'other'" in refused.json()["error"]["message"]
    assert httpx.post(url, content=b"x" * (5 << 20), timeout=60).status_code == 413

    model = ws.deploy.use("capital", running.url)
    said = ws.prompts.run("capital", {"q": "Hello."}, model=model.name, max_tokens=4)
    assert said.text
    assert said.model == "capital-served"

    begun, results = threading.Semaphore(0), {}

    def ask(number):
        streams = number % 2 == 0
        asked = body(f"Tell a long story about {number}.", stream=streams, tokens=LONG)
        with httpx.stream("POST", url, json=asked, timeout=120) as response:
            text = ""
            for part in response.iter_text():
                if streams and "content" in part and not text:
                    begun.release()
                text += part
            results[number] = (response.status_code, text)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(LOAD)]
    for thread in threads:
        thread.start()
    for _ in range(LOAD // 2):
        begun.acquire(timeout=60)
    made.remove_node(second, allow_graceful=False)
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(LOAD))
    assert {status for status, _ in results.values()} == {200}
    for number, (_, text) in results.items():
        if number % 2:
            assert json.loads(text)["choices"][0]["finish_reason"] in ("length", "stop")
        else:
            last = text.rstrip().rsplit("\n\n", 1)[-1]
            assert last == "data: [DONE]" or '"code": "replica_lost"' in last
    assert httpx.post(url, json=body("And then?"), timeout=60).status_code == 200


def test_what_cannot_be_served_is_told(ws, model_path, tmp_path):
    ws.models.add(model_path, name="smollm2")
    ws.prompts.save("capital", "{{ q }}")
    ws.deploy.build("capital", model="smollm2")
    with pytest.raises(OptionError, match="leave out replicas"):
        ws.deploy.ray("capital", replicas=2, max_replicas=3)
    with pytest.raises(OptionError, match="without keys everybody could ask"):
        ws.deploy.ray("capital", host="0.0.0.0")
    with pytest.raises(DeployError, match="cannot be used"):
        ws.deploy.ray("capital", address="127.0.0.1:1")
