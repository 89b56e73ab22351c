"""What is said in a conversation, and the functions that a model may call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from llmops_jupyter.errors import OptionError

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")


@dataclass(frozen=True)
class Tool:
    """A function that a model may call: `parameters` is the JSON schema of its arguments, an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The form that chat templates and endpoints know."""
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": dict(self.parameters),
        }
        return {"type": "function", "function": function}


@dataclass(frozen=True)
class ToolCall:
    """A call that a model asked for; the message with its result has the same id."""

    id: str
    name: str
    arguments: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name, "arguments": dict(self.arguments)}


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.

    The assistant's may ask for `tool_calls`; one of the role 'tool' holds the result of the call that
    `tool_call_id` names.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.content, str):
            raise OptionError(_no_text(self.content))

    def as_dict(self) -> dict[str, Any]:
        """The message as JSON values; what it does not have is left out."""
        found: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            found["tool_calls"] = [call.as_dict() for call in self.tool_calls]
        if self.tool_call_id:
            found["tool_call_id"] = self.tool_call_id
        return found

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Message:
        """The message that `as_dict` wrote."""
        calls = tuple(ToolCall(**call) for call in value.get("tool_calls", ()))
        return cls(value["role"], value["content"], calls, value.get("tool_call_id", ""))


def _no_text(content: object) -> str:
    """Why a message's content is refused."""
    parts = content if isinstance(content, list | tuple) else [content]
    kinds = {str(part.get("type", "")) for part in parts if isinstance(part, Mapping)}
    if any(word in kind for kind in kinds for word in ("image", "audio", "video", "file")):
        return (
            f"The content of a message has a part of type {min(kinds - {'text'})!r}, and models read and "
            "write text only here: no images, audio or video. Put what it shows into words."
        )
    return f"The content of a message is text, not {type(content).__name__}. Give it as one str."
