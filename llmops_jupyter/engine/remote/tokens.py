"""Counting tokens: by the server where it has an interface for that, else by an estimate."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from llmops_jupyter.engine.protocol import Prompt
from llmops_jupyter.engine.remote.body import message_value
from llmops_jupyter.engine.remote.faults import Fault
from llmops_jupyter.engine.remote.flavours import Flavour
from llmops_jupyter.engine.remote.pieces import estimate
from llmops_jupyter.errors import EngineError, OptionError
from llmops_jupyter.models.endpoint import Endpoint

# Marks that a chat template puts around a message.
MESSAGE_TOKENS = 4
Ask = Callable[[str, Mapping[str, Any]], Awaitable[Any]]


class Tokens:
    """The tokens of a server's model.

    Args:
        endpoint, flavour: of the server.
        ask: makes a call.
    """

    def __init__(self, endpoint: Endpoint, flavour: Flavour, ask: Ask) -> None:
        self._endpoint = endpoint
        self._flavour = flavour
        self._ask = ask

    async def count(self, prompt: Prompt) -> tuple[int, bool]:
        """Tokens of a prompt, and whether they were counted rather than estimated."""
        try:
            found = await self._counted(prompt)
        except (Fault, EngineError):
            found = None
        if found is not None:
            return found, True
        if isinstance(prompt, str):
            return estimate(prompt), False
        return sum(estimate(m.content) + MESSAGE_TOKENS for m in prompt), False

    async def ids(self, text: str) -> list[int]:
        """The token ids of a text.

        Raises:
            OptionError: this server cannot be asked.
            Fault: the call failed.
        """
        found: Any = None
        root, model = self._endpoint.root, self._endpoint.model
        if self._flavour.tokenizer == "vllm":
            body = {"model": model, "prompt": text, "add_special_tokens": False}
            found = await self._ask(f"{root}/tokenize", body)
        elif self._flavour.tokenizer == "llama-server":
            found = await self._ask(f"{root}/tokenize", {"content": text, "add_special": False})
        elif self._flavour.tokenizer == "llama-cpp-python":
            found = await self._ask(f"{root}/extras/tokenize", {"model": model, "input": text})
        tokens = found.get("tokens") if isinstance(found, Mapping) else None
        if not isinstance(tokens, list):
            raise OptionError(
                "This endpoint does not tell which tokens a text has, so logit_bias needs token ids here."
            )
        return [int(token) for token in tokens]

    async def bias(self, given: Sequence[tuple[int | str, float]]) -> dict[int, float]:
        """A bias for each token id; minus infinity is as low as the server takes.

        Raises:
            OptionError, Fault: see `ids`.
        """
        found: dict[int, float] = {}
        # What stands before every text, such as a start token, is not meant.
        start = await self.ids("") if any(isinstance(token, str) for token, _ in given) else []
        for token, amount in given:
            value = self._flavour.forbid if math.isinf(amount) else amount
            ids: list[int] = [] if isinstance(token, str) else [token]
            if isinstance(token, str):
                ids = await self.ids(token)
                ids = ids[len(start) :] if ids[: len(start)] == start else ids
            for one in ids:
                found[one] = value
        return found

    async def _counted(self, prompt: Prompt) -> int | None:
        text = prompt if isinstance(prompt, str) else None
        messages = [] if isinstance(prompt, str) else [message_value(m) for m in prompt]
        root, kind = self._endpoint.root, self._flavour.tokenizer
        found: Any = None
        if kind == "vllm":
            asked = {"prompt": text} if text is not None else {"messages": messages}
            found = await self._ask(f"{root}/tokenize", {"model": self._endpoint.model, **asked})
        elif kind == "llama-server":
            if text is None:
                made = await self._ask(f"{root}/apply-template", {"messages": messages})
                text = str(made["prompt"]) if isinstance(made, Mapping) else ""
            found = await self._ask(f"{root}/tokenize", {"content": text, "add_special": True})
        elif kind == "llama-cpp-python" and text is not None:
            body = {"model": self._endpoint.model, "input": text}
            found = await self._ask(f"{root}/extras/tokenize/count", body)
        if not isinstance(found, Mapping):
            return None
        count = found.get("count")
        if isinstance(count, int):
            return count
        tokens = found.get("tokens")
        return len(tokens) if isinstance(tokens, list) else None
