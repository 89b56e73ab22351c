"""Downloads from a hub on the loopback interface that can misbehave on purpose."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from llmops_jupyter.errors import DownloadError, MissingDependencyError, OptionError
from llmops_jupyter.models import Models, Roots, hub, transfer
from llmops_jupyter.store import open_store

huggingface_hub = pytest.importorskip("huggingface_hub")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SOURCE = "hf:org/repo/tiny-q8.gguf"
NAME = "tiny-q8.gguf"


@dataclass
class Hub:
    """What the server has and how it behaves."""

    files: dict[str, bytes]
    url: str = ""
    token: str = ""
    refuse: tuple[int, str] | None = None
    cuts: list[int] = field(default_factory=list)
    busy: int = 0
    damage: bool = False
    ranges: bool = True
    plain: bool = False
    redirect: str = ""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    def asked(self, method):
        return [r for r in self.requests if r[0] == method]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        return

    def do_HEAD(self):
        self.answer(send=False)

    def do_GET(self):
        self.answer(send=True)

    def answer(self, *, send):
        state: Hub = self.server.state
        state.requests.append((self.command, self.path, self.headers.get("Range", "")))
        state.tokens.append(self.headers.get("Authorization", ""))
        path = unquote(self.path)
        if state.plain:
            return self.reply(200, b"<html>hello</html>", send=send)
        if path.startswith("/api/models/org/repo/revision/"):
            listing = {"siblings": [{"rfilename": n} for n in [*state.files, "README.md"]]}
            return self.reply(200, json.dumps(listing).encode(), send=send)
        if path.startswith("/cdn/"):
            return self.serve(path.removeprefix("/cdn/"), send=send)
        if state.refuse is not None:
            status, code = state.refuse
            return self.reply(status, b"", send=send, **({"X-Error-Code": code} if code else {}))
        if not path.startswith("/org/repo/resolve/"):
            return self.reply(401, b"", send=send, **{"X-Error-Code": "RepoNotFound"})
        place = self.path.removeprefix("/org/repo/resolve/")
        revision, _, name = map(unquote, place.partition("/"))
        if revision not in ("main", "feature/x", COMMIT):
            return self.reply(404, b"", send=send, **{"X-Error-Code": "RevisionNotFound"})
        if name not in state.files:
            return self.reply(404, b"", send=send, **{"X-Error-Code": "EntryNotFound"})
        if state.redirect:
            return self.reply(
                302, b"", send=send, Location=state.redirect + name, **self.tell(name)
            )
        return self.serve(name, send=send)

    def tell(self, name):
        content = self.server.state.files[name]
        return {
            "X-Repo-Commit": COMMIT,
            "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Linked-Size": str(len(content)),
        }

    def serve(self, name, *, send):
        state: Hub = self.server.state
        content, status, extra = state.files[name], 200, self.tell(name)
        if send and state.busy:
            state.busy -= 1
            return self.reply(503, b"", send=True)
        asked = self.headers.get("Range", "")
        if asked and state.ranges:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            extra["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content, status = content[start:], 206
        if state.damage:
            content = bytes([content[0] ^ 1]) + content[1:]
        return self.reply(status, content, send=send, **extra)

    def reply(self, status, content, *, send, **headers):
        state: Hub = self.server.state
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if not send:
            return
        if state.cuts and status in (200, 206):
            self.wfile.write(content[: state.cuts.pop(0)])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(content)


def serve(state):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.state = state
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    return server, thread


@pytest.fixture
def content():
    return np.random.default_rng(3).bytes(700_000)


@pytest.fixture
def server(content, tmp_path, monkeypatch):
    state = Hub({NAME: content, "tiny-f16.gguf": content[:1000]})
    running, thread = serve(state)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", state.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(transfer, "FIRST_PAUSE_S", 0.0)
    yield state
    running.shutdown()
    running.server_close()
    thread.join()


def parts(tmp_path):
    return sorted((tmp_path / "hf").rglob("*.part"))


def test_a_pulled_file_is_whole_and_where_huggingface_hub_looks(server, content, tmp_path):
    seen = []
    path = hub.pull(SOURCE, progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == content
    assert seen[-1] == (len(content), len(content))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    found = huggingface_hub.hf_hub_download(
        "org/repo", NAME, cache_dir=tmp_path / "hf" / "hub", local_files_only=True
    )
    assert str(path) == found
    assert parts(tmp_path) == []


def test_a_second_pull_downloads_nothing(server):
    first = hub.pull(SOURCE)
    assert hub.pull(SOURCE) == first
    assert len(server.asked("GET")) == 1
    asked = len(server.requests)
    assert hub.pull(SOURCE, revision=COMMIT) == first
    assert len(server.requests) == asked


def test_a_dropped_connection_is_resumed_within_the_call(server, content):
    server.cuts = [200_000, 100_000]
    assert hub.pull(SOURCE).read_bytes() == content
    assert [r[2] for r in server.asked("GET")] == ["", "bytes=200000-", "bytes=300000-"]


def test_a_download_that_broke_off_is_resumed_by_the_next_call(server, content, tmp_path):
    server.cuts = [300_000] + [0] * (transfer.RETRIES + 2)
    with pytest.raises(DownloadError, match=r"after 0.3 MB of 0.7 MB.*What arrived is kept"):
        hub.pull(SOURCE)
    assert parts(tmp_path)[0].stat().st_size == 300_000
    server.cuts, server.requests = [], []
    seen = []
    path = hub.pull(SOURCE, progress=lambda done, total: seen.append(done))
    assert path.read_bytes() == content
    assert [r[2] for r in server.asked("GET")] == ["bytes=300000-"]
    assert seen[0] > 300_000


def test_an_interrupted_download_is_resumed(server, content, tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hub.pull(SOURCE, progress=stop)
    kept = parts(tmp_path)[0].stat().st_size
    assert 0 < kept < len(content)
    assert hub.pull(SOURCE).read_bytes() == content
    assert server.asked("GET")[-1][2] == f"bytes={kept}-"


def test_a_server_without_ranges_is_read_from_the_start_again(server, content):
    server.ranges = False
    server.cuts = [200_000]
    assert hub.pull(SOURCE).read_bytes() == content


def test_a_busy_server_is_asked_again(server, content):
    server.busy = 2
    assert hub.pull(SOURCE).read_bytes() == content
    assert len(server.asked("GET")) == 3


def test_a_damaged_file_is_refused_and_not_kept(server, content, tmp_path):
    server.damage = True
    with pytest.raises(DownloadError, match="arrived damaged"):
        hub.pull(SOURCE)
    assert parts(tmp_path) == []
    assert not list((tmp_path / "hf").rglob("*.gguf"))
    server.damage = False
    assert hub.pull(SOURCE).read_bytes() == content


def test_a_part_of_another_size_is_thrown_away(server, content, tmp_path):
    digest = hashlib.sha256(content).hexdigest()
    blobs = tmp_path / "hf" / "hub" / "models--org--repo" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{digest}.part").write_bytes(content + b"more")
    assert hub.pull(SOURCE).read_bytes() == content


def test_the_token_goes_to_the_hub_and_not_to_the_host_it_hands_over_to(
    server, content, monkeypatch
):
    other = Hub(server.files)
    running, thread = serve(other)
    server.redirect = f"{other.url.replace('127.0.0.1', 'localhost')}/cdn/"
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    try:
        assert hub.pull(SOURCE).read_bytes() == content
    finally:
        running.shutdown()
        running.server_close()
        thread.join()
    assert server.tokens == ["Bearer hf_secret"] * 2
    assert other.tokens == [""]


def test_a_revision_may_hold_a_slash(server, content):
    assert hub.pull(SOURCE, revision="feature/x").read_bytes() == content
    assert "feature%2Fx" in server.asked("HEAD")[0][1]


@pytest.mark.parametrize(
    ("refuse", "says"),
    [
        ((401, ""), "HF_TOKEN"),
        ((404, "RepoNotFound"), "Check the spelling"),
        ((403, "GatedRepo"), "Accept them at"),
        ((403, ""), "refused 'org/repo'"),
        ((429, ""), "Wait a while"),
        ((404, "RevisionNotFound"), "has no revision 'main'"),
    ],
)
def test_each_refusal_of_the_hub_says_what_to_do(server, refuse, says):
    server.refuse = refuse
    with pytest.raises(DownloadError, match=says):
        hub.pull(SOURCE)


def test_a_file_that_is_not_in_the_repository_suggests_the_nearest(server):
    with pytest.raises(
        DownloadError, match=r"Did you mean 'tiny-q8.gguf'.*tiny-f16.gguf, tiny-q8.gguf\."
    ):
        hub.pull("hf:org/repo/tiny-q9.gguf")


def test_a_source_without_a_file_lists_the_files(server):
    with pytest.raises(OptionError, match=r"names no file.*tiny-f16.gguf, tiny-q8.gguf"):
        hub.pull("hf:org/repo")


@pytest.mark.parametrize(
    "source", ["hf:repo", "org/repo/x.gguf", "hf:../x/y.gguf", "hf:a//b.gguf", "hf:a/b/../c.gguf"]
)
def test_a_source_of_another_form_is_refused(server, source):
    with pytest.raises(OptionError, match="cannot be pulled"):
        hub.pull(source)
    with pytest.raises(OptionError, match="is no revision"):
        hub.pull(SOURCE, revision="../up")
    assert server.requests == []


def test_an_unreachable_hub_falls_back_to_the_cache_or_says_so(server, monkeypatch):
    path = hub.pull(SOURCE)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert hub.pull(SOURCE) == path
    with pytest.raises(DownloadError, match=r"http://127.0.0.1:9 cannot be reached.*HF_ENDPOINT"):
        hub.pull("hf:org/repo/tiny-f16.gguf")
    monkeypatch.setenv("HF_ENDPOINT", "no address")
    with pytest.raises(DownloadError, match="cannot be reached"):
        hub.pull("hf:org/repo/tiny-f16.gguf")


def test_an_endpoint_that_is_no_hub_is_named(server):
    server.plain = True
    with pytest.raises(DownloadError, match="not a model hub"):
        hub.pull(SOURCE)


def test_a_cache_that_cannot_be_written_is_named(server, tmp_path, monkeypatch):
    (tmp_path / "a-file").write_text("in the way")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "a-file"))
    with pytest.raises(DownloadError, match=r"cannot be written.*Set HF_HOME"):
        hub.pull(SOURCE)


def test_offline_mode_asks_nobody(server, monkeypatch):
    path = hub.pull(SOURCE)
    asked = len(server.requests)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub.pull(SOURCE) == path
    with pytest.raises(DownloadError, match=r"HF_HUB_OFFLINE is set\. Unset it"):
        hub.pull("hf:org/repo/tiny-f16.gguf")
    assert len(server.requests) == asked


def test_a_full_disk_is_found_out_before_the_download(server, monkeypatch):
    class Usage:
        free = 1000

    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(DownloadError, match=r"has 0\.0 MB free"):
        hub.pull(SOURCE)
    assert server.asked("GET") == []


def test_without_huggingface_hub_the_install_line_is_given(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub.utils", None)
    with pytest.raises(MissingDependencyError, match=r"llmops-jupyter\[hub\]"):
        hub.pull(SOURCE)


def test_where_links_are_refused_the_file_itself_is_put_in_place(server, content, monkeypatch):
    def refuse(self, target):
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    path = hub.pull(SOURCE)
    assert path.read_bytes() == content
    assert not path.is_symlink()
    assert hub.pull(SOURCE) == path
    assert len(server.asked("GET")) == 1


def test_two_pulls_at_once_download_once(server, content):
    found = []
    threads = [threading.Thread(target=lambda: found.append(hub.pull(SOURCE))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert len(server.asked("GET")) == 1


def test_a_pulled_model_is_registered_with_its_source(server, tmp_path):
    from gguf import GGUFWriter

    writer = GGUFWriter(tmp_path / "made.gguf", "llama")
    writer.add_block_count(1)
    writer.add_tensor("blk.0.attn_q.weight", np.zeros((4, 4), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    server.files["Real-F32.gguf"] = (tmp_path / "made.gguf").read_bytes()
    roots = Roots((), tmp_path / "hf" / "hub", tmp_path / "none", ())
    with open_store(tmp_path / "llmops.db") as store:
        models = Models(store, roots)
        model = models.pull("hf:org/repo/Real-F32.gguf", name="real")
        assert (model.ref, model.source) == ("real@1", "hf:org/repo/Real-F32.gguf")
        assert models.add("hf:org/repo/Real-F32.gguf", name="real") == model
        with pytest.raises(OptionError):
            models.pull(SOURCE, name="Not A Name")
        assert not any(NAME in r[1] for r in server.requests)
