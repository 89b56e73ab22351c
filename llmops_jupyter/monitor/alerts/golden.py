"""Golden sets: rows on which production is run again on a schedule, and its quality over time.

Answers are computed anew at each run, from whatever the alias points at then. All runs against one reference share
one error: the k-th different outcome gets the part 1 / (k (k + 1)) of it, and what came out as before spends nothing,
so the intervals hold for all runs together, however many there will be (a union bound).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import DataError, LLMOpsError, OptionError, did_you_mean, unknown_name
from llmops_jupyter.evaluation.suites import is_number
from llmops_jupyter.monitor.alerts import ledger
from llmops_jupyter.monitor.alerts.ages import age
from llmops_jupyter.monitor.alerts.goldenruns import GoldenRun, GoldenSet, Quality
from llmops_jupyter.monitor.alerts.states import S
from llmops_jupyter.store import Store, aliases

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmops_jupyter.evaluation import Evaluation, EvaluationRun
    from llmops_jupyter.evaluation.answering import Tell
    from llmops_jupyter.evaluation.metrics.metric import Metric

KIND = "golden set"
LEAST = 5
# Options of a run that are none of the variant.
OF_RUN = ("expected", "cluster", "repeat", "variables")
ADVICE = "%monitor golden add NAME PROMPT --data DATA --metric METRIC makes one."


class Golden:
    """The golden sets of a workspace.

    Args:
        store: that keeps them.
        evaluation: that runs them.
        clock: the time now in nanoseconds since 1970.
    """

    def __init__(
        self, store: Store, evaluation: Callable[[], Evaluation], clock: Callable[[], int]
    ) -> None:
        self.store = store
        self.clock = clock
        self._evaluation = evaluation

    def add(
        self,
        name: str,
        variant: str,
        data: str,
        metrics: str | Sequence[str],
        *,
        margin: float = 0.0,
        labels: str = "",
        every: str = "1d",
        level: float = 0.05,
        **options: Any,
    ) -> GoldenSet:
        """Keep a golden set; with another prompt, rows or metrics than before its next run is a new reference.

        Args:
            name: of the set.
            variant: that is run, such as ``support@production``.
            data: the name of a data set.
            metrics: their names.
            margin: the loss that does not matter.
            labels: people's labels that correct judges.
            every: how long between two runs, such as 1d.
            level: probability of a false alarm, for all runs against one reference together.
            options: of `Evaluation.run`, such as model, temperature, expected, cluster.

        Raises:
            OptionError, DataError, UnknownNameError: something cannot be used; nothing was kept.
        """
        aliases.check_name(KIND, name)
        _check_numbers(margin, level)
        named = (metrics,) if isinstance(metrics, str) else tuple(metrics)
        made = GoldenSet(
            *(name, str(variant), str(data), named, float(margin), labels or ""),
            *(age(every, "every"), float(level), options),
        )
        self._check(made)
        with self.store.write() as conn:
            latest = conn.execute(
                "SELECT version, content, removed FROM golden_sets WHERE name = ? ORDER BY version DESC LIMIT 1",
                (name,),
            ).fetchone()
            if latest is None or latest[1] != made.text() or latest[2]:
                conn.execute(
                    "INSERT INTO golden_sets(name, version, content, at) VALUES (?, ?, ?, ?)",
                    (name, 1 + (latest[0] if latest else 0), made.text(), self.store.now()),
                )
        return made

    def _check(self, made: GoldenSet) -> None:
        """Raise what a run of it would find to be wrong, before anything is kept."""
        from llmops_jupyter.evaluation.answering import Work
        from llmops_jupyter.evaluation.running import check_work
        from llmops_jupyter.evaluation.variant import as_variant

        if not made.metrics or not all(isinstance(m, str) and m for m in made.metrics):
            raise OptionError("A golden set needs metrics by name, such as exact: --metric exact")
        _check_kept(made)
        evaluation = self._evaluation()
        metrics = evaluation.metrics(list(made.metrics))
        rows = evaluation.rows(made.data)
        if len(rows.rows) < LEAST:
            raise DataError(
                f"The golden set {made.name!r} has {len(rows.rows)} rows; {LEAST} are needed. Add rows to {made.data!r}."
            )
        settings = {k: v for k, v in made.options.items() if k not in OF_RUN}
        work = Work(
            variant=as_variant(made.variant).with_options(**settings),
            rows=rows,
            expected=rows.expected_column(made.options.get("expected")),
            repeats=made.options.get("repeat", 1),
            cluster=made.options.get("cluster") or "",
        )
        check_work(work, metrics)
        if work.variant.prompt is not None:
            evaluation.prompts.get(str(work.variant.prompt))
        if made.labels:
            self._check_labels(made.labels, metrics)

    def _check_labels(self, labels: str, metrics: Sequence[Metric]) -> None:
        """Labels may be given after the first run; ones that could never be used, or look mistyped, are refused."""
        from llmops_jupyter.evaluation.labelled import known_names

        if not any(metric.source == "judge" for metric in metrics):
            named = ", ".join(metric.name for metric in metrics)
            raise OptionError(
                f"Labels correct judges, and none of the metrics is one: {named}. Leave --labels out."
            )
        known = known_names(self.store)
        near = "" if labels in known else did_you_mean(labels, known)
        if near:
            raise OptionError(f"There are no labels {labels!r}.{near} Labels: {', '.join(known)}.")

    def list(self) -> list[GoldenSet]:
        """All golden sets by name."""
        rows = self.store.rows(
            "SELECT content FROM golden_sets g WHERE NOT removed AND version = "
            "(SELECT max(version) FROM golden_sets WHERE name = g.name) ORDER BY name"
        )
        return [GoldenSet.from_text(row[0]) for row in rows]

    def get(self, name: str) -> GoldenSet:
        """A golden set by its name.

        Raises:
            UnknownNameError: there is none.
        """
        found = {one.name: one for one in self.list()}
        if name in found:
            return found[name]
        raise unknown_name(KIND, name, found, ADVICE)

    def remove(self, name: str) -> None:
        """Take a golden set away; its runs stay."""
        made = self.get(name)
        with self.store.write() as conn:
            conn.execute(
                "INSERT INTO golden_sets(name, version, content, removed, at) "
                "SELECT name, max(version) + 1, ?, 1, ? FROM golden_sets WHERE name = ?",
                (made.text(), self.store.now(), name),
            )

    def is_due(self, name: str, now_ns: int) -> bool:
        """Whether a run is due by the schedule: there is none yet, or the last one is long enough ago."""
        made, runs = self.get(name), self.series(name)
        if not runs:
            return True
        return not 0 <= now_ns - ledger.parse(runs[-1].at) < made.every_s * S

    def series(self, name: str, limit: int = 1_000) -> Sequence[GoldenRun]:
        """The runs against the current reference, oldest first, which comes first."""
        row = self.store.row(
            "SELECT version FROM golden_sets WHERE name = ? ORDER BY version DESC LIMIT 1", (name,)
        )
        rows = self.store.rows(
            "SELECT g.*, r.label, r.variant FROM golden_runs g JOIN evaluation_runs r ON r.id = g.run_id WHERE golden = ? "
            "AND g.reference_id = (SELECT reference_id FROM golden_runs WHERE golden = ? AND version = ? "
            "ORDER BY id DESC LIMIT 1) ORDER BY g.id DESC LIMIT ?",
            (name, name, row[0] if row else -1, limit),
        )
        return [_golden_run(row) for row in reversed(rows)]

    def run(self, name: str, *, tell: Tell | None = None, renew: bool = False) -> GoldenRun:
        """Run a golden set: answers are computed anew, scored, and compared with the reference.

        Args:
            name: of the set.
            tell: told how far it is.
            renew: make this run the reference of later ones.

        Raises:
            LLMOpsError: it cannot be run.
        """
        from llmops_jupyter.monitor.alerts.quality import results_of

        made, earlier = self.get(name), () if renew else self.series(name)
        evaluation = self._evaluation()
        run = evaluation.run(
            made.variant, made.data, list(made.metrics), fresh=True, progress=tell, **made.options
        )
        reference = evaluation.get(earlier[0].run) if earlier else run
        outcome = outcome_of(run)
        look = _look_of(evaluation, earlier, outcome)
        results = results_of(evaluation, made, run, reference, look)
        with self.store.write() as conn:
            at = ledger.iso(self.clock())
            conn.execute(
                "INSERT INTO golden_runs(golden, version, at, run_id, reference_id, look, results) "
                "SELECT ?, max(version), ?, ?, ?, ?, ? FROM golden_sets WHERE name = ?",
                (
                    name,
                    at,
                    run.id,
                    reference.id,
                    look,
                    json.dumps([asdict(q) for q in results]),
                    name,
                ),
            )
        label = _label(run.label, run.variant)
        return GoldenRun(name, at, run.id, reference.id, look, results, label)


def _check_numbers(margin: float, level: float) -> None:
    if not is_number(margin) or margin < 0:
        raise OptionError(f"margin is a loss of 0 or more, not {margin!r:.60}.")
    if not is_number(level) or not 0 < level <= 0.5:
        raise OptionError(f"level is above 0 and at most 0.5, as in 0.05, not {level!r:.60}.")


def _check_kept(made: GoldenSet) -> None:
    """Raise an OptionError for options that cannot be kept as text."""
    try:
        json.dumps(dict(made.options))
    except (TypeError, ValueError) as e:
        raise OptionError(
            f"The options of a golden set are kept as text: {e}. Leave out what is no number, text or list."
        ) from e


def _look_of(evaluation: Evaluation, earlier: Sequence[GoldenRun], outcome: str) -> int:
    """Which different outcome this is; one that came out before is the look that it was then."""
    for one in earlier:
        try:
            if outcome_of(evaluation.get(one.run)) == outcome:
                return one.look
        except LLMOpsError:  # noqa: PERF203 - it was forgotten
            continue
    return 1 + max((one.look for one in earlier), default=0)


def _label(label: str, variant: Mapping[str, Any]) -> str:
    """What ran: the version of the prompt, which an alias does not tell."""
    return str(variant.get("prompt") or label)


def _golden_run(row: Any) -> GoldenRun:
    results = tuple(Quality(**value) for value in json.loads(row["results"]))
    return GoldenRun(
        row["golden"],
        row["at"],
        row["run_id"],
        row["reference_id"],
        row["look"],
        results,
        _label(row["label"], json.loads(row["variant"])),
    )


def outcome_of(run: EvaluationRun) -> str:
    """The hash of all answers and scores of a run: equal for runs that came out alike."""
    lines = [
        json.dumps(
            [item.case.row_id, item.case.output, *(m.scores[n].value for m in run.metrics.values())]
        )
        for n, item in enumerate(run.items)
    ]
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "backslashreplace")).hexdigest()
