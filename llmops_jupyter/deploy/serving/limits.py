"""What a server takes on at most."""

from __future__ import annotations

from dataclasses import dataclass

MEGABYTE = 1 << 20
# Of a body that is refused so much is read and thrown away, so that the client gets to read why.
DISCARDED = 256 * MEGABYTE


@dataclass(frozen=True)
class Limits:
    """Limits of a server; times are in seconds.

    Args:
        running: answers that the model writes at once.
        waiting: requests that wait for that; more get status 429.
        wait_s: how long one waits.
        body_bytes: of a request.
        body_s: until a body is there.
        header_s: until the headers of a new connection are there.
        header_bytes: of the headers of a request.
        connections: at once; more get status 503.
        request_s: that an answer takes, from the moment at which it is begun.
        send_s: that a client may leave what it is sent unread.
        keep_alive_s: that a connection stays open unused.
        per_minute: requests of one key, unless the key has its own number; None sets no limit.
        choices: answers that one request may ask for.
        notice_s: between SIGTERM, when readiness goes down, and the end of accepting requests.
        drain_s: that running requests have then.
    """

    running: int = 8
    waiting: int = 64
    wait_s: float = 60.0
    body_bytes: int = 4 * MEGABYTE
    body_s: float = 30.0
    header_s: float = 15.0
    header_bytes: int = 32 * 1024
    connections: int = 4096
    request_s: float = 600.0
    send_s: float = 30.0
    keep_alive_s: float = 20.0
    per_minute: int | None = None
    choices: int = 8
    notice_s: float = 0.5
    drain_s: float = 30.0
