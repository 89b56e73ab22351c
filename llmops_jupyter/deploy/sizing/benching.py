"""Loads and sizes, as `ws.deploy` hands them out."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from llmops_jupyter.deploy.sizing import runs
from llmops_jupyter.deploy.sizing.figures import figures
from llmops_jupyter.deploy.sizing.guide import Guide, guide
from llmops_jupyter.deploy.sizing.load import Load, load_of
from llmops_jupyter.deploy.sizing.measuring import OK, measure
from llmops_jupyter.deploy.sizing.probing import probe
from llmops_jupyter.deploy.sizing.prompts import own_prompts, prompts_of
from llmops_jupyter.deploy.sizing.result import LoadResult
from llmops_jupyter.deploy.sizing.servers import opened
from llmops_jupyter.errors import OptionError
from llmops_jupyter.models.prices import Assumptions, assumptions_of
from llmops_jupyter.store import Store

Tell = Callable[[str], None]


def bench(
    store: Store,
    target: str | os.PathLike[str],
    load: Load,
    *,
    rows: Any = None,
    column: str | None = None,
    model: str | None = None,
    key_env: str | None = None,
    tell: Tell,
) -> LoadResult:
    """Load a server and keep what it did; an interrupt keeps what there is, and is no error.

    Args:
        store: that keeps the result.
        target: an address, the folder of a bundle, or a deployment.
        load: what is run.
        rows: with prompts; our own fixed set, each with a number of its own in front, if left out.
        column: of the prompts.
        model: to be asked; the server's first if left out.
        key_env: variable of the environment with the key.
        tell: told how far it is.

    Raises:
        OptionError, DataError: load, rows or target cannot be used.
        DeployError: the server does not answer.
    """
    prompts = own_prompts() if rows is None else prompts_of(rows, column)
    if rows is None and column:
        raise OptionError("--column goes with --data.")
    with store.lock:
        store.writer()  # a store that cannot be written is told before the load, not after it
    with opened(target, store.path, model=model, key_env=key_env) as there:
        tell("asking the server for its model")
        seen = probe(there.endpoint, there.key, model)
        job = {
            "url": there.endpoint.url,
            "local": there.endpoint.local,
            "key": there.key,
            "model": seen.model,
            "usage": seen.usage,
            "prompts": prompts,
            "unique": rows is None,
        }
        started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        raw, status = measure(load, job, tell)
    levels = tuple(figures(load.levels[n], found, load) for n, found in sorted(raw.items()))
    if status == OK and not all(one.whole for one in levels):
        status = "interrupted"
    result = LoadResult(
        target=os.fspath(target),
        url=there.endpoint.url,
        model=seen.model,
        load=load,
        levels=levels,
        status=status,
        started_at=started,
        machine=_machine(),
    )
    return runs.keep(store, result)


def size(
    store: Store,
    rate: float,
    *,
    run: int | str | LoadResult | None = None,
    ttft: float | None = None,
    itl: float | None = None,
    assumed: Mapping[str, float | None] | None = None,
    **options: Any,
) -> Guide:
    """How many replicas a load needs, from a measured one.

    Args:
        store: with the results.
        rate: requests a second.
        run: a result, its number, or what was loaded; the newest if left out.
        ttft: seconds to the first token that 95% of the requests are to keep.
        itl: seconds from token to token that they are to keep.
        assumed: watts, dollars_per_kwh, dollars_per_hour over those of prices.json.
        options: as for `guide`.

    Raises:
        UnknownNameError: no such load was measured.
        OptionError, DeployError: as `guide`.
    """
    limits = load_of([1], ttft=ttft, itl=itl).limits
    result = run if isinstance(run, LoadResult) else runs.get(store, run)
    given: dict[str, Any] = {k: v for k, v in (assumed or {}).items() if v is not None}
    for name, value in given.items():
        if not 0 <= float(value) < float("inf"):
            flag = f"--{name.replace('_', '-')}"
            raise OptionError(f"{flag} is a number that is at least 0, not {value!r:.40}.")
    said = assumptions_of(result.model)
    if given:
        said = replace(said or Assumptions(), **given, source="as given")
    return guide(result, rate, limits, assumed=said, **options)


def _machine() -> dict[str, Any]:
    import psutil

    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": psutil.cpu_count(),
        "python": platform.python_version(),
    }
