"""`llmops` with spans that are not written: `python -m benchmarks.untraced serve …`, to see what traces cost."""

from __future__ import annotations

import sys

from llmops_jupyter.cli import main
from llmops_jupyter.tracing.spans import Span

begin = Span.begin


def _unwritten(span: Span, parent: Span | None = None) -> Span:
    span.stored = False
    return begin(span, parent)


if __name__ == "__main__":
    Span.begin = _unwritten  # type: ignore[method-assign]
    sys.exit(main())
