"""Probabilities of a judge's labels, from the model's own probabilities: there is nothing to parse.

Models that cannot tell how likely labels are (some endpoints) are made to answer with one of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llmops_jupyter.engine.protocol import Engine, Finished, Request
from llmops_jupyter.errors import EngineError, NoProbabilitiesError
from llmops_jupyter.records import Message, Sampling

Prompt = tuple[Message, ...]
TOKENS = 16


@dataclass(frozen=True)
class Asked:
    """Log-probabilities of the labels for each prompt, normalised over the labels.

    `chosen` says that the model was made to choose, so that they are only 0 and minus infinity.
    """

    logprobs: list[list[float]]
    chosen: bool = False


def ask(engine: Engine, prompts: Sequence[Prompt], labels: Sequence[str]) -> Asked:
    """How likely each label is after each prompt.

    Raises:
        EngineError: the engine failed. It is not made to choose then: that is for models that can never tell
            how likely labels are.
    """
    try:
        scores = engine.score([(prompt, labels) for prompt in prompts])
    except NoProbabilitiesError:
        return Asked(_chosen(engine, prompts, labels), chosen=True)
    return Asked([normalised(one) for one in scores])


def normalised(logprobs: Sequence[float], bias: Sequence[float] | None = None) -> list[float]:
    """Log-probabilities that add up to 1, less the bias of each label."""
    if all(map(math.isinf, logprobs)):
        return [-math.log(len(logprobs))] * len(logprobs)
    # What is never said has no bias that could be taken off.
    biases = [b if math.isfinite(b) else 0.0 for b in bias or [0.0] * len(logprobs)]
    shifted = [x - b for x, b in zip(logprobs, biases, strict=True)]
    most = max(shifted)
    total = most + math.log(sum(math.exp(x - most) for x in shifted))
    return [x - total for x in shifted]


def bias_of(asked: Sequence[Sequence[float]]) -> list[float]:
    """Which labels a model likes by itself: the mean log-probabilities where there is nothing to judge.

    Contextual calibration (Zhao et al., ICML 2021) with several empty contents.
    """
    count = len(asked)
    means = [sum(one[i] for one in asked) / count for i in range(len(asked[0]))]
    return normalised(means)


def _chosen(engine: Engine, prompts: Sequence[Prompt], labels: Sequence[str]) -> list[list[float]]:
    """A structured answer for each prompt: one of the labels, whatever the model would say."""
    schema = {
        "type": "object",
        "properties": {"verdict": {"enum": list(labels)}},
        "required": ["verdict"],
        "additionalProperties": False,
    }
    sampling = Sampling(temperature=0.0, max_tokens=TOKENS + 4 * max(map(len, labels)))
    requests = [
        Request(str(i), messages=prompt, sampling=sampling, schema=schema, interactive=False)
        for i, prompt in enumerate(prompts)
    ]
    texts: dict[int, str] = {}
    for event in engine.generate(requests):
        if isinstance(event, Finished):
            if event.error is not None:
                raise EngineError(f"The judge's model failed: {event.error}") from event.error
            texts[int(event.request_id)] = event.text
    return [_certain(texts.get(i, ""), labels) for i in range(len(prompts))]


def _certain(text: str, labels: Sequence[str]) -> list[float]:
    """All on the label that a structured answer has; an answer that was cut decides nothing."""
    import json

    try:
        verdict = json.loads(text)["verdict"]
    except (ValueError, KeyError, TypeError):
        verdict = None
    if verdict not in labels:
        return [-math.log(len(labels))] * len(labels)
    return [0.0 if label == verdict else -math.inf for label in labels]
