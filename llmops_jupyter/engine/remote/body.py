"""From a request to the body of a call, with a note for each thing that the server cannot do."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmops_jupyter.engine.protocol import Request
from llmops_jupyter.engine.remote.dialect import Dialect
from llmops_jupyter.errors import OptionError
from llmops_jupyter.records import Message, Sampling

# Seeds that every server takes, whatever kind of whole number it reads them into.
SEED_BITS = 31
GO_ON = (
    "Your last message was cut off. Write what comes next in it, from exactly where it ends: repeat nothing, "
    "say nothing about it."
)
_DEFAULT = Sampling()
_STANDARD = ("temperature", "top_p", "frequency_penalty", "presence_penalty")
_EXTENSIONS = ("top_k", "min_p", "repeat_penalty", "penalty_window")


@dataclass
class Call:
    """A call that is ready to be sent.

    `path` is relative to the interface's base. `held` says how much of a schema the server itself enforces.
    """

    path: str
    body: dict[str, Any]
    seed: int
    notes: list[str] = field(default_factory=list)
    held: bool = True


def draw_seed(request: Request) -> int:
    """The request's seed, or a fresh one."""
    given = request.sampling.seed
    return secrets.randbits(SEED_BITS) if given is None else given


def check(request: Request) -> None:
    """Refuse what no endpoint can do.

    Raises:
        OptionError: the request has no prompt, adapters, or both a schema and a grammar.
    """
    if request.adapters:
        raise OptionError(
            "An endpoint runs the model that it was started with, so an adapter cannot be added to a call. "
            "Serve the adapter there (vLLM: --lora-modules) and register it with %model add, or use a local "
            "model."
        )
    if request.schema is not None and request.grammar is not None:
        raise OptionError("A request has a schema or a grammar, not both. Leave one out.")
    if not request.messages and not request.text:
        raise OptionError("The prompt is empty. Write what to ask.")


def build(
    model: str, request: Request, dialect: Dialect, seed: int, bias: Mapping[int, float]
) -> Call:
    """The call of a request in a server's dialect.

    Args:
        model: its id on the server.
        request: checked.
        dialect: of the server.
        seed: the one to use.
        bias: what the request's `logit_bias` means, by token id.

    Raises:
        OptionError: the server has no grammars.
    """
    call = Call("/chat/completions", {"model": model}, seed)
    if request.text is None:
        _messages(call, request, dialect)
        if request.tools:
            _tools(call, request, dialect)
    else:
        call.path = "/completions"
        call.body["prompt"] = request.text + request.prefill
        if request.tools:
            call.notes.append("Tools need a prompt of messages; they were left out.")
    call.body["stream"] = True
    if "stream_options" not in dialect.dropped:
        call.body["stream_options"] = {"include_usage": True}
    _sampling(call, request, dialect, bias)
    _form(call, request, dialect)
    if request.exact:
        call.notes.append("The endpoint does not promise the same text for the same seed.")
    return call


def message_value(message: Message) -> dict[str, Any]:
    """A message as the interface has it."""
    value: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        value["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": json.dumps(dict(call.arguments), ensure_ascii=False),
                },
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        value["tool_call_id"] = message.tool_call_id
    return value


def _messages(call: Call, request: Request, dialect: Dialect) -> None:
    messages = [message_value(message) for message in request.messages]
    if request.prefill:
        messages.append({"role": "assistant", "content": request.prefill})
        if dialect.continues == "vllm":
            call.body.update(continue_final_message=True, add_generation_prompt=False)
        elif not dialect.continues:
            messages.append({"role": "user", "content": GO_ON})
            call.notes.append(
                "The endpoint cannot go on with an answer that was begun; it was asked to in a message."
            )
    call.body["messages"] = messages


def _tools(call: Call, request: Request, dialect: Dialect) -> None:
    call.body["tools"] = [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": dict(tool.parameters),
            },
        }
        for tool in request.tools
    ]
    if "tool_choice" not in dialect.dropped:
        choice = request.tool_choice
        named = {"type": "function", "function": {"name": choice}}
        call.body["tool_choice"] = choice if choice in ("auto", "required", "none") else named


def _sampling(call: Call, request: Request, dialect: Dialect, bias: Mapping[int, float]) -> None:
    sampling = request.sampling
    values: dict[str, Any] = {name: getattr(sampling, name) for name in _STANDARD}
    # A penalty of nothing is what servers do without being told.
    for name in ("frequency_penalty", "presence_penalty"):
        if not values[name]:
            del values[name]
    for name in _EXTENSIONS:
        value = getattr(sampling, name)
        known = dialect.flavour.settings.get(name)
        if known is not None:
            values[known] = value
        elif value != getattr(_DEFAULT, name):
            _left_out(call, name)
    values["seed"] = call.seed
    if sampling.stop:
        values["stop"] = list(sampling.stop[: dialect.flavour.stops])
    if bias:
        values["logit_bias"] = {str(token): amount for token, amount in bias.items()}
    if sampling.logprobs is not None:
        _logprobs(call, values, sampling.logprobs, dialect.logprobs)
    call.body[dialect.limit if call.path == "/chat/completions" else "max_tokens"] = (
        sampling.max_tokens
    )
    named = {known: name for name, known in dialect.flavour.settings.items()}
    for name, value in values.items():
        if name not in dialect.dropped:
            call.body[name] = value
        elif name in ("logit_bias", "logprobs") or _changed(sampling, named.get(name, name)):
            _left_out(call, named.get(name, name))


def _logprobs(call: Call, values: dict[str, Any], wanted: int, most: int) -> None:
    if wanted > most:
        call.notes.append(f"The endpoint returns the {most} likeliest tokens at most.")
    count = min(wanted, most)
    if call.path == "/completions":
        values["logprobs"] = count
    else:
        values.update(logprobs=True, top_logprobs=count)


def _changed(sampling: Sampling, name: str) -> bool:
    # Stop strings are also looked for here, so that nothing is lost.
    if name == "stop" or not hasattr(_DEFAULT, name):
        return False
    return bool(getattr(sampling, name) != getattr(_DEFAULT, name))


def _left_out(call: Call, name: str) -> None:
    call.notes.append(f"The endpoint does not take the setting {name}; it was left out.")


def _form(call: Call, request: Request, dialect: Dialect) -> None:
    """Hold the answer to a schema or a grammar."""
    if request.grammar is not None:
        if not dialect.flavour.grammar:
            raise OptionError(
                "This endpoint takes no grammars. Use a JSON schema, or a model on llama-server, vLLM or this "
                "machine."
            )
        if dialect.flavour.name == "vllm":
            call.body["structured_outputs"] = {"grammar": request.grammar}
        else:
            call.body["grammar"] = request.grammar
    if request.schema is None:
        return
    schema = dict(request.schema)
    way = dialect.schema
    call.held = way in ("json_schema", "json_object_schema")
    if way == "json_schema":
        named = {"name": "answer", "schema": schema, "strict": strict(schema)}
        call.body["response_format"] = {"type": "json_schema", "json_schema": named}
        return
    if way == "json_object_schema":
        call.body["response_format"] = {"type": "json_object", "schema": schema}
        return
    if way == "json_object":
        call.body["response_format"] = {"type": "json_object"}
    call.notes.append(
        "The endpoint does not enforce a JSON schema; the model was told it, and the answer was checked."
    )
    _ask_for(call, schema)


def _ask_for(call: Call, schema: Mapping[str, Any]) -> None:
    asked = (
        "Answer with JSON alone, without a code fence. It must satisfy this JSON schema:\n"
        f"{json.dumps(schema, ensure_ascii=False)}"
    )
    if "messages" not in call.body:
        call.body["prompt"] = f"{asked}\n\n{call.body['prompt']}"
        return
    messages: list[dict[str, Any]] = call.body["messages"]
    if messages[0]["role"] == "system":
        messages[0] = {"role": "system", "content": f"{messages[0]['content']}\n\n{asked}"}
    else:
        messages.insert(0, {"role": "system", "content": asked})


def strict(schema: Any) -> bool:
    """Whether a schema is of the kind that OpenAI enforces: each object is closed and all of it required."""
    if isinstance(schema, Mapping):
        if schema.get("type") == "object" or "properties" in schema:
            names = set(schema.get("properties", ()))
            required = schema.get("required", ())
            if schema.get("additionalProperties") is not False or names != set(required):
                return False
        return all(strict(value) for value in schema.values())
    if isinstance(schema, Sequence) and not isinstance(schema, str):
        return all(strict(value) for value in schema)
    return True
