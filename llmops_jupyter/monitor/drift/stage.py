"""Baselines, checks against them, and streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.monitor.plugged import Plugged
from llmops_jupyter.store import aliases

if TYPE_CHECKING:
    from llmops_jupyter.data import Dataset
    from llmops_jupyter.evaluation.suites import Suite
    from llmops_jupyter.monitor.drift.baselines import Baseline, Baselines
    from llmops_jupyter.monitor.drift.collecting import Tell
    from llmops_jupyter.monitor.drift.report import Plugs, Report
    from llmops_jupyter.monitor.drift.sample import Sample
    from llmops_jupyter.monitor.drift.streams import Stream
    from llmops_jupyter.monitor.drift.vectors import Embedding

LEVEL = 0.05
# Rows that a baseline keeps, and a window; texts of so many are embedded.
KEPT, KEPT_OF_WINDOW, EMBEDDED, EMBEDDED_OF_WINDOW = 10_000, 2_000, 2_000, 500
LEAST = 30


class Drift(Plugged):
    """Whether what runs still looks as it did."""

    def baseline(
        self,
        name: str,
        data: Any = None,
        *,
        limit: int | None = None,
        embedder: str | None = None,
        note: str = "",
        progress: Tell | None = None,
        **filters: Any,
    ) -> Baseline:
        """Freeze traces, or rows, as a version of the baseline `name`.

        At most 10,000 rows are kept: whole sessions, drawn by chance. Equal rows are the same version.

        Args:
            name: small letters, digits, '.', '_' and '-'.
            data: a data set or a reference to one, a list of mappings, a DataFrame or a file; traces if left out.
            limit: only so many of the newest traces.
            embedder: model for vectors of texts; 'none' to compare texts by their words; left out: the registered
                embedding model, else one that is found in a package, else words.
            note: why there is a new version.
            progress: told how many rows were read or embedded.
            filters: which traces, as for `traces.newest`; with prompt, model or session also runs of prompts in functions that are traced.

        Raises:
            DataError: there are fewer than 30 rows, or they cannot be read.
            OptionError: a filter cannot be used.
        """
        from llmops_jupyter.monitor.drift.baselines import KIND
        from llmops_jupyter.monitor.drift.collecting import check_size
        from llmops_jupyter.monitor.drift.vectors import embedded

        aliases.check_name(KIND, name)
        sample, place = self._collect(data, KEPT, filters, limit=limit, progress=progress)
        _check_given(data, sample)
        check_size(sample, LEAST, "baseline", "Take more rows, or a longer time.")
        sample = embedded(sample, self._embedding(embedder), EMBEDDED, progress)
        kept = {k: v for k, v in filters.items() if v is not None}
        source = "traces" if data is None else _source(data)
        return self._baselines.keep(
            name, sample, filters=kept, source=source, place=place, note=note
        )

    def baselines(self) -> Sequence[Baseline]:
        """The highest version of each baseline."""
        return self._baselines.list()

    def get(self, reference: str | Baseline) -> Baseline:
        """A baseline by ``name``, ``name@2`` or ``name@alias``."""
        return self._baselines.get(reference)

    def history(self, name: str) -> Sequence[Baseline]:
        """All versions of a baseline, newest first."""
        return self._baselines.history(name)

    def alias(self, reference: str | Baseline, alias: str, note: str = "") -> Baseline:
        """Have an alias, such as ``production``, mean a version of a baseline."""
        return self._baselines.alias(reference, alias, note)

    def remove(self, reference: str | Baseline) -> None:
        """Delete a version of a baseline, with its checks and streams."""
        self._baselines.remove(reference)

    def check(
        self,
        baseline: str | Baseline,
        data: Any = None,
        *,
        limit: int | None = None,
        level: float = LEVEL,
        features: Sequence[str] | None = None,
        calibrated: bool = True,
        progress: Tell | None = None,
        **filters: Any,
    ) -> Report:
        """Whether traces, or rows, differ from a baseline.

        Traces are those of the baseline's prompt, model and the like that came after it, unless filters say otherwise.

        Args:
            baseline: its name, ``name@2`` or ``name@alias``.
            data: rows to look at instead of traces, as for `baseline`.
            limit: only so many of the newest traces.
            level: the probability of any false alarm in the report.
            features: only these.
            calibrated: measure false alarms and power on the baseline, once for each size of window (some seconds).
            progress: told how many rows were read or embedded.
            filters: which traces, as for `traces.newest`; with prompt, model or session also runs of prompts in functions that are traced.

        Raises:
            UnknownNameError: there is no such baseline or feature.
            DataError: the window is empty or has fewer than 10 rows, or nothing can be compared.
        """
        from llmops_jupyter.monitor.drift.checking import LEAST as LEAST_OF_WINDOW
        from llmops_jupyter.monitor.drift.checking import check, check_level

        check_level(level)
        found = self._baselines.get(baseline)
        sample, _ = self._window(found, data, filters, limit=limit, progress=progress)
        _check_given(data, sample)
        if data is None and len(sample) < LEAST_OF_WINDOW and not _says_when(filters):
            raise _too_early(found, sample, LEAST_OF_WINDOW)
        report = check(
            self._baselines,
            found,
            sample,
            self._plugs(),
            level=level,
            features=features,
            calibrated=calibrated,
        )
        self._baselines.keep_report(found, report.as_dict())
        return report

    def reports(
        self, baseline: str | Baseline | None = None, limit: int = 50
    ) -> Sequence[dict[str, Any]]:
        """What checks came to, newest first, as JSON values."""
        found = self._baselines.get(baseline) if baseline is not None else None
        return self._baselines.reports(found, limit)

    def stream(
        self, baseline: str | Baseline, *, name: str = "default", level: float = LEVEL
    ) -> Stream:
        """The stream of what comes after a baseline; ``.update()`` takes in what is new.

        It may be looked at whenever one likes; its state is kept, so that it goes on in another kernel.

        Args:
            baseline: its name, ``name@2`` or ``name@alias``.
            name: of the stream, where a baseline has several.
            level: the probability of any false alarm, over all looks and features.
        """
        from llmops_jupyter.monitor.drift.checking import check_level
        from llmops_jupyter.monitor.drift.collecting import earlier_sessions
        from llmops_jupyter.monitor.drift.streams import TOGETHER, Stream

        found = self._baselines.get(baseline)

        def read(data: Any, place: int) -> tuple[Sample, int]:
            return self._window(found, data, {}, after=place, together=TOGETHER)

        def earlier(sessions: Sequence[str]) -> set[str]:
            return earlier_sessions(self.traces, sessions, found.place, found.kind)

        return Stream(self.store, found, read, earlier, name=name, level=check_level(level))

    @property
    def _baselines(self) -> Baselines:
        from llmops_jupyter.monitor.drift.baselines import Baselines

        return Baselines(self.store)

    def _collect(
        self,
        data: Any,
        most: int,
        filters: Mapping[str, Any],
        *,
        limit: int | None = None,
        like: Sample | None = None,
        progress: Tell | None = None,
        after: int = 0,
        together: int | None = None,
    ) -> tuple[Sample, int]:
        from llmops_jupyter.monitor.drift.collecting import check_limit, from_traces
        from llmops_jupyter.monitor.drift.tabular import from_rows

        if limit is not None:
            check_limit(limit)
        if data is None:
            return from_traces(
                self.traces,
                filters,
                most,
                newest=limit,
                after=after,
                limit=together,
                tell=progress,
            )
        if filters or limit is not None:
            named = ", ".join([*filters, *(["limit"] if limit is not None else [])])
            raise OptionError(
                f"{named} chooses traces, and data= gives rows. Choose the rows yourself."
            )
        return from_rows(data, self._data(), most, like=like), after

    def _window(
        self,
        baseline: Baseline,
        data: Any,
        filters: Mapping[str, Any],
        *,
        limit: int | None = None,
        progress: Tell | None = None,
        after: int | None = None,
        together: int | None = None,
    ) -> tuple[Sample, int]:
        """Rows like those of a baseline, with vectors of the same model."""
        from llmops_jupyter.monitor.drift.vectors import embedded

        wanted: Mapping[str, Any] = filters
        if data is None:
            if not (filters or baseline.sample.from_traces):
                raise OptionError(
                    f"The baseline {baseline.ref} is of rows. Give data=, or filters such as prompt= for traces."
                )
            wanted = {**baseline.kind, **{k: v for k, v in filters.items() if v is not None}}
            if after is None:
                after = 0 if _says_when(filters) else baseline.place
        everything = together is not None
        sample, place = self._collect(
            data,
            1 << 62 if everything else KEPT_OF_WINDOW,
            wanted,
            limit=limit,
            like=baseline.sample,
            progress=progress,
            after=after or 0,
            together=together,
        )
        texts = {n: t for n, t in sample.texts.items() if n in baseline.sample.vectors}
        if texts and len(sample):
            bare = replace(sample, texts=texts)
            most = len(sample) if everything else EMBEDDED_OF_WINDOW
            made = embedded(bare, self._same(baseline), most, progress)
            sample = replace(sample, vectors=made.vectors, notes=made.notes)
        return sample, place

    def _embedding(self, name: str | None) -> Embedding:
        from llmops_jupyter.monitor.drift.vectors import NONE, HashedWords
        from llmops_jupyter.rag.embedding import Embedder

        chosen = self._rag().default_embedder() if name is None else name.replace(NONE, "")
        return Embedder(chosen, self.engine.engine(chosen)) if chosen else HashedWords()

    def _same(self, baseline: Baseline) -> Embedding:
        """The model that made a baseline's vectors of texts."""
        from llmops_jupyter.monitor.drift.vectors import HASHED, NONE

        made = [v for v in baseline.sample.vectors.values() if not v.digest.startswith("given-")]
        hashed = not made or made[0].digest == HASHED
        return self._embedding(NONE if hashed else made[0].embedder)

    def _plugs(self) -> Plugs:
        from llmops_jupyter.monitor.drift.features import variables_of
        from llmops_jupyter.monitor.drift.report import Plugs

        def to_data(
            name: str, pairs: Sequence[tuple[str, Mapping[str, Any]]], source: str
        ) -> Dataset:
            cleaned = [(row_id, self.tracer.clean(dict(row))) for row_id, row in pairs]
            datasets = self._data()
            return datasets.add(name, datasets.with_ids(cleaned), source=source)

        def save_suite(name: str, text: str) -> Suite:
            return self._evaluation().save_suite(name, text)

        def variables(
            places: Sequence[tuple[str, str]],
        ) -> Mapping[tuple[str, str], Mapping[str, Any]]:
            return variables_of(self.traces, places)

        return Plugs(
            self.traces.summaries, to_data, save_suite, variables, self._prompts, self._data
        )


def _says_when(filters: Mapping[str, Any]) -> bool:
    """Whether filters name a time, and so choose traces from before a baseline as well."""
    from llmops_jupyter.monitor.drift.baselines import MOMENTS

    return any(filters.get(name) is not None for name in MOMENTS)


def _check_given(data: Any, sample: Sample) -> None:
    if data is not None and not len(sample):
        raise DataError(
            "data= is empty: there is no row in it. Give rows, or leave it out for traces."
        )


def _too_early(baseline: Baseline, sample: Sample, least: int) -> DataError:
    come = f"Only {len(sample)} have" if len(sample) else "None has"
    return DataError(
        f"Only traces that came after the baseline {baseline.ref} count, and at least {least} are needed. {come} come "
        "that fit. Wait for more, or name a time, as in since='24h'."
    )


def _source(data: Any) -> str:
    """What rows were, for people."""
    reference = getattr(data, "ref", None)
    if isinstance(reference, str):
        return reference
    return data if isinstance(data, str) else f"a {type(data).__name__} of rows"
