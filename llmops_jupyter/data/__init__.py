"""Data sets: versioned by content, with rows that keep their ids."""

from llmops_jupyter.data.dataset import Dataset, DatasetDiff
from llmops_jupyter.data.exchange import Exported, export_dataset, read_exported
from llmops_jupyter.data.stage import Datasets

__all__ = ["Dataset", "DatasetDiff", "Datasets", "Exported", "export_dataset", "read_exported"]
