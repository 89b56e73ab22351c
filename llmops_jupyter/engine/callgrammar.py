"""llama.cpp's grammars (GBNF) that keep what comes after the mark of a call to valid calls."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from llmops_jupyter.engine.callforms import CallForm
from llmops_jupyter.engine.sampler import grammar_of
from llmops_jupyter.engine.toolcalls import Calling

_RULE = re.compile(r"^([A-Za-z0-9-]+) ::= (.*)$")


def call_rules(calling: Calling, *, bare: bool = False) -> str:
    """The grammar of what comes after the first mark of a call: the rest of it, and further calls.

    `bare` says that the mark was the name's key of a call without marks.

    Raises:
        SchemaError: a tool's parameters use what the grammar cannot express.
    """
    begin = "bare" if bare else "marked"
    return _rules(*_key(calling, None), calling.form, begin, calling.most)


def answer_rules(calling: Calling, schema: Mapping[str, Any]) -> str:
    """The grammar of a whole answer that is calls, or else satisfies a schema."""
    return _rules(*_key(calling, schema), calling.form, "answer", calling.most)


def _key(calling: Calling, schema: Mapping[str, Any] | None) -> tuple[tuple[str, ...], str]:
    names = tuple(tool.name for tool in calling.tools)
    schemas = [dict(tool.parameters) for tool in calling.tools]
    return names, json.dumps([*schemas, *([] if schema is None else [dict(schema)])])


@lru_cache(maxsize=32)
def _rules(names: tuple[str, ...], schemas: str, form: CallForm, begin: str, most: int) -> str:
    lines = grammar_of({"oneOf": json.loads(schemas)}).splitlines()
    found = [match for line in lines if (match := _RULE.match(line))]
    rules: dict[str, str] = {match[1]: match[2] for match in found}
    values = rules.pop("root").split(" | ")
    key, sep = _text(json.dumps(form.arguments)), "call-sep"
    rules[sep] = '| " " | "\\n"'
    places = range(len(names))
    if form.style == "named":
        for i in places:
            rules[f"call-{i}"] = f"{_text(names[i])} {_text(form.separator)} {values[i]}"
        rules["call"] = " | ".join(f"call-{i}" for i in places)
        calls = "call" + _more(f"{_text(form.begin)} call", most)
    else:
        for i in places:
            name = _text(json.dumps(names[i]))
            rules[f"call-{i}"] = f'{name} {sep} "," {sep} {key} {sep} ":" {sep} {values[i]} "}}"'
        either = " | ".join(f"call-{i}" for i in places)
        rules["call-rest"] = f'{sep} ":" {sep} ({either})'
        rules["call"] = f'"{{" {sep} {_text(json.dumps("name"))} call-rest'
        calls = _calls(form, sep, most)
    if begin == "bare":
        calls = "call-rest" + _more(f'";" {sep} call', most)
    elif begin == "answer":
        calls = f"{values[-1]} | {_text(form.begin)} {calls}"
    rules["root"] = calls
    return "\n".join(f"{name} ::= {rule}" for name, rule in rules.items())


def _calls(form: CallForm, sep: str, most: int) -> str:
    if form.listed:
        more = _more(f'{sep} "," {sep} call', most)
        return f'{sep} "[" {sep} call{more} {sep} "]"'
    if form.end:
        one = f"{sep} call {sep} {_text(form.end)}"
        return one + _more(f"{sep} {_text(form.begin)} {one}", most)
    return f"{sep} call" + _more(f'";" {sep} call', most)


def _more(rule: str, most: int) -> str:
    """The rule again, so that there are `most` at most."""
    return f" ({rule}){{0,{most - 1}}}" if most > 1 else ""


def _text(text: str) -> str:
    """A text as a literal of the grammar."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
