"""The tree of an imported trace, of which pieces may come in any order, or never."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field

from llmops_jupyter.tracing.arrivals import imported
from llmops_jupyter.tracing.otlp.foreign import PARENT

# Spans of traces that are remembered from one batch to the next.
REMEMBERED = 50_000


@dataclass
class Node:
    """A span of the store: its row, whose child it says it is, whose child it is, and whether it was made here."""

    row: int
    said: str | None
    parent: str | None
    start_ns: int
    native: bool
    ended: bool


@dataclass
class Tree:
    """The spans of one trace by their ids."""

    nodes: dict[str, Node] = field(default_factory=dict)


class Forest:
    """The trees of the traces that a file is about."""

    def __init__(self) -> None:
        self._trees: dict[str, Tree] = {}
        self._size = 0
        self._state: tuple[int, int] | None = None

    def get(self, conn: sqlite3.Connection, trace_ids: Iterable[str]) -> dict[str, Tree]:
        """The trees of traces, read from the store where they are not remembered, or others have written since."""
        if self._size > REMEMBERED or self._state != _state(conn):
            self.forget()
        found = {}
        for trace_id in trace_ids:
            if trace_id not in self._trees:
                tree = self._trees[trace_id] = _read(conn, trace_id)
                self._size += 1 + len(tree.nodes)
            found[trace_id] = self._trees[trace_id]
        return found

    def grown(self) -> None:
        """Note that a span has come."""
        self._size += 1

    def written(self, conn: sqlite3.Connection) -> None:
        """Note that the store is as it is remembered."""
        self._state = _state(conn)

    def forget(self) -> None:
        """Read all anew: a transaction did not go through, or there are too many."""
        self._trees, self._size = {}, 0


def _state(conn: sqlite3.Connection) -> tuple[int, int]:
    """What changes when another connection writes, and when this one does."""
    return int(conn.execute("PRAGMA data_version").fetchone()[0]), conn.total_changes


def _read(conn: sqlite3.Connection, trace_id: str) -> Tree:
    tree = Tree()
    rows = conn.execute(
        "SELECT id, span_id, parent_id, start_ns, end_ns, "
        f"""json_extract(attributes, '$."{PARENT}"') AS said, {imported("s")} AS imported """
        "FROM spans s WHERE trace_id = ?",
        (trace_id,),
    )
    for row in rows:
        said = row["parent_id"] if row["said"] is None else row["said"] or None
        tree.nodes[row["span_id"]] = Node(
            *(row["id"], said, row["parent_id"], row["start_ns"], not row["imported"]),
            ended=row["end_ns"] is not None,
        )
    return tree


def link(conn: sqlite3.Connection, tree: Tree) -> None:
    """Give a trace one root: spans whose parent has not come stand under it until it comes.

    The root is the span that has no parent; of several, or of none, the one made here, or the earliest.
    """
    tops = _tops(tree)
    if not tops:
        return
    root = min(tops, key=lambda i: (not tree.nodes[i].native, *_rank(tree.nodes[i]), i))
    for span_id, node in tree.nodes.items():
        parent = node.said
        if span_id == root:
            parent = None
        elif span_id in tops:
            parent = root
        if parent == node.parent or node.native:
            continue
        node.parent = parent
        if parent == node.said:
            change, values = f"""json_remove(attributes, '$."{PARENT}"')""", ()
        else:
            change = f"""json_set(attributes, '$."{PARENT}"', ?)"""
            values = (node.said or "",)  # type: ignore[assignment]
        conn.execute(
            f"UPDATE spans SET parent_id = ?, attributes = {change} WHERE id = ?",
            (parent, *values, node.row),
        )


def _rank(node: Node) -> tuple[bool, int]:
    return node.said is not None, node.start_ns


def _tops(tree: Tree) -> set[str]:
    """Spans whose parent is not there; where spans are each other's ancestors, the earliest of them."""
    tops = {i for i, n in tree.nodes.items() if n.said is None or n.said not in tree.nodes}
    done = set(tops)
    for span_id in tree.nodes:
        path: dict[str, None] = {}
        at = span_id
        while at not in done and at not in path:
            path[at] = None
            at = tree.nodes[at].said or at
        if at in path:  # a circle
            circle = list(path)[list(path).index(at) :]
            tops.add(min(circle, key=lambda i: tree.nodes[i].start_ns))
        done.update(path)
    return tops
