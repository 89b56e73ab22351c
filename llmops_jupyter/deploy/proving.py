"""The steps of a pipeline that prove something: test, evaluate, gate. They change nothing but records of evaluations."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.deploy import evidence
from llmops_jupyter.deploy.inputs import Inputs
from llmops_jupyter.deploy.plan import Case, Plan
from llmops_jupyter.deploy.rooms import Rooms
from llmops_jupyter.errors import DeployError

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.suites import Suite

Tell = Callable[[str], None]
SHOWN = 200
ALARM = "alert"


class Proving:
    """What proves that a deployment may go on.

    Args:
        rooms: of the workspace.
        plan: what was declared.
        inputs: what is deployed.
        tell: shows how far it is.
        log: keeps a line.
    """

    def __init__(self, rooms: Rooms, plan: Plan, inputs: Inputs, tell: Tell, log: Tell) -> None:
        self._rooms, self._plan, self._inputs = rooms, plan, inputs
        self._tell, self._log = tell, log

    def test(self) -> dict[str, Any]:
        """Run the cases, then the commands.

        Raises:
            DeployError: an answer is not as expected, or a command failed.
        """
        for number, case in enumerate(self._plan.cases, 1):
            self._case(number, case)
        for command in self._plan.commands:
            self._log(f"$ {command}")
            run_command(command, self._plan.folder, self._log)
        cases, commands = len(self._plan.cases), len(self._plan.commands)
        return {"summary": f"{cases} cases and {commands} commands passed"}

    def evaluate(self) -> dict[str, Any]:
        """Measure what is deployed; no figure fails here."""
        from llmops_jupyter.evaluation.comparison import Comparison

        wanted = self._plan.evaluate
        assert wanted is not None
        evaluation = self._rooms.evaluation()
        how: dict[str, Any] = {
            "expected": wanted.expected,
            "repeat": wanted.repeat,
            "cluster": wanted.cluster,
            "progress": self._tell,
        }
        metrics = list(wanted.metrics)
        run = evaluation.run(self._inputs.variant(), wanted.data, metrics, **how)
        self._log(run.title())
        for summary in run.summary():
            self._log(f"{summary.metric}: {summary.value_text()} [{summary.interval_text()}]")
        compared: tuple[Comparison, ...] = ()
        if wanted.baseline is not None:
            before = evaluation.run(wanted.baseline, wanted.data, metrics, **how)
            found = evaluation.compare(before, run, metric=metrics)
            compared = (found,) if isinstance(found, Comparison) else tuple(found)
            for one in compared:
                self._log(one.sentence())
        told = evidence.Evidence(runs=(run,), comparisons=compared).told()
        return {"summary": told.summary, "evidence": told.as_dict()}

    def gate(self, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Decide the suites, and look at the monitor's rules.

        Args:
            keep: gets the result before it is decided, so that it is there where a gate fails.

        Raises:
            DeployError: one did not pass: with its metric, its interval and its rows.
        """
        demands = self._plan.gate
        assert demands is not None
        reports = []
        for suite in self.suites():
            report = self._rooms.evaluation().gate(suite, progress=self._tell)
            reports.append(report)
            self._log(report.title())
            for verdict in report.verdicts:
                self._log(evidence.verdict_words(verdict))
        result: dict[str, Any] = {"summary": "no suites"}
        if reports:
            told = evidence.Evidence(gates=tuple(reports)).told()
            result = {"summary": told.summary, "evidence": told.as_dict()}
        keep(result)
        failed = [
            r
            for r in reports
            if r.outcome == evidence.FAILED or (not r.passed and not demands.allow_undecided)
        ]
        if failed:
            raise DeployError(
                f"The gate did not pass, so nothing was promoted: {evidence.failure(failed)}. Correct it and run again."
            )
        states = self.alarms()
        if states:
            result["summary"] += f"; {states}"
        return result

    def suites(self) -> list[Suite]:
        """The suites, each about what is deployed and nothing else.

        Raises:
            DataError, UnknownNameError: one cannot be read.
        """
        demands = self._plan.gate
        found = []
        for name in demands.suites if demands is not None else ():
            path = self._plan.folder / name
            suite = self._rooms.evaluation().suite(path if path.is_file() else name)
            found.append(replace(suite, variant=self._inputs.variant()))
        return found

    def suites_key(self) -> list[str]:
        """What the suites demand and on which rows, by content."""
        return [
            f"{hashlib.sha256(s.text.encode()).hexdigest()} {data_key(self._rooms, s)}"
            for s in self.suites()
        ]

    def alarms(self) -> str:
        """Look at the rules of the monitor that the gate names; what they say.

        Raises:
            DeployError: one is in alarm.
        """
        names = self._plan.gate.rules if self._plan.gate is not None else ()
        if not names:
            return ""
        looked = self._rooms.monitor().alerts.look(list(names), tell=self._tell)
        lines = []
        for entry in looked.entries:
            if entry.rule.name not in names:
                continue
            standing = entry.standing
            shown = entry.rule.measure.text(standing.value)
            said = f"{entry.rule.name} is {standing.state} ({entry.rule.words()}; {shown}, n = {standing.n})"
            self._log(said)
            lines.append(f"{entry.rule.name} {standing.state}")
            if standing.state == ALARM:
                remarks = entry.remarks()
                raise DeployError(
                    f"A rule of the monitor is in alarm, so nothing was promoted: {said}{f': {remarks}' if remarks else ''}. "
                    "%monitor alerts shows its traces."
                )
        return ", ".join(lines)

    def _case(self, number: int, case: Case) -> None:
        self._tell(f"case {number} of {len(self._plan.cases)}")
        row = dict(case.variables) or {"id": f"case-{number}"}
        expected = "expected" if "expected" in row else None
        run = self._rooms.evaluation().run(
            self._inputs.variant(), [row], list(case.expect), expected=expected
        )
        item = run.items[0]
        at = f"line {case.line}" if case.line else f"case {number}"
        if item.output_id is None:
            raise DeployError(
                f"The test in {at} got no answer, so nothing was promoted: {item.error or 'it was broken off'}"
            )
        for metric in run.metrics.values():
            scored = metric.scores[0]
            answer = " ".join(str(item.case.output).split())[:SHOWN]
            if scored.value is None or (metric.is_yes_no and not scored.value):
                why = scored.error or scored.explanation or "it does not hold"
                raise DeployError(
                    f"The test in {at} failed, so nothing was promoted: {metric.name} ({why}); the answer was {answer!r}. "
                    "Correct the prompt or the case."
                )
        self._log(f"case {number}: {', '.join(run.metrics)}")


def data_key(rooms: Rooms, suite: Suite) -> str:
    """The hash of a suite's rows."""
    path = None if suite.folder is None else suite.folder / suite.data
    if path is not None and Path(suite.data).suffix and path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return rooms.data().get(suite.data).content_hash


def run_command(command: str, folder: Path, log: Tell) -> None:
    """Run a command without a shell, and keep what it prints, line by line.

    Raises:
        DeployError: it is not there, or did not end with 0.
    """
    try:
        words = shlex.split(command)
        process = subprocess.Popen(  # noqa: S603 - the user's own command, from the user's own file
            words,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except (OSError, ValueError, IndexError) as e:
        raise DeployError(
            f"The command {command!r:.200} cannot be run: {e}. Correct it in the pipeline."
        ) from e
    last = ""
    try:
        for line in process.stdout or ():
            last = line.rstrip() or last
            log(line.rstrip())
        code = process.wait()
    except BaseException:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
    finally:
        if process.stdout is not None:
            process.stdout.close()
    if code:
        raise DeployError(
            f"The command {command!r:.200} ended with {code}, so nothing was promoted: {last[:SHOWN]}"
        )
