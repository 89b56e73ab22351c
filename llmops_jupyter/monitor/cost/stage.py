"""What calls cost, budgets, and figures that went up."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llmops_jupyter.monitor.cost.budget import BudgetList, BudgetState
from llmops_jupyter.monitor.cost.budgets import Budgets
from llmops_jupyter.monitor.cost.purse import Purse
from llmops_jupyter.monitor.plugged import Plugged
from llmops_jupyter.store import aliases

if TYPE_CHECKING:
    from llmops_jupyter.monitor.cost.costs import CostReport
    from llmops_jupyter.monitor.cost.spikereport import SpikeReport
    from llmops_jupyter.monitor.cost.traffic import Traffic


class Spending(Plugged):
    """What calls of models take, and how much of it they may."""

    @cached_property
    def _budgets(self) -> Budgets:
        return Budgets(self.store)

    @cached_property
    def purse(self) -> Purse:
        """Who keeps the budgets while models answer."""
        return Purse(self._budgets, self.tracer)

    def costs(self, by: str = "prompt", *, confidence: float = 0.95, **filters: Any) -> CostReport:
        """What calls of models took: tokens, seconds, memory, energy, dollars, each with where it comes from.

        Args:
            by: 'prompt', 'version', 'model', 'notebook', 'session', 'day', 'status' or 'source'.
            confidence: of the intervals of the means.
            filters: prompt ("name", "name@2" or "name@production", the version that it points at), model, session,
                notebook (its path or the end of it, such as "analysis.ipynb"), source ("here", "imported" or a service),
                since, until.
        """
        from llmops_jupyter.monitor.cost.costs import cost_report

        return cost_report(self.store, by, self._numbered(filters), confidence=confidence)

    def traffic(self, since: str = "7d") -> tuple[Sequence[Traffic], int]:
        """Calls of models over time, in steps whose length in seconds is returned with them; see `cost.traffic`.

        Raises:
            OptionError: `since` is no time.
        """
        from llmops_jupyter.monitor.cost.traffic import traffic
        from llmops_jupyter.tracing.query import parse_when

        return traffic(self.store, parse_when(since) or 0, time.time_ns())

    def budget(
        self,
        name: str,
        *,
        tokens: float | None = None,
        output_tokens: float | None = None,
        seconds: float | None = None,
        calls: float | None = None,
        dollars: float | None = None,
        joules: float | None = None,
        per: str | float | None = None,
        prompt: str | None = None,
        notebook: str | None = None,
        session: str | None = None,
        deployment: str | None = None,
        warn: float | None = None,
        fresh: bool = False,
    ) -> BudgetState:
        """Make a budget, or change one; with a name alone, how it stands.

        Args:
            name: of the budget; a changed one gets a new version, and what was used stays used.
            tokens: a limit of input and output tokens together; an infinite limit takes it away.
            output_tokens: of the tokens that models write.
            seconds: in which models compute for these calls.
            calls: of models.
            dollars: by the table of prices, or by what you say of watts and prices.
            joules: as counted, or by what you say of watts.
            per: 'call', 'day', 'total', or hours such as '24h', the last so many.
            prompt: that it is for, "name", "name@2" or "name@production"; without this and the following it is for
                all calls of the workspace.
            notebook: that it is for: its path or the end of it, such as "analysis.ipynb".
            session: that it is for.
            deployment: that it is for, by its name; see the setting of that name.
            warn: the share at which an answer gets a note.
            fresh: forget what was used so far.

        Raises:
            OptionError: something cannot be used; nothing has changed.
            UnknownNameError: only a name was given, and there is no such budget; or a prompt has no such version or
                alias.
        """
        limits = {
            "tokens": tokens,
            "output_tokens": output_tokens,
            "seconds": seconds,
            "calls": calls,
            "dollars": dollars,
            "joules": joules,
        }
        scope = {
            "prompt": prompt,
            "notebook": notebook,
            "session": session,
            "deployment": deployment,
        }
        given = [*limits.values(), *scope.values(), per, warn]
        if not fresh and all(value is None for value in given):
            return self._budgets.get(name)
        return self._budgets.set(name, limits, per=per, scope=scope, warn=warn, fresh=fresh)

    def budgets(self) -> BudgetList:
        """The budgets that hold, with what was used of each."""
        return self._budgets.states()

    def end_budget(self, name: str) -> None:
        """Take a budget out of force; its versions and its usage stay in the store."""
        self._budgets.end(name)

    def spikes(
        self,
        prompt: str | None = None,
        *,
        per_thousand: float = 1.0,
        baseline: int | None = None,
        **filters: Any,
    ) -> SpikeReport:
        """Where latency, tokens or cost of a prompt version went up and stayed up; see `monitor.spikes`.

        Args:
            prompt: "name", "name@2" or "name@production"; None looks at all.
            per_thousand: false alarms that are accepted in 1,000 calls without a change.
            baseline: calls that each version's normal is learnt from; None takes the older half.
            filters: model, session, notebook, since, until.
        """
        from llmops_jupyter.monitor.cost.spikes import spike_report

        wanted = self._numbered({"prompt": prompt, **filters})
        return spike_report(self.store, wanted, per_thousand=per_thousand, baseline=baseline)

    def _numbered(self, filters: Mapping[str, Any]) -> dict[str, Any]:
        """Filters with an alias of a prompt as the number of the version that it points at.

        Raises:
            UnknownNameError: there is no such prompt or alias.
        """
        found = dict(filters)
        if found.get("prompt") is not None:
            name, selector = aliases.parse_reference(found["prompt"])
            if selector is not None and not selector.isdigit():
                found["prompt"] = f"{name}@{self._prompts().get(found['prompt']).version}"
        return found
