"""Which copy of a model to use, by a stated rule; nothing is read, run or written here.

The rule: of the model as it is and its copies, those may be chosen whose perplexity is at most 1 % above
that of the model as it is, judged by the upper end of the paired 95 % interval. Of these the fastest is
chosen, by the geometric mean of reading, writing and batched writing. The model as it is stays where
nothing is at least 5 % faster. Threads and batch sizes are chosen by the same rule, with the copy that won.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.perplexity import Ratio
from llmops_jupyter.engine.quantize import BITS, copy_bytes, fits_rows
from llmops_jupyter.engine.speed import Setting, Speed
from llmops_jupyter.models import GGUFMetadata
from llmops_jupyter.models.memory import megabytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOSS, MARGIN = 0.01, 0.05
TRIED = ("Q8_0", "Q6_K", "Q5_0", "Q4_K_M", "Q4_0", "BF16", "F16")
BATCHES = (128, 256, 512)
DEFAULT_BATCH = 512
BUSY = 0.25


@dataclass(frozen=True)
class Candidate:
    """A model or a copy of it as measured. `ratio` None is the model as it is."""

    kind: str
    size: int
    perplexity: float
    ratio: Ratio | None
    speed: Speed

    @property
    def is_original(self) -> bool:
        return self.ratio is None

    def loses_at_most(self, loss: float) -> bool:
        """Whether even the upper end of the interval is within the loss."""
        return self.ratio is None or self.ratio.high <= 1 + loss


def kinds_to_try(metadata: GGUFMetadata, memory: int) -> tuple[str, ...]:
    """The kinds of copies worth measuring.

    Left out are the model's own kind, kinds whose blocks its rows cannot be cut into, and copies that are
    larger than the model and take more than half of `memory` bytes.
    """
    found = []
    for kind in TRIED:
        size = copy_bytes(metadata, kind)
        roomy = size <= max(metadata.tensor_bytes, memory // 2)
        if kind != metadata.quantization and fits_rows(metadata, kind) and roomy:
            found.append(kind)
    # Of the two formats of 16 bits one is enough, and none where the model has the other.
    if "BF16" in found or BITS.get(metadata.quantization, 0) >= 16:
        found = [kind for kind in found if kind != "F16"]
    return tuple(found)


def settings_to_try(cores: int, chosen: Setting) -> tuple[Setting, ...]:
    """Threads (1, 2, 4, … and all cores) and batch sizes, one changed at a time."""
    threads = {cores} | {2**n for n in range(cores.bit_length()) if 2**n <= cores}
    found = [Setting(n, chosen.batch) for n in sorted(threads) if n != chosen.threads]
    found += [Setting(chosen.threads, n) for n in BATCHES if n != chosen.batch]
    return tuple(found)


def choose(candidates: Sequence[Candidate], loss: float = LOSS) -> Candidate:
    """The candidate that the rule chooses; the first one is what is used now.

    Args:
        candidates: what was measured; one of them is the model as it is.
        loss: perplexity that may be lost, as a share.
    """
    now = candidates[0]
    allowed = [c for c in candidates if c.loses_at_most(loss)]
    best = max(allowed, key=lambda c: c.speed.mixture)
    keeps = now in allowed and best.speed.mixture < (1 + MARGIN) * now.speed.mixture
    return now if keeps else best


@dataclass(frozen=True)
class Tuning:
    """What `tune` measured and chose.

    `candidates` are the model as it is and its copies with one setting; `settings` are further ones of the
    copy that won. `chosen` is one of either. `registered` names the model to use from now on.
    """

    model: str
    candidates: tuple[Candidate, ...]
    settings: tuple[Candidate, ...]
    chosen: Candidate
    loss: float
    text: str
    registered: str
    notes: tuple[str, ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """A table for people: sizes, rates in tokens a second, perplexity and its change."""
        return [self._row(c) for c in (*self.candidates, *self.settings)]

    def _row(self, one: Candidate) -> dict[str, Any]:
        speed, base = one.speed, self.candidates[0].speed
        return {
            "": "→" if one == self.chosen else "",
            "kind": f"{one.kind} (as it is)" if one.is_original else one.kind,
            "threads": speed.setting.threads,
            "batch": speed.setting.batch,
            "size": megabytes(one.size),
            "reading": str(speed.reading),
            "writing": str(speed.writing),
            "16 at once": str(speed.batched),
            "speed": f"{speed.mixture / base.mixture:.2f}×",
            "perplexity": f"{one.perplexity:.2f}",
            "change": "" if one.ratio is None else str(one.ratio),
            "allowed": "yes" if one.loses_at_most(self.loss) else "no",
        }

    @property
    def others(self) -> float:
        """Cores that other programs kept busy, at most, while something was measured."""
        return max(c.speed.others for c in (*self.candidates, *self.settings))

    @property
    def busy(self) -> bool:
        """Whether other programs made the rates uncertain; then no threads and batch are kept."""
        return self.others > BUSY

    def verdict(self) -> str:
        """The choice in a sentence."""
        one, base = self.chosen, self.candidates[0]
        what = f"{one.kind}{' (as it is)' if one.is_original else ''}, {one.speed.setting}"
        gain = one.speed.mixture / base.speed.mixture
        cost = "" if one.ratio is None else f", perplexity {one.ratio}"
        use = f" Use it with -m {self.registered}" if self.registered else ""
        return f"{self.model}: {what}: {gain:.2f} times as fast{cost}.{use}"

    def lines(self) -> list[str]:
        """The choice, the rule and what to keep in mind."""
        tokens = next((c.ratio.tokens for c in self.candidates if c.ratio is not None), 0)
        rule = (
            f"Rule: fastest (geometric mean of the three rates, tokens/s) with at most {self.loss:.1%} "
            f"more perplexity by the upper end of the paired 95 % interval ({tokens} tokens of "
            f"{self.text})."
        )
        found = [self.verdict(), rule, *self.notes]
        if self.busy:
            found.append(
                f"Other programs kept up to {self.others:.1f} cores busy meanwhile, so the rates are "
                "uncertain, and the next load goes by the usual threads and batch. Tune again when the "
                "machine is quiet."
            )
        return found

    def plot(self) -> Figure:
        """Speed against perplexity as a matplotlib figure."""
        from llmops_jupyter.engine.chart import figure

        return figure(self)

    def kept(self) -> list[dict[str, Any]]:
        """What a list of models shows of it: each candidate with its size, rate of writing and perplexity."""
        return [
            {
                "kind": c.kind,
                "size": c.size,
                "tokens_per_s": c.speed.writing.median,
                "perplexity": c.perplexity,
                "ratio": None if c.ratio is None else [c.ratio.value, c.ratio.low, c.ratio.high],
                "tokens": 0 if c.ratio is None else c.ratio.tokens,
                "chosen": c.kind == self.chosen.kind,
            }
            for c in self.candidates
        ]

    def as_dict(self) -> dict[str, Any]:
        """JSON values: everything that was measured, and the choice."""
        from dataclasses import asdict

        found = asdict(self)
        found["registered"] = self.registered
        return found

    def __str__(self) -> str:
        from llmops_jupyter.render import text_table

        return "\n".join([text_table(self.rows()), "", *self.lines()])

    def _repr_html_(self) -> str:
        from llmops_jupyter.engine.chart import Chart
        from llmops_jupyter.render import escaped, table_html

        image = Chart(self).page("Speed against perplexity of each candidate")
        lines = "".join(f"<p>{escaped(line)}</p>" for line in self.lines())
        return f"{table_html(self.rows())}{image}{lines}"
