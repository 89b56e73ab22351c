"""What hosted models cost: a dated table, and the user's own figures over it.

Prices are US dollars for a million tokens, by host and model id, as in ``prices.json`` beside this module.
They change often: a file of the same form, named by `LLMOPS_PRICES` or lying as ``prices.json`` in the
user's configuration folder, replaces or adds entries. In it the user also says what a model on this machine
is taken to cost (`Assumptions`), under ``local``.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import OptionError
from llmops_jupyter.models.endpoint import Endpoint
from llmops_jupyter.records import Usage

MILLION = 1_000_000
KILOWATT_HOUR_J = 3.6e6
ASSUMED = ("watts", "dollars_per_kwh", "dollars_per_hour", "grams_per_kwh")

# Dated and moving names of a model whose price stands under its plain name.
_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|latest)$")


@dataclass(frozen=True)
class Price:
    """US dollars for a million tokens; `date` says when that was so, `source` where it is written."""

    input: float
    cached: float
    output: float
    date: str
    source: str

    def cost(self, usage: Usage) -> float:
        """US dollars of a call; cached tokens are part of its input, reasoning of its output."""
        cached = min(usage.cached_tokens, usage.input_tokens)
        fresh = usage.input_tokens - cached
        total = fresh * self.input + cached * self.cached + usage.output_tokens * self.output
        return total / MILLION


@dataclass(frozen=True)
class Assumptions:
    """What the user takes a model on this machine to cost; None is not said.

    Args:
        watts: what the machine draws while a model computes.
        dollars_per_kwh: of electricity.
        dollars_per_hour: of the machine, for an hour in which a model computes.
        grams_per_kwh: carbon dioxide of the grid.
        date, source: when that was so, and how it is known.
    """

    watts: float | None = None
    dollars_per_kwh: float | None = None
    dollars_per_hour: float | None = None
    grams_per_kwh: float | None = None
    date: str = ""
    source: str = ""

    def dollars_a_second(self) -> float | None:
        """US dollars for a second in which the model computes; None if nothing is said of it."""
        hour = self.dollars_per_hour
        power = self.power_dollars(self.watts) if self.watts is not None else None
        if hour is None and power is None:
            return None
        return (hour or 0.0) / 3600 + (power or 0.0)

    def power_dollars(self, joules: float) -> float | None:
        """US dollars for so many joules of electricity; None if its price is not said."""
        return (
            None
            if self.dollars_per_kwh is None
            else joules / KILOWATT_HOUR_J * self.dollars_per_kwh
        )

    def note(self) -> str:
        """What it stands on, in words."""
        said = [
            f"{value:g} {unit}"
            for value, unit in (
                (self.watts, "W"),
                (self.dollars_per_kwh, "$/kWh"),
                (self.dollars_per_hour, "$/hour"),
                (self.grams_per_kwh, "g/kWh"),
            )
            if value is not None
        ]
        where = ", ".join(part for part in (self.source, self.date) if part)
        return f"{', '.join(said)}{f' ({where})' if where else ''}"


def assumptions_of(model: str) -> Assumptions | None:
    """What the user's own file says that a model on this machine costs; None if it says nothing.

    Raises:
        OptionError: the file cannot be read.
    """
    return _local().get(model) or _local().get("")


def price_of(endpoint: Endpoint) -> Price | None:
    """The price of an endpoint's model, or None if it is not known, as of every local server.

    Raises:
        OptionError: the user's own file cannot be read.
    """
    name = endpoint.model.removeprefix("models/")
    for table in (_own().hosts, _bundled().hosts):
        models = table.get(endpoint.host, {})
        found = models.get(name) or models.get(_DATED.sub("", name))
        if found is not None:
            return found
    return None


def user_file() -> Path:
    """The file in which the user's own prices are looked for: `LLMOPS_PRICES`, else the usual place."""
    named = os.environ.get("LLMOPS_PRICES")
    if named:
        return Path(named).expanduser()
    from platformdirs import user_config_path

    return user_config_path("llmops-jupyter") / "prices.json"


@dataclass(frozen=True)
class _Tables:
    """A file of prices: those of hosts by host and model, and what is assumed of models here, '' for all."""

    hosts: Mapping[str, Mapping[str, Price]] = field(default_factory=dict)
    local: Mapping[str, Assumptions] = field(default_factory=dict)


def _own() -> _Tables:
    path = user_file()
    try:
        changed = path.stat().st_mtime_ns
    except OSError as e:
        if os.environ.get("LLMOPS_PRICES"):
            raise OptionError(
                f"LLMOPS_PRICES names {str(path)!r}, which cannot be read: {e.strerror or e}. Correct or "
                "unset it."
            ) from e
        return _Tables()
    return _read(path, changed)


def _local() -> Mapping[str, Assumptions]:
    return _own().local


@functools.cache
def _bundled() -> _Tables:
    return _tables(json.loads(Path(__file__).with_name("prices.json").read_text("utf-8")), "")


@functools.lru_cache(maxsize=8)
def _read(path: Path, changed_ns: int) -> _Tables:
    del changed_ns  # of the key only: a changed file is read again
    try:
        return _tables(json.loads(path.read_text("utf-8")), str(path))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as e:
        raise OptionError(
            f"The prices in {str(path)!r} cannot be read ({type(e).__name__}: {e}). The form is "
            '{"date": "2026-11-25", "hosts": {"api.example.com": {"models": {"model-id": '
            '{"input": 1.0, "cached": 0.1, "output": 4.0}}}}, "local": {"watts": 45, "dollars_per_kwh": 0.3}}.'
        ) from e


def _tables(values: Mapping[str, Any], source: str) -> _Tables:
    date, local = str(values["date"]), values.get("local")
    hosts = values["hosts"] if local is None else values.get("hosts", {})
    return _Tables(
        {
            str(host): {
                str(name): _price(found, date, source or str(entry.get("source", "")))
                for name, found in entry["models"].items()
            }
            for host, entry in hosts.items()
        },
        {} if local is None else _assumed(local, date, source),
    )


def _assumed(values: Mapping[str, Any], date: str, source: str) -> dict[str, Assumptions]:
    """What is assumed of all models, and of some by name, of which each says only what is other."""
    known = {*ASSUMED, "date", "source"}
    every = {k: v for k, v in values.items() if k != "models"}
    found: dict[str, Assumptions] = {}
    for name, own in (("", {}), *values.get("models", {}).items()):
        said = {"date": date, "source": source, **every, **own}
        if unknown := set(said) - known:
            raise ValueError(
                f"{min(unknown)!r} is none of {', '.join(ASSUMED)}, date, source, models"
            )
        numbers = {k: float(said[k]) for k in ASSUMED if said.get(k) is not None}
        if not all(0 <= x < float("inf") for x in numbers.values()):
            raise ValueError("an assumption is a number that is at least 0")
        found[str(name)] = Assumptions(
            **numbers, date=str(said["date"]), source=str(said["source"])
        )
    return found


def _price(values: Mapping[str, Any], date: str, source: str) -> Price:
    given = float(values["input"])
    cached = float(values.get("cached", given))
    price = Price(given, cached, float(values["output"]), date, source)
    if not all(0 <= x < float("inf") for x in (price.input, price.cached, price.output)):
        raise ValueError("a price is a number of dollars, at least 0")
    return price
