"""MIME bundles and HTML for records. Everything that a model or a user wrote is escaped."""

from llmops_jupyter.render.bundles import completion_bundle, completion_markdown, quiet_line
from llmops_jupyter.render.controls import visible
from llmops_jupyter.render.grounded import after_stream
from llmops_jupyter.render.html import (
    DiffLine,
    attribute,
    bundle,
    diff_html,
    diff_lines,
    diff_text,
    escaped,
    table_bundle,
    table_html,
    text_table,
)
from llmops_jupyter.render.markdown import safe_markdown
from llmops_jupyter.render.trace import trace_bundle, trace_html, trace_text

__all__ = [
    "DiffLine",
    "after_stream",
    "attribute",
    "bundle",
    "completion_bundle",
    "completion_markdown",
    "diff_html",
    "diff_lines",
    "diff_text",
    "escaped",
    "quiet_line",
    "safe_markdown",
    "table_bundle",
    "table_html",
    "text_table",
    "trace_bundle",
    "trace_html",
    "trace_text",
    "visible",
]
