"""One run of a prompt: streamed, traced, taken apart into a completion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.protocol import Finished, Request, Token
from llmops_jupyter.prompts import reasoning, spending
from llmops_jupyter.prompts.answer import (
    Answer,
    check_answer,
    finish_answer,
    make_completion,
    needs_no_model,
    take,
)
from llmops_jupyter.prompts.grounding import grounded
from llmops_jupyter.prompts.guarding import tell_input, tell_root
from llmops_jupyter.prompts.prepare import Prepared
from llmops_jupyter.prompts.runspans import chat_span, finish_root, note_root, root_span
from llmops_jupyter.prompts.screening import Screen
from llmops_jupyter.records import Completion
from llmops_jupyter.tracing import Tracer

if TYPE_CHECKING:
    from llmops_jupyter.prompts.stopping import Stop


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
        self._stop: Stop | None = None

    def obey(self, stop: Stop) -> None:
        """Let another thread end the run; before it begins. It goes on as after an interrupt, at once."""
        self._stop = stop

    def note(self, key: str, value: Any) -> None:
        """Set an attribute of the run's trace."""
        self._root.set(key, value)

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
        self._screen.break_off(self.prepared)
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
        prepared = self.prepared
        if self._stop is not None:
            prepared = replace(prepared, engine=self._stop.over(prepared.engine))
        events = iter(spending.generate(prepared, request, begun=begun))
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
