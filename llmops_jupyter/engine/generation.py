"""A request while its answer is written: sampling, text, stop strings, the end."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from llmops_jupyter.engine.native import Vocabulary
from llmops_jupyter.engine.prefixes import Adapters
from llmops_jupyter.engine.protocol import Event, Finished, Request, Token
from llmops_jupyter.engine.row import Row
from llmops_jupyter.engine.sampler import Sampler, log_softmax
from llmops_jupyter.engine.text import TextStream
from llmops_jupyter.records import FinishReason, Timing, TokenLogprob, Usage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


# Text is handed on this often: each time wakes threads that take the processor from the model. A screen
# needs no more, and of a batch nobody reads along.
EVERY_S, BATCH_EVERY_S = 0.05, 0.25


class Generation(Row):
    """Writes the answer to a request; whatever happens, its last event is `Finished`.

    Args:
        request: what is asked for.
        tokens: the prompt.
        adapters: those of the request, as they are now.
        room: tokens that the answer may have at most.
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
        self.stream = TextStream(request.sampling.stop)
        self.logprobs: list[TokenLogprob] = []
        self.made = 0
        self.first: float | None = None
        self._every_s = EVERY_S if request.interactive else BATCH_EVERY_S
        self._held: list[str] = []
        self._put_at = 0.0
        self._sampler: Sampler | None = None

    def take(self, first: int, logits: Sequence[NDArray[np.float32]]) -> None:  # noqa: ARG002
        """Draw the next token; it is fed in the next step unless the answer ends with it."""
        if self._sampler is None:
            self._sampler = Sampler(self.vocabulary, self.request, self.seed, self.tokens)
        values = logits[-1]
        wanted = self.request.sampling.logprobs
        known = None if wanted is None else log_softmax(values)
        token = self._sampler.draw(values)
        self.made += 1
        if self.first is None:
            self.first = time.perf_counter()
        if self.vocabulary.is_end(token):
            self._finish("stop")
            return
        if known is not None:
            self.logprobs.append(self._logprob(token, known, wanted or 0))
        self._emit(self.stream.add(self.vocabulary.piece(token)))
        if self.stream.stopped:
            self._finish("stop")
        elif self.made >= self.room:
            self._finish("length")
        else:
            self.tokens.append(token)

    def stop(self, reason: FinishReason, error: Exception | None = None) -> None:
        if not self.ended:
            self._finish(reason, error)

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

    def _emit(self, text: str, *, last: bool = False) -> None:
        """Hand text on: the first at once, then at intervals."""
        if text:
            self._held.append(text)
        now = time.perf_counter()
        if self._held and (last or now - self._put_at >= self._every_s):
            self._put_at = now
            self.put(Token(self.request.id, "".join(self._held)))
            self._held.clear()

    def _finish(self, reason: FinishReason, error: Exception | None = None) -> None:
        self.ended = True
        if self._sampler is not None:
            self._sampler.free()
            self._sampler = None
        self._emit(self.stream.end(), last=True)
        usage = Usage(len(self.prompt), self.made, self.cached or 0)
        self.put(
            Finished(
                self.request.id,
                self.stream.text,
                reason,
                usage if self.cached is not None else Usage(),
                self._timing(),
                self.seed,
                logprobs=tuple(self.logprobs),
                error=error,
            )
        )

    def _timing(self) -> Timing:
        now = time.perf_counter()
        first = None if self.first is None else self.first - self.asked
        rate = None
        if self.first is not None and self.made > 1 and now > self.first:
            rate = (self.made - 1) / (now - self.first)
        return Timing(now - self.asked, first, rate)
