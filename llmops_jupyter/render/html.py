"""Tables and differences as HTML and as text."""

from __future__ import annotations

import difflib
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from llmops_jupyter.render.controls import visible

if TYPE_CHECKING:
    from llmops_jupyter.records import Table

MAX_CELL = 300
MAX_ROWS = 50
# What pages take for the beginning or the end of a formula, which may have links and styles.
_FORMULA = re.compile(r"\$|\\(?=[(\[]|begin\b)")


def escaped(text: str) -> str:
    """A text for an element of a page: nothing in it is live, neither as markup nor as a formula.

    Notebooks look for formulas in finished pages, each piece of text by itself: a mark that stands alone begins none.
    """
    return _FORMULA.sub(r"<span>\g<0></span>", attribute(text))


def attribute(text: str) -> str:
    """A text for a quoted attribute of an element."""
    return html.escape(visible(text))


def bundle(text: str, page: str) -> dict[str, str]:
    """What an object shows: text, in which nothing is obeyed, and a page."""
    return {"text/html": page, "text/plain": visible(text)}


def picture(data: str, alt: str) -> str:
    """A picture inside a page, from its PNG in base64."""
    return f"<img alt='{attribute(alt)}' style='max-width:100%' src='data:image/png;base64,{data}'>"


def cut(value: Any, limit: int = MAX_CELL) -> str:
    """A value on one line, cut with an ellipsis; characters that a terminal would obey are shown."""
    text = visible(" ".join(str("" if value is None else value).split()))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def table_html(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Rows as an HTML table with every value escaped; at most 50 rows, the rest counted."""
    names = list(columns or (rows[0].keys() if rows else ()))
    head = "".join(f"<th style='text-align:left'>{escaped(str(n))}</th>" for n in names)
    body = "".join(
        "<tr>"
        + "".join(f"<td style='text-align:left'>{escaped(cut(row.get(n)))}</td>" for n in names)
        + "</tr>"
        for row in rows[:MAX_ROWS]
    )
    more = f"<p>{len(rows) - MAX_ROWS} more rows</p>" if len(rows) > MAX_ROWS else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def text_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Rows as aligned plain text, each value cut to 60 characters."""
    if not rows:
        return "(nothing)"
    names = list(columns or rows[0].keys())
    cells = [[cut(row.get(n), 60) for n in names] for row in rows]
    heads = [cut(n, 60) for n in names]
    widths = [max(len(n), *(len(c[i]) for c in cells)) for i, n in enumerate(heads)]
    lines = ["  ".join(n.ljust(w) for n, w in zip(heads, widths, strict=True)).rstrip()]
    for row_cells in cells:
        line = "  ".join(c.ljust(w) for c, w in zip(row_cells, widths, strict=True))
        lines.append(line.rstrip())
    return "\n".join(lines)


def table_bundle(table: Table) -> tuple[dict[str, Any], dict[str, Any]]:
    """The MIME bundle of a table of completions: HTML and plain text."""
    hidden = {"reasoning", "parsed", "total_s", "prompt_version", "model", "trace_id"}
    rows = table.records()
    columns = [c for c in (rows[0] if rows else {}) if c not in hidden]
    if not table.failures:
        columns = [c for c in columns if c != "error"]
    if not any(done.verdicts for done in table):
        columns = [c for c in columns if c != "guard"]
    return bundle(text_table(rows[:MAX_ROWS], columns), table_html(rows, columns)), {}


@dataclass(frozen=True)
class DiffLine:
    """A line of a difference with its number in either text, None where it is not.

    `kind` is 'same', 'added', 'removed', or 'gap' for equal lines that are left out.
    """

    kind: Literal["same", "added", "removed", "gap"]
    text: str
    a: int | None
    b: int | None


def diff_lines(before: str, after: str, context: int = 3) -> list[DiffLine]:
    """What changed, line by line, with some equal lines around it; nothing for equal texts."""
    old, new = _lines_of(before), _lines_of(after)
    found: list[DiffLine] = []
    end = (0, 0)
    for group in difflib.SequenceMatcher(None, old, new).get_grouped_opcodes(context):
        if group[0][1] > end[0]:
            found.append(DiffLine("gap", "", None, None))
        for tag, a, a_end, b, b_end in group:
            if tag == "equal":
                pairs = zip(range(a, a_end), range(b, b_end), strict=True)
                found += [DiffLine("same", old[i], i + 1, j + 1) for i, j in pairs]
                continue
            found += [DiffLine("removed", old[i], i + 1, None) for i in range(a, a_end)]
            found += [DiffLine("added", new[j], None, j + 1) for j in range(b, b_end)]
        end = (group[-1][2], group[-1][4])
    if found and end[0] < len(old):
        found.append(DiffLine("gap", "", None, None))
    return found


def _lines_of(text: str) -> list[str]:
    """Lines by newline alone: other separators are shown as what they are."""
    return text.removesuffix("\n").split("\n") if text else []


def _unified(lines: Sequence[DiffLine], names: tuple[str, str]) -> list[str]:
    """A difference as `diff -u` writes it."""
    hunks: list[list[DiffLine]] = [[]]
    for line in lines:
        if line.kind == "gap":
            hunks.append([])
        else:
            hunks[-1].append(line)
    signs = {"same": " ", "added": "+", "removed": "-"}
    found = [f"--- {names[0]}", f"+++ {names[1]}"]
    for hunk in filter(None, hunks):
        old = _range([line.a for line in hunk if line.a is not None])
        new = _range([line.b for line in hunk if line.b is not None])
        found.append(f"@@ -{old} +{new} @@")
        found += [f"{signs[line.kind]}{line.text}" for line in hunk]
    return found


def _range(numbers: Sequence[int]) -> str:
    """Lines of a hunk; a side has none only where its whole text is empty."""
    first = numbers[0] if numbers else 0
    return f"{first}" if len(numbers) == 1 else f"{first},{len(numbers)}"


def diff_text(before: str, after: str, names: tuple[str, str], *, colour: bool = False) -> str:
    """A unified difference; with `colour`, as ANSI colours for a terminal."""
    old, new = map(visible, names)
    found = diff_lines(visible(before), visible(after)) if before != after else []
    lines = _unified(found, (old, new))
    if not found:
        return f"{old} and {new} are equal"
    if not colour:
        return "\n".join(lines)
    codes = {"+": "32", "-": "31", "@": "36"}
    return "\n".join(
        f"\x1b[{codes[line[0]]}m{line}\x1b[0m" if line[:1] in codes else line for line in lines
    )


def diff_html(before: str, after: str, names: tuple[str, str]) -> str:
    """A unified difference as escaped HTML; added lines are green, removed ones red."""
    styles = {
        "+": "background:rgba(46,160,67,.2)",
        "-": "background:rgba(248,81,73,.2)",
        "@": "opacity:.6",
    }
    lines = diff_text(before, after, names).split("\n")
    spans = (
        f"<span style='display:block;{styles.get(line[:1], '')}'>{escaped(line) or '&nbsp;'}</span>"
        for line in lines
    )
    return f"<pre style='line-height:1.4'>{''.join(spans)}</pre>"
