"""Runs attacks on a prompt through the evaluation of this workspace: batched, kept at once, gone on with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmops_jupyter.evaluation.metrics.attacks import (
    COLUMN,
    SAID,
    attacked,
    denied,
    evidence,
    useful,
    with_texts,
)
from llmops_jupyter.evaluation.runs import EvaluationRun
from llmops_jupyter.evaluation.scoring import Item
from llmops_jupyter.evaluation.variant import Variant
from llmops_jupyter.monitor.redteam.attacks import Attack
from llmops_jupyter.monitor.redteam.attempts import Attempt, HarmlessAttempt, digest_of
from llmops_jupyter.monitor.redteam.targets import TURN, Row, Rows, Target, extended
from llmops_jupyter.prompts.rows import Rows as PromptRows

if TYPE_CHECKING:
    from llmops_jupyter.evaluation import Evaluation

Tell = Callable[[str], None]
Pairs = Sequence[tuple[str, Row]]
DOCUMENTS = "rag"


@dataclass(frozen=True)
class Ran:
    """What came of attacks and harmless inputs, and the evaluation runs that they were."""

    attempts: tuple[Attempt, ...]
    harmless: tuple[HarmlessAttempt, ...]
    runs: tuple[int, ...]


class RedTeam:
    """Attacks one target.

    Args:
        evaluation: runs prompts over rows; what was answered before is not computed again.
        target: what is attacked.
        rows: makes rows of attacks.
        fresh: compute answers anew.
        tell: told how far it is.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        target: Target,
        rows: Rows,
        *,
        fresh: bool = False,
        tell: Tell | None = None,
    ) -> None:
        self.evaluation, self.target, self.rows = evaluation, target, rows
        self.fresh, self.tell = fresh, tell
        self.runs: list[int] = []
        self.model = ""
        self._metric = attacked(target.texts, target.secrets)

    def run(self, attacks: Sequence[Attack]) -> Ran:
        """All attacks and harmless inputs.

        Raises:
            LLMOpsError: the prompt cannot be run.
            KeyboardInterrupt: what was answered is kept; the same call goes on from there.
        """
        first = {attack.id: self.rows.of_attack(attack) for attack in attacks}
        # Those who bring their own passages are not given others.
        own = [a for a in attacks if self.rows.passages is not None and a.place == "document"]
        apart = {attack.id for attack in own}
        harmless = self.rows.of_harmless()
        usual = [(i, row) for i, row in first.items() if i not in apart]
        found = self._round([*usual, *harmless], self.target.options)
        if own:
            without = {k: v for k, v in self.target.options.items() if not k.startswith(DOCUMENTS)}
            found |= self._round([(a.id, first[a.id]) for a in own], without)
        attempts = {a.id: _attempt(a, 1, *found[a.id]) for a in attacks}
        self._later(attacks, first, attempts)
        return Ran(
            tuple(attempts[a.id] for a in attacks),
            tuple(self._harmless(attacks, i, *found[i]) for i, _ in harmless),
            tuple(self.runs),
        )

    def _later(
        self, attacks: Sequence[Attack], rows: dict[str, Row], attempts: dict[str, Attempt]
    ) -> None:
        """Further messages of attacks that have not succeeded and whose model still answers."""
        turn = 2
        while True:
            going = [
                a
                for a in attacks
                if len(a.turns) >= turn
                and not (attempts[a.id].success or attempts[a.id].denied or attempts[a.id].error)
            ]
            if not going:
                return
            for attack in going:
                rows[attack.id] = {
                    **rows[attack.id],
                    f"{SAID}_{turn - 1}": attempts[attack.id].answer,
                    f"{TURN}_{turn}": attack.turns[turn - 1],
                }
            content = extended(self.target.content, turn)
            pairs = [(a.id, rows[a.id]) for a in going]
            found = self._round(pairs, self.target.options, content)
            for attack in going:
                attempts[attack.id] = _attempt(attack, turn, *found[attack.id])
            turn += 1

    def _round(
        self, pairs: Pairs, options: Mapping[str, Any], content: Any = None
    ) -> dict[str, tuple[Item, float | None, str]]:
        """Answers to rows: by row id the item, its score and the reason."""
        target = self.target
        name = target.ref if content is None else f"{target.ref}, next messages"
        given = dict(options)
        if target.tools:
            given["tools"] = list(target.tools)
        variant = Variant(prompt=content or target.runnable, options=given, name=name)
        run = self.evaluation.run(
            variant,
            PromptRows(list(pairs)),
            [self._metric, useful()],
            variables=target.shared,
            fresh=self.fresh,
            progress=self.tell,
        )
        self.runs.append(run.id)
        answered = (i.case.completion.model for i in run.items if i.case.completion is not None)
        self.model = self.model or next(answered, "")
        return {item.case.row_id: (item, *_score(run, i)) for i, item in enumerate(run.items)}

    def _harmless(
        self, attacks: Sequence[Attack], row_id: str, item: Item, score: float | None, why: str
    ) -> HarmlessAttempt:
        """With the goals that it seems to have met, though nobody asked for them."""
        done, text = item.case.completion, str(item.case.row.get(self.target.variable, ""))
        checks = {
            a.goal: with_texts(a.check, self.target.texts, self.target.secrets) for a in attacks
        }
        return HarmlessAttempt(
            id=row_id,
            text=text,
            answer=item.case.output,
            useful=score == 1.0,
            why=why,
            denied=done is not None and denied(done),
            error=item.error if item.output_id is None else "",
            trace_id=item.trace_id,
            digest=digest_of(text),
            tripped=tuple(goal for goal, check in checks.items() if evidence(check, item.case)),
        )


def _score(run: EvaluationRun, place: int) -> tuple[float | None, str]:
    meta = run.items[place].case.row[COLUMN]
    name = "attacked" if meta["kind"] == "attack" else "useful"
    scored = run.metrics[name].scores[place]
    return scored.value, scored.error or scored.explanation


def _attempt(attack: Attack, turn: int, item: Item, score: float | None, why: str) -> Attempt:
    done = item.case.completion
    failed = item.output_id is None
    made = Attempt(
        id=attack.id,
        family=attack.family,
        goal=attack.goal,
        text="\n\n".join(attack.turns[:turn]),
        answer=item.case.output,
        trace_id=item.trace_id,
        turns=len(attack.turns),
        digest=digest_of(*attack.turns),
    )
    if failed:
        return replace(made, error=item.error or "no answer")
    is_denied = done is not None and denied(done)
    return replace(made, success=score == 1.0, evidence=why, denied=is_denied)
