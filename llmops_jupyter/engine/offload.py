"""How much of a model goes to the GPUs, and how large its context may be there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmops_jupyter.engine import sizing
from llmops_jupyter.engine.context import Size
from llmops_jupyter.engine.devices import Device
from llmops_jupyter.models import GGUFMetadata
from llmops_jupyter.models.memory import estimate, megabytes

ROWS = (64, 32, 16, 8, 4)
CELLS_A_ROW = 512
BATCH, SMALL_BATCH = 2048, 512
# Of the free memory of a GPU; what is left is for the driver, fragments and whoever else uses it.
PART = 0.9
# What a context takes of each GPU beside what is estimated.
OVERHEAD = 300 * 10**6


@dataclass(frozen=True)
class Plan:
    """Layers on the GPUs (None: all, 0: none) and the size of the context; `why` says it in words."""

    layers: int | None
    size: Size
    why: str


def plan(
    metadata: GGUFMetadata,
    n_ctx: int,
    devices: Sequence[Device],
    *,
    rows: int | None = None,
    batch: int | None = None,
    layers: int | None = None,
) -> Plan:
    """All layers on the GPUs with as many rows as fit; else as many layers as fit; else the processor.

    Args:
        metadata: of the model.
        n_ctx: tokens that one request may have.
        devices: that there are, with their free memory.
        rows: that run at once; None lets memory decide, as of the two others.
        batch: tokens of one step.
        layers: on the GPUs.
    """
    gpus = [device for device in devices if device.is_gpu and device.free > OVERHEAD]
    if not gpus or layers == 0:
        size = sizing.size_for(metadata, n_ctx, rows, batch=batch)
        why = "no GPU that llama.cpp can use" if not gpus else "no layers on the GPU, as set"
        return Plan(0, size, why)
    room = sum(int(PART * (gpu.free - OVERHEAD)) for gpu in gpus)
    names = ", ".join(f"{gpu.description} ({megabytes(gpu.free)} free)" for gpu in gpus)
    for count in [rows] if rows else ROWS:
        for tokens in [batch] if batch else (BATCH, SMALL_BATCH):
            size = _size(metadata, n_ctx, count, tokens)
            needed = estimate(metadata, size.cells, count, size.outputs).total
            if layers is None and needed <= room:
                return Plan(None, size, f"all layers on {names}: {megabytes(needed)}")
    size = _size(metadata, n_ctx, rows or ROWS[-1], batch or SMALL_BATCH)
    whole = estimate(metadata, size.cells, size.rows, size.outputs)
    each = (whole.weights + whole.cache) / max(1, metadata.layers + 1)
    fitting = int(max(0.0, room - whole.buffers) // each) if each else 0
    count = min(fitting, metadata.layers) if layers is None else layers
    if not count:
        size = sizing.size_for(metadata, n_ctx, rows, batch=batch)
        return Plan(0, size, f"no layer fits on {names}: one takes {megabytes(int(each))}")
    what = "as set" if layers is not None else f"all of it would need over {megabytes(room)}"
    # The weights that turn states into tokens come after the layers and stay with the processor.
    return Plan(count, size, f"{count} of {metadata.layers} layers on {names}; {what}")


def _size(metadata: GGUFMetadata, n_ctx: int, rows: int, batch: int) -> Size:
    cells = sizing.padded(n_ctx + rows * CELLS_A_ROW)
    return Size(rows, cells, batch, sizing.outputs(metadata, rows))
