"""What servers understand beyond the standard fields, and how one is recognised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from llmops_jupyter.models.endpoint import Endpoint

# How an answer is held to a JSON schema, the strictest first.
SchemaWay = Literal["json_schema", "json_object_schema", "json_object", "asked"]
SCHEMA_WAYS: tuple[SchemaWay, ...] = ("json_schema", "json_object_schema", "json_object", "asked")


@dataclass(frozen=True)
class Flavour:
    """The dialect of a kind of server.

    Attributes:
        provider: the value of `gen_ai.provider.name`.
        settings: its names for sampling settings beyond the standard ones.
        schema: how it is asked for JSON that satisfies a schema.
        grammar: whether it takes grammars in llama.cpp's notation.
        continues: how it goes on with an answer that was begun: by fields of vLLM's, because the last message
            is the assistant's, or not at all.
        limit: its name for the longest answer.
        tokenizer: whose interface it has for counting tokens; '' for none.
        stops: stop strings that it takes at most.
        forbid: the bias that stands for minus infinity.
        rows: requests that it can work on at once; None for as many as the endpoint's setting says.
        echoes: whether the log-probabilities of a given text are those of its tokens.
        ignored: standard fields that it takes without effect.
    """

    name: str
    provider: str
    settings: Mapping[str, str] = field(default_factory=dict)
    schema: SchemaWay = "json_schema"
    grammar: bool = False
    continues: Literal["vllm", "last", ""] = ""
    limit: str = "max_tokens"
    tokenizer: Literal["vllm", "llama-server", "llama-cpp-python", ""] = ""
    stops: int | None = None
    forbid: float = -100.0
    rows: int | None = None
    echoes: bool = True
    ignored: tuple[str, ...] = ()


_LLAMA = {"top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repeat_penalty"}
_KNOWN = (
    Flavour("openai", "openai", limit="max_completion_tokens", stops=4),
    Flavour(
        "vllm",
        "vllm",
        {"top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repetition_penalty"},
        grammar=True,
        continues="vllm",
        tokenizer="vllm",
    ),
    Flavour(
        "llama-server",
        "llama.cpp",
        {**_LLAMA, "penalty_window": "repeat_last_n"},
        grammar=True,
        continues="last",
        tokenizer="llama-server",
        forbid=-1e6,
    ),
    # It works on one request at a time, and as it comes set breaks off the one before for the next.
    Flavour(
        "llama-cpp-python",
        "llama.cpp",
        _LLAMA,
        schema="json_object_schema",
        grammar=True,
        tokenizer="llama-cpp-python",
        forbid=-1e6,
        rows=1,
        # It tells of each token how likely it is after itself (version 0.3.36).
        echoes=False,
    ),
    # Its OpenAI interface passes none of its further settings on.
    Flavour("ollama", "ollama"),
    # By its documentation of the interface.
    Flavour(
        "anthropic",
        "anthropic",
        schema="asked",
        ignored=(
            "seed",
            "logprobs",
            "top_logprobs",
            "frequency_penalty",
            "presence_penalty",
            "logit_bias",
        ),
    ),
    Flavour("compatible", "openai-compatible"),
)
FLAVOURS: Mapping[str, Flavour] = {flavour.name: flavour for flavour in _KNOWN}

# Hosted models; the names are those of OpenTelemetry's GenAI conventions.
PROVIDERS: Mapping[str, str] = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "api.mistral.ai": "mistral_ai",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "x_ai",
    "api.groq.com": "groq",
    "api.perplexity.ai": "perplexity",
    "api.cohere.ai": "cohere",
    "api.cohere.com": "cohere",
    "api.moonshot.ai": "moonshot_ai",
    "openrouter.ai": "openrouter",
    "api.together.xyz": "together_ai",
    "api.fireworks.ai": "fireworks_ai",
}

_OWNERS = {
    "vllm": "vllm",
    "llamacpp": "llama-server",
    "me": "llama-cpp-python",
    "library": "ollama",
}
_LENGTHS = ("max_model_len", "context_length", "context_window", "max_context_length")


@dataclass(frozen=True)
class Facts:
    """What is known of an endpoint: its flavour, its models' ids, and the context's tokens if it told."""

    flavour: Flavour
    provider: str
    models: tuple[str, ...] = ()
    context_length: int | None = None
    answered: bool = False


def hosted(endpoint: Endpoint) -> Flavour | None:
    """The flavour of an endpoint that needs not be asked: it was named, or its host is well known."""
    if endpoint.flavour != "auto":
        return FLAVOURS[endpoint.flavour]
    if endpoint.host == "api.openai.com" or endpoint.host.endswith(".openai.azure.com"):
        return FLAVOURS["openai"]
    if endpoint.host == "api.anthropic.com":
        return FLAVOURS["anthropic"]
    return FLAVOURS["compatible"] if endpoint.host in PROVIDERS else None


def facts(endpoint: Endpoint, listed: Any) -> Facts:
    """What follows from the answer of ``/models``; None where there was none that could be read."""
    entries = [e for e in _entries(listed) if isinstance(e.get("id"), str)]
    mine = next((e for e in entries if e["id"] == endpoint.model), None)
    given = mine or (entries[0] if len(entries) == 1 else {})
    flavour = hosted(endpoint) or FLAVOURS[_recognised(entries)]
    return Facts(
        flavour,
        _provider(endpoint, flavour),
        tuple(e["id"] for e in entries),
        _length(given),
        answered=listed is not None,
    )


def _entries(listed: Any) -> list[Mapping[str, Any]]:
    data = listed.get("data") if isinstance(listed, Mapping) else listed
    return [e for e in data if isinstance(e, Mapping)] if isinstance(data, list) else []


def _recognised(entries: list[Mapping[str, Any]]) -> str:
    for entry in entries:
        owner = entry.get("owned_by")
        # 'me' alone says little; this server adds an empty list of permissions.
        if owner == "me" and entry.get("permissions") != []:
            continue
        if isinstance(owner, str) and owner in _OWNERS:
            return _OWNERS[owner]
    return "compatible"


def _provider(endpoint: Endpoint, flavour: Flavour) -> str:
    if endpoint.host.endswith(".openai.azure.com"):
        return "azure.ai.openai"
    return PROVIDERS.get(endpoint.host, flavour.provider)


def _length(entry: Mapping[str, Any]) -> int | None:
    meta = entry.get("meta")
    given = [entry.get(name) for name in _LENGTHS]
    # What llama-server was started with goes before what the model was trained with.
    given += [meta.get("n_ctx"), meta.get("n_ctx_train")] if isinstance(meta, Mapping) else []
    for value in given:
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None
