"""The document of the routes, and answers held against it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import yaml

from llmops_jupyter import server

DOCUMENT = yaml.safe_load(Path(server.__file__).with_name("openapi.yaml").read_text("utf-8"))
SCHEMAS = DOCUMENT["components"]["schemas"]


def check(name: str, value: Any) -> None:
    """Raise where a value is not as the schema of that name says."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    validator = jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    validator.validate(value)


def answer_of(path: str, method: str = "get") -> str:
    """The schema of what a route answers."""
    found = DOCUMENT["paths"][path][method]["responses"]["200"]["content"]["application/json"]
    return found["schema"]["$ref"].rpartition("/")[2]
