"""From what went wrong between here and a server to an error that says what to do."""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from llmops_jupyter.engine.remote.pace import retry_after
from llmops_jupyter.errors import ContextLengthError, EngineError, LLMOpsError

if TYPE_CHECKING:
    import httpx

    from llmops_jupyter.models.endpoint import Endpoint

E = TypeVar("E", bound=BaseException)
LONGEST = 300
RETRIED = frozenset({408, 409, 425, 429})
_STATUSES = {
    "invalid_request": 400,
    "authentication": 401,
    "permission": 403,
    "not_found": 404,
    "rate_limit": 429,
}
NOT_IMPLEMENTED, BROKEN = 501, 500

_CONTEXT = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum context length|context (window|length|size)"
    r"|prompt is too long|too many tokens",
    re.IGNORECASE,
)
# Not that the look-up failed for the moment. Windows has numbers of its own.
_NO_SUCH_HOST = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME), 11001, 11004}
_SPENT = re.compile(
    r"insufficient_quota|billing|credit balance|exceeded your current quota", re.IGNORECASE
)


class Fault(Exception):  # noqa: N818 - it never reaches the user, its `error` does
    """A failed try of a call.

    Attributes:
        error: what the user sees if there is no other try.
        retry: whether another try may do better.
        wait_s: seconds that the server asks to wait.
        status: of the answer; None if there was none.
        param: the field of the request that the server names.
        said: the server's own words.
        met: whether there was a connection.
    """

    def __init__(
        self,
        error: LLMOpsError,
        *,
        retry: bool = False,
        wait_s: float | None = None,
        status: int | None = None,
        param: str = "",
        said: str = "",
        met: bool = True,
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.retry = retry
        self.wait_s = wait_s
        self.status = status
        self.param = param
        self.said = said
        self.met = met


def broken(endpoint: Endpoint, what: str) -> Fault:
    """The answer cannot be read, or ended too early; another try may do better."""
    return Fault(EngineError(f"{endpoint.url} {what}. Run it again."), retry=True)


def scrubbed(text: str, key: str) -> str:
    """A text of a server's in one short line, without the key."""
    if key:
        text = text.replace(key, "[key]")
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def unreachable(endpoint: Endpoint, failure: httpx.HTTPError | httpx.InvalidURL) -> Fault:
    """There was no answer, or the connection broke before its end."""
    import httpx

    # The text of the library's errors names neither headers nor the key.
    text = scrubbed(str(failure), "") or type(failure).__name__
    if isinstance(failure, httpx.ConnectTimeout | httpx.ConnectError):
        return _unconnected(endpoint, failure, text)
    if isinstance(failure, httpx.TimeoutException):
        return Fault(
            EngineError(
                f"{endpoint.url} sent nothing for too long. See whether it is overloaded, and run it again."
            ),
            retry=True,
        )
    if isinstance(failure, httpx.TransportError):
        return broken(endpoint, f"broke the connection off ({text})")
    return Fault(EngineError(f"The call of {endpoint.url} failed ({text}). Check the address."))


def _unconnected(endpoint: Endpoint, failure: Exception, text: str) -> Fault:
    """There is no such host, it speaks no TLS that we trust, or nothing listens there."""
    unknown = _cause(failure, socket.gaierror)
    if unknown is not None and unknown.errno in _NO_SUCH_HOST:
        words = f"There is no host {endpoint.host!r} ({text}). Correct the address, or check the network."
        return Fault(EngineError(words), met=False)
    if _cause(failure, ssl.SSLCertVerificationError) is not None:
        words = (
            f"The certificate of {endpoint.host} is not trusted. Name your organisation's certificates "
            "in the variable SSL_CERT_FILE, or correct the address."
        )
        return Fault(EngineError(words), met=False)
    if _cause(failure, ssl.SSLError) is not None:
        words = (
            f"{endpoint.url} does not speak TLS as it is spoken here ({text}). Register the address with "
            "http:// if the server has no certificate, else check the server and the proxy."
        )
        return Fault(EngineError(words), met=False)
    advice = (
        "Start the server, or correct the address and port"
        if endpoint.local
        else "Check the address, the network and the proxy"
    )
    words = f"Nothing answers at {endpoint.url} ({text}). {advice}."
    return Fault(EngineError(words), retry=True, met=False)


def _cause(error: BaseException | None, kind: type[E]) -> E | None:
    """The first error of a kind among those that led to an error."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error


def refused(
    endpoint: Endpoint, status: int, headers: Mapping[str, str], body: str, key: str
) -> Fault:
    """The server answered with an error."""
    return _refusal(endpoint, status, headers, _detail(_value(body)), key, f"answered {status}")


def in_answer(endpoint: Endpoint, given: Any, key: str) -> Fault:
    """The server sent an error, as JSON or its value, in place of an answer or of its next piece."""
    found = _value(given) if isinstance(given, str) else given
    detail = _detail(found if isinstance(found, Mapping) else {"error": found})
    return _refusal(endpoint, _status(detail["kind"]), {}, detail, key, "sent an error")


def _status(kind: str) -> int:
    """The status that an error would have had that came without one."""
    for word in kind.split():
        if word.isdecimal() and 400 <= int(word) < 600:
            return int(word)
    for name, status in _STATUSES.items():
        if name in kind.lower():
            return status
    return BROKEN


def _refusal(
    endpoint: Endpoint,
    status: int,
    headers: Mapping[str, str],
    detail: Mapping[str, str],
    key: str,
    did: str,
) -> Fault:
    said = scrubbed(detail["message"], key)
    param = detail["param"]
    quoted = f": {said}" if said else ""
    where = endpoint.url
    if 300 <= status < 400:
        return Fault(
            EngineError(
                f"{where} has moved ({status}). Register the new address with %model add, often it is the "
                "same with https://."
            ),
            status=status,
        )
    if status in (400, 413, 422, BROKEN) and _CONTEXT.search(f"{detail['kind']} {said}"):
        return Fault(
            ContextLengthError(
                f"The prompt and its answer are longer than {endpoint.model} takes{quoted}. Shorten the "
                "prompt, or ask for fewer tokens with --max-tokens."
            ),
            status=status,
        )
    advice = _advice(endpoint, status, f"{detail['kind']} {said}")
    retry = status in RETRIED or (status >= BROKEN and status != NOT_IMPLEMENTED)
    if _SPENT.search(f"{detail['kind']} {said}") and status == 429:
        retry, advice = False, "Check the plan and the balance of the account"
    return Fault(
        EngineError(f"{where} {did}{quoted}. {advice}."),
        retry=retry,
        wait_s=retry_after(headers) if retry else None,
        status=status,
        param=param,
        said=said,
    )


def _advice(endpoint: Endpoint, status: int, said: str) -> str:
    if status == 401:
        if endpoint.key_env:
            return f"Check the key in the variable {endpoint.key_env}"
        return "It wants a key: add the model again with --key-env VARIABLE"
    if status == 402:
        return "Check the balance of the account"
    if status == 403:
        return f"Check whether the key may use {endpoint.model!r}"
    if status in (404, 405):
        if "model" in said.lower():
            return f"Check the model id {endpoint.model!r}; the server lists its own under /models"
        return "Check the address: this path is not there, or not for this kind of call"
    if status == 429:
        return "Wait, or add the model again with a lower --concurrency"
    if status >= BROKEN:
        return "See the server's log, and run it again"
    if not said.strip():
        return "Check the address, http or https among it, and see the server's log"
    return "Change what it names and run again"


def _value(body: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        # A page of a proxy says nothing that helps; a line of plain text may.
        return {"error": "" if "<" in body[:200] else body[:LONGEST]}


def _detail(found: Any) -> dict[str, str]:
    """Message, kind and field of an error, in the forms that servers give them."""
    if isinstance(found, list) and found:
        found = found[0]
    if not isinstance(found, Mapping):
        return {"message": "", "kind": "", "param": ""}
    error = found.get("error", found)
    if not isinstance(error, Mapping):
        return {"message": str(error), "kind": "", "param": ""}
    detail = error.get("detail", found.get("detail"))
    if isinstance(detail, list) and detail and isinstance(detail[0], Mapping):
        # FastAPI's, which lists the place of each fault in the body.
        places = [p for p in detail[0].get("loc", ()) if isinstance(p, str) and p != "body"]
        return {
            "message": f"{'.'.join(places)}: {detail[0].get('msg', '')}",
            "kind": str(detail[0].get("type", "")),
            "param": places[0] if places else "",
        }
    message = error.get("message") or error.get("msg") or detail or error.get("error") or ""
    kind = " ".join(str(error[k]) for k in ("type", "code") if error.get(k))
    return {"message": str(message), "kind": kind, "param": str(error.get("param") or "")}
