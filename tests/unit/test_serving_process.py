"""Servers as processes: what cannot begin says why, and what runs is found and ended."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys

import pytest
from deploy_fakes import python
from serving_fakes import deployment

from llmops_jupyter.cli.program import run
from llmops_jupyter.deploy.serving import process
from llmops_jupyter.deploy.serving.keys import Keys
from llmops_jupyter.deploy.serving.places import bound, is_loopback, serving_folder
from llmops_jupyter.deploy.serving.process import Serving
from llmops_jupyter.errors import DeployError, OptionError, UnknownNameError


@pytest.fixture
def taken():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_a_port_that_is_taken_names_who_has_it_and_another_one(taken):
    with pytest.raises(DeployError, match=rf"Port {taken} is taken.*--port \d+"):
        bound("127.0.0.1", taken)


def test_a_port_that_a_server_of_ours_has_names_the_deployment(taken):
    pid, created = os.getpid(), __import__("psutil").Process().create_time()
    word = Serving("support", "127.0.0.1", taken, pid, created, "support")
    process.remember(word)
    with pytest.raises(DeployError, match=r"taken by 'support'.*%deploy stop support"):
        bound("127.0.0.1", taken)
    with pytest.raises(DeployError, match="served already"):
        process.start("support", port=0)
    process.forget(word)
    assert process.servers() == []


def test_small_pieces_are_sent_at_once():
    with bound("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP  # what asyncio goes by


def test_addresses_that_are_not_of_this_machine_are_refused():
    for host in ("203.0.113.7", "no such host", "\x00"):
        with pytest.raises(DeployError, match=r"--host|no address"):
            bound(host, 0)


def test_word_of_a_server_that_is_gone_is_taken_away():
    process.remember(Serving("old", "127.0.0.1", 1, 2**22 - 1, 1.0, "old"))
    (path,) = serving_folder().glob("old*.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert process.servers() == []
    assert not path.exists()
    with pytest.raises(UnknownNameError, match="There is no server 'old'"):
        process.stop("old")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("example.org", False),
        ("10.0.0.1", False),
    ],
)
def test_what_is_only_reached_from_this_machine_is_known(host, expected):
    assert is_loopback(host) is expected


def test_the_terminal_makes_lists_and_revokes_keys(capsys):
    assert run(["serve", "keys", "list"]) == 0
    assert "no key yet" in capsys.readouterr().out
    assert run(["serve", "keys", "add", "ann", "--per-minute", "30", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["key"].startswith("llmops-")
    assert run(["serve", "keys", "list"]) == 0
    listed = capsys.readouterr().out
    assert made["id"] in listed
    assert made["key"] not in listed
    assert run(["serve", "keys", "revoke", "ann"]) == 0
    assert run(["serve", "keys", "revoke", "ann"]) == 1
    assert run(["serve", "keys", "forget", "ann"]) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["support", "--no-auth", "--host", "0.0.0.0"], "this machine only"),
        (["support"], "There is no key"),
        (["one", "two"], "one thing at a time"),
        (["support", "--no-auth", "--max-running", "0"], "--max-running is at least 1"),
        (["support", "--no-auth", "--port", "0"], "no deployment"),
        (["./nowhere", "--no-auth", "--port", "0"], "There is no bundle"),
    ],
)
def test_what_cannot_be_served_says_why(words, said, capsys):
    assert run(["serve", *words]) == 1
    assert said in capsys.readouterr().err


def test_ports_and_names_that_cannot_be_are_refused():
    for port in (-1, 65536, "8000", True):
        with pytest.raises(OptionError, match="port is a number"):
            process.start("support", port=port)


def test_a_process_that_cannot_serve_says_why_and_leaves_no_key(tmp_path):
    with deployment(tmp_path / "home") as ws:
        ws.deploy.get("support").folder.joinpath("more.txt").write_text("")
        with pytest.raises(DeployError, match=r"could not be served.*'more.txt' not of the bundle"):
            ws.deploy.serve("support", port=0)
    assert Keys().all() == ()


def test_a_server_plays_from_a_cassette_of_its_own_beside_that_of_who_started_it(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("LLMOPS_REPLAY", str(tmp_path / "tour.cassette.json"))
    log = tmp_path / "log"
    code = "import os; print(os.environ['LLMOPS_REPLAY'])"
    child = process._spawn("support", [sys.executable, "-c", code], log, outlive=True, key_id="")
    assert child.wait(60) == 0
    assert log.read_text().strip() == str(tmp_path / "tour.cassette.support.json")


def test_two_servers_of_one_deployment_are_both_known_and_both_ended(monkeypatch):
    words = [Serving("support", "127.0.0.1", port, 2**22 + port, 1.0, "support") for port in (1, 2)]
    there = {one.pid for one in words}
    monkeypatch.setattr(process, "_is_there", lambda server: server.pid in there)
    monkeypatch.setattr(process, "_end", there.discard)
    for one in words:
        process.remember(one)
    assert process.servers() == words
    process.stop("support")
    assert there == set()
    assert process.servers() == []


class Child:
    """A process that was begun."""

    pid, ended = 4_000_001, False

    def terminate(self):
        self.ended = True


def test_a_start_that_is_interrupted_leaves_neither_a_server_nor_a_key(tmp_path, monkeypatch):
    child = Child()

    def pressed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "_spawn", lambda *_, **__: child)
    monkeypatch.setattr(process, "_begun", pressed)
    with pytest.raises(KeyboardInterrupt):
        process.start("support", port=0)
    assert child.ended
    assert Keys().all() == ()


def test_whoever_names_a_file_of_keys_is_given_none(tmp_path, monkeypatch):
    commands = []

    def begun(name, command, log, *, outlive, key_id):
        commands.append(command)
        assert key_id == ""
        return Child()

    word = Serving("support", "127.0.0.1", 1, 1, 1.0, "support")
    monkeypatch.setattr(process, "_spawn", begun)
    monkeypatch.setattr(process, "_begun", lambda *_: word)
    options = {"keys": str(tmp_path / "keys.json"), "alias": ["one", "two"], "only_prompt": True}
    assert process.start("support", port=0, options=options).key == ""
    assert Keys().all() == ()
    at = commands[0].index("--alias")
    assert commands[0][at : at + 5] == ["--alias", "one", "--alias", "two", "--only-prompt"]


def test_keys_that_another_process_is_changing_all_the_time_are_left_alone(tmp_path, monkeypatch):
    from filelock import FileLock

    monkeypatch.setattr("llmops_jupyter.deploy.serving.keys.LOCK_S", 0.05)
    with FileLock(tmp_path / "keys.lock"), pytest.raises(DeployError, match="another process"):
        Keys(tmp_path / "keys.json").add("ann")
    (tmp_path / "file").write_text("")
    with pytest.raises(DeployError, match="Make its folder writable"):
        Keys(tmp_path / "file" / "keys.json").add("ann")


FILES = """
import resource
from llmops_jupyter.deploy.serving.server import OTHER_FILES, have_files
resource.setrlimit(resource.RLIMIT_NOFILE, (64, {hard}))
have_files(300)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0] - OTHER_FILES)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
@pytest.mark.parametrize(("hard", "left"), [(2_000, 300), (600, 88)])
def test_a_server_has_files_for_its_connections_as_far_as_it_may(hard, left):
    done = subprocess.run(
        python(FILES.format(hard=hard)), capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == left
    assert ("ulimit -n" in done.stderr) == (left < 300)
