"""Instructions that a model proposes, from the rows that the present one gets wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmops_jupyter.evaluation.metrics.arguments import as_texts
from llmops_jupyter.evaluation.optimizing.instructions import can_stand, with_instruction
from llmops_jupyter.evaluation.variant import Variant
from llmops_jupyter.render.html import cut

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.base import Runs
    from llmops_jupyter.evaluation.scoring import Item

SHOWN, LONGEST, TEMPERATURE, MAX_TOKENS = 6, 1_500, 0.9, 256
META = """system: You improve instructions for a language model. Reply with the new instruction only.
user: This instruction is given to a model before each input:
---
{{ instruction }}
---
The model answered these inputs wrongly:

{% for row in wrong %}
input: {{ row.input }}
wanted: {{ row.wanted }}
got: {{ row.got }}

{% endfor %}
Write a better instruction, in at most five sentences. It must hold for all inputs, not only for these, and say
how the answer is to look.
"""
_WRAP = re.compile(r"^\s*(?:```\w*\n?|[-]{3,}\n)|(?:\n?```|\n[-]{3,})\s*$")
_LEAD = re.compile(
    r"^(?:here is[^\n:]{0,60}:|(?:new |better |improved )?instruction:)\s*", re.IGNORECASE
)


def propose(
    evaluation: Runs,
    template: str,
    instruction: str,
    wrong: Sequence[Item],
    *,
    model: str,
    count: int,
) -> tuple[list[str], dict[str, int], int]:
    """Proposed instructions, why others were dropped and how often, and the calls that were computed.

    They are recorded as all answers are, so that a search that goes on gets the same ones.
    """
    row = {
        "instruction": instruction or "(none)",
        "wrong": [
            {
                "input": cut(item.case.input, 300),
                "wanted": cut(" or ".join(as_texts(item.case.expected)), 100),
                "got": cut(item.case.output or item.error, 150),
            }
            for item in wrong[:SHOWN]
        ],
    }
    meta = evaluation.scratch(META)
    options = {"model": model, "temperature": TEMPERATURE, "max_tokens": MAX_TOKENS}
    run = evaluation.run(
        Variant(prompt=meta, options=options, name="proposals"), [row], (), repeat=count
    )
    kept: list[str] = []
    dropped: dict[str, int] = {}
    for item in run.items:
        text = cleaned(item.case.output)
        why = _fault(template, instruction, text, kept)
        if why:
            dropped[why] = dropped.get(why, 0) + 1
        else:
            kept.append(text)
    return kept, dropped, len(run.items) - run.resumed


def cleaned(text: str) -> str:
    """A proposal without fences, introductions and quotes around it."""
    made = _WRAP.sub("", text.strip()).strip()
    made = _LEAD.sub("", made).strip()
    if len(made) > 1 and made[0] == made[-1] and made[0] in "\"'“”":
        made = made[1:-1].strip()
    return made


def _fault(template: str, instruction: str, text: str, kept: Sequence[Any]) -> str:
    if not text:
        return "it is empty"
    if len(text) > LONGEST:
        return "it is too long"
    if text == instruction or text in kept:
        return "it was there already"
    why = can_stand(template, with_instruction(template, text))
    return why.partition(":")[0]
