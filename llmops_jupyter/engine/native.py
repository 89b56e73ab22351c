"""llama.cpp's library as llama-cpp-python binds it: loading, logging, models and vocabularies."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import sys
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmops_jupyter.engine.bindings import bindings
from llmops_jupyter.engine.probe import special_formats_work
from llmops_jupyter.errors import (
    EngineError,
    ModelArchitectureError,
    ModelError,
    missing_dependency,
)

_lock = threading.Lock()
_log: deque[str] = deque(maxlen=40)
_library: list[Any] = []
_kept: list[Any] = []
_ahead: dict[tuple[Path, int | None], _Ahead] = {}
NATIVE_ERROR = 4


def library() -> Any:
    """The low-level bindings, initialised once and silent.

    Raises:
        MissingDependencyError: llama-cpp-python is not installed.
        EngineError: its shared library cannot be loaded.
    """
    if _library:
        return _library[0]
    try:
        lib = bindings(_silence)
    except ImportError as e:
        raise missing_dependency("llama-cpp-python", "Running a GGUF model", "llama") from e
    except (OSError, RuntimeError) as e:
        raise EngineError(
            f"llama.cpp's library cannot be loaded ({e}). Run: pip install --force-reinstall "
            "--no-cache-dir llama-cpp-python"
        ) from e
    with _lock:
        if not _library:
            _silence(lib)
            lib.llama_backend_init()
            _library.append(lib)
    return lib


def _silence(lib: Any) -> None:
    """Keep the library's errors and drop the rest of what it says."""

    @lib.llama_log_callback  # type: ignore[untyped-decorator]
    def note(level: int, text: bytes | None, _: Any) -> None:
        if text and level >= NATIVE_ERROR:
            _log.append(text.decode("utf-8", "replace").strip())

    lib.llama_log_set(note, ctypes.c_void_p(0))
    # The library keeps a pointer to the callback; it must never be collected.
    _kept.append(note)
    _keep_null_files()


def _keep_null_files() -> None:
    """The bindings' package opens two files and closes neither, of which Python would warn at its end.

    They may be needed until then, so instead of being closed they are never collected.
    """
    _utils = sys.modules.get("llama_cpp._utils")
    for name in ("outnull_file", "errnull_file"):
        file = getattr(_utils, name, None)
        if file is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(file))


def last_error() -> str:
    """The last error lines that the library wrote."""
    lines = [line for line in _log if line and line != "."]
    return "; ".join(lines[-2:]) or "no reason was given"


class _Ahead:
    """A model that a thread loads; the result is a pointer or the error."""

    def __init__(self, path: Path, n_gpu_layers: int | None) -> None:
        self._given = (path, n_gpu_layers)
        self._found: Any = None
        self._thread = threading.Thread(target=self._load, name="llmops-read", daemon=True)
        self._thread.start()

    def _load(self) -> None:
        try:
            self._found = _load_model(*self._given)
        except BaseException as e:  # noqa: BLE001 - raised again by whoever wants the model
            self._found = e

    def wait(self) -> Any:
        self._thread.join()
        return self._found


def read_ahead(path: Path, n_gpu_layers: int | None) -> None:
    """Begin to load the model that `load_model` will be asked for; what goes wrong is raised there."""
    key = (path, n_gpu_layers)
    with _lock:
        if key not in _ahead:
            _ahead[key] = _Ahead(*key)


def forget_ahead(path: Path, n_gpu_layers: int | None) -> None:
    """Free a model that was read ahead and that nobody asked for."""
    with _lock:
        ahead = _ahead.pop((path, n_gpu_layers), None)
    found = None if ahead is None else ahead.wait()
    if found is not None and not isinstance(found, BaseException):
        library().llama_model_free(found)


def load_model(path: Path, n_gpu_layers: int | None) -> Any:
    """A pointer to the loaded model, which may have been read ahead.

    Raises:
        ModelError: the library cannot load it, with its reason.
        ModelArchitectureError: it has an encoder or is a diffusion model, or the library is too old for it.
    """
    with _lock:
        ahead = _ahead.pop((path, n_gpu_layers), None)
    found = _load_model(path, n_gpu_layers) if ahead is None else ahead.wait()
    if isinstance(found, BaseException):
        raise found
    return found


def _load_model(path: Path, n_gpu_layers: int | None) -> Any:
    lib = library()
    _log.clear()
    params = lib.llama_model_default_params()
    params.use_extra_bufts = special_formats_work()
    if n_gpu_layers is not None:
        params.n_gpu_layers = n_gpu_layers
    model = lib.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        said = last_error()
        if "unknown model architecture" in said:
            raise ModelArchitectureError(
                f"The installed llama.cpp cannot load {path.name!r}: {said}. Update it with: "
                "pip install -U llama-cpp-python."
            )
        raise ModelError(f"llama.cpp cannot load {path.name!r}: {said}.")
    refused = lib.llama_model_is_diffusion(model) or (
        lib.llama_model_has_encoder(model) and lib.llama_model_has_decoder(model)
    )
    if refused:
        lib.llama_model_free(model)
        raise ModelArchitectureError(
            f"{path.name!r} is an encoder-decoder or diffusion model, which this engine does not "
            "run. Choose a decoder-only model."
        )
    return model


class Vocabulary:
    """Text to tokens and back, and which tokens are control tokens.

    Raises:
        ModelError: the file carries no tokenizer.
    """

    def __init__(self, model: Any) -> None:
        self._lib = lib = library()
        self._model = model
        self._vocab = vocab = lib.llama_model_get_vocab(model)
        if lib.llama_vocab_type(vocab) == lib.LLAMA_VOCAB_TYPE_NONE:
            # The library stops the process over the first question about a token.
            raise ModelError(
                "The model's file carries no tokenizer, so it can neither read nor write text. Use a "
                "file that was converted together with its tokenizer."
            )
        self.size = int(lib.llama_vocab_n_tokens(vocab))
        self.bos = int(lib.llama_vocab_bos(vocab))
        self.eos = int(lib.llama_vocab_eos(vocab))
        self.adds_bos = bool(lib.llama_vocab_get_add_bos(vocab)) and self.bos >= 0
        self._pieces: dict[int, bytes] = {}
        self._ends: dict[int, bool] = {}

    @property
    def control(self) -> dict[str, int]:
        """The control tokens by their text."""
        return self._tables[0]

    @property
    def strips(self) -> dict[int, tuple[bool, bool]]:
        """Which control tokens swallow the white space on their left and on their right."""
        return self._tables[1]

    @contextlib.contextmanager
    def searched(self) -> Iterator[None]:
        """Find the control tokens beside what goes on in the block; it takes up to 0.1 s."""
        thread = threading.Thread(target=lambda: self._tables, name="llmops-vocabulary")
        thread.start()
        try:
            yield
        finally:
            thread.join()

    @functools.cached_property
    def _tables(self) -> tuple[dict[str, int], dict[int, tuple[bool, bool]]]:
        lib, vocab = self._lib, self._vocab
        special = lib.LLAMA_TOKEN_ATTR_CONTROL | lib.LLAMA_TOKEN_ATTR_UNKNOWN
        control: dict[str, int] = {}
        strips: dict[int, tuple[bool, bool]] = {}
        # There are up to 260,000 tokens, so this loop is a tight one.
        every = map(lib.llama_vocab_get_attr, itertools.repeat(vocab), range(self.size))
        for token, attributes in enumerate(every):
            if not attributes & special:
                continue
            control[self.text(token)] = token
            left = bool(attributes & lib.LLAMA_TOKEN_ATTR_LSTRIP)
            right = bool(attributes & lib.LLAMA_TOKEN_ATTR_RSTRIP)
            if left or right:
                strips[token] = (left, right)
        return control, strips

    @property
    def pointer(self) -> Any:
        return self._vocab

    def tokenize(self, text: str, *, add_special: bool = False) -> list[int]:
        """Token ids of a text in which nothing is read as a control token."""
        raw = text.encode()
        size = len(raw) + 16
        buffer = (ctypes.c_int32 * size)()
        n = self._lib.llama_tokenize(self._vocab, raw, len(raw), buffer, size, add_special, False)
        if n < 0:
            buffer = (ctypes.c_int32 * -n)()
            n = self._lib.llama_tokenize(self._vocab, raw, len(raw), buffer, -n, add_special, False)
        if n < 0:
            raise EngineError("llama.cpp could not tokenise the text. Check it for odd characters.")
        return list(buffer[:n])

    def pair(self, first: str, second: str) -> list[int]:
        """Token ids of two texts as cross-encoders read them, with the model's own marks."""
        lib, vocab = self._lib, self._vocab
        separator = int(lib.llama_vocab_sep(vocab))
        last = self.eos if self.eos >= 0 else separator
        start = [self.bos] if self.adds_bos else []
        end = [last] if lib.llama_vocab_get_add_eos(vocab) and last >= 0 else []
        between = [separator] if lib.llama_vocab_get_add_sep(vocab) and separator >= 0 else []
        return [*start, *self.tokenize(first), *end, *between, *self.tokenize(second), *end]

    def ids_of(self, text: str) -> list[int]:
        """The control token of that text, or the tokens that the text is made of."""
        return [self.control[text]] if text in self.control else self.tokenize(text)

    def piece(self, token: int) -> bytes:
        """The bytes of a token; nothing for control tokens."""
        known = self._pieces.get(token)
        if known is None:
            known = self._pieces[token] = self._piece(token)
        return known

    def _piece(self, token: int) -> bytes:
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            n = int(self._lib.llama_token_to_piece(self._vocab, token, buffer, size, 0, False))
            if n >= 0:
                return buffer.raw[:n]
            size = -n

    def text(self, token: int) -> str:
        """The text of a token, control tokens included; '' for none."""
        if token < 0:
            return ""
        return str(self._lib.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace"))

    def is_end(self, token: int) -> bool:
        """Whether a token ends the answer."""
        known = self._ends.get(token)
        if known is None:
            known = self._ends[token] = bool(self._lib.llama_vocab_is_eog(self._vocab, token))
        return known

    def chat_template(self) -> str | None:
        """The chat template that the file carries."""
        found = self._lib.llama_model_chat_template(self._model, None)
        return found.decode("utf-8", "replace") if found else None


class FileVocabulary(Vocabulary):
    """The tokens of a GGUF file, read without its weights; `free` it at the end.

    Raises:
        ModelError: the file cannot be read.
        MissingDependencyError: llama-cpp-python is not installed.
    """

    def __init__(self, path: Path) -> None:
        lib = library()
        params = lib.llama_model_default_params()
        params.vocab_only = True
        self._read = lib.llama_model_load_from_file(str(path).encode(), params)
        if not self._read:
            raise ModelError(f"llama.cpp cannot read {path.name!r}: {last_error()}.")
        super().__init__(self._read)

    def free(self) -> None:
        """Give the native memory back. Safe to call twice."""
        if self._read:
            self._lib.llama_model_free(self._read)
            self._read = None
