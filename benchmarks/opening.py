"""From nothing to a first token: loading the extension, the first token, a whole process."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.child import Child
from benchmarks.peers import PeerMissing, peer_python, peer_version
from benchmarks.report import Row, median, spread

LOAD = """
import json, sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
before, began = len(sys.modules), time.perf_counter()
shell.run_line_magic("load_ext", {name!r})
print(json.dumps([time.perf_counter() - began, len(sys.modules) - before]))
"""
OURS = """
import llmops_jupyter as lo
with lo.open({folder!r}) as ws:
    prompt = ws.prompts.scratch("system: " + {system!r} + "\\nuser: " + {question!r})
    print(ws.prompts.run(prompt, model="smollm2", max_tokens=16, temperature=0).text)
"""
PEER = """
from llama_cpp import Llama
llama = Llama({path!r}, n_ctx=2048, n_threads={threads}, n_threads_batch={threads}, verbose=False)
system, user = {system!r}, {question!r}
messages = [{{"role": "system", "content": system}}, {{"role": "user", "content": user}}]
answer = llama.create_chat_completion(messages, max_tokens=16, temperature=0)
print(answer["choices"][0]["message"]["content"])
"""
# The threads of whoever computed last spin for a while.
SETTLE_S = 0.3
SYSTEM, QUESTION = "Answer in one short sentence.", "What is the capital of France?"
TOPICS = [
    "rivers",
    "lakes",
    "mountains",
    "deserts",
    "forests",
    "islands",
    "oceans",
    "volcanoes",
    "glaciers",
    "caves",
    "valleys",
    "plains",
    "bridges",
    "castles",
    "temples",
    "harbours",
    "markets",
    "museums",
    "gardens",
    "stations",
    "towers",
    "libraries",
]


def measure(*, quick: bool) -> list[Row]:
    return [
        *_load_ext(3 if quick else 9),
        _first_token(4 if quick else len(TOPICS) - 1),
        *_from_nothing(2 if quick else 7),
    ]


def _load_ext(runs: int) -> list[Row]:
    what = "`%load_ext` over a bare IPython"
    try:
        peer, version = peer_python("jupyter_ai_magics"), peer_version("jupyter_ai_magics")
    except PeerMissing as e:
        peer, version = "", str(e)
    ours: list[float] = []
    theirs: list[float] = []
    modules = their_modules = 0
    for i in range(runs + 1):  # the first run fills the disk cache
        seconds, modules = _python(sys.executable, LOAD.format(name="llmops_jupyter"))
        if i:
            ours.append(seconds)
        if peer:
            seconds, their_modules = _python(peer, LOAD.format(name="jupyter_ai_magics"))
            if i:
                theirs.append(seconds)
    ours_text = f"{spread(ours, 'ms', 1e3)}, {modules:.0f} modules"
    limit = Row(what, ours_text, target="≤ 100 ms", reached=median(ours) <= 0.1)
    if not theirs:
        return [Row(what, ours_text, version, target="≥ 10× faster"), limit]
    ratio = median(theirs) / median(ours)
    peer_text = (
        f"jupyter_ai_magics {version}: {spread(theirs, 'ms', 1e3)}, {their_modules:.0f} modules"
    )
    return [Row(what, ours_text, peer_text, f"{ratio:.0f}×", "≥ 10× faster", ratio >= 10), limit]


def _python(python: str, code: str) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "IPYTHONDIR": folder, "PYTHONDONTWRITEBYTECODE": ""}
        out = subprocess.check_output(
            [python, "-c", code], text=True, env=env, cwd=folder, stderr=subprocess.DEVNULL
        )
    seconds, modules = json.loads(out.strip().splitlines()[-1])
    return seconds, modules


def _first_token(runs: int) -> Row:
    """First token of about 30 prompt tokens; each prompt is new, so nothing can be reused."""
    import llmops_jupyter as lo

    ours: list[float] = []
    theirs: list[float] = []
    lengths: list[int] = []
    with tempfile.TemporaryDirectory() as folder, lo.open(folder) as ws:
        threads = ws.engine.engine("smollm2").status()["threads"]
        path = str(ws.models.get("smollm2").path)
        with Child(sys.executable, "benchmarks.first", path, str(threads)) as peer:
            for i, topic in enumerate(TOPICS[: runs + 1]):
                question = f"List five famous {topic} of the world, please."
                time.sleep(SETTLE_S)
                seconds, count = _ours_first(ws, question)
                time.sleep(SETTLE_S)
                pair = (seconds, peer.ask("first", question=question))
                if i:
                    ours.append(pair[0])
                    theirs.append(pair[1])
                    lengths.append(count)
    ratio = _ratio(ours, theirs)
    return Row(
        f"first token of a {median(lengths):.0f}-token prompt, worker running, traced",
        spread(ours, "ms", 1e3),
        f"`Llama`, {threads} threads: {spread(theirs, 'ms', 1e3)}",
        f"{ratio:.2f}×",
        "≤ 1.1×",
        ratio <= 1.1,
    )


def _ours_first(ws, question: str) -> tuple[float, int]:
    began = time.perf_counter()
    prompt = ws.prompts.scratch(question)
    with ws.prompts.stream(prompt, model="smollm2", temperature=0, max_tokens=2) as run:
        pieces = iter(run)
        next(pieces)
        seconds = time.perf_counter() - began
        for _ in pieces:
            pass
    return seconds, run.completion.usage.input_tokens


def _from_nothing(runs: int) -> list[Row]:
    import llmops_jupyter as lo

    with tempfile.TemporaryDirectory() as folder, lo.open(folder) as ws:
        threads = ws.engine.engine("smollm2").status()["threads"]
        path = str(ws.models.get("smollm2").path)
        times: dict[str, list[float]] = {"cold": [], "warm": [], "peer": []}
        peer = PEER.format(path=path, threads=threads, question=QUESTION, system=SYSTEM)
        for i in range(runs + 1):
            with tempfile.TemporaryDirectory() as own:
                code = OURS.format(folder=folder, question=QUESTION, system=SYSTEM)
                # The workspace above holds its shared worker, which is what a second kernel finds.
                turn = {
                    "cold": _process(code, own, "private"),
                    "warm": _process(code, own, "shared"),
                    "peer": _process(peer, own, "off"),
                }
            for name, seconds in turn.items() if i else ():
                times[name].append(seconds)
    stock = f"`Llama`, {threads} threads: {spread(times['peer'], 's', digits=2)}"
    what = "a whole process, model registered before: import, {}, answer (16 tokens), trace"
    cold = _ratio(times["cold"], times["peer"])
    warm = _ratio(times["warm"], times["peer"])
    return [
        Row(
            what.format("start a worker, load"),
            spread(times["cold"], "s", digits=2),
            stock,
            f"{cold:.2f}×",
            "≤ 1.5×",
            cold <= 1.5,
        ),
        Row(
            what.format("find the worker of another kernel"),
            spread(times["warm"], "s", digits=2),
            stock,
            f"{warm:.2f}×",
            "finds it warm: ≤ 1×",
            warm <= 1,
        ),
    ]


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def _process(code: str, folder: str, worker: str) -> float:
    began = time.perf_counter()
    out = subprocess.check_output(
        [sys.executable, "-c", code],
        text=True,
        cwd=Path(folder),
        env={**os.environ, "LLMOPS_WORKER": worker},
        stderr=subprocess.DEVNULL,
    )
    if "Paris" not in out:
        raise RuntimeError(f"the answer should name Paris: {out!r}")
    return time.perf_counter() - began
