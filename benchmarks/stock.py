"""The stock `Llama` as a program, with a model loaded: prompts one after the other, and log-probabilities.

`python -m benchmarks.stock PATH THREADS` answers `batch`; THREADS 0 means as it comes. With `labels` after
them it answers `logprobs` and `echo`, for which `Llama` has to keep all logits.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.child import serve


def batch(
    llama: Any, prompts: Sequence[list[int]], count: int, ends: Sequence[int]
) -> dict[str, Any]:
    """Seconds for all prompts, and the tokens that were read and written."""
    bias = {end: float("-inf") for end in ends}
    began = time.perf_counter()
    usages = [
        llama.create_completion(prompt, max_tokens=count, temperature=0, logit_bias=bias)["usage"]
        for prompt in prompts
    ]
    return {
        "seconds": time.perf_counter() - began,
        "read": [usage["prompt_tokens"] for usage in usages],
        "made": [usage["completion_tokens"] for usage in usages],
    }


def logprobs(
    llama: Any, prompts: Sequence[list[int]], labels: Sequence[str], top: int
) -> dict[str, Any]:
    """One call for each item, which returns the likeliest tokens after its prompt."""
    began = time.perf_counter()
    found = []
    for prompt in prompts:
        answer = llama.create_completion(prompt, max_tokens=1, temperature=0, logprobs=top)
        known = answer["choices"][0]["logprobs"]["top_logprobs"][0]
        found.append([float(known[label]) if label in known else None for label in labels])
    return {"seconds": time.perf_counter() - began, "found": found}


def echo(llama: Any, prompts: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """One call for each label of each item, which returns the log-probability of all that it reads.

    Labels are of one token. Each call has to write a token as well, unless it is an end.
    """
    began = time.perf_counter()
    found = []
    for prompt in prompts:
        found.append([])
        for label in labels:
            answer = llama.create_completion(
                prompt + label, max_tokens=1, temperature=0, logprobs=1, echo=True
            )
            known = answer["choices"][0]["logprobs"]["token_logprobs"]
            found[-1].append(float(known[-1 - answer["usage"]["completion_tokens"]]))
    return {"seconds": time.perf_counter() - began, "found": found}


def main() -> None:
    from llama_cpp import Llama

    path, threads = sys.argv[1], int(sys.argv[2])
    given = {"n_threads": threads} if threads else {}
    scoring = "labels" in sys.argv[3:]
    llama = Llama(path, logits_all=scoring, verbose=False, **given)
    serve(
        batch=lambda **given: batch(llama, **given),
        logprobs=lambda **given: logprobs(llama, **given),
        echo=lambda **given: echo(llama, **given),
        threads=lambda: llama.n_threads,
    )


if __name__ == "__main__":
    main()
