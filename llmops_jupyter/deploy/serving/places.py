"""Where servers leave word of themselves, and who has a port."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from llmops_jupyter.errors import DeployError

NAME = "llmops-jupyter"
TRIED = 100


def serving_folder() -> Path:
    """The owner-only folder with keys, traces of bundles, and what says which servers run."""
    home = os.environ.get("LLMOPS_HOME")
    if home:
        base = Path(home).expanduser()
    else:
        from platformdirs import user_state_path

        base = user_state_path(NAME, appauthor=False)
    folder = base / "serving"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as e:
        raise DeployError(
            f"The folder {str(folder)!r} cannot be made: {e.strerror or e}. Name another place in LLMOPS_HOME."
        ) from e
    return folder


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens at an address; port 0 is any that is free.

    Raises:
        DeployError: the port is taken, by whom as far as that is known, or the address is not of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError, OverflowError) as e:
        raise DeployError(
            f"{host!r} is no address to listen at: {e}. Use 127.0.0.1 or 0.0.0.0."
        ) from e
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(2048)
        made.set_inheritable(False)
    except OSError as e:
        made.close()
        if not _is_taken(host, port):
            raise DeployError(
                f"The server cannot listen at {host}:{port}: {e.strerror or e}. Name another --host or --port."
            ) from e
        holder = _holder(port)
        free = _free(host, port)
        other = f" Take another one: --port {free}" if free else " Name another one with --port."
        raise DeployError(f"Port {port} is taken{f' by {holder}' if holder else ''}.{other}") from e
    return made


def is_loopback(host: str) -> bool:
    """Whether an address is only reached from this machine."""
    import ipaddress

    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_taken(host: str, port: int) -> bool:
    return port != 0 and not _can_bind(host, port)


def _can_bind(host: str, port: int) -> bool:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind(address)
    except PermissionError:
        return True  # it is not taken, but not allowed
    except OSError:
        return False
    return True


def _free(host: str, port: int) -> int | None:
    tried = range(port + 1, min(65536, port + 1 + TRIED))
    return next((n for n in tried if _can_bind(host, n)), None)


def _holder(port: int) -> str:
    """Who listens at a port: a server of ours by its name, else the process; '' where that may not be known."""
    from llmops_jupyter.deploy.serving.process import servers

    for server in servers():
        if server.port == port:
            return f"{server.name!r} (process {server.pid}); end it: %deploy stop {server.name}"
    import psutil

    try:
        for one in psutil.net_connections(kind="tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr[1] == port and one.pid:
                return f"{psutil.Process(one.pid).name()!r} (process {one.pid})"
    except (psutil.Error, OSError):
        pass
    return ""
