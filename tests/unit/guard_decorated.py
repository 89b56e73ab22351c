"""The policies, a function and an object with a text, for tests of what stands under `@lo.guard`."""

from __future__ import annotations

POLICY = """
message: "No."
input:
  - check: injection
    action: deny
  - check: secrets
    action: modify
output:
  - check: secrets
    action: modify
  - check: words
    banned: [forbidden]
    action: deny
"""


def with_policies(ws):
    """Add 'shop', which changes and denies, and 'soft', which only warns; returns the workspace."""
    ws.guard.add("shop", POLICY)
    ws.guard.add("soft", POLICY.replace("modify", "warn").replace("deny", "warn"))
    return ws


def same(value):
    return value


class Said:
    def __init__(self, text):
        self.text = text
