"""A request while its answer is written: sampling, text, stop strings, the end."""

from __future__ import annotations

import itertools
import operator
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from llmops_jupyter.engine.callgrammar import answer_rules, call_rules
from llmops_jupyter.engine.prefixes import Adapters
from llmops_jupyter.engine.protocol import Event, Finished, Request, Token
from llmops_jupyter.engine.row import Row
from llmops_jupyter.engine.sampler import Drawing, grammar_of, log_softmax, sampler_of
from llmops_jupyter.engine.text import AnswerStream
from llmops_jupyter.engine.thinking import Marks
from llmops_jupyter.engine.toolcalls import Calling, CallReader, settled
from llmops_jupyter.engine.vocabulary import Vocabulary
from llmops_jupyter.records import FinishReason, Timing, TokenLogprob, Usage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


# Text is handed on this often: each time wakes threads that take the processor from the model. A screen
# needs no more, and of a batch nobody reads along.
EVERY_S, BATCH_EVERY_S = 0.05, 0.25


@dataclass(frozen=True)
class Thought:
    """How a model's reasoning is told from its answer.

    `begun` says that the prompt ends within reasoning; `spoken` are the control tokens of the marks, with
    their text.
    """

    marks: Marks | None = None
    begun: bool = False
    spoken: Mapping[int, bytes] = field(default_factory=dict)


NO_THOUGHT = Thought()


class Generation(Row):
    """Writes the answer to a request; whatever happens, its last event is `Finished`.

    Args:
        request: what is asked for.
        tokens: the prompt.
        adapters: those of the request, as they are now.
        room: tokens that the answer may have at most.
        thought: how the model's reasoning is told from its answer.
        calling: how calls of tools are told from it; None where there are none.
        put: gets the events, on the scheduler's thread.
    """

    def __init__(
        self,
        request: Request,
        tokens: Sequence[int],
        *,
        adapters: Adapters = (),
        vocabulary: Vocabulary,
        room: int,
        thought: Thought = NO_THOUGHT,
        calling: Calling | None = None,
        put: Callable[[Event], None],
        client: object = None,
    ) -> None:
        super().__init__(
            tokens,
            adapters=adapters,
            interactive=request.interactive,
            client=client,
            deadline_s=request.deadline_s,
        )
        given = request.sampling.seed
        self.seed = given if given is not None else secrets.randbits(32)
        self.request = request
        self.vocabulary = vocabulary
        self.room = min(request.sampling.max_tokens, room)
        self.put = put
        self.reader = None if calling is None else CallReader(calling)
        self.stream = AnswerStream(
            request.sampling.stop, thought.marks, inside=thought.begun, calls=self.reader
        )
        self._spoken = thought.spoken
        self.logprobs: list[TokenLogprob] = []
        self.made = 0
        self.thought = 0
        self.first: float | None = None
        self._every_s = EVERY_S if request.interactive else BATCH_EVERY_S
        self._held: list[tuple[bool, str]] = []
        self._put_at = 0.0
        self._sampler: Drawing | None = None
        self._binding = ""

    def take(self, first: int, logits: Sequence[NDArray[np.float32]]) -> None:  # noqa: ARG002
        """Draw the next token; it is fed in the next step unless the answer ends with it."""
        sampler = self._sampler_now()
        if self._must_call():
            self._begin_call()
            return
        values = logits[-1]
        wanted = self.request.sampling.logprobs
        known = None if wanted is None else log_softmax(values)
        token = sampler.draw(values)
        self.made += 1
        if self.first is None:
            self.first = time.perf_counter()
        if self.vocabulary.is_end(token):
            self._finish("stop")
            return
        if known is not None:
            self.logprobs.append(self._logprob(token, known, wanted or 0))
        before = self.reader is not None and self.reader.begun
        self._emit(self._add(token))
        follow = [token]
        if self.reader is not None and self.reader.begun and not before:
            follow = self._to_mark(self.reader, token)
        if self.stream.stopped or (self.reader is not None and before and self.reader.repeated):
            self._finish("stop")
        elif self.made >= self.room:
            self._finish("length")
        else:
            self.tokens.extend(follow)

    def stop(self, reason: FinishReason, error: Exception | None = None) -> None:
        if not self.ended:
            self._finish(reason, error)

    def _sampler_now(self) -> Drawing:
        """The sampler with the schema or grammar that binds what comes next."""
        binding = self._binding_now()
        if self._sampler is not None and binding != self._binding:
            self._sampler.free()
            self._sampler = None
        if self._sampler is None:
            self._sampler = sampler_of(
                self.vocabulary, self._bound_request(binding), self.seed, self.tokens
            )
            self._binding = binding
        return self._sampler

    def _binding_now(self) -> str:
        """What binds the next token: reasoning is free, and so is text before a call of a tool."""
        if self.stream.inside:
            return "reasoning"
        reader = self.reader
        if reader is None or not reader.begun or reader.free:
            return "answer"
        # An answer that is calls or satisfies a schema is bound by one grammar from its beginning.
        return "call" if self.request.schema is None or reader.calling.required else "answer"

    def _bound_request(self, binding: str) -> Request:
        """The request with what binds it now as its schema or grammar."""
        request, reader = self.request, self.reader
        schema, rules = request.schema, request.grammar
        if reader is not None:
            # What is wrong with the schema of a tool is said before anything is written.
            rules = call_rules(reader.calling, bare=reader.bare)
            if schema is not None and not reader.calling.required:
                rules = answer_rules(reader.calling, schema)
            elif binding != "call":
                rules = None
            schema = None
        if binding == "reasoning":
            if schema is not None:
                grammar_of(schema)  # as above
            schema = rules = None
        return replace(request, schema=schema, grammar=rules)

    def _must_call(self) -> bool:
        """Whether a call has to begin now."""
        reader = self.reader
        if reader is None or reader.begun or not reader.calling.required:
            return False
        return not self.stream.inside and not self.stream.text

    def _begin_call(self) -> None:
        """Write the mark of a call for the model."""
        assert self.reader is not None
        form = self.reader.calling.form
        mark = '{"name"' if form.bare else form.begin
        tokens = self.vocabulary.ids_of(mark)
        self.made += len(tokens)
        self._emit(self.stream.add(mark.encode()))
        if self.made >= self.room:
            self._finish("length")
        else:
            self.tokens.extend(tokens)

    def _to_mark(self, reader: CallReader, token: int) -> list[int]:
        """The tokens instead of one that goes beyond the mark of a call, so that the grammar begins there."""
        if not reader.surplus or self.request.schema is not None:
            return [token]
        text = self._bytes(token).decode("utf-8", "ignore")
        kept = text[: len(text) - len(reader.surplus)]
        tokens = self.vocabulary.tokenize(kept)
        if b"".join(map(self.vocabulary.piece, tokens)) != kept.encode():
            tokens = [token]  # a vocabulary that cannot write the mark alone
            reader.free = True
        else:
            self.stream.cut_call()
        return tokens

    def _bytes(self, token: int) -> bytes:
        """The bytes of a token, those of control tokens included where one may be a mark."""
        raw = self.vocabulary.piece(token)
        if not raw and self._spoken and (self.stream.watching or self.reader is not None):
            raw = self._spoken.get(token, b"")
        return raw

    def _add(self, token: int) -> list[tuple[bool, str]]:
        """The text that a token makes final. Marks of some models are control tokens."""
        before = self.stream.inside
        parts = self.stream.add(self._bytes(token))
        self.thought += before or self.stream.inside
        return parts

    def _logprob(self, token: int, known: NDArray[np.float32], count: int) -> TokenLogprob:
        import numpy as np

        def text(one: int) -> str:
            return self.vocabulary.piece(one).decode("utf-8", "replace")

        best: list[int] = []
        if count:
            some = np.argpartition(known, -count)[-count:]
            best = [int(i) for i in some[np.argsort(-known[some])]]
        top = tuple((text(i) or self.vocabulary.text(i), float(known[i])) for i in best)
        return TokenLogprob(text(token), float(known[token]), top)

    def _emit(self, parts: Sequence[tuple[bool, str]], *, last: bool = False) -> None:
        """Hand text on: the first at once, then at intervals."""
        self._held += parts
        now = time.perf_counter()
        if self._held and (last or now - self._put_at >= self._every_s):
            self._put_at = now
            for thought, group in itertools.groupby(self._held, key=operator.itemgetter(0)):
                self.put(Token(self.request.id, "".join(text for _, text in group), thought))
            self._held.clear()

    def _finish(self, reason: FinishReason, error: Exception | None = None) -> None:
        self.ended = True
        if self._sampler is not None:
            self._sampler.free()
            self._sampler = None
        self._emit(self.stream.end(), last=True)
        text, calls, notes = settled(self.reader, self.stream.text, reason)
        usage = Usage(len(self.prompt), self.made, self.cached or 0, self.thought)
        self.put(
            Finished(
                self.request.id,
                text,
                "tool_calls" if calls else reason,
                usage if self.cached is not None else Usage(),
                self._timing(),
                self.seed,
                self.stream.reasoning,
                logprobs=tuple(self.logprobs),
                tool_calls=calls,
                notes=notes,
                error=error,
                resources=self.spent(),
            )
        )

    def _timing(self) -> Timing:
        now = time.perf_counter()
        first = None if self.first is None else self.first - self.asked
        rate = None
        if self.first is not None and self.made > 1 and now > self.first:
            rate = (self.made - 1) / (now - self.first)
        return Timing(now - self.asked, first, rate)
