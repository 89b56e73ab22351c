"""Whether a model fits into the memory that this process may use, before it is loaded."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from llmops_jupyter.errors import ModelMemoryError
from llmops_jupyter.models.gguf import GGUFMetadata

READ_BATCH = 512
PROCESS_BYTES = 64 * 10**6
SCORES_BYTES = 256 * 2**20
STEP = 256
NO_LIMIT = 1 << 60
_F32 = 4


@dataclass(frozen=True)
class MemoryLimit:
    """Bytes that this process may still use, and what sets that limit."""

    bytes: int
    source: str


@dataclass(frozen=True)
class Estimate:
    """Bytes that a loaded model takes: weights, cache (f16), compute and output buffers."""

    weights: int
    cache: int
    buffers: int

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.buffers


def estimate(
    metadata: GGUFMetadata, n_ctx: int, n_seq: int = 1, n_outputs: int | None = None
) -> Estimate:
    """What a model needs with `n_ctx` tokens of context in all and `n_seq` sequences at once.

    Layers with a sliding window count in full, as llama.cpp keeps them when prefixes are reused.
    The buffers are those of a batch of `READ_BATCH` tokens: logits, activations, attention mask, and the
    scores of plain attention up to the size at which the engine changes to flash attention.
    `n_outputs` rows of logits are kept at a time; None means one for each sequence.
    """
    cache = metadata.kv_bytes_per_token * n_ctx + metadata.state_bytes * n_seq
    rows = min(READ_BATCH, max(n_ctx, 1))
    wide = metadata.vocabulary + 4 * metadata.embedding_length + 3 * metadata.feed_forward_length
    mask = rows * n_ctx * _F32
    outputs = (n_outputs or n_seq) * metadata.vocabulary * _F32
    scores = min(metadata.heads * rows * n_ctx * _F32, SCORES_BYTES)
    buffers = rows * wide * _F32 + mask + scores + outputs + PROCESS_BYTES
    return Estimate(metadata.tensor_bytes, cache, buffers)


def largest_context(metadata: GGUFMetadata, limit: int, n_seq: int = 1) -> int:
    """The most tokens of context, in steps of 256, that fit into `limit` bytes; 0 if none do."""
    low, high = 0, max(metadata.context_length, STEP) // STEP
    while low < high:
        middle = (low + high + 1) // 2
        if estimate(metadata, middle * STEP, n_seq).total <= limit:
            low = middle
        else:
            high = middle - 1
    return low * STEP


def preflight(
    metadata: GGUFMetadata, n_ctx: int, limit: MemoryLimit | None = None, n_seq: int = 1
) -> Estimate:
    """Weigh a model against the memory that is left; returns the estimate if it fits.

    Raises:
        ModelMemoryError: it does not fit; the message has the sizes and the context that would.
    """
    limit = limit or available_memory()
    needed = estimate(metadata, n_ctx, n_seq)
    if needed.total <= limit.bytes:
        return needed
    fitting = min(largest_context(metadata, limit.bytes, n_seq), n_ctx)
    if fitting:
        step = f"A context of {fitting} tokens would fit."
    else:
        least = estimate(metadata, STEP, n_seq).total
        step = (
            f"No context fits: {STEP} tokens already need {megabytes(least)}. "
            "Free memory, or use a smaller model or quantisation."
        )
    raise ModelMemoryError(
        f"{metadata.name!r} with a context of {n_ctx} tokens needs about {megabytes(needed.total)} "
        f"(weights {megabytes(needed.weights)}, cache {megabytes(needed.cache)}, buffers "
        f"{megabytes(needed.buffers)}), but only {megabytes(limit.bytes)} are left "
        f"({limit.source}). {step}"
    )


def megabytes(count: int) -> str:
    """A size for people: ``98 MB``, ``1.4 GB`` (powers of ten)."""
    if count >= 10**9:
        return f"{count / 10**9:.1f} GB"
    return f"{count / 10**6:.0f} MB" if count >= 10**7 else f"{count / 10**6:.1f} MB"


def available_memory(
    proc: Path = Path("/proc/self/cgroup"),
    cgroups: Path = Path("/sys/fs/cgroup"),
    meminfo: Path = Path("/proc/meminfo"),
) -> MemoryLimit:
    """The least of the machine's free memory, the container's limits and the address-space limit.

    Args:
        proc: the file that names this process' control groups; missing outside Linux.
        cgroups: where control groups are mounted.
        meminfo: what Linux says about memory; missing elsewhere.
    """
    limits = [MemoryLimit(_free_memory(meminfo), "free memory of the machine")]
    limits += _cgroup_limits(proc, cgroups)
    address_space = _address_space()
    if address_space is not None:
        limits.append(MemoryLimit(address_space, "address-space limit, ulimit -v"))
    return min(limits, key=lambda limit: limit.bytes)


def _free_memory(meminfo: Path) -> int:
    """Bytes that programs can have without swapping."""
    try:
        for line in meminfo.read_text("ascii").splitlines():
            key, _, value = line.partition(":")
            if key == "MemAvailable":
                return int(value.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        pass  # not Linux
    import psutil  # slow to load, in comparison

    return int(psutil.virtual_memory().available)


def _cgroup_limits(proc: Path, cgroups: Path) -> list[MemoryLimit]:
    """What is left in each control group from this process' own up to the root."""
    limits = []
    for controllers, group in _memberships(proc):
        if not controllers:
            base, names = cgroups, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base = cgroups / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        own = base / group.strip("/")
        for folder in (own, *own.parents):
            left = _left(folder, *names)
            if left is not None:
                limits.append(MemoryLimit(left, "limit of the container or control group"))
            if folder == base:
                break
    return limits


def _memberships(proc: Path) -> list[tuple[str, str]]:
    """(controllers, group) of each line of /proc/self/cgroup; version 2 names no controllers."""
    try:
        lines = proc.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    parts = [line.split(":", 2) for line in lines]
    return [(p[1], p[2]) for p in parts if len(p) == 3]


def _left(folder: Path, limit_file: str, usage_file: str, cached: str) -> int | None:
    """Bytes left under one group's limit; file pages that can be dropped do not count as used."""
    limit, usage = _number(folder / limit_file), _number(folder / usage_file)
    if limit is None or usage is None or limit >= NO_LIMIT:
        return None
    droppable = 0
    try:
        for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(" ")
            if key == cached and value.strip().isdigit():
                droppable = int(value)
    except OSError:
        droppable = 0
    return max(0, limit - max(0, usage - droppable))


def _number(file: Path) -> int | None:
    """The number in a file; None if it is missing or says 'max'."""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _address_space() -> int | None:
    """Bytes left under `ulimit -v`, or None where there is no such limit."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return None
    import psutil

    return max(0, soft - int(psutil.Process(os.getpid()).memory_info().vms))
