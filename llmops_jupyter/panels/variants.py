"""What the playground's panel shows: candidates, answers and rounds as JSON values; the same as text and HTML."""

from __future__ import annotations

import hashlib
import json
import reprlib
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import LLMOpsError
from llmops_jupyter.prompts.candidates import READERS, Candidate, written
from llmops_jupyter.prompts.playground import Value
from llmops_jupyter.render import quiet_line
from llmops_jupyter.render.grounded import shown_text, sources_text
from llmops_jupyter.render.html import bundle, cut, escaped
from llmops_jupyter.render.lengths import beginning

if TYPE_CHECKING:
    from llmops_jupyter.prompts.playground import Playground
    from llmops_jupyter.prompts.trials import Round, Sample, Trial
    from llmops_jupyter.workspace import Workspace

# Characters of an answer, of one in a table, and of a value, that are sent to the browser at most.
CUT, CELL, PREVIEW = 60_000, 1_500, 200
# Variables of the notebook that can be chosen from.
MOST_VARIABLES = 200
PLAIN = (str, int, float, bool, list, tuple, dict, set)


def choices_of(workspace: Workspace, playground: Playground) -> dict[str, Any]:
    """What settings can be chosen from, and the versions of the prompt."""
    prompts, name = workspace.prompts, playground.name
    versions = prompts.history(name) if name and prompts.exists(name) else []
    return {
        "settings": list(READERS),
        "versions": [{"ref": v.ref, "aliases": list(v.aliases)} for v in versions],
        "aliases": {a: v.version for v in versions for a in v.aliases},
        "model": list(dict.fromkeys(m.name for m in workspace.models.list())),
        "adapters": [a.ref for a in workspace.models.adapters()],
        "rag": [str(row["index"]) for row in workspace.rag.list()],
        "guard": ["none", *workspace.guard.names()],
        "data": [d.name for d in workspace.data.list()],
        "usual": _usual(workspace),
    }


def _usual(workspace: Workspace) -> dict[str, str]:
    """What holds where a setting is left empty."""
    settings = workspace.settings
    names = ("model", "temperature", "max_tokens", "seed")
    found = {name: getattr(settings, name) for name in names}
    return {name: "" if value is None else str(value) for name, value in found.items()}


def columns_of(playground: Playground) -> list[dict[str, Any]]:
    """The candidates with their texts, and which versions they are."""
    return [
        {
            "key": candidate.key,
            "template": candidate.template,
            "settings": written(candidate.settings),
            "source": candidate.source,
            "extras": list(candidate.extras),
            "stamp": _stamp(candidate),
            **_kept(playground, candidate),
        }
        for candidate in playground.candidates
    ]


def _stamp(candidate: Candidate) -> str:
    """Tells whether an answer is that of a candidate as it is now."""
    said = json.dumps([candidate.template, written(candidate.settings)])
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def _kept(playground: Playground, candidate: Candidate) -> dict[str, Any]:
    version = playground.version_of(candidate.key)
    if version is None:
        return {"ref": "", "version": None, "aliases": []}
    return {"ref": version.ref, "version": version.version, "aliases": list(version.aliases)}


def variables_of(playground: Playground) -> list[dict[str, str]]:
    """The variables of the templates, with what each gets."""
    found = []
    for name in playground.names():
        given = playground.values.get(name)
        if given is None:
            given = Value(variable=name if name in playground.variables else "")
        preview = missing = ""
        try:
            preview = _preview(playground.value(name)) if given.variable else ""
        except LLMOpsError as e:
            missing = str(e)
        shown = {"name": name, "text": given.text, "variable": given.variable}
        found.append({**shown, "preview": preview, "missing": missing})
    return found


def _preview(value: Any) -> str:
    """The beginning of a value on a line; of other objects than plain ones, which may do anything, their kind."""
    if isinstance(value, str):
        return beginning(cut(value[: 2 * PREVIEW], PREVIEW), PREVIEW)
    if isinstance(value, PLAIN):
        return beginning(reprlib.repr(value), PREVIEW)
    return f"({type(value).__name__})"


def held_by(variables: Mapping[str, Any]) -> list[str]:
    """Names of the notebook's variables that may be values, without those of IPython."""
    found = [
        name
        for name, value in list(variables.items())
        if not name.startswith("_") and isinstance(value, PLAIN) and name not in ("In", "Out")
    ]
    return found[:MOST_VARIABLES]


def answer_of(trial: Trial) -> dict[str, Any]:
    """One candidate's answer as far as it has come."""
    done = trial.completion
    return {
        "key": trial.candidate.key,
        "stamp": _stamp(trial.candidate),
        "status": trial.status,
        "text": "" if done is None else beginning(shown_text(done), CUT, count=True),
        "reasoning": "" if done is None else beginning(done.reasoning, CUT, count=True),
        "line": _line(trial),
        "notes": [] if done is None else [beginning(note, CELL) for note in done.notes],
        "sources": []
        if done is None or done.grounding is None
        else [beginning(source, CELL) for source in sources_text(done.grounding)],
        "error": beginning(trial.error, CELL),
        "trace": trial.trace_id[:8],
    }


def _line(trial: Trial) -> str:
    """Version, model, tokens and time, once there is something to tell."""
    done = trial.completion
    if done is None or trial.status not in ("done", "stopped"):
        return ""
    return beginning(quiet_line(done), CELL)


def round_of(made: Round) -> dict[str, Any]:
    """A round in the history."""
    return {
        "number": made.number,
        "at": time.strftime("%H:%M:%S", time.localtime(made.began)),
        "values": beginning(
            ", ".join(f"{k}={cut(v, 40)}" for k, v in made.values.items()), PREVIEW
        ),
        "trials": [
            {
                "key": trial.candidate.key,
                "status": trial.status,
                "ref": trial.ref,
                "trace": trial.trace_id[:8],
                "line": beginning(cut(trial.error or trial.text, 120), 120),
            }
            for trial in made.trials
        ],
    }


def sample_of(sample: Sample | None) -> dict[str, Any]:
    """The answers to the rows of a sample."""
    if sample is None:
        return {}
    keys = [candidate.key for candidate in sample.candidates]
    answers = {key: sample.answers(key) for key in keys}
    names = {name for candidate in sample.candidates for name in candidate.names()}
    return {
        "data": sample.data,
        "status": sample.status,
        "progress": sample.progress,
        "error": beginning(sample.error, CELL),
        "keys": keys,
        "rows": [
            {
                "id": beginning(row_id, PREVIEW),
                "values": [f"{k}: {beginning(cut(row[k]), CELL)}" for k in row if k in names],
                "answers": [beginning(answers[key].get(row_id, ""), CELL) for key in keys],
            }
            for row_id, row in sample.rows
        ],
    }


def bundle_of(playground: Playground, last: Round | None) -> dict[str, str]:
    """The last round as a saved notebook keeps it: settings and answers, each template in what opens below its answer."""
    title = f"Playground of {playground.name or 'a prompt without a name'}"
    if last is None:
        line = f"{title}: nothing was tried yet."
        return bundle(line, f"<p>{escaped(line)}</p>")
    shown = [(trial, _heading(trial), _body(trial)) for trial in last.trials]
    texts = [f"{heading}\n{body}\n{_line(trial)}".rstrip() for trial, heading, body in shown]
    lines = [title, *texts, last.verdict()]
    cells = "".join(
        f"<details open><summary>{escaped(heading)}</summary>{_pre(body)}"
        f"<p>{escaped(_line(trial))}</p>"
        f"<details><summary>template</summary>{_pre(trial.candidate.template)}</details></details>"
        for trial, heading, body in shown
    )
    verdict = f"<p>{escaped(last.verdict())}</p>" if last.verdict() else ""
    return bundle(
        "\n\n".join(line for line in lines if line),
        f"<p>{escaped(title)}</p>{cells}{verdict}",
    )


def _heading(trial: Trial) -> str:
    settings = ", ".join(f"{k}={cut(v, 60)}" for k, v in written(trial.candidate.settings).items())
    parts = [
        trial.candidate.key,
        trial.ref,
        settings,
        "" if trial.status == "done" else trial.status,
    ]
    return " · ".join(part for part in parts if part)


def _body(trial: Trial) -> str:
    return beginning(trial.error or answer_of(trial)["text"] or "(no answer)", CUT, count=True)


def _pre(text: str) -> str:
    return f"<pre style='white-space:pre-wrap'>{escaped(text)}</pre>"
