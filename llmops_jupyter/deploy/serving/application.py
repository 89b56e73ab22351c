"""The endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TextIO

from llmops_jupyter.deploy.serving import asking, bodies, interface
from llmops_jupyter.deploy.serving.answering import Answering
from llmops_jupyter.deploy.serving.door import Door
from llmops_jupyter.deploy.serving.embedding import embedded
from llmops_jupyter.deploy.serving.faults import MISSING, Refusal, refusal_of
from llmops_jupyter.deploy.serving.service import Service

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

Endpoint = Callable[["Request"], Awaitable[Any]]
OWNER = "llmops-jupyter"
LEFT = 499  # what logs call a client that has left
# Bytes of a body that is read in the loop; with a larger one, others would wait.
SMALL = 32 * 1024


def application(service: Service, log: TextIO | None = None) -> Door:
    """The ASGI application of a service."""
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    found = Endpoints(service)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        status = error.status_code
        said = {404: "There is no such path", 405: "This path has another method"}
        made = Refusal(
            status, f"{said.get(status, error.detail)}. GET /openapi.json lists them.", MISSING
        )
        door.note(request.scope["llmops"], made)
        return JSONResponse(made.as_dict(), status, error.headers)

    def told(endpoint: Endpoint) -> Endpoint:
        """An endpoint whose errors are objects."""

        async def call(request: Request) -> Any:
            try:
                return await endpoint(request)
            except bodies.ClientGoneError:
                return JSONResponse({}, LEFT)
            except Exception as e:  # noqa: BLE001 - every error is told as an object
                made = refusal_of(e)
                door.note(request.scope["llmops"], made)
                return JSONResponse(made.as_dict(), made.status, made.headers)

        return call

    routes = [
        Route("/v1/chat/completions", told(found.chat), methods=["POST"]),
        Route("/v1/completions", told(found.completion), methods=["POST"]),
        Route("/v1/embeddings", told(found.embeddings), methods=["POST"]),
        Route("/v1/models", told(found.models), methods=["GET"]),
        Route("/v1/models/{model:path}", told(found.model), methods=["GET"]),
        Route("/openapi.json", told(found.openapi), methods=["GET"]),
        Route("/health", told(found.health), methods=["GET"]),
        Route("/ready", told(found.ready), methods=["GET"]),
        Route("/metrics", told(found.metrics), methods=["GET"]),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: refused})
    app.router.redirect_slashes = False
    door = Door(app, service, log)
    return door


class Endpoints:
    """What each path answers."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def chat(self, request: Request) -> Any:
        """POST /v1/chat/completions."""
        body = await self._body(request, "ChatRequest")
        answering = Answering(self._service, request, asking.chat(body), body["model"], chat=True)
        return await answering.respond()

    async def completion(self, request: Request) -> Any:
        """POST /v1/completions."""
        body = await self._body(request, "CompletionRequest")
        answering = Answering(
            self._service, request, asking.completion(body), body["model"], chat=False
        )
        return await answering.respond()

    async def embeddings(self, request: Request) -> Response:
        """POST /v1/embeddings."""
        from starlette.responses import JSONResponse

        body = await self._body(request, "EmbeddingRequest")
        return JSONResponse(await embedded(self._service, request, body))

    async def models(self, request: Request) -> Response:
        """GET /v1/models."""
        from starlette.responses import JSONResponse

        del request
        data = [self._facts(name) for name in self._service.names]
        return JSONResponse({"object": "list", "data": data})

    async def model(self, request: Request) -> Response:
        """GET /v1/models/NAME."""
        from starlette.responses import JSONResponse

        name = request.path_params["model"]
        self._service.pinned(name)
        return JSONResponse(self._facts(name))

    async def openapi(self, request: Request) -> Response:
        """GET /openapi.json."""
        from starlette.responses import JSONResponse

        del request
        return JSONResponse(interface.document())

    async def health(self, request: Request) -> Response:
        """GET /health: the process lives."""
        from starlette.responses import JSONResponse

        del request
        return JSONResponse({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """GET /ready: requests can be answered, and traces be written."""
        from starlette.responses import JSONResponse

        del request
        service = self._service
        loop = asyncio.get_running_loop()
        problems = await loop.run_in_executor(service.probes, service.problems)
        facts: dict[str, Any] = {
            "status": "not ready" if problems else "ready",
            "problems": problems,
            "deployment": service.fleet.name,
            "releases": service.fleet.refs(),
            "running": service.gate.running,
            "waiting": service.gate.waiting,
            "traces_lost": service.traces.lost,
        }
        if service.fleet.problem:
            facts["warning"] = service.fleet.problem
        return JSONResponse(facts, 503 if problems else 200)

    async def metrics(self, request: Request) -> Response:
        """GET /metrics, in Prometheus' text format."""
        from prometheus_client import CONTENT_TYPE_LATEST
        from starlette.responses import Response

        del request
        text = self._service.metrics.text(self._service.fleet.refs())
        return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    def _facts(self, name: str) -> dict[str, Any]:
        return {
            "id": name,
            "object": "model",
            "created": self._service.started,
            "owned_by": OWNER,
        }

    async def _body(self, request: Request, schema: str) -> dict[str, Any]:
        """The checked body of a request."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        content = await bodies.read(
            request.receive, request.headers.get("content-length"), self._service.limits
        )
        if kind != "application/json":
            raise Refusal(
                415,
                "Send JSON, with Content-Type: application/json.",
                code="unsupported_media_type",
            )
        if len(content) <= SMALL:
            return interface.read(schema, content)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._service.beside, interface.read, schema, content)
