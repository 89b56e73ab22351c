"""llama-cpp-python's bindings of llama.cpp, without the rest of its package until somebody asks for it.

The package itself loads a high-level API with NumPy, Jinja and more, which takes several times as long as
the bindings, and neither this engine nor its worker uses it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

PACKAGE, MODULE = "llama_cpp", "llama_cpp.llama_cpp"
_lock = threading.RLock()
_restore: list[Callable[[ModuleType], None]] = []


class _Package(ModuleType):
    """The package, whose own code runs once a name is wanted that it defines."""

    def __getattr__(self, name: str) -> Any:
        # Tools that look through all modules ask for names such as __wrapped__.
        if not name.startswith("__") or name in ("__all__", "__version__"):
            self._run()
            if name in self.__dict__:
                return self.__dict__[name]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def _run(self) -> None:
        with _lock:
            spec = self.__spec__
            if self.__dict__.get("_begun") or spec is None or spec.loader is None:
                return
            self.__dict__["_begun"] = True
            try:
                spec.loader.exec_module(self)
            except BaseException:
                del self.__dict__["_begun"]
                raise
            module = sys.modules.get(MODULE)
            if module is not None:
                for restore in _restore:
                    restore(module)


def bindings(restore: Callable[[ModuleType], None]) -> ModuleType:
    """The module `llama_cpp.llama_cpp`; raises what importing it raises.

    `restore` is called with it if the package's own code runs later, which sets up logging for itself.
    """
    with _lock:
        _restore.append(restore)
        if PACKAGE not in sys.modules and _put_package():
            try:
                return importlib.import_module(MODULE)
            except Exception:  # noqa: BLE001 - the plain import says what is wrong, if something is
                for name in [n for n in sys.modules if n.partition(".")[0] == PACKAGE]:
                    del sys.modules[name]
        return importlib.import_module(MODULE)


def _put_package() -> bool:
    """Let the package count as imported; False if it is not there or not a plain one."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.loader is None or not spec.submodule_search_locations:
        return False
    package = importlib.util.module_from_spec(spec)
    if type(package) is not ModuleType:
        return False
    package.__class__ = _Package
    sys.modules[PACKAGE] = package
    return True
