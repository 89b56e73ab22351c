"""What was measured of a model on this machine, kept in the store by the hash of its file."""

from __future__ import annotations

import json
from typing import Any

from llmops_jupyter.engine.divergence import Divergence
from llmops_jupyter.engine.speed import Setting
from llmops_jupyter.store import Store


def keep_setting(store: Store, digest: str, setting: Setting) -> None:
    """Load this model with these threads and this batch from now on."""
    _write(store, f"tuned:{digest}", {"threads": setting.threads, "batch": setting.batch})


def setting_of(store: Store, digest: str) -> Setting | None:
    """The threads and the batch that were best for a model; None if that was not measured."""
    found = _read(store, f"tuned:{digest}")
    return None if found is None else Setting(int(found["threads"]), int(found["batch"]))


def keep_divergence(store: Store, copy: str, adapter: str, found: Divergence) -> None:
    """Keep how an adapter does on a copy; both by hash."""
    _write(store, f"adapter:{copy}:{adapter}", found.as_dict())


def divergence_of(store: Store, copy: str, adapter: str) -> Divergence | None:
    """How an adapter does on a copy; None if that was not measured."""
    found = _read(store, f"adapter:{copy}:{adapter}")
    return None if found is None else Divergence(**found)


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
