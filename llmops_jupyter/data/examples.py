"""Training examples: what a row of a data set teaches, in the forms that data sets come in.

chat         {"messages": [{"role": "user", "content": …}, {"role": "assistant", "content": …}]}
             {"conversations": [{"from": "human", "value": …}, {"from": "gpt", "value": …}]}
completion   {"prompt": …, "completion": …}, {"question": …, "answer": …},
             {"instruction": …, "input": …, "output": …}
text         {"text": …}
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.errors import DataError, LLMOpsError, OptionError
from llmops_jupyter.records import Message

CHAT, COMPLETION, TEXT = "chat", "completion", "text"
FORMATS = (CHAT, COMPLETION, TEXT)
ROLES = ("system", "user", "assistant", "tool")
SPOKEN = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}
CHATS = ("messages", "conversations", "conversation")
PAIRS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("input", "output"),
)


@dataclass(frozen=True)
class Example:
    """A conversation whose last message is what is learned, or a text that is learned whole."""

    messages: tuple[Message, ...] = ()
    text: str = ""

    @property
    def answer(self) -> str:
        """The last message of the assistant; '' for a text."""
        return self.messages[-1].content if self.messages else ""

    @property
    def prompt(self) -> str:
        """What comes before the answer, as one text without roles and without the system message."""
        return "\n".join(m.content for m in self.messages[:-1] if m.role != "system")

    @property
    def whole(self) -> str:
        """All that the example says, as one text without roles; for comparing examples."""
        return self.text or "\n".join(m.content for m in self.messages if m.role != "system")


@dataclass(frozen=True)
class Format:
    """How rows are read: `kind` is chat, completion or text; `columns` those that are read.

    A completion may have a third column, the input that goes with an instruction. `system` is the
    system message of conversations that have none of their own.
    """

    kind: str
    columns: tuple[str, ...]
    system: str = ""

    def read(self, row: Mapping[str, Any]) -> Example:
        """What a row teaches.

        Raises:
            DataError: the row does not have this form; the message says what is wrong, not in which row.
        """
        if self.kind == TEXT:
            return Example(text=_text(row, self.columns[0]))
        if self.kind == CHAT:
            messages = read_messages(row.get(self.columns[0]), self.columns[0])
        else:
            messages = self._pair(row)
        if self.system and messages[0].role != "system":
            messages = (Message("system", self.system), *messages)
        return Example(messages)

    def write(self, row: Mapping[str, Any], texts: Sequence[str]) -> dict[str, Any]:
        """The row with its texts replaced; they come in the order in which `texts_of` gives them."""
        made, given = dict(row), iter(texts)
        if self.kind != CHAT:
            for column in self.columns:
                if row.get(column):
                    made[column] = _replaced(row[column], given)
            return made
        made[self.columns[0]] = _replaced(row[self.columns[0]], given)
        return made

    def texts_of(self, row: Mapping[str, Any]) -> list[str]:
        """All texts of a row that would be learned from or shown, in order."""
        return [t for column in self.columns if row.get(column) for t in _texts(row[column])]

    def _pair(self, row: Mapping[str, Any]) -> tuple[Message, ...]:
        asked, answer, *more = self.columns
        value = row.get(asked)
        before = read_messages(value, asked) if _is_list(value) else None
        if before is None:
            parts = [_text(row, asked), *(_text(row, name) for name in more if row.get(name))]
            before = (Message("user", "\n\n".join(parts)),)
        said = row.get(answer)
        if _is_list(said):
            return (*before, *read_messages(said, answer))
        return (*before, Message("assistant", _text(row, answer, may_be_empty=True)))


def find_format(
    columns: Sequence[str],
    *,
    kind: str = "auto",
    prompt: str | None = None,
    answer: str | None = None,
    system: str = "",
) -> Format:
    """How rows with these columns are read.

    Args:
        columns: the columns of the data set.
        kind: 'chat', 'completion' or 'text'; 'auto' takes the first that the columns fit, in this order.
        prompt: the column of what is asked (completion), of the messages (chat) or of the text (text).
        answer: the column of the answer; with `prompt` for columns of other names.
        system: the system message of examples that have none.

    Raises:
        OptionError: there is no such column, or none of the forms fits; the message says which fit.
    """
    for name in (prompt, answer):
        if name is not None and name not in columns:
            raise OptionError(f"There is no column {name!r}. There are: {', '.join(columns)}.")
    if kind not in ("auto", *FORMATS):
        raise OptionError(f"The format {kind!r} is none of auto, {', '.join(FORMATS)}.")
    if answer is not None and answer == prompt:
        raise OptionError(
            f"The column {answer!r} cannot be both what is asked and the answer. Name two columns."
        )
    if answer is not None:
        if prompt is None or kind in (CHAT, TEXT):
            raise OptionError("Name the column of the question too, for the format 'completion'.")
        return Format(COMPLETION, (prompt, answer), system)
    if prompt is not None:
        if kind not in (CHAT, TEXT):
            raise OptionError(
                "With a column of prompts, name the column of the answers too; or the format 'chat' or "
                "'text', which have one column."
            )
        return Format(kind, (prompt,), "" if kind == TEXT else system)
    for known in _known(columns, system):
        if kind in ("auto", known.kind):
            return known
    raise OptionError(
        f"The columns {', '.join(columns)} are none of the known forms: 'messages'; 'prompt' and "
        "'completion' (or question and answer, instruction and output); 'text'. Name the columns of "
        "what is asked and of the answer."
    )


def _known(columns: Sequence[str], system: str) -> list[Format]:
    found = [Format(CHAT, (name,), system) for name in CHATS if name in columns]
    for asked, answer in PAIRS:
        if asked in columns and answer in columns:
            more = ("input",) if asked == "instruction" and "input" in columns else ()
            found.append(Format(COMPLETION, (asked, answer, *more), system))
    return found + ([Format(TEXT, ("text",))] if "text" in columns else [])


def read_messages(value: Any, column: str) -> tuple[Message, ...]:
    """The messages in a column, in either of the two common spellings.

    Raises:
        DataError: they are none.
    """
    if not _is_list(value):
        raise DataError(f"{column!r} holds no list of messages.")
    messages = []
    for number, item in enumerate(value, 1):
        role = item.get("role", item.get("from"))
        role = SPOKEN.get(str(role).lower(), role)
        if role not in ROLES:
            raise DataError(f"message {number} has the role {role!r}, none of {', '.join(ROLES)}.")
        content = item.get("content", item.get("value"))
        if content is None and item.get("tool_calls"):
            content = ""
        if not isinstance(content, str):
            raise DataError(f"message {number} has no text.")
        try:
            messages.append(Message.from_dict({**item, "role": role, "content": content}))
        except (LLMOpsError, KeyError, TypeError, ValueError) as e:
            raise DataError(f"message {number} cannot be read: {e}") from e
    if not messages:
        raise DataError(f"{column!r} holds no messages.")
    return tuple(messages)


def fault_of(example: Example) -> str:
    """What keeps an example from being learned, as half a sentence; '' if nothing does."""
    if not example.messages:
        return "" if example.text.strip() else "the text is empty"
    turns = [m for m in example.messages if m.role != "system"]
    if any(m.role == "system" for m in example.messages[1:]):
        return "a system message stands after others"
    if not turns or turns[-1].role != "assistant":
        return "the last message is not the assistant's"
    if turns[0].role != "user":
        return "the first message is not the user's"
    if not any(m.content.strip() for m in turns if m.role == "user"):
        return "the question is empty"
    for before, after in itertools.pairwise(turns):
        if after.role not in _may_follow(before):
            return f"roles are out of order: {after.role} after {before.role}"
    if not (turns[-1].content.strip() or turns[-1].tool_calls):
        return "the answer is empty"
    return ""


def _may_follow(message: Message) -> tuple[str, ...]:
    if message.role == "assistant":
        return ("tool",) if message.tool_calls else ("user",)
    return ("assistant", "tool") if message.role == "tool" else ("assistant",)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(v, Mapping) for v in value)


def _text(row: Mapping[str, Any], column: str, *, may_be_empty: bool = False) -> str:
    value = row.get(column)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if value is None and may_be_empty:
        return ""
    if not isinstance(value, str):
        raise DataError(f"{column!r} holds no text.")
    return value


def _texts(value: Any) -> list[str]:
    if _is_list(value):
        return [_spoken(item) for item in value]
    return [str(value)]


def _spoken(item: Mapping[str, Any]) -> str:
    return str(item.get("content", item.get("value")) or "")


def _replaced(value: Any, given: Iterator[str]) -> Any:
    if not _is_list(value):
        return next(given)
    made = []
    for item in value:
        key, text = "content" if "content" in item else "value", next(given)
        made.append({**item, key: text} if item.get(key) else dict(item))
    return made
