"""Where notices of a rule go beside the notebook: a log, a webhook, a function of Python."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from llmops_jupyter.errors import DataError
from llmops_jupyter.evaluation.suites import check_keys

Kind = Literal["log", "webhook", "python"]
WEBHOOK_KEYS = ("webhook", "webhook_env", "secret_env", "header")
LOG = "log"
LOG_FILE = "alerts.jsonl"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


@dataclass(frozen=True)
class Channel:
    """One place that is told of a rule.

    Args:
        kind: 'log' appends a line of JSON to a file, 'webhook' posts JSON, 'python' calls a function that
            `Alerts.on` was given under this name.
        target: the file (the store's own log if empty), the address, or the function's name.
        url_env: the environment variable that has the address, instead of `target`.
        secret_env: the environment variable whose value is sent as a header. The value itself is never kept.
        header: that header's name.
    """

    kind: Kind
    target: str = ""
    url_env: str = ""
    secret_env: str = ""
    header: str = "Authorization"

    def words(self) -> str:
        """For people; of an address no more than its host, since its path may be a secret."""
        if self.kind == "log":
            return f"log {self.target}".rstrip()
        if self.kind == "python":
            return f"python {self.target}"
        return f"webhook {f'${self.url_env}' if self.url_env else host_of(self.target)}"

    def as_dict(self) -> dict[str, str]:
        """As it is kept."""
        return asdict(self)


def host_of(address: str) -> str:
    """Scheme, host and port of an address."""
    parts = urlsplit(address)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


def check_address(address: str, at: str) -> str:
    """The address, if something can be posted to it.

    Raises:
        DataError: it is no http or https address, or holds a password.
    """
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        usable = False
    if not usable:
        raise DataError(f"{at}: a webhook is an http:// or https:// address, not {address!r:.80}.")
    if parts.username or parts.password:
        raise DataError(
            f"{at}: a webhook's address holds no password, since addresses are kept. Put it into an environment "
            "variable and name that: secret_env"
        )
    return address


def read_channel(given: Any, named: Mapping[str, Channel], at: str) -> Channel:
    """A channel from YAML: ``log``, ``{log: FILE}``, ``{webhook: URL, secret_env: NAME}``, ``{python: NAME}``, or a name.

    Raises:
        DataError: it is none of these.
    """
    if isinstance(given, str):
        if given in named:
            return named[given]
        if given == LOG:
            return Channel("log")
        known = ", ".join([LOG, *named])
        raise DataError(
            f"{at}: there is no channel {given!r:.60}. Channels: {known}. Others are defined under channels:, as in "
            "team: {webhook: https://…}"
        )
    if not isinstance(given, Mapping):
        raise DataError(f"{at}: a channel is log, a name, or a mapping such as {{webhook: URL}}.")
    if "webhook" in given or "webhook_env" in given:
        check_keys(given, WEBHOOK_KEYS, at, 0, "A webhook")
        return _webhook(given, at)
    check_keys(given, ("log", "python", *WEBHOOK_KEYS), at, 0, "A channel")
    if len(given) != 1 or not isinstance(next(iter(given.values())), str):
        raise DataError(f"{at}: a channel is one of log: FILE, webhook: URL and python: NAME.")
    if "log" in given:
        return Channel("log", str(Path(given["log"]).expanduser().absolute()))
    if "python" in given:
        return Channel("python", given["python"])
    raise DataError(f"{at}: secret_env and header go with a webhook.")


def _webhook(given: Mapping[str, Any], at: str) -> Channel:
    for key, value in given.items():
        if not isinstance(value, str):
            raise DataError(f"{at}: {key} is a text, not {value!r:.60}.")
    if "webhook" in given and "webhook_env" in given:
        raise DataError(f"{at}: write webhook or webhook_env, not both.")
    for key in ("webhook_env", "secret_env"):
        if key in given and not _VARIABLE.fullmatch(given[key]):
            raise DataError(
                f"{at}: {key} is the name of an environment variable, such as OPS_TOKEN; the secret itself is never "
                "written here."
            )
    header = given.get("header", "Authorization")
    if not _HEADER.fullmatch(header):
        raise DataError(f"{at}: {header!r:.60} cannot be the name of a header. Write X-Token, say.")
    address = given.get("webhook", "")
    if address:
        check_address(address, at)
    return Channel(
        "webhook", address, given.get("webhook_env", ""), given.get("secret_env", ""), header
    )
