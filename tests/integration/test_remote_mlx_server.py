"""The remote engine against the server of mlx-lm, which knows the standard fields and enforces no schema."""

from __future__ import annotations

import json
import os
import sys

import pytest
from mlx_models import write_folder
from remote_processes import started, stop

from llmops_jupyter.engine.protocol import Finished, Request
from llmops_jupyter.engine.remote import RemoteEngine
from llmops_jupyter.errors import EngineError
from llmops_jupyter.models.endpoint import Endpoint
from llmops_jupyter.records import Message, Sampling

pytest.importorskip("mlx_lm", reason="mlx-lm is not installed (extra mlx)")

SHORT = Sampling(temperature=0, max_tokens=6)
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}<|im_start|>"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = write_folder(tmp_path_factory.mktemp("mlx") / "model")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["chat_template"] = TEMPLATE
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(folder.parent)}
    command = [sys.executable, "-m", "mlx_lm", "server", "--model", str(folder)]
    log = tmp_path_factory.mktemp("mlx_server") / "log"
    found, process = started(command, log, environment)
    yield found
    stop(process)


@pytest.fixture
def opened(url):
    engines = []

    def make(model="default_model"):
        engines.append(RemoteEngine(Endpoint(url, model), model_name="far"))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def ends(engine, *requests):
    return [e for e in engine.generate(requests) if isinstance(e, Finished)]


def ask(number="1", **options):
    return Request(number, (Message("user", "Hi"),), **{"sampling": SHORT, **options})


def test_an_answer_comes_with_its_tokens_counted(opened):
    (end,) = ends(opened(), ask())
    assert (end.finish_reason, end.error, end.usage.output_tokens) == ("length", None, 6)


def test_rows_end_whole(opened):
    found = ends(opened(), *[ask(str(n), interactive=False) for n in range(12)])
    assert {e.finish_reason for e in found} == {"length"}
    assert len({e.text for e in found}) == 1


def test_fewer_likely_tokens_than_usual_are_taken(opened):
    engine = opened()
    (scores,) = engine.score([((Message("user", "Hello"),), ["a", "b"])])
    assert len(scores) == 2
    assert all(value <= 0 for value in scores)


def test_what_it_cannot_do_is_told(opened):
    with pytest.raises(EngineError, match="Check the address"):
        opened().embed(["text"])
    (end,) = ends(opened("no/such-model"), ask())
    assert end.finish_reason == "error"
    assert isinstance(end.error, EngineError)
