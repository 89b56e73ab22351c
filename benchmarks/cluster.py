"""A deployment on Ray Serve as a program: `python -m benchmarks.cluster STORE NAME` answers `begin` and `end`.

It is run by the Python of an environment in which Ray is. The cluster is one of this machine, and ends with the program.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from benchmarks.child import serve

FEW_BYTES = 80 << 20


class Service:
    """The deployment with so many replicas of one processor each."""

    def __init__(self, store: str, name: str) -> None:
        import llmops_jupyter as lo

        self._ws, self._name = lo.open(store), name
        self._running: Any = None

    def begin(self, replicas: int) -> str:
        """The address, once all replicas answer."""
        import ray

        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        if not ray.is_initialized():
            ray.init(
                address="local",
                num_cpus=4,  # the replicas and Serve's own actors, whatever the machine has
                object_store_memory=FEW_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
            )
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        self._running = self._ws.deploy.ray(self._name, replicas=replicas, together=16, port=port)
        return str(self._running.url)

    def end(self) -> None:
        """Take it out of service."""
        from ray import serve as ray_serve

        self._running.stop()
        ray_serve.shutdown()


if __name__ == "__main__":
    service = Service(*sys.argv[1:3])
    serve(begin=service.begin, end=service.end)
