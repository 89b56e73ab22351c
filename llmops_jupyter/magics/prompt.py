"""`%%prompt` and `%prompt`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands.prompt import settings_of
from llmops_jupyter.errors import LLMOpsError, OptionError
from llmops_jupyter.magics.display import Live, Status, is_terminal, say, show
from llmops_jupyter.magics.panels import panel_class, show_panel

if TYPE_CHECKING:
    from llmops_jupyter.magics.session import Session
    from llmops_jupyter.prompts import Content, PromptVersion, Rows
    from llmops_jupyter.prompts.run import Run
    from llmops_jupyter.records import Completion, Table


def run_cell(session: Session, values: Mapping[str, Any], cell: str) -> None:
    """Run the cell; keep it as a version if it has a name.

    Everything that can fail without the model is checked before anything is written.
    """
    prompts, name = session.workspace.prompts, values["name"]
    if name is not None:
        _check_cell_name(name)
    content = prompts.scratch(
        cell,
        examples=_rows(session, values["shots"], "--shots") if values["shots"] else None,
        pick=values["pick"] or "first",
        count=values["count"],
        schema=_variable(session, values, "schema"),
        cot=values["cot"],
        tools=_variable(session, values, "tools"),
    )
    over = _over(session, values)
    if name is None:
        _run(session, content, values, over=over)
        return
    prompts.check(
        content, session.shell.user_ns, over=over, use_defaults=False, **_options(session, values)
    )
    _run(session, _save(session, name, content, values), values, over=over)


def _check_cell_name(name: str) -> None:
    from llmops_jupyter.store import aliases

    if "@" in name:
        bare = name.partition("@")[0]
        raise OptionError(
            f"A cell makes a version; it cannot be one that is there already. Write %%prompt {bare}, "
            f"or run the kept one with %prompt run {name}."
        )
    aliases.check_name("prompt", name)


def _save(
    session: Session, name: str, content: Content, values: Mapping[str, Any]
) -> PromptVersion:
    from llmops_jupyter.prompts.content import same_order

    prompts, where = session.workspace.prompts, session.provenance()
    version = prompts.save(
        name,
        content,
        note=values["note"] or "",
        notebook=where.notebook,
        cell_id=where.cell_id,
    )
    if not version.created and version.version != prompts.get(name).version:
        say(f"equal to {version.ref}, which was run")
    if not same_order(version.content, content):
        say(
            f"{version.ref} keeps the order of its schema's properties, which this cell has in another "
            "order: to answer in this one, use another name"
        )
    return version


def _options(session: Session, values: Mapping[str, Any]) -> dict[str, Any]:
    found = settings_of(values)
    for option in ("schema", "tools"):
        value = _variable(session, values, option)
        if value is not None:
            found[option] = value
    return found


def _over(session: Session, values: Mapping[str, Any]) -> Rows | None:
    from llmops_jupyter.prompts.rows import read_rows

    if not values["over"]:
        return None
    return read_rows(_rows(session, values["over"], "--over"), session.workspace.data)


def _variable(session: Session, values: Mapping[str, Any], option: str) -> Any:
    name = values.get(option)
    return session.variable(name, f"--{option}") if name else None


def _rows(session: Session, name: str, option: str) -> Any:
    """Rows by the name of a variable, or of a data set if there is no such variable."""
    if name in session.shell.user_ns:
        return session.shell.user_ns[name]
    data = session.workspace.data
    if any(d.name == name.partition("@")[0] for d in data.list()):
        return data.get(name)
    return session.variable(name, option)


def _run(
    session: Session,
    prompt: Content | PromptVersion | str,
    values: Mapping[str, Any],
    over: Rows | None,
) -> Completion | Table:
    options = _options(session, values)
    # A cell says what it wants; a kept version is run as it was run last.
    options["use_defaults"] = "ref" in values
    if values["on"] and over is None:
        raise OptionError("A cluster computes many rows: --on goes with --over DATA.")
    if over is not None:
        options["on"] = values["on"]
        return _run_over(session, prompt, values, over, options)
    return _run_one(session, prompt, values, options)


def _run_one(
    session: Session,
    prompt: Content | PromptVersion | str,
    values: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Completion:
    prompts, shell = session.workspace.prompts, session.shell
    run = prompts.stream(prompt, shell.user_ns, unit=values.get("unit"), **options)
    return show_run(session, run, values)


def show_run(session: Session, run: Run, values: Mapping[str, Any]) -> Completion:
    """Run a prompt, show its answer while it is written, and set the variable that was asked for."""
    workspace, shell = session.workspace, session.shell
    live = Live(shell, stream=_streams(session, values, run.prepared.engine.streams))
    try:
        with run:
            for piece in run:
                live.piece(piece, run.completion)
    except (KeyboardInterrupt, LLMOpsError):
        if run.completion.text or run.completion.reasoning or run.completion.tool_calls:
            session.assign(values.get("out"), run.completion)
            live.finish(run.completion)
        raise
    workspace.prompts.remember(run)
    done = run.completion
    live.finish(done)
    _publish(session, values.get("out"), done)
    return done


def _run_over(
    session: Session,
    prompt: Content | PromptVersion | str,
    values: Mapping[str, Any],
    rows: Rows,
    options: Mapping[str, Any],
) -> Table:
    status = Status(session.shell)
    finished: list[Table] = []
    try:
        table = session.workspace.prompts.map(
            prompt,
            rows,
            variables=session.shell.user_ns,
            progress=lambda p: status.show(str(p), force=p.done == p.total),
            partial=finished.append,
            **options,
        )
    except (KeyboardInterrupt, LLMOpsError) as e:
        if finished:
            why = "interrupted" if isinstance(e, KeyboardInterrupt) else "broken off"
            status.show(f"{status.text} · {why}: run the cell again to go on", force=True)
            status.finish()
            show(finished[0])
            session.assign(values.get("out"), finished[0])
        raise
    status.finish()
    show(table)
    for failure in table.failures[:5]:
        say(f"row {failure.row_id}: {failure.error}")
    _publish(session, values.get("out"), table)
    return table


def _publish(session: Session, out: str | None, value: Any) -> None:
    """Set the variable that was asked for, and `_`, since the cell shows its result itself."""
    session.assign(out, value)
    hook = getattr(session.shell, "displayhook", None)
    if hook is not None:
        hook.update_user_ns(value)


def _streams(session: Session, values: Mapping[str, Any], able: bool) -> bool:
    return able and session.workspace.settings.stream and not values.get("no_stream")


def run_(session: Session, values: Mapping[str, Any]) -> Completion | Table:
    session.workspace.prompts.get(values["ref"])  # an unknown one is told before anything else
    result = _run(session, values["ref"], values, over=_over(session, values))
    session.shown = (result, session.provenance().execution_count)
    return result


def load_(session: Session, values: Mapping[str, Any]) -> None:
    session.shell.set_next_input(session.workspace.prompts.get(values["ref"]).cell, replace=False)


def panel_(session: Session, values: Mapping[str, Any]) -> None:
    workspace = session.workspace
    playground = workspace.prompts.playground(values["name"], session.shell.user_ns)
    if is_terminal(session.shell):
        raise OptionError(
            "Panels are for notebooks. In a terminal, run a version with: %prompt run NAME@VERSION"
        )
    made = panel_class("prompt", "PromptPanel", "prompt panel")
    show_panel(lambda tell: made(workspace, playground, tell))
