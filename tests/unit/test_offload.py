"""How much of a model goes to which GPU, on devices that a test describes."""

from __future__ import annotations

import pytest

from llmops_jupyter.engine.devices import CPU, GPU, SHARED, Device
from llmops_jupyter.engine.offload import plan
from llmops_jupyter.models import GGUFMetadata
from llmops_jupyter.models.memory import estimate

GB = 10**9
# About the measures of Llama 3.1 8B at 4 bits.
MODEL = GGUFMetadata(
    "llama",
    name="eight",
    context_length=131072,
    embedding_length=4096,
    feed_forward_length=14336,
    layers=32,
    heads=32,
    kv_heads=(8,) * 32,
    key_length=128,
    value_length=128,
    vocabulary=128256,
    tensor_bytes=int(4.9 * GB),
)
PROCESSOR = Device("CPU", "a processor", CPU, 64 * GB, 64 * GB)


def gpu(free, kind=GPU):
    return Device("CUDA0", f"a card with {free / GB:.0f}", kind, int(free), 80 * GB)


def on(*devices, **more):
    return plan(MODEL, 8192, [PROCESSOR, *devices], **more)


def needed(size):
    return estimate(MODEL, size.cells, size.rows, size.outputs).total


def test_without_a_gpu_the_processor_runs_it():
    assert on().layers == 0
    assert "no GPU" in on().why
    assert on(gpu(0.2 * GB)).layers == 0


@pytest.mark.parametrize("kind", [GPU, SHARED])
def test_with_room_everything_goes_there_with_many_rows(kind):
    made = on(gpu(70 * GB, kind))
    assert made.layers is None
    assert made.size.rows == 64
    assert made.size.batch == 2048
    assert made.size.cells >= 8192 + 64 * 256


def test_rows_are_fewer_where_memory_is_short_and_nothing_is_over_the_limit():
    before = 65
    for free in (70, 24, 16, 12, 10, 8, 7):
        made = on(gpu(free * GB))
        if made.layers is None:
            assert made.size.rows <= before
            assert needed(made.size) <= free * GB
            before = made.size.rows
        else:
            assert 0 < made.layers <= 32
    assert before < 64
    assert made.layers


def test_what_does_not_fit_is_split_between_gpu_and_processor():
    small, large = on(gpu(3 * GB)), on(gpu(5 * GB))
    assert 0 < small.layers < large.layers < 32
    assert f"{large.layers} of 32 layers" in large.why
    assert on(gpu(1 * GB)).layers == 0
    assert "no layer fits" in on(gpu(1 * GB)).why


def test_two_gpus_hold_more_than_one():
    assert on(gpu(5 * GB)).layers is not None
    assert on(gpu(5 * GB), gpu(5 * GB)).layers is None


def test_what_was_set_is_kept():
    assert on(gpu(70 * GB), layers=0).layers == 0
    assert on(gpu(70 * GB), layers=5).layers == 5
    assert on(gpu(70 * GB), rows=3).size.rows == 3
    assert on(gpu(70 * GB), batch=256).size.batch == 256


def test_the_devices_of_this_machine_are_told():
    native = pytest.importorskip("llmops_jupyter.engine.native")
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra demo)")
    from llmops_jupyter.engine.devices import devices

    lib = native.library()
    found = devices(lib)
    assert any(device.kind == CPU and device.total > GB for device in found)
    assert any(device.is_gpu for device in found) == bool(lib.llama_supports_gpu_offload())
