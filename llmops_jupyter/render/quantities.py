"""Numbers with their units, as people write them."""

from __future__ import annotations

import math


def quantity(value: float, unit: str) -> str:
    """A number with its unit as people write it, such as ``1.2 kJ``, ``340 MB``, ``$0.0021``."""
    if unit == "$":
        return f"${value:,.2f}" if value >= 1 or value <= 0 else f"${value:.{_places(value)}f}"
    if unit == "B":
        return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:,.0f} MB"
    if unit == "s":
        return f"{value:,.1f} s" if value >= 1 else f"{value * 1e3:.0f} ms"
    if unit == "J":
        return f"{value / 3.6e6:.3g} kWh" if value >= 3.6e6 else _si(value, "J")
    if unit == "g":
        return f"{value / 1e3:,.2f} kg" if value >= 1e3 else f"{value:.3g} g"
    return f"{value:,.0f} {unit}".rstrip()


def _places(value: float) -> int:
    """Decimal places that show two digits of a number under 1."""
    return min(1 - math.floor(math.log10(value)), 12)


def _si(value: float, unit: str) -> str:
    return f"{value / 1e3:,.1f} k{unit}" if value >= 1e3 else f"{value:.3g} {unit}"
