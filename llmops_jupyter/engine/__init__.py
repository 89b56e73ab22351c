"""Running models: one protocol, and the engines that speak it."""

from llmops_jupyter.engine.protocol import Engine, Event, Finished, Request, Token

__all__ = ["Engine", "Event", "Finished", "Request", "Token"]
