"""Magics: one thin module for each, over calls that a script could make."""

from __future__ import annotations

from typing import Any

_ATTRIBUTE = "_llmops_session"


def load(shell: Any) -> None:
    """Register magics, completion and settings in a shell. Loading twice changes nothing."""
    from llmops_jupyter.magics.session import Session

    if getattr(shell, _ATTRIBUTE, None) is None:
        session = Session(shell)
        session.register()
        setattr(shell, _ATTRIBUTE, session)


def unload(shell: Any) -> None:
    """Take away what `load` has registered, and close the workspace that the magics opened."""
    session = getattr(shell, _ATTRIBUTE, None)
    if session is not None:
        session.unregister()
        setattr(shell, _ATTRIBUTE, None)
