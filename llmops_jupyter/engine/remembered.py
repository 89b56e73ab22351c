"""What was measured of a model on this machine, kept in the store by the hash of its file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.store import Store

if TYPE_CHECKING:
    from llmops_jupyter.engine.divergence import Divergence
    from llmops_jupyter.engine.speed import Setting


def keep_setting(store: Store, digest: str, setting: Setting) -> None:
    """Load this model with these threads and this batch from now on."""
    _write(store, f"tuned:{digest}", {"threads": setting.threads, "batch": setting.batch})


def setting_of(store: Store, digest: str) -> Setting | None:
    """The threads and the batch that were best for a model; None if that was not measured."""
    found = _read(store, f"tuned:{digest}")
    if found is None:
        return None
    from llmops_jupyter.engine.speed import Setting

    return Setting(int(found["threads"]), int(found["batch"]))


def keep_tuning(store: Store, digest: str, found: Mapping[str, Any]) -> None:
    """Keep what tuning a model came to, as JSON values."""
    _write(store, f"tuning:{digest}", dict(found))


def tunings(store: Store) -> dict[str, dict[str, Any]]:
    """What the last tuning of each model came to, by the model's hash."""
    rows = store.rows(
        "SELECT key, value FROM settings WHERE key >= 'tuning:' AND key < 'tuning;' ORDER BY key"
    )
    return {row[0].removeprefix("tuning:"): json.loads(row[1]) for row in rows}


def keep_divergence(store: Store, copy: str, adapter: str, scale: float, found: Divergence) -> None:
    """Keep how an adapter of some scale does on a copy; both by hash."""
    key = f"adapter:{copy}:{adapter}"
    _write(store, key, {**(_read(store, key) or {}), f"{scale:g}": found.as_dict()})


def divergences_of(store: Store, copy: str, adapter: str) -> dict[float, Divergence]:
    """How an adapter does on a copy, by scale; empty if that was not measured."""
    from llmops_jupyter.engine.divergence import Divergence

    found = _read(store, f"adapter:{copy}:{adapter}") or {}
    return {float(scale): Divergence(**values) for scale, values in found.items()}


def _read(store: Store, key: str) -> dict[str, Any] | None:
    row = store.row("SELECT value FROM settings WHERE key = ?", (key,))
    return None if row is None else dict(json.loads(row["value"]))


def _write(store: Store, key: str, value: dict[str, Any]) -> None:
    with store.write() as conn:
        conn.execute(
            "INSERT INTO settings(key, value) VALUES (?, ?) "
            "ON CONFLICT(key) DO UPDATE SET value = excluded.value",
            (key, json.dumps(value)),
        )
