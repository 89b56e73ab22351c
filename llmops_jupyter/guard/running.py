"""A policy at work: the checks of a place asked one after the other, and what is done with what they say."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from llmops_jupyter.errors import GuardError
from llmops_jupyter.guard import named
from llmops_jupyter.guard.check import About, Check, Embed, Finding, Judge, UndecidedError
from llmops_jupyter.guard.excision import without_sentences
from llmops_jupyter.guard.masking import masked
from llmops_jupyter.guard.policy import Policy, Rule
from llmops_jupyter.guard.report import Report
from llmops_jupyter.records import Action, Decision, Place, Verdict

if TYPE_CHECKING:
    from llmops_jupyter.guard.kept import PolicyVersion

# The score from which on a check has found something, where neither the policy nor the check says another.
THRESHOLD = 0.5
# How the reasons begin of verdicts in which a check said nothing of the text.
FAILED, UNDECIDED = "the check failed", "it cannot decide"


@dataclass(frozen=True)
class Pipeline:
    """The checks of a version of a policy, made and ready.

    Args:
        version: of the policy.
        checks: each rule with its check.
        embed: vectors of texts, if a check needs them.
        judge: a model that judges, if a check needs one.
    """

    version: PolicyVersion
    checks: tuple[tuple[Rule, Check], ...] = field(repr=False)
    embed: Embed | None = field(default=None, repr=False, compare=False)
    judge: Judge | None = field(default=None, repr=False, compare=False)

    @property
    def ref(self) -> str:
        """The policy's reference, such as 'support@2'."""
        return self.version.ref

    @property
    def policy(self) -> Policy:
        return self.version.policy

    @property
    def key(self) -> str:
        """What decides about texts: the policy, the weights of fitted checks, and the code of checks of the user's own."""
        made = {rule.check: named.entry(rule.check).made_of for rule, _ in self.checks}
        text = json.dumps([self.policy.digest, made], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def has_canary(self) -> bool:
        """Whether a run under the policy has a marker in its system message."""
        return any(rule.check == "canary" for rule, _ in self.checks)

    def looks_at(self, place: Place) -> bool:
        """Whether there are checks for a place."""
        return any(rule.place == place for rule, _ in self.checks)

    def check(
        self, text: str, place: Place, about: About | None = None, *, part: bool = False
    ) -> Report:
        """Ask the checks of a place, each of what those before it left of the text; stop where one denies.

        A check that fails is told as a verdict, 'warn' unless the policy says `on_error: deny`; it never raises. Of a `part`
        of a message those are not asked that judge a whole one.
        """
        known = replace(about or About(), place=place, embed=self.embed, judge=self.judge)
        enforce = self.policy.mode == "enforce"
        verdicts: list[Verdict] = []
        for rule, check in self.checks:
            if rule.place != place or (part and named.entry(rule.check).judges_whole(rule.options)):
                continue
            verdict, left = self._asked(rule, check, text, known, enforce=enforce)
            verdicts.append(verdict)
            if verdict.action == "blocked":
                said = "" if place == "context" else self.policy.message
                return Report(said, allowed=False, verdicts=tuple(verdicts))
            text = left
        return Report(text, allowed=True, verdicts=tuple(verdicts))

    def _asked(
        self, rule: Rule, check: Check, text: str, about: About, *, enforce: bool
    ) -> tuple[Verdict, str]:
        """The verdict of one check, and the text after it."""
        began = time.perf_counter()
        try:
            finding = _found(rule, check, text, about)
            decision, reason = _decided(rule, check, finding)
        except UndecidedError as e:
            finding = Finding(None, hit=True, reason="")
            decision, reason = rule.on_error, f"{UNDECIDED}: {masked(str(e))}"
        except Exception as e:  # noqa: BLE001 - a check that fails must not take the run along
            finding = Finding(None, hit=True, reason="")
            decision, reason = (
                rule.on_error,
                f"{FAILED}: {type(e).__name__}: {masked(str(e))}",
            )
        action = _done(decision, hit=decision != "allow" or finding.hit, enforce=enforce)
        score = None if finding.score is None else float(finding.score)
        verdict = Verdict(
            check=rule.check,
            place=rule.place,
            decision=decision,
            action=action,
            reason=reason,
            score=score,
            threshold=None if score is None else threshold_of(rule, check),
            evidence=masked(finding.evidence) if decision != "allow" else "",
            policy=self.ref,
            duration_s=round(time.perf_counter() - began, 6),
        )
        left = finding.replaced if action == "replaced" and finding.replaced is not None else text
        return verdict, left


def made(
    version: PolicyVersion, embed: Embed | None = None, judge: Judge | None = None
) -> Pipeline:
    """The pipeline of a version.

    Raises:
        GuardError: a check is not part of this installation, or the workspace lacks what it needs.
        MissingDependencyError: a package that a check needs is not installed.
    """
    checks = []
    for rule in version.policy.rules:
        entry = named.entry(rule.check, f"the policy {version.ref}")
        if entry.needs == "embed" and embed is None:
            raise GuardError(
                f"The check {rule.check} of the policy {version.ref} needs an embedding model, and there is none. Add one "
                "with %model add, or take the check out."
            )
        checks.append((rule, entry.make(rule.options)))
    return Pipeline(version, tuple(checks), embed, judge)


def needs(policies: Sequence[Policy], what: str) -> bool:
    """Whether a check of policies needs an embedding model ('embed') or a judge ('judge')."""
    return any(named.entry(r.check).needs == what for p in policies for r in p.rules)


def threshold_of(rule: Rule, check: Check) -> float:
    """The score from which on a check has found something: the policy's, else the check's own."""
    if rule.threshold is not None:
        return rule.threshold
    return own_threshold(check)


def own_threshold(check: Check) -> float:
    """The threshold that a check comes with."""
    return float(getattr(check, "threshold", THRESHOLD))


def is_unsaid(verdict: Verdict) -> bool:
    """Whether the check said nothing of the text, which passed in spite of that."""
    return verdict.decision != "deny" and verdict.reason.startswith((FAILED, UNDECIDED))


def _found(rule: Rule, check: Check, text: str, about: About) -> Finding:
    """What a check finds; for 'modify' with the text without it, sentence by sentence where the check has none."""
    finding = check.find(text, about)
    threshold = threshold_of(rule, check)
    if (
        rule.action != "modify"
        or finding.replaced is not None
        or finding.score is None
        or not threshold <= finding.score <= 1
    ):
        return finding

    def score(part: str) -> float:
        return check.find(part, about).score or 0.0

    return replace(finding, replaced=without_sentences(text, score, threshold))


def _decided(rule: Rule, check: Check, finding: Finding) -> tuple[Decision, str]:
    """What ought to be done, and why."""
    hit = finding.hit
    if finding.score is not None:
        if not 0 <= finding.score <= 1:  # NaN too
            raise UndecidedError(f"its score is {finding.score}, and scores lie between 0 and 1")
        hit = finding.score >= threshold_of(rule, check)
    if not hit and finding.unread:
        raise UndecidedError(
            f"{finding.unread:,} characters in the middle were not read, and there is nothing in the others"
        )
    if not hit:
        return "allow", finding.reason
    if rule.action == "modify" and finding.replaced is None:
        return "deny", f"{finding.reason}; it cannot be taken out"
    return rule.action, finding.reason


def _done(decision: Decision, *, hit: bool, enforce: bool) -> Action:
    """What is done about a decision."""
    if decision == "allow":
        return "noted" if hit else "none"
    if not enforce or decision == "warn":
        return "noted"
    return "blocked" if decision == "deny" else "replaced"
