"""One run of a prompt: streamed, traced, taken apart into a completion."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llmops_jupyter.engine.protocol import Finished, Request, Token
from llmops_jupyter.engine.replay import note_trace, noted_trace, recorded_trace_id
from llmops_jupyter.errors import EngineError
from llmops_jupyter.prompts import reasoning, spending
from llmops_jupyter.prompts.grounding import grounded
from llmops_jupyter.prompts.guarding import VARIABLES, is_checked_first, tell_input, tell_root
from llmops_jupyter.prompts.prepare import Prepared
from llmops_jupyter.prompts.screening import Screen
from llmops_jupyter.records import (
    Completion,
    FinishReason,
    Grounding,
    Message,
    Resources,
    Sampling,
    Timing,
    TokenLogprob,
    Usage,
    Verdict,
)
from llmops_jupyter.tracing import Span, Tracer, current_span, names
from llmops_jupyter.tracing.search import WORKFLOW


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


class Run:
    """A prompt that is running. Use it in a `with` statement and iterate over it.

    Each item is the piece of text that came, reasoning before answer with an empty line between them;
    `completion` tells at any time what there is so far, apart. When the block is left by an exception, the trace keeps the partial answer.
    Under a guard policy that may change or deny the answer, it comes in one piece, once it is checked.
    """

    def __init__(self, tracer: Tracer, prepared: Prepared) -> None:
        self.prepared = prepared
        self.answer = Answer()
        self.notes = list(prepared.notes)
        self.trace_id = ""
        self._tracer = tracer
        self._root = root_span(tracer, prepared)
        self._screen = Screen(tracer, prepared, self._root, self.answer)
        self._holds_back = prepared.guarding is not None and prepared.guarding.holds_back
        self._pieces: Iterator[str] | None = None

    def __enter__(self) -> Run:
        self._root.__enter__()
        self.trace_id = self._root.trace_id
        note_root(self._root, self.prepared)
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
        self._screen.withhold()
        tell_root(self._root, self.prepared.guarding, self.answer.verdicts)
        finish_root(self._root, self.answer)
        self._root.__exit__(kind, error, None)

    @property
    def completion(self) -> Completion:
        """The completion; while the run goes on, what there is so far, without what is held back."""
        answer = (
            self.answer
            if self._screen.may_be_shown
            else replace(self.answer, text="", reasoning="", messages=(), logprobs=(), parsed=None)
        )
        return make_completion(self.prepared, answer, self.trace_id, tuple(self.notes))

    @property
    def refused(self) -> bool:
        """Whether the policy denied what was asked, so that no model was."""
        return any(v.place == "input" and v.action == "blocked" for v in self.answer.verdicts)

    def _generate(self) -> Iterator[str]:
        answer, screen = self.answer, self._screen
        taken = screen.takes(self.prepared)
        tell_input(self._root, taken or self.prepared)
        if taken is None:
            yield answer.text
            return
        self.prepared = prepared = grounded(taken, self._root, screen.passages)
        self.notes = list(prepared.notes)
        if needs_no_model(prepared, answer):
            screen.gives(prepared)
            yield answer.text
            return
        yield from self._answers(prepared)
        finish_answer(prepared, answer)
        screen.gives(prepared)
        if not screen.denied:
            check_answer(prepared, answer, self._root)
        if self._holds_back:
            yield from (f"{answer.reasoning}\n\n",) if answer.reasoning else ()
            yield answer.text
            if prepared.engine.streams and prepared.guarding is not None:
                self.notes.append(f"guard {prepared.guarding.ref}: shown once it was checked")

    def _answers(self, prepared: Prepared) -> Iterator[str]:
        """The pieces of what the model says, in one step or several."""
        answer = self.answer
        first = replace(prepared.request, trace_id=self.trace_id)
        two_steps = prepared.content.cot and prepared.content.schema is None
        if prepared.options.tools:
            yield from self._agent(first)
        else:
            yield from self._step(first, thinking=two_steps)
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
            yield from self._step(second, thinking=False)
            answer.text = answer.text.strip()

    def _agent(self, first: Request) -> Iterator[str]:
        """Steps of the model and the calls that it asks for, until it answers."""
        from llmops_jupyter.prompts.agent import Agent

        agent = Agent(
            self._tracer, self.prepared, self._root, self.answer, self._screen, alone=True
        )
        while not agent.over:
            yield from self._step(agent.request(first), thinking=False)
            assert self.answer.finished is not None
            if self.answer.text and self.answer.finished.tool_calls and not self._holds_back:
                yield "\n"
            yield from agent.proceed(self.answer.finished)

    def _step(self, request: Request, *, thinking: bool) -> Iterator[str]:
        answer = self.answer
        answer.begin_step(thinking=thinking)
        span = chat_span(self._tracer, self.prepared, request).begin(self._root)
        begun = bool(answer.text or answer.reasoning or answer.messages)
        events = iter(spending.generate(self.prepared, request, begun=begun))
        error: BaseException | None = None
        try:
            for event in events:
                if isinstance(event, Token):
                    span.first_token()
                    begun = bool(answer.text)
                    span.partial(answer.add(event))
                    if self._holds_back:
                        continue
                    if answer.reasoning and answer.text and not begun:
                        yield "\n\n"
                    yield event.text
                elif isinstance(event, Finished):
                    answer.end(event)
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
