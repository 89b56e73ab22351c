"""What a run has answered so far, and the completion that becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.protocol import Finished, Token
from llmops_jupyter.errors import EngineError
from llmops_jupyter.prompts import reasoning
from llmops_jupyter.records import (
    Completion,
    FinishReason,
    Grounding,
    Message,
    Resources,
    Timing,
    TokenLogprob,
    Usage,
    Verdict,
)

if TYPE_CHECKING:
    from llmops_jupyter.prompts.prepare import Prepared
    from llmops_jupyter.tracing import Span


@dataclass
class Answer:
    """What has come so far.

    A step that is `thinking` was asked to reason, so that all it writes is reasoning; a model that thinks by
    itself does so in any step.
    """

    text: str = ""
    reasoning: str = ""
    usage: Usage = field(default_factory=Usage)
    timing: Timing = field(default_factory=Timing)
    finish_reason: FinishReason = "stop"
    seed: int | None = None
    parsed: Any = None
    logprobs: tuple[TokenLogprob, ...] = ()
    notes: tuple[str, ...] = ()
    cost: float | None = None
    resources: Resources | None = None
    thinking: bool = False
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    messages: tuple[Message, ...] = ()
    finished: Finished | None = None
    grounding: Grounding | None = None
    verdicts: tuple[Verdict, ...] = ()
    _earlier: str = ""

    def begin_step(self, *, thinking: bool) -> None:
        """The next events are those of another call of the model."""
        self.thinking, self._earlier = thinking, self.reasoning

    def add(self, event: Token) -> str:
        """Take a piece; what there is now of what it is a piece of."""
        if event.reasoning or self.thinking:
            self.reasoning += event.text
            return self.reasoning
        self.text += event.text
        return self.text

    def end(self, event: Finished) -> None:
        """Take the end of a call, which has all of its text."""
        thought = [self._earlier, event.reasoning, *([event.text] if self.thinking else [])]
        self.reasoning = "\n\n".join(part for part in thought if part)
        self.finished = event
        if not self.thinking:
            self.text = event.text


def take(answer: Answer, event: Finished, span: Span) -> None:
    """Add the end of a request to the answer and its span; a failed request raises its error."""
    answer.usage = answer.usage + event.usage
    answer.timing = add_timing(answer.timing, event.timing, answer.usage.output_tokens)
    answer.finish_reason, answer.seed = event.finish_reason, event.seed
    answer.notes += tuple(note for note in event.notes if note not in answer.notes)
    if event.cost is not None:
        answer.cost = (answer.cost or 0.0) + event.cost
        span.cost(event.cost)
    if event.resources is not None:
        answer.resources = (answer.resources or Resources()) + event.resources
        span.resources(event.resources)
    if event.reasoning:
        span.set("llmops.reasoning", event.reasoning)
    answer.logprobs = event.logprobs
    span.usage(event.usage)
    span.set("gen_ai.request.seed", event.seed)
    span.set("gen_ai.response.finish_reasons", [event.finish_reason])
    if event.timing.first_token_s is not None:
        span.first_token(event.timing.first_token_s)
        span.set("gen_ai.response.time_to_first_chunk", event.timing.first_token_s)
    if event.text or event.tool_calls:
        span.output((Message("assistant", event.text, event.tool_calls),))
    if event.error is not None:
        raise event.error
    if event.finish_reason == "interrupted":
        raise EngineError("The model was closed while it answered. Run the cell again.")
    if event.finish_reason == "error":
        raise EngineError("The model stopped without saying why. Run the cell again.")


def add_timing(before: Timing, step: Timing, output_tokens: int) -> Timing:
    """The timing of steps that follow each other."""
    total = before.total_s + step.total_s
    first = before.first_token_s if before.total_s else step.first_token_s
    rate = step.tokens_per_s
    if before.total_s and first is not None and total > first:
        rate = output_tokens / (total - first)
    return Timing(total, first, rate)


# An answer that ended so is not what its schema asks for.
UNFINISHED = ("interrupted", "deadline", "tool_calls", "budget")


def finish_answer(prepared: Prepared, answer: Answer) -> None:
    """Parse a structured answer and take its reasoning apart.

    Raises:
        SchemaError: the answer is not what the schema asks for.
    """
    content = prepared.content
    if content.schema is None or answer.finish_reason in UNFINISHED:
        return
    cut = answer.finish_reason == "length"
    if not content.cot:
        answer.parsed = reasoning.parse_answer(
            answer.text, content.schema, prepared.options.model_class, cut=cut
        )
        return
    whole = reasoning.parse_answer(
        answer.text, reasoning.reasoning_schema(content.schema), None, cut=cut
    )
    thought = (answer.reasoning, whole["reasoning"])
    answer.reasoning = "\n\n".join(part for part in thought if part)
    answer.text = reasoning.dumps(whole["answer"])
    answer.parsed = reasoning.parse_answer(
        answer.text, content.schema, prepared.options.model_class, cut=False
    )


def needs_no_model(prepared: Prepared, answer: Answer) -> bool:
    """Whether the documents have given the answer already, for instance that they do not say; it is taken then."""
    context = prepared.context
    if context is None or context.answer is None:
        return False
    answer.text, answer.grounding = context.answer
    if prepared.content.schema is not None:
        answer.notes += ("there is no structured answer, since the documents gave one or none",)
    return True


def check_answer(prepared: Prepared, answer: Answer, root: Span) -> None:
    """Look for each sentence of an answer in the passages that it was made from."""
    context, source = prepared.context, prepared.source
    if context is None or source is None or answer.finish_reason in ("interrupted", "tool_calls"):
        return
    if prepared.content.schema is not None:
        answer.notes += ("a structured answer is not looked for in the passages",)
        return
    answer.text, answer.grounding = source.check(context, answer.text, root)


def make_completion(
    prepared: Prepared, answer: Answer, trace_id: str, notes: tuple[str, ...]
) -> Completion:
    """The record of an answer."""
    return Completion(
        text=answer.text,
        reasoning=answer.reasoning,
        parsed=answer.parsed,
        usage=answer.usage,
        timing=answer.timing,
        finish_reason=answer.finish_reason,
        trace_id=trace_id,
        prompt_version=prepared.version.ref if prepared.version else "",
        model=prepared.engine.model_name,
        notes=(*notes, *answer.notes),
        logprobs=answer.logprobs,
        cost=answer.cost,
        tool_calls=answer.tool_calls,
        messages=answer.messages,
        hits=prepared.context.hits if prepared.context is not None else (),
        grounding=answer.grounding,
        verdicts=answer.verdicts,
        resources=answer.resources,
    )
