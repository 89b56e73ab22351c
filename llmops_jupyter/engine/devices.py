"""The devices that llama.cpp can compute on, and their memory."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CPU, GPU, SHARED, ACCELERATOR = "cpu", "gpu", "gpu with shared memory", "accelerator"
# ggml's enum of device types.
_KINDS = {0: CPU, 1: GPU, 2: SHARED, 3: ACCELERATOR}
_FUNCTIONS: dict[str, tuple[list[Any], Any]] = {
    "ggml_backend_dev_count": ([], ctypes.c_size_t),
    "ggml_backend_dev_get": ([ctypes.c_size_t], ctypes.c_void_p),
    "ggml_backend_dev_name": ([ctypes.c_void_p], ctypes.c_char_p),
    "ggml_backend_dev_description": ([ctypes.c_void_p], ctypes.c_char_p),
    "ggml_backend_dev_type": ([ctypes.c_void_p], ctypes.c_int),
    "ggml_backend_dev_memory": (
        [ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t), ctypes.POINTER(ctypes.c_size_t)],
        None,
    ),
}


@dataclass(frozen=True)
class Device:
    """A device; `free` and `total` are bytes of its memory, now."""

    name: str
    description: str
    kind: str
    free: int
    total: int

    @property
    def is_gpu(self) -> bool:
        return self.kind in (GPU, SHARED)


def devices(lib: Any) -> list[Device]:
    """All devices of the loaded llama.cpp; none if it does not tell.

    Args:
        lib: the bindings, see `native.library`.
    """
    calls = _calls(lib)
    if calls is None:
        return []
    found = []
    for place in range(calls["ggml_backend_dev_count"]()):
        device = calls["ggml_backend_dev_get"](place)
        free, total = ctypes.c_size_t(0), ctypes.c_size_t(0)
        calls["ggml_backend_dev_memory"](device, ctypes.byref(free), ctypes.byref(total))
        name, description = (
            calls[f"ggml_backend_dev_{what}"](device).decode("utf-8", "replace")
            for what in ("name", "description")
        )
        kind = _KINDS.get(calls["ggml_backend_dev_type"](device), ACCELERATOR)
        found.append(Device(name, description, kind, free.value, total.value))
    return found


def _calls(lib: Any) -> dict[str, Any] | None:
    """The functions of ggml, which the bindings load and do not bind; None if one is missing."""
    for library in _libraries(lib):
        try:
            found = {name: getattr(library, name) for name in _FUNCTIONS}
        except AttributeError:
            continue
        for name, (arguments, result) in _FUNCTIONS.items():
            found[name].argtypes, found[name].restype = arguments, result
        return found
    return None


def _libraries(lib: Any) -> list[Any]:
    """Where ggml's functions may be: behind llama.cpp's own library, else in the one beside it."""
    found = [lib._lib]  # noqa: SLF001
    if sys.platform == "win32":  # there a library does not show what those it uses have
        beside = Path(lib.__file__).parent / "lib" / "ggml.dll"
        if beside.exists():
            found.append(ctypes.CDLL(str(beside)))
    return found
