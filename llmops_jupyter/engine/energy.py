"""Counters of energy, where this machine has one that may be read.

Linux shows the counters of Intel's and AMD's processors (RAPL, running average power limit) under
``/sys/class/powercap``, as microjoules that start again at 0 after a maximum; many systems let only root read
them. codecarbon works energy out from the load and a table of processors where there is no counter; it is used
if it is asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from llmops_jupyter.errors import EngineError, missing_dependency
from llmops_jupyter.records import Certainty

POWERCAP = Path("/sys/class/powercap")
KILOWATT_HOUR_J = 3.6e6


class Counter(Protocol):
    """Joules since some time ago; they only grow.

    Args:
        source: how far they can be trusted.
        every_s: seconds between two readings that are worth their time.
    """

    source: Certainty
    every_s: float

    def joules(self) -> float: ...


class _Zone:
    """One counter of the processor, made to grow across its maximum."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "energy_uj"
        self._span = int((folder / "max_energy_range_uj").read_text("ascii")) + 1
        self._last = self._read()
        self._total = 0

    def _read(self) -> int:
        return int(self._file.read_text("ascii"))

    def microjoules(self) -> int:
        now = self._read()
        self._total += (now - self._last) % self._span
        self._last = now
        return self._total


class Rapl:
    """The counters of all processor packages and of the memory beside them.

    Raises:
        OSError, ValueError: there are none, or they may not be read.
    """

    source: Certainty = "measured"
    every_s = 0.05

    def __init__(self, root: Path = POWERCAP) -> None:
        folders = [p for p in sorted(root.glob("*-rapl*:*")) if _counts(p)]
        if not folders:
            raise FileNotFoundError(f"no counters under {root}")
        self._zones: Sequence[_Zone] = [_Zone(folder) for folder in folders]

    def joules(self) -> float:
        return sum(zone.microjoules() for zone in self._zones) / 1e6


class Codecarbon:
    """What codecarbon works out for the whole machine; it reads counters where it may, else it estimates."""

    source: Certainty = "estimated"
    every_s = 5.0

    def __init__(self) -> None:
        try:
            from codecarbon import OfflineEmissionsTracker
        except ImportError:
            raise missing_dependency("codecarbon", "Energy by codecarbon", "energy") from None
        from codecarbon.emissions_tracker import BaseEmissionsTracker

        known = inspect.signature(BaseEmissionsTracker.__init__).parameters
        silent: dict[str, Any] = {"save_to_file": False}
        if "output_methods" in known:  # from 3.3 on
            silent = {"output_methods": []}
        # Only energy is asked of it, for which the country does not matter.
        self._tracker: Any = OfflineEmissionsTracker(
            country_iso_code="USA", log_level="critical", allow_multiple_runs=True, **silent
        )
        self._total = 0.0
        self._tracker.start_task("calls")

    def joules(self) -> float:
        """Raises OSError where codecarbon failed, whatever it raised."""
        try:
            told = self._tracker.stop_task("calls")
            self._total += float(told.energy_consumed) * KILOWATT_HOUR_J
            self._tracker.start_task("calls")
        except Exception as e:
            raise OSError(f"codecarbon failed: {type(e).__name__}: {e}") from e
        return self._total


def open_counter(kind: str = "auto") -> Counter | None:
    """The counter that the setting `energy` asks for; 'auto' takes the processor's if it may be read, and else none.

    Raises:
        EngineError: the processor's counter was asked for by name and cannot be read.
        MissingDependencyError: codecarbon is not installed.
    """
    if kind == "off":
        return None
    if kind == "codecarbon":
        return Codecarbon()
    try:
        return Rapl()
    except (OSError, ValueError) as e:
        if kind == "auto":
            return None
        raise EngineError(
            f"The processor's energy counter cannot be read ({e}). Let this user read "
            f"{POWERCAP}/*/energy_uj, or choose another: %config LLMOps.energy = 'codecarbon'"
        ) from None


def readable() -> bool:
    """Whether a counter of this machine's processor can be read now."""
    try:
        Rapl()
    except (OSError, ValueError):
        return False
    return True


def _counts(folder: Path) -> bool:
    """Whether a counter stands for a package or its memory: cores and the like are parts of their package."""
    try:
        name = (folder / "name").read_text("ascii").strip()
    except OSError:
        return False
    return name.startswith("package") or name == "dram"
