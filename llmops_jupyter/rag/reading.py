"""Readers of files, one for each kind; what cannot be read says why."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import DataError, LLMOpsError, missing_dependency
from llmops_jupyter.rag.sections import Document, Section

# Larger files are passed over: they are no documents that anybody reads.
MOST_BYTES = 200 * 1024**2
MARKDOWN, TEXT, HTML = (".md", ".markdown", ".rst"), (".txt", ".text", ".log"), (".html", ".htm")
TABLES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
SUFFIXES = (*MARKDOWN, *TEXT, *HTML, *TABLES, ".pdf", ".ipynb", ".py", ".docx")
# Columns of a table's row that say what it is about, tried in this order.
TEXTS = ("text", "content", "body", "document", "passage")


def read_document(path: Path, source: str) -> Document:
    """A file as sections.

    Raises:
        DataError: it cannot be read; the message says why.
        MissingDependencyError: its reader is not installed.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise DataError(
            f"it has {size / 1024**2:,.0f} MB, more than {MOST_BYTES // 1024**2}. Divide it."
        )
    content = path.read_bytes()
    suffix = path.suffix.lower()
    reader = _READERS.get(suffix)
    if reader is None:
        raise DataError(
            f"files ending in {suffix or 'nothing'} are not read. Convert it to one of "
            f"{', '.join(SUFFIXES)}."
        )
    try:
        sections = reader(path, content)
    except LLMOpsError:
        raise
    except (
        RecursionError,
        MemoryError,
        ValueError,
        KeyError,
        TypeError,
        OSError,
        AttributeError,
    ) as e:
        raise DataError(f"it cannot be read: {type(e).__name__}: {e}.") from e
    found = tuple(s for s in sections if s.text.strip())
    return Document(source, hashlib.sha256(content).hexdigest(), found)


def decoded(content: bytes) -> str:
    """Text of a file in UTF-8 or UTF-16 with its mark.

    Raises:
        DataError: it is neither.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    if b"\0" in content[:8192]:
        raise DataError("it is no text: it has zero bytes.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise DataError(f"it is not UTF-8 at byte {e.start}. Save it as UTF-8.") from e


def _text(_: Path, content: bytes) -> list[Section]:
    return [Section(decoded(content), line=1)]


def _markdown(_: Path, content: bytes) -> list[Section]:
    return markdown_sections(decoded(content))


def markdown_sections(text: str, *, locator: str = "") -> list[Section]:
    """Sections of Markdown: what stands under each heading; fenced code apart.

    Raises:
        MissingDependencyError: markdown-it-py is not installed.
    """
    try:
        from markdown_it import MarkdownIt
    except ImportError as e:
        raise missing_dependency("markdown-it-py", "Reading Markdown", "rag") from e
    lines = text.split("\n")
    sections: list[Section] = []
    heading: list[tuple[int, str]] = []
    begin = 0

    def close(end: int) -> None:
        first = next((i for i in range(begin, end) if lines[i].strip()), None)
        if first is not None:
            titles = tuple(title for _, title in heading)
            body = "\n".join(lines[first:end]).rstrip("\n")
            sections.append(Section(body, locator, titles, line=first + 1))

    tokens = MarkdownIt("commonmark", {"maxNesting": 50}).enable("table").parse(text)
    for place, token in enumerate(tokens):
        if token.level or token.map is None:
            continue
        first, last = token.map
        if token.type == "heading_open":
            close(first)
            depth = int(token.tag[1:])
            heading = [pair for pair in heading if pair[0] < depth]
            heading.append((depth, tokens[place + 1].content))
            begin = last
        elif token.type == "fence":
            close(first)
            titles = tuple(title for _, title in heading)
            body = "\n".join(lines[first:last])
            sections.append(Section(body, locator, titles, "code", first + 1))
            begin = last
    close(len(lines))
    return sections


def _html(_: Path, content: bytes) -> list[Section]:
    try:
        from bs4 import BeautifulSoup
    except ImportError as e:
        raise missing_dependency("beautifulsoup4", "Reading HTML", "rag") from e
    page = BeautifulSoup(content, "html.parser")
    for tag in page(["script", "style", "noscript", "template", "nav", "svg"]):
        tag.decompose()
    sections: list[Section] = []
    heading: list[tuple[int, str]] = []
    parts: list[str] = []

    def close() -> None:
        if any(parts):
            titles = tuple(title for _, title in heading)
            sections.append(Section("\n\n".join(filter(None, parts)), heading=titles))
        parts.clear()

    blocks = [
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "p",
        "li",
        "pre",
        "td",
        "th",
        "blockquote",
        "dd",
        "dt",
    ]
    body = page.body or page
    found = body.find_all(blocks)
    if not found:
        return [Section(body.get_text("\n", strip=True))]
    for tag in found:
        if tag.find_parent(blocks[6:]) is not None:
            continue
        text = " ".join(tag.get_text(" ").split()) if tag.name != "pre" else tag.get_text()
        if tag.name[0] == "h" and tag.name[1:].isdigit():
            close()
            depth = int(tag.name[1])
            heading = [pair for pair in heading if pair[0] < depth]
            heading.append((depth, text))
        else:
            parts.append(text)
    close()
    return sections


def _pdf(path: Path, _: bytes) -> list[Section]:
    try:
        from pypdf import PdfReader
        from pypdf.errors import PyPdfError
    except ImportError as e:
        raise missing_dependency("pypdf", "Reading PDF", "rag") from e
    import logging

    logging.getLogger("pypdf").setLevel(logging.ERROR)
    try:
        reader = PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise DataError("it is encrypted with a password. Save it without one.")
        pages = [page.extract_text() for page in reader.pages]
    except PyPdfError as e:
        raise DataError(f"it is no readable PDF: {e}.") from e
    sections = [Section(text, f"page {n}") for n, text in enumerate(pages, 1)]
    if pages and not any(text.strip() for text in pages):
        raise DataError("its pages are pictures without text. Run OCR on it first.")
    return sections


def _notebook(_: Path, content: bytes) -> list[Section]:
    value = json.loads(decoded(content))
    cells = value.get("cells")
    if not isinstance(cells, list):
        raise DataError("it is no notebook of format 4: it has no cells.")
    sections: list[Section] = []
    heading: tuple[str, ...] = ()
    for number, cell in enumerate(cells, 1):
        source = cell.get("source", "")
        text = "".join(source) if isinstance(source, list) else str(source)
        locator = f"cell {cell.get('id') or number}"
        if cell.get("cell_type") == "markdown":
            made = markdown_sections(text, locator=locator)
            sections += made
            heading = made[-1].heading if made else heading
        elif text.strip():
            sections.append(Section(text, locator, heading, "code"))
    return sections


def _python(_: Path, content: bytes) -> list[Section]:
    """Functions, classes and what stands between them; a file that cannot be parsed is read as text."""
    text = decoded(content)
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return [Section(text, kind="code", line=1)]
    lines = text.split("\n")
    sections: list[Section] = []
    begin = 0
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
        sections.append(Section("\n".join(lines[begin:first]), kind="code", line=begin + 1))
        end = node.end_lineno or first + 1
        body = "\n".join(lines[first:end])
        sections.append(Section(body, heading=(node.name,), kind="code", line=first + 1))
        begin = end
    sections.append(Section("\n".join(lines[begin:]), kind="code", line=begin + 1))
    return sections


def _table(path: Path, _: bytes) -> list[Section]:
    from llmops_jupyter.data.reading import read_rows

    return [row_section(row, n) for n, row in enumerate(read_rows(path), 1)]


def row_section(row: Any, number: int, column: str | None = None) -> Section:
    """A row of a table as a section: its text column, else all columns as lines."""
    chosen = column or next((name for name in TEXTS if isinstance(row.get(name), str)), None)
    rest = {k: v for k, v in row.items() if k != chosen and isinstance(v, str | int | float | bool)}
    if chosen is not None:
        return Section(str(row.get(chosen) or ""), f"row {number}", kind="row", metadata=rest)
    text = "\n".join(f"{k}: {v}" for k, v in row.items() if v is not None)
    return Section(text, f"row {number}", kind="row", metadata=rest)


def _docx(path: Path, _: bytes) -> list[Section]:
    try:
        import docx
        from docx.opc.exceptions import PackageNotFoundError
    except ImportError as e:
        raise missing_dependency("python-docx", "Reading DOCX", "rag") from e
    try:
        document = docx.Document(str(path))
    except (PackageNotFoundError, KeyError, ValueError) as e:
        raise DataError(f"it is no readable DOCX file ({e}).") from e
    sections: list[Section] = []
    heading: list[tuple[int, str]] = []
    parts: list[str] = []

    def close() -> None:
        if any(parts):
            sections.append(Section("\n\n".join(parts), heading=tuple(t for _, t in heading)))
        parts.clear()

    for paragraph in document.paragraphs:
        style = (paragraph.style.name if paragraph.style else "") or ""
        depth = style.removeprefix("Heading ")
        if style.startswith("Heading ") and depth.isdigit():
            close()
            heading = [pair for pair in heading if pair[0] < int(depth)]
            heading.append((int(depth), paragraph.text))
        elif paragraph.text.strip():
            parts.append(paragraph.text)
    close()
    for number, table in enumerate(document.tables, 1):
        rows = [" | ".join(cell.text.strip() for cell in row.cells) for row in table.rows]
        sections.append(Section("\n".join(rows), f"table {number}"))
    return sections


Reader = Callable[[Path, bytes], Sequence[Section]]
_READERS: dict[str, Reader] = {
    **dict.fromkeys(MARKDOWN, _markdown),
    **dict.fromkeys(TEXT, _text),
    **dict.fromkeys(HTML, _html),
    **dict.fromkeys(TABLES, _table),
    ".pdf": _pdf,
    ".ipynb": _notebook,
    ".py": _python,
    ".docx": _docx,
}
