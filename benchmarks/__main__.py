"""`python -m benchmarks [PART …]`: measure, print and write RESULTS.md."""

from __future__ import annotations

import argparse
import importlib
import os
import time

from benchmarks import report

PARTS = {
    "opening": "Opening",
    "prompt": "One prompt",
    "many": "Many prompts",
    "traces": "Traces",
    "resume": "A second kernel",
    "tools": "Tools",
    "endpoints": "Endpoints",
    "evaluation": "Evaluation",
    "rag": "RAG",
    "grounding": "Answers from documents",
    "finetune": "Fine-tuning",
    "preparing": "Data preparation",
    "monitoring": "Monitoring",
    "spikes": "Cost",
    "safety": "Safety",
    "serving": "Serving",
    "panel": "Side panel",
    "gpu": "GPU",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}")
    parser.add_argument(
        "--quick", action="store_true", help="fewer repetitions, nothing written; to try the code"
    )
    given = parser.parse_args()
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if not os.environ.get("LLMOPS_BENCH_DATA"):
        print("LLMOPS_BENCH_DATA is unset; rows that need a data set say so, the others run.")
    for name in given.parts or list(PARTS):
        title = PARTS[name]
        print(f"\n{title}", flush=True)
        began = time.perf_counter()
        conditions = report.machine()
        rows = importlib.import_module(f"benchmarks.{name}").measure(quick=given.quick)
        text = report.section(title, conditions, rows)
        print(f"\n{text}\n{title}: {time.perf_counter() - began:.0f} s", flush=True)
        if not given.quick:
            report.write(title, text)


if __name__ == "__main__":
    main()
