"""Harmless documents that are on every machine: docstrings and licences of installed packages, and this project's pages.

Nothing here is fitted or frozen on. What the check 'injection' makes of them is told kind by kind, since it differs.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from benchmarks.guard_rates import Rate

PACKAGES = ("numpy", "scipy", "sklearn", "pandas", "statsmodels")
DOCS = Path(__file__).parents[1] / "docs"
# Paragraphs of so many characters, and at most so many of each kind.
SHORTEST, LONGEST, MOST = 200, 1_200, 600
_FENCED = re.compile(r"(?ms)^(```|~~~|---\n).*?^(```|~~~|---)$")
_DISTRIBUTION = {"sklearn": "scikit-learn"}


def paragraphs(text: str) -> Iterator[str]:
    """Parts between empty lines, put together to 200 characters and more."""
    held = ""
    for part in re.split(r"\n\s*\n", text):
        held = f"{held}\n\n{part.strip()}" if held else part.strip()
        if len(held) >= SHORTEST:
            yield held[:LONGEST]
            held = ""


def docstrings(package: str) -> Iterator[str]:
    """The docstrings of a package's files, which are read and not run."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return
    for path in sorted(Path(spec.origin).parent.rglob("*.py")):
        if "tests" in path.parts or "externals" in path.parts:
            continue
        try:
            tree = ast.parse(path.read_text("utf-8"))
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield ast.get_docstring(node) or ""


def licences() -> Iterator[str]:
    """Licence texts and long descriptions of what is installed."""
    for found in sorted(importlib.metadata.distributions(), key=lambda d: d.name or ""):
        for file in found.files or ():
            if file.name.upper().startswith(("LICENSE", "COPYING", "NOTICE", "METADATA")):
                try:
                    yield file.read_text("utf-8")
                except (OSError, UnicodeDecodeError):
                    continue


def pages() -> Iterator[str]:
    """The prose of this project's pages, without code."""
    for path in sorted(DOCS.glob("*.md")):
        yield _FENCED.sub("", path.read_text("utf-8"))


def kinds() -> dict[str, list[str]]:
    """Paragraphs of each kind, an even draw of the many."""
    sources = {f"docstrings of {name}": docstrings(name) for name in PACKAGES}
    sources["licences and descriptions of packages"] = licences()
    sources["this project's pages"] = pages()
    found = {}
    for name, texts in sources.items():
        parts = list(dict.fromkeys(p for text in texts for p in paragraphs(text)))
        parts.sort(key=lambda p: zlib.crc32(p.encode("utf-8", "surrogatepass")))
        if parts:
            found[name] = parts[:MOST]
    return found


def rates() -> list[Rate]:
    """Of each kind what share the shipped check stops, as context and as input."""
    from llmops_jupyter.guard.injection import injection, score

    at = injection().threshold
    found = []
    for name, parts in kinds().items():
        for place in ("context", "input"):
            hits = sum(score(part, place).score >= at for part in parts)
            found.append(Rate(f"{name}: stopped as {place}", hits, len(parts)))
    return found
