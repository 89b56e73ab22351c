"""Errors as OpenAI's interface tells them: a status, and an object with message, type, param and code."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from llmops_jupyter import errors
from llmops_jupyter.errors import LLMOpsError

LOG = logging.getLogger(__name__)
INVALID, SERVER, RATE = "invalid_request_error", "server_error", "rate_limit_error"
KEY, MISSING, QUOTA = "authentication_error", "not_found_error", "insufficient_quota"


class Refusal(Exception):  # noqa: N818 - an answer of the server, and only inside it an exception
    """A request that gets an error object.

    Args:
        status: of HTTP.
        message: what is wrong, and what to do next.
        kind: the object's type.
        code: by which programs tell errors apart.
        param: which part of the request it is about.
        headers: that go with it.
    """

    def __init__(
        self,
        status: int,
        message: str,
        kind: str = INVALID,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind = status, message, kind
        self.code, self.param, self.headers = code, param, dict(headers or {})

    def as_dict(self) -> dict[str, Any]:
        """The error object."""
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }


# The id of the request that is being answered, for the log.
REQUEST: ContextVar[str] = ContextVar("request", default="")

# What is told of each kind of error; of those on the server's side only the kind, since their messages name files.
_KINDS: tuple[tuple[type[Exception], int, str, str | None, str], ...] = (
    (errors.ContextLengthError, 400, INVALID, "context_length_exceeded", ""),
    (errors.BudgetError, 429, QUOTA, "insufficient_quota", ""),
    (errors.GuardError, 400, INVALID, "content_filter", ""),
    (errors.DeadlineError, 504, SERVER, "deadline_exceeded", "The answer took too long."),
    (
        errors.SchemaError,
        500,
        SERVER,
        "answer_not_valid",
        "The model's answer is not what the schema of the prompt asks for.",
    ),
    (errors.ModelError, 503, SERVER, "model_not_loaded", "The model cannot be loaded."),
    (errors.EngineError, 503, SERVER, "engine_error", "The model broke off."),
    (errors.StoreError, 503, SERVER, "store_error", "The store of the server cannot be used."),
    (errors.OptionError, 400, INVALID, None, ""),
    (errors.TemplateError, 400, INVALID, "variables_not_valid", ""),
    (errors.PromptError, 400, INVALID, None, ""),
)


def refusal_of(error: BaseException) -> Refusal:
    """The error object of an exception; what only the operator may read goes to the log."""
    if isinstance(error, Refusal):
        return error
    for kind, status, name, code, told in _KINDS:
        if isinstance(error, kind):
            if not told:
                return Refusal(status, " ".join(str(error).split()), name, code)
            LOG.warning("%s: %s", type(error).__name__, error)
            again = {"Retry-After": "1"} if status == 503 else {}
            advice = "Send it again." if status == 503 else "Ask for less, or whoever runs it."
            message = f"{told} ({type(error).__name__}) {advice}"
            return Refusal(status, message, name, code, headers=again)
    known = isinstance(error, LLMOpsError)
    LOG.error("%s: %s", type(error).__name__, error, exc_info=None if known else error)
    return Refusal(
        500,
        f"The server failed ({type(error).__name__}); its log says why, by the id of this request.",
        SERVER,
        "internal_error",
    )


def ending() -> Refusal:
    """What a request is told that the end of the server breaks off."""
    return Refusal(
        503,
        "The server ends, and could not wait for this answer any longer. Send it again.",
        SERVER,
        "server_ending",
        headers={"Retry-After": "1"},
    )
