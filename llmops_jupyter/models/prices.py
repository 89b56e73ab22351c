"""What hosted models cost: a dated table, and the user's own figures over it.

Prices are US dollars for a million tokens, by host and model id, as in ``prices.json`` beside this module.
They change often: a file of the same form, named by `LLMOPS_PRICES` or lying as ``prices.json`` in the
user's configuration folder, replaces or adds entries.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import OptionError
from llmops_jupyter.models.endpoint import Endpoint
from llmops_jupyter.records import Usage

MILLION = 1_000_000

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


def price_of(endpoint: Endpoint) -> Price | None:
    """The price of an endpoint's model, or None if it is not known, as of every local server.

    Raises:
        OptionError: the user's own file cannot be read.
    """
    name = endpoint.model.removeprefix("models/")
    for table in (*_own(), _bundled()):
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


def _own() -> tuple[Mapping[str, Mapping[str, Price]], ...]:
    path = user_file()
    try:
        changed = path.stat().st_mtime_ns
    except OSError as e:
        if os.environ.get("LLMOPS_PRICES"):
            raise OptionError(
                f"LLMOPS_PRICES names {str(path)!r}, which cannot be read: {e.strerror or e}. Correct or "
                "unset it."
            ) from e
        return ()
    return (_read(path, changed),)


@functools.cache
def _bundled() -> Mapping[str, Mapping[str, Price]]:
    return _table(json.loads(Path(__file__).with_name("prices.json").read_text("utf-8")), "")


@functools.lru_cache(maxsize=8)
def _read(path: Path, changed_ns: int) -> Mapping[str, Mapping[str, Price]]:
    del changed_ns  # of the key only: a changed file is read again
    try:
        return _table(json.loads(path.read_text("utf-8")), str(path))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as e:
        raise OptionError(
            f"The prices in {str(path)!r} cannot be read ({type(e).__name__}: {e}). The form is "
            '{"date": "2026-11-25", "hosts": {"api.example.com": {"models": {"model-id": '
            '{"input": 1.0, "cached": 0.1, "output": 4.0}}}}}.'
        ) from e


def _table(values: Mapping[str, Any], source: str) -> Mapping[str, Mapping[str, Price]]:
    date = str(values["date"])
    return {
        str(host): {
            str(name): _price(found, date, source or str(entry.get("source", "")))
            for name, found in entry["models"].items()
        }
        for host, entry in values["hosts"].items()
    }


def _price(values: Mapping[str, Any], date: str, source: str) -> Price:
    given = float(values["input"])
    cached = float(values.get("cached", given))
    price = Price(given, cached, float(values["output"]), date, source)
    if not all(0 <= x < float("inf") for x in (price.input, price.cached, price.output)):
        raise ValueError("a price is a number of dollars, at least 0")
    return price
