"""A Ray cluster of three nodes as processes: a head that computes nothing, and two that have one CPU each."""

from __future__ import annotations

import contextlib
import os
import warnings

BYTES = 80 << 20


@contextlib.contextmanager
def cluster():
    """The cluster and its two nodes; this process is connected to it."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # On a busy machine a node takes long to begin.
    os.environ["RAY_raylet_start_wait_time_s"] = "180"  # noqa: SIM112 - so Ray calls it
    with _unwarned():
        made = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "object_store_memory": BYTES,
                "include_dashboard": False,
            },
        )
        nodes = [made.add_node(num_cpus=1, object_store_memory=BYTES) for _ in range(2)]
        ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    try:
        yield made, nodes
    finally:
        with _unwarned():
            ray.shutdown()
            made.shutdown()


@contextlib.contextmanager
def _unwarned():
    """Ray warns of its own plans, also where marks of a test do not reach."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
