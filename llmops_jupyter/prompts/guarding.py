"""Runs under a guard policy: what goes in, what is read and what comes out is checked, each in a span of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from llmops_jupyter.errors import SchemaError
from llmops_jupyter.guard.check import About
from llmops_jupyter.guard.checks.canary import canary_of, with_canary
from llmops_jupyter.guard.guardspan import ACTION, DECISION, MODE, POLICY, guarded
from llmops_jupyter.guard.report import Report, merged, worst
from llmops_jupyter.guard.running import Pipeline
from llmops_jupyter.prompts import reasoning
from llmops_jupyter.prompts.grounding import PLACE, put
from llmops_jupyter.records import Hit, Message, Place, Verdict

if TYPE_CHECKING:
    from llmops_jupyter.prompts.prepare import Prepared
    from llmops_jupyter.prompts.run import Answer
    from llmops_jupyter.tracing import Span, Tracer

VARIABLES = "llmops.prompt.variables"
WITHHELD = "Error: the guard policy withheld this result."
HELD_BACK = "the unfinished answer was not checked by the guard, so it is not shown"


class FindPolicy(Protocol):
    """Finds a guard policy by its reference and makes its checks; the workspace plugs this in."""

    def __call__(self, policy: Any) -> Pipeline: ...


@dataclass(frozen=True)
class Guarding:
    """The policy of one run.

    Args:
        pipeline: its checks.
        canary: the marker in the system message of this run; '' without one.
        system: the system messages, without the marker.
        values: texts that variables put into system messages and into no other.
    """

    pipeline: Pipeline
    canary: str = ""
    system: str = ""
    values: tuple[str, ...] = ()

    @property
    def ref(self) -> str:
        return self.pipeline.ref

    @property
    def holds_back(self) -> bool:
        """Whether the answer may be changed or withheld, so that none of it is shown before its end."""
        return self.pipeline.policy.holds_back("output")

    @property
    def key(self) -> str:
        """What decides about texts."""
        return self.pipeline.policy.digest


def guarding_of(
    pipeline: Pipeline | None, messages: Sequence[Message], values: Sequence[Any]
) -> Guarding | None:
    """What guards a run with these messages; `values` are those of the variables of the prompt."""
    if pipeline is None:
        return None
    system = "\n\n".join(m.content for m in messages if m.role == "system").replace(PLACE, "")
    others = "\n".join(m.content for m in messages if m.role != "system")
    inside = [str(v) for v in values if str(v).strip() and PLACE not in str(v)]
    only = tuple(dict.fromkeys(v for v in inside if v in system and v not in others))
    canary = canary_of(system, pipeline.policy.digest) if pipeline.has_canary else ""
    return Guarding(pipeline, canary, system, only)


def marked(guarding: Guarding | None, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages as the model gets them: with the marker, if the policy has one."""
    return with_canary(messages, guarding.canary) if guarding and guarding.canary else messages


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
        pieces = _pieces(prepared.told)
        texts = [piece.text for piece in pieces] + list(guarding.values)
        reports = self._checked(texts, "input", parts=_parts(prepared.told, pieces, len(texts)))
        refused = next((r for r in reports if not r.allowed), None)
        if refused is not None:
            self._deny(refused.text)
            return None
        changed = [report.text for report in reports]
        if changed == texts:
            return prepared
        return _with_input(
            prepared,
            pieces,
            changed[: len(pieces)],
            dict(zip(guarding.values, changed[len(pieces) :], strict=True)),
            self._plain,
        )

    def passages(self, hits: Sequence[Hit]) -> tuple[list[Hit], list[str]]:
        """Passages that may be read, changed where the policy says so, and what the user is told of the others."""
        guarding = self.guarding
        if guarding is None or not hits or not guarding.pipeline.looks_at("context"):
            return list(hits), []
        reports = self._checked([hit.text for hit in hits], "context")
        kept, left_out = [], []
        for hit, report in zip(hits, reports, strict=True):
            if not report.allowed:
                left_out.append(hit.source.rpartition("/")[2])
            elif report.text.strip():
                kept.append(replace(hit, text=report.text))
        if not left_out:
            return kept, []
        names = ", ".join(dict.fromkeys(left_out[:3]))
        n = len(left_out)
        return kept, [f"guard {guarding.ref} left out {n} passage{'s' * (n > 1)} ({names})"]

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

    def withhold(self) -> None:
        """Show nothing of an answer that was broken off before it was checked."""
        answer = self.answer
        if self.may_be_shown:
            return
        if answer.text or answer.reasoning:
            answer.notes += (HELD_BACK,)
        answer.text = answer.reasoning = ""
        answer.logprobs, answer.messages, answer.parsed = (), (), None
        self._checked_it = True

    def _plain(self, text: str) -> str:
        """A text as the input checks leave it, untraced."""
        assert self.guarding is not None
        return self.guarding.pipeline.check(text, "input").text

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


def is_checked_first(prepared: Prepared) -> bool:
    """Whether something may be taken out of the input, which is then not to be on the disk before it is."""
    return prepared.guarding is not None and prepared.guarding.pipeline.policy.holds_back("input")


def tell_input(root: Span, prepared: Prepared) -> None:
    """Have the root span say what went in, where that was to be checked first."""
    if is_checked_first(prepared):
        root.set(VARIABLES, dict(prepared.variables))
        root.input(prepared.messages)


def tell_root(root: Span, guarding: Guarding | None, verdicts: Sequence[Verdict]) -> None:
    """Have the span of a run say which policy held and what it came to."""
    if guarding is None:
        return
    root.set(POLICY, guarding.ref)
    root.set(MODE, guarding.pipeline.policy.mode)
    root.set(DECISION, worst(verdicts))
    blocked = [v.check for v in verdicts if v.action == "blocked"]
    if blocked:
        root.set(ACTION, "blocked")


@dataclass(frozen=True)
class _Piece:
    """A stretch of a message between the places of passages."""

    message: int
    part: int
    text: str


def _pieces(told: Sequence[Message]) -> list[_Piece]:
    """What the user, and the template in their place, says to the model now."""
    return [
        _Piece(i, j, part)
        for i, m in enumerate(told)
        if m.role != "system"
        for j, part in enumerate(m.content.split(PLACE))
        if part.strip()
    ]


def _parts(told: Sequence[Message], pieces: Sequence[_Piece], count: int) -> set[int]:
    """The numbers of texts that are not the whole of what the user says in a message."""
    of_message = Counter(piece.message for piece in pieces)
    part = {
        number
        for number, piece in enumerate(pieces)
        if told[piece.message].role != "user" or of_message[piece.message] > 1
    }
    return part | set(range(len(pieces), count))


def _with_input(
    prepared: Prepared,
    pieces: Sequence[_Piece],
    texts: Sequence[str],
    values: dict[str, str],
    plain: Callable[[str], str],
) -> Prepared:
    """The run with other texts in its messages, everywhere they stand."""
    parts = [m.content.split(PLACE) for m in prepared.told]
    for piece, text in zip(pieces, texts, strict=True):
        parts[piece.message][piece.part] = text
    told = tuple(
        replace(
            m, content=_valued(PLACE.join(some), values) if m.role == "system" else PLACE.join(some)
        )
        for m, some in zip(prepared.told, parts, strict=True)
    )
    request = replace(
        prepared.request,
        messages=_exchanged(prepared.request.messages, prepared.told, told, values),
    )
    asked = put(told, "")
    return replace(
        prepared,
        told=told,
        asked=asked,
        messages=_exchanged(prepared.messages, prepared.asked, asked, values),
        request=request,
        variables={k: _changed(v, told, plain) for k, v in prepared.variables.items()},
        question=plain(prepared.question) if prepared.question else "",
    )


def _exchanged(
    messages: Sequence[Message],
    before: Sequence[Message],
    after: Sequence[Message],
    values: dict[str, str],
) -> tuple[Message, ...]:
    """Messages that end with those of `before`, which may have something added, with those of `after`."""
    found = [
        replace(m, content=_valued(m.content, values)) if m.role == "system" else m
        for m in messages
    ]
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


def _valued(text: str, values: dict[str, str]) -> str:
    for old, new in values.items():
        text = text.replace(old, new)
    return text


def _changed(value: Any, told: Sequence[Message], plain: Callable[[str], str]) -> Any:
    """A variable's value as the trace keeps it: what was taken out of the messages is not in it either."""
    if isinstance(value, str):
        return value if any(value in m.content for m in told) else plain(value)
    if isinstance(value, Mapping):
        return {key: _changed(item, told, plain) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_changed(item, told, plain) for item in value]
    return value


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
