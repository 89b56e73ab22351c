"""Evidently's drift of embeddings; this program runs in an environment that has it.

`python -m benchmarks.evidently_peer` answers `alarms`: how many of given trials alarm, and the seconds of each check.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

# The share of single dimensions, the domain classifier (its default), and that with its bootstrap.
METHODS = ("model", "ratio", "distance", "mmd")


def alarms(vectors: str, trials: list[list[list[int]]], method: str) -> dict[str, Any]:
    """For each trial, rows of the reference and rows of the window among the vectors in a file."""
    import numpy as np
    import pandas

    warnings.simplefilter("ignore")
    detect = _method(method)
    values = np.load(vectors)
    columns = [str(i) for i in range(values.shape[1])]
    count, seconds = 0, []
    for reference, window in trials:
        before = pandas.DataFrame(values[reference], columns=columns)
        now = pandas.DataFrame(values[window], columns=columns)
        began = time.perf_counter()
        found = detect(now, before)
        seconds.append(time.perf_counter() - began)
        count += bool(found[1])
    return {"alarms": count, "seconds": seconds}


def _method(name: str) -> Any:
    from evidently.legacy.metrics.data_drift import embedding_drift_methods as methods

    return getattr(methods, name)()


if __name__ == "__main__":
    from benchmarks.child import serve

    serve(alarms=alarms)
