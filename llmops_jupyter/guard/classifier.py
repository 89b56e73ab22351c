"""Linear models on hashed n-grams and signs: their weights on disk, and the probability that they give.

Each model is one small ``.npz`` in ``weights/`` beside a card ``.md`` that names what it was fitted on and what it does not see.
`benchmarks/fitting_guard.py` made both. Weights are kept as 16-bit floats.
"""

from __future__ import annotations

import functools
import hashlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import GuardError
from llmops_jupyter.guard import grams

if TYPE_CHECKING:
    import numpy as np

WEIGHTS = Path(__file__).with_name("weights")
# Bias, slope, offset, threshold, penalty.
NUMBERS = 5


@dataclass(frozen=True)
class Classifier:
    """A logistic model, calibrated by Platt's method on scores that were cross-fitted over sources.

    Args:
        name: of its file.
        columns: one weight for each of the 2**`bits` hashed columns.
        extra: one weight for each sign.
        bias: the intercept.
        slope: of the calibration; the probability is 1 / (1 + exp(-(slope * logit + offset))).
        offset: of the calibration.
        threshold: the score from which on the fitted rate of false alarms was kept, on texts used for nothing else.
        penalty: what a text's best sentence loses for each unit of the logarithm of the number of sentences.
        sha256: of the file.
    """

    name: str
    columns: np.ndarray[Any, Any]
    extra: np.ndarray[Any, Any]
    bias: float
    slope: float
    offset: float
    threshold: float
    penalty: float
    sha256: str

    @property
    def bits(self) -> int:
        """The binary logarithm of the number of hashed columns."""
        return len(self.columns).bit_length() - 1

    def logits(
        self, texts: Sequence[str], extra: np.ndarray[Any, Any] | None = None
    ) -> np.ndarray[Any, Any]:
        """The model's sum for each text, before calibration; `extra` has the signs of each."""
        found = grams.grams(texts, self.bits).times(self.columns) + self.bias
        return found if extra is None else found + extra @ self.extra

    def probability(self, logit: float) -> float:
        """The calibrated probability of a logit."""
        import math

        value = self.slope * logit + self.offset
        if value >= 0:
            return 1.0 / (1.0 + math.exp(-value))
        return math.exp(value) / (1.0 + math.exp(value))


def features(extra: str = "") -> str:
    """The digest of what weights are fitted on: the n-grams, and the digest of the signs."""
    return hashlib.sha256(f"{grams.VERSION}\n{extra}".encode()).hexdigest()


def digest_of(name: str) -> str:
    """The sha256 of a weight file; '' if there is none. Reads the file without NumPy."""
    try:
        return hashlib.sha256((WEIGHTS / f"{name}.npz").read_bytes()).hexdigest()
    except OSError:
        return ""


@functools.lru_cache(maxsize=8)
def load(name: str, extra: str = "") -> Classifier:
    """The weights of a fitted check.

    Args:
        name: of the file in ``weights/``.
        extra: the digest of the signs that are given with the texts.

    Raises:
        GuardError: the file is missing or damaged, or was made for other features.
    """
    import numpy as np

    again = "Install llmops-jupyter again."
    try:
        data = (WEIGHTS / f"{name}.npz").read_bytes()
        with np.load(io.BytesIO(data), allow_pickle=False) as kept:
            parts = {key: kept[key] for key in kept.files}
        made_for = str(parts["features"])
        numbers = [float(n) for n in parts["numbers"]]
        if len(numbers) != NUMBERS:
            raise ValueError(f"{len(numbers)} numbers in place of {NUMBERS}")
        columns, signs = parts["columns"], parts["extra"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as e:
        raise GuardError(f"The weights of {name!r} cannot be read ({e}). {again}") from e
    if made_for != features(extra):
        raise GuardError(f"The weights of {name!r} were made for other features. {again}")
    bias, slope, offset, threshold, penalty = numbers
    return Classifier(
        name,
        columns.astype(np.float64),
        signs.astype(np.float64),
        bias=bias,
        slope=slope,
        offset=offset,
        threshold=threshold,
        penalty=penalty,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def packed(
    columns: np.ndarray[Any, Any],
    extra: np.ndarray[Any, Any],
    numbers: Sequence[float],
    made_for: str,
) -> bytes:
    """The bytes of a weight file; the same weights give the same bytes."""
    import numpy as np

    out = io.BytesIO()
    np.savez_compressed(
        out,
        columns=columns.astype(np.float16),
        extra=extra.astype(np.float32),
        numbers=np.array(numbers, dtype=np.float64),
        features=np.array(made_for),
    )
    return out.getvalue()
