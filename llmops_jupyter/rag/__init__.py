"""RAG: documents, passages, search by words and by vectors, answers with citations, figures of both."""

from llmops_jupyter.rag.index import Index
from llmops_jupyter.rag.indexing import AddReport
from llmops_jupyter.rag.stage import Rag
from llmops_jupyter.rag.status import Status

__all__ = ["AddReport", "Index", "Rag", "Status"]
