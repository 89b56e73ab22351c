"""`llmops serve`: from what is named to a server that runs."""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.deploy.serving import process, server
from llmops_jupyter.deploy.serving.fleet import Fixed, Fleet
from llmops_jupyter.deploy.serving.keys import Keys
from llmops_jupyter.deploy.serving.limits import Limits
from llmops_jupyter.deploy.serving.loaded import load
from llmops_jupyter.deploy.serving.places import bound, is_loopback
from llmops_jupyter.deploy.serving.process import Serving
from llmops_jupyter.deploy.serving.running import Traces
from llmops_jupyter.deploy.serving.service import Service
from llmops_jupyter.errors import OptionError

if TYPE_CHECKING:
    from llmops_jupyter.workspace import Workspace

# The workspace stands above this room, so it is looked up when it is asked for.
OPEN = "llmops_jupyter.workspace:open_workspace"
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def serve(
    given: str,
    *,
    project: Callable[[], Workspace],
    store: str | None = None,
    host: str = process.HOST,
    port: int = process.PORT,
    no_auth: bool = False,
    keys: str | None = None,
    aliases: Sequence[str] = (),
    model: str | None = None,
    only_prompt: bool = False,
    limits: Limits | None = None,
    tell: Callable[[str], None] = print,
) -> None:
    """Serve a bundle or a deployment until the process is asked to end.

    Args:
        given: folder of a bundle, or the reference of a release.
        project: opens the workspace in which a reference is looked up.
        store: where the traces of a bundle go; a place of the user's if left out.
        host: address to listen at.
        port: to listen at.
        no_auth: accept everybody, which is for this machine only.
        keys: file of keys; the user's own if left out.
        aliases: further names under which requests are answered.
        model: weights of a bundle that names them and is elsewhere.
        only_prompt: answer with the bundle's own prompt only.
        limits: of the server.
        tell: gets a line once it is ready.

    Raises:
        DeployError: the bundle is not whole, nothing is live, or the port is taken.
        OptionError: something cannot be used.
    """
    process.check_installed()
    accepted = _accepted(host, keys, no_auth=no_auth)
    sock = bound(host, port)
    try:
        own = limits or Limits()
        options: dict[str, Any] = {"only_template": only_prompt, "timeout": own.request_s}
        workspace, fleet = _fleet(given, project, store, model, options)
        service = Service(
            fleet,
            Traces(workspace.tracer),
            accepted,
            own,
            aliases,
            _hosts(host) if no_auth else (),
        )
        pid, created = server.own_mark()
        word = Serving(
            fleet.name,
            host,
            sock.getsockname()[1],
            pid,
            created,
            given,
            log=os.environ.get(process.LOG, ""),
            key_id=os.environ.get(process.KEY, ""),
            ends_s=own.notice_s + own.drain_s + process.END_S,
        )
        server.log_to_stderr()
        server.have_files(own.connections)
        try:
            server.run(service, sock, lambda: _begun(word, tell), _parent())
        finally:
            process.forget(word)
            workspace.close()
    finally:
        sock.close()


def _fleet(
    given: str,
    project: Callable[[], Workspace],
    store: str | None,
    model: str | None,
    options: dict[str, Any],
) -> tuple[Workspace, Fleet | Fixed]:
    """The workspace whose store gets the traces, and the releases."""
    if process.is_folder(given):
        loaded = load(Path(given), "", model=None if model is None else Path(model), **options)
        where = store or server.default_store(loaded.bundle.name)
        workspace: Workspace = pkgutil.resolve_name(OPEN)(where)
        return workspace, Fixed(loaded)
    if model is not None:
        raise OptionError("--model-path goes with the folder of a bundle.")
    workspace = project()
    name, _, selector = given.partition("@")
    if selector in ("", "live"):
        return workspace, Fleet(workspace, name, **options)
    release = workspace.deploy.get(given)
    loaded = load(
        release.folder, release.ref, release.digest, purse=workspace.prompts.find_purse, **options
    )
    return workspace, Fixed(loaded)


def _accepted(host: str, keys: str | None, *, no_auth: bool) -> Keys | None:
    """The keys that are accepted; None for everybody.

    Raises:
        OptionError: everybody would be accepted from elsewhere, or nobody at all.
    """
    if no_auth:
        if not is_loopback(host):
            raise OptionError(
                f"--no-auth is for this machine only, and {host!r} is reached from others. Make a key: llmops serve keys "
                "add NAME; or listen at 127.0.0.1."
            )
        return None
    found = Keys(keys)
    if all(key.revoked_at for key in found.all()):
        raise OptionError(
            "There is no key, so nobody could ask anything. Make one: llmops serve keys add NAME; or, on this machine only: "
            "--no-auth"
        )
    return found


def _hosts(host: str) -> tuple[str, ...]:
    """The names by which a server is called that listens on this machine only."""
    return (*LOOPBACK, host.strip("[]").rstrip(".").lower())


def _begun(word: Serving, tell: Callable[[str], None]) -> None:
    process.remember(word)
    tell(str(replace(word, key="")))


def _parent() -> tuple[int, float] | None:
    """The process without which this one is not wanted."""
    pid, _, created = os.environ.get(process.PARENT, "").partition(":")
    return (int(pid), float(created)) if pid and created else None
