"""The result of a load: a table, a picture, JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter.deploy.sizing.figures import LevelResult
from llmops_jupyter.deploy.sizing.load import Load
from llmops_jupyter.errors import DeployError
from llmops_jupyter.render.controls import visible
from llmops_jupyter.render.html import bundle, escaped, table_html, text_table

if TYPE_CHECKING:
    from llmops_jupyter.deploy.sizing.plots import LoadPlot

FEW = 100


@dataclass(frozen=True)
class LoadResult:
    """What a server did under a load.

    Args:
        target: what was asked: an address, a folder, a reference.
        url: at which it was.
        model: its name there.
        load: that was run.
        levels: what each came to; fewer than the load has if it was broken off.
        status: 'ok', 'interrupted' or 'broken off'.
        started_at: when, in UTC.
        machine: where the generator ran.
        id: in the store; None if it was not kept.
    """

    target: str
    url: str
    model: str
    load: Load
    levels: Sequence[LevelResult]
    status: str
    started_at: str
    machine: Mapping[str, Any]
    id: int | None = None

    @property
    def closed(self) -> list[LevelResult]:
        """The levels of clients, fewest first."""
        found = [one for one in self.levels if one.level.kind == "closed"]
        return sorted(found, key=lambda one: one.level.value)

    @property
    def open(self) -> list[LevelResult]:
        """The levels of arrivals, slowest first."""
        found = [one for one in self.levels if one.level.kind == "open"]
        return sorted(found, key=lambda one: one.level.value)

    @property
    def plot(self) -> LoadPlot:
        """Throughput and times by load."""
        from llmops_jupyter.deploy.sizing.plots import LoadPlot

        return LoadPlot(self)

    def title(self) -> str:
        """The result on one line."""
        number = "" if self.id is None else f"load run {self.id}: "
        ended = "" if self.status == "ok" else f" · {self.status}, this is what there is"
        return f"{number}{self.model} at {self.url}{ended}"

    def notes(self) -> list[str]:
        """What to know of the figures."""
        found = [f"{one.level.words()}: {one.limit}" for one in self.levels if one.limit]
        if any(one.answered and one.tokens_counted < 1 for one in self.levels):
            found.append(
                "The server does not count the tokens of a stream: tokens are its pieces with text."
            )
        few = [one.level.words() for one in self.levels if 0 < one.answered < FEW]
        if few:
            found.append(
                f"Fewer than {FEW} answers, so that p99 is nearly the longest: {', '.join(few)}."
            )
        if limits := self.load.limits.words():
            found.append(f"Good answers: {limits}.")
        found.append("In brackets: 95% intervals, bootstrap over requests.")
        return found

    def rows(self) -> list[dict[str, Any]]:
        """One row a level."""
        return [one.row() for one in self.levels]

    def as_dict(self) -> dict[str, Any]:
        """JSON values, from which `from_dict` makes it again."""
        return {
            "form": 1,
            "id": self.id,
            "target": self.target,
            "url": self.url,
            "model": self.model,
            "status": self.status,
            "started_at": self.started_at,
            "machine": dict(self.machine),
            "load": self.load.as_dict(),
            "levels": [one.as_dict() for one in self.levels],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LoadResult:
        """A result from what `as_dict` gave.

        Raises:
            DeployError: it is something else.
        """
        try:
            given = {k: v for k, v in values.items() if k != "form"}
            if values["form"] != 1:
                raise ValueError(values["form"])
            given["load"] = Load.from_dict(given["load"])
            given["levels"] = tuple(LevelResult.from_dict(one) for one in given["levels"])
            return cls(**given)
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise DeployError(
                "This is no result of a load. Make one with %deploy bench, and keep it with --file."
            ) from e

    def __str__(self) -> str:
        table = text_table(*self._table()) if self.levels else "nothing was measured"
        return "\n".join([self.title(), table, *self.notes()])

    def __repr__(self) -> str:
        return f"LoadResult({self.title()})"

    def _table(self) -> tuple[list[dict[str, Any]], list[str]]:
        rows = self.rows()
        return rows, list(dict.fromkeys(name for row in rows for name in row))

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        if not self.levels:
            return {"text/plain": visible(str(self))}
        words = "".join(f"<p><small>{escaped(n)}</small></p>" for n in self.notes())
        shown = f"<p>{escaped(self.title())}</p>{table_html(*self._table())}{words}"
        return bundle(str(self), shown)
