"""deepeval's run of given outputs by one exact metric; this program runs in deepeval's own environment.

`python -m benchmarks.deepeval_scoring ROWS` prints the seconds.
"""

from __future__ import annotations

import sys
import time

from deepeval import evaluate
from deepeval.evaluate import AsyncConfig, CacheConfig, DisplayConfig
from deepeval.metrics import BaseMetric
from deepeval.test_case import LLMTestCase

from benchmarks.outputs import given


class Exact(BaseMetric):
    threshold = 1.0
    async_mode = False

    def measure(self, test_case: LLMTestCase, *_: object, **__: object) -> float:
        self.score = float(test_case.actual_output == test_case.expected_output)
        self.success = self.score >= self.threshold
        return self.score

    async def a_measure(self, test_case: LLMTestCase, *_: object, **__: object) -> float:
        return self.measure(test_case)

    def is_successful(self) -> bool:
        return bool(self.success)

    @property
    def __name__(self) -> str:
        return "Exact"


def main() -> None:
    cases = [
        LLMTestCase(
            input=row["question"], actual_output=row["output"], expected_output=row["expected"]
        )
        for row in given(int(sys.argv[1]))
    ]
    began = time.perf_counter()
    evaluate(
        test_cases=cases,
        metrics=[Exact()],
        async_config=AsyncConfig(run_async=False),
        display_config=DisplayConfig(show_indicator=False, print_results=False),
        cache_config=CacheConfig(write_cache=False, use_cache=False),
    )
    print(f"\nseconds {time.perf_counter() - began}")


if __name__ == "__main__":
    main()
