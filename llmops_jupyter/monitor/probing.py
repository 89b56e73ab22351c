"""What a workspace tries on its prompts: attacks, and pairs of texts that differ in a person alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import OptionError
from llmops_jupyter.monitor.plugged import Plugged

if TYPE_CHECKING:
    from llmops_jupyter.data import Dataset
    from llmops_jupyter.monitor.bias import BiasReport
    from llmops_jupyter.monitor.redteam import RedTeamReport

ATTACKS = 20
Tell = Callable[[str], None]


class Probing(Plugged):
    """Red-team runs and bias probes of a workspace."""

    def redteam(
        self,
        prompt: Any,
        families: Sequence[str] | str | None = None,
        *,
        n: int = ATTACKS,
        seed: int = 0,
        model: str | None = None,
        guard: str | None = None,
        variable: str | None = None,
        document: str | None = None,
        variables: Mapping[str, Any] | None = None,
        harmless: Any = None,
        secrets: Sequence[str] | str = (),
        rag: str | None = None,
        tools: Any = None,
        forbidden: Sequence[str] | str | None = None,
        fresh: bool = False,
        progress: Tell | None = None,
        **options: Any,
    ) -> RedTeamReport:
        """Attack a prompt, and say how often attacks of each family succeed.

        The same call attacks in the same way; answers that are there already are not computed again, so that a call
        that was broken off goes on where it stopped. Functions are replaced by ones that do nothing.

        Args:
            prompt: a reference such as ``"support@3"``, a version, or scratch content.
            families: names of attack families, or a YAML file of your own; all if left out.
            n: attacks of each family.
            seed: of all that is drawn.
            model: that answers.
            guard: a guard policy.
            variable: that an attacker writes into; found if the prompt has one that is plainly it.
            document: the variable that documents are read from, for attacks in documents; 'context' if there is one.
            variables: values of the others.
            harmless: inputs that nobody needs to decline, as rows, a data set or texts; our own if left out.
            secrets: texts of the prompt that must not leak, beside the words of its system message.
            rag: an index: attacks in documents are put among the passages that it has.
            tools: the prompt's functions.
            forbidden: those that are not to be called; left out, the ones with side effects, or else all.
            fresh: compute answers that were recorded before anew.
            progress: told how far it is.
            options: settings of the run, such as temperature and max_tokens.

        Raises:
            OptionError, DataError, UnknownNameError: something cannot be used; nothing was run.
            KeyboardInterrupt: what was answered is kept; the same call goes on from there.
        """
        from llmops_jupyter.monitor.redteam import attacks, catalogue, kept, report, targets
        from llmops_jupyter.monitor.redteam.running import RedTeam

        chosen = catalogue.chosen(families)
        given = {**options, "model": model, "rag": rag, **_guarded(guard)}
        target = targets.find_target(
            self._prompts(),
            prompt,
            variable=variable,
            document=document,
            variables=variables,
            secrets=secrets,
            tools=tools,
            forbidden=forbidden,
            options=given,
        )
        harmless_rows = targets.harmless_of(target, self._harmless(harmless))
        made, without = attacks.make(chosen, target.means, harmless_rows.texts, n, seed)
        if not made:
            raise OptionError(
                "None of these families has an attack for this prompt: they need a system message or secrets=… to "
                "leak, or tools=… to call."
            )
        rows = targets.Rows(target, harmless_rows, self._passages(given))
        team = RedTeam(self._evaluation(), target, rows, fresh=fresh, tell=progress)
        ran = team.run(made)
        notes = []
        if without:
            notes.append(
                f"no attacks of {', '.join(without)}: the prompt has nothing that they could be after"
            )
        found = report.RedTeamReport(
            id=0,
            prompt=target.ref,
            model=team.model,
            guard=guard or "",
            seed=seed,
            n=n,
            titles={f.name: f.title for f in chosen if f.name not in without},
            variable=target.variable,
            attempts=ran.attempts,
            harmless=ran.harmless,
            runs=ran.runs,
            notes=tuple(notes),
            held=report.Held(target.shared, target.texts, target.secrets),
        )
        return self._usable(kept.keep(self.tracer, found))

    def redteam_runs(self, limit: int = 50) -> Sequence[Mapping[str, Any]]:
        """The latest red-team runs, newest first."""
        from llmops_jupyter.monitor.redteam import kept

        return kept.listed(self.store, limit)

    def redteam_report(self, run: int) -> RedTeamReport:
        """A red-team run that was made earlier.

        Raises:
            UnknownNameError: there is none with this number.
        """
        from llmops_jupyter.monitor.redteam import kept

        return self._usable(kept.load(self.store, run))

    def forget_redteam(self, run: int) -> None:
        """Delete what a red-team run kept, its evaluation runs included; traces have copies of their own."""
        from llmops_jupyter.monitor.redteam import kept

        for made in kept.forget(self.store, run).runs:
            self._evaluation().forget(made)

    def bias(
        self,
        prompt: Any,
        texts: Any,
        *,
        variable: str | None = None,
        attributes: Sequence[str] | str | None = None,
        metrics: Any = None,
        labels: Sequence[str] = (),
        choices: Sequence[str] = (),
        each: int = 6,
        variables: Mapping[str, Any] | None = None,
        confidence: float = 0.95,
        progress: Tell | None = None,
        **options: Any,
    ) -> BiasReport:
        """Whether answers differ where only a person's name, gender, pronoun or age does.

        Arguments as for `bias.Plan`; answers are computed at temperature 0, one by one, unless options say otherwise.

        Raises:
            DataError: no text tells of anybody.
            OptionError: an option cannot be used; nothing was run.
        """
        from llmops_jupyter.monitor.bias import Plan, probe

        plan = Plan(
            prompt=prompt,
            texts=texts,
            variable=variable,
            attributes=attributes,
            metrics=metrics,
            labels=labels,
            choices=choices,
            each=each,
            variables=variables,
            confidence=confidence,
            options=options,
        )
        return probe(self._evaluation(), self.engine, plan, progress)

    def _harmless(self, given: Any) -> Any:
        from llmops_jupyter.monitor.redteam import catalogue

        if given is None:
            return catalogue.harmless()
        if isinstance(given, list | tuple) and given and all(isinstance(t, str) for t in given):
            return tuple(self.tracer.clean(list(given)))
        return self._evaluation().rows(given)

    def _passages(self, options: Mapping[str, Any]) -> Callable[[str, str], str] | None:
        if options.get("rag") is None:
            return None
        from llmops_jupyter.monitor.redteam.targets import passages_of

        engine = self.engine.engine(options.get("model"))
        return passages_of(self._rag(), engine.count_tokens, options)

    def _usable(self, report: RedTeamReport) -> RedTeamReport:
        """A report that can make data sets."""

        def keep(name: str, rows: Sequence[tuple[str, Mapping[str, Any]]], note: str) -> Dataset:
            data = self._data()
            made = data.with_ids([(row_id, dict(row)) for row_id, row in rows])
            return data.add(name, made, note=note, source="red team")

        def rows_of(one: RedTeamReport) -> Sequence[tuple[str, Mapping[str, Any]]]:
            from llmops_jupyter.monitor.redteam.report import row_of

            known: dict[str, Mapping[str, Any]] = {}
            for run in one.runs:
                for item in self._evaluation().get(run).items:
                    known.setdefault(item.case.row_id, item.case.row)
            alone = [a for a in one.successes() if a.turns == 1]
            return [(a.id, row_of(a, known[a.id], one.held)) for a in alone]

        return replace(report, _rows=rows_of, _keep=keep)


def _guarded(guard: str | None) -> dict[str, Any]:
    """The option of a guard, where prompts have it.

    Raises:
        OptionError: they do not.
    """
    from llmops_jupyter.prompts import options

    if guard is None:
        return {}
    if "guard" not in options.OTHERS:
        raise OptionError("Prompts have no option guard in this release. Leave guard out.")
    return {"guard": guard}
