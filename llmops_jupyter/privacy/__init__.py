"""Personal data and secrets in text: one implementation of finding them and of taking them out."""

from llmops_jupyter.privacy.patterns import KINDS, Finding, find
from llmops_jupyter.privacy.redaction import Redact, redact, redact_json, redactor

__all__ = ["KINDS", "Finding", "Redact", "find", "redact", "redact_json", "redactor"]
