"""How large a context to make, from the memory that there is."""

from __future__ import annotations

from llmops_jupyter.engine.context import Size
from llmops_jupyter.engine.scheduler import NODES, SPARE
from llmops_jupyter.models import GGUFMetadata
from llmops_jupyter.models.memory import available_memory, estimate

TIGHT = 2 * 10**9
SHARE = 0.8
ROWS = 16
FEW_ROWS = 4
CELLS_A_ROW = 256
BATCH, SMALL_BATCH = 512, 128
LOGITS_BYTES = 64 * 2**20
# That llama.cpp can have in a context.
MAX_SEQUENCES = 256


def is_tight(available: int | None = None) -> bool:
    """Whether there is so little memory that models run with few rows and small buffers."""
    return (available_memory().bytes if available is None else available) < TIGHT


def size_for(
    metadata: GGUFMetadata,
    n_ctx: int,
    rows: int | None = None,
    available: int | None = None,
    *,
    batch: int | None = None,
) -> Size:
    """The largest of a few sizes that leaves a fifth of the memory free; the smallest if none does.

    Args:
        metadata: of the model.
        n_ctx: tokens that one request may have.
        rows: rows at once; None lets memory decide.
        available: bytes that may be used; None asks the system.
        batch: tokens a batch where there is memory.
    """
    if available is None:
        available = available_memory().bytes
    tight = is_tight(available)
    wanted = max(batch or BATCH, ROWS)
    batch = min(wanted, SMALL_BATCH) if tight else wanted
    tries = [rows] if rows else [FEW_ROWS] if tight else [ROWS, ROWS // 2, FEW_ROWS]
    for count in [*tries, 1]:
        cells = padded(n_ctx) if tight else spread(n_ctx + count * CELLS_A_ROW)
        size = Size(count, cells, batch, outputs(metadata, count, tight=tight))
        needed = estimate(metadata, size.cells, count, size.outputs).total
        if needed <= SHARE * available:
            return size
    return Size(1, padded(n_ctx), SMALL_BATCH, outputs(metadata, 1, tight=True))


def sequences(rows: int) -> int:
    """Sequences of a context for so many rows: they, interactive ones beside them, and kept beginnings."""
    return min(MAX_SEQUENCES, rows + SPARE + NODES)


def spread(cells: int) -> int:
    """At least so many cells, in an odd number of llama.cpp's blocks of 256.

    Plain attention keeps the values of one dimension side by side, so that those of the next are as many
    cells away. Where that is a multiple of a large power of two, they fall into the same few lines of the
    processor's cache: 4,352 cells instead of 4,096 made writing 6 to 9 % faster.
    """
    blocks = -(-cells // 256)
    return 256 * (blocks + 1 - blocks % 2)


def padded(cells: int) -> int:
    """At least so many cells, in whole blocks of llama.cpp's."""
    return -(-cells // 256) * 256


def outputs(metadata: GGUFMetadata, rows: int, *, tight: bool = False) -> int:
    """Rows of logits a batch: the library makes as many as there are sequences; more for scoring."""
    least = sequences(rows)
    fitting = LOGITS_BYTES // max(1, 4 * metadata.vocabulary)
    return least if tight else max(least, min(256, fitting))
