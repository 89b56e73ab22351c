"""Calls of an endpoint's engine, the key that they send and the usage that a server tells."""

from __future__ import annotations

from llmops_jupyter.engine.protocol import Finished, Request
from llmops_jupyter.records import Message

KEY = "sk-Secret-0123456789"
USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 3,
    "prompt_tokens_details": {"cached_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 1},
}


def ask(text="Hi", number="1", **options):
    return Request(number, (Message("user", text),), **options)


def run(engine, *requests):
    """The events of requests, which are one that says Hi if none is given."""
    return list(engine.generate(requests or [ask()]))


def only(engine, *requests):
    """The end of one request."""
    finished = [e for e in run(engine, *requests) if isinstance(e, Finished)]
    assert len(finished) == 1
    return finished[0]
