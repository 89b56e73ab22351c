"""`%%prompt` and `%prompt`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import LLMOpsError, OptionError
from llmops_jupyter.magics.display import (
    Live,
    Status,
    say,
    show,
    shown_once,
)

if TYPE_CHECKING:
    from llmops_jupyter.magics.session import Session
    from llmops_jupyter.prompts import Content, PromptVersion
    from llmops_jupyter.records import Completion, Table

SETTINGS = ("model", "temperature", "max_tokens", "seed", "top_k", "top_p", "min_p", "session")


def run_cell(session: Session, values: Mapping[str, Any], cell: str) -> None:
    """Run the cell; keep it as a version if it has a name.

    Everything that can fail without the model is checked before anything is written.
    """
    prompts, name = session.workspace.prompts, values["name"]
    content = prompts.scratch(
        cell,
        examples=_rows(session, values["shots"], "--shots") if values["shots"] else None,
        pick=values["pick"] or "first",
        count=values["count"],
        schema=_variable(session, values, "schema"),
        cot=values["cot"],
    )
    if name is None:
        _run(session, content, values, notes=())
        return
    _check_cell_name(name)
    version, notes = _save(session, name, content, values)
    _run(session, version, values, notes=notes)


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
) -> tuple[PromptVersion, tuple[str, ...]]:
    from llmops_jupyter.prompts.prepare import make_options
    from llmops_jupyter.prompts.template import fill

    workspace = session.workspace
    made = make_options(_options(values), workspace.settings, {})
    if not values["over"]:
        fill(content.template, session.shell.user_ns)
    workspace.engine.engine(made.model)
    where = session.provenance()
    version = workspace.prompts.save(
        name,
        content,
        note=values["note"] or "",
        notebook=where.notebook,
        cell_id=where.cell_id,
    )
    if not version.created and version.version != workspace.prompts.get(name).version:
        return version, (f"equal to {version.ref}, which was run",)
    return version, ()


def _options(values: Mapping[str, Any]) -> dict[str, Any]:
    found = {k: values[k] for k in SETTINGS if values.get(k) is not None}
    if values.get("stop"):
        found["stop"] = tuple(values["stop"])
    return found


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
    prompt: Content | PromptVersion,
    values: Mapping[str, Any],
    notes: tuple[str, ...],
) -> Completion | Table:
    options = _options(values)
    schema = _variable(session, values, "schema")
    if schema is not None:
        options["schema"] = schema
    for note in notes:
        say(note)
    # A cell says what it wants; a kept version is run as it was run last.
    options["use_defaults"] = "ref" in values
    if values.get("over"):
        return _run_over(session, prompt, values, options)
    return _run_one(session, prompt, values, options)


def _run_one(
    session: Session,
    prompt: Content | PromptVersion,
    values: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Completion:
    workspace, shell = session.workspace, session.shell
    run = workspace.prompts.stream(prompt, shell.user_ns, **options)
    live = Live(shell, stream=_streams(session, values, run.prepared.engine.streams))
    try:
        with run:
            for piece in run:
                live.piece(piece, run.completion)
    except (KeyboardInterrupt, LLMOpsError):
        if run.completion.text or run.completion.reasoning:
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
    prompt: Content | PromptVersion,
    values: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Table:
    if options.get("session"):
        raise OptionError(
            "--session and --over do not go together: a row is not a turn. Leave one out."
        )
    rows = _rows(session, values["over"], "--over")
    status = Status(session.shell)
    try:
        table = session.workspace.prompts.map(
            prompt,
            rows,
            variables=session.shell.user_ns,
            progress=lambda p: status.show(str(p), force=p.done == p.total),
            **options,
        )
    except KeyboardInterrupt:
        status.show(f"{status.text} · interrupted: run the cell again to go on", force=True)
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
    prompts = session.workspace.prompts
    prompt = prompts.get(values["ref"])
    result: Completion | Table = shown_once(session.shell, _run(session, prompt, values, notes=()))
    return result


def load_(session: Session, values: Mapping[str, Any]) -> None:
    found = session.workspace.prompts.get(values["ref"])
    extra = " --cot" if found.content.cot else ""
    session.shell.set_next_input(f"%%prompt {found.name}{extra}\n{found.template}", replace=False)
