"""The process that makes the load: `python -m llmops_jupyter.deploy.sizing.generator FOLDER`.

It reads a job as one line of JSON from its standard input, writes what becomes of each request into files of the folder
as it happens, and ends when its input does: so neither a busy kernel slows it, nor does it outlive who asked for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TextIO

from llmops_jupyter.deploy.sizing.calling import CUT, Asked, call
from llmops_jupyter.deploy.sizing.load import Level, Load

CALLS, LEVELS = "calls.jsonl", "levels.jsonl"
# So many requests of an open loop may run at once; more say that the generator was the limit.
MOST_AT_ONCE = 2000
TICK_S = 0.02
USAGE = {"stream_options": {"include_usage": True}}


class Generator:
    """Runs the levels of a load one after the other.

    Args:
        load: what is run.
        prompts: that are asked, in an order that the seed gives.
        job: address, model, key, whether prompts are to differ, whether usage is asked for.
        folder: that gets the files.
    """

    def __init__(
        self, load: Load, prompts: list[Any], job: Mapping[str, Any], folder: Path
    ) -> None:
        self.load, self.prompts, self.job = load, prompts, job
        self.random = random.Random(load.seed)  # noqa: S311 - arrivals, no secret
        self.stop = asyncio.Event()
        self._calls: TextIO = (folder / CALLS).open("w", encoding="utf-8")
        self._levels: TextIO = (folder / LEVELS).open("w", encoding="utf-8")
        self._sent = 0
        self._full = False

    async def run(self) -> None:
        """All levels, until the load is over or it is told to stop."""
        async with _client(self.job, self.load) as client:
            for number, level in enumerate(self.load.levels):
                if self.stop.is_set():
                    break
                await self._level(number, level, client)
        self._calls.close()
        self._levels.close()

    async def _level(self, number: int, level: Level, client: Any) -> None:
        self._full = False
        start, cpu = time.perf_counter(), time.process_time()
        self._tell({"level": number, "began": time.time()})
        late: list[float] = []
        pulse = asyncio.create_task(_pulse(late))
        asked = self._asked(client)
        run = self._closed if level.kind == "closed" else self._open
        driver = asyncio.create_task(run(number, level, asked, start))
        stopped = asyncio.create_task(self.stop.wait())
        await asyncio.wait({driver, stopped}, return_when=asyncio.FIRST_COMPLETED)
        planned = self.load.warmup_s + self.load.duration_s
        lasted = min(time.perf_counter() - start, planned)
        for task in (driver, stopped, pulse):
            task.cancel()
        await asyncio.gather(driver, stopped, pulse, return_exceptions=True)
        took = max(time.perf_counter() - start, 1e-9)
        late.sort()
        self._calls.flush()
        self._tell(
            {
                "level": number,
                "lasted": lasted,
                "cpu": (time.process_time() - cpu) / took,
                "late": late[int(0.99 * (len(late) - 1))] if late else 0.0,
                "full": self._full,
            }
        )

    async def _closed(self, number: int, level: Level, asked: Asked, start: float) -> None:
        """So many clients, each with one request at a time."""
        end = start + self.load.warmup_s + self.load.duration_s

        async def client() -> None:
            while time.perf_counter() < end and not self.stop.is_set():
                error = await self._one(number, asked, time.perf_counter() - start, start)
                if error == CUT:
                    return
                if error:  # a server that refuses at once is not asked in a tight loop
                    await asyncio.sleep(0.05)

        await self._all({asyncio.create_task(client()) for _ in range(int(level.value))}, end)

    async def _open(self, number: int, level: Level, asked: Asked, start: float) -> None:
        """Requests that arrive by a Poisson process; each is due at its arrival, however late it is sent."""
        length = self.load.warmup_s + self.load.duration_s
        tasks: set[asyncio.Task[Any]] = set()
        due = self.random.expovariate(level.value)
        try:
            while due < length and not self.stop.is_set():
                await asyncio.sleep(max(0.0, start + due - time.perf_counter()))
                if len(tasks) >= MOST_AT_ONCE:
                    self._full = True
                else:
                    task = asyncio.create_task(self._one(number, asked, due, start))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                due += self.random.expovariate(level.value)
        finally:
            await self._all(tasks, start + length)

    async def _all(self, tasks: set[asyncio.Task[Any]], end: float) -> None:
        """Wait for the last answers, for a while; what has none by then is cut off and said to be."""
        grace = max(10.0, self.load.duration_s)
        try:
            if tasks:
                left = end - time.perf_counter() + min(grace, self.load.timeout_s)
                await asyncio.wait(set(tasks), timeout=0 if self.stop.is_set() else max(0.0, left))
        finally:
            last = list(tasks)
            for task in last:
                task.cancel()
            await asyncio.gather(*last, return_exceptions=True)

    async def _one(self, number: int, asked: Asked, due: float, start: float) -> str:
        """Ask once, and write what became of it; its error."""
        self._sent += 1
        made = await call(asked, self._prompt(), due, start)
        self._calls.write(json.dumps({"level": number, **made.as_dict()}) + "\n")
        return made.error

    def _prompt(self) -> Any:
        messages = self.random.choice(self.prompts)
        if not self.job["unique"]:
            return messages
        first, *rest = messages
        mark = f"[{self._sent:06d}-{self.load.seed}] "
        return [{**first, "content": mark + first["content"]}, *rest]

    def _asked(self, client: Any) -> Asked:
        body = {
            "model": self.job["model"],
            "max_tokens": self.load.max_tokens,
            "temperature": self.load.temperature,
            "stream": True,
            **(USAGE if self.job["usage"] else {}),
        }
        return Asked(client, "chat/completions", body, self.load.timeout_s, self.load.retries)

    def _tell(self, values: Mapping[str, Any]) -> None:
        self._levels.write(json.dumps(values) + "\n")
        self._levels.flush()

    async def flushed(self) -> None:
        """Have the files grow while the load runs, so that who watches sees it."""
        while True:
            await asyncio.sleep(0.2)
            self._calls.flush()


@asynccontextmanager
async def _client(job: Mapping[str, Any], load: Load) -> AsyncIterator[Any]:
    import httpx

    headers = {"Authorization": f"Bearer {job['key']}"} if job["key"] else {}
    async with httpx.AsyncClient(
        base_url=f"{job['url']}/",
        headers=headers,
        timeout=httpx.Timeout(load.timeout_s, pool=None),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
        trust_env=not job["local"],
    ) as client:
        yield client


async def _pulse(late: list[float]) -> None:
    """How late the loop is: what is measured here is late by as much."""
    while True:
        before = time.perf_counter()
        await asyncio.sleep(TICK_S)
        late.append(time.perf_counter() - before - TICK_S)


def _listen(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Stop when the input ends: then nobody waits for the result."""
    sys.stdin.read()
    try:
        loop.call_soon_threadsafe(stop.set)
    except RuntimeError:
        pass  # the loop is over already


async def _main(job: Mapping[str, Any], folder: Path) -> None:
    generator = Generator(Load.from_dict(job["load"]), job["prompts"], job, folder)
    loop = asyncio.get_running_loop()
    threading.Thread(target=_listen, args=(loop, generator.stop), daemon=True).start()
    flusher = asyncio.create_task(generator.flushed())
    try:
        await generator.run()
    finally:
        flusher.cancel()
        await asyncio.gather(flusher, return_exceptions=True)


def main() -> None:
    """Read the job, run it, end."""
    job = json.loads(sys.stdin.readline())
    asyncio.run(_main(job, Path(sys.argv[1])))
    sys.stdout.flush()
    # The thread that reads the input would wait for its end.
    os._exit(0)


if __name__ == "__main__":
    main()
