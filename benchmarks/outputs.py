"""Rows with answers that are there already, the same for every tool that scores them."""

from __future__ import annotations

import random


def given(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Questions of about 200 characters with answers of about 400, half of them as expected."""
    drawn = random.Random(seed)
    words = ["order", "refund", "parcel", "invoice", "address", "branch", "delay", "voucher"]

    def text(n: int) -> str:
        return " ".join(drawn.choice(words) for _ in range(n))

    rows = []
    for number in range(count):
        expected = text(60)
        output = expected if drawn.random() < 0.5 else text(60)
        rows.append(
            {
                "id": str(number),
                "question": f"{number}: {text(30)}",
                "output": output,
                "expected": expected,
            }
        )
    return rows
