"""Servers as processes of their own: begun, found again, ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from llmops_jupyter.engine.worker.process import reap
from llmops_jupyter.errors import DeployError, OptionError, missing_dependency, unknown_name

BEGIN_S, STEP_S, END_S = 300.0, 0.1, 60.0
HOST, PORT = "127.0.0.1", 8000
PARENT, KEY, LOG = "LLMOPS_SERVING_PARENT", "LLMOPS_SERVING_KEY", "LLMOPS_SERVING_LOG"
# Servers that this process has started, so that it notices when they end.
_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Serving:
    """A server that runs.

    Args:
        name: of the deployment.
        host: at which it listens.
        port: at which it listens.
        pid: of its process.
        created: when the process was started, in seconds since 1970.
        what: it serves: a reference, or the folder of a bundle.
        log: file of its log; '' where it writes to a terminal.
        key_id: of the key that was made for it; '' for none.
        ends_s: seconds within which it ends once it is asked to.
        key: itself, for whoever started it; never written.
    """

    name: str
    host: str
    port: int
    pid: int
    created: float
    what: str
    log: str = ""
    key_id: str = ""
    ends_s: float = END_S
    key: str = field(default="", repr=False)

    @property
    def address(self) -> str:
        """The base address for clients of OpenAI's interface."""
        return f"{self._root}/v1"

    @property
    def _root(self) -> str:
        host = {"0.0.0.0": HOST, "::": "[::1]"}.get(self.host, self.host)  # noqa: S104 - compared
        return f"http://{f'[{host}]' if ':' in host.strip('[]') else host}:{self.port}"

    def status(self) -> dict[str, Any]:
        """What the server says of itself: whether it is ready, which releases are in service, what runs and waits.

        Raises:
            DeployError: it does not answer.
        """
        import httpx

        try:
            asked = httpx.get(f"{self._root}/ready", timeout=10, trust_env=False)
            found: dict[str, Any] = asked.json()
        except (httpx.HTTPError, ValueError) as e:
            raise DeployError(
                f"{self.name} does not answer at {self._root}: {e}. Its log: {self.log or 'its terminal'}"
            ) from e
        return found

    def stop(self) -> None:
        """End it, once the requests that run have their answers.

        Raises:
            DeployError: it does not end.
        """
        _stop([self])

    def __str__(self) -> str:
        key = f" · key {self.key} (shown once)" if self.key else ""
        return f"{self.name} is served at {self.address}{key}"


def start(
    given: str | os.PathLike[str],
    *,
    store: str | os.PathLike[str] | None = None,
    host: str = HOST,
    port: int = PORT,
    no_auth: bool = False,
    outlive: bool = True,
    options: Mapping[str, Any] | None = None,
) -> Serving:
    """Serve a bundle or a deployment in a process of its own, and wait until it is ready.

    Args:
        given: folder of a bundle, or the reference of a release: of a bare name what is live, and what becomes so.
        store: of the project; needed for a reference, and else where traces go.
        host: address to listen at.
        port: to listen at; 0 takes any that is free.
        no_auth: accept everybody who can reach it, on this machine only; else a key is made and returned.
        outlive: go on when this process ends.
        options: further ones of `llmops serve`, by name.

    Raises:
        DeployError: it cannot be served: why is told.
    """
    from llmops_jupyter.deploy.serving.keys import Keys
    from llmops_jupyter.deploy.serving.places import bound, serving_folder

    check_installed()
    name = name_of(given)
    _check_free(name)
    _check_port(port)
    bound(host, port).close()  # says who has it, before anything is loaded
    folder = serving_folder()
    more = dict(options or {})
    # Whoever names a file of keys has a key; else one is made, in the user's own file.
    makes = not (no_auth or more.get("keys"))
    key, text = Keys().add(f"served-{name}") if makes else (None, "")
    command = _command(given, store, host, port, no_auth=no_auth, options=more)
    log = folder / f"{name}.log"
    child = None
    try:
        child = _spawn(name, command, log, outlive=outlive, key_id=key.id if key else "")
        found = _begun(name, child, log)
    except BaseException:
        if child is not None:
            child.terminate()  # nobody else knows of it
        if key is not None:
            Keys().remove(key.id)
        raise
    return replace(found, key=text)


def stop(name: str) -> None:
    """End what serves a deployment, once the requests that run have their answers.

    Raises:
        UnknownNameError: nothing of that name is served.
        DeployError: it does not end.
    """
    every = servers()
    found = [one for one in every if one.name == name]
    if not found:
        known = [one.name for one in every]
        raise unknown_name("server", name, known, "Serve something: %deploy serve NAME")
    _stop(found)


def _stop(found: Sequence[Serving]) -> None:
    for server in found:
        if _is_there(server):
            _end(server.pid)
    began = time.monotonic()
    for server in found:
        while _is_there(server):
            if time.monotonic() - began > server.ends_s:
                raise DeployError(
                    f"{server.name} does not end (process {server.pid}). Its log: {server.log or 'its terminal'}"
                )
            time.sleep(STEP_S)
        forget(server)


def servers() -> list[Serving]:
    """The servers of this user that run, by name."""
    from llmops_jupyter.deploy.serving.places import serving_folder

    found = []
    for path in sorted(serving_folder().glob("*.json")):
        if path.name == "keys.json":
            continue
        try:
            one = Serving(**json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            continue
        if _is_there(one):
            found.append(one)
        else:
            forget(one)
    return found


def remember(server: Serving) -> None:
    """Leave word of a server that runs."""
    path = _file(server)
    part = path.with_suffix(".part")
    values = asdict(server)
    del values["key"]
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(values, file)
    part.replace(path)


def forget(server: Serving) -> None:
    """Take the word back, and the key that was made for it."""
    from llmops_jupyter.deploy.serving.keys import Keys

    with suppress(OSError):  # then it is the word of a process that is gone, which nobody believes
        _file(server).unlink(missing_ok=True)
    if server.key_id:
        Keys().remove(server.key_id)


def check_installed() -> None:
    """Raise a MissingDependencyError where a package is missing that serving needs."""
    from importlib.util import find_spec

    for package in ("starlette", "uvicorn", "prometheus_client"):
        if find_spec(package) is None:
            raise missing_dependency(package.replace("_", "-"), "Serving", "serve")


def name_of(given: str | os.PathLike[str]) -> str:
    """The deployment's name: of a reference, or of the bundle in a folder."""
    from llmops_jupyter.deploy import manifest
    from llmops_jupyter.deploy.releases import KIND
    from llmops_jupyter.store import aliases

    if is_folder(given):
        return manifest.read(Path(given).expanduser()).name
    return aliases.parse_reference(os.fspath(given), KIND)[0]


def is_folder(given: str | os.PathLike[str]) -> bool:
    """Whether the folder of a bundle is meant."""
    from llmops_jupyter.deploy.manifest import FILE

    text = os.fspath(given)
    place = Path(text).expanduser()
    return isinstance(given, Path) or any(c in text for c in "/\\") or (place / FILE).is_file()


def _check_free(name: str) -> None:
    server = next((one for one in servers() if one.name == name), None)
    if server is not None:
        raise DeployError(
            f"{name} is served already, at {server.address} (process {server.pid}). End that first: %deploy stop {name}"
        )


def _check_port(port: int) -> None:
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
        raise OptionError(f"port is a number from 0 to 65535, not {port!r:.40}.")


def _command(
    given: str | os.PathLike[str],
    store: str | os.PathLike[str] | None,
    host: str,
    port: int,
    *,
    no_auth: bool,
    options: Mapping[str, Any],
) -> list[str]:
    words = [sys.executable, "-m", "llmops_jupyter.cli", "serve"]
    words += ["--host", host, "--port", str(port)]
    if store is not None:
        words += ["--store", str(Path(store).absolute())]
    if no_auth:
        words.append("--no-auth")
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        for one in value if isinstance(value, list | tuple) else [value]:
            words += [flag] if one is True else [] if one in (None, False) else [flag, str(one)]
    what = str(Path(given).expanduser().absolute()) if is_folder(given) else os.fspath(given)
    return [*words, "--", what]


def _spawn(
    name: str, command: Sequence[str], log: Path, *, outlive: bool, key_id: str
) -> subprocess.Popen[bytes]:
    from llmops_jupyter.deploy.serving.server import own_mark
    from llmops_jupyter.engine import cassette

    root = str(Path(__file__).parents[3])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), KEY: key_id, LOG: str(log)}
    env.update(cassette.beside(name, os.environ))
    pid, created = own_mark()
    env[PARENT] = "" if outlive else f"{pid}:{created}"
    log.unlink(missing_ok=True)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "wb") as file:
        child = subprocess.Popen(  # noqa: S603 - this interpreter with words of our own
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=env,
            start_new_session=True,
        )
    _CHILDREN[child.pid] = child
    reap(child)
    return child


def _begun(name: str, child: subprocess.Popen[bytes], log: Path) -> Serving:
    """The server, once it accepts requests."""
    until = time.monotonic() + BEGIN_S
    while True:
        found = next((one for one in servers() if one.pid == child.pid), None)
        if found is not None:
            return found
        if child.poll() is not None:
            raise DeployError(f"{name} could not be served: {_last_line(log)}")
        if time.monotonic() > until:
            raise DeployError(
                f"{name} was not ready within {BEGIN_S:g} s and was ended. Its log: {log}"
            )
        time.sleep(STEP_S)


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text("utf-8", "replace").strip().splitlines()
    except OSError:
        lines = []
    said = lines[-1] if lines else "it ended without a word."
    kind, colon, rest = said.partition(": ")
    return rest if colon and kind.endswith("Error") else said


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    except OSError as e:
        raise DeployError(f"Process {pid} cannot be ended: {e.strerror or e}.") from e


def _is_there(server: Serving) -> bool:
    from llmops_jupyter.deploy.serving.server import is_running

    child = _CHILDREN.get(server.pid)
    if child is not None and child.poll() is not None:
        return False
    return is_running(server.pid, server.created)


def _file(server: Serving) -> Path:
    """Where word of a server lies; of two that serve one deployment each has its own."""
    from llmops_jupyter.deploy.serving.places import serving_folder

    return serving_folder() / f"{server.name}.{server.pid}.json"
