"""The stage a workspace hands out: save, find, compare and run prompts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmops_jupyter.config import Settings
from llmops_jupyter.data import Dataset, Datasets
from llmops_jupyter.errors import DataError, PromptError
from llmops_jupyter.prompts import content as contents
from llmops_jupyter.prompts.content import Content, Examples
from llmops_jupyter.prompts.conversation import Sessions
from llmops_jupyter.prompts.examples import as_examples
from llmops_jupyter.prompts.mapping import Map, Progress
from llmops_jupyter.prompts.prepare import (
    Engines,
    Options,
    Prepared,
    check_schema_option,
    make_options,
    prepare,
)
from llmops_jupyter.prompts.registry import PromptVersion, Registry
from llmops_jupyter.prompts.run import Run
from llmops_jupyter.prompts.template import check_template, fill
from llmops_jupyter.records import Completion, Message, Table
from llmops_jupyter.store import Store
from llmops_jupyter.tracing import Tracer

Runnable = str | PromptVersion | Content


class Prompts(Registry):
    """The prompts of a workspace.

    Wherever a prompt is asked for, give ``"name"``, ``"name@3"``, ``"name@alias"``, a `PromptVersion`, or
    a `Content` from `scratch` that is traced but not versioned.
    """

    def __init__(
        self,
        store: Store,
        tracer: Tracer,
        engines: Engines,
        datasets: Datasets,
        settings: Callable[[], Settings],
    ) -> None:
        super().__init__(store)
        self.tracer = tracer
        self.engines = engines
        self.datasets = datasets
        self.settings = settings
        self.sessions = Sessions(store)

    def scratch(
        self,
        template: str,
        *,
        examples: Any = None,
        pick: str = "first",
        count: int | None = None,
        schema: Any = None,
        cot: bool = False,
    ) -> Content:
        """Content of a prompt that is not (yet) kept.

        Args:
            template: messages with role markers and ``{{ variables }}``.
            examples: few-shot examples, a list, a DataFrame or a data set.
            pick: 'first' for the first of them, 'similar' for those most like the input.
            count: how many examples go into a prompt; None takes all.
            schema: a JSON schema or a pydantic class that the answer satisfies.
            cot: ask for reasoning first; reasoning and answer are kept apart.

        Raises:
            TemplateError, DataError, SchemaError: with the place and the next step.
        """
        check_template(template)
        return contents.with_template(
            Content(
                template="",
                examples=as_examples(examples, pick=pick, count=count),
                schema=contents.as_schema(schema),
                cot=cot,
            ),
            template,
        )

    def save(  # type: ignore[override]
        self,
        name: str,
        template: str | Content,
        *,
        note: str = "",
        notebook: str | None = None,
        cell_id: str | None = None,
        **content: Any,
    ) -> PromptVersion:
        """Keep a template as a version of `name`; other content as for `scratch`.

        Equal content is the version that has it already; `created` tells which happened.
        """
        made = template if isinstance(template, Content) else self.scratch(template, **content)
        return super().save(name, made, note=note, notebook=notebook, cell_id=cell_id)

    def stream(
        self,
        prompt: Runnable,
        variables: Mapping[str, Any] | None = None,
        *,
        use_defaults: bool = True,
        **options: Any,
    ) -> Run:
        """A run to use in a `with` statement and to iterate over; see `Run`.

        Options are model, temperature, max_tokens, seed, top_k, top_p, min_p, repeat_penalty, stop,
        schema (the pydantic class for the parsed object), session and adapters. What is not given comes
        from the version's last run (unless `use_defaults` is false), then from the settings.
        """
        version, content = self._content(prompt)
        made = self._options(version if use_defaults else None, content, options)
        prepared = self._prepare(version, content, made, variables or {})
        if version is not None:
            self.keep_defaults(version, made.defaults())
        return Run(self.tracer, prepared)

    def run(
        self, prompt: Runnable, variables: Mapping[str, Any] | None = None, **options: Any
    ) -> Completion:
        """One completion. Options as for `stream`."""
        with self.stream(prompt, variables, **options) as run:
            for _ in run:
                pass
        self.remember(run)
        return run.completion

    def remember(self, run: Run) -> None:
        """Append a finished run to the session that it belongs to."""
        session = run.prepared.options.session
        if not session:
            return
        asked = [m for m in run.prepared.asked if m.role != "system"]
        turn = [*asked, Message("assistant", run.answer.text)]
        self.sessions.add(session, self.tracer.clean_messages(turn), run.trace_id)

    def map(
        self,
        prompt: Runnable,
        rows: Any,
        *,
        variables: Mapping[str, Any] | None = None,
        progress: Callable[[Progress], None] | None = None,
        use_defaults: bool = True,
        **options: Any,
    ) -> Table:
        """A completion for each row: a list of mappings, a DataFrame, a data set or its reference.

        A row's columns win over `variables`. Each row has its trace. Rows that fail are reported in
        the table's `failures`. If the call is interrupted or the process killed, the same call goes on
        where it stopped.
        """
        version, content = self._content(prompt)
        made = self._options(version if use_defaults else None, content, options)
        items = list(self._items(rows))
        shared = dict(variables or {})
        for _, row in items:
            fill(content.template, {**shared, **row})
        if version is not None:
            self.keep_defaults(version, made.defaults())

        def prepare_row(row: Mapping[str, Any]) -> Prepared:
            return self._prepare(version, content, made, {**shared, **row})

        return Map(
            self.tracer, prepare_row, [row for _, row in items], [i for i, _ in items], progress
        ).run()

    def export(self, folder: str | Path) -> list[Path]:
        """Write every version as reviewable text: one folder a prompt, one JSON and one text file each."""
        target = Path(folder)
        written = []
        for name in self.names():
            (target / name).mkdir(parents=True, exist_ok=True)
            for version in self.history(name):
                path = target / name / f"{version.version:04d}.json"
                record = {
                    "name": name,
                    "version": version.version,
                    "created_at": version.created_at,
                    "note": version.note,
                    "defaults": dict(version.defaults),
                    "content": json.loads(version.content.to_json()),
                }
                path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
                written.append(path)
            points = {a: v.version for v in self.history(name) for a in v.aliases}
            path = target / name / "aliases.json"
            path.write_text(json.dumps(points, indent=1, sort_keys=True) + "\n", "utf-8")
            written.append(path)
        return written

    def import_(self, folder: str | Path) -> list[PromptVersion]:
        """Read what `export` wrote. Content that is here already stays; the rest becomes new versions.

        Aliases that are here stay as they are; others are set to the version with the same content.
        """
        imported = []
        for directory in sorted(p for p in Path(folder).glob("*") if p.is_dir()):
            numbers: dict[int, int] = {}
            for path in sorted(directory.glob("[0-9]*.json")):
                record = _read(path)
                try:
                    made = contents.from_json(json.dumps(record["content"]))
                    check_template(made.template)
                    saved = super().save(directory.name, made, note=record.get("note", ""))
                except (KeyError, TypeError) as e:
                    raise PromptError(f"{str(path)!r} is no exported prompt: {e!r}.") from e
                numbers[record["version"]] = saved.version
                if saved.created:
                    imported.append(saved)
            points = directory / "aliases.json"
            known = {c.alias for c in self.alias_log(directory.name)}
            for alias, version in (_read(points) if points.is_file() else {}).items():
                if alias not in known and version in numbers:
                    self.alias(f"{directory.name}@{numbers[version]}", alias, "imported")
        return imported

    def _content(self, prompt: Runnable) -> tuple[PromptVersion | None, Content]:
        if isinstance(prompt, Content):
            return None, prompt
        version = prompt if isinstance(prompt, PromptVersion) else self.get(prompt)
        return version, version.content

    def _options(
        self, version: PromptVersion | None, content: Content, options: Mapping[str, Any]
    ) -> Options:
        check_schema_option(content, options.get("schema"))
        defaults = version.defaults if version is not None else {}
        return make_options(options, self.settings(), defaults)

    def _prepare(
        self,
        version: PromptVersion | None,
        content: Content,
        options: Options,
        variables: Mapping[str, Any],
    ) -> Prepared:
        return prepare(
            content,
            version,
            options,
            variables,
            engines=self.engines,
            rows=self._example_rows,
            turns=self.sessions.turns,
        )

    def _example_rows(self, examples: Examples) -> Sequence[Mapping[str, Any]]:
        if not examples.dataset:
            return examples.rows
        return list(self.datasets.get(examples.dataset).rows())

    def _items(self, rows: Any) -> Iterable[tuple[str, Mapping[str, Any]]]:
        if isinstance(rows, str):
            rows = self.datasets.get(rows)
        if isinstance(rows, Dataset):
            items: Iterable[tuple[str, Mapping[str, Any]]] = rows.items()
            return items
        to_dict = getattr(rows, "to_dict", None)
        if hasattr(rows, "columns") and callable(to_dict):
            return [
                (str(i), {str(k): v for k, v in row.items()})
                for i, row in zip(rows.index, to_dict("records"), strict=True)
            ]
        if isinstance(rows, bytes | Mapping) or not isinstance(rows, Iterable):
            raise DataError(
                f"Rows are a list of mappings, a DataFrame or a data set, not {type(rows).__name__}."
            )
        found = list(rows)
        for row in found:
            if not isinstance(row, Mapping):
                raise DataError(
                    f"A row is a mapping of names to values, not {type(row).__name__}. "
                    'For instance [{"question": "Why?"}].'
                )
        return [(str(row.get("id", i)), row) for i, row in enumerate(found)]


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise PromptError(f"{str(path)!r} cannot be read: {e}. Export again.") from e
