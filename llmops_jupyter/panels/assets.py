"""The script and the style of a panel: what all share, then its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
SHARED = "base"


def script(*names: str) -> str:
    """The ES module of the panel that these files make."""
    return _all(names, "js")


def style(*names: str) -> str:
    """The style of the panel that these files make."""
    return _all(names, "css")


def _all(names: Sequence[str], kind: str) -> str:
    return "\n".join((HERE / f"{file}.{kind}").read_text("utf-8") for file in (SHARED, *names))
