from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest

from llmops_jupyter.errors import ModelMemoryError
from llmops_jupyter.models import GGUFMetadata, MemoryLimit, available_memory, estimate, preflight
from llmops_jupyter.models.memory import NO_LIMIT, largest_context, megabytes

SMALL = GGUFMetadata(
    architecture="llama",
    name="small",
    context_length=8192,
    embedding_length=576,
    feed_forward_length=1536,
    layers=30,
    heads=9,
    kv_heads=(3,) * 30,
    key_length=64,
    value_length=64,
    vocabulary=49152,
    tensor_bytes=96_576_768,
)
NOWHERE = "missing"


def files(folder, **contents):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")
    return folder


def test_the_cache_grows_with_the_context_and_the_weights_do_not():
    short, long = estimate(SMALL, 1024), estimate(SMALL, 2048)
    assert long.cache == 2 * short.cache == 2048 * 23_040
    assert long.weights == short.weights == 96_576_768
    assert short.total == short.weights + short.cache + short.buffers


def test_more_sequences_take_more_state_and_logits():
    recurrent = GGUFMetadata(architecture="mamba", vocabulary=1000, state_bytes=500, tensor_bytes=1)
    assert estimate(recurrent, 512, n_seq=8).cache == 8 * 500
    assert estimate(recurrent, 512, n_seq=8).buffers > estimate(recurrent, 512).buffers


def test_a_model_that_fits_passes_with_its_estimate():
    assert preflight(SMALL, 2048, MemoryLimit(10**9, "test")) == estimate(SMALL, 2048)


def test_a_context_that_is_too_long_is_refused_with_one_that_fits():
    limit = MemoryLimit(400_000_000, "limit of the container")
    with pytest.raises(ModelMemoryError, match=r"weights 97 MB.*limit of the container") as caught:
        preflight(SMALL, 8192, limit)
    fitting = largest_context(SMALL, limit.bytes)
    assert f"A context of {fitting} tokens would fit" in str(caught.value)
    assert preflight(SMALL, fitting, limit).total <= limit.bytes
    with pytest.raises(ModelMemoryError):
        preflight(SMALL, fitting + 256, limit)


def test_a_model_that_never_fits_says_how_much_it_needs():
    with pytest.raises(ModelMemoryError, match=r"No context fits: 256 tokens already need \d+ MB"):
        preflight(SMALL, 4096, MemoryLimit(50_000_000, "test"))


def test_the_largest_context_is_never_beyond_the_model():
    assert largest_context(SMALL, 10**12) == 8192


def test_the_machine_itself_is_the_limit_without_control_groups(tmp_path):
    limit = available_memory(proc=tmp_path / NOWHERE, cgroups=tmp_path / NOWHERE)
    assert limit.bytes > 0
    assert "machine" in limit.source or "ulimit" in limit.source


def test_free_memory_is_what_the_system_says_programs_can_have(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 900 kB\nMemFree: 1 kB\nMemAvailable:       3 kB\nCached: 5 kB\n")
    nowhere = tmp_path / NOWHERE
    limit = available_memory(proc=nowhere, cgroups=nowhere, meminfo=meminfo)
    assert (limit.bytes, limit.source) == (3072, "free memory of the machine")


@pytest.mark.parametrize(
    "text", [None, "", "MemFree: 1 kB\n", "MemAvailable:\n", "MemAvailable: ? kB\n", "\xff"]
)
def test_free_memory_is_asked_for_where_the_system_writes_it_down_nowhere(
    tmp_path, monkeypatch, text
):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=4096))
    meminfo = tmp_path / "meminfo"
    if text is not None:
        meminfo.write_text(text, "latin-1")
    nowhere = tmp_path / NOWHERE
    assert available_memory(proc=nowhere, cgroups=nowhere, meminfo=meminfo).bytes == 4096


def test_a_container_limit_of_version_2_counts_less_what_is_used(tmp_path):
    proc = tmp_path / "cgroup"
    proc.write_text("0::/pod/box\n")
    files(tmp_path / "cg" / "pod" / "box", memory__max=9_000_000, memory__current=5_000_000)
    files(tmp_path / "cg" / "pod" / "box", memory__stat="anon 1\ninactive_file 1000000")
    limit = available_memory(proc=proc, cgroups=tmp_path / "cg")
    assert limit.bytes == 5_000_000
    assert "container" in limit.source


def test_the_tightest_group_above_the_process_counts(tmp_path):
    proc = tmp_path / "cgroup"
    proc.write_text("0::/pod/box\n")
    files(tmp_path / "cg" / "pod" / "box", memory__max="max", memory__current=5_000_000)
    files(tmp_path / "cg" / "pod", memory__max=7_000_000, memory__current=6_000_000)
    assert available_memory(proc=proc, cgroups=tmp_path / "cg").bytes == 1_000_000


def test_a_group_that_the_container_does_not_see_falls_back_to_the_mounted_root(tmp_path):
    proc = tmp_path / "cgroup"
    proc.write_text("0::/outside/of/this/mount\n")
    files(tmp_path / "cg", memory__max=4_000_000, memory__current=1_000_000)
    assert available_memory(proc=proc, cgroups=tmp_path / "cg").bytes == 3_000_000


def test_a_container_limit_of_version_1_counts(tmp_path):
    proc = tmp_path / "cgroup"
    proc.write_text("4:cpu,cpuacct:/box\n3:memory:/box\n")
    box = tmp_path / "cg" / "memory" / "box"
    files(box, memory__limit_in_bytes=8_000_000, memory__usage_in_bytes=6_000_000)
    files(box, memory__stat="total_inactive_file 500000")
    files(tmp_path / "cg" / "memory", memory__limit_in_bytes=NO_LIMIT * 7, memory__usage_in_bytes=6)
    assert available_memory(proc=proc, cgroups=tmp_path / "cg").bytes == 2_500_000


def test_a_full_group_leaves_nothing_rather_than_less(tmp_path):
    proc = tmp_path / "cgroup"
    proc.write_text("0::/\n")
    files(tmp_path / "cg", memory__max=1000, memory__current=2000)
    assert available_memory(proc=proc, cgroups=tmp_path / "cg").bytes == 0


def test_sizes_read_as_people_write_them():
    assert [megabytes(n) for n in (1_500_000, 98_362_432, 1_440_000_000)] == [
        "1.5 MB",
        "98 MB",
        "1.4 GB",
    ]
