"""The frozen records that travel between rooms."""

from __future__ import annotations

from llmops_jupyter.records.completion import (
    Completion,
    Failure,
    Table,
    load_pandas,
)
from llmops_jupyter.records.figures import (
    FinishReason,
    Sampling,
    Timing,
    TokenLogprob,
    Usage,
)
from llmops_jupyter.records.grounding import (
    Citation,
    Claim,
    Grounding,
    Hit,
    Support,
)
from llmops_jupyter.records.messages import (
    ROLES,
    Message,
    Role,
    Tool,
    ToolCall,
)
from llmops_jupyter.records.resources import (
    Certainty,
    Figure,
    Resources,
)
from llmops_jupyter.records.verdicts import (
    Action,
    Decision,
    Place,
    Verdict,
    summary,
)

__all__ = [
    "ROLES",
    "Action",
    "Certainty",
    "Citation",
    "Claim",
    "Completion",
    "Decision",
    "Failure",
    "Figure",
    "FinishReason",
    "Grounding",
    "Hit",
    "Message",
    "Place",
    "Resources",
    "Role",
    "Sampling",
    "Support",
    "Table",
    "Timing",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "Usage",
    "Verdict",
    "load_pandas",
    "summary",
]
