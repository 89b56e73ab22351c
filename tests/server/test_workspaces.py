"""Which workspaces a server shows, and what happens when their files change under it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

import llmops_jupyter as lo
from llmops_jupyter.errors import UnknownNameError
from llmops_jupyter.server.handles import Handles
from llmops_jupyter.server.service import Service
from llmops_jupyter.server.workers import Workers
from llmops_jupyter.server.workspaces import Workspaces
from llmops_jupyter.store import open_store


def make(folder: Path) -> Path:
    """A store in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with lo.open(folder) as ws:
        assert ws.path is not None
        return ws.path


def names(root: Path, **options) -> list[str]:
    return [found.path for found in Workspaces(root, **options).found()]


def test_stores_are_found_below_the_root_and_nowhere_else(tmp_path):
    root = tmp_path / "root"
    for place in ("a", "b/c", "b/c/d", ".hidden/x", "node_modules/y", "env/lib"):
        make(root / place)
    (root / "env" / "pyvenv.cfg").touch()
    make(tmp_path / "beside")
    assert names(root) == [
        "a/.llmops/llmops.db",
        "b/c/.llmops/llmops.db",
        "b/c/d/.llmops/llmops.db",
    ]


def test_links_are_followed_only_where_they_stay_inside(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    make(root / "real")
    secret = make(outside / "secret")
    (root / "out").symlink_to(outside)
    (root / "in").symlink_to(root / "real")
    (root / "circle").symlink_to(root)
    (root / "fake" / ".llmops").mkdir(parents=True)
    (root / "fake" / ".llmops" / "llmops.db").symlink_to(secret)
    (root / "other").mkdir()
    (root / "other" / ".llmops").symlink_to(outside / "secret" / ".llmops")
    (root / "loop").symlink_to(root / "loop")
    assert names(root) == ["real/.llmops/llmops.db"]


def test_a_folder_that_only_begins_like_the_root_is_outside(tmp_path):
    make(tmp_path / "root-of-another")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "x").symlink_to(tmp_path / "root-of-another")
    assert names(tmp_path / "root") == []


def test_the_walk_has_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr("llmops_jupyter.server.workspaces.MOST_FOLDERS", 20)
    make(tmp_path / "a")
    for number in range(100):
        (tmp_path / "many" / str(number) / "deep").mkdir(parents=True)
    make(tmp_path / "many" / "99" / "deep" / "z")
    assert names(tmp_path) == ["a/.llmops/llmops.db"]
    monkeypatch.setattr("llmops_jupyter.server.workspaces.MOST_FOLDERS", 4_000)
    monkeypatch.setattr("llmops_jupyter.server.workspaces.DEPTH", 2)
    assert names(tmp_path) == ["a/.llmops/llmops.db"]


def test_the_store_that_a_kernel_in_the_root_uses_comes_first_though_it_lies_above(
    tmp_path, monkeypatch
):
    monkeypatch.delenv("LLMOPS_HOME")
    (tmp_path / "project" / ".git").mkdir(parents=True)
    make(tmp_path / "project")
    root = tmp_path / "project" / "notebooks"
    make(root / "inner")
    assert names(root) == ["../.llmops/llmops.db", "inner/.llmops/llmops.db"]
    assert names(root, enclosing=False) == ["inner/.llmops/llmops.db"]


def test_a_new_store_is_found_soon_and_an_id_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("llmops_jupyter.server.workspaces.FRESH_S", 0.0)
    monkeypatch.setattr("llmops_jupyter.server.workspaces.SHARE", 0)
    make(tmp_path / "b")
    found = Workspaces(tmp_path)
    (before,) = found.found()
    make(tmp_path / "a")
    assert [one.name for one in found.found()] == ["a", "b"]
    assert found.get(before.id).file == before.file
    assert Workspaces(tmp_path).get(before.id).file == before.file


def test_a_workspace_that_is_known_is_found_without_a_walk(tmp_path, monkeypatch):
    """A walk through many folders takes a while, and all that is asked meanwhile would wait for it."""
    monkeypatch.setattr("llmops_jupyter.server.workspaces.FRESH_S", 0.0)
    monkeypatch.setattr("llmops_jupyter.server.workspaces.SHARE", 0)
    file, walks = make(tmp_path / "a"), []
    found = Workspaces(tmp_path)
    (known,) = found.found()
    walk = found._walk
    monkeypatch.setattr(found, "_walk", lambda: walks.append(1) or walk())
    assert found.get(known.id).file == file
    assert walks == []
    with pytest.raises(UnknownNameError):
        found.get("another")
    assert walks == [1]
    # Nor is it taken for one where it has become a way out.
    outside = make(tmp_path.parent / f"{tmp_path.name}-beside")
    shutil.rmtree(file.parent)
    file.parent.symlink_to(outside.parent)
    with pytest.raises(UnknownNameError):
        found.get(known.id)


def test_two_workspaces_are_kept_apart(tmp_path, quiet):
    from servers import Server

    for name in ("a", "b"):
        with lo.open(tmp_path / "root" / name) as ws:
            ws.prompts.save(f"prompt-of-{name}", "user: x")
    with Server(tmp_path / "root") as server:
        found = []
        for place in (0, 1):
            path = f"workspaces/{server.id_of(place)}/prompts"
            found += [p["name"] for p in server.client.get(path).json()["items"]]
        assert found == ["prompt-of-a", "prompt-of-b"]
        other = f"workspaces/{server.id_of(1)}/prompts/prompt-of-a"
        assert server.client.get(other).status_code == 404


def test_a_server_below_an_address_of_its_own_has_the_routes_there(tmp_path, quiet):
    from servers import Server

    make(tmp_path / "root" / "a")
    with Server(tmp_path / "root", base_url="/user/me/") as server:
        assert server.get("traces").status_code == 200
        outside = server.address.replace("/user/me", "")
        assert server.client.get(f"{outside}workspaces").status_code == 404


def test_a_store_that_was_deleted_is_gone_and_one_that_took_its_place_is_read(own):
    server = own.server
    path = f"workspaces/{server.id_of()}"
    own.ws.prompts.save("before", "user: x")
    assert server.client.get(f"{path}/prompts/before").status_code == 200
    file = own.ws.path
    own.ws.close()
    with lo.open(own.root.parent / "other") as other:
        other.prompts.save("after", "user: y")
    shutil.rmtree(file.parent)
    gone = server.client.get(f"{path}/prompts")
    assert (gone.status_code, gone.json()["error"]["kind"]) == (404, "UnknownNameError")
    assert server.client.get("workspaces").json()["items"] == []
    shutil.copytree(other.path.parent, file.parent)
    names = [p["name"] for p in server.client.get(f"{path}/prompts").json()["items"]]
    assert names == ["after"]


def test_a_damaged_store_is_told_and_left_alone(tmp_path, quiet):
    from servers import Server

    folder = tmp_path / "root" / "a" / ".llmops"
    folder.mkdir(parents=True)
    (folder / "llmops.db").write_bytes(b"no database at all" * 100)
    with Server(tmp_path / "root") as server:
        got = server.get("traces")
        assert (got.status_code, got.json()["error"]["kind"]) == (500, "StoreCorruptError")
        assert server.client.get("workspaces").status_code == 200
    assert (folder / "llmops.db").read_bytes() == b"no database at all" * 100


def test_an_older_store_is_not_upgraded_by_looking_but_by_changing(tmp_path, quiet, monkeypatch):
    from servers import Server

    from llmops_jupyter.store import migrations

    steps = migrations.MIGRATIONS
    monkeypatch.setattr(migrations, "MIGRATIONS", steps[:-1])
    with lo.open(tmp_path / "root" / "a") as ws:
        ws.prompts.save("reply", "user: x")
        file = ws.path
    monkeypatch.setattr(migrations, "MIGRATIONS", steps)
    with Server(tmp_path / "root") as server:
        got = server.get("prompts")
        assert (got.status_code, got.json()["error"]["kind"]) == (500, "StoreVersionError")
        assert "Open it once for writing" in got.json()["error"]["message"]
        assert version_of(file) == len(steps) - 1
        body = {"version": 1, "expected": None}
        changed = server.send("PUT", "prompts/reply/aliases/production", body)
        assert changed.status_code == 200
        assert version_of(file) == len(steps)
        assert list(file.parent.glob("*.bak"))
        assert server.get("prompts").status_code == 200


def test_a_store_of_a_newer_release_is_left_alone(own):
    with own.ws.store.write() as conn:
        conn.execute("PRAGMA user_version=999")
    own.ws.close()
    for got in (
        own.server.get("traces"),
        own.server.send("POST", "datasets/a/traces", {"traces": ["ab"]}),
    ):
        assert (got.status_code, got.json()["error"]["kind"]) == (500, "StoreVersionError")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes everywhere")
def test_in_a_folder_that_cannot_be_written_one_can_look(own):
    own.ws.prompts.save("reply", "user: x")
    own.ws.close()
    own.ws.path.parent.chmod(0o500)
    try:
        check_read_only(own)
    finally:
        own.ws.path.parent.chmod(0o700)


def test_in_a_folder_that_counts_as_read_only_one_can_look(own, monkeypatch):
    """The same for root, who is told of no rights: the file system says that nothing can be written there."""
    own.ws.prompts.save("reply", "user: x")
    own.ws.close()
    folder, real = own.ws.path.parent, os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder and real(path, mode))

    def refused(*_args, **_options):
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr("llmops_jupyter.store.connection.Store.begin", refused)
    check_read_only(own)


def check_read_only(own) -> None:
    assert own.server.get("prompts/reply").status_code == 200
    body = {"version": 1, "expected": None}
    got = own.server.send("PUT", "prompts/reply/aliases/production", body)
    assert (got.status_code, got.json()["error"]["kind"]) == (403, "StoreReadOnlyError")
    assert own.server.get("prompts/reply").json()["aliases"] == {}


def version_of(file: Path) -> int:
    with closing(sqlite3.connect(file)) as conn:
        return conn.execute("PRAGMA user_version").fetchone()[0]


def test_looking_writes_nothing_into_a_store(own):
    own.ws.prompts.save("reply", "user: x")
    generation = own.ws.store.generation()
    for path in ("versions", "traces", "facets", "prompts", "models", "trainings", "indexes"):
        assert own.server.get(path).status_code == 200
    for path in ("monitor", "status", "evaluations", "datasets", "traces?q=x"):
        assert own.server.client.get(f"workspaces/{own.server.id_of()}/{path}").status_code == 200
    assert own.ws.store.generation() == generation


def test_only_so_many_workspaces_stay_open_and_all_are_closed_at_the_end(tmp_path):
    for name in "abcde":
        make(tmp_path / name)
    found = Workspaces(tmp_path).found()
    handles = Handles(Workers(), most=2)
    opened = []
    for one in found:
        with handles.reading(one) as handle:
            opened.append(handle)
            assert handle.workspace.store.row("SELECT 1") is not None
    assert [handle.workspace.store.closed for handle in opened] == [True] * 3 + [False] * 2
    handles.close()
    assert all(handle.workspace.store.closed for handle in opened)


def test_a_workspace_in_use_is_closed_only_after_that(tmp_path):
    for name in "ab":
        make(tmp_path / name)
    first, second = Workspaces(tmp_path).found()
    handles = Handles(Workers(), most=1)
    with handles.reading(first) as handle:
        with handles.reading(second):
            pass
        assert not handle.workspace.store.closed
        assert handle.workspace.store.row("SELECT 1") is not None
    assert handle.workspace.store.closed
    handles.close()


def test_many_threads_share_one_open_workspace(tmp_path):
    make(tmp_path / "a")
    (found,) = Workspaces(tmp_path).found()
    handles, seen = Handles(Workers()), set()
    start = threading.Barrier(8)

    def look() -> None:
        start.wait(10)
        for _ in range(20):
            with handles.reading(found) as handle:
                seen.add(handle)
                handle.workspace.store.row("SELECT count(*) FROM spans")

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(seen) == 1
    handles.close()


def test_writing_to_a_store_that_is_gone_makes_no_new_one(tmp_path):
    file = make(tmp_path / "a")
    (found,) = Workspaces(tmp_path).found()
    shutil.rmtree(file.parent)
    handles = Handles(Workers())
    with pytest.raises(UnknownNameError, match="deleted or replaced"), handles.writing(found):
        pass
    assert not file.parent.exists()


def test_the_server_leaves_the_workspace_of_its_process_alone(tmp_path):
    make(tmp_path / "a")
    (found,) = Workspaces(tmp_path).found()
    with lo.open(tmp_path / "mine") as mine:
        with Handles(Workers()).writing(found) as other:
            assert other.path != mine.path
        with lo.span("work") as span:
            pass
        assert mine.traces.get(span.trace_id).status == "ok"


async def test_a_service_turns_away_what_it_cannot_answer_soon(tmp_path, monkeypatch):
    import asyncio

    from llmops_jupyter.server.service import ServerBusyError

    monkeypatch.setattr("llmops_jupyter.server.service.MOST_WAITING", 2)
    service, hold, done = Service(tmp_path, threads=1), threading.Event(), []
    waiting = [asyncio.ensure_future(service.run(hold.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(ServerBusyError, match="Try again"):
        await service.run(lambda: done.append(1))
    # Who hangs up takes back what has not begun.
    waiting[1].cancel()
    await asyncio.sleep(0)
    follower = asyncio.ensure_future(service.run(lambda: done.append(2)))
    await asyncio.sleep(0)
    hold.set()
    await follower
    assert done == [2]
    service.close()
    with pytest.raises(ServerBusyError):
        await service.run(lambda: None)


def test_closing_a_service_leaves_neither_threads_nor_connections(tmp_path, quiet):
    from servers import Server

    make(tmp_path / "root" / "a")
    with Server(tmp_path / "root") as server:
        server.get("traces")
        service = server.service
        (handle,) = service.handles._open.values()
    assert handle.workspace.store.closed
    assert not [t for t in threading.enumerate() if t.name.startswith("llmops-server")]


def test_who_hangs_up_does_no_harm(own, monkeypatch):
    import socket

    monkeypatch.setattr(
        "llmops_jupyter.server.routes.status.status", lambda _: threading.Event().wait(0.3) or {}
    )
    host, port = own.server.app.ip, own.server.app.port
    path = f"/llmops/v1/workspaces/{own.server.id_of()}/status?token=a-token-of-the-tests"
    for _ in range(6):
        with socket.create_connection((host, port)) as line:
            line.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    assert own.server.get("versions").status_code == 200


def test_the_store_can_be_opened_for_reading_by_others_meanwhile(own):
    own.server.get("versions")
    with open_store(own.ws.path, read_only=True) as store:
        assert store.row("SELECT 1") is not None
