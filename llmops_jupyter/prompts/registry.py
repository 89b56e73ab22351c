"""Prompt versions: saved by content, found by number or alias, compared and rolled back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from llmops_jupyter.errors import OptionError, PromptError, unknown_name
from llmops_jupyter.prompts.content import ABSENT, Content, from_json, lost_order
from llmops_jupyter.prompts.splitting import end_running
from llmops_jupyter.prompts.template import variables_of
from llmops_jupyter.store import aliases
from llmops_jupyter.store.versions import Versions

KIND = "prompt"
COLUMNS = "name, version, content, content_hash, defaults, note, created_at, notebook, cell_id"


@dataclass(frozen=True)
class PromptVersion:
    """One version of a prompt. `defaults` are the settings it was last run with."""

    name: str
    version: int
    content: Content
    content_hash: str
    defaults: Mapping[str, Any]
    note: str
    created_at: str
    notebook: str | None = None
    cell_id: str | None = None
    aliases: tuple[str, ...] = ()
    created: bool = field(default=False, compare=False)

    @property
    def ref(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def template(self) -> str:
        return self.content.template

    @property
    def cell(self) -> str:
        """The cell that makes this version, with its ``%%prompt`` line."""
        extra = " --cot" if self.content.cot else ""
        return f"%%prompt {self.name}{extra}\n{self.template}"

    @property
    def variables(self) -> tuple[str, ...]:
        return variables_of(self.content.template)

    def __str__(self) -> str:
        return self.content.template


@dataclass(frozen=True)
class Listed:
    """A prompt in a list: its highest version, how many there are, and where its aliases point."""

    latest: PromptVersion
    versions: int
    aliases: Mapping[str, int]


class Registry(Versions[PromptVersion]):
    """The prompt versions of a store. A split of an alias's traffic ends when the alias is moved."""

    KIND = KIND
    ABSENT = ABSENT

    def save(
        self,
        name: str,
        content: Content,
        *,
        note: str = "",
        notebook: str | None = None,
        cell_id: str | None = None,
    ) -> PromptVersion:
        """Keep content as a version of `name`.

        Content equal to an older version is that version; `created` tells which happened. Two callers
        at once get the same version for the same content and different numbers for different ones. The
        order of a schema's properties is no difference: the version keeps the one it was saved with,
        except that a release which sorted them has lost it, and then it is taken from `content`.
        """
        aliases.check_name(KIND, name)
        text, digest = content.to_text(), content.digest
        with self.store.write() as conn:
            row = conn.execute(
                "SELECT version, content FROM prompt_versions WHERE name = ? AND content_hash = ?",
                (name, digest),
            ).fetchone()
            if row is not None:
                if lost_order(row[1]):
                    conn.execute(
                        "UPDATE prompt_versions SET content = ? WHERE name = ? AND version = ?",
                        (text, name, row[0]),
                    )
                return _load(conn, name, row[0], created=False)
            highest = conn.execute(
                "SELECT max(version) FROM prompt_versions WHERE name = ?", (name,)
            ).fetchone()[0]
            version = (highest or 0) + 1
            conn.execute(
                "INSERT INTO prompt_versions(name, version, content_hash, content, note, notebook, "
                "cell_id, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (name, version, digest, text, note, notebook, cell_id, self.store.now()),
            )
            return _load(conn, name, version, created=True)

    def equal(self, name: str, content: Content) -> PromptVersion | None:
        """The version of a prompt that has this content; None if none has."""
        row = self.store.row(
            "SELECT version FROM prompt_versions WHERE name = ? AND content_hash = ?",
            (name, content.digest),
        )
        return None if row is None else _load(self.store.read(), name, row[0])

    def exists(self, name: str) -> bool:
        return bool(self.store.row("SELECT 1 FROM prompt_versions WHERE name = ?", (name,)))

    def list(self) -> list[PromptVersion]:
        """The highest version of each prompt, by name."""
        rows = self.store.rows(
            "SELECT name, max(version) FROM prompt_versions GROUP BY name ORDER BY name"
        )
        conn = self.store.read()
        return [_load(conn, row[0], row[1]) for row in rows]

    def listed(self) -> Sequence[Listed]:
        """All prompts by name, as a list shows them; however many there are, in two queries."""
        known = self._aliases()
        rows = self.store.rows(
            f"SELECT {COLUMNS}, n FROM prompt_versions v JOIN (SELECT name, max(version) AS version, count(*) AS n "
            "FROM prompt_versions GROUP BY name) USING (name, version) ORDER BY name"
        )
        return [
            Listed(_made(row, known.get(row["name"], {})), row["n"], known.get(row["name"], {}))
            for row in rows
        ]

    def history(self, name: str) -> Sequence[PromptVersion]:
        """All versions of a prompt, newest first; however many there are, in two queries."""
        name, _ = aliases.parse_reference(name, KIND)
        known = self._aliases(name).get(name, {})
        rows = self.store.rows(
            f"SELECT {COLUMNS} FROM prompt_versions WHERE name = ? ORDER BY version DESC", (name,)
        )
        if not rows:
            self._numbers(name)  # which says what there is
        return [_made(row, known) for row in rows]

    def traced(self, name: str) -> Mapping[int, int]:
        """How many traces each version of a prompt has."""
        rows = self.store.rows(
            "SELECT prompt_version, count(*) FROM spans WHERE prompt_name = ? AND parent_id IS NULL GROUP BY 1",
            (name,),
        )
        return {row[0]: row[1] for row in rows}

    def names(self) -> Sequence[str]:
        rows = self.store.rows("SELECT DISTINCT name FROM prompt_versions ORDER BY name")
        return [row[0] for row in rows]

    def rollback(
        self, reference: str, note: str = "", *, expected: int | Literal["any"] = "any"
    ) -> PromptVersion:
        """Point the alias in ``name@alias`` at what it pointed at before its last move.

        Rolling back again goes one further step back; the log keeps every move.

        Raises:
            PromptError: it has not pointed at another version before.
            ConflictError: it points at another version than `expected`; nothing was changed.
        """
        name, alias = aliases.parse_reference(reference, KIND)
        if alias is None or alias.isdigit():
            raise OptionError(f"Name the alias to roll back, for example {name}@production.")
        with self.store.write() as conn:
            known = aliases.all_aliases(conn, KIND, name)
            if alias not in known:
                raise unknown_name("alias", alias, known, f"See %prompt history {name}.")
            aliases.check_expected(conn, KIND, name, alias, expected)
            target = _before(aliases.history(conn, KIND, name), alias)
            if target is None:
                raise PromptError(
                    f"{name}@{alias} has not pointed at another version before: nothing to roll back."
                )
            aliases.set_alias(conn, KIND, name, alias, target, f"rollback: {note}".rstrip(": "))
            self._moved(conn, name, alias)
            return _load(conn, name, target)

    def keep_defaults(self, found: PromptVersion, defaults: Mapping[str, Any]) -> None:
        """Remember the settings of a run as the version's latest defaults."""
        text = json.dumps(dict(defaults), sort_keys=True)
        now = self.store.rows(
            "SELECT defaults FROM prompt_versions WHERE name = ? AND version = ?",
            (found.name, found.version),
        )
        if now and now[0][0] == text:  # `found` may be older than the last run
            return
        with self.store.write() as conn:
            conn.execute(
                "UPDATE prompt_versions SET defaults = ? WHERE name = ? AND version = ?",
                (text, found.name, found.version),
            )

    def back(self, name: str) -> dict[str, int]:
        """Where a roll-back of each alias would go; without those that have not been elsewhere."""
        conn = self.store.read()
        log = aliases.history(conn, KIND, name)
        found = {alias: _before(log, alias) for alias in aliases.all_aliases(conn, KIND, name)}
        return {alias: version for alias, version in found.items() if version is not None}

    def last_defaults(self, found: PromptVersion) -> tuple[int, Mapping[str, Any]] | None:
        """The settings of the last run of a version, with its number; None if there was none.

        Of a version that was never run they are those of the newest older one that was.
        """
        rows = self.store.rows(
            "SELECT version, defaults FROM prompt_versions WHERE name = ? AND version <= ? AND defaults != '{}' "
            "ORDER BY version DESC LIMIT 1",
            (found.name, found.version),
        )
        return next(((row[0], json.loads(row[1])) for row in rows), None)

    def _numbers(self, name: str) -> Sequence[int]:
        rows = self.store.rows("SELECT version FROM prompt_versions WHERE name = ?", (name,))
        if not rows:
            raise unknown_name("prompt", name, self.names(), "%prompt list shows what there is.")
        return [row[0] for row in rows]

    def _load(self, conn: sqlite3.Connection, name: str, version: int) -> PromptVersion:
        return _load(conn, name, version)

    def _parts(self, version: PromptVersion) -> Mapping[str, str]:
        return version.content.parts()

    def _aliases(self, name: str | None = None) -> Mapping[str, Mapping[str, int]]:
        """Where aliases point, by prompt."""
        only, values = ("AND name = ?", (KIND, name)) if name is not None else ("", (KIND,))
        found: dict[str, dict[str, int]] = {}
        for row in self.store.rows(
            f"SELECT name, alias, version FROM aliases WHERE kind = ? {only} ORDER BY alias", values
        ):
            found.setdefault(row[0], {})[row[1]] = row[2]
        return found

    def _moved(self, conn: sqlite3.Connection, name: str, alias: str) -> None:
        end_running(conn, name, alias, self.store.now())


def _before(log: Sequence[aliases.AliasChange], alias: str) -> int | None:
    """Where the alias pointed before: moves form a stack from which a roll-back takes the top."""
    stack: list[int] = []
    for change in log:
        if change.alias != alias:
            continue
        if change.version is None:
            stack.clear()
        elif len(stack) > 1 and change.version == stack[-2] and change.note.startswith("rollback"):
            stack.pop()
        elif not stack or stack[-1] != change.version:
            stack.append(change.version)
    return stack[-2] if len(stack) > 1 else None


def _load(
    conn: sqlite3.Connection, name: str, version: int, *, created: bool = False
) -> PromptVersion:
    row = conn.execute(
        f"SELECT {COLUMNS} FROM prompt_versions WHERE name = ? AND version = ?", (name, version)
    ).fetchone()
    return _made(row, aliases.all_aliases(conn, KIND, name), created=created)


def _made(row: sqlite3.Row, known: Mapping[str, int], *, created: bool = False) -> PromptVersion:
    return PromptVersion(
        name=row["name"],
        version=row["version"],
        content=from_json(row["content"]),
        content_hash=row["content_hash"],
        defaults=json.loads(row["defaults"]),
        note=row["note"],
        created_at=row["created_at"],
        notebook=row["notebook"],
        cell_id=row["cell_id"],
        aliases=tuple(alias for alias, version in known.items() if version == row["version"]),
        created=created,
    )
