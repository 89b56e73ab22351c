"""Tools in prompts, and the calls of them in answers: the same for every engine that runs a model itself.

A model is told of its tools by its chat template if that knows them in a form of `callforms`, else by a
text in front of the conversation. What it writes as a call is found in the text that comes, kept apart
from the answer, and read. How an engine keeps the model to valid calls is its own affair.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.engine.callforms import HERMES, CallForm, form_of, read_calls
from llmops_jupyter.errors import OptionError, did_you_mean
from llmops_jupyter.records import Message, Tool, ToolCall

CHOICES = ("auto", "required", "none")
# Calls of one answer; a model that goes on and on is stopped there.
MOST_CALLS = 8
# What small models need to be told after a result, where their template has no form for it.
GO_ON = "\nAnswer my question with what was returned."
CUT_CALL = "The answer ended at max_tokens within the call of a tool, which is left out. Allow more tokens."
UNREAD_CALL = "The model wrote the call of a tool that cannot be read; it stands in the answer."
_BARE = '{"name"'


@dataclass(frozen=True)
class Calling:
    """What an engine needs to know of a request with tools: form, tools that may be called, and how.

    `known` calls stand in the conversation before. `most` is how many calls the answer may have.
    """

    form: CallForm
    tools: tuple[Tool, ...]
    required: bool = False
    known: int = 0
    most: int = MOST_CALLS


def calling_of(
    tools: Sequence[Tool], choice: str, messages: Sequence[Message], template: str
) -> Calling | None:
    """How the calls of a request are read; None if there are to be none.

    Raises:
        OptionError: the choice names no tool of the request.
    """
    if not tools:
        return None
    chosen = chosen_tools(tools, choice)
    if not chosen:
        return None
    known = sum(len(message.tool_calls) for message in messages)
    most = MOST_CALLS if choice in CHOICES else 1
    return Calling(form_of(template) or HERMES, chosen, choice != "auto", known, most)


def chosen_tools(tools: Sequence[Tool], choice: str) -> tuple[Tool, ...]:
    """The tools that a `tool_choice` allows.

    Raises:
        OptionError: it is none of 'auto', 'required' and 'none', nor the name of a tool.
    """
    if choice == "none":
        return ()
    if choice in CHOICES:
        return tuple(tools)
    found = tuple(tool for tool in tools if tool.name == choice)
    if not found:
        known = [*CHOICES, *(tool.name for tool in tools)]
        raise OptionError(
            f"tool_choice is {choice!r}, which is no tool.{did_you_mean(choice, known)} "
            f"Choose among {', '.join(known)}."
        )
    return found


# The prompt.


def template_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as chat templates know them."""
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    found = []
    for message in messages:
        value: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.tool_calls:
            value["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": dict(call.arguments)},
                }
                for call in message.tool_calls
            ]
        if message.role == "tool":
            value["tool_call_id"] = message.tool_call_id
            value["name"] = names.get(message.tool_call_id, "")
        found.append(value)
    return found


def told(tools: Sequence[Tool]) -> str:
    """The text that tells a model of its tools where its template does not."""
    known = "\n".join(json.dumps(tool.as_dict()["function"], ensure_ascii=False) for tool in tools)
    example = '{"name": "NAME", "arguments": {"ARGUMENT": VALUE}}'
    return (
        f"You can call these functions:\n<tools>\n{known}\n</tools>\n"
        "To call one, write its name and arguments as JSON, and nothing else:\n"
        f"{HERMES.begin}\n{example}\n{HERMES.end}\n"
        "You then get its result. When you know enough, answer in words."
    )


def plain_messages(messages: Sequence[Message], tools: Sequence[Tool]) -> list[Message]:
    """The conversation as text alone, for templates that know no tools.

    Calls stand in the assistant's text, results in a message of the user. Where no more calls are to come,
    the results stand below the question, since calls that a small model reads are calls that it writes.
    """
    if not tools:
        return _folded(messages)
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    found: list[Message] = []
    before = ""
    for message in messages:
        if message.role == "tool":
            text = f"{names.get(message.tool_call_id, '')} returned {message.content}."
            if before == "tool":
                earlier = found.pop().content.removesuffix(GO_ON)
                text = f"{earlier}\n{text}"
            found.append(Message("user", f"{text}{GO_ON}"))
        elif message.tool_calls:
            written = [_written(call) for call in message.tool_calls]
            text = "\n".join([*([message.content] if message.content else []), *written])
            found.append(Message(message.role, text))
        else:
            found.append(message)
        before = message.role
    if found and found[0].role == "system":
        return [Message("system", f"{found[0].content}\n\n{told(tools)}"), *found[1:]]
    return [Message("system", told(tools)), *found]


def without_system(messages: Sequence[Message]) -> list[Message]:
    """The messages with what the first one, the system's, says in front of the user's first one."""
    first, *rest = messages
    place = next((i for i, m in enumerate(rest) if m.role == "user"), 0)
    if not rest:
        return [Message("user", first.content)]
    text = f"{first.content}\n\n{rest[place].content}"
    return [*rest[:place], Message(rest[place].role, text), *rest[place + 1 :]]


def _folded(messages: Sequence[Message]) -> list[Message]:
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    found: list[Message] = []
    results: list[str] = []
    for message in messages:
        if message.tool_calls:
            results += [message.content] if message.content else []
        elif message.role == "tool":
            results.append(f"{names.get(message.tool_call_id, '')} returned {message.content}.")
        else:
            _put_results(found, results)
            found.append(message)
    _put_results(found, results)
    return found


def _put_results(found: list[Message], results: list[str]) -> None:
    """Put results below the user's last message, or into one of their own."""
    if not results:
        return
    text = "\n".join(results) + GO_ON
    results.clear()
    if found and found[-1].role == "user":
        text = f"{found.pop().content}\n\n{text}"
    found.append(Message("user", text))


def _written(call: ToolCall) -> str:
    value = {"name": call.name, "arguments": dict(call.arguments)}
    return f"{HERMES.begin}\n{json.dumps(value, ensure_ascii=False)}\n{HERMES.end}"


def uses_tools(messages: Sequence[Message]) -> bool:
    """Whether there are calls or results among the messages."""
    return any(message.tool_calls or message.role == "tool" for message in messages)


# The answer.


class CallReader:
    """Keeps the calls in a text that comes in pieces apart from what is to be shown.

    An answer ends with its calls: from the first mark on, all belongs to them.
    """

    def __init__(self, calling: Calling) -> None:
        self.calling = calling
        self.begun = False
        self.bare = False
        # An engine cannot bind this call; it is read as it comes.
        self.free = False
        self._held = ""
        self._raw = ""
        self._mark = 0
        self._said = False

    def feed(self, text: str) -> str:
        """The text that is certain to be no call."""
        if self.begun:
            self._raw += text
            return ""
        self._held += text
        form = self.calling.form
        place = self._held.find(form.begin)
        if place >= 0:
            return self._begin(place, len(form.begin))
        keep = _overlap(self._held, form.begin)
        if form.bare and not self._said:
            start = self._held.lstrip()
            close = "".join(start.split())
            if close.startswith(_BARE):
                self.bare = True
                mark = start.index('"name"') + len('"name"')
                return self._begin(len(self._held) - len(start), mark)
            if _BARE.startswith(close):
                keep = len(self._held)
        given, self._held = (
            self._held[: len(self._held) - keep],
            self._held[len(self._held) - keep :],
        )
        self._said = self._said or bool(given.strip())
        return given

    def finish(self) -> str:
        """Text that was held back, at the end."""
        held, self._held = self._held, ""
        return held

    @property
    def raw(self) -> str:
        """All that was written from the first mark on."""
        return self._raw

    @property
    def surplus(self) -> str:
        """What has come after the first mark."""
        return self._raw[self._mark :]

    def drop_surplus(self) -> None:
        """Forget what has come after the first mark."""
        self._raw = self._raw[: self._mark]

    @property
    def repeated(self) -> bool:
        """Whether the last call was written before in this answer: the model goes round in circles."""
        form = self.calling.form
        if form.listed or not self._raw.rstrip().endswith(form.end or "}"):
            return False
        found = read_calls(self._raw, form, cut=True)
        return len(found) > 1 and found[-1] in found[:-1]

    def calls(self, *, cut: bool = False) -> tuple[ToolCall, ...]:
        """The calls that were written, without one that repeats another.

        With `cut`, those that are whole if the text ends within one.

        Raises:
            ValueError: they cannot be read.
        """
        if not self.begun:
            return ()
        found: list[tuple[str, dict[str, Any]]] = []
        for call in read_calls(self._raw, self.calling.form, cut=cut):
            if call not in found:
                found.append(call)
        known = self.calling.known
        return tuple(
            ToolCall(f"call{known + place:05d}", name, arguments)
            for place, (name, arguments) in enumerate(found)
        )

    def _begin(self, place: int, mark: int) -> str:
        given, self._raw = self._held[:place], self._held[place:]
        self._held, self._mark, self.begun = "", mark, True
        return given


def settled(
    reader: CallReader | None, text: str, reason: str
) -> tuple[str, tuple[ToolCall, ...], tuple[str, ...]]:
    """The answer, the calls that it ends with, and what is to be said of them, once an answer has ended.

    Args:
        reader: that of the answer; None where there are no tools.
        text: what was shown.
        reason: the finish reason, were there no calls.
    """
    if reader is None or not reader.begun:
        return text, (), ()
    text = text.rstrip()
    if reason == "length":
        return text, reader.calls(cut=True), (CUT_CALL,)
    if reason != "stop":
        return text, (), ()
    try:
        return text, reader.calls(), ()
    except ValueError:
        return f"{text}{reader.raw}", (), (UNREAD_CALL,)


def _overlap(text: str, mark: str) -> int:
    """Length of the longest end of the text that the mark begins with."""
    for size in range(min(len(mark) - 1, len(text)), 0, -1):
        if text.endswith(mark[:size]):
            return size
    return 0
