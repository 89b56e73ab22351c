"""The first pass by signs: it finds what comparing all finds, follows the index, and forgets."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from engine_fakes import plug
from rag_fakes import WIDTH, WordEngine

import llmops_jupyter as lo
from llmops_jupyter.rag import coarse, searching
from llmops_jupyter.rag.coarse import Coarse, packed
from llmops_jupyter.rag.vectors import Vectors

SITES = ("east", "west", "north", "south")


def clustered(count, width=384, seed=0):
    """Unit vectors around the same 200 centres, which lie around one mean."""
    fixed, random = np.random.default_rng(99), np.random.default_rng(seed)
    centres = fixed.normal(size=(200, width)) + 0.5 * fixed.normal(size=width)
    rows = centres[random.integers(0, 200, count)] + 0.9 * random.normal(size=(count, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def best(rows, query, k=10):
    return set(np.argsort(-(rows @ query), kind="stable")[:k].tolist())


@pytest.fixture
def engine(ws):
    return plug(ws, WordEngine())


@pytest.fixture
def many(ws, engine, monkeypatch):
    """An index of 400 rows, which are too many to be compared exactly."""
    monkeypatch.setattr(searching, "EXACT", 100)
    monkeypatch.setattr(searching, "FEW", 20)
    monkeypatch.setattr(searching, "RESCORED", 60)
    monkeypatch.setattr(searching, "PER_RESULT", 1)
    ws.rag.add("many", texts(0, 400), embedder="words")
    return ws.rag.index("many")


def texts(begin, end, word="valve"):
    return [
        {"id": str(n), "text": f"{word} number{n} of shelf{n % 40}", "site": SITES[n % 4]}
        for n in range(begin, end)
    ]


def signs_of(index):
    return index._searcher._held.signs


def found(index, query, k=5, **options):
    return [h.source.rpartition("#")[2] for h in index.search(query, k, mode="vectors", **options)]


def words_of_signs(signs, row):
    return [int(word).to_bytes(8, "little") for word in signs.bits[:, row]]


def test_the_first_pass_keeps_what_comparing_all_finds(tmp_path):
    rows = clustered(20_000)
    signs = Coarse(tmp_path / "a.signs", 384).load(rows, 1)
    recall = []
    for query in clustered(30, seed=1):
        near = signs.nearest(query, 500)
        assert 500 <= len(near) < 700
        recall.append(len(best(rows, query) & set(near.tolist())) / 10)
    assert np.mean(recall) >= 0.99


def test_rows_are_counted_alike_with_every_numpy():
    words = np.random.default_rng(0).integers(0, 2**63, 999, dtype=np.uint64) * np.uint64(2)
    wanted = [int(word).bit_count() for word in words]
    assert coarse.counted(words).tolist() == wanted
    assert coarse.popcount()(words).tolist() == wanted


@pytest.mark.parametrize("width", [3, 64, 100, 384])
def test_any_width_has_its_signs(tmp_path, width):
    rows = clustered(300, width)
    signs = Coarse(tmp_path / "a.signs", width).load(rows, 1)
    assert len(signs.bits) == -(-width // 64)
    assert np.array_equal(signs.bits, packed(rows > signs.mean))
    assert signs.nearest(rows[7], 1, np.array([3, 7, 9])).tolist() == [7]
    assert len(signs.nearest(np.zeros(width, np.float32), 5)) == 300


def test_a_large_index_finds_as_a_small_one_does(many, monkeypatch):
    queries = [f"valve number{n} of shelf{n % 40}" for n in range(0, 400, 9)]
    approximate = [found(many, query) for query in queries]
    assert signs_of(many) is not None
    monkeypatch.setattr(searching, "EXACT", 1_000)
    many._searcher._held = None
    exact = [found(many, query) for query in queries]
    assert signs_of(many) is None
    assert [a[0] for a in approximate] == [e[0] for e in exact]
    same = [len(set(a) & set(e)) for a, e in zip(approximate, exact, strict=True)]
    assert np.mean(same) >= 0.99 * 5


def test_filters_hold_in_the_first_pass_and_few_rows_are_compared_exactly(many):
    assert found(many, "number7 shelf7", 1, where={"site": "south"}) == ["7"]
    south = found(many, "number7 shelf7", 60, where={"site": "south"})
    assert {int(row) % 4 for row in south} == {3}
    assert found(many, "number7 shelf7", 5, where={"source": "*#12"}) == ["12"]
    assert found(many, "number7 shelf7", where={"site": "nowhere"}) == []


def test_rows_that_are_added_are_found_and_only_these_are_worked_out(many, monkeypatch):
    found(many, "number7")
    before = signs_of(many)
    worked = []
    sign = coarse._sign
    monkeypatch.setattr(coarse, "_sign", lambda *a: (worked.append(a[3]), sign(*a)))
    many.add(rows_of(texts(400, 440)))
    assert found(many, "number433 shelf33", 1) == ["433"]
    after = signs_of(many)
    assert worked[0].tolist() == list(range(400, 440))
    assert np.array_equal(after.bits[:, :400], before.bits)
    assert (after.whole, after.since, after.generation > before.generation) == (400, 40, True)
    many.add(rows_of(texts(440, 900)))
    assert found(many, "number899 shelf19", 1) == ["899"]
    assert (signs_of(many).whole, signs_of(many).since) == (900, 0)


def test_freed_rows_are_not_found_and_rows_taken_again_are(many):
    assert found(many, "number7 shelf7", 1) == ["7"]
    many.add(rows_of([{"id": "7", "text": "a hose entirely", "site": "east"}]))
    assert "7" not in found(many, "valve number7 shelf7", 40)
    many.add(rows_of([{"id": "new", "text": "a gasket altogether", "site": "east"}]))
    assert many.store.row("SELECT next_vector FROM rag_indexes")[0] == 401
    assert found(many, "gasket altogether", 1) == ["new"]


def test_what_is_forgotten_leaves_no_sign_in_the_files(ws, many):
    many.add(rows_of([{"id": "secret", "text": "zanzibarite crystallography", "site": "x"}]))
    source = many.search("zanzibarite")[0].source
    row = ws.store.row("SELECT vector FROM rag_chunks WHERE text LIKE 'zanz%'")[0]
    signs = signs_of(many)
    traces = [*words_of_signs(signs, row), int(signs.marks[row]).to_bytes(8, "little")]
    place = ws.store.path.parent

    def left():
        everything = b"".join(p.read_bytes() for p in place.rglob("*") if p.is_file())
        return [trace for trace in traces if trace in everything]

    assert len(left()) == WIDTH // 64 + 1
    many.forget(source)
    assert left() == []
    assert found(many, "number9 shelf9", 1) == ["9"]
    assert left() == []


def test_signs_of_a_row_that_was_taken_again_are_forgotten_too(ws, many):
    many.add(rows_of([{"id": "secret", "text": "zanzibarite crystallography", "site": "x"}]))
    source = many.search("zanzibarite", mode="vectors")[0].source
    row = ws.store.row("SELECT vector FROM rag_chunks WHERE text LIKE 'zanz%'")[0]
    traces = words_of_signs(signs_of(many), row)
    many.add(rows_of([{"id": "secret", "text": "a harmless version", "site": "x"}]))
    many.add(rows_of([{"id": "other", "text": "takes the row again", "site": "x"}]))
    path = many.vectors.coarse.path
    assert all(trace in path.read_bytes() for trace in traces)
    many.forget(source)
    assert not path.exists()


def test_the_bytes_are_overwritten_before_the_file_is_deleted(tmp_path):
    file = Coarse(tmp_path / "a.signs", 384)
    file.load(clustered(300), 1)
    os.link(file.path, tmp_path / "another-name")
    part = tmp_path / "a.signs.part"  # a process that was killed left it
    part.write_bytes(b"signs")
    file.delete()
    assert set((tmp_path / "another-name").read_bytes()) == {0}
    assert not file.path.exists()
    assert not part.exists()


@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "other", "older"])
def test_a_file_that_is_damaged_or_old_is_made_anew(tmp_path, damage):
    rows = clustered(500)
    file = Coarse(tmp_path / "a.signs", 384)
    whole = file.load(rows, 3)
    data = file.path.read_bytes()
    if damage == "bit":
        file.path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    elif damage == "cut":
        file.path.write_bytes(data[:-1])
    elif damage == "empty":
        file.path.write_bytes(b"")
    elif damage == "other":
        Coarse(file.path, 64).load(clustered(500, 64), 3)
    else:
        file.path.unlink()
        file.load(clustered(500, seed=5), 2)
    again = file.load(rows, 3)
    assert np.array_equal(again.bits, whole.bits)
    assert file.path.read_bytes() == data
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".part"] == []


def test_the_file_that_fits_is_taken_as_it_is(tmp_path, monkeypatch):
    file = Coarse(tmp_path / "a.signs", 384)
    rows = clustered(500)
    whole = file.load(rows, 3)
    monkeypatch.setattr(coarse, "made", None)
    assert np.array_equal(file.load(rows, 3).bits, whole.bits)


def test_where_nothing_can_be_written_it_is_searched_all_the_same(many, monkeypatch):
    monkeypatch.setattr(Coarse, "_write", refuse)
    assert found(many, "number7 shelf7", 1) == ["7"]
    assert signs_of(many) is not None
    assert not many.vectors.coarse.path.exists()


def test_an_index_in_memory_is_compared_exactly(monkeypatch):
    monkeypatch.setattr(searching, "EXACT", 100)
    with lo.open(":memory:") as ws:
        plug(ws, WordEngine())
        ws.rag.add("many", texts(0, 150), embedder="words")
        assert found(ws.rag.index("many"), "number7 shelf7", 1) == ["7"]
        assert signs_of(ws.rag.index("many")) is None


def test_a_removed_index_takes_its_signs_along(ws, many):
    found(many, "number7")
    path = many.vectors.coarse.path
    assert path.exists()
    ws.rag.remove("many")
    assert not path.exists()


def test_processes_make_and_read_the_signs_at_once(tmp_path):
    rows = clustered(3_000)
    vectors = Vectors(tmp_path / "a.f32", 384)
    vectors.write(range(3_000), rows)
    program = (
        "import sys, zlib\n"
        "from pathlib import Path\n"
        "from llmops_jupyter.rag.vectors import Vectors\n"
        "vectors = Vectors(Path(sys.argv[1]), 384)\n"
        "for generation in range(20):\n"
        "    signs = vectors.coarse.load(vectors.read(2_900 + 5 * generation), generation)\n"
        "    assert signs.bits.shape == (6, 2_900 + 5 * generation)\n"
        "print(zlib.crc32(vectors.coarse.load(vectors.read(3_000), 99).bits))\n"
    )
    command = [sys.executable, "-c", program, str(vectors.path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(set(said)) == 1


def test_another_process_finds_what_was_added_here(many, ws, own_home):
    found(many, "number7")
    with lo.open() as other:
        plug(other, WordEngine())
        there = other.rag.index("many")
        assert found(there, "number7 shelf7", 1) == ["7"]
        many.add(rows_of(texts(400, 420)))
        assert found(there, "number411 shelf11", 1) == ["411"]
        assert found(many, "number411 shelf11", 1) == ["411"]


def refuse(*_):
    raise OSError("the disk is full")


def rows_of(rows):
    from llmops_jupyter.prompts.rows import read_rows

    return read_rows(rows, None)
