"""What releases did, from the traces that a store has of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llmops_jupyter.config import DEPLOYMENT, RELEASE
from llmops_jupyter.deploy.promoting import TRY, history
from llmops_jupyter.deploy.releases import Live, Release
from llmops_jupyter.deploy.watching import Decision, Stats, decide, read_rules
from llmops_jupyter.errors import DeployError
from llmops_jupyter.prompts.splitting import UNIT
from llmops_jupyter.store import Store
from llmops_jupyter.tracing.query import parse_when

DENIED, LATE = "content_filter", "deadline"
# Calls that are over: what a user broke off says nothing of a release.
OVER = ("ok", "error")


def decided(store: Store, now: Live) -> Decision:
    """What becomes of the canary of a deployment, by the traces since it began.

    Raises:
        DeployError: there is no canary.
    """
    if now.canary is None or now.release is None:
        raise DeployError(
            f"{now.name!r} has no canary to look at. Begin one: %deploy promote {now.name} --canary 0.1"
        )
    since = began(store, now)
    rules = read_rules(now.rules)
    return decide(stats(store, now.release, since), stats(store, now.canary, since), rules)


def began(store: Store, now: Live) -> str:
    """When the release that is the canary became it; its share may have changed since."""
    first = now.since
    for entry in history(store, now.name, limit=1_000):
        if entry.action == TRY and now.canary is not None and entry.number == now.canary.number:
            first = entry.at
            if entry.previous != now.canary.number:
                return first
        elif entry.action != "stage":
            return first
    return first


def stats(store: Store, release: Release, since: str = "") -> Stats:
    """What a release did since a time, unit by unit in the order in which they came."""
    rows = store.rows(
        "SELECT trace_id, status, (end_ns - start_ns) / 1e9 AS seconds, "
        f"""json_extract(attributes, '$."{UNIT}"') AS unit, """
        """json_extract(attributes, '$."gen_ai.response.finish_reasons"') AS ended FROM spans """
        f"""WHERE json_extract(attributes, '$."{DEPLOYMENT}"') = ? """
        f"""AND json_extract(attributes, '$."{RELEASE}"') IN (?, ?) """
        f"AND start_ns >= ? AND end_ns IS NOT NULL AND status IN ({', '.join('?' * len(OVER))}) ORDER BY id",
        (
            *(release.deployment, release.short, str(release.number)),
            *(parse_when(since or None) or 0, *OVER),
        ),
    )
    return of_calls(
        (
            {
                "unit": row["unit"] or row["trace_id"],
                # Who waited until the deadline got an error, though the run itself has ended.
                "error": row["status"] == "error" or LATE in (row["ended"] or ""),
                "denied": DENIED in (row["ended"] or ""),
                "seconds": row["seconds"],
                "scores": {},
                "trace_id": row["trace_id"],
            }
            for row in rows
        ),
        _scores(store, [row["trace_id"] for row in rows]),
    )


def of_calls(
    calls: Iterable[Mapping[str, Any]], scores: Mapping[str, Mapping[str, float]] | None = None
) -> Stats:
    """Statistics of calls: mappings with unit, error, denied, seconds, and scores of quality from 0 to 1 by name.

    `scores` has further ones by the calls' ``trace_id``.
    """
    units: dict[str, list[Mapping[str, Any]]] = {}
    for call in calls:
        units.setdefault(str(call["unit"]), []).append(call)
    quality: dict[str, list[float]] = {}
    for some in units.values():
        found: dict[str, list[float]] = {}
        for call in some:
            more = (scores or {}).get(str(call.get("trace_id")), {})
            for name, value in {**(call.get("scores") or {}), **more}.items():
                found.setdefault(name, []).append(float(value))
        for name, values in found.items():
            quality.setdefault(name, []).append(sum(values) / len(values))
    return Stats(
        errors=[_share(some, "error") for some in units.values()],
        denials=[_share(some, "denied") for some in units.values()],
        latencies=[_share(some, "seconds") for some in units.values()],
        scores=quality,
    )


def _share(calls: Iterable[Mapping[str, Any]], key: str) -> float:
    values = [float(call.get(key) or 0.0) for call in calls]
    return sum(values) / len(values)


def _scores(store: Store, traces: list[str]) -> dict[str, dict[str, float]]:
    """The latest score of each name by trace, as far as it lies between 0 and 1."""
    found: dict[str, dict[str, float]] = {}
    for begin in range(0, len(traces), 900):
        some = traces[begin : begin + 900]
        for row in store.rows(
            "SELECT trace_id, name, value FROM scores WHERE valid AND value BETWEEN 0 AND 1 AND trace_id IN "
            f"({', '.join('?' * len(some))}) ORDER BY id",
            some,
        ):
            found.setdefault(row["trace_id"], {})[row["name"]] = float(row["value"])
    return found
