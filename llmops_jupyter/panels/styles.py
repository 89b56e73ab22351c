"""The style of a panel: what all share, then its own."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def style(name: str) -> str:
    """The style of the panel of this name."""
    return "".join((HERE / f"{file}.css").read_text("utf-8") for file in ("base", name))
