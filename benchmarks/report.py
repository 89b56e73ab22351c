"""The table of what was measured, beside its peer in the same run."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = """# Results

Written by `make bench`. Each figure is the median of the runs that its row names, and stands beside a
peer measured in the same run on the same machine; compare ratios, not seconds, across machines.
"""


@dataclass(frozen=True)
class Row:
    """One measurement. `reached` is None where there was nothing to compare with."""

    what: str
    ours: str
    peer: str = ""
    ratio: str = ""
    target: str = ""
    reached: bool | None = None


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float], unit: str, scale: float = 1.0, digits: int = 1) -> str:
    """Median with the smallest and the largest: `12.1 (11.8–13.0) ms, 7 runs`."""
    low, mid, high = (scale * v for v in (min(values), median(values), max(values)))
    return f"{mid:.{digits}f} ({low:.{digits}f}–{high:.{digits}f}) {unit}, {len(values)} runs"


def machine() -> str:
    import psutil

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)
        cpu = found.group(1) if found else cpu
    cores = psutil.cpu_count(logical=False)
    memory = psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    names = ("llmops-jupyter", "llama-cpp-python", "ipython", "ipykernel")
    versions = ", ".join(f"{n} {importlib.metadata.version(n)}" for n in names)
    when = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    return (
        f"{when}. {cpu}, {cores} cores, {memory:.0f} GiB, load {load:.1f} at the start; "
        f"Python {platform.python_version()}, {versions}."
    )


def section(title: str, conditions: str, rows: Sequence[Row]) -> str:
    lines = [f"## {title}", "", conditions, ""]
    lines += ["| what | ours | peer | ratio | target | reached |", "|---|---|---|---|---|---|"]
    words = {True: "yes", False: "**no**", None: "–"}
    for row in rows:
        cells = (row.what, row.ours, row.peer, row.ratio, row.target, words[row.reached])
        lines.append("| " + " | ".join(c.replace("|", "\\|") or "–" for c in cells) + " |")
    return "\n".join(lines) + "\n"


def write(title: str, text: str) -> None:
    """Put one section into RESULTS.md; the others stay as they are."""
    sections: dict[str, str] = {}
    if RESULTS.is_file():
        for part in re.split(r"(?m)^(?=## )", RESULTS.read_text("utf-8"))[1:]:
            sections[part.split("\n", 1)[0][3:]] = part.strip() + "\n"
    sections[title] = text
    RESULTS.write_text("\n".join([HEAD, *sections.values()]), "utf-8")
