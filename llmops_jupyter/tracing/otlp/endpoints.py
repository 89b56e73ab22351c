"""Where traces are sent, and what of them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any
from urllib.parse import urlsplit

from llmops_jupyter.errors import OptionError, SendError
from llmops_jupyter.privacy import redactor

PATH = "/v1/traces"
FUNCTION = "function"
# What the OpenTelemetry SDK reads where no endpoint is named.
STANDARD = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
MOST_TEXT = 200
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_FROM = re.compile(r"(?:(?P<scheme>[A-Za-z]{1,20}) )?(?P<variable>[A-Z_][A-Z0-9_]{0,79})")
# Headers that are the exporter's own.
_OURS = ("content-type", "content-encoding", "content-length", "host", "transfer-encoding")


@dataclass(frozen=True)
class Endpoint:
    """An OTLP/HTTP endpoint with the settings that hold for it until they are changed.

    Args:
        url: its address; ``/v1/traces`` is added where it does not end so.
        headers: environment variables that hold the values, by the header's name; ``Bearer NAME`` puts the word before
            the value. What the variables hold is read at each request and kept nowhere.
        content: whether texts go along; without, only names, figures and times do.
        redact: a second rule beside the store's: 'pii', kinds of personal data, or 'function' where one was given.
        service: `service.name` of the resource; left out, what OTEL_SERVICE_NAME says, or llmops-jupyter.
        deployment: `deployment.environment.name` of the resource.
        openinference: also the names of OpenInference, by which Phoenix shows messages.

    Raises:
        OptionError, PrivacyError: one of them cannot be used.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bool = True
    redact: str = ""
    service: str = ""
    deployment: str = ""
    openinference: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", checked_address(self.url))
        object.__setattr__(self, "headers", _checked_headers(self.headers))
        for name in ("service", "deployment"):
            text = getattr(self, name)
            if not isinstance(text, str) or len(text) > MOST_TEXT or not text.isprintable():
                raise OptionError(
                    f"{name} is a short name on one line, such as shop or production."
                )
        if self.redact != FUNCTION:
            redactor(self.redact)

    @property
    def host(self) -> str:
        """Scheme, host and port."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def local(self) -> bool:
        """Whether it is on this machine, where no proxy stands between."""
        return (urlsplit(self.url).hostname or "") in ("localhost", "127.0.0.1", "::1")

    def values_of_headers(self) -> dict[str, str]:
        """The headers as the environment has them now.

        Raises:
            SendError: a variable is not set, or holds what no header can.
        """
        found = {}
        for name, source in self.headers.items():
            scheme, _, variable = source.rpartition(" ")
            value = os.environ.get(variable, "").strip()
            if not value:
                raise SendError(
                    f"The variable {variable}, which holds the header {name} for {self.host}, is not set. Set it before "
                    f'Jupyter starts, or in a cell: import os, getpass; os.environ["{variable}"] = getpass.getpass()'
                )
            if not (value.isascii() and value.isprintable()):
                raise SendError(
                    f"The variable {variable} holds characters that no header has, such as line breaks. Set it to the "
                    "value alone."
                )
            found[name] = f"{scheme} {value}".lstrip()
        return found

    def changed(self, **settings: Any) -> Endpoint:
        """With those settings that are not None."""
        return replace(self, **{k: v for k, v in settings.items() if v is not None})

    def as_json(self) -> str:
        """The settings without the address."""
        found = asdict(self)
        del found["url"]
        return json.dumps(found)

    @classmethod
    def from_json(cls, url: str, text: str) -> Endpoint:
        """An endpoint from what `as_json` gave; names that are not known are left out."""
        known = {f.name for f in fields(cls)} - {"url"}
        return cls(url, **{k: v for k, v in json.loads(text).items() if k in known})


def named_endpoint(given: str) -> str:
    """The address that was given, or that which OpenTelemetry's own variables name.

    Raises:
        OptionError: neither is there.
    """
    if given:
        return given
    for name in STANDARD:
        if os.environ.get(name):
            return os.environ[name]
    raise OptionError(
        f"Name the endpoint, as in http://localhost:4318, or set {STANDARD[1]} to its address."
    )


def checked_address(url: Any) -> str:
    """An address that OTLP can be posted to, whole.

    Raises:
        OptionError: it is none, or holds what should not be kept.
    """
    text = url.strip() if isinstance(url, str) else ""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if usable and (parts.username or parts.password or parts.query or parts.fragment):
        # It may be a key, so it is not repeated.
        raise OptionError(
            "An endpoint's address holds no password and no query, since addresses are kept. Keys go into headers from "
            "environment variables: --header Authorization=NAME_OF_VARIABLE"
        )
    if not usable or not text.isascii() or any(c.isspace() for c in text):
        raise OptionError(
            f"An endpoint is an address such as http://localhost:4318, not {text or url!r:.80}."
        )
    base = f"{parts.scheme}://{parts.netloc.lower()}{parts.path}".rstrip("/")
    return base if base.endswith(PATH) else base + PATH


def _checked_headers(given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise OptionError('Headers are a mapping, as in {"Authorization": "Bearer PHOENIX_KEY"}.')
    found = {}
    for name, source in given.items():
        if not (isinstance(name, str) and _NAME.fullmatch(name)) or name.lower() in _OURS:
            raise OptionError(f"{str(name)!r:.60} is no header that can be set here.")
        if not (isinstance(source, str) and _FROM.fullmatch(source)):
            # What was given may be the key itself, so it is not repeated.
            raise OptionError(
                f"The header {name} is named by the environment variable that holds its value, never by the value "
                f"itself: upper case letters, digits and _, as in {name}=PHOENIX_KEY, or {name}=Bearer PHOENIX_KEY."
            )
        found[name] = source
    return found


def settled(
    known: Endpoint | None, url: str, redact: Any, settings: dict[str, Any]
) -> tuple[Endpoint, Any]:
    """The endpoint with what was kept of it and what is changed now, and the rule of redaction that it means.

    Raises:
        OptionError, PrivacyError: a setting cannot be used.
        SendError: it was sent to with a function that is not given now.
    """
    rule = FUNCTION if callable(redact) else redact
    endpoint = (known or Endpoint(url)).changed(redact=rule, **settings)
    if endpoint.redact == FUNCTION and not callable(redact):
        raise SendError(
            f"{endpoint.url} was sent to with a function that redacts, which a store cannot keep. Give it again: "
            "ws.traces.send(…, redact=function), or another rule: redact='pii'"
        )
    return endpoint, redactor(redact if callable(redact) else endpoint.redact)


def headers_of(pairs: list[str] | None) -> dict[str, str] | None:
    """Headers from NAME=VARIABLE; None if there are none.

    Raises:
        OptionError: one is written otherwise.
    """
    if not pairs:
        return None
    found = {}
    for pair in pairs:
        name, equals, source = pair.partition("=")
        if not equals:
            raise OptionError(
                "A header is written NAME=VARIABLE, as in --header Authorization=PHOENIX_KEY"
            )
        found[name.strip()] = source.strip()
    return found
