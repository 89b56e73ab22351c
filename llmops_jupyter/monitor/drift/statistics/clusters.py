"""Groups of vectors that are alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Clusters:
    """Centres, shape (clusters, width), and the cluster of each vector."""

    centres: NDArray[np.float32]
    labels: NDArray[np.int64]


def clusters_of(values: NDArray[np.float32], count: int, *, tries: int = 1) -> Clusters:
    """K-means; fewer clusters where there are fewer different vectors.

    Args:
        values: the vectors.
        count: clusters.
        tries: beginnings, of which the best is taken.
    """
    import numpy as np
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    different = len(np.unique(np.round(values, 3), axis=0))
    with threadpool_limits(
        limits=1
    ):  # so few rows take longer with several threads on a busy machine
        made = KMeans(max(1, min(count, different)), n_init=tries, random_state=0).fit(values)
    return Clusters(
        made.cluster_centers_.astype(np.float32), np.asarray(made.labels_, dtype=np.int64)
    )
