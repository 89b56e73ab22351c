"""The part of the stage for alerts: rules, golden sets, safety, watching, and how all of it stands."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llmops_jupyter.monitor.plugged import Plugged

if TYPE_CHECKING:
    from llmops_jupyter.monitor.alerts.alerts import Alerts
    from llmops_jupyter.monitor.alerts.golden import Golden
    from llmops_jupyter.monitor.alerts.overview import Overview
    from llmops_jupyter.monitor.alerts.safety import SafetyReport
    from llmops_jupyter.monitor.alerts.watching import Watcher


class Alerting(Plugged):
    """Rules and who is told, golden sets, what guards decided, looks on a schedule."""

    @cached_property
    def alerts(self) -> Alerts:
        """The rules of the workspace: ``add``, ``look``, ``board``, ``silence``, ``acknowledge``."""
        from llmops_jupyter.monitor.alerts.alerts import Alerts

        return Alerts(self.store, self, self._prompts, self.tracer, time.time_ns)

    @cached_property
    def golden(self) -> Golden:
        """The golden sets of the workspace: ``add``, ``run``, ``series``."""
        from llmops_jupyter.monitor.alerts.golden import Golden

        return Golden(self.store, self._evaluation, time.time_ns)

    def safety(self, window: str = "24h", *, examples: int = 5, **filters: Any) -> SafetyReport:
        """What guards decided in a window, how that changed against the window before, and examples.

        Args:
            window: such as 24h.
            examples: how many of the newest findings are shown.
            filters: prompt ("name" or "name@2" or "name@production"), model, notebook, session, source
                ("here", "imported" or a service).

        Raises:
            DataError, OptionError: the window or a filter cannot be used.
        """
        from llmops_jupyter.monitor.alerts.safety import report
        from llmops_jupyter.monitor.alerts.windows import resolved

        found = resolved(filters, self._prompts)
        return report(self.store, window, found, now_ns=time.time_ns(), examples=examples)

    def watch(self, every: str = "10m") -> Watcher:
        """Look at all rules in the background of this process, until `stop` or its end.

        Kernels that share a store share one watcher: others stand by, and one of them takes over when it ends.
        Calling it again changes how often.

        Args:
            every: from the beginning of one look to that of the next, such as 10m.

        Raises:
            DataError: the time cannot be read.
            StoreReadOnlyError: the store is open for reading only.
        """
        from llmops_jupyter.monitor.alerts.ages import age

        seconds = age(every, "every")
        watcher = self.watcher
        watcher.every(seconds)
        return watcher.start()

    @cached_property
    def watcher(self) -> Watcher:
        """The watcher of this process, which may be stopped."""
        from llmops_jupyter.monitor.alerts.watching import Watcher

        return Watcher(self.alerts, self.tracer, 600.0)

    def status(self) -> Overview:
        """How everything stands: rules, watcher, baselines, golden sets, budgets."""
        from llmops_jupyter.monitor.alerts.overview import overview

        return overview(self)

    def close(self) -> None:
        """End what goes on in the background."""
        for name in ("watcher", "alerts"):
            made = self.__dict__.get(name)
            if made is not None:
                (made.stop if name == "watcher" else made.notifier.close)()
