"""The checks of a run under a guard policy, each place in a span of its own: input, what is read, and the answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from llmops_jupyter.errors import SchemaError
from llmops_jupyter.guard.check import About
from llmops_jupyter.guard.guardspan import guarded
from llmops_jupyter.guard.report import Report, merged
from llmops_jupyter.prompts import reasoning
from llmops_jupyter.prompts.stretches import with_input
from llmops_jupyter.records import Hit, Message, Place

if TYPE_CHECKING:
    from llmops_jupyter.prompts.answer import Answer
    from llmops_jupyter.prompts.prepare import Prepared
    from llmops_jupyter.tracing import Span, Tracer

WITHHELD = "Error: the guard policy withheld this result."
UNNAMED = "(name taken out)"
HELD_BACK = "the unfinished answer was not checked by the guard, so it is not shown"
_BETWEEN = re.compile(r"(?<=[^\W\d_])[-_]+(?=[^\W\d_])")


class Screen:
    """The checks of one run. Without a policy every text passes.

    Args:
        tracer: opens the spans.
        prepared: of the run; what is checked and changed is returned as another one.
        root: the span of the run.
        answer: gets the verdicts, and what is said where something is denied.
    """

    def __init__(self, tracer: Tracer, prepared: Prepared, root: Span, answer: Answer) -> None:
        self.tracer, self.root, self.answer = tracer, root, answer
        self.guarding = prepared.guarding
        self.denied = False
        self._checked_it = False

    @property
    def may_be_shown(self) -> bool:
        """Whether what there is of the answer may be shown: it is checked, or no check may change it."""
        return self.guarding is None or not self.guarding.holds_back or self._checked_it

    def takes(self, prepared: Prepared) -> Prepared | None:
        """The run with its input checked, and changed where the policy says so; None if it is denied.

        Of a denied one the answer has the policy's message, and no model is asked.
        """
        guarding = self.guarding
        if guarding is None or not guarding.pipeline.looks_at("input"):
            return prepared
        places = [
            (i, j)
            for i, some in enumerate(guarding.stretches)
            for j, stretch in enumerate(some)
            if stretch.given
        ]
        texts = [guarding.stretches[i][j].text for i, j in places]
        reports = self._checked(texts, "input", parts=_parts(prepared.told, places))
        refused = next((r for r in reports if not r.allowed), None)
        if refused is not None:
            self._deny(refused.text)
            return None
        if not guarding.pipeline.policy.holds_back("input"):
            return prepared
        changed = {p: report.text for p, report in zip(places, reports, strict=True)}
        taken = with_input(prepared, guarding, changed, self._plain)
        self.guarding = taken.guarding
        return taken

    def passages(self, hits: Sequence[Hit]) -> tuple[list[Hit], list[str]]:
        """Passages that may be read, changed where the policy says so, and what the user is told of the others.

        Their names are checked as well, since the model reads them too: of a denied name the passage is left out.
        """
        guarding = self.guarding
        if guarding is None or not hits or not guarding.pipeline.looks_at("context"):
            return list(hits), []
        names = list(dict.fromkeys(n for hit in hits for n in (hit.source, hit.locator) if n))
        texts = [*(hit.text for hit in hits), *names, *map(_spaced, names)]
        reports = self._checked(texts, "context", parts=range(len(hits), len(texts)))
        named = _names(names, reports[len(hits) :])
        kept, left_out = [], []
        for hit, report in zip(hits, reports[: len(hits)], strict=True):
            source, locator = named.get(hit.source, ""), named.get(hit.locator, "")
            emptied = hit.text.strip() and not report.text.strip()
            if not report.allowed or emptied or source is None or locator is None:
                left_out.append(hit.source.rpartition("/")[2])
            else:
                kept.append(replace(hit, text=report.text, source=source, locator=locator))
        if not left_out:
            return kept, []
        told = ", ".join(dict.fromkeys(left_out[:3]))
        n = len(left_out)
        return kept, [f"guard {guarding.ref} left out {n} passage{'s' * (n > 1)} ({told})"]

    def result(self, text: str) -> str:
        """The result of a tool as the model may read it."""
        guarding = self.guarding
        if guarding is None or not text or not guarding.pipeline.looks_at("context"):
            return text
        (report,) = self._checked([text], "context")
        return report.text if report.allowed else WITHHELD

    def gives(self, prepared: Prepared) -> None:
        """Check the answer, with its reasoning and what was said between calls of tools, and change or deny it."""
        guarding, answer = self.guarding, self.answer
        if guarding is None or not guarding.pipeline.looks_at("output"):
            return
        between = [
            i for i, m in enumerate(answer.messages[:-1]) if m.role == "assistant" and m.content
        ]
        texts = [answer.text, *([answer.reasoning] if answer.reasoning else [])]
        texts += [answer.messages[i].content for i in between]
        reports = self._checked(texts, "output", prepared, range(1, len(texts)))
        refused = next((r for r in reports if not r.allowed), None)
        if refused is not None:
            self._deny(refused.text)
            return
        rest = [report.text for report in reports]
        text = rest.pop(0)
        thought = rest.pop(0) if answer.reasoning else ""
        if (text, thought) != (answer.text, answer.reasoning):
            answer.logprobs = ()  # token by token they would tell what was taken out
        answer.reasoning = thought
        messages = list(answer.messages)
        for place, said in zip(between, rest, strict=True):
            messages[place] = replace(messages[place], content=said)
        if text != answer.text:
            answer.text = text
            if messages and messages[-1].role == "assistant":
                messages[-1] = replace(messages[-1], content=text)
            _parse_again(prepared, answer)
            if answer.grounding is not None:  # it is of the words that were there before
                answer.grounding = None
        answer.messages = tuple(messages)
        self._checked_it = True

    def break_off(self, prepared: Prepared) -> None:
        """Show nothing of an answer that ended before it was checked; check one of which all may be shown."""
        answer, guarding = self.answer, self.guarding
        if guarding is None or self._checked_it:
            return
        said = [m.content for m in answer.messages[:-1] if m.role == "assistant"]
        texts = [text for text in (answer.text, answer.reasoning, *said) if text]
        if not self.may_be_shown:
            if answer.text or answer.reasoning:
                answer.notes += (HELD_BACK,)
            answer.text = answer.reasoning = ""
            answer.logprobs, answer.messages, answer.parsed = (), (), None
        elif texts and guarding.pipeline.looks_at("output"):
            self._checked(texts, "output", prepared, range(len(texts)))
        self._checked_it = True

    def _plain(self, text: str) -> str:
        """A part of a message as the input checks leave it, untraced."""
        assert self.guarding is not None
        return self.guarding.pipeline.check(text, "input", part=True).text

    def _checked(
        self,
        texts: Sequence[str],
        place: Place,
        prepared: Prepared | None = None,
        parts: Collection[int] = (),
    ) -> list[Report]:
        guarding = self.guarding
        assert guarding is not None
        about = About(
            place=place,
            system=guarding.system,
            messages=prepared.asked if prepared is not None else (),
            canary=guarding.canary,
            schema=prepared.content.schema if prepared is not None else None,
        )
        reports = guarded(guarding.pipeline, texts, place, about, self.tracer, self.root, parts)
        self.answer.verdicts = (*self.answer.verdicts, *merged(reports))
        return reports

    def _deny(self, message: str) -> None:
        """Give the policy's message in the place of an answer."""
        answer = self.answer
        self.denied = self._checked_it = True
        answer.text, answer.reasoning, answer.parsed, answer.logprobs = message, "", None, ()
        answer.grounding, answer.finish_reason = None, "content_filter"
        if answer.messages:
            answer.messages = (Message("assistant", message),)


def _spaced(name: str) -> str:
    """A file's name with its words apart."""
    return _BETWEEN.sub(" ", name)


def _names(names: Sequence[str], reports: Sequence[Report]) -> dict[str, str | None]:
    """What may be read of each name, None where it is denied; `reports` are on the names, then on their words."""
    found: dict[str, str | None] = {}
    for name, whole, words in zip(names, reports[: len(names)], reports[len(names) :], strict=True):
        if not (whole.allowed and words.allowed):
            found[name] = None
        elif whole.text == name and words.text != _spaced(name):
            found[name] = UNNAMED
        else:
            found[name] = whole.text if whole.text.strip() else UNNAMED
    return found


def _parts(told: Sequence[Message], places: Sequence[tuple[int, int]]) -> set[int]:
    """The numbers of texts that are not the whole of what the user says in a message."""
    of_message = Counter(message for message, _ in places)
    return {
        number
        for number, (message, _) in enumerate(places)
        if told[message].role != "user" or of_message[message] > 1
    }


def _parse_again(prepared: Prepared, answer: Answer) -> None:
    """Make the structured answer again from a text that was changed."""
    schema = prepared.content.schema
    if schema is None:
        return
    try:
        answer.parsed = reasoning.parse_answer(
            answer.text, schema, prepared.options.model_class, cut=False
        )
    except SchemaError:
        answer.parsed = None
        answer.notes += ("what the guard changed no longer satisfies the schema",)
