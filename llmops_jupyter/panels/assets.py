"""The script and the style of a panel: what all share, then its own."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
SHARED = "base"


def script(name: str) -> str:
    """The ES module of the panel of this name."""
    return _both(name, "js")


def style(name: str) -> str:
    """The style of the panel of this name."""
    return _both(name, "css")


def _both(name: str, kind: str) -> str:
    return "\n".join((HERE / f"{file}.{kind}").read_text("utf-8") for file in (SHARED, name))
