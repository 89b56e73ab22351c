"""A Ray cluster of three nodes as processes: a head that computes nothing, and two that have one CPU each."""

from __future__ import annotations

import contextlib
import os

BYTES = 80 << 20


@contextlib.contextmanager
def cluster():
    """The cluster and its two nodes; this process is connected to it."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": BYTES, "include_dashboard": False},
    )
    try:
        nodes = [made.add_node(num_cpus=1, object_store_memory=BYTES) for _ in range(2)]
        ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
        yield made, nodes
    finally:
        ray.shutdown()
        made.shutdown()
