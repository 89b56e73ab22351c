"""Near-duplicates among abstracts: planted copies that are found, pairs that are none, and speed."""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import corpora
from benchmarks.child import Child
from benchmarks.corpora import DataMissing
from benchmarks.peers import PeerMissing, peer_python, peer_version
from benchmarks.report import Row
from llmops_jupyter.data.preparing.doubles import Comparer, find_near
from llmops_jupyter.data.preparing.words import words_of

SHARES = (0.02, 0.05, 0.1, 0.2)
WANTED = 0.1
FEWEST, TEXTS, COPIES, FRAMED = 60, 4000, 1000, 2000
LIBRARIES, THRESHOLDS = ("datasketch", "rensa"), (0.5, 0.7)
FRAME = (
    "You handle messages to a shop. Read the message of the customer below, decide what they need, and reply in a "
    "friendly tone with two sentences at most; never promise a refund and always thank them for their patience. "
    "{name} from {town} writes: my {thing} with the order {number} has not come, could you look where it is and tell "
    "me when I can expect it?"
)
NAMES = ("Anna", "Ben", "Carla", "Dmitri", "Eva", "Farid", "Grace", "Hugo", "Ines", "Jonas")
TOWNS = ("Berlin", "Paris", "Rome", "Oslo", "Madrid", "Lyon", "Porto", "Ghent")
THINGS = ("book", "lamp", "chair", "kettle", "backpack", "jacket", "umbrella", "phone case")

Pairs = Sequence[Sequence[int]]


def measure(*, quick: bool) -> list[Row]:
    rows = [_templates(200 if quick else FRAMED)]
    try:
        documents = corpora.scifact(quick=quick).documents.values()
    except DataMissing as e:
        return [Row("near-duplicates among SciFact's abstracts", str(e)), *rows]
    texts = [f"{title} {text}" for title, text in documents]
    texts = [text for text in texts if len(words_of(text)) >= FEWEST][:TEXTS]
    copies = min(COPIES, len(texts) // 4)
    return [*(_abstracts(texts, copies, share) for share in SHARES), *rows]


def _abstracts(texts: Sequence[str], copies: int, share: float) -> Row:
    rng = random.Random(1)
    vocabulary = [word for text in texts[:500] for word in text.split()]
    made = [*texts, *(_edited(rng, text, share, vocabulary) for text in texts[:copies])]
    began = time.perf_counter()
    dropped = find_near(Comparer(made)).dropped
    seconds = time.perf_counter() - began
    recall, false = _scored([(p.second, p.first) for p in dropped.values()], copies, len(texts))
    theirs = _peers(made, copies, len(texts))
    best = max((value for value, _, _ in theirs.values()), default=0.0)
    return Row(
        f"{copies:,} copies with {share:.0%} of the words changed among {len(made):,} abstracts: found; false pairs",
        f"{recall:.1%}; {false} ({len(made) / seconds:,.0f} texts/s)",
        "; ".join(
            f"{name}: {value:.1%}, {wrong} false ({len(made) / took:,.0f} texts/s)"
            for name, (value, wrong, took) in theirs.items()
        ),
        f"{recall / best:.2f}× the best" if best else "",
        "≥ 99 %; 0" if share == WANTED else "",
        (recall >= 0.99 and not false) if share == WANTED else None,
    )


def _edited(rng: random.Random, text: str, share: float, vocabulary: Sequence[str]) -> str:
    words = text.split()
    for place in rng.sample(range(len(words)), round(share * len(words))):
        words[place] = rng.choice(vocabulary)
    return " ".join(words)


def _scored(found: Pairs, copies: int, first: int) -> tuple[float, int]:
    """The share of the copies that were found with their original, and pairs that are none."""
    got = {(a, b) for a, b in found}
    wanted = {(place, first + place) for place in range(copies)}
    return len(got & wanted) / copies, len(got - wanted)


def _peers(texts: Sequence[str], copies: int, first: int) -> dict[str, tuple[float, int, float]]:
    """Recall, false pairs and seconds of each library at each threshold."""
    found = {}
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            Child(peer_python("minhash"), "benchmarks.minhash") as peer,
        ):
            path = Path(folder) / "texts.json"
            path.write_text(json.dumps(list(texts)), "utf-8")
            for library in LIBRARIES:
                for threshold in THRESHOLDS:
                    answer = peer.ask("pairs", path=str(path), library=library, threshold=threshold)
                    name = f"{library} {_version(library)} at {threshold}"
                    score = _scored(answer["pairs"], copies, first)
                    found[name] = (*score, answer["seconds"])
    except PeerMissing as e:
        print(f"  {e}", flush=True)
    return found


def _version(library: str) -> str:
    return peer_version("minhash", library)


def _templates(count: int) -> Row:
    rng = random.Random(2)
    texts = [
        FRAME.format(
            name=rng.choice(NAMES),
            town=rng.choice(TOWNS),
            thing=rng.choice(THINGS),
            number=rng.randint(1000, 99999),
        )
        for _ in range(count)
    ]
    found = find_near(Comparer(texts))
    theirs = "; ".join(
        f"{name}: {wrong:,} dropped" for name, (_, wrong, _) in _peers(texts, 1, count).items()
    )
    return Row(
        f"{count:,} rows of one template with four slots: dropped; reported apart",
        f"{len(found.dropped)}; {len(found.templated):,}",
        theirs,
        "",
        "0",
        not found.dropped,
    )
