"""MLflow's evaluation of given outputs by one exact scorer; this program runs in MLflow's own environment.

`python -m benchmarks.mlflow_scoring FOLDER ROWS` prints the seconds.
"""

from __future__ import annotations

import sys
import time

import mlflow
from mlflow.genai.scorers import scorer

from benchmarks.outputs import given


@scorer
def exact(outputs: str, expectations: dict[str, str]) -> bool:
    return outputs == expectations["expected"]


def main() -> None:
    mlflow.set_tracking_uri(f"sqlite:///{sys.argv[1]}/mlflow.db")
    mlflow.set_experiment("scoring")
    rows = [
        {
            "inputs": {"question": row["question"]},
            "outputs": row["output"],
            "expectations": {"expected": row["expected"]},
        }
        for row in given(int(sys.argv[2]))
    ]
    began = time.perf_counter()
    mlflow.genai.evaluate(data=rows, scorers=[exact])
    print(f"\nseconds {time.perf_counter() - began}")


if __name__ == "__main__":
    main()
