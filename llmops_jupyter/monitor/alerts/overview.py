"""How everything that is watched stands, on one screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter import render
from llmops_jupyter.monitor.alerts.ages import spoken
from llmops_jupyter.monitor.alerts.board import Board
from llmops_jupyter.monitor.alerts.ledger import parse
from llmops_jupyter.monitor.alerts.watching import WatchStatus
from llmops_jupyter.render.clock import local
from llmops_jupyter.render.html import bundle, escaped

FAILED_SHOWN = 5


@dataclass(frozen=True)
class Overview:
    """What a status shows.

    Args:
        board: the rules.
        watch: who looks at them, and how often.
        golden: golden sets with their last run.
        baselines: what drift is compared with.
        budgets: with what is left of them.
        failed: notices that could not be delivered lately, or still wait.
    """

    board: Board
    watch: WatchStatus
    golden: tuple[Mapping[str, Any], ...] = ()
    baselines: tuple[Mapping[str, Any], ...] = ()
    budgets: tuple[Mapping[str, Any], ...] = ()
    failed: tuple[Mapping[str, Any], ...] = ()

    def parts(self) -> list[tuple[str, Sequence[Mapping[str, Any]]]]:
        """The tables with their titles."""
        named = (
            (self.board.title(), tuple(self.board.rows())),
            ("golden sets", self.golden),
            ("baselines", self.baselines),
            ("budgets", self.budgets),
            (
                "notices that are not delivered",
                tuple({**n, "at": local(parse(n["at"]))} for n in self.failed),
            ),
        )
        return [(title, rows) for title, rows in named if rows]

    def title(self) -> str:
        """All on one line."""
        return f"{self.board.title()} · {self.watch.sentence()}"

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            **self.board.as_dict(),
            "watch": self.watch.as_dict(),
            "golden": [dict(row) for row in self.golden],
            "baselines": [dict(row) for row in self.baselines],
            "budgets": [dict(row) for row in self.budgets],
            "failed_notices": [dict(row) for row in self.failed],
        }

    def __str__(self) -> str:
        blocks = [f"{title}\n{render.text_table(rows)}" for title, rows in self.parts()]
        return "\n\n".join([self.title(), *blocks])

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        blocks = [f"<p><strong>{escaped(self.title())}</strong></p>"]
        for title, rows in self.parts():
            blocks.append(f"<p>{escaped(title)}</p>{render.table_html(rows)}")
        return bundle(str(self), "".join(blocks))


def overview(monitor: Any) -> Overview:
    """How everything of a stage stands."""
    return Overview(
        board=monitor.alerts.board(),
        watch=monitor.watcher.status(),
        golden=tuple(_golden(monitor.golden, one) for one in monitor.golden.list()),
        baselines=tuple(rows_of(monitor.baselines())),
        budgets=tuple(rows_of(monitor.budgets())),
        failed=tuple(monitor.alerts.notices(FAILED_SHOWN, failed=True)),
    )


def rows_of(found: Any) -> list[Mapping[str, Any]]:
    """The entries of a list as rows: they are rows, know theirs, or have their plain values shown."""
    return [_row(one) for one in found]


def names_of(found: Any) -> list[str]:
    """The names in a list of baselines or budgets, each once."""
    named = (getattr(one, "budget", one) for one in found)
    return list(dict.fromkeys(str(one.name) for one in named))


def _row(one: Any) -> Mapping[str, Any]:
    if isinstance(one, Mapping):
        return one
    row = getattr(one, "row", None)
    if callable(row):
        made: Mapping[str, Any] = row()
        return made
    values: Mapping[str, Any] = one.as_dict()
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, str | int | float) and not name.endswith(("hash", "digest"))
    }


def _golden(golden: Any, one: Any) -> Mapping[str, Any]:
    runs = golden.series(one.name)
    return {
        "golden set": one.name,
        "variant": one.variant,
        "data": one.data,
        "metrics": ", ".join(one.metrics),
        "every": spoken(one.every_s),
        "last run": local(parse(runs[-1].at)) if runs else "never",
        "found": runs[-1].sentence() if runs else "",
    }
