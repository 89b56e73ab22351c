"""What `ws.deploy` has for loads and sizes; what does them is imported when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmops_jupyter.deploy.folders import Tell, silent
from llmops_jupyter.deploy.rooms import Rooms

if TYPE_CHECKING:
    from llmops_jupyter.deploy.sizing.guide import Guide
    from llmops_jupyter.deploy.sizing.result import LoadResult


class Sizing:
    """Loads of servers, and the replicas that a load needs."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    def bench(
        self,
        target: str | os.PathLike[str],
        *,
        clients: Sequence[int] | None = None,
        rates: Sequence[float] | None = None,
        data: Any = None,
        progress: Tell | None = None,
        **options: Any,
    ) -> LoadResult:
        """Load a server and keep what it did; an interrupt keeps what there is.

        Args:
            target: an address, the folder of a bundle, or a deployment, which is served meanwhile.
            clients: loops of so many clients; 1, 4, 16 and 64 if neither they nor rates are given.
            rates: Poisson arrivals in requests a second.
            data: rows with prompts, or a data set; a fixed set if left out.
            progress: told how far it is.
            options: column, model, key_env, and of `sizing.load.load_of`: ttft, itl, duration_s, warmup_s, max_tokens,
                temperature, timeout_s, retries, seed.

        Raises:
            OptionError, DataError: something of it cannot be used.
            DeployError: the server does not answer.
        """
        from llmops_jupyter.deploy.sizing.benching import bench
        from llmops_jupyter.deploy.sizing.load import load_of
        from llmops_jupyter.prompts.rows import read_rows

        told = {name: options.pop(name, None) for name in ("column", "model", "key_env")}
        load = load_of(clients, rates, **options)
        pairs = None if data is None else read_rows(data, self._rooms.data()).pairs
        rows = None if pairs is None else [row for _, row in pairs]
        return bench(self._rooms.store, target, load, rows=rows, tell=progress or silent, **told)

    def size(
        self,
        rate: float,
        *,
        run: int | str | LoadResult | None = None,
        ttft: float | None = None,
        itl: float | None = None,
        **options: Any,
    ) -> Guide:
        """How many replicas a load needs, by a simulation fitted to a measured one.

        Args:
            rate: requests a second.
            run: what `bench` gave, its number or target; the newest if left out.
            ttft: seconds to the first token that 95% of the requests are to keep.
            itl: seconds from token to token that they are to keep.
            options: watts, dollars_per_kwh, dollars_per_hour; slots, replicas, route.
        """
        from llmops_jupyter.deploy.sizing.benching import size

        names = ("watts", "dollars_per_kwh", "dollars_per_hour")
        assumed = {name: options.pop(name, None) for name in names}
        return size(
            self._rooms.store, rate, run=run, ttft=ttft, itl=itl, assumed=assumed, **options
        )
