"""Follow-up questions: made to stand alone before they are searched for.

"And at night?" finds nothing by itself. A question that leans on what was said before is put into a whole one by the
model; what it writes is used only if it adds no word of its own. Else the questions are searched for together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_jupyter.engine.protocol import Finished, Request
from llmops_jupyter.errors import LLMOpsError
from llmops_jupyter.rag.wordmatch import WordMatch, telling
from llmops_jupyter.records import Message, Sampling, Usage
from llmops_jupyter.tracing import Span, Tracer

if TYPE_CHECKING:
    from llmops_jupyter.engine.protocol import Engine
    from llmops_jupyter.prompts.conversation import Turn

_LEANS = re.compile(
    r"\b(?:it|its|they|them|their|theirs|this|that|these|those|he|him|his|she|her|hers|there|former|latter|"
    r"ones?|same|other|others|another|then|both|either|neither|more)\b"
    r"|^\s*(?:and|but|or|so|why|what about|how about|what else|what if|when|where|who|how)\b[^.]{0,40}$",
    re.IGNORECASE,
)
FEW_WORDS = 2
# Earlier turns that a question may lean on.
TURNS = 2
MOST_CHARACTERS = 300
MOST_TOKENS = 64
QUESTION_MARKS = ("?", "？", "؟")
# Characters of an earlier answer that the model is shown.
QUOTED = 600
_ASK = (
    "Rewrite the last question so that it can be understood alone. Use only words of the conversation. Write the question "
    "and nothing else."
)


@dataclass(frozen=True)
class Standalone:
    """What is searched for, and how it was made: 'asked', 'rewritten' by the model, or 'joined'."""

    text: str
    how: str


def standalone(
    question: str, turns: Sequence[Turn], engine: Engine, tracer: Tracer, parent: Span
) -> Standalone:
    """A question as it is searched for."""
    earlier = [_said(turn) for turn in turns[-TURNS:]]
    if not earlier or not leans(question):
        return Standalone(question, "asked")
    made = _rewritten(question, earlier, engine, tracer, parent)
    if made is not None:
        return Standalone(made, "rewritten")
    before = [asked for asked, _ in earlier if asked]
    return Standalone("\n".join([*before[-1:], question]), "joined")


def leans(question: str) -> bool:
    """Whether a question seems to need what was said before it."""
    return bool(_LEANS.search(question)) or len(telling(question)) <= FEW_WORDS


def _said(turn: Turn) -> tuple[str, str]:
    asked = " ".join(_asked(m.content) for m in turn.messages if m.role == "user")
    answered = " ".join(m.content for m in turn.messages if m.role == "assistant")
    return asked, answered


def _asked(text: str) -> str:
    """The question in a turn, without what our own template has around it."""
    found = re.search(
        r"^Question: (.*)\nAnswer in one to three short sentences\.\s*$", text.strip(), re.DOTALL
    )
    return found.group(1) if found else text


def _rewritten(
    question: str,
    earlier: Sequence[tuple[str, str]],
    engine: Engine,
    tracer: Tracer,
    parent: Span,
) -> str | None:
    """The model's whole question, if it is one and holds nothing that was not said."""
    talk = "\n".join(f"Question: {asked}\nAnswer: {said[:QUOTED]}" for asked, said in earlier)
    messages = (
        Message("system", _ASK),
        Message("user", f"{talk}\nLast question: {question}"),
    )
    request = Request(
        "rewrite",
        messages=messages,
        sampling=Sampling(temperature=0.0, max_tokens=MOST_TOKENS),
        trace_id=parent.trace_id,
    )
    span = tracer.span(
        "rewrite question",
        op="chat",
        messages=messages,
        provider=engine.provider,
        model=engine.model_name,
        model_digest=engine.model_digest,
    ).begin(parent)
    text, error = "", None
    try:
        for event in engine.generate([request]):
            if isinstance(event, Finished):
                text = event.text
                span.usage(event.usage if event.usage is not None else Usage())
                if event.error is not None:
                    raise event.error
    except LLMOpsError as e:
        error = e
    except BaseException as e:
        span.finish(e)
        raise
    line = next((part.strip() for part in text.splitlines() if part.strip()), "")
    line = re.sub(r"^(?:\w+ )?question:\s*", "", line, flags=re.IGNORECASE).strip(' "')
    used = error is None and _is_faithful(line, question, talk)
    span.output(text)
    span.set("llmops.rag.rewriting_used", used)
    span.finish(error)
    return line if used else None


def _is_faithful(line: str, question: str, talk: str) -> bool:
    """A whole question keeps the words of the one that was asked, and takes the others from the conversation."""
    if not line.endswith(QUESTION_MARKS) or len(line) > MOST_CHARACTERS:
        return False
    match = WordMatch([line, f"{talk}\n{question}"])
    try:
        kept = all(0 in match.having(w) for w in telling(question) if not _LEANS.search(w))
        known = all(1 in match.having(w) for w in telling(line))
        more = any(w not in telling(question) for w in telling(line))
    finally:
        match.close()
    return kept and known and more
