"""Adapters by name: registered, handed to the engine, refused where they were not measured."""

from __future__ import annotations

import numpy as np
import pytest
from engine_fakes import plug

from llmops_jupyter.engine import remembered
from llmops_jupyter.engine.cassette import Cassette
from llmops_jupyter.engine.divergence import Divergence
from llmops_jupyter.errors import ModelError, UnknownNameError


@pytest.fixture
def engine(ws):
    return plug(ws)


@pytest.fixture
def adapter(ws, tmp_path):
    from gguf_files import write_gguf

    return ws.models.add(write_gguf(tmp_path / "style.gguf", kind="adapter"))


def test_an_adapter_is_registered_and_not_offered_as_a_model(ws, adapter, tmp_path):
    from gguf_files import write_gguf

    assert [a.ref for a in ws.models.adapters()] == ["style@1"]
    assert ws.models.list() == []
    with pytest.raises(ModelError, match="--adapter style"):
        ws.models.resolve("style")
    with pytest.raises(ModelError, match="--adapter style"):
        ws.models.use("style")
    ws.models.add(write_gguf(tmp_path / "base.gguf", fill=1.0))
    assert ws.models.resolve().ref == "base@1"
    with pytest.raises(ModelError, match="whole model"):
        ws.models.adapter("base")
    with pytest.raises(UnknownNameError, match="Did you mean 'style'"):
        ws.models.adapter("stile")


@pytest.mark.parametrize(
    "given", ["style:0.5", ["style@1:0.5"], ("style", 0.5), [("style", np.float32(0.5))]]
)
def test_an_adapter_goes_to_the_engine_by_path_and_into_the_trace_by_name(
    ws, engine, adapter, given
):
    ws.prompts.save("p", "hi")
    done = ws.prompts.run("p", adapters=given)
    assert engine.requests[0].adapters == ((str(adapter.path), 0.5),)
    span = ws.traces.get(done.trace_id).spans[1]
    assert span.attributes["llmops.request.adapters"] == [["style@1", 0.5]]
    ws.prompts.run("p")
    assert engine.requests[1].adapters == engine.requests[0].adapters
    ws.prompts.run("p", adapters=[])
    assert engine.requests[2].adapters == ()


def a_copy(ws, tmp_path):
    from gguf_files import write_gguf

    base = ws.models.add(write_gguf(tmp_path / "base.gguf", fill=1.0))
    path = write_gguf(tmp_path / "quick.gguf", fill=2.0)
    return ws.models.add_copy(path, "quick", base, "model quantize base Q8_0")


def test_an_adapter_runs_on_a_copy_only_where_it_was_found_to_follow(ws, engine, adapter, tmp_path):
    copy = a_copy(ws, tmp_path)
    ws.prompts.save("p", "hi")

    def measured(scale, kl):
        found = Divergence(kl, 0.008, 0.4)
        remembered.keep_divergence(ws.store, copy.sha256, adapter.sha256, scale, found)

    def runs(given, model="quick"):
        ws.prompts.run("p", model=model, adapters=given)
        return engine.requests[-1].adapters

    assert runs("style", "base") == ((str(adapter.path), 1.0),)
    with pytest.raises(ModelError, match=r"%model check quick@1 style@1$"):
        runs("style")
    with pytest.raises(ModelError, match=r"%model check quick@1 style@1:0\.5$"):
        ws.prompts.check("p", model="quick", adapters="style:0.5")
    measured(1.0, 0.01)
    assert runs("style") == ((str(adapter.path), 1.0),)
    assert runs("style:0.5") == ((str(adapter.path), 0.5),)
    for other in ("style:2", "style:-0.5"):
        with pytest.raises(ModelError, match="%model check"):
            runs(other)
    measured(2.0, 0.4)
    with pytest.raises(ModelError, match="with the adapter, 0"):
        runs("style:2")


def test_an_adapter_on_a_copy_is_not_asked_about_where_a_cassette_plays(ws, adapter, tmp_path):
    a_copy(ws, tmp_path)
    cassette = Cassette(tmp_path / "c.json")
    cassette.add("generate", "quick", {}, {})
    ws.engine.replay(cassette.path)
    assert ws.engine.adapter("style", "quick", 1.0) == adapter
