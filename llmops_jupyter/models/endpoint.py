"""Where a model answers that runs elsewhere: a server with OpenAI's interface."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from llmops_jupyter.config import whole
from llmops_jupyter.errors import EngineError, OptionError, did_you_mean

# What a server understands beyond the standard fields; 'auto' finds out, 'compatible' means nothing.
FLAVOURS = (
    "auto",
    "openai",
    "vllm",
    "llama-server",
    "llama-cpp-python",
    "ollama",
    "anthropic",
    "compatible",
)
MAX_CONCURRENCY = 1024

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,79}")
_VERSION = re.compile(r"v\d+\w*")
# Ends of addresses that are copied from examples of single calls.
_CALLS = ("/chat/completions", "/completions", "/embeddings", "/models")
_EXAMPLE = "Give it as in http://localhost:8000/v1."


@dataclass(frozen=True)
class Endpoint:
    """A model behind an OpenAI-compatible interface.

    Args:
        url: the interface's base, with or without its ``/v1``; kept with it.
        model: the id under which the server knows the model.
        key_env: the variable of the environment that holds the key; '' where none is needed. The key itself
            is read at each call and kept nowhere.
        context_length: tokens of a prompt and its answer; None asks the server.
        concurrency: requests that may run at once.
        flavour: one of `FLAVOURS`.

    Raises:
        OptionError: one of them cannot be used.
    """

    url: str
    model: str
    key_env: str = ""
    context_length: int | None = None
    concurrency: int = 8
    flavour: str = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", _base(self.url))
        if not isinstance(self.model, str) or not self.model.strip():
            raise OptionError("Say which model of the endpoint is meant, with --model ID.")
        object.__setattr__(self, "model", self.model.strip())
        if self.key_env and not (
            isinstance(self.key_env, str) and _VARIABLE.fullmatch(self.key_env)
        ):
            # What was given may be the key itself, so it is not repeated.
            raise OptionError(
                "key_env is the name of an environment variable that holds the key, never the key itself: "
                "upper case letters, digits and _, as in --key-env OPENAI_API_KEY."
            )
        _check_whole("concurrency", self.concurrency, MAX_CONCURRENCY)
        if self.context_length is not None:
            _check_whole("context_length", self.context_length, 2**31 - 1)
        if self.flavour not in FLAVOURS:
            raise OptionError(
                f"There is no flavour {self.flavour!r:.40}.{did_you_mean(str(self.flavour), FLAVOURS)} "
                f"Choose one of {', '.join(FLAVOURS)}."
            )

    @property
    def digest(self) -> str:
        """The hex sha256 of address and model id, which stands for the content of a remote model."""
        return hashlib.sha256(f"{self.url}\n{self.model}".encode()).hexdigest()

    @property
    def root(self) -> str:
        """The server's address without the interface's ``/v1``."""
        return self.url.removesuffix("/v1")

    @property
    def host(self) -> str:
        """The server's name in lower case, without its port."""
        return urlsplit(self.url).hostname or ""

    @property
    def local(self) -> bool:
        """Whether the server is on this machine."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def exposed(self) -> bool:
        """Whether a key would go over a network without encryption."""
        return bool(self.key_env) and self.url.startswith("http://") and not self.local

    def key(self) -> str:
        """The key as the environment has it now; '' if the endpoint needs none.

        Raises:
            EngineError: the variable is not set, or holds what cannot be a key.
        """
        if not self.key_env:
            return ""
        found = os.environ.get(self.key_env, "").strip()
        if not found:
            raise EngineError(
                f"The variable {self.key_env}, which holds the key of {self.url}, is not set. Set it before "
                f'Jupyter starts, or in a cell: import os, getpass; os.environ["{self.key_env}"] = '
                "getpass.getpass()"
            )
        if not (found.isascii() and found.isprintable() and " " not in found):
            raise EngineError(
                f"The variable {self.key_env} holds characters that no key has, such as spaces or line "
                "breaks. Set it to the key alone."
            )
        return found

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Endpoint:
        """An endpoint from what `as_dict` gave; names that are not known are left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


def _check_whole(name: str, value: Any, most: int) -> None:
    if not 1 <= whole(name, value) <= most:
        raise OptionError(f"{name} is from 1 to {most:,}, not {value:,}.")


def _base(url: Any) -> str:
    """The checked address of an interface, which ends in its version."""
    try:
        parts = urlsplit(str(url).strip())
        port = parts.port
    except ValueError as e:
        raise OptionError(f"The address of the endpoint cannot be read. {_EXAMPLE}") from e
    if "@" in parts.netloc:
        raise OptionError(
            "The address of an endpoint is kept in the store, so it must not hold a name or a password. "
            "Give the key with --key-env VARIABLE."
        )
    if parts.query or parts.fragment:
        raise OptionError(
            "The address of an endpoint has no part after ? or #. Give the base of the interface alone, and "
            "a key with --key-env VARIABLE."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise OptionError(
            f"{str(url)!r:.100} is no address of an endpoint: it begins with http:// or https:// and a "
            f"host. {_EXAMPLE}"
        )
    path = parts.path.rstrip("/")
    for call in _CALLS:
        path = path.removesuffix(call)
    if not any(_VERSION.fullmatch(part) for part in path.split("/")):
        path += "/v1"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = host if port is None else f"{host}:{port}"
    return urlunsplit((parts.scheme, netloc, path, "", ""))
