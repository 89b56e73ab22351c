"""One run of a prompt: streamed, traced, taken apart into a completion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from llmops_jupyter.engine.protocol import Finished, Request, Token
from llmops_jupyter.engine.replay import recorded_trace_id
from llmops_jupyter.errors import EngineError
from llmops_jupyter.prompts import reasoning
from llmops_jupyter.prompts.prepare import Prepared
from llmops_jupyter.records import Completion, FinishReason, Sampling, Timing, TokenLogprob, Usage
from llmops_jupyter.tracing import Span, Tracer, current_span
from llmops_jupyter.tracing.search import WORKFLOW


@dataclass
class Answer:
    """What has come so far."""

    text: str = ""
    reasoning: str = ""
    usage: Usage = field(default_factory=Usage)
    timing: Timing = field(default_factory=Timing)
    finish_reason: FinishReason = "stop"
    seed: int | None = None
    parsed: Any = None
    logprobs: tuple[TokenLogprob, ...] = ()


class Run:
    """A prompt that is running. Use it in a `with` statement and iterate over it.

    Each item is the piece of text that came; `completion` tells at any time what there is so far. When
    the block is left by an exception, the trace keeps the partial answer.
    """

    def __init__(self, tracer: Tracer, prepared: Prepared) -> None:
        self.prepared = prepared
        self.answer = Answer()
        self.notes = list(prepared.notes)
        self.trace_id = ""
        self._tracer = tracer
        self._root = root_span(tracer, prepared)
        self._pieces: Iterator[str] | None = None

    def __enter__(self) -> Run:
        self._root.__enter__()
        self.trace_id = self._root.trace_id
        return self

    def __iter__(self) -> Iterator[str]:
        if self._pieces is None:
            self._pieces = self._generate()
        return self._pieces

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        close = getattr(self._pieces, "close", None)
        if callable(close):
            close()
        if error is not None:
            interrupted = isinstance(error, KeyboardInterrupt)
            self.answer.finish_reason = "interrupted" if interrupted else "error"
        finish_root(self._root, self.answer)
        self._root.__exit__(kind, error, None)

    @property
    def completion(self) -> Completion:
        """The completion; while the run goes on, what there is so far."""
        return make_completion(self.prepared, self.answer, self.trace_id, tuple(self.notes))

    def _generate(self) -> Iterator[str]:
        prepared, answer = self.prepared, self.answer
        first = replace(prepared.request, trace_id=self.trace_id)
        two_steps = prepared.content.cot and prepared.content.schema is None
        yield from self._step(first, into="reasoning" if two_steps else "text")
        if two_steps and answer.finish_reason in ("stop", "length"):
            # The second step begins where the model should have written its answer, so that there is
            # one even if the model forgot to mark it.
            thought = answer.reasoning.strip()
            answer.reasoning = thought
            second = replace(
                first,
                prefill=f"{thought}\n{reasoning.ANSWER}",
                sampling=prepared.options.sampling,
            )
            yield from self._step(second, into="text")
            answer.text = answer.text.strip()
        finish_answer(prepared, answer)

    def _step(self, request: Request, into: str) -> Iterator[str]:
        answer = self.answer
        span = chat_span(self._tracer, self.prepared, request).begin(self._root)
        before = getattr(answer, into)
        events = iter(self.prepared.engine.generate([request]))
        error: BaseException | None = None
        try:
            for event in events:
                if isinstance(event, Token):
                    span.first_token()
                    setattr(answer, into, getattr(answer, into) + event.text)
                    span.partial(getattr(answer, into))
                    yield event.text
                elif isinstance(event, Finished):
                    setattr(answer, into, before + event.text)
                    take(answer, event, span)
        except GeneratorExit:
            error = KeyboardInterrupt()  # the reader of the stream stopped
            raise
        except BaseException as e:
            error = e
            raise
        finally:
            close = getattr(events, "close", None)
            if callable(close):
                close()
            span.finish(error)


def root_span(tracer: Tracer, prepared: Prepared, request: Request | None = None) -> Span:
    """The span of the whole interaction."""
    version, engine = prepared.version, prepared.engine
    return tracer.span(
        f"prompt {version.ref}" if version else "prompt",
        op=WORKFLOW,
        attributes={"llmops.prompt.variables": dict(prepared.variables)},
        messages=prepared.messages,
        trace_id=None if current_span() else recorded_trace_id(engine, request or prepared.request),
        provider=engine.provider,
        model=engine.model_name,
        model_digest=engine.model_digest,
        prompt_name=version.name if version else None,
        prompt_version=version.version if version else None,
        session=prepared.options.session,
    )


def chat_span(tracer: Tracer, prepared: Prepared, request: Request) -> Span:
    """The span of one call of the model."""
    version, engine, sampling = prepared.version, prepared.engine, request.sampling
    attributes = _sampling_attributes(sampling)
    attributes["gen_ai.output.type"] = "json" if request.schema is not None else "text"
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


def take(answer: Answer, event: Finished, span: Span) -> None:
    """Add the end of a request to the answer and its span; a failed request raises its error."""
    answer.usage = answer.usage + event.usage
    answer.timing = add_timing(answer.timing, event.timing, answer.usage.output_tokens)
    answer.finish_reason, answer.seed = event.finish_reason, event.seed
    answer.reasoning = answer.reasoning or event.reasoning
    answer.logprobs = event.logprobs
    span.usage(event.usage)
    span.set("gen_ai.request.seed", event.seed)
    span.set("gen_ai.response.finish_reasons", [event.finish_reason])
    if event.timing.first_token_s is not None:
        span.first_token(event.timing.first_token_s)
        span.set("gen_ai.response.time_to_first_chunk", event.timing.first_token_s)
    if event.text:
        span.output(event.text)
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


def finish_answer(prepared: Prepared, answer: Answer) -> None:
    """Parse a structured answer and take its reasoning apart.

    Raises:
        SchemaError: the answer is not what the schema asks for.
    """
    content = prepared.content
    if content.schema is None or answer.finish_reason in ("interrupted", "deadline"):
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
    answer.reasoning = whole["reasoning"]
    answer.text = reasoning.dumps(whole["answer"])
    answer.parsed = reasoning.parse_answer(
        answer.text, content.schema, prepared.options.model_class, cut=False
    )


def finish_root(root: Span, answer: Answer) -> None:
    """Give the root span what the whole interaction came to."""
    if answer.usage.input_tokens or answer.usage.output_tokens:
        root.usage(answer.usage)
    if answer.timing.first_token_s is not None:
        root.first_token(answer.timing.first_token_s)
    if answer.text or answer.reasoning:
        root.output(answer.text or answer.reasoning)
    if answer.seed is not None:
        root.set("gen_ai.request.seed", answer.seed)
    if answer.reasoning:
        root.set("llmops.reasoning", answer.reasoning)
    root.set("gen_ai.response.finish_reasons", [answer.finish_reason])


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
        notes=notes,
        logprobs=answer.logprobs,
    )
