"""What a request of OpenAI's interface asks for, in this package's own terms."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmops_jupyter.deploy.serving.faults import Refusal
from llmops_jupyter.errors import OptionError, SchemaError
from llmops_jupyter.records import Message, Role, Tool, ToolCall

SAME = (
    *("temperature", "top_p", "top_k", "min_p", "repeat_penalty"),
    *("frequency_penalty", "presence_penalty"),
)
EMPTY = {"type": "object", "properties": {}}


@dataclass(frozen=True)
class Asked:
    """A request for answers.

    Args:
        messages: of the conversation.
        variables: of the bundle's template; None where none are given.
        sampling: settings that win over the bundle's.
        tools: functions that the caller runs.
        tool_choice: which of them may or must be called.
        schema: JSON schema of the answer; None leaves it to the bundle.
        n: answers.
        stream: whether they are sent piece by piece.
        include_usage: whether a stream ends with the usage.
        user: who asks, as the request says.
        texts: of a completion, which are read as they are; () for a conversation.
    """

    messages: tuple[Message, ...] = ()
    variables: Mapping[str, Any] | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    schema: Mapping[str, Any] | None = None
    n: int = 1
    stream: bool = False
    include_usage: bool = False
    user: str = ""
    texts: tuple[str, ...] = ()

    @property
    def answers(self) -> int:
        """How many answers there will be."""
        return self.n * max(1, len(self.texts))


def chat(body: Mapping[str, Any]) -> Asked:
    """What a body of /v1/chat/completions asks for.

    Raises:
        Refusal: its parts do not go together.
    """
    sampling = _sampling(body)
    if body.get("logprobs"):
        sampling["logprobs"] = body.get("top_logprobs") or 0
    elif body.get("top_logprobs") is not None:
        raise Refusal(400, "top_logprobs takes logprobs: true.", param="top_logprobs")
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if limit is not None:
        sampling["max_tokens"] = limit
    messages = _messages(body["messages"])
    variables = _variables(body)
    if not messages and variables is None:
        raise Refusal(400, "messages is empty. Send one message, or variables.", param="messages")
    tools = _tools(body.get("tools") or ())
    return Asked(
        messages=messages,
        variables=variables,
        sampling=sampling,
        tools=tools,
        tool_choice=_tool_choice(body.get("tool_choice"), tools),
        schema=_schema(body.get("response_format")),
        user=body.get("user") or body.get("safety_identifier") or "",
        **_ways(body),
    )


def completion(body: Mapping[str, Any]) -> Asked:
    """What a body of /v1/completions asks for.

    Raises:
        Refusal: its parts do not go together.
    """
    sampling = _sampling(body)
    for name in ("max_tokens", "logprobs"):
        if body.get(name) is not None:
            sampling[name] = body[name]
    prompt = body["prompt"]
    return Asked(
        variables=_variables(body),
        sampling=sampling,
        texts=(prompt,) if isinstance(prompt, str) else tuple(prompt),
        user=body.get("user") or "",
        **_ways(body),
    )


def _ways(body: Mapping[str, Any]) -> dict[str, Any]:
    options = body.get("stream_options")
    if options is not None and not body.get("stream"):
        raise Refusal(400, "stream_options takes stream: true.", param="stream_options")
    return {
        "n": body.get("n") or 1,
        "stream": bool(body.get("stream")),
        "include_usage": bool((options or {}).get("include_usage")),
    }


def _sampling(body: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: body[name] for name in SAME if body.get(name) is not None}
    if body.get("seed") is not None:
        found["seed"] = body["seed"] % 2**32
    if body.get("stop") is not None:
        stop = body["stop"]
        found["stop"] = (stop,) if isinstance(stop, str) else tuple(stop)
    if body.get("logit_bias"):
        found["logit_bias"] = tuple((int(k), float(v)) for k, v in body["logit_bias"].items())
    return found


def _variables(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """`variables`, or those in `metadata`, as an object or as its JSON."""
    found = body.get("variables")
    if found is None:
        found = (body.get("metadata") or {}).get("variables")
        if isinstance(found, str):
            try:
                found = json.loads(found)
            except (ValueError, RecursionError) as e:
                raise Refusal(
                    400, "metadata.variables is not JSON.", param="metadata.variables"
                ) from e
    if found is not None and not isinstance(found, Mapping):
        raise Refusal(
            400,
            "variables is an object with the values of the prompt's variables.",
            param="variables",
        )
    return found


def _messages(given: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    found: list[Message] = []
    open_calls: set[str] = set()
    for number, one in enumerate(given):
        at = f"messages[{number}]"
        role: Role = "system" if one["role"] == "developer" else one["role"]
        calls = tuple(_call(c, at) for c in one.get("tool_calls") or ())
        if calls and role != "assistant":
            raise Refusal(400, "Only the assistant has tool_calls.", param=f"{at}.tool_calls")
        answers = one.get("tool_call_id") or ""
        if role == "tool" and answers not in open_calls:
            raise Refusal(
                400,
                "A message of the role 'tool' follows an assistant's message that has its tool_call_id in tool_calls.",
                param=f"{at}.tool_call_id",
            )
        open_calls |= {call.id for call in calls}
        content = _content(one.get("content"), at, may_lack=bool(calls))
        found.append(Message(role, content, calls, answers if role == "tool" else ""))
    return tuple(found)


def _content(given: Any, at: str, *, may_lack: bool) -> str:
    if given is None:
        if may_lack:
            return ""
        raise Refusal(400, "A message has content.", param=f"{at}.content")
    if isinstance(given, str):
        return given
    odd = next((part for part in given if part["type"] != "text"), None)
    if odd is not None:
        try:
            Message("user", given)
        except OptionError as e:
            raise Refusal(400, str(e), code="unsupported_content", param=f"{at}.content") from e
    return "\n".join(str(part.get("text", "")) for part in given)


def _call(given: Mapping[str, Any], at: str) -> ToolCall:
    function = given["function"]
    try:
        arguments = json.loads(function["arguments"] or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise Refusal(
            400, "arguments is the JSON of an object.", param=f"{at}.tool_calls.function.arguments"
        )
    return ToolCall(given["id"], function["name"], arguments)


def _tools(given: Sequence[Mapping[str, Any]]) -> tuple[Tool, ...]:
    from llmops_jupyter.prompts.content import as_schema

    found = []
    for number, one in enumerate(given):
        function, at = one["function"], f"tools[{number}].function"
        try:
            parameters = as_schema(function.get("parameters") or EMPTY)
        except SchemaError as e:
            raise Refusal(400, str(e), param=f"{at}.parameters") from e
        assert parameters is not None
        if parameters.get("type", "object") != "object":
            raise Refusal(
                400, "parameters is the JSON schema of an object.", param=f"{at}.parameters"
            )
        found.append(Tool(function["name"], function.get("description") or "", parameters))
    if len({tool.name for tool in found}) < len(found):
        raise Refusal(400, "Two tools have one name.", param="tools")
    return tuple(found)


def _tool_choice(given: Any, tools: Sequence[Tool]) -> str:
    if given is None:
        return "auto"
    choice = str(given if isinstance(given, str) else given["function"]["name"])
    if not tools:
        if choice in ("none", "auto"):
            return choice
        raise Refusal(400, "tool_choice takes tools.", param="tool_choice")
    from llmops_jupyter.engine.toolcalls import chosen_tools

    try:
        chosen_tools(tools, choice)
    except OptionError as e:
        raise Refusal(400, str(e), param="tool_choice") from e
    return choice


def _schema(given: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    from llmops_jupyter.prompts.content import as_schema

    if given is None or given["type"] == "text":
        return None
    if given["type"] == "json_object":
        return {"type": "object"}
    if "json_schema" not in given:
        raise Refusal(400, "response_format has json_schema.", param="response_format.json_schema")
    try:
        return as_schema(given["json_schema"]["schema"])
    except SchemaError as e:
        raise Refusal(400, str(e), param="response_format.json_schema.schema") from e
