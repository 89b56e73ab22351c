"""The spans of a run: that of the whole interaction, and one for each call of the model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.protocol import Request
from llmops_jupyter.engine.replay import note_trace, noted_trace, recorded_trace_id
from llmops_jupyter.prompts.guarding import VARIABLES, is_checked_first
from llmops_jupyter.records import Message, Sampling
from llmops_jupyter.tracing import Span, Tracer, current_span, names
from llmops_jupyter.tracing.search import WORKFLOW

if TYPE_CHECKING:
    from llmops_jupyter.prompts.answer import Answer
    from llmops_jupyter.prompts.prepare import Prepared


def root_span(tracer: Tracer, prepared: Prepared, request: Request | None = None) -> Span:
    """The span of the whole interaction."""
    version, engine = prepared.version, prepared.engine
    checked = is_checked_first(prepared)
    variables = {} if checked else {VARIABLES: dict(prepared.variables)}
    return tracer.span(
        f"prompt {version.ref}" if version else "prompt",
        op=WORKFLOW,
        attributes={**variables, **prepared.attributes},
        messages=() if checked else prepared.messages,
        trace_id=None if current_span() else _recorded(prepared, request or prepared.request),
        provider=engine.provider,
        model=engine.model_name,
        model_digest=engine.model_digest,
        prompt_name=version.name if version else None,
        prompt_version=version.version if version else None,
        session=prepared.options.session,
    )


def _recorded(prepared: Prepared, request: Request) -> str | None:
    """The trace in which a request was recorded; one that changes later is known by what it was."""
    if prepared.source is not None or prepared.guarding is not None:
        return noted_trace(prepared.engine, _noted(prepared, request))
    return recorded_trace_id(prepared.engine, request)


def note_root(root: Span, prepared: Prepared, request: Request | None = None) -> None:
    """Have a recording know the trace of a request that gets passages later, or is changed by a guard."""
    if prepared.source is not None or prepared.guarding is not None:
        note_trace(prepared.engine, _noted(prepared, request or prepared.request), root.trace_id)


def _noted(prepared: Prepared, request: Request) -> Request:
    """The request as a recording notes it: by its hash where something may be taken out of it."""
    if not is_checked_first(prepared):
        return request
    text = json.dumps([m.as_dict() for m in request.messages], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return replace(request, messages=(Message("user", digest),))


def chat_span(tracer: Tracer, prepared: Prepared, request: Request) -> Span:
    """The span of one call of the model."""
    version, engine, sampling = prepared.version, prepared.engine, request.sampling
    attributes = _sampling_attributes(sampling)
    attributes["gen_ai.output.type"] = "json" if request.schema is not None else "text"
    if request.tools:
        attributes[names.TOOL_DEFINITIONS] = [tool.as_dict() for tool in request.tools]
        attributes["llmops.request.tool_choice"] = request.tool_choice
    if prepared.options.adapters:
        attributes["llmops.request.adapters"] = prepared.options.adapter_pairs()
    if request.exact:
        attributes["llmops.request.exact"] = True
    if request.schema is not None:
        attributes["llmops.request.schema"] = dict(request.schema)
    if request.prefill:
        attributes["llmops.request.prefill"] = request.prefill
    return tracer.span(
        f"chat {engine.model_name}",
        op="chat",
        attributes=attributes,
        messages=request.messages,
        provider=engine.provider,
        model=engine.model_name,
        model_digest=engine.model_digest,
        prompt_name=version.name if version else None,
        prompt_version=version.version if version else None,
        session=prepared.options.session,
        seed=sampling.seed,
    )


def _sampling_attributes(sampling: Sampling) -> dict[str, Any]:
    """What was asked for; of the less common settings only those that say something."""
    found: dict[str, Any] = {
        "gen_ai.request.temperature": sampling.temperature,
        "gen_ai.request.max_tokens": sampling.max_tokens,
        "gen_ai.request.top_p": sampling.top_p,
        "gen_ai.request.top_k": sampling.top_k,
        "llmops.request.min_p": sampling.min_p,
        "llmops.request.repeat_penalty": sampling.repeat_penalty,
    }
    if sampling.stop:
        found["gen_ai.request.stop_sequences"] = list(sampling.stop)
    if sampling.frequency_penalty:
        found["gen_ai.request.frequency_penalty"] = sampling.frequency_penalty
    if sampling.presence_penalty:
        found["gen_ai.request.presence_penalty"] = sampling.presence_penalty
    if sampling.penalty_window != Sampling.penalty_window:
        found["llmops.request.penalty_window"] = sampling.penalty_window
    if sampling.logit_bias:
        found["llmops.request.logit_bias"] = [list(pair) for pair in sampling.logit_bias]
    if sampling.logprobs is not None:
        found["llmops.request.logprobs"] = sampling.logprobs
    return found


def finish_root(root: Span, answer: Answer) -> None:
    """Give the root span what the whole interaction came to."""
    if answer.grounding is not None:
        root.set("llmops.rag.answered", answer.grounding.answered)
        root.set("llmops.rag.supported", answer.grounding.share())
    if answer.usage.input_tokens or answer.usage.output_tokens:
        root.usage(answer.usage)
    root.cost(answer.cost)
    root.resources(answer.resources)
    if answer.timing.first_token_s is not None:
        root.first_token(answer.timing.first_token_s)
    if answer.text or answer.reasoning:
        root.output(answer.text or answer.reasoning)
    if answer.seed is not None:
        root.set("gen_ai.request.seed", answer.seed)
    if answer.reasoning:
        root.set("llmops.reasoning", answer.reasoning)
    if answer.logprobs:
        mean = sum(token.logprob for token in answer.logprobs) / len(answer.logprobs)
        root.set("llmops.mean_logprob", round(mean, 5))
    root.set("gen_ai.response.finish_reasons", [answer.finish_reason])
