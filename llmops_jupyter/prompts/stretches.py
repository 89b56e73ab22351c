"""What of a run's messages a guard policy is asked about, and the run with what the policy leaves of it.

Of a system message that is what values put there, of the others it is all. Values of a system message with no word of
the template between them are one text, since what is looked for may be spread over them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmops_jupyter.prompts.grounding import PLACE, put
from llmops_jupyter.prompts.template import Filled, Stretch
from llmops_jupyter.records import Message

if TYPE_CHECKING:
    from llmops_jupyter.prompts.guarding import Guarding
    from llmops_jupyter.prompts.prepare import Prepared

# Stands in the trace for a value of which no part may be kept.
TAKEN_OUT = "[taken out by the guard]"
_WORD = re.compile(r"\w")
_CUT = re.compile(r"… \(\d+ characters\)\Z")

Changed = Mapping[tuple[int, int], str]


def checked_stretches(filled: Sequence[Filled]) -> tuple[tuple[Stretch, ...], ...]:
    """The stretches of each message; those that are `given` are to be checked, places of passages never are."""
    return tuple(tuple(_split(one)) for one in filled)


def _split(filled: Filled) -> Iterator[Stretch]:
    whole = (Stretch(filled.message.content, given=True),)
    for stretch in _joined(filled.stretches) if filled.role == "system" else whole:
        for number, text in enumerate(stretch.text.split(PLACE)):
            if number:
                yield Stretch(PLACE, given=False)
            yield Stretch(text, given=stretch.given and bool(text.strip()))


def _joined(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Stretches with values as one where no word stands between them."""
    found: list[Stretch] = []
    for number, stretch in enumerate(stretches):
        between = number + 1 < len(stretches) and not _WORD.search(stretch.text)
        if found and found[-1].given and (stretch.given or between):
            found[-1] = Stretch(found[-1].text + stretch.text, given=True)
        else:
            found.append(stretch)
    return found


def with_input(
    prepared: Prepared, guarding: Guarding, changed: Changed, plain: Callable[[str], str]
) -> Prepared:
    """The run with the texts that the policy leaves, by message and stretch, everywhere they stand.

    `plain` gives a value as the policy leaves it where it stands alone.
    """
    told = tuple(
        replace(
            m, content="".join(changed.get((i, j), stretch.text) for j, stretch in enumerate(some))
        )
        for i, (m, some) in enumerate(zip(prepared.told, guarding.stretches, strict=True))
    )
    values = _Values(prepared.told, told, guarding, changed, plain)
    variables = {name: values.kept(value) for name, value in prepared.variables.items()}
    if told == prepared.told:
        return replace(prepared, variables=variables)
    after, asked = guarding.with_system(told), put(told, "")
    return replace(
        prepared,
        told=told,
        asked=asked,
        messages=_exchanged(prepared.messages, prepared.asked, asked),
        request=replace(
            prepared.request,
            messages=_exchanged(
                prepared.request.messages, prepared.told, told, (guarding.canary, after.canary)
            ),
        ),
        variables=variables,
        question=values.question(prepared.question),
        guarding=after,
    )


def _exchanged(
    messages: Sequence[Message],
    before: Sequence[Message],
    after: Sequence[Message],
    markers: tuple[str, str] = ("", ""),
) -> tuple[Message, ...]:
    """Messages with those of `before`, which may have something added, those of `after` in their place.

    System messages come in their order, whatever is between them; the others are the last ones. `markers` are those
    of the system message before and after.
    """
    found = list(messages)
    systems = iter([i for i, m in enumerate(found) if m.role == "system"])
    for old, new in zip(before, after, strict=True):
        if old.role == "system":
            place = next(systems)
            added = found[place].content[len(old.content) :]
            if markers[0]:
                added = added.replace(*markers)
            found[place] = replace(found[place], content=new.content + added)
    place = len(found)
    for old, new in reversed(list(zip(before, after, strict=True))):
        if old.role == "system":
            continue
        # What was added behind them, such as the request to reason, is another message or follows their text.
        place -= 1
        while found[place].role != old.role or not found[place].content.startswith(old.content):
            place -= 1
        content = found[place].content
        found[place] = replace(found[place], content=new.content + content[len(old.content) :])
    return tuple(found)


class _Values:
    """Values of variables as the trace may keep them: what was taken out of the messages is not in them either."""

    def __init__(
        self,
        before: Sequence[Message],
        after: Sequence[Message],
        guarding: Guarding,
        changed: Changed,
        plain: Callable[[str], str],
    ) -> None:
        self._before, self._after = ["\0".join(m.content for m in ms) for ms in (before, after)]
        self._known = {guarding.stretches[i][j].text: text for (i, j), text in changed.items()}
        self._plain = plain

    def kept(self, value: Any) -> Any:
        """A value of JSON's kinds without what was taken out."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            return {self.kept(key): self.kept(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.kept(item) for item in value]
        if value is None or isinstance(value, bool):
            return value
        said = str(value)
        left = self._text(said)
        return value if left == said else left

    def question(self, text: str) -> str:
        """What is searched for; '' where it cannot be told, so that the last message is."""
        left = self._text(text)
        return "" if left == TAKEN_OUT else left

    def _text(self, value: str) -> str:
        if not value.strip():
            return value
        if value in self._known:
            return self._known[value]
        cut = _CUT.search(value)
        stem, end = (value[: cut.start()], cut.group()) if cut else (value, "")
        if stem in self._after:
            return value
        left = self._plain(stem)
        if left == stem and stem in self._before:
            return TAKEN_OUT  # it was found by what stands around it
        return left + end if left != stem else value
