"""Fixtures: checks of a guard in the place of fitted ones."""

from __future__ import annotations

import pytest


@pytest.fixture
def fitted(monkeypatch):
    """The fitted checks of a guard are those of `guard_fakes`: quick, and known in what they find."""
    from guard_fakes import put_in

    put_in(monkeypatch)
