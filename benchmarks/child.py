"""A peer in a process of its own, asked by lines of JSON, so that nobody's threads or imports disturb
anyone else's. `Child` is the side that asks, `serve` the side that answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables with which a child finds the modules of this package."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **(extra or {})}


class Child:
    """A running program that answers. Use it in a `with` statement; it ends with its input."""

    def __init__(
        self, python: str, module: str, *arguments: str, extra: Mapping[str, str] | None = None
    ) -> None:
        self._process = subprocess.Popen(
            [python, "-m", module, *arguments],
            cwd=tempfile.gettempdir(),
            env=environment(extra),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, do: str, **given: Any) -> Any:
        """The answer to a command.

        Raises:
            RuntimeError: the program has ended.
        """
        self._process.stdin.write(json.dumps({"do": do, **given}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args} ended with {self._process.wait()}")
        return json.loads(line)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


def serve(**commands: Callable[..., Any]) -> None:
    """Answer commands from the standard input until it ends; what libraries print is no answer."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            given = json.loads(line)
            print(json.dumps(commands[given.pop("do")](**given)), file=answers, flush=True)
