"""One request for vectors of texts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from llmops_jupyter.deploy.serving import answers
from llmops_jupyter.deploy.serving.faults import MISSING, Refusal
from llmops_jupyter.deploy.serving.loaded import Loaded
from llmops_jupyter.deploy.serving.service import Service
from llmops_jupyter.deploy.serving.waiting import leave_after, while_wanted

if TYPE_CHECKING:
    from starlette.requests import Request


async def embedded(service: Service, request: Request, body: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a body of /v1/embeddings.

    Raises:
        Refusal: the release has no model that embeds, or the server is full or ends.
        ClientGoneError: the client has left.
    """
    pinned = service.pinned(body["model"])
    await while_wanted(service.gate.enter(1), request.receive, service.cut)
    with ExitStack() as held:
        held.callback(service.gate.leave, 1)
        entry = request.scope["llmops"]
        taken = held.enter_context(service.fleet.take(entry["id"], pinned))
        entry["release"] = taken.loaded.ref
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(service.writers, _vectors, taken.loaded, body)
        leave_after(work, held.pop_all().close)
    return await while_wanted(asyncio.shield(work), request.receive, service.cut)


def _vectors(loaded: Loaded, body: Mapping[str, Any]) -> dict[str, Any]:
    """The vectors of texts."""
    if loaded.embedder is None:
        raise Refusal(
            404,
            f"{loaded.ref} has no model that embeds. Deploy a prompt with an index that has vectors (--rag).",
            MISSING,
            "no_embedder",
            "model",
        )
    engine = loaded.engine(loaded.embedder)
    texts = [body["input"]] if isinstance(body["input"], str) else list(body["input"])
    vectors = engine.embed(texts)
    width = int(vectors.shape[1])
    wanted = body.get("dimensions") or width
    if wanted != width:
        raise Refusal(
            400, f"The vectors have {width} dimensions. Leave dimensions out.", param="dimensions"
        )
    form = body.get("encoding_format") or "float"
    tokens = sum(engine.count_tokens(text) for text in texts)
    return {
        "object": "list",
        "model": body["model"],
        "data": [answers.embedding(i, v, form) for i, v in enumerate(vectors)],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
