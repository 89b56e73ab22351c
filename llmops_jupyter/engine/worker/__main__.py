"""`python -m llmops_jupyter.engine.worker`: reads its configuration as one line of JSON, then serves."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import sys
import traceback
from typing import Any


def main() -> int:
    """Run a worker; returns only if it cannot be reached."""
    # An interrupt is for the notebook. A client that gives up cancels its calls.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
    faulthandler.enable()
    line = sys.stdin.readline()
    if not line:
        return 1
    config = json.loads(line)
    _begin(config["spec"])
    try:
        from llmops_jupyter.engine.worker.server import Server

        Server(config).run()
    except OSError as e:
        print(f"its address cannot be bound ({e})", flush=True)
    except Exception:  # noqa: BLE001 - goes to the log
        traceback.print_exc()
    # The model may be being read: an ordinary end would take the library away meanwhile, and crash.
    os._exit(1)


def _begin(spec: dict[str, Any]) -> None:
    """Begin to load, while the rest of our code is imported; a fault is told by the load itself."""
    from llmops_jupyter.engine.worker.spec import Spec

    with contextlib.suppress(Exception):
        Spec.read(spec).begin()


if __name__ == "__main__":
    sys.exit(main())
