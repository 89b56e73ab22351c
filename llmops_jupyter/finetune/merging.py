"""A model with an adapter merged into its weights, as a GGUF file of its own.

Only the weights that the adapter changes are unpacked and packed anew; all others are copied byte by byte,
as are all keys. Packing changed weights into few bits loses much of what was learned, which is small beside
the weights; so they are kept in Q8_0 where the base has fewer bits, unless another kind is asked for.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.distance import Distance, bundled_prompts, compare, predict
from llmops_jupyter.engine.quantize import check as check_kind
from llmops_jupyter.engine.quantize import kind_of, quantize
from llmops_jupyter.errors import ModelArchitectureError, ModelFormatError, OptionError
from llmops_jupyter.finetune import ggufwriting
from llmops_jupyter.finetune.blobs import OUTPUT
from llmops_jupyter.finetune.ggufadapter import gguf_factors
from llmops_jupyter.finetune.ggufwriting import Entry
from llmops_jupyter.finetune.lora import Lora
from llmops_jupyter.finetune.provenance import PREFIX, Provenance
from llmops_jupyter.finetune.whole import aside, check_space, whole_file
from llmops_jupyter.models import GGUFMetadata, read_metadata
from llmops_jupyter.models.header import Header, Tensor, read_header

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Progress = Callable[[str], None]
CHUNK = 16 << 20
ROWS = 2048
SAFE = "Q8_0"
FILE_TYPES = {"F32": 0, "F16": 1, "Q8_0": 7, "BF16": 32}


@dataclass(frozen=True)
class Merged:
    """A merged model: its file, bytes, how many weights were changed, and the kind of most of its bytes."""

    path: Path
    size: int
    changed: int
    kind: str


def merge(
    base: str | os.PathLike[str],
    lora: Lora,
    target: str | os.PathLike[str],
    *,
    kind: str | None = None,
    scale: float = 1.0,
    name: str | None = None,
    provenance: Provenance | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Merged:
    """Write the base model with W + scale · B A in place of the weights that the adapter changes.

    The target appears whole or not at all. Memory is needed for a few rows at a time.

    Args:
        base: a GGUF file, which stays as it is.
        lora: the adapter.
        target: the file to write; one that is there is replaced.
        kind: of all weights, such as "Q4_K_M"; None keeps the weights that are not changed as they are, and
            those that are in their own kind, or in Q8_0 where that has fewer bits.
        scale: what the adapter's own scale is multiplied with.
        name: of the merged model, in its metadata.
        provenance: kept in the file.
        threads: for packing into `kind`; None takes all physical cores.
        progress: gets a line now and then.

    Raises:
        ModelArchitectureError: the adapter does not fit the base model.
        OptionError: there is no such kind, or the target is the base.
        ModelError: there is no space, or a file cannot be read or written; nothing was left.
    """
    source, final = Path(base), Path(target)
    metadata = _checked(source, final, kind)
    plan = _Plan(source, metadata, lora, scale, direct=kind is None)
    keys = _keys(plan, name, provenance)
    say = progress or (lambda _: None)

    def wrote(done: int, total: int | None) -> None:
        say(f"merging: {done / max(total or 1, 1):.0%}")

    alignment = int(plan.header.values.get("general.alignment", ggufwriting.ALIGNMENT))
    entries = plan.entries()
    check_space(final.parent, sum(e.size for e in entries), "The merged model")
    if kind is None:
        with whole_file(final) as part:
            ggufwriting.write(part, keys, entries, alignment=alignment, progress=wrote)
    else:
        with aside(final.parent) as folder, whole_file(folder / "merged.gguf") as part:
            ggufwriting.write(part, keys, entries, alignment=alignment, progress=wrote)
            quantize(part, final, kind, threads=threads, progress=progress)
    made = read_metadata(final)
    return Merged(final, made.size, len(plan.factors), made.quantization)


def check_merged(
    base: str | os.PathLike[str],
    adapter: tuple[str | os.PathLike[str], float],
    merged: str | os.PathLike[str],
    *,
    prompts: Sequence[str | Sequence[int]] | None = None,
    threads: int | None = None,
) -> Distance:
    """How far the merged model is from the base model with the adapter (path, scale) put on it.

    Args:
        base: the GGUF file of the base model.
        adapter: a GGUF adapter and its scale.
        merged: what `merge` wrote.
        prompts: texts or tokens; None takes 50 bundled ones.
        threads: None takes all physical cores.
    """
    asked = bundled_prompts() if prompts is None else list(prompts)
    first = predict(base, asked, adapters=[adapter], threads=threads)
    return compare(first, predict(merged, asked, threads=threads))


def _checked(source: Path, final: Path, kind: str | None) -> GGUFMetadata:
    metadata = read_metadata(source)
    if metadata.kind != "model" or metadata.parts > 1:
        raise ModelArchitectureError(
            f"{source.name!r} is no whole model in one file. Name the GGUF file of the base model."
        )
    if final.exists() and final.samefile(source):
        raise OptionError("A merged model cannot replace its base model. Name another file.")
    if kind is not None:
        check_kind(source, final, kind_of(kind))
    return metadata


class _Plan:
    """Which tensors are written how."""

    def __init__(
        self, source: Path, metadata: GGUFMetadata, lora: Lora, scale: float, *, direct: bool
    ) -> None:
        if lora.architecture != metadata.architecture:
            raise ModelArchitectureError(
                f"The adapter is for the architecture {lora.architecture!r}; {source.name!r} is "
                f"{metadata.architecture!r}. Name the model that it was trained on."
            )
        self.source, self.metadata, self.direct = source, metadata, direct
        self.header: Header = read_header(source)
        self.scale = scale * lora.scale
        self.tensors: Mapping[str, Tensor] = {t.name: t for t in self.header.tensors}
        self.factors = gguf_factors(
            lora, metadata.heads, metadata.kv_heads, tied=OUTPUT not in self.tensors
        )
        for name, (a, b) in self.factors.items():
            tensor = self.tensors.get(f"{name}.weight")
            if tensor is None or tensor.shape != (a.shape[1], b.shape[0]):
                held = "no such weights" if tensor is None else f"the shape {tensor.shape}"
                raise ModelArchitectureError(
                    f"The adapter changes {name!r} with the shape {(a.shape[1], b.shape[0])}, and "
                    f"{source.name!r} has {held} there. Name the model that it was trained on."
                )

    def entries(self) -> list[Entry]:
        return [self._entry(tensor) for tensor in self.header.tensors]

    def _entry(self, tensor: Tensor) -> Entry:
        layer = tensor.name.removesuffix(".weight")
        if tensor.name.endswith(".weight") and layer in self.factors:
            kind = self.kind_of(tensor)
            a, b = self.factors[layer]
            size = _bytes(kind, tensor.elements)
            made = functools.partial(self._changed, tensor, kind, a, b)
            return Entry(tensor.name, tensor.shape, kind, size, made)
        size = _bytes(tensor.type, tensor.elements)
        copied = functools.partial(self._raw, tensor.offset, size)
        return Entry(tensor.name, tensor.shape, tensor.type, size, copied)

    def kind_of(self, tensor: Tensor) -> int:
        """In which kind a changed tensor is written: the number that ggml has for it."""
        from gguf import GGML_QUANT_SIZES
        from gguf import GGMLQuantizationType as Kind

        kind = Kind(tensor.type)
        if not self.direct:
            # It is packed afterwards.
            return int(Kind.F32 if kind == Kind.F32 else Kind.F16)
        if kind in (Kind.F32, Kind.F16, Kind.BF16, Kind.Q8_0):
            return int(kind)
        block = GGML_QUANT_SIZES[Kind[SAFE]][0]
        return int(Kind.F16 if tensor.shape[0] % block else Kind[SAFE])

    def _raw(self, offset: int, size: int) -> Iterator[bytes]:
        with self.source.open("rb") as file:
            file.seek(self.header.data_offset + offset)
            while size:
                piece = file.read(min(size, CHUNK))
                if not piece:
                    raise ModelFormatError(f"{str(self.source)!r} is cut short. Copy it again.")
                size -= len(piece)
                yield piece

    def _changed(
        self, tensor: Tensor, kind: int, a: NDArray[np.float32], b: NDArray[np.float32]
    ) -> Iterator[Any]:
        """The bytes of W + scale · B A, some rows at a time."""
        import numpy as np
        from gguf import GGMLQuantizationType, quants

        width, rows = tensor.shape
        row = _bytes(tensor.type, width)
        for start in range(0, rows, ROWS):
            count = min(ROWS, rows - start)
            packed = b"".join(self._raw(tensor.offset + start * row, count * row))
            own = np.frombuffer(packed, np.uint8).reshape(count, row)
            weights = quants.dequantize(own, GGMLQuantizationType(tensor.type))
            weights = weights.reshape(count, width) + self.scale * (b[start : start + count] @ a)
            made = quants.quantize(weights.astype(np.float32), GGMLQuantizationType(kind))
            yield np.ascontiguousarray(made).data.cast("B")


def _keys(plan: _Plan, name: str | None, provenance: Provenance | None) -> list[bytes]:
    """All keys of the base model but those that are no longer true, then ours."""
    texts = provenance.as_texts() if provenance else {}
    own = {
        "general.name": ggufwriting.text(
            "general.name", name or f"{plan.metadata.name} with an adapter"
        ),
        **{key: ggufwriting.text(key, value) for key, value in texts.items()},
    }
    file_type = _file_type(plan)
    if file_type is not None:
        own["general.file_type"] = ggufwriting.number("general.file_type", file_type)
    if "general.quantization_version" not in plan.header.extents:
        key = "general.quantization_version"
        own[key] = ggufwriting.number(key, 2)
    kept = []
    with plan.source.open("rb") as file:
        for key, (start, end) in plan.header.extents.items():
            if key not in own and not key.startswith(PREFIX):
                file.seek(start)
                kept.append(file.read(end - start))
    return [*kept, *own.values()]


def _file_type(plan: _Plan) -> int | None:
    """llama.cpp's number of the kind that most bytes have, if changed tensors have made it another one."""
    from gguf import GGMLQuantizationType as Kind

    sizes: dict[int, int] = {}
    moved = False
    for entry in plan.entries():
        tensor = plan.tensors[entry.name]
        moved = moved or tensor.type != entry.type
        sizes[entry.type] = sizes.get(entry.type, 0) + entry.size
    most = Kind(max(sizes, key=lambda kind: sizes[kind])).name
    return FILE_TYPES.get(most) if moved else None


def _bytes(kind: int, elements: int) -> int:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    block, size = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
    return int(elements // block * size)
