"""The stage a workspace hands out: save, find, compare and run prompts."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.config import Settings, deployment_attributes
from llmops_jupyter.engine.placing import At, here
from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.prompts import content as contents
from llmops_jupyter.prompts import spending
from llmops_jupyter.prompts.content import Content, Examples
from llmops_jupyter.prompts.conversation import Sessions
from llmops_jupyter.prompts.examples import as_examples, check_examples
from llmops_jupyter.prompts.grounding import Sources, with_place
from llmops_jupyter.prompts.guarding import FindPolicy
from llmops_jupyter.prompts.options import FindAdapter, FindBase, Options, make_options
from llmops_jupyter.prompts.prepare import (
    Engines,
    Prepared,
    check_length,
    check_schema_option,
    prepare,
)
from llmops_jupyter.prompts.registry import PromptVersion
from llmops_jupyter.prompts.remembered import guard_before
from llmops_jupyter.prompts.run import Run
from llmops_jupyter.prompts.template import check_template, fill
from llmops_jupyter.prompts.traffic import Runnable, Traffic
from llmops_jupyter.records import Completion, Message, Table
from llmops_jupyter.store import Store
from llmops_jupyter.tracing import Tracer

if TYPE_CHECKING:
    from llmops_jupyter.data import Datasets
    from llmops_jupyter.prompts.exchange import ExportedPrompt
    from llmops_jupyter.prompts.journal import Keep, Kept
    from llmops_jupyter.prompts.mapping import Progress
    from llmops_jupyter.prompts.playground import Playground
    from llmops_jupyter.prompts.rows import Rows
    from llmops_jupyter.prompts.spending import Purse


class Prompts(Traffic):
    """The prompts of a workspace.

    Wherever a prompt is asked for, give ``"name"``, ``"name@3"``, ``"name@alias"``, a `PromptVersion`, or
    a `Content` from `scratch` that is traced but not versioned.
    """

    def __init__(
        self,
        store: Store,
        tracer: Tracer,
        engines: Engines,
        datasets: Callable[[], Datasets],
        settings: Callable[[], Settings],
        find_adapter: FindAdapter,
        find_base: FindBase,
        find_source: Sources,
        find_policy: FindPolicy,
        find_purse: Callable[[], Purse | None] = lambda: None,
        at: At = here,
    ) -> None:
        self._at = at
        super().__init__(store)
        self.tracer = tracer
        self.engines = engines
        self._datasets = datasets
        self.settings = settings
        self.find_adapter, self.find_base = find_adapter, find_base
        self.find_source = find_source
        self.find_policy = find_policy
        self.find_purse = find_purse
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
        tools: Any = None,
    ) -> Content:
        """Content of a prompt that is not (yet) kept.

        Args:
            template: messages with role markers and ``{{ variables }}``.
            examples: few-shot examples, a list, a DataFrame or a data set.
            pick: 'first' for the first of them, 'similar' for those most like the input.
            count: how many examples go into a prompt; None takes all.
            schema: a JSON schema or a pydantic class that the answer satisfies.
            cot: ask for reasoning first; reasoning and answer are kept apart.
            tools: functions that the model may call; what it is told of them is part of the content.

        Raises:
            TemplateError, DataError, SchemaError: with the place and the next step.
        """
        check_template(template)
        made = contents.with_template(
            Content(
                template="",
                examples=as_examples(examples, pick=pick, count=count),
                schema=contents.as_schema(schema),
                cot=cot,
                tools=_told(tools),
            ),
            template,
        )
        if made.examples is not None:
            check_examples(made.template, self._example_rows(made.examples))
        return made

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
        unit: str | None = None,
        **options: Any,
    ) -> Run:
        """A run to use in a `with` statement and to iterate over; see `Run`.

        Options are model, the fields of `Sampling`, schema (the pydantic class for the parsed object),
        session, adapters (``["style:0.5"]``, registered models of that kind), exact and timeout (seconds).
        What is not given comes from the version's last run (unless `use_defaults` is false), then from the
        settings. A guard policy that is remembered holds in any case; ``guard="none"`` puts it off.

        Where the alias of a reference such as ``"support@production"`` is split, `unit` (a user's id, say)
        decides which version answers, always the same one; without it the session does, and without a
        session each call is a unit of its own. Maps are no traffic: they run what the alias points at.

        With `tools`, functions or one function, the model may call them; see `lo.tool`. `tool_choice` is
        'auto', 'required', 'none' or a tool's name for the first step, or a list for the first steps;
        `max_steps` bounds how often the model is asked. Functions with side effects are called if `approve`
        is 'always', not if it is 'never', and with 'ask' if a person agrees; `allow`, a function that gets
        the call, decides instead.

        With `rag`, the name of an index, passages of its documents are found for the last user message and put
        where the template says ``{{ context }}``, else before that message; each sentence of the answer is then
        looked for in them (`completion.grounding`). `rag_tokens` bounds the passages, `rag_where` filters the
        documents, `rag_rerank` names a reranker, with `rag_only` an answer that no
        passage supports is none, and with `rag_quote` the passages' own sentences are the answer, without a model.

        With `guard`, the reference of a policy, input, passages, results of tools and the answer are checked
        (`completion.verdicts`). Where input or answer is denied the text is the policy's message and `finish_reason`
        'content_filter'; an answer that may be changed or denied is not streamed.
        """
        prompt, attributes = self.assigned(prompt, unit, options.get("session"))
        version, content = self._content(prompt)
        made = self._options(version, content, options, use_defaults=use_defaults)
        prepared = self._prepare(version, content, made, variables or {})
        if attributes:
            prepared = replace(prepared, attributes={**prepared.attributes, **attributes})
        spending.check(prepared)
        if version is not None:
            self.keep_defaults(version, made.defaults())
        return Run(self.tracer, prepared)

    def check(
        self,
        prompt: Runnable,
        variables: Mapping[str, Any] | None = None,
        *,
        over: Rows | None = None,
        use_defaults: bool = True,
        **options: Any,
    ) -> None:
        """Raise what `run`, or with `over` what `map`, would raise before the model answers.

        Nothing is written. A prompt that is too long is found out here as well; of `over` the first row's
        examples are looked at, and every row is filled.
        """
        version, content = self._content(prompt)
        made = self._options(version, content, options, use_defaults=use_defaults)
        if over is None:
            prepared = self._prepare(version, content, made, variables or {})
            check_length(prepared)
            spending.check(prepared)
            return
        _refuse_session(made)
        for _, row in over.pairs:
            fill(
                content.template,
                with_place(ChainMap(dict(row), dict(variables or {})), made.documents is not None),
            )
        for _, row in over.pairs[:1]:
            spending.check(self._prepare(version, content, made, {**(variables or {}), **row}))

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
        """Append a finished run to the session that it belongs to; one whose input was denied leaves nothing there."""
        session = run.prepared.options.session
        if not session or run.refused:
            return
        asked = [m for m in run.prepared.asked if m.role != "system"]
        turn = [*asked, *(run.answer.messages or (Message("assistant", run.answer.text),))]
        self.sessions.add(session, self.tracer.clean_messages(turn), run.trace_id)

    def map(
        self,
        prompt: Runnable,
        rows: Any,
        *,
        variables: Mapping[str, Any] | None = None,
        progress: Callable[[Progress], None] | None = None,
        partial: Callable[[Table], None] | None = None,
        use_defaults: bool = True,
        keep: Keep | None = None,
        on: str | None = None,
        **options: Any,
    ) -> Table:
        """A completion for each row: a list of mappings, a DataFrame, a data set or its reference.

        A row's columns win over `variables`. Each row has its trace. Rows that fail are reported in
        the table's `failures`. If the call is interrupted or the process killed, the same call goes on
        where it stopped; with other rows, values or settings it begins anew. Where a budget is used up, the rest of the
        rows are failures that say so, and the same call goes on from there too. `partial` gets the table of
        the rows that were finished by then. `keep` makes what finished rows are kept in instead of the
        journal, and which may have some of them already (see `journal.Kept`); the settings of the call
        are then not remembered with the version.

        With `on` the answers are computed by the machines of a Ray cluster: ``"ray://HOST:PORT"``, ``"auto"`` for the
        one that this machine belongs to, or ``"local"``. All else stays here, the journal too: rows of a node that is lost
        are computed by others, and rows that have their answers are not asked again.
        """
        from llmops_jupyter.prompts.journal import Journal, map_key
        from llmops_jupyter.prompts.mapping import Map
        from llmops_jupyter.prompts.rows import Fingerprint

        version, content = self._content(prompt)
        made = self._options(version, content, options, use_defaults=use_defaults)
        _refuse_session(made)
        pairs = self.rows_of(rows).pairs
        shared, fingerprint = dict(variables or {}), Fingerprint()
        for _, row in pairs:
            known = with_place(ChainMap(dict(row), shared), made.documents is not None)
            fingerprint.add(fill(content.template, known))
        if version is not None and keep is None:
            self.keep_defaults(version, made.defaults())

        def prepare_row(row: Mapping[str, Any]) -> Prepared:
            return self._prepare(version, content, made, ChainMap(dict(row), shared))

        def keep_rows(first: Prepared) -> Kept:
            if keep is not None:
                return keep(first, fingerprint.rows)
            return Journal(self.tracer, map_key(first, fingerprint.digest, len(pairs)), len(pairs))

        with self._at(on):
            return Map(self.tracer, prepare_row, pairs, keep_rows, progress, partial).run()

    def resolved(self, prompt: Runnable, **options: Any) -> Options:
        """The settings that a run would have: those given, then those of the version's last run, then the workspace's.

        Raises:
            OptionError, UnknownNameError, ModelError, GuardError: as `run` does.
        """
        version, content = self._content(prompt)
        return self._options(version, content, options, use_defaults=True)

    def playground(
        self, name: str | None = None, variables: Mapping[str, Any] | None = None
    ) -> Playground:
        """Variants of a prompt side by side; `%prompt panel` shows one. See `Playground`."""
        from llmops_jupyter.prompts.playground import Playground

        return Playground(self, name, variables)

    def rows_of(self, rows: Any) -> Rows:
        """Rows as `map` takes them: a list of mappings, a DataFrame, a data set or its reference."""
        from llmops_jupyter.prompts.rows import read_rows

        return read_rows(rows, self._datasets())

    def export(self, folder: str | Path) -> list[Path]:
        """Write every version as reviewable text: one folder a prompt, one JSON file a version."""
        from llmops_jupyter.prompts.exchange import export_prompts

        return export_prompts(self, Path(folder))

    def import_(self, source: str | Path | Sequence[ExportedPrompt]) -> list[str]:
        """Keep what `export` wrote: a folder, or what `read_exported` read from it.

        All is checked first. Returns the references of versions that were new; see `keep_exported`.
        """
        from llmops_jupyter.prompts.exchange import keep_exported, read_exported

        read = read_exported(Path(source)) if isinstance(source, str | Path) else source
        return keep_exported(self, self._datasets(), list(read))

    def _content(self, prompt: Runnable) -> tuple[PromptVersion | None, Content]:
        if isinstance(prompt, Content):
            return None, prompt
        version = prompt if isinstance(prompt, PromptVersion) else self.get(prompt)
        return version, version.content

    def _options(
        self,
        version: PromptVersion | None,
        content: Content,
        options: Mapping[str, Any],
        *,
        use_defaults: bool,
    ) -> Options:
        """Settings of a call. A policy that is remembered holds whatever else is, until it is put off."""
        check_schema_option(content, options.get("schema"))
        defaults = dict(version.defaults) if version is not None and use_defaults else {}
        before = None if version is None else guard_before(self, version)
        if before is not None:
            defaults["guard"] = before.reference
        made = make_options(
            options, self.settings(), defaults, self.find_adapter, self.find_base, self.find_policy
        )
        if before is None or version is None:
            return made
        return replace(made, notes=before.notes(version, made, options.get("guard")))

    def _prepare(
        self,
        version: PromptVersion | None,
        content: Content,
        options: Options,
        variables: Mapping[str, Any],
    ) -> Prepared:
        prepared = prepare(
            content,
            version,
            options,
            variables,
            engines=self.engines,
            rows=self._example_rows,
            turns=self.sessions.turns,
            sources=self.find_source,
        )
        return replace(
            prepared, purse=self.find_purse(), attributes=deployment_attributes(self.settings())
        )

    def _example_rows(self, examples: Examples) -> Sequence[Mapping[str, Any]]:
        if not examples.dataset:
            return examples.rows
        if not examples.dataset_hash:
            return list(self._datasets().get(examples.dataset).rows())
        name = examples.dataset.partition("@")[0]
        found = self._datasets().find(name, examples.dataset_hash)
        if found is None:
            raise DataError(
                f"The examples are the data set {examples.dataset} with the content "
                f"{examples.dataset_hash[:12]}…, which is not here. Import it (llmops import), or save "
                "the prompt with examples that are here."
            )
        return list(found.rows())


def _told(tools: Any) -> tuple[Mapping[str, Any], ...]:
    if tools is None:
        return ()
    from llmops_jupyter.prompts.tools import as_tools, told_tools

    return told_tools(as_tools(tools))


def _refuse_session(options: Options) -> None:
    if options.session:
        raise OptionError(
            "A session and rows do not go together (--session, --over): a row is not a turn. Leave one "
            "out."
        )
