"""Schemas and grammars on tokenizers that llama.cpp does not know, by the library llguidance."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.protocol import Request
from llmops_jupyter.errors import SchemaError, missing_dependency

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


# A model may not fill its answer with white space.
STRICT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def tokenizer_of(text: str, size: int, end: int) -> Any:
    """The tokenizer for `matcher_of`.

    Args:
        text: of tokenizer.json.
        size: tokens that the model has logits for.
        end: the token that ends an answer; below 0 for none.

    Raises:
        MissingDependencyError: llguidance is not installed.
    """
    try:
        import llguidance
    except ImportError as e:
        purpose = "Holding an MLX folder to a schema, a grammar or calls of tools"
        raise missing_dependency("llguidance", purpose, "mlx") from e
    return llguidance.LLTokenizer(text, n_vocab=size, eos_token=end if end >= 0 else None)


def matcher_of(request: Request, tokenizer: Callable[[], Any]) -> Any:
    """What follows the tokens of an answer that is held to a schema or a grammar; None if it is free.

    Args:
        request: with the schema or the grammar.
        tokenizer: gives that of `tokenizer_of`; called if it is needed.

    Raises:
        SchemaError: the schema or the grammar cannot be used.
        MissingDependencyError: llguidance is not installed.
    """
    if request.schema is None and request.grammar is None:
        return None
    made = tokenizer()
    import llguidance

    try:
        if request.schema is not None:
            rules = llguidance.LLMatcher.grammar_from_json_schema(
                json.dumps(request.schema), overrides=STRICT
            )
        else:
            from llguidance.gbnf_to_lark import gbnf_to_lark

            rules = llguidance.LLMatcher.grammar_from_lark(gbnf_to_lark(request.grammar or ""))
        matcher = llguidance.LLMatcher(made, rules)
        fault = str(matcher.get_error() or "")
    except Exception as e:  # noqa: BLE001 - whatever the library raises, the rules are at fault
        matcher, fault = None, str(e) or type(e).__name__
    if fault:
        raise SchemaError(
            f"The schema or grammar cannot be used on an MLX folder: {fault[:200]}. Simplify it."
        )
    return matcher


def forbid(matcher: Any, logits: NDArray[np.float32]) -> None:
    """Let only those tokens be drawn that may follow."""
    import numpy as np

    # A byte for each token, 0 where it may not follow; there may be more or fewer than logits.
    allowed = np.frombuffer(matcher.compute_logit_bias(), dtype=np.uint8)
    count = min(len(allowed), len(logits))
    logits[:count][allowed[:count] == 0] = -np.inf
    logits[count:] = -np.inf
