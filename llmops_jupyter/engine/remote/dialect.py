"""What one server takes: its flavour, less what it was found to refuse."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmops_jupyter.engine.remote.faults import Fault
from llmops_jupyter.engine.remote.flavours import SCHEMA_WAYS, Flavour, SchemaWay
from llmops_jupyter.errors import ContextLengthError

# Fields that an answer can do without.
DISPENSABLE = (
    "stream_options",
    "seed",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repeat_penalty",
    "repetition_penalty",
    "repeat_last_n",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "top_logprobs",
    "logprobs",
    "tool_choice",
    "stop",
)
_REFUSES = re.compile(
    r"unsupported|not (currently )?support|unrecogni[sz]ed|unknown|unexpected|not permitted|not allowed"
    r"|extra_forbidden|only the default|not available|no longer|deprecated",
    re.IGNORECASE,
)
# More are not returned by any server that is known.
MOST_LOGPROBS = 20
_CONTINUING = ("continue_final_message", "add_generation_prompt")


class Dialect:
    """Changes when the server refuses a field, so that the next request does without it.

    Args:
        flavour: what to begin with.
    """

    def __init__(self, flavour: Flavour) -> None:
        self.flavour = flavour
        self.limit = flavour.limit
        self.schema: SchemaWay = flavour.schema
        self.continues = flavour.continues
        self.logprobs = MOST_LOGPROBS
        self.dropped = set(flavour.ignored)

    def learn(self, fault: Fault, body: Mapping[str, Any]) -> bool:
        """Whether another request, without what this one was refused for, is worth a try."""
        if fault.status not in (400, 422, 501) or isinstance(fault.error, ContextLengthError):
            return False
        text = f"{fault.param} {fault.said}"
        if self.limit in body and "max_completion_tokens" in text and self.limit == "max_tokens":
            self.limit = "max_completion_tokens"
        elif "max_completion_tokens" in body and _names("max_completion_tokens", text):
            self.limit = "max_tokens"
        elif "response_format" in body and re.search(
            "response_format|json_schema|json_object", text
        ):
            self._weaker(body["response_format"])
        elif any(name in body and _names(name, text) for name in _CONTINUING):
            self.continues = ""
        elif "logprobs" in body and "logprobs" in text and not _REFUSES.search(text):
            return self._fewer(int(body.get("top_logprobs", body["logprobs"])), text)
        else:
            return self._drop(fault, body, text)
        return True

    def ignores_schemas(self) -> None:
        """The server took a schema without effect; from now on the model is told it instead."""
        self.schema = "asked"

    def _fewer(self, refused: int, text: str) -> bool:
        """Ask for as many likely tokens as the refusal names, else for half of them."""
        named = [int(number) for number in re.findall(r"\d+", text) if 0 < int(number) < refused]
        self.logprobs = min(self.logprobs, max(named, default=refused // 2))
        return self.logprobs > 0

    def _weaker(self, refused: Mapping[str, Any]) -> None:
        way: SchemaWay = "json_schema"
        if refused.get("type") == "json_object":
            way = "json_object_schema" if "schema" in refused else "json_object"
        after = SCHEMA_WAYS[SCHEMA_WAYS.index(way) + 1]
        # Another request may have learned the same in the meantime, or more.
        if SCHEMA_WAYS.index(after) > SCHEMA_WAYS.index(self.schema):
            self.schema = after

    def _drop(self, fault: Fault, body: Mapping[str, Any], text: str) -> bool:
        """Leave out the field that is refused as such; a value out of its range is the user's to correct."""
        if not _REFUSES.search(text) and fault.param != "stream_options":
            return False
        named = [name for name in DISPENSABLE if name in body and name == fault.param]
        named = named or [name for name in DISPENSABLE if name in body and _names(name, text)]
        self.dropped.update(named)
        return bool(named)


def _names(field: str, text: str) -> bool:
    return re.search(rf"(?<![\w]){re.escape(field)}(?![\w])", text) is not None
