"""A first look at a server: whether it answers, which model it has, whether it counts tokens of streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmops_jupyter.errors import DeployError
from llmops_jupyter.models.endpoint import Endpoint

PROBE_S = 120.0
REFUSED = (400, 422)


@dataclass(frozen=True)
class Probe:
    """What a server said.

    Args:
        model: its id there.
        usage: whether a request may ask for the count of tokens of a stream.
    """

    model: str
    usage: bool


def probe(endpoint: Endpoint, key: str, model: str | None = None) -> Probe:
    """Ask a server for its models and for one token.

    Args:
        endpoint: the server; its model is not looked at.
        key: for it; '' for none.
        model: to be asked; the first one that the server names if left out.

    Raises:
        DeployError: it does not answer, refuses the key, or has no such model.
    """
    import httpx

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with httpx.Client(
            base_url=f"{endpoint.url}/",
            headers=headers,
            timeout=PROBE_S,
            trust_env=not endpoint.local,
        ) as client:
            name = model or _first_model(client, endpoint)
            return Probe(name, _counts(client, endpoint, name))
    except httpx.HTTPError as e:
        raise DeployError(
            f"{endpoint.url} does not answer ({type(e).__name__}). Start the server, or correct the address."
        ) from e


def _first_model(client: Any, endpoint: Endpoint) -> str:
    response = client.get("models")
    _check(response, endpoint)
    try:
        return str(response.json()["data"][0]["id"])
    except (ValueError, LookupError, TypeError) as e:
        raise DeployError(f"{endpoint.url} names no models. Say which one: --model ID.") from e


def _counts(client: Any, endpoint: Endpoint, model: str) -> bool:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "Say yes."}],
        "max_tokens": 1,
        "stream": True,
    }
    response = client.post(
        "chat/completions", json={**body, "stream_options": {"include_usage": True}}
    )
    if response.status_code not in REFUSED:
        if response.status_code not in (429, 503):
            _check(response, endpoint)
        return True
    _check(client.post("chat/completions", json=body), endpoint)
    return False


def _check(response: Any, endpoint: Endpoint) -> None:
    """Raise a DeployError for an answer that is none."""
    status = response.status_code
    if status in (401, 403):
        raise DeployError(
            f"{endpoint.url} refused the key (HTTP {status}). Name the variable that holds it: --key-env VARIABLE."
        )
    if status != 200:
        raise DeployError(
            f"{endpoint.url} answered HTTP {status}: {' '.join(response.text.split())[:200]!r}. Correct the "
            "address or --model, or look at the server's log."
        )
