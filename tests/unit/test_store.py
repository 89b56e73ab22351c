"""The store: one file, many users, nothing lost."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import psutil
import pytest

import llmops_jupyter as lo
from llmops_jupyter.errors import (
    OptionError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
    StoreVersionError,
    UnknownNameError,
)
from llmops_jupyter.store import aliases, find_store_path, location, maintenance, open_store
from llmops_jupyter.store.connection import NetworkDriveWarning
from llmops_jupyter.store.migrations import MIGRATIONS


def put(store, key, value="1"):
    with store.write() as conn:
        conn.execute("INSERT OR REPLACE INTO settings(key, value) VALUES (?, ?)", (key, value))


def keys(store):
    return [row[0] for row in store.rows("SELECT key FROM settings ORDER BY key")]


def test_the_nearest_store_upward_is_found_else_the_project_root(tmp_path, monkeypatch):
    monkeypatch.delenv("LLMOPS_HOME")
    (tmp_path / ".git").mkdir()
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert find_store_path(deep) == tmp_path / ".llmops" / "llmops.db"
    (tmp_path / "a" / ".llmops").mkdir()
    (tmp_path / "a" / ".llmops" / "llmops.db").touch()
    assert find_store_path(deep) == tmp_path / "a" / ".llmops" / "llmops.db"


def test_the_folder_is_its_owners_alone_and_ignored_by_git(tmp_path):
    with open_store(tmp_path) as store:
        assert store.path == tmp_path / ".llmops" / "llmops.db"
        assert store.journal_mode == "wal"
    assert (tmp_path / ".llmops" / ".gitignore").read_text() == "*\n"
    if os.name == "posix":
        assert (tmp_path / ".llmops").stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_only_its_owner_can_read_a_store_in_a_folder_that_was_there(tmp_path, monkeypatch):
    tmp_path.chmod(0o755)
    monkeypatch.setenv("LLMOPS_HOME", str(tmp_path))
    with open_store() as store:
        put(store, "a")
        maintenance.backup(store, tmp_path / "copy.bak")
        kept = sorted(tmp_path.iterdir())
        assert [p.name for p in kept if p.name != ".gitignore" and p.stat().st_mode & 0o077] == []
    assert {p.name for p in kept} >= {"llmops.db", "llmops.db-wal", "llmops.db-shm", "copy.bak"}
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert (tmp_path / ".gitignore").read_text() == "/llmops.db*\n"
    (tmp_path / "llmops.db").chmod(0o644)
    open_store().close()
    assert (tmp_path / "llmops.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_the_backup_of_an_upgrade_is_its_owners_alone(tmp_path, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr("llmops_jupyter.store.migrations.MIGRATIONS", MIGRATIONS[:3])
        open_store(tmp_path / "old.db").close()
    open_store(tmp_path / "old.db").close()
    assert next(tmp_path.glob("*.bak")).stat().st_mode & 0o077 == 0


def test_a_folder_that_holds_a_store_is_opened_as_the_home_that_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMOPS_HOME", str(tmp_path))
    with open_store() as store:
        put(store, "a")
    with open_store(tmp_path) as store:
        assert store.path == tmp_path / "llmops.db"
        assert keys(store) == ["a"]
    assert not (tmp_path / ".llmops").exists()


@pytest.mark.parametrize(
    ("given", "file"),
    [
        (".llmops", ".llmops/llmops.db"),
        ("new", "new/.llmops/llmops.db"),
        ("new.project/", "new.project/.llmops/llmops.db"),
        ("new/.llmops", "new/.llmops/llmops.db"),
        ("work.db", "work.db"),
    ],
)
def test_a_path_where_nothing_is_yet_is_a_file_only_if_its_name_has_an_ending(
    tmp_path, monkeypatch, given, file
):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        with open_store(given) as store:
            assert store.path == tmp_path / file
    assert [p for p in tmp_path.rglob("*.db") if p.is_file()] == [tmp_path / file]


def test_many_can_open_a_new_store_at_once(tmp_path):
    faults = []

    def first(path, start):
        start.wait()
        try:
            open_store(path).close()
        except Exception as e:
            faults.append(e)

    for n in range(15):
        start = threading.Barrier(4)
        path = tmp_path / str(n) / "sub" / "llmops.db"
        threads = [threading.Thread(target=first, args=(path, start)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert faults == []


def test_an_exception_rolls_back_the_whole_write(tmp_path):
    with open_store(tmp_path) as store:
        with pytest.raises(ValueError, match="stop"), store.write() as conn:
            conn.execute("INSERT INTO settings VALUES ('a', '1')")
            raise ValueError("stop")
        assert keys(store) == []


def test_every_migration_says_why():
    assert [m.__name__[:4] for m in MIGRATIONS] == [
        f"m{i:03}" for i in range(1, len(MIGRATIONS) + 1)
    ]
    assert all(m.__doc__ for m in MIGRATIONS)


def test_an_older_file_is_upgraded_with_a_backup_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "old.db"
    with monkeypatch.context() as older:
        older.setattr("llmops_jupyter.store.migrations.MIGRATIONS", MIGRATIONS[:3])
        with open_store(path) as store:
            put(store, "kept")
    with open_store(path) as store:
        assert keys(store) == ["kept"]
        assert store.rows("PRAGMA user_version")[0][0] == len(MIGRATIONS)
    backup = next(tmp_path.glob("old.db.schema-3.*.bak"))
    with sqlite3.connect(backup) as conn:
        assert conn.execute("SELECT key FROM settings").fetchall() == [("kept",)]
    conn.close()


def test_a_newer_file_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "new.db"
    open_store(path).close()
    conn = sqlite3.connect(path)
    conn.execute("PRAGMA user_version=999")
    conn.close()
    before = path.read_bytes()
    with pytest.raises(StoreVersionError, match="pip install -U"):
        open_store(path)
    assert path.read_bytes() == before


def test_a_file_of_another_program_is_left_alone(tmp_path):
    path = tmp_path / "other.db"
    conn = sqlite3.connect(path)
    conn.execute("CREATE TABLE t (x)")
    conn.close()
    path.chmod(0o644)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        open_store(path)
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o644 or os.name != "posix"


def test_damaged_files_are_named_and_left_as_they_are(tmp_path):
    junk = tmp_path / "junk.db"
    junk.write_bytes(b"not sqlite at all" * 100)
    with pytest.raises(StoreCorruptError, match="backup"):
        open_store(junk)
    assert junk.read_bytes() == b"not sqlite at all" * 100
    torn = tmp_path / "torn.db"
    with open_store(torn) as store:
        put(store, "a", "x" * 100_000)
        store.write().__enter__().execute("COMMIT")
        store.writer().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw = bytearray(torn.read_bytes())
    raw[4096 : 4096 * 8] = b"\xff" * (4096 * 7)
    torn.write_bytes(raw)
    with pytest.raises(StoreCorruptError), open_store(torn) as store:
        store.rows("SELECT * FROM settings")
        assert not maintenance.check(store)
        raise AssertionError("the damage was not noticed")


def test_a_full_disk_is_said_and_loses_nothing(tmp_path):
    with open_store(tmp_path) as store:
        put(store, "before")
        with store.lock:
            pages = store.writer().execute("PRAGMA page_count").fetchone()[0]
            store.writer().execute(f"PRAGMA max_page_count={pages + 2}")
        with pytest.raises(StoreFullError, match="free some space"):
            put(store, "big", "x" * 1_000_000)
        assert keys(store) == ["before"]


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    code = (
        "import os, sys\n"
        "from llmops_jupyter.store import open_store\n"
        "from llmops_jupyter.errors import StoreReadOnlyError\n"
        "if os.getuid() == 0: os.setuid(65534)\n"
        "try: open_store(sys.argv[1])\n"
        "except StoreReadOnlyError as e: print(e)\n"
    )
    for parent in [tmp_path, *tmp_path.parents[:3]]:
        parent.chmod(parent.stat().st_mode | 0o055) if parent.owner() == folder.owner() else None
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False
    )
    assert "LLMOPS_HOME" in done.stdout, done.stderr


def test_a_network_drive_gets_a_warning_and_a_rollback_journal(tmp_path, monkeypatch):
    monkeypatch.setattr(location, "is_network_drive", lambda path: True)
    with pytest.warns(NetworkDriveWarning, match="network drive"):
        store = open_store(tmp_path)
    assert store.journal_mode == "delete"
    put(store, "works")
    assert keys(store) == ["works"]
    store.close()


def test_this_machines_drive_is_no_network_drive(tmp_path):
    assert location.is_network_drive(tmp_path) is False


def test_a_network_drive_is_found_whatever_is_in_its_name(tmp_path, monkeypatch):
    names = ["plain", "two words", "tab\there", "back\\slash", "a\u00a0b\u3000c\u2028d", "\udcff"]
    rows = ["/dev/root / ext4 rw 0 0"]
    for name in names:
        kept = name.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011")
        rows += [f"there:/x /net/{kept} nfs4 rw 0 0", f"here /net/{kept}/own ext4 rw 0 0"]
    rows += ["there:/y /over nfs rw 0 0", "here /over ext4 rw 0 0"]
    file = tmp_path / "mounts"
    file.write_bytes("\n".join([*rows, ""]).encode("utf-8", "surrogateescape"))
    found = location._mounts(file)
    assert [mount for mount, kind in found if kind == "nfs4"] == [f"/net/{n}" for n in names]
    monkeypatch.setattr(location, "_mounts", lambda: found)
    for name in names:
        assert location.is_network_drive(Path(f"/net/{name}/deep/store.db"))
        assert not location.is_network_drive(Path(f"/net/{name}/own/store.db"))
        assert not location.is_network_drive(Path(f"/net/{name}2/store.db"))
    assert not location.is_network_drive(Path("/over/store.db")), "what was mounted last counts"


def test_without_the_systems_list_the_mounts_are_asked_for(tmp_path):
    told = {(p.mountpoint, p.fstype) for p in psutil.disk_partitions(all=True)}
    assert set(location._mounts(tmp_path / "missing")) == told


def test_readers_do_not_write(tmp_path):
    with open_store(tmp_path) as store:
        put(store, "a")
    with open_store(tmp_path, read_only=True) as reader:
        assert keys(reader) == ["a"]
        with pytest.raises(StoreReadOnlyError):
            put(reader, "b")


def test_a_backup_is_whole_and_never_overwrites(tmp_path):
    with open_store(tmp_path) as store:
        put(store, "a")
        target = maintenance.backup(store, tmp_path / "copy.db")
        with pytest.raises(OptionError, match="already"):
            maintenance.backup(store, target)
        assert maintenance.check(store) == []
    with open_store(target) as copy:
        assert keys(copy) == ["a"]


def test_threads_and_processes_write_at_once_without_error(tmp_path):
    code = (
        "import sys\nfrom llmops_jupyter.store import open_store\n"
        "s = open_store(sys.argv[1])\n"
        "for i in range(100):\n"
        "    with s.write() as c: c.execute('INSERT INTO settings VALUES (?, 1)', (f'{sys.argv[2]}-{i}',))\n"
    )
    with open_store(tmp_path) as store:
        children = [
            subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(n)]) for n in range(3)
        ]
        threads = [
            threading.Thread(target=lambda n=n: [put(store, f"t{n}-{i}") for i in range(100)])
            for n in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [child.wait() for child in children] == [0, 0, 0]
        assert len(keys(store)) == 600


def test_the_alias_log_cannot_be_rewritten():
    with open_store(":memory:") as store:
        with store.write() as conn:
            aliases.set_alias(conn, "prompt", "p", "production", 1)
            aliases.set_alias(conn, "prompt", "p", "production", 2)
        with pytest.raises(sqlite3.IntegrityError, match="append-only"), store.write() as conn:
            conn.execute("DELETE FROM alias_log")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"), store.write() as conn:
            conn.execute("UPDATE alias_log SET version = 9")
        log = aliases.history(store.read(), "prompt", "p")
        assert [(c.version, c.previous) for c in log] == [(1, None), (2, 1)]


@pytest.mark.parametrize("alias", ["3", "latest", "Prod", ""])
def test_an_alias_is_never_a_number_or_latest(alias):
    with open_store(":memory:") as store, pytest.raises(OptionError), store.write() as conn:
        aliases.set_alias(conn, "prompt", "p", alias, 1)


def test_an_unknown_alias_proposes_the_near_one():
    with open_store(":memory:") as store:
        with store.write() as conn:
            aliases.set_alias(conn, "prompt", "p", "production", 1)
        with pytest.raises(UnknownNameError, match="Did you mean 'production'"):
            aliases.resolve(store.read(), "prompt", "p", "prodution", [1])


def test_no_warning_is_left_behind(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_store(tmp_path).close()
    assert (tmp_path / ".llmops" / "llmops.db").is_file()


ANOTHER = """
import sys
import llmops_jupyter as lo
with lo.open(sys.argv[1]) as ws:
    with ws.tracer.span("theirs"):
        pass
    print([t.name for t in ws.traces.newest(10)])
"""


def test_opening_a_store_again_keeps_the_locks_of_the_first(tmp_path):
    """POSIX drops all of a process's locks on a file when it closes any descriptor of it."""
    path = tmp_path / "store.db"

    def another():
        done = subprocess.run(
            [sys.executable, "-c", ANOTHER, str(path)], capture_output=True, text=True, check=True
        )
        return done.stdout

    with lo.open(path) as first:
        with first.tracer.span("mine"):
            pass
        lo.open(path).close()
        another()  # the last to close removes the log, unless somebody else holds a lock
        with first.tracer.span("mine, later"):
            pass
        assert [t.name for t in first.traces.newest(10)] == ["mine, later", "theirs", "mine"]
        assert "mine, later" in another()
