"""Rows, evaluations and vectors on a real Ray cluster of nodes as processes, one of which is killed."""

from __future__ import annotations

import numpy as np
import pytest
from clusters import BYTES, cluster
from tiny_embedders import WORDS, write_bert

from llmops_jupyter.deploy.targets import cluster as places
from llmops_jupyter.deploy.targets import crew
from llmops_jupyter.errors import DeployError

pytest.importorskip("ray", reason="needs Ray (extra ray)")
pytestmark = [
    pytest.mark.model,
    # Ray's own child processes and files are left to the collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ROWS = [{"q": f"Write about the number {i}.", "expected": "number"} for i in range(14)]
OPTIONS = {"model": "smollm2", "temperature": 0, "max_tokens": 8, "exact": True}
TEMPLATE = "user: {{ q }}"


@pytest.fixture
def project(ws, model_path):
    ws.models.add(model_path, name="smollm2")
    ws.prompts.save("numbers", TEMPLATE)
    return ws


@pytest.fixture(scope="module")
def nodes():
    with cluster() as made:
        yield made[0]


def asked(ws):
    return ws.store.row("SELECT count(*) FROM spans WHERE name LIKE 'chat%'")[0]


def test_rows_have_the_same_answers_there_and_none_is_lost_with_a_node(project, nodes):
    here = project.prompts.map("numbers", ROWS, **OPTIONS)
    third = nodes.add_node(num_cpus=1, object_store_memory=BYTES)
    told = []

    def kill(progress):
        told.append(progress)
        if progress.done == 3:
            nodes.remove_node(third, allow_graceful=False)

    there = project.prompts.map("numbers", ROWS, on="auto", progress=kill, **OPTIONS)
    assert [c.text for c in there] == [c.text for c in here]
    assert there.failures == ()
    assert told[-1].done == len(ROWS)


def test_rows_that_have_their_answers_are_not_asked_again(project, nodes):
    def stop(progress):
        if progress.done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        project.prompts.map("numbers", ROWS, on="auto", progress=stop, **OPTIONS)
    before = asked(project)
    told = []
    table = project.prompts.map("numbers", ROWS, on="auto", progress=told.append, **OPTIONS)
    assert told[0].resumed == 5
    assert len(table) == len(ROWS)
    assert asked(project) - before == len(ROWS) - 5


def test_an_evaluation_comes_to_the_same_there(project, nodes):
    project.data.add("numbers", ROWS[:6])
    run = project.evaluation.run("numbers", "numbers", ["contains"], on="auto", **OPTIONS)
    again = project.evaluation.run("numbers", "numbers", ["contains"], fresh=True, **OPTIONS)
    values = [[s.value for s in one.metrics["contains"].scores] for one in (run, again)]
    assert values[0] == values[1]
    assert len(values[0]) == 6


def test_vectors_are_the_same_there_and_nothing_is_loaded_here(ws, nodes, tmp_path):
    from gguf import PoolingType

    path = tmp_path / "tiny.gguf"
    write_bert(path, PoolingType.MEAN)
    ws.models.add(path, name="tiny")
    rows = [{"text": f"the {word} sees the red house"} for word in WORDS[:10]]
    with ws.engine.at("auto"):
        there = ws.engine.engine("tiny").embed([row["text"] for row in rows])
    assert not ws.engine.status()["loaded"]
    assert np.allclose(there, ws.engine.engine("tiny").embed([row["text"] for row in rows]))
    report = ws.rag.add("house", rows, embedder="tiny", column="text", on="auto")
    assert report.embedded == len(rows)
    assert ws.rag.index("house").search(rows[3]["text"], mode="vectors")[0].text == rows[3]["text"]


def test_weights_that_are_on_no_node_are_told(project, nodes, monkeypatch):
    facts = places.facts_of
    monkeypatch.setattr(places, "facts_of", lambda model: {**facts(model), "size": 1})
    with pytest.raises(DeployError, match=r"The weights of smollm2 .* are not on the node"):
        project.prompts.map("numbers", ROWS[:2], on="auto", **OPTIONS)


def test_a_cluster_without_room_is_told(project, nodes, monkeypatch):
    import ray

    monkeypatch.setattr(crew, "PATIENCE_S", 3.0)

    @ray.remote(num_cpus=1)
    class Holder:
        def there(self):
            return True

    holders = [Holder.remote() for _ in range(2)]
    ray.get([h.there.remote() for h in holders])
    with pytest.raises(DeployError, match="No node of the cluster took a model"):
        project.prompts.map("numbers", ROWS[:2], on="auto", **OPTIONS)
