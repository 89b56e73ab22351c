"""llama.cpp in this process: one request after the other, streamed, cancellable, seeded.

All native calls are made by one owner thread. The thread that asks waits on a queue, so an interrupt is
served at once; the owner notices at the next chunk or token and drops the request.
"""

from __future__ import annotations

import atexit
import queue
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine import chat, native
from llmops_jupyter.engine.context import CHUNK, Cancelled, Sequence1, default_threads
from llmops_jupyter.engine.owner import Owner
from llmops_jupyter.engine.protocol import Event, Finished, Request, Token
from llmops_jupyter.engine.sampler import Sampler
from llmops_jupyter.engine.text import TextStream
from llmops_jupyter.errors import ContextLengthError, EngineError, LLMOpsError, OptionError
from llmops_jupyter.records import FinishReason, Message, Timing, Usage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# A text of more characters than this for each token of context is measured by a sample.
SAMPLE_ABOVE = 32
SAMPLE = 50_000


class LlamaCppEngine:
    """A loaded GGUF model.

    Args:
        path: the file.
        model_name, model_digest: how traces and recordings name it.
        n_ctx: tokens of context; None takes the model's own, at most 4,096.
        n_threads: None takes all physical cores.
        n_gpu_layers: None offloads all layers if the library can.

    Raises:
        ModelError, ModelMemoryError, MissingDependencyError: with what to do.
    """

    provider = "llama.cpp"
    streams = True

    def __init__(
        self,
        path: str | Path,
        *,
        model_name: str,
        model_digest: str,
        n_ctx: int | None = None,
        n_threads: int | None = None,
        n_gpu_layers: int | None = None,
    ) -> None:
        self.model_name = model_name
        self.model_digest = model_digest
        self.path = Path(path)
        self._threads = n_threads or default_threads()
        self._owner = Owner(f"llmops-{model_name}")
        self._embedder: Sequence1 | None = None
        try:
            self._owner.call(lambda: self._load(n_ctx, n_gpu_layers))
        except BaseException:
            self._owner.close(self._free)
            raise
        self.context_length = self._sequence.n_ctx
        _open.add(self)

    def generate(self, requests: Iterable[Request]) -> Iterator[Event]:
        """One request after the other; see the protocol."""
        for request in requests:
            yield from self._generate_one(request)

    def _generate_one(self, request: Request) -> Iterator[Event]:
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        cancel = threading.Event()
        job = _Generation(self, request, events.put, cancel)
        self._owner.submit(job.run)
        try:
            while True:
                event = events.get()
                yield event
                if isinstance(event, Finished):
                    return
        finally:
            cancel.set()

    def score(self, prompt: Sequence[Message] | str, labels: Sequence[str]) -> list[float]:
        """Natural log-probability of each whole label as what comes after the prompt."""
        if not labels or any(not label for label in labels):
            raise OptionError("score needs at least one label, and none of them empty.")
        base = self.tokens(prompt)
        wholes = [self.tokens(prompt, prefill=label) for label in labels]
        for whole in wholes:
            self.check_room(len(whole))
        return self._owner.call(lambda: self._score(base, wholes))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector of unit length for each text; shape (len(texts), width)."""
        tokenized = [self._embedding_tokens(text) for text in texts]
        return self._owner.call(lambda: self._embed(tokenized))

    def count_tokens(self, prompt: Sequence[Message] | str) -> int:
        """Tokens of a text, or of messages in the chat template."""
        estimate = self._estimate(prompt)
        return estimate if estimate is not None else len(self.tokens(prompt))

    def status(self) -> Mapping[str, Any]:
        """What is loaded and how."""
        lib = native.library()
        return {
            "model": self.model_name,
            "path": str(self.path),
            "engine": "llama.cpp, in process",
            "threads": self._threads,
            "context": self.context_length,
            "gpu offload": bool(lib.llama_supports_gpu_offload()),
            "chat template": self._format.source,
            "vocabulary": self._vocabulary.size,
        }

    def close(self) -> None:
        """Free the model; a running request is cancelled. Safe to call twice."""
        self._closing.set()
        self._owner.close(self._free)
        _open.discard(self)

    def tokens(self, prompt: Sequence[Message] | str, prefill: str = "") -> list[int]:
        """Token ids of a text, or of messages in the chat template; no value makes a control token."""
        vocabulary = self._vocabulary
        bos = vocabulary.bos if vocabulary.adds_bos else None
        try:
            if isinstance(prompt, str):
                pieces = [chat.Piece(prompt + prefill, control=False)]
            else:
                pieces = self._format.pieces(prompt, prefill)
            return chat.tokenize_pieces(
                pieces,
                control_ids=vocabulary.control,
                strips=vocabulary.strips,
                tokenize=vocabulary.tokenize,
                bos=bos,
            )
        except UnicodeEncodeError as e:
            raise OptionError(
                f"The prompt is not valid Unicode at character {e.start}. It was probably decoded with "
                "the wrong encoding: read the text again with encoding='utf-8'."
            ) from e

    def check_room(self, count: int, *, about: bool = False) -> None:
        """Raise a ContextLengthError if a prompt of `count` tokens leaves no room for an answer."""
        room = self.context_length - 1
        if count <= room:
            return
        near = "about " if about else ""
        raise ContextLengthError(
            f"The prompt has {near}{count:,} tokens, {near}{count - room:,} more than the context of "
            f"{self.context_length:,} holds with room for an answer. Shorten it, or load the model "
            "with a longer context: %config LLMOps.context_length"
        )

    def prompt_tokens(self, request: Request) -> list[int]:
        """The checked token ids of a request."""
        prompt = request.messages if request.text is None else request.text
        estimate = self._estimate(prompt)
        if estimate is not None:
            self.check_room(estimate, about=True)
        tokens = self.tokens(prompt, request.prefill)
        if not tokens:
            raise OptionError("The prompt is empty. Write what to ask.")
        self.check_room(len(tokens))
        return tokens

    def _estimate(self, prompt: Sequence[Message] | str) -> int | None:
        """Tokens of a text far longer than the context, from a sample of it; None for others."""
        texts = [prompt] if isinstance(prompt, str) else [m.content for m in prompt]
        length = sum(map(len, texts))
        if length <= SAMPLE_ABOVE * self._sequence.n_ctx:
            return None
        longest = max(texts, key=len)
        count = len(self.tokens(longest[:SAMPLE]))
        estimate = int(count / min(SAMPLE, len(longest)) * length)
        return estimate if estimate >= self._sequence.n_ctx else None

    def _load(self, n_ctx: int | None, n_gpu_layers: int | None) -> None:
        self._closing = threading.Event()
        self._model: Any = None
        self._sequence: Any = None
        self._model = native.load_model(self.path, n_gpu_layers)
        self._vocabulary = vocabulary = native.Vocabulary(self._model)
        trained = int(native.library().llama_model_n_ctx_train(self._model))
        self._sequence = Sequence1(self._model, n_ctx or min(trained, 4096), self._threads)
        self._format = chat.choose_format(
            vocabulary.chat_template(),
            list(vocabulary.control),
            vocabulary.text(vocabulary.bos),
            vocabulary.text(vocabulary.eos),
        )

    def _free(self) -> None:
        for sequence in (self._embedder, self._sequence):
            if sequence is not None:
                sequence.free()
        if self._model is not None:
            native.library().llama_model_free(self._model)
        self._embedder = self._sequence = self._model = None

    def _score(self, base: list[int], wholes: Sequence[list[int]]) -> list[float]:
        shared = len(base)
        for whole in wholes:
            shared = min(shared, _common(base, whole))
        # The last shared token is read together with each label, since its logits begin it.
        prefix = base[: max(0, shared)]
        sequence = self._sequence
        found: list[float] = []
        never = self._closing.is_set
        for whole in wholes:
            if not sequence.can_cut or not found:
                sequence.read(prefix, never, reuse=False)
            else:
                sequence.cut(len(prefix) - 1)
                sequence.decode(prefix[-1:])
            total = 0.0
            for token in whole[len(prefix) :]:
                total += self._log_probability(token)
                sequence.decode([token])
            found.append(total)
        return found

    def _log_probability(self, token: int) -> float:
        import numpy as np

        pointer = native.library().llama_get_logits_ith(self._sequence.pointer, -1)
        logits = np.ctypeslib.as_array(pointer, shape=(self._vocabulary.size,)).astype(np.float64)
        top = logits.max()
        return float(logits[token] - top - np.log(np.exp(logits - top).sum()))

    def _embedding_tokens(self, text: str) -> list[int]:
        try:
            tokens = self._vocabulary.tokenize(text, add_special=True)
        except UnicodeEncodeError as e:
            raise OptionError(
                "A text to embed is not valid Unicode. Read it again as UTF-8."
            ) from e
        if not tokens:
            raise OptionError("An empty text has no embedding. Leave it out.")
        if len(tokens) > self.context_length:
            raise ContextLengthError(
                f"A text to embed has {len(tokens):,} tokens, {len(tokens) - self.context_length:,} "
                "more than the model takes. Cut it into smaller passages."
            )
        return tokens

    def _embed(self, tokenized: Sequence[list[int]]) -> NDArray[np.float32]:
        import numpy as np

        lib = native.library()
        if self._embedder is None:
            self._embedder = Sequence1(
                self._model, self._sequence.n_ctx, self._threads, embeddings=True
            )
        width = int(lib.llama_model_n_embd(self._model))
        vectors = np.zeros((len(tokenized), width), dtype=np.float32)
        for place, tokens in enumerate(tokenized):
            self._embedder.read_whole(tokens)
            pointer = lib.llama_get_embeddings_seq(self._embedder.pointer, 0)
            vectors[place] = np.ctypeslib.as_array(pointer, shape=(width,))
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: NDArray[np.float32] = vectors / np.maximum(norms, 1e-12)
        return unit


class _Generation:
    """One request on the owner's thread."""

    def __init__(
        self,
        engine: LlamaCppEngine,
        request: Request,
        put: Callable[[Event], None],
        cancel: threading.Event,
    ) -> None:
        self.engine = engine
        self.request = request
        self.put = put
        self.cancel = cancel
        self.asked = time.perf_counter()
        self.first: float | None = None
        self.usage = Usage()
        given = request.sampling.seed
        self.seed = given if given is not None else secrets.randbits(32)
        self.stream = TextStream(request.sampling.stop)

    def run(self) -> None:
        """Generate; whatever happens, the last event is `Finished`."""
        reason: FinishReason = "error"
        error: Exception | None = None
        try:
            reason = self._generate()
        except Cancelled:
            reason = "interrupted"
        except LLMOpsError as e:
            error = e
        except Exception as e:  # noqa: BLE001 - the caller gets it; the owner's thread must live on
            error = EngineError(f"The engine failed: {type(e).__name__}: {e}. Run again.")
            error.__cause__ = e
        self._emit(self.stream.end())
        self.put(
            Finished(
                self.request.id,
                self.stream.text,
                reason,
                self.usage,
                self._timing(),
                self.seed,
                error=error,
            )
        )

    def _generate(self) -> FinishReason:
        engine, request = self.engine, self.request
        if request.adapters:
            raise EngineError("Adapters cannot be used with this engine yet. Leave --adapter out.")
        tokens = engine.prompt_tokens(request)
        self._stop_if_asked()
        sampler = Sampler(engine._vocabulary, request.sampling, self.seed, request.schema)  # noqa: SLF001
        try:
            sequence = engine._sequence  # noqa: SLF001
            if self._late():
                return "deadline"
            cached = sequence.read(tokens, self._asked_to_stop)
            self.usage = Usage(len(tokens), 0, cached)
            room = min(request.sampling.max_tokens, sequence.n_ctx - len(tokens))
            return self._decode(sampler, sequence, room)
        finally:
            sampler.free()

    def _decode(self, sampler: Sampler, sequence: Sequence1, room: int) -> FinishReason:
        vocabulary = self.engine._vocabulary  # noqa: SLF001
        for made in range(1, room + 1):
            token = sampler.draw(sequence.pointer)
            if self.first is None:
                self.first = time.perf_counter()
            self.usage = Usage(self.usage.input_tokens, made, self.usage.cached_tokens)
            if vocabulary.is_end(token):
                return "stop"
            self._emit(self.stream.add(vocabulary.piece(token)))
            if self.stream.stopped:
                return "stop"
            if made == room:
                break
            self._stop_if_asked()
            if self._late():
                return "deadline"
            sequence.decode([token])
        return "length"

    def _emit(self, text: str) -> None:
        if text:
            self.put(Token(self.request.id, text))

    def _asked_to_stop(self) -> bool:
        return self.cancel.is_set() or self.engine._closing.is_set()  # noqa: SLF001

    def _stop_if_asked(self) -> None:
        if self._asked_to_stop():
            raise Cancelled

    def _late(self) -> bool:
        limit = self.request.deadline_s
        return limit is not None and time.perf_counter() - self.asked > limit

    def _timing(self) -> Timing:
        now = time.perf_counter()
        first = None if self.first is None else self.first - self.asked
        rate = None
        if self.first is not None and self.usage.output_tokens > 1 and now > self.first:
            rate = (self.usage.output_tokens - 1) / (now - self.first)
        return Timing(now - self.asked, first, rate)


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    count = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        count += 1
    return count


_open: weakref.WeakSet[LlamaCppEngine] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    # The native threads must have stopped before the interpreter takes the library away.
    for engine in list(_open):
        engine.close()


__all__ = ["CHUNK", "LlamaCppEngine"]
