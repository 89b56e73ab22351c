"""An answer while it comes in, and what is made of it at its end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from llmops_jupyter.engine.protocol import Event, Finished, Request, Token
from llmops_jupyter.engine.remote import pieces
from llmops_jupyter.engine.remote.body import Call
from llmops_jupyter.engine.text import TextStream
from llmops_jupyter.engine.thinking import KNOWN, Thinking
from llmops_jupyter.engine.toolcalls import CUT_CALL
from llmops_jupyter.errors import EngineError, LLMOpsError, SchemaError
from llmops_jupyter.models.prices import Price
from llmops_jupyter.records import FinishReason, Timing, TokenLogprob, ToolCall, Usage

# The marks of nearly all models that think; servers that know others keep the reasoning apart themselves.
MARKS = KNOWN[0]
# What JSON begins with.
JSON = '{["-0123456789tfn'


class Answer:
    """Collects the pieces of one answer and hands out its events; the last one is `Finished`.

    Of a request that nobody reads along, what came is taken back if the answer breaks off, and another try
    makes it anew; its pieces are then not handed out a second time.

    Args:
        request: what was asked.
        seed: the one that was sent.
        put: gets the events.
    """

    def __init__(self, request: Request, seed: int, put: Callable[[Event], None]) -> None:
        self.request = request
        self.seed = seed
        self.ended = False
        self.reason: FinishReason | None = None
        self.call: Call | None = None
        self._put = put
        self._asked = time.perf_counter()
        self._said = False
        self._reset()

    def _reset(self) -> None:
        self._first: float | None = None
        self._muted = self._said
        self._withheld = ""
        self._text = TextStream(self.request.sampling.stop)
        self._thinking = Thinking(MARKS if self.request.text is None else None)
        self._whole = pieces.Whole()
        self._skipped = pieces.Skipped("")
        self._reasoning: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self._tools = pieces.ToolCalls()
        self._usage: Usage | None = None
        self._came = 0

    @property
    def began(self) -> bool:
        """Whether something of the answer came in this try."""
        return self._first is not None

    @property
    def read(self) -> bool:
        """Whether something came that cannot be taken back."""
        return self._said and self.request.interactive

    @property
    def extent(self) -> str:
        """How far it is, in words."""
        if self._text.text:
            return f"after {len(self._text.text):,} characters, which are kept"
        return "while the model called a tool" if self._tools else "within the reasoning"

    @property
    def unheld(self) -> bool:
        """Whether the server took a schema without effect: the answer begins as no JSON does."""
        request, call, begin = self.request, self.call, self._text.text.lstrip()[:1]
        if request.schema is None or call is None or not call.held or request.prefill:
            return False
        return self.reason == "stop" and not self._withheld and bool(begin) and begin not in JSON

    def expect(self, call: Call) -> None:
        """Begin a try. A server that was asked to go on may first repeat what it was to go on with."""
        self._reset()
        self.reason, self.call = None, call
        if self.request.prefill and call.path == "/chat/completions":
            self._skipped = pieces.Skipped(self.request.prefill)

    def take(self, chunk: Mapping[str, Any]) -> bool:
        """Take a piece; True once a stop string was met, after which nothing more is needed.

        Raises:
            pieces.OddPieceError: it has not the form of one.
            pieces.BrokenOffError: it says that the server gave up.
        """
        if self.ended:
            return True
        self._usage = pieces.usage_of(chunk.get("usage")) or self._usage
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, Mapping):
            return False
        delta = pieces.fields(choice.get("delta") or choice.get("message"))
        reasoning = pieces.reasoning_of(delta)
        content = pieces.text_of(delta.get("content")) or pieces.text_of(choice.get("text"))
        refusal = pieces.text_of(delta.get("refusal"))
        self._logprobs += pieces.logprobs_of(choice.get("logprobs"))
        if delta.get("tool_calls"):
            self._mark()
            self._tools.add(delta["tool_calls"])
        if reasoning:
            self._think(reasoning)
        if refusal:
            content, self._withheld = content + refusal, "the model refused"
        if content:
            self._came += 1
            self._split(self._skipped.add(self._whole.add(content)))
        given = choice.get("finish_reason")
        if isinstance(given, str) and given:
            self.reason = pieces.finish_reason(given)
            if pieces.filtered(given):
                self._withheld = f"the provider's filter ended it: {given}"
        if self._text.stopped:
            self.reason = "stop"
        return self._text.stopped

    def finish(
        self,
        reason: FinishReason,
        error: LLMOpsError | None = None,
        *,
        price: Price | None = None,
    ) -> None:
        """Hand out what was held back, and the end. A second end is no end."""
        if self.ended:
            return
        self._split(self._skipped.end())
        for part in self._thinking.finish():
            self._part(*part)
        self._say(self._text.end())
        self.ended = True
        text, reasoning = self._settled()
        notes = [] if self.call is None else list(dict.fromkeys(self.call.notes))
        asked = {} if self.call is None else self.call.body
        if asked.get("logprobs") not in (None, False) and self._came and not self._logprobs:
            notes.append("The endpoint returned no log-probabilities.")
        if self._withheld:
            notes.append(f"The answer is not what was asked for ({self._withheld}).")
        calls: tuple[ToolCall, ...] = ()
        if error is None:
            try:
                calls = self._tools.finish(cut=reason not in ("stop", "tool_calls"))
                if len(calls) < len(self._tools):
                    notes.append(CUT_CALL)
                text = self._held_to_schema(text, reason, calls)
            except (EngineError, SchemaError) as e:
                error, reason = e, "error"
        if calls and reason in ("stop", "length"):
            reason = "tool_calls"
        usage = self._used(notes)
        self._put(
            Finished(
                self.request.id,
                text,
                reason,
                usage,
                self._timing(usage),
                self.seed,
                reasoning=reasoning,
                logprobs=tuple(self._logprobs),
                error=error,
                tool_calls=calls,
                cost=None if price is None else price.cost(usage),
                notes=tuple(notes),
            )
        )

    def _split(self, content: str) -> None:
        for part in self._thinking.feed(content):
            self._part(*part)

    def _part(self, is_reasoning: bool, text: str) -> None:
        if is_reasoning:
            self._think(text)
        else:
            self._say(self._text.add(text.encode("utf-8", "replace")))

    def _think(self, text: str) -> None:
        if text:
            self._mark()
            self._reasoning.append(text)
            self._tell(Token(self.request.id, text, reasoning=True))

    def _say(self, text: str) -> None:
        if text:
            self._mark()
            self._tell(Token(self.request.id, text))

    def _tell(self, piece: Token) -> None:
        if not self._muted:
            self._said = True
            self._put(piece)

    def _mark(self) -> None:
        if self._first is None:
            self._first = time.perf_counter()

    def _settled(self) -> tuple[str, str]:
        """Answer and reasoning; some templates begin the reasoning, so that only its end is seen."""
        text, reasoning = self._text.text, "".join(self._reasoning)
        if self.request.text is None and not reasoning and MARKS.end in text:
            before, _, after = text.partition(MARKS.end)
            return after.lstrip(), before.strip()
        return text, reasoning

    def _held_to_schema(self, text: str, reason: FinishReason, calls: tuple[ToolCall, ...]) -> str:
        schema, call = self.request.schema, self.call
        if schema is None or call is None or calls or reason != "stop":
            return text
        whole = self.request.prefill
        # What was begun is text before the JSON, or the JSON's own beginning.
        begun = whole if whole.rstrip().endswith(("{", "[")) else ""
        try:
            return checked(text, schema, begun=begun, fenced=not call.held)
        except SchemaError:
            if not self._withheld:
                raise
        raise SchemaError(
            f"There is no answer that satisfies the schema, as {self._withheld}: {text!r:.200}. Ask in other "
            "words, or another model."
        )

    def _used(self, notes: list[str]) -> Usage:
        if self._usage is not None:
            return self._usage
        said = "".join(self._reasoning) + self._text.text
        asked = (self.request.text or "") + "".join(m.content for m in self.request.messages)
        if not self.began:
            return Usage()
        notes.append("The server reported no token counts; they are estimates.")
        return Usage(pieces.estimate(asked), max(self._came, pieces.estimate(said)))

    def _timing(self, usage: Usage) -> Timing:
        now = time.perf_counter()
        if self._first is None:
            return Timing(now - self._asked)
        rate = None
        if usage.output_tokens > 1 and now > self._first:
            rate = (usage.output_tokens - 1) / (now - self._first)
        return Timing(now - self._asked, self._first - self._asked, rate)


def checked(text: str, schema: Mapping[str, Any], *, begun: str = "", fenced: bool = False) -> str:
    """The answer, which satisfies the schema; out of its code fence if it may stand in one.

    Raises:
        SchemaError: it does not satisfy it.
    """
    import jsonschema

    if fenced:
        text = _unfenced(text)
    try:
        value = json.loads(begun + text)
    except ValueError as e:
        if not begun and (escaped := _escaped(text)):
            return checked(escaped, schema)
        raise SchemaError(
            f"The answer is not JSON ({e}), although a schema was asked for: {text!r:.120}. Run it again, or "
            "use an endpoint that enforces schemas."
        ) from e
    validator = jsonschema.validators.validator_for(schema)(schema)
    fault = jsonschema.exceptions.best_match(validator.iter_errors(value))
    if fault is None:
        return text
    raise SchemaError(
        f"The answer does not satisfy the schema at {fault.json_path}: {fault.message:.200}. Run it again, or "
        "use an endpoint that enforces schemas."
    )


def _escaped(text: str) -> str:
    """JSON whose strings hold line ends as they are, written as JSON; '' if it is none otherwise either.

    The grammar of llama_cpp.server lets them through.
    """
    try:
        return json.dumps(json.loads(text, strict=False), ensure_ascii=False)
    except ValueError:
        return ""


def _unfenced(text: str) -> str:
    bare = text.strip()
    if not bare.startswith("```") or not bare.endswith("```"):
        return text
    return bare[3:-3].partition("\n")[2].strip()
