"""llama.cpp's server with slots, in xllamacpp or by itself: what it is asked, and xllamacpp as a program.

`python -m benchmarks.slots PATH THREADS` answers `address` and `system`; the server that it runs is asked over
HTTP like any other, since that tells the tokens of each prompt. It is run by the Python of an environment in
which xllamacpp is.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Sequence
from typing import Any

from benchmarks.child import serve

SLOTS = 16
# Tokens of context for each slot.
CELLS = 512
WAIT_S = 300


def batch(
    address: str, prompts: Sequence[Sequence[int]], count: int, ends: Sequence[int]
) -> dict[str, Any]:
    """Seconds for all prompts in one request, and the tokens that were read and written."""
    asked = {
        "prompt": [list(prompt) for prompt in prompts],
        "n_predict": count,
        "temperature": 0,
        "logit_bias": [[end, False] for end in ends],
    }
    request = urllib.request.Request(
        f"{address}/completion", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=WAIT_S) as response:
        found = json.load(response)
    seconds = time.perf_counter() - began
    found.sort(key=lambda answer: answer["index"])
    return {
        "seconds": seconds,
        "read": [answer["tokens_evaluated"] for answer in found],
        "made": [answer["tokens_predicted"] for answer in found],
    }


def main() -> None:
    import xllamacpp

    threads = int(sys.argv[2])
    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.n_parallel, params.n_ctx = SLOTS, SLOTS * CELLS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.verbosity = -1
    server: Any = xllamacpp.Server(params)
    serve(address=lambda: server.listening_address, system=xllamacpp.get_system_info)


if __name__ == "__main__":
    main()
