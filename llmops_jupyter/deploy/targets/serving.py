"""A bundle as a Ray Serve application: replicas that answer as `llmops serve` does, behind one door.

Each replica opens the bundle on its node and runs the whole server in it: template, documents, guards, traces. The door stands
on the head node, where requests come in. It hands each to a replica, and to another one if that is lost before anything was
sent; of a stream that has begun nobody can say the rest, so it ends in an error with a name.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.deploy.targets.asgi import Asked, Begun, answers
from llmops_jupyter.deploy.targets.cluster import library
from llmops_jupyter.deploy.targets.scaling import HEAD, PLACES, Scaling

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

LOG = logging.getLogger(__name__)
# How many replicas may be lost under one request before it is refused.
TRIES = 4
LOST = "replica_lost"
# Of headers that concern one connection only.
HOPS = frozenset({b"connection", b"content-length", b"host", b"transfer-encoding", b"keep-alive"})


class Replica:
    """A bundle in service on one node.

    Args:
        folder: of the bundle on each node.
        model: its weights there, where the bundle names them; None looks for them.
        keys: file of the keys that are accepted, on each node; None accepts everybody.
        store: where traces go; a place of the user's on each node if left out.
        together: answers that it writes at once.
        waiting: requests that wait for that; more get status 429.
    """

    def __init__(
        self,
        folder: str,
        model: str | None,
        keys: str | None,
        store: str | None,
        together: int,
        waiting: int,
    ) -> None:
        import pkgutil
        from dataclasses import replace

        from llmops_jupyter.deploy.serving import server
        from llmops_jupyter.deploy.serving.application import application
        from llmops_jupyter.deploy.serving.fleet import Fixed
        from llmops_jupyter.deploy.serving.keys import Keys
        from llmops_jupyter.deploy.serving.limits import Limits
        from llmops_jupyter.deploy.serving.loaded import load
        from llmops_jupyter.deploy.serving.running import Traces
        from llmops_jupyter.deploy.serving.service import Service
        from llmops_jupyter.deploy.serving.serving import OPEN

        limits = replace(Limits(), running=together, waiting=waiting)
        given = None if model is None else Path(model)
        loaded = load(Path(folder), "", model=given, timeout=limits.request_s)
        self._workspace = pkgutil.resolve_name(OPEN)(
            store or server.default_store(loaded.bundle.name)
        )
        traces = Traces(self._workspace.tracer)
        accepted = None if keys is None else Keys(keys)
        self._service = Service(Fixed(loaded), traces, accepted, limits)
        self._app = application(self._service)

    async def answer(self, asked: Asked) -> AsyncIterator[Begun | bytes]:
        """The beginning of an answer and its pieces."""
        async for piece in answers(self._app, asked):
            yield piece

    def check_health(self) -> None:
        """Ray asks this now and then, and replaces a replica that raises."""
        self._service.fleet.any().engine()


class Door:
    """Hands requests to replicas.

    Args:
        replicas: a handle of Ray Serve.
        body_bytes: of a request at most.
    """

    def __init__(self, replicas: Any, body_bytes: int) -> None:
        self._replicas = replicas.options(stream=True, method_name="answer")
        self._most = body_bytes

    async def __call__(self, request: Request) -> Response:
        from starlette.responses import Response, StreamingResponse

        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > self._most:
                return _refused(413, f"The body has more than {self._most:,} bytes. Send less.")
        headers = tuple((k, v) for k, v in request.scope["headers"] if k not in HOPS)
        query = request.scope.get("query_string", b"")
        asked = Asked(request.method, request.scope["path"], query, headers, bytes(body))
        try:
            begun, pieces = await self._begun(asked)
        except ConnectionError as e:
            return _refused(503, str(e), {"Retry-After": "2"})
        sent = [(k, v) for k, v in begun.headers if k not in HOPS]
        made: Response
        if begun.streams:
            made = StreamingResponse(pieces, begun.status)
        else:
            made = Response(b"".join([piece async for piece in pieces]), begun.status)
            sent.append((b"content-length", str(len(made.body)).encode()))
        made.raw_headers = sent
        return made

    async def _begun(self, asked: Asked) -> tuple[Begun, AsyncIterator[bytes]]:
        """The beginning of an answer from a replica that lives, and the rest.

        Raises:
            ConnectionError: every replica that was tried was lost.
        """
        for _ in range(TRIES):
            found = self._replicas.remote(asked)
            try:
                begun = await anext(found)
                if begun.streams:
                    return begun, _stream(await anext(found, b""), found)
                # All of an answer that is no stream is here before any of it is sent.
                body = [piece async for piece in found]
                return begun, _given(body)
            except _lost() as e:
                LOG.warning("a replica was lost before it answered: %s", type(e).__name__)
            except BaseException:
                found.cancel()  # nobody waits for it any more
                raise
        raise ConnectionError(f"{TRIES} replicas were lost before they answered. Try again.")


async def _stream(first: bytes, found: Any) -> AsyncIterator[bytes]:
    """The pieces of a stream; one that is broken off ends in an error that says so."""
    try:
        yield first
        async for piece in found:
            yield piece
    except _lost() as e:
        LOG.warning("a replica was lost while it answered: %s", type(e).__name__)
        said = "The replica that wrote this answer was lost, and the rest with it. Send the request again."
        yield b"data: " + json.dumps({"error": _error(said, LOST)}).encode() + b"\n\n"
    finally:
        found.cancel()  # of one that has ended nothing is left to cancel


async def _given(body: list[bytes]) -> AsyncIterator[bytes]:
    for piece in body:
        yield piece


def _lost() -> tuple[type[BaseException], ...]:
    """Errors that say that a replica or its node is gone."""
    known = library().exceptions
    return (
        known.RayActorError,
        known.ActorUnavailableError,
        known.ObjectLostError,
        known.NodeDiedError,
        known.WorkerCrashedError,
    )


def _error(said: str, code: str) -> dict[str, Any]:
    return {"message": said, "type": "server_error", "code": code, "param": None}


def _refused(status: int, said: str, headers: Mapping[str, str] | None = None) -> Response:
    from starlette.responses import JSONResponse

    code = LOST if status == 503 else "too_large"
    return JSONResponse({"error": _error(said, code)}, status, dict(headers or {}))


def application(args: Mapping[str, Any]) -> Any:
    """The application of a bundle, for ``import_path`` in a config of Ray Serve.

    Args:
        args: ``bundle`` (its folder on each node) and what `Scaling` has; ``model``, ``keys`` and ``store`` see `Replica`.

    Raises:
        OptionError: one of them cannot be used.
    """
    library()
    from ray import serve

    scaling = Scaling.read(args)
    replicas = serve.deployment(**scaling.replicas())(Replica)
    door = serve.deployment(
        name="door",
        num_replicas=1,
        max_ongoing_requests=1_000,
        # A part of what only the head node has: where requests come in, and which is not lost while the cluster lives.
        ray_actor_options={"num_cpus": 0, "resources": {HEAD: 0.001}},
    )(Door)
    given = scaling.given
    bound = replicas.bind(
        given["bundle"],
        *(given.get(name) for name in PLACES[1:]),
        scaling.together,
        scaling.waiting,
    )
    return door.bind(bound, scaling.body_bytes)
