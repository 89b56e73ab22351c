"""Documents: read, cut into passages, indexed, searched by words and vectors, answered from."""

from llmops_jupyter.rag.index import Index
from llmops_jupyter.rag.stage import Rag
from llmops_jupyter.rag.status import Status

__all__ = ["Index", "Rag", "Status"]
