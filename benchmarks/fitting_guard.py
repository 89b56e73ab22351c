"""`python -m benchmarks.fitting_guard`: fits the guards' models and writes their weights and cards.

Reads LLMOPS_BENCH_DATA; takes some minutes; the same data and versions give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import guard_manners, guard_models, guard_rates
from benchmarks.guard_models import Fitted
from llmops_jupyter.guard import classifier, refusing, signs, toxicity

NAMES = ("injection", "request", "refusal", "toxicity")
CARDS = Path(__file__).with_name("guard_cards")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fitting_guard", description=__doc__)
    parser.add_argument("--to", type=Path, default=classifier.WEIGHTS, metavar="FOLDER")
    parser.add_argument(
        "--only", choices=NAMES, action="append", help="this model alone; repeatable"
    )
    given = parser.parse_args()
    if not os.environ.get("LLMOPS_BENCH_DATA"):
        sys.exit(
            "LLMOPS_BENCH_DATA is unset: set it to the folder with the data sets, then run again."
        )
    given.to.mkdir(parents=True, exist_ok=True)
    for name in given.only or NAMES:
        model, extra, rates = fitted(name)
        write(given.to, name, model, extra, rates)


def fitted(name: str) -> tuple[Fitted, str, Sequence[Any]]:
    """A model, the digest of its signs, and its rates. Requests take the threshold of the orders' model on disk."""
    if name == "injection":
        return guard_models.shipped(), signs.digest(), guard_rates.injection()
    if name == "request":
        threshold = classifier.load("injection", signs.digest()).threshold
        return guard_models.shipped_request(threshold), signs.digest(), guard_rates.request()
    if name == "refusal":
        return guard_manners.refusal()[0], refusing.digest(), guard_rates.refusal()
    return guard_manners.toxic()[0], toxicity.digest(), guard_rates.toxicity()


def write(folder: Path, name: str, model: Fitted, extra: str, rates: Sequence[Any]) -> None:
    """The weight file and the card beside it, with the file's digest and the rates."""
    data = classifier.packed(model.columns, model.extra, model.numbers, classifier.features(extra))
    (folder / f"{name}.npz").write_bytes(data)
    table = ["| what | rate (95 % interval, Wilson) | texts |", "|---|---|---|"]
    table += [f"| {r.what} | {r.text} | {r.count:,} |" for r in rates]
    text = (CARDS / f"{name}.md").read_text("utf-8")
    text = text.replace("{rates}", "\n".join(table))
    text = text.replace("{threshold}", f"{model.threshold:.3f}")
    text = text.replace("{sha256}", hashlib.sha256(data).hexdigest())
    text = text.replace("{size}", f"{len(data) / 1000:.0f} kB")
    made = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("scikit-learn", "numpy"))
    (folder / f"{name}.md").write_text(text.replace("{made}", made), "utf-8")
    print(f"{name}: {len(data):,} bytes, threshold {model.threshold:.3f}")
    for rate in rates:
        print(f"  {rate.what}: {rate.text}, {rate.count:,} texts")


if __name__ == "__main__":
    main()
