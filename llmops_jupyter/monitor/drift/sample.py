"""Rows with their features, as a baseline keeps them and a window has them."""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from llmops_jupyter.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Numbers: TypeAlias = "NDArray[np.float64]"
Categories: TypeAlias = "tuple[str | None, ...]"
TEXTS = ("input", "output")
# Of a vector's numbers, so that their squares add up in single precision; its inverse is the smallest one.
LARGEST = 1e12


@dataclass(frozen=True)
class Vectors:
    """Vectors of one text of each row; rows without it, or beyond the number that is embedded, have none.

    Args:
        embedder: the name of the model, for people.
        digest: of its weights; vectors of two models do not mix.
        rows: which rows have a vector, in their order.
        values: of unit length; shape (len(rows), width).
    """

    embedder: str
    digest: str
    rows: NDArray[np.int64]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class Sample:
    """Rows of traces or of data, in the order in which they came.

    Args:
        ids: of the traces or rows.
        sessions: that rows belong to; None for a row of its own.
        times: nanoseconds since 1970; 0 where not known.
        numbers: by feature, NaN where missing.
        categories: by feature, None where missing.
        texts: 'input' and 'output', '' where missing.
        vectors: of the texts.
        from_traces: whether the ids are of traces.
        seen: rows that there were, of which these are kept.
        notes: what a reader should know.
        marks: by which rows are known when they are given again, None where they have no id of their own; the ids
            if left out. They are not kept with a baseline.
        spans: for traces that were taken in by runs within them, the run's span; '' where it is the whole trace. Not kept either.
    """

    ids: tuple[str, ...]
    sessions: tuple[str | None, ...]
    times: NDArray[np.int64]
    numbers: Mapping[str, Numbers]
    categories: Mapping[str, Categories]
    texts: Mapping[str, tuple[str, ...]]
    vectors: Mapping[str, Vectors] = field(default_factory=dict)
    from_traces: bool = True
    seen: int = 0
    notes: tuple[str, ...] = ()
    marks: tuple[str | None, ...] = ()
    spans: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def n_sessions(self) -> int:
        """How many units the rows make."""
        return len({s for s in self.sessions if s}) + sum(1 for s in self.sessions if not s)

    def unit(self, place: int) -> str:
        """A name of the session of a row, or of the row where it has none.

        Ids alone may follow from what a row says, and equal rows would share what is drawn by them.
        """
        return self.sessions[place] or f"{place} {self.ids[place]}"

    def only(self, rows: Sequence[int] | NDArray[np.int64]) -> Sample:
        """Some of the rows, in the order in which they are named."""
        import numpy as np

        chosen = np.asarray(rows, np.int64)
        vectors = {}
        for name, one in self.vectors.items():
            place = np.full(len(self), -1, np.int64)
            place[one.rows] = np.arange(len(one.rows))
            has = place[chosen] >= 0
            vectors[name] = replace(
                one, rows=np.flatnonzero(has), values=one.values[place[chosen][has]]
            )
        return replace(
            self,
            ids=tuple(self.ids[i] for i in chosen),
            marks=tuple(self.marks[i] for i in chosen) if self.marks else (),
            spans=tuple(self.spans[i] for i in chosen) if self.spans else (),
            sessions=tuple(self.sessions[i] for i in chosen),
            times=self.times[chosen],
            numbers={name: values[chosen] for name, values in self.numbers.items()},
            categories={n: tuple(v[i] for i in chosen) for n, v in self.categories.items()},
            texts={n: tuple(v[i] for i in chosen) for n, v in self.texts.items()},
            vectors=vectors,
        )

    def row(self, place: int) -> dict[str, Any]:
        """One row for people and for data sets."""
        found: dict[str, Any] = {name: texts[place] for name, texts in self.texts.items()}
        for name, values in self.numbers.items():
            value = float(values[place])
            found[name] = value if value == value else None  # noqa: PLR0124 - NaN is missing
        for name, kinds in self.categories.items():
            found[name] = kinds[place]
        return found

    @property
    def digest(self) -> str:
        """Of the content: the same rows in the same order have the same one."""
        made = hashlib.sha256()
        for part in (self.ids, self.sessions, self.texts, self.categories, self.seen):
            made.update(json.dumps(part, sort_keys=True).encode("utf-8", "surrogatepass"))
        made.update(self.times.tobytes())
        for name in sorted(self.numbers):
            made.update(name.encode())
            made.update(self.numbers[name].tobytes())
        for name in sorted(self.vectors):
            one = self.vectors[name]
            made.update(f"{name} {one.digest}".encode())
            made.update(one.values.astype("float16").tobytes())
        return made.hexdigest()


def to_bytes(sample: Sample) -> bytes:
    """A sample as it is kept: arrays with vectors in half precision, everything else as JSON, compressed."""
    import numpy as np

    facts = {
        "ids": sample.ids,
        "sessions": sample.sessions,
        "categories": sample.categories,
        "texts": sample.texts,
        "from_traces": sample.from_traces,
        "seen": sample.seen,
        "notes": sample.notes,
        "numbers": sorted(sample.numbers),
        "vectors": {n: [v.embedder, v.digest] for n, v in sample.vectors.items()},
    }
    arrays: dict[str, Any] = {"times": sample.times}
    for place, name in enumerate(sorted(sample.numbers)):
        arrays[f"number{place}"] = sample.numbers[name]
    for place, name in enumerate(sample.vectors):
        arrays[f"rows{place}"] = sample.vectors[name].rows
        arrays[f"vectors{place}"] = sample.vectors[name].values.astype(np.float16)
    text = json.dumps(facts, ensure_ascii=True).encode()
    arrays["facts"] = np.frombuffer(text, np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return zlib.compress(buffer.getvalue(), 1)


def from_bytes(content: bytes) -> Sample:
    """What `to_bytes` made.

    Raises:
        DataError: it is damaged.
    """
    import numpy as np

    try:
        with np.load(io.BytesIO(zlib.decompress(content)), allow_pickle=False) as arrays:
            facts = json.loads(arrays["facts"].tobytes().decode())
            numbers = {name: arrays[f"number{i}"] for i, name in enumerate(facts["numbers"])}
            vectors = {
                name: Vectors(
                    str(about[0]), str(about[1]), arrays[f"rows{i}"], halved(arrays[f"vectors{i}"])
                )
                for i, (name, about) in enumerate(facts["vectors"].items())
            }
            times = arrays["times"]
    except (zlib.error, ValueError, KeyError, OSError) as e:
        raise DataError("The baseline's content is damaged. Make the baseline anew.") from e
    return Sample(
        ids=tuple(facts["ids"]),
        sessions=tuple(facts["sessions"]),
        times=times,
        numbers=numbers,
        categories={name: tuple(values) for name, values in facts["categories"].items()},
        texts={name: tuple(values) for name, values in facts["texts"].items()},
        vectors=vectors,
        from_traces=facts["from_traces"],
        seen=facts["seen"],
        notes=tuple(facts["notes"]),
    )


def unit_length(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Each row divided by its length, whatever that is; a row of zeros stays one."""
    import numpy as np

    largest = np.abs(values).max(1, keepdims=True, initial=0.0)
    if ((largest > LARGEST) | ((largest > 0) & (largest < 1 / LARGEST))).any():
        values = values / np.where(largest > 0, largest, 1)  # else their squares are no numbers
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    found: NDArray[np.float32] = (values / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return found


def halved(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Vectors of unit length as they are once they were kept in half precision: both sides are rounded alike."""
    import numpy as np

    return unit_length(values.astype(np.float16).astype(np.float32))
