"""Labels scored instead of written, beside the two ways of the stock `Llama`; the numbers in `agreement`."""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.batched import messages
from benchmarks.child import Child
from benchmarks.report import Row, spread
from benchmarks.workload import Workload, common

ITEMS, LABELS = 200, ("Positive", "Negative")
# The peer asks for so many of the likeliest tokens, and gets so many of the items in a run.
TOP, PEER_ITEMS = 100, 40
SETTLE_S = 0.3
SYSTEM = (
    "You read reviews that guests have written of a hotel and say what they think of it. Answer with one "
    "word: Positive if the guest was pleased on the whole, Negative if the guest was not. Look at the "
    "whole review and not at single words: a guest may praise the view and still be displeased, and "
    "another may complain of the weather and be pleased all the same. What is said of other hotels does "
    "not count. Here are some examples.\n"
    "Review: The bed was soft and the people at the desk were kind. Answer: Positive\n"
    "Review: We waited an hour for the key and nobody said a word. Answer: Negative\n"
    "Review: It rained all week, but we did not want to leave. Answer: Positive\n"
    "Review: The pool looks good in the pictures and is closed. Answer: Negative\n"
    "Review: Small rooms, and the best breakfast that I have had in years. Answer: Positive\n"
    "Write nothing but this one word, neither a reason nor a full stop."
)
_SUBJECTS = (
    "room bed breakfast dinner view garden pool lift garage lobby bathroom balcony staff sauna "
    "terrace bar music heating window shower"
)
OPINIONS = (
    "was better than we had hoped, and we shall come again",
    "was the worst of the whole journey",
    "was clean, quiet and ready when we came",
    "was dirty, and they wanted money for it on top",
    "made our stay",
    "spoiled our stay",
    "was as good as they had promised",
    "did not work on any of the three days",
    "is worth every penny",
    "is a shame for a house of this price",
)


def measure(ws: Any, model: str, workload: Workload, *, quick: bool) -> list[Row]:
    engine, path = ws.engine.engine(model), str(ws.models.resolve(model).path)
    asked, runs = questions(), 2 if quick else 5
    for label in LABELS:
        if (
            len(workload.tokens(SYSTEM, asked[0], label))
            != len(workload.tokens(SYSTEM, asked[0])) + 1
        ):
            raise RuntimeError(f"the label {label} has several tokens")
    found: dict[str, list[float]] = {"ours": [], "logprobs": [], "echo": []}
    off: dict[str, list[float]] = {"logprobs": [], "echo": []}
    threads = engine.status()["threads"]
    scores = engine.score([(messages(SYSTEM, question), LABELS) for question in asked])
    with Child(sys.executable, "benchmarks.stock", path, str(threads), "labels") as peer:
        for i in range(runs):
            for name in list(found)[:: 1 if i % 2 == 0 else -1]:
                time.sleep(SETTLE_S)
                rate, apart = _turn(name, i, engine, peer, workload, scores)
                found[name].append(rate)
                off.get(name, []).extend(apart)
            shown = "  ".join(f"{name} {rates[-1]:.3g}" for name, rates in found.items())
            print(f"  labels, run {i + 1}: {shown}", flush=True)
    shared = common([workload.tokens(SYSTEM, question) for question in asked])
    what = f"{ITEMS} items × 2 labels, {shared} shared tokens: `engine.score` in the worker"
    each = (
        f"`Llama(n_threads={threads}, logits_all=True)`, one call with logprobs={TOP} for each item, "
        f"{PEER_ITEMS} items a run"
    )
    echo = "the same with echo, one call for each label; 1 label of 1 item a run, scaled"
    return [
        _row(f"{what}, against one call an item", found, "logprobs", each, off, 1.8),
        _row(f"{what}, against one call a label", found, "echo", echo, off, 100),
    ]


def questions() -> list[str]:
    pairs = itertools.product(OPINIONS, _SUBJECTS.split())
    return [f"Review: The {subject} {opinion}. Answer:" for opinion, subject in pairs]


def _turn(
    name: str, run: int, engine: Any, peer: Child, workload: Workload, scores: list[list[float]]
) -> tuple[float, list[float]]:
    """Items per second, and how far log-probabilities are from ours."""
    asked = questions()
    if name == "ours":
        items = [(messages(SYSTEM, question), LABELS) for question in asked]
        began = time.perf_counter()
        engine.score(items)
        return ITEMS / (time.perf_counter() - began), []
    if name == "logprobs":
        first = PEER_ITEMS * run % ITEMS
        part = slice(first, first + PEER_ITEMS)
        prompts = [workload.tokens(SYSTEM, question) for question in asked[part]]
        answer = peer.ask(name, prompts=prompts, labels=LABELS, top=TOP)
        return PEER_ITEMS / answer["seconds"], apart(scores[part], answer["found"])
    # It takes many seconds: one label of one item stands for both.
    prompts, place = [workload.text(SYSTEM, asked[run])], run % len(LABELS)
    answer = peer.ask(name, prompts=prompts, labels=[LABELS[place]])
    rate = 1 / (len(LABELS) * answer["seconds"])
    return rate, apart([[scores[run][place]]], answer["found"])


def apart(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float | None]]) -> list[float]:
    """Differences of log-probabilities where both sides tell them."""
    pairs = zip(itertools.chain(*ours), itertools.chain(*theirs), strict=False)
    return [abs(a - b) for a, b in pairs if b is not None]


def _row(
    what: str,
    found: dict[str, list[float]],
    name: str,
    peer: str,
    off: dict[str, list[float]],
    target: float,
) -> Row:
    ours, theirs = found["ours"], found[name]
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    away = f"; {len(off[name])} log-probabilities are {max(off[name]):.2g} apart at most"
    return Row(
        what,
        spread(ours, "items/s"),
        f"{peer}: {spread(theirs, 'items/s', digits=2)}{away}",
        f"{ratio:.3g}×",
        f"≥ {target}×",
        ratio >= target,
    )
