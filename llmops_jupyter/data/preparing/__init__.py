"""Preparing rows for fine-tuning: cleaned, without doubles, leaks and what should not be learned."""

from llmops_jupyter.data.preparing.masking import Masked, Masker
from llmops_jupyter.data.preparing.prepared import Prepared
from llmops_jupyter.data.preparing.recipe import RULES, Recipe

__all__ = ["RULES", "Masked", "Masker", "Prepared", "Recipe"]
