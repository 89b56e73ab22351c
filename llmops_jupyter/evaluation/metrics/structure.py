"""Metrics of an answer's structure: JSON, schemas, fields, numbers, code."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import DataError, OptionError, SchemaError
from llmops_jupyter.evaluation.metrics.arguments import as_texts, number_of
from llmops_jupyter.evaluation.metrics.metric import Case, Metric, Scored

TOLERANCE = 1e-6
# Digits with what divides them; no part of a word (H2O, GPT-4), and a minus only where nothing stands before.
_NUMBER = re.compile(
    r"(?<![^\W\d_])(?<![^\W\d_]-)(?:(?<![\w)])[-+−])?"
    r"(?:\d(?:[\d.,'\u00a0\u202f]*\d)?|(?<!\d)\.\d+)(?:[eE][-+]?\d+(?!\w))?"
)
_FENCE = re.compile(r"^\s*```[\w-]*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)
YES_NO = (0.0, 1.0)


def json_valid() -> Metric:
    """The whole answer is JSON."""

    def each(case: Case) -> Scored:
        fault = _parsed(case.output)[1]
        return Scored(float(not fault), str(not fault).lower(), fault)

    return Metric("json", each=each, digest="json", bounds=YES_NO, yes_no=True)


def schema(given: str | Mapping[str, Any]) -> Metric:
    """The answer is JSON that satisfies a JSON schema: a mapping, JSON text, or the path of a file.

    Raises:
        OptionError: it cannot be read or is no schema.
    """
    wanted, name = _schema(given)
    from jsonschema.validators import validator_for

    validator = validator_for(wanted)(wanted)

    def each(case: Case) -> Scored:
        value, fault = _parsed(case.output)
        if fault:
            return Scored(0.0, "false", fault)
        try:
            error = next(iter(validator.iter_errors(value)), None)
        except RecursionError:
            return Scored(0.0, "false", "it nests too deep to be checked")
        return Scored(1.0, "true") if error is None else Scored(0.0, "false", error.message[:300])

    digest = json.dumps(wanted, sort_keys=True)
    return Metric(
        f"schema={name}", each=each, digest=f"schema\n{digest}", bounds=YES_NO, yes_no=True
    )


def json_equal() -> Metric:
    """The answer and the expected one are the same as JSON, whatever the order of keys."""

    def each(case: Case) -> Scored:
        value, fault = _parsed(case.output)
        if fault:
            return Scored(0.0, "false", fault)
        wanted = case.expected
        if isinstance(wanted, str):
            wanted = _parsed(wanted)[0] if not _parsed(wanted)[1] else wanted
        same = _plain(value) == _plain(wanted)
        return Scored(float(same), str(same).lower())

    return Metric(
        "json-equal",
        each=each,
        digest="json-equal",
        needs_expected=True,
        bounds=YES_NO,
        yes_no=True,
    )


def field(path: str) -> Metric:
    """A field of the JSON answer, such as ``customer.name`` or ``items.0.price``, is the expected one.

    The expected answer is the value itself, or an object that has the field.
    """
    parts = [part for part in path.split(".") if part]
    if not parts:
        raise OptionError("field needs the path of a field: field=customer.name")

    def each(case: Case) -> Scored:
        value, fault = _parsed(case.output)
        if fault:
            return Scored(0.0, "false", fault)
        found, missing = _at(value, parts)
        if missing:
            return Scored(0.0, "false", f"there is no field {path!r}")
        wanted = case.expected
        if isinstance(wanted, str) and not _parsed(wanted)[1]:
            wanted = _parsed(wanted)[0]
        inside, absent = _at(wanted, parts)
        same = _plain(found) == _plain(wanted if absent else inside)
        return Scored(float(same), str(same).lower(), "" if same else f"it is {found!r:.100}")

    return Metric(
        f"field={path}",
        each=each,
        digest=f"field\n{path}",
        needs_expected=True,
        bounds=YES_NO,
        yes_no=True,
    )


def numeric(tolerance: float | str = TOLERANCE) -> Metric:
    """The last number of the answer is the expected one, within a tolerance.

    The tolerance is relative for expected values beyond 1, else absolute. Thousands may be grouped by commas,
    dots, apostrophes or thin spaces; of commas and dots the last kind is the decimal mark, and one alone is
    unless three digits follow a comma. Digits inside words (H2O, GPT-4) are no numbers.
    """
    allowed = number_of("numeric", tolerance, "the tolerance")

    def each(case: Case) -> Scored:
        found = last_number(case.output)
        wanted = [last_number(text) for text in as_texts(case.expected)]
        if any(w is None for w in wanted):
            raise DataError(f"the expected answer {case.expected!r:.80} is no number")
        if found is None:
            return Scored(0.0, "false", "there is no number in the answer")
        near = any(
            w is not None and math.isclose(found, w, rel_tol=allowed, abs_tol=allowed)
            for w in wanted
        )
        return Scored(float(near), str(near).lower(), f"the answer's number is {found:g}")

    name = "numeric" if allowed == TOLERANCE else f"numeric={allowed:g}"
    return Metric(
        name,
        each=each,
        digest=f"numeric\n{allowed!r}",
        needs_expected=True,
        bounds=YES_NO,
        yes_no=True,
    )


def python() -> Metric:
    """The answer, or the code block that it is, is Python that can be parsed; it is not run."""

    def each(case: Case) -> Scored:
        fenced = _FENCE.match(case.output)
        code = fenced.group(1) if fenced else case.output
        if not code.strip():
            return Scored(0.0, "false", "there is no code")
        try:
            ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            return Scored(0.0, "false", str(e))
        return Scored(1.0, "true")

    return Metric("python", each=each, digest="python", bounds=YES_NO, yes_no=True)


def last_number(text: str) -> float | None:
    """The last number of a text; None if there is none."""
    found = _NUMBER.findall(text)
    return _read_number(found[-1]) if found else None


def _read_number(text: str) -> float:
    """A number with its groups and its decimal mark."""
    plain = re.sub(r"['\u00a0\u202f]", "", text).replace("−", "-")
    dots, commas = plain.count("."), plain.count(",")
    if dots and commas:
        mark = "." if plain.rfind(".") > plain.rfind(",") else ","
        plain = plain.replace("," if mark == "." else ".", "").replace(mark, ".")
    elif commas == 1 and not re.search(r",\d{3}$", plain):
        plain = plain.replace(",", ".")
    elif commas or dots > 1:
        plain = plain.replace(",", "").replace(".", "")
    return float(plain)


def _parsed(text: str) -> tuple[Any, str]:
    """The JSON value of a text, and what is wrong with it."""
    try:
        return json.loads(text, parse_constant=_no_constant), ""
    except ValueError as e:
        return None, f"no JSON: {e}"
    except RecursionError:
        return None, "no JSON: it nests too deep"


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _plain(value: Any) -> Any:
    """A JSON value in which 1 and 1.0 are the same, and true is not 1."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def _at(value: Any, parts: list[str]) -> tuple[Any, bool]:
    """The value at a path, and whether it is missing."""
    for part in parts:
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None, True
    return value, False


def _schema(given: str | Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    from llmops_jupyter.prompts.content import as_schema

    name = "given"
    if isinstance(given, str) and not given.lstrip().startswith("{"):
        path = Path(given).expanduser()
        name = path.name
        try:
            given = path.read_text("utf-8")
        except (OSError, ValueError) as e:
            raise OptionError(
                f"schema={str(path)!r} cannot be read. Give the path of a JSON schema, or the schema itself."
            ) from e
    elif isinstance(given, Mapping):
        name = str(given.get("title", "given"))
    try:
        found = as_schema(given)
    except SchemaError as e:
        raise OptionError(f"schema={name}: {e}") from e
    if found is None:
        raise OptionError("schema needs a JSON schema: schema=FILE.json")
    return found, name
