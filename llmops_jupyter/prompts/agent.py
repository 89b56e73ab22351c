"""The loop of a prompt with tools: the model asks for calls, gets their results, and goes on.

It ends when the model answers in words, and in any case after a number of steps, at the deadline, or when
the model asks for the same call again and again. Then the conversation so far is kept, with a note.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.protocol import Finished, Request
from llmops_jupyter.prompts.calling import Caller, Outcome
from llmops_jupyter.records import Message, ToolCall
from llmops_jupyter.render.calls import called_text
from llmops_jupyter.tracing import Span, Tracer

if TYPE_CHECKING:
    from llmops_jupyter.prompts.answer import Answer
    from llmops_jupyter.prompts.prepare import Prepared
    from llmops_jupyter.prompts.screening import Screen

# How often the same call is made; a model that still repeats it is told so.
MOST_REPEATS = 2
TOO_MANY = "the limit of steps was reached"


class Agent:
    """The steps of one run. `added` are the messages that it adds to the conversation.

    Args:
        root: the span of the run; each call is a child of it.
        answer: gets calls, notes and how the run ended.
        screen: checks what the model is told of results.
        alone: whether a person may be asked for permission.
    """

    def __init__(
        self,
        tracer: Tracer,
        prepared: Prepared,
        root: Span,
        answer: Answer,
        screen: Screen,
        *,
        alone: bool,
    ) -> None:
        options = prepared.options
        self._screen = screen
        self.prepared, self.root, self.answer = prepared, root, answer
        self.step = 0
        self.over = False
        self.added: list[Message] = []
        self._made: Counter[str] = Counter()
        self._ended: tuple[Mapping[str, Any], ...] = ()
        timeout = options.timeout
        self._deadline = None if timeout is None else time.perf_counter() + timeout
        self._caller = Caller(
            tracer,
            prepared.engine,
            {tool.name: tool for tool in options.tools},
            options.approve,
            options.allow,
            alone,
            self._deadline,
        )

    def request(self, first: Request) -> Request:
        """The request of the next step."""
        if self.step:
            self.answer.text = ""
        self.step += 1
        left = None if self._deadline is None else max(self._deadline - time.perf_counter(), 0.001)
        return replace(
            first,
            messages=(*first.messages, *self.added),
            tool_choice=self._choice(),
            deadline_s=left,
        )

    def proceed(self, finished: Finished) -> Iterator[str]:
        """Make the calls that a step has asked for; a line for each. `over` says whether it was the last."""
        calls = finished.tool_calls
        self.added.append(Message("assistant", finished.text, calls))
        self.answer.messages = tuple(self.added)
        if not calls:
            self.over = True
            if finished.finish_reason == "deadline":
                self.answer.notes += (self._late(),)
            return
        asked = list(calls)
        refused = TOO_MANY if self.step >= self.prepared.options.max_steps else ""
        made, late = 0, False
        try:
            while asked:
                self._show(asked[0])
                yield ""
                outcome = self._call(asked[0], refused)
                made += not self._repeats(asked[0])
                late = late or outcome.late
                self._told(asked.pop(0), outcome)
                yield f"{called_text(self.answer.tool_calls[-1])}\n"
        finally:
            # A conversation in which a call has no result could not go on.
            for call in asked:
                self._told(call, Outcome("Error: the run was interrupted.", error=True))
        self._settle(refused, made, late=late, last=calls[-1])

    def _settle(self, refused: str, made: int, *, late: bool, last: ToolCall) -> None:
        """Whether to go on after the calls of a step."""
        answer = self.answer
        if late or (self._deadline is not None and time.perf_counter() >= self._deadline):
            self.over, answer.finish_reason = True, "deadline"
            answer.notes += (self._late(),)
        elif refused:
            self.over = True
            answer.notes += (
                f"Stopped after {self.step} steps (max_steps); the model still asked for calls.",
            )
        elif not made:
            self.over = True
            answer.notes += (
                f"Stopped: the model goes on asking for the same call of {last.name}.",
            )

    def _late(self) -> str:
        return f"Stopped after {self.prepared.options.timeout:g} s (timeout), in step {self.step}."

    def _call(self, call: ToolCall, refused: str) -> Outcome:
        self._made[_key(call)] += 1
        if not refused and self._repeats(call):
            refused = "the same call was made before, and its result stands above. Use that."
        why = f"The call was not made: {refused}" if refused else ""
        outcome = self._caller.call(call, self.root, why)
        return outcome if why else replace(outcome, result=self._screen.result(outcome.result))

    def _repeats(self, call: ToolCall) -> bool:
        return self._made[_key(call)] > MOST_REPEATS

    def _show(self, call: ToolCall) -> None:
        """Have the call shown while it runs."""
        self._ended = self.answer.tool_calls
        self.answer.tool_calls = (*self._ended, {"step": self.step, **call.as_dict()})

    def _told(self, call: ToolCall, outcome: Outcome) -> None:
        self.added.append(Message("tool", outcome.result, tool_call_id=call.id))
        facts: dict[str, Any] = {"step": self.step, **call.as_dict(), "result": outcome.result}
        facts.update(error=outcome.error, duration_s=outcome.duration_s)
        self._ended = self.answer.tool_calls = (*self._ended, facts)
        self.answer.messages = tuple(self.added)

    def _choice(self) -> str:
        """The `tool_choice` of this step; after those that were given the model is free."""
        choices = self.prepared.options.tool_choice
        if self.step <= len(choices):
            return choices[self.step - 1]
        return "none" if choices[-1:] == ("none",) else "auto"


def _key(call: ToolCall) -> str:
    return json.dumps([call.name, dict(call.arguments)], sort_keys=True, default=str)
