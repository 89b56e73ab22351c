"""The interface as an OpenAPI document, which requests are checked against."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmops_jupyter.deploy.serving.faults import Refusal
from llmops_jupyter.errors import did_you_mean

FILE = Path(__file__).with_name("openapi.yaml")
SHOWN = 200


@functools.cache
def document() -> dict[str, Any]:
    """The OpenAPI document; what a request may leave out may be null in it as well."""
    found = copy.deepcopy(_read())
    for name, schema in found["components"]["schemas"].items():
        if not name.endswith("Request"):
            continue
        for key, value in schema["properties"].items():
            if key not in schema["required"]:
                schema["properties"][key] = {"anyOf": [value, {"type": "null"}]}
    return found


@functools.cache
def _read() -> dict[str, Any]:
    from importlib.metadata import PackageNotFoundError, version

    import yaml

    read: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))
    with suppress(PackageNotFoundError):  # from a folder that was not installed
        read["info"]["version"] = version("llmops-jupyter")
    return read


@functools.cache
def _validator(name: str) -> Any:
    import jsonschema

    whole = _read()
    schema = {"$ref": f"#/components/schemas/{name}", "components": whole["components"]}
    return jsonschema.Draft202012Validator(schema)


def read(name: str, content: bytes) -> dict[str, Any]:
    """The object that a body holds, as the document says of a schema.

    Raises:
        Refusal: it is none, or another one.
    """
    body = read_json(content)
    check(name, body)
    return body


def read_json(content: bytes) -> dict[str, Any]:
    """The object that a body holds.

    Raises:
        Refusal: it is none.
    """
    try:
        found = json.loads(content.decode("utf-8"), parse_constant=_no_number)
        # Half a surrogate pair is no character, and no model can read it.
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as e:
        raise Refusal(400, "The body holds half a surrogate pair. Send whole characters.") from e
    except UnicodeDecodeError as e:
        raise Refusal(400, "The body is not UTF-8. Send JSON in UTF-8.") from e
    except (ValueError, RecursionError) as e:
        said = " ".join(str(e).split())[:SHOWN]
        raise Refusal(400, f"The body is not JSON: {said}. Send a JSON object.") from e
    if not isinstance(found, dict):
        raise Refusal(400, f"The body is a JSON {type(found).__name__}. Send a JSON object.")
    return found


def check(name: str, body: dict[str, Any]) -> None:
    """Refuse a body that is not as the document says.

    Args:
        name: of the schema.
        body: its values; those that are null count as left out.

    Raises:
        Refusal: with the parameter that is wrong.
    """
    from jsonschema.exceptions import best_match

    known = _read()["components"]["schemas"][name]["properties"]
    for key in body:
        if key not in known:
            near = did_you_mean(key, known)
            raise Refusal(
                400,
                f"Unknown parameter: {key!r:.80}.{near}",
                code="unknown_parameter",
                param=key[:80],
            )
    given = {key: value for key, value in body.items() if value is not None}
    try:
        error = best_match(_validator(name).iter_errors(given))
    except (RecursionError, OverflowError) as e:
        raise Refusal(400, "The body is nested too deeply. Send plainer values.") from e
    if error is None:
        for key, value in given.items():
            if known[key].get("type") == "integer" and isinstance(value, float):
                body[key] = int(value)  # 5.0 is a whole number to JSON's schemas
        return
    param = _path(error.absolute_path)
    if error.validator == "required" and not param:
        missing = next((n for n in error.validator_value if n not in given), None)
        raise Refusal(
            400,
            f"Missing required parameter: {missing!r}.",
            code="missing_required_parameter",
            param=missing,
        )
    said = error.message if len(error.message) <= SHOWN else f"{error.message[:SHOWN]}…"
    raise Refusal(
        400, f"Invalid value for {param or 'body'!r}: {said}", code="invalid_value", param=param
    )


def _path(parts: Iterable[str | int]) -> str | None:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text[:SHOWN] or None


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")
