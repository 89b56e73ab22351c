"""A shared worker stays up, whoever comes: strangers, hostile bytes, a client that is killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import pytest
from processes import wait_until
from worker_calls import posix, spec

from llmops_jupyter.engine.worker.link import PROTOCOL, authenticate_server, dial
from llmops_jupyter.engine.worker.sharing import open_engine
from llmops_jupyter.engine.worker.spec import VERSION


@pytest.fixture
def shared(runtime):
    """A shared worker with its address and key."""
    engine = open_engine(spec(), idle_s=0.1).engine
    (key,) = runtime.glob("*.key")
    yield engine, str(key.with_suffix(".sock")), key.read_bytes()
    engine.close()


@posix
@pytest.mark.parametrize(
    "data", [b"", b"\xff" * 64, b"\x7f\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n"]
)
def test_strangers_are_turned_away(shared, data):
    import socket

    engine, address, _ = shared
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(address)
        stranger.sendall(data)
    assert engine.count_tokens("four") == 4


@posix
@pytest.mark.parametrize(
    "frames",
    [
        [b"not json"],
        [b"[" * 50_000],
        [b"{}"],
        [b"[5]"],
        [b'[{"op":"nothing","id":1}]'],
        [b'[{"op":"call","id":"x","method":"score"}]'],
        [b'[{"op":"call","id":1,"method":"__class__"}]'],
        [b'[{"op":"call","id":1,"method":"generate","args":5}]'],
        [b'[{"op":"call","id":1,"method":"generate"},{"op":"call","id":1,"method":"generate"}]'],
        [b'[{"op":"call","id":1,"method":"generate"},{"op":"request","id":1,"request":{"id":5}}]'],
        [b'[{"op":"call","id":1,"method":"score","args":{"items":[[1]]}}]'],
        [b'[{"op":"call","id":%d,"method":"generate"}]' % n for n in range(300)],
    ],
)
def test_hostile_bytes_end_at_most_their_own_connection(shared, frames):
    engine, address, key = shared
    conn = dial(address)
    authenticate_server(conn, key)
    conn.send_bytes(
        b'{"protocol":%d,"version":"%s","key":"%s","pid":1,"name":""}'
        % (PROTOCOL, VERSION.encode(), spec().key().encode())
    )
    assert b"welcome" in conn.recv_bytes()
    with contextlib.suppress(OSError):
        for frame in frames:
            conn.send_bytes(frame)
    with contextlib.suppress(OSError, EOFError):
        while conn.poll(0.3):
            conn.recv_bytes()
    conn.close()
    assert engine.count_tokens("four") == 4
    assert wait_until(lambda: engine.status()["active"] == 0)


@posix
def test_a_message_that_says_it_is_huge_is_not_waited_for(shared):
    engine, address, key = shared
    conn = dial(address)
    authenticate_server(conn, key)
    os.write(conn.fileno(), b"\xff\xff\xff\xff" + (2**40).to_bytes(8, "big"))
    assert conn.poll(10)
    with pytest.raises((EOFError, OSError)):
        conn.recv_bytes()
    conn.close()
    assert engine.count_tokens("four") == 4


@posix
@pytest.mark.parametrize("key", [b"x" * 32, b""])
def test_a_wrong_key_is_not_let_in(shared, key):
    engine, address, _ = shared
    conn = dial(address)
    with pytest.raises(Exception, match=r"rejected|digest|end"):
        authenticate_server(conn, key)
    conn.close()
    assert engine.count_tokens("four") == 4


@posix
def test_a_client_killed_in_mid_answer_has_its_request_cancelled(shared):
    engine, _, _ = shared
    code = (
        "from worker_fakes import FACTORY\n"
        "from llmops_jupyter.engine.protocol import Request\n"
        "from llmops_jupyter.engine.worker.sharing import open_engine\n"
        "from llmops_jupyter.engine.worker.spec import Spec\n"
        "engine = open_engine(Spec('/fake', 'fake', 'digest', factory=FACTORY)).engine\n"
        "for event in engine.generate([Request('r', text='words 100000 0.01')]):\n"
        "    print(engine.pid, flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert int(child.stdout.readline()) == engine.pid
    assert engine.status()["active"] == 1
    assert len(engine.status()["users"]) == 2
    child.kill()
    child.communicate()
    assert wait_until(lambda: engine.status()["active"] == 0)
    assert len(engine.status()["users"]) == 1
    assert engine.status()["cancelled"] == 1
