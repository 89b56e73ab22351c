"""The bundled model takes up from the disk what another engine, kernel or worker has read."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys

import pytest

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra demo)")

from processes import wait_until

import llmops_jupyter as lo
from llmops_jupyter.engine.llamacpp import LlamaCppEngine
from llmops_jupyter.engine.protocol import Finished, Request
from llmops_jupyter.engine.saved import default_folder
from llmops_jupyter.models.model import sha256_of
from llmops_jupyter.records import Message, Sampling

SYSTEM = "You answer for a bookshop. " + " ".join(
    f"Rule {i}: book {i} costs {3 * i + 7} euros and stands on shelf {i % 9}." for i in range(30)
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache directory of this test's own, also for its processes."""
    if sys.platform != "linux":
        pytest.skip("the cache directory is set by XDG_CACHE_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert str(default_folder()).startswith(str(tmp_path))
    return default_folder()


@contextlib.contextmanager
def bundled(model_path, **more):
    made = LlamaCppEngine(
        model_path,
        model_name="m",
        model_digest=sha256_of(model_path),
        n_ctx=2048,
        n_threads=1,
        **more,
    )
    try:
        yield made
    finally:
        made.close()


def answer(engine, question, **more):
    messages = (Message("system", SYSTEM), Message("user", question))
    request = Request("r", messages=messages, sampling=Sampling(0.0, 4, logprobs=20), **more)
    (done,) = [e for e in engine.generate([request]) if isinstance(e, Finished)]
    assert done.error is None
    return done


def saved(folder):
    return list(folder.glob("*.kv"))


@pytest.mark.model
def test_an_engine_takes_up_what_the_one_before_has_read(model_path, cache):
    with bundled(model_path, prefix_cache_mb=100) as engine:
        first = answer(engine, "What does book 4 cost?")
        assert first.usage.cached_tokens == 0
        assert wait_until(lambda: saved(cache))
        assert "notes" not in engine.status()
    with bundled(model_path, prefix_cache_mb=100) as engine:
        second = answer(engine, "What does book 4 cost?")
        assert second.usage.cached_tokens > 500
        # The text may differ where two words are as likely as each other, what the first may be not.
        before, after = (dict(done.logprobs[0].top) for done in (first, second))
        likely = [token for token, logprob in before.items() if logprob > -3]
        assert likely
        assert all(abs(after[token] - before[token]) < 0.1 for token in likely)
        # What is computed alone is computed whole.
        assert answer(engine, "Where is book 4?", exact=True).usage.cached_tokens == 0
    (file,) = saved(cache)
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    with bundled(model_path, prefix_cache_mb=100) as engine:
        assert answer(engine, "What does book 4 cost?").usage.cached_tokens == 0
        assert "was damaged and was deleted" in engine.status()["notes"][0]


@pytest.mark.model
def test_nothing_is_saved_where_it_is_switched_off_or_the_model_is_not_known(model_path, cache):
    with bundled(model_path) as engine:
        answer(engine, "What does book 4 cost?")
    assert not cache.exists()
    made = LlamaCppEngine(
        model_path, model_name="m", model_digest="mine", n_ctx=256, prefix_cache_mb=9
    )
    assert made._loaded.scheduler.saving is None
    made.close()


KERNEL = """
import json, sys
import llmops_jupyter as lo
with lo.open(temperature=0.0, max_tokens=3, **json.loads(sys.argv[2])) as ws:
    done = ws.prompts.run(ws.prompts.scratch(sys.argv[1]))
    status = ws.engine.status()
    pid = status["loaded"][0].get("pid")
    print(json.dumps([pid, done.usage.cached_tokens, status["saved"]["entries"]]))
"""


def in_kernel(question, **settings):
    text = f"system: {SYSTEM}\nuser: {question}"
    words = [sys.executable, "-c", KERNEL, text, json.dumps({"prefix_cache_mb": 100, **settings})]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.model
@pytest.mark.parametrize("worker", ["private", "shared"])
def test_the_next_kernel_does_not_read_the_same_beginning_again(model_path, cache, runtime, worker):
    more = {"worker": worker, "worker_idle_s": 0.1}
    first, cached, _ = in_kernel("What does book 4 cost?", **more)
    assert cached == 0
    assert wait_until(lambda: saved(cache))
    second, cached, entries = in_kernel("Where is book 5?", **more)
    assert second != first
    assert cached > 500
    assert entries == 1


@pytest.mark.model
def test_forgetting_deletes_what_is_on_disk_and_in_memory(
    model_path, cache, runtime, own_home, capsys
):
    from llmops_jupyter.cli import main

    question = f"system: {SYSTEM}\nuser: Where is book 5?"
    chosen = {"temperature": 0.0, "max_tokens": 3, "prefix_cache_mb": 100}
    with lo.open(**chosen, worker="private") as ws:
        run = ws.prompts.scratch(question)
        assert ws.prompts.run(run).usage.cached_tokens == 0
        assert wait_until(lambda: saved(cache))
        assert ws.prompts.run(run).usage.cached_tokens > 500
        gone = ws.engine.clear_prefixes()
        assert gone.entries == 1
        assert gone.bytes > 10**6
        assert ws.prompts.run(run).usage.cached_tokens == 0
        assert wait_until(lambda: saved(cache))
    assert main(["models", "status"]) == 0
    assert "saved beginnings of prompts: 1, " in capsys.readouterr().out
    main(["doctor"])
    assert "saved prompts: none are written; there are 1 beginnings" in capsys.readouterr().out
    assert main(["models", "forget"]) == 0
    assert "deleted: 1 saved beginnings of prompts" in capsys.readouterr().out
    assert saved(cache) == []


@pytest.mark.model
def test_nothing_is_saved_of_prompts_that_are_redacted_or_of_a_workspace_in_memory(
    model_path, cache, own_home
):
    question = f"system: {SYSTEM}\nuser: Where is book 5?"
    chosen = {"temperature": 0.0, "max_tokens": 3, "prefix_cache_mb": 100, "worker": "off"}
    with lo.open(**chosen, redact="pii") as ws:
        ws.prompts.run(ws.prompts.scratch(question))
        ws.redact(str.upper)
        ws.prompts.run(ws.prompts.scratch(question))
    with lo.open(":memory:", **chosen) as ws:
        ws.prompts.run(ws.prompts.scratch(question))
    assert not cache.exists()
