"""The one SQLite file that holds prompts, data sets, models, traces and scores."""

from llmops_jupyter.store.connection import Store, open_store
from llmops_jupyter.store.location import find_store_path

__all__ = ["Store", "find_store_path", "open_store"]
