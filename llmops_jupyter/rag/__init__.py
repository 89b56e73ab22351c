"""RAG: documents, passages, search by words and by vectors."""

from llmops_jupyter.rag.index import Index, Status
from llmops_jupyter.rag.indexing import AddReport
from llmops_jupyter.rag.stage import Rag

__all__ = ["AddReport", "Index", "Rag", "Status"]
