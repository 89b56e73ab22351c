"""llama-cpp-python's bindings of llama.cpp, without the rest of its package until somebody asks for it.

The package itself loads a high-level API with NumPy, Jinja and more, which takes several times as long as
the bindings, and neither this engine nor its worker uses it. So a part of it is imported while a stand-in
counts as the package. The stand-in goes at once, and who imports the package later gets the real one.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, cast

PACKAGE, BINDINGS = "llama_cpp", "llama_cpp"
_lock = threading.RLock()


class _StandIn(ModuleType):
    """Counts as the package while a part is imported; other threads that meet it get the real one."""

    @property
    def __path__(self) -> list[str]:  # type: ignore[override]
        package = self._package()
        return list((self.__dict__ if package is self else vars(package))["__path__"])

    def __getattr__(self, name: str) -> Any:
        # Tools that look through all modules ask for names such as __wrapped__.
        if not name.startswith("__") or name == "__version__":
            package = self._package()
            if package is not self:
                return getattr(package, name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def _package(self) -> ModuleType:
        """The real package; for the thread that imports a part, this one."""
        with _lock:
            if sys.modules.get(PACKAGE) is self:
                return self
        return importlib.import_module(PACKAGE)


class _Watcher:
    """On `sys.meta_path`: calls `restore` with the bindings whenever the package's own code has run."""

    def __init__(self, restore: Callable[[ModuleType], None]) -> None:
        self._restore = restore

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != PACKAGE:
            return None
        for finder in sys.meta_path[sys.meta_path.index(cast("Any", self)) + 1 :]:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = cast("Any", _Loader(spec.loader, self._restore))
                return spec
        return None


class _Loader:
    """The package's own loader, and what comes before and after it."""

    def __init__(self, loader: Any, restore: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._restore = restore

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return cast("ModuleType | None", self._loader.create_module(spec))

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        for name, part in list(sys.modules.items()):
            package, _, attribute = name.rpartition(".")
            if package == PACKAGE:
                setattr(module, attribute, part)
        try:
            self._loader.exec_module(module)
        finally:
            found = sys.modules.get(f"{PACKAGE}.{BINDINGS}")
            if found is not None:
                self._restore(found)


def bindings(restore: Callable[[ModuleType], None]) -> ModuleType:
    """The module `llama_cpp.llama_cpp`; raises what importing it raises.

    `restore` is called with it whenever the package's own code runs later, which sets up logging for itself.
    """
    with _lock:
        if not any(isinstance(finder, _Watcher) for finder in sys.meta_path):
            sys.meta_path.insert(0, cast("Any", _Watcher(restore)))
    return part(BINDINGS)


def part(name: str) -> ModuleType:
    """A module of the package, by its name there; raises what importing it raises.

    It comes without the package's own code if that has not run.
    """
    full = f"{PACKAGE}.{name}"
    with _lock:
        if PACKAGE not in sys.modules:
            found = sys.modules.get(full) or _alone(full)
            if found is not None and PACKAGE not in sys.modules:
                return found
    # Another thread may be importing it, and sets up logging at the end.
    importlib.import_module(PACKAGE)
    return importlib.import_module(full)


def _alone(full: str) -> ModuleType | None:
    """A module without its package; None if it does not stand alone, or cannot be imported at all."""
    stand_in = _stand_in()
    before = set(sys.modules)
    if stand_in is None or sys.modules.setdefault(PACKAGE, stand_in) is not stand_in:
        return None
    try:
        return importlib.import_module(full)
    except Exception:  # noqa: BLE001 - the plain import says what is wrong, if something is
        for name in set(sys.modules) - before:
            if name.startswith(f"{PACKAGE}."):
                del sys.modules[name]
        return None
    finally:
        if sys.modules.get(PACKAGE) is stand_in:
            del sys.modules[PACKAGE]


def _stand_in() -> ModuleType | None:
    """None if the package is not there or not a plain one."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.loader is None or not spec.submodule_search_locations:
        return None
    package = importlib.util.module_from_spec(spec)
    if type(package) is not ModuleType:
        return None
    package.__class__ = _StandIn
    return package
