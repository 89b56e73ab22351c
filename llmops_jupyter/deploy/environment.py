"""The lock of an environment: Python, platform, every installed package, and how llama.cpp was built."""

from __future__ import annotations

import platform
import re
import sys
from importlib import metadata
from typing import Any

from llmops_jupyter.errors import LLMOpsError

OURS = "llmops-jupyter"


def lock() -> dict[str, Any]:
    """The environment of this process as JSON values; nothing in it says where anything lies."""
    return {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "platform": {"system": platform.system(), "machine": platform.machine()},
        "packages": packages(),
        "llama_cpp": llama_cpp(),
    }


def packages() -> dict[str, str]:
    """Version of each installed package by its normal name; of two of one name that which is imported."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(re.sub(r"[-_.]+", "-", str(name)).lower(), distribution.version)
    return dict(sorted(found.items()))


def llama_cpp() -> dict[str, Any] | None:
    """Version and build of llama.cpp: what its processor code was made for; None if it is not installed."""
    try:
        version = metadata.version("llama-cpp-python")
    except metadata.PackageNotFoundError:
        return None
    try:
        from llmops_jupyter.engine import native

        told = native.library().llama_print_system_info()
    except (LLMOpsError, OSError, AttributeError, RuntimeError):
        return {"version": version}
    text = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
    flags = [part.strip() for part in text.split("|") if part.strip()]
    return {"version": version, "build": flags}


def in_short(found: dict[str, Any]) -> dict[str, Any]:
    """What the manifest says of a lock."""
    return {
        "python": found["python"],
        "platform": f"{found['platform']['system']} {found['platform']['machine']}",
        "packages": len(found["packages"]),
        "llmops_jupyter": found["packages"].get(OURS, ""),
        "llama_cpp": (found["llama_cpp"] or {}).get("version", ""),
    }


def differences(locked: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What is otherwise here than where a bundle was built, of that which may change an answer."""
    found = []
    for name in ("python", "platform"):
        if locked.get(name) != now.get(name):
            found.append(f"{name}: {_shown(locked.get(name))} there, {_shown(now.get(name))} here")
    for name in (OURS, "llama-cpp-python", "mlx-lm", "numpy"):
        there, here = (lock.get("packages", {}).get(name) for lock in (locked, now))
        if there != here:
            found.append(f"{name}: {there or 'none'} there, {here or 'none'} here")
    return found


def _shown(value: Any) -> str:
    return " ".join(map(str, value.values())) if isinstance(value, dict) else str(value)
