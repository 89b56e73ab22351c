"""One sampler state for each request, and the grammar that keeps an answer to a schema.

A draw depends on the logits that are handed in and on nothing else outside the sampler, so a row's choices
are its own whatever runs beside it.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from llmops_jupyter.engine.bindings import part
from llmops_jupyter.engine.native import library
from llmops_jupyter.engine.protocol import Request
from llmops_jupyter.engine.schemabounds import check_bounds
from llmops_jupyter.engine.vocabulary import Vocabulary
from llmops_jupyter.errors import OptionError, SchemaError
from llmops_jupyter.records import Sampling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def log_partition(logits: NDArray[np.float32]) -> float:
    """The logarithm of the sum of the exponentials of the logits."""
    import numpy as np

    top = float(logits.max())
    return top + float(np.log(np.exp(logits - np.float32(top)).sum(dtype=np.float64)))


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The natural log-probability of each token."""
    import numpy as np

    found: NDArray[np.float32] = logits - np.float32(log_partition(logits))
    return found


# The rule of the binding (0.3.36) lets line ends into strings, which JSON does not.
_ANY_CHARACTER, _JSON_CHARACTER = r'char ::= [^"\\] |', r'char ::= [^"\\\x7F\x00-\x1F] |'


@lru_cache(maxsize=32)
def _grammar_of(schema: str) -> str:
    library()
    grammar = part("llama_grammar")
    try:
        rules = str(grammar.json_schema_to_gbnf(schema))
    except Exception as e:
        raise SchemaError(
            f"The schema cannot be turned into a grammar ({type(e).__name__}: {e}). Use plain types, "
            "properties, enum, items and $ref within the schema."
        ) from e
    return rules.replace(_ANY_CHARACTER, _JSON_CHARACTER)


def grammar_of(schema: Mapping[str, Any]) -> str:
    """llama.cpp's grammar (GBNF) for a JSON schema.

    Raises:
        SchemaError: the schema uses what the grammar cannot express, or is too large.
    """
    check_bounds(schema)
    return _grammar_of(json.dumps(schema))


class Drawing(Protocol):
    """What draws the tokens of one request; logits may be changed in place."""

    def draw(self, logits: NDArray[np.float32]) -> int: ...

    def free(self) -> None: ...


def sampler_of(
    vocabulary: Vocabulary, request: Request, seed: int, prompt: Sequence[int] = ()
) -> Drawing:
    """The sampler that suits a vocabulary: its own, or llama.cpp's; raises what that raises."""
    make = getattr(vocabulary, "sampler", None)
    if make is not None:
        own: Drawing = make(request, seed, prompt)
        return own
    return Sampler(vocabulary, request, seed, prompt)


class Sampler:
    """Draws tokens for one request. Free it when the request ends.

    Args:
        vocabulary: of the model.
        request: its sampling settings, schema and grammar.
        seed: of the draws.
        prompt: tokens before the answer, for the penalties.

    Raises:
        SchemaError, OptionError: the schema, the grammar or a biased token cannot be used.
    """

    def __init__(
        self, vocabulary: Vocabulary, request: Request, seed: int, prompt: Sequence[int] = ()
    ) -> None:
        self._lib = lib = library()
        self._size = vocabulary.size
        self._chain: Any = None
        self._grammar: Any = None
        sampling = request.sampling
        self._bias = bias_of(vocabulary, sampling)
        self._greedy = sampling.temperature == 0 and not penalised(sampling)
        self._chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        self._fill_chain(sampling, seed)
        if penalised(sampling):
            for token in list(prompt)[-sampling.penalty_window or len(prompt) :]:
                lib.llama_sampler_accept(self._chain, token)
        rules = request.grammar if request.schema is None else grammar_of(request.schema)
        if rules is not None:
            self._add_grammar(vocabulary, rules, given=request.schema is None)

    def _fill_chain(self, sampling: Sampling, seed: int) -> None:
        lib, chain = self._lib, self._chain
        add = lib.llama_sampler_chain_add
        if penalised(sampling):
            penalties = (
                sampling.repeat_penalty,
                sampling.frequency_penalty,
                sampling.presence_penalty,
            )
            window = sampling.penalty_window
            add(chain, lib.llama_sampler_init_penalties(self._size, window, *penalties))
        if sampling.temperature == 0:
            add(chain, lib.llama_sampler_init_greedy())
            return
        if sampling.top_k > 0:
            add(chain, lib.llama_sampler_init_top_k(sampling.top_k))
        if sampling.top_p < 1:
            add(chain, lib.llama_sampler_init_top_p(sampling.top_p, 1))
        if sampling.min_p > 0:
            add(chain, lib.llama_sampler_init_min_p(sampling.min_p, 1))
        add(chain, lib.llama_sampler_init_temp(sampling.temperature))
        add(chain, lib.llama_sampler_init_dist(seed))

    def _add_grammar(self, vocabulary: Vocabulary, rules: str, *, given: bool) -> None:
        self._grammar = self._lib.llama_sampler_init_grammar(
            vocabulary.pointer, rules.encode(), b"root"
        )
        if not self._grammar:
            self.free()
            raise SchemaError(
                "llama.cpp refuses the grammar; it needs valid GBNF rules with a root."
                if given
                else "llama.cpp refuses the grammar of this schema. Simplify it."
            )

    def draw(self, logits: NDArray[np.float32]) -> int:
        """The next token from its logits; biases are added to them in place."""
        if self._bias is not None:
            logits[self._bias[0]] += self._bias[1]
        # Most tokens satisfy the grammar: draw first, and filter the whole vocabulary only if not.
        token = int(logits.argmax()) if self._greedy else self._select(logits)
        if self._grammar is not None:
            if not self._allowed(token):
                token = self._select(logits, grammar=True)
            self._lib.llama_sampler_accept(self._grammar, token)
        if not self._greedy:
            self._lib.llama_sampler_accept(self._chain, token)
        return token

    def _select(self, logits: NDArray[np.float32], *, grammar: bool = False) -> int:
        table, candidates = _candidates(self._lib, logits)
        if grammar:
            self._lib.llama_sampler_apply(self._grammar, ctypes.byref(candidates))
        self._lib.llama_sampler_apply(self._chain, ctypes.byref(candidates))
        if not 0 <= candidates.selected < len(table):
            raise SchemaError("No token can follow under this grammar. Simplify it.")
        return int(table["id"][candidates.selected])

    def _allowed(self, token: int) -> bool:
        one = self._lib.llama_token_data(id=token, logit=1.0, p=0.0)
        candidates = self._lib.llama_token_data_array(
            data=ctypes.pointer(one), size=1, selected=-1, sorted=False
        )
        self._lib.llama_sampler_apply(self._grammar, ctypes.byref(candidates))
        return bool(one.logit > float("-inf"))

    def free(self) -> None:
        """Give the native memory back. Safe to call twice."""
        for sampler in (self._grammar, self._chain):
            if sampler is not None:
                self._lib.llama_sampler_free(sampler)
        self._grammar = self._chain = None


def penalised(sampling: Sampling) -> bool:
    """Whether the settings make tokens that came before less likely."""
    used = sampling.repeat_penalty != 1 or sampling.frequency_penalty or sampling.presence_penalty
    return bool(used) and sampling.penalty_window > 0


def _candidates(lib: Any, logits: NDArray[np.float32]) -> tuple[NDArray[Any], Any]:
    """The table that llama.cpp's samplers work on, with all tokens of the vocabulary."""
    import numpy as np

    layout = np.dtype([("id", "<i4"), ("logit", "<f4"), ("p", "<f4")])
    table = np.empty(len(logits), dtype=layout)
    table["id"] = np.arange(len(logits), dtype=np.int32)
    table["logit"] = logits
    table["p"] = 0
    candidates = lib.llama_token_data_array(
        data=table.ctypes.data_as(lib.llama_token_data_p),
        size=len(table),
        selected=-1,
        sorted=False,
    )
    return table, candidates


def bias_of(
    vocabulary: Vocabulary, sampling: Sampling
) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
    """Token ids and what is added to their logits.

    Raises:
        OptionError: an id is outside the vocabulary.
    """
    if not sampling.logit_bias:
        return None
    import numpy as np

    total: dict[int, float] = {}
    for given, bias in sampling.logit_bias:
        ids = [given] if isinstance(given, int) else vocabulary.ids_of(given)
        for token in ids:
            if not 0 <= token < vocabulary.size:
                raise OptionError(
                    f"logit_bias names token {token}; ids lie between 0 and {vocabulary.size - 1}."
                )
            total[token] = total.get(token, 0.0) + bias
    return np.array(list(total)), np.array(list(total.values()), dtype=np.float32)
