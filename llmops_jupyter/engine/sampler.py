"""One sampler chain for each request, and the grammar that keeps an answer to a schema."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.native import Vocabulary, library
from llmops_jupyter.errors import SchemaError
from llmops_jupyter.records import Sampling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PENALTY_WINDOW = 64


def grammar_of(schema: Mapping[str, Any]) -> str:
    """llama.cpp's grammar (GBNF) for a JSON schema.

    Raises:
        SchemaError: the schema uses what the grammar cannot express.
    """
    library()
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    try:
        return str(json_schema_to_gbnf(json.dumps(schema)))
    except Exception as e:
        raise SchemaError(
            f"The schema cannot be turned into a grammar ({type(e).__name__}: {e}). Use plain types, "
            "properties, enum, items and $ref within the schema."
        ) from e


class Sampler:
    """Draws tokens for one request. Free it when the request ends."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        sampling: Sampling,
        seed: int,
        schema: Mapping[str, Any] | None,
    ) -> None:
        self._lib = lib = library()
        self._size = vocabulary.size
        self._chain = chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        self._grammar: Any = None
        add = lib.llama_sampler_chain_add
        if sampling.repeat_penalty != 1.0:
            add(
                chain,
                lib.llama_sampler_init_penalties(
                    self._size, PENALTY_WINDOW, sampling.repeat_penalty, 0.0, 0.0
                ),
            )
        if sampling.temperature == 0:
            add(chain, lib.llama_sampler_init_greedy())
        else:
            if sampling.top_k > 0:
                add(chain, lib.llama_sampler_init_top_k(sampling.top_k))
            if sampling.top_p < 1:
                add(chain, lib.llama_sampler_init_top_p(sampling.top_p, 1))
            if sampling.min_p > 0:
                add(chain, lib.llama_sampler_init_min_p(sampling.min_p, 1))
            add(chain, lib.llama_sampler_init_temp(sampling.temperature))
            add(chain, lib.llama_sampler_init_dist(seed))
        if schema is not None:
            self._grammar = lib.llama_sampler_init_grammar(
                vocabulary.pointer, grammar_of(schema).encode(), b"root"
            )
            if not self._grammar:
                self.free()
                raise SchemaError("llama.cpp refuses the grammar of this schema. Simplify it.")

    def draw(self, context: Any) -> int:
        """The next token, from the logits of the last position."""
        if self._grammar is None:
            return int(self._lib.llama_sampler_sample(self._chain, context, -1))
        logits = self._lib.llama_get_logits_ith(context, -1)
        import numpy as np

        values: NDArray[np.float32] = np.ctypeslib.as_array(logits, shape=(self._size,)).copy()
        # Most tokens satisfy the grammar: draw first, and filter the whole vocabulary only if not.
        token = self._select(values)
        if not self._allowed(token):
            token = self._select(values, grammar=True)
        self._lib.llama_sampler_accept(self._grammar, token)
        self._lib.llama_sampler_accept(self._chain, token)
        return token

    def _select(self, logits: NDArray[np.float32], *, grammar: bool = False) -> int:
        import numpy as np

        layout = np.dtype([("id", "<i4"), ("logit", "<f4"), ("p", "<f4")])
        table = np.zeros(self._size, dtype=layout)
        table["id"] = np.arange(self._size)
        table["logit"] = logits
        candidates = self._lib.llama_token_data_array(
            data=table.ctypes.data_as(self._lib.llama_token_data_p),
            size=self._size,
            selected=-1,
            sorted=False,
        )
        if grammar:
            self._lib.llama_sampler_apply(self._grammar, ctypes.byref(candidates))
        self._lib.llama_sampler_apply(self._chain, ctypes.byref(candidates))
        return int(candidates.data[candidates.selected].id)

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
