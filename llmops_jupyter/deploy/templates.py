"""Workflows for continuous integration: the gate on every change, the promotion where the deployment lives.

They work on what `llmops export` wrote into the repository. The job that proves and packages runs anywhere; the one that
promotes runs on the machine whose store the serving processes look at, and only after a person agreed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.deploy.plan import PACKAGE, Plan
from llmops_jupyter.deploy.rooms import Rooms
from llmops_jupyter.errors import LLMOpsError, OptionError, did_you_mean

if TYPE_CHECKING:
    from llmops_jupyter.models import Model

GITHUB, GITLAB = "github", "gitlab"
PATHS = {GITHUB: ".github/workflows/llmops-{name}.yml", GITLAB: ".gitlab-ci.yml"}
EXPORTED, BUNDLE = "llmops", "dist"
PYTHON = "3.12"
HEAD = """\
# Written by llmops-jupyter: llmops deploy ci {where}
# What is in {exported}/ is what `llmops export {exported}` wrote; commit it with {file}.
"""
PLAIN = re.compile(r"[A-Za-z0-9_./@:=+-]+")


@dataclass(frozen=True)
class Job:
    """What a workflow runs.

    Args:
        install: packages, for pip.
        prepare: commands that bring in what the pipeline needs.
        prove: the command that tests, evaluates, gates and packages.
        promote: the command that makes the release live.
        secrets: variables of the environment that hold keys.
        folder: of the bundle.
    """

    install: str
    prepare: tuple[str, ...]
    prove: str
    promote: str
    secrets: tuple[str, ...]
    folder: str

    def commands(self) -> list[str]:
        """Everything that the first job runs after the installation."""
        return [*self.prepare, self.prove]


def template(
    where: str,
    plan: Plan,
    file: Path,
    rooms: Rooms,
    *,
    exported: str = EXPORTED,
    documents: Sequence[str] = (),
    python: str = PYTHON,
) -> str:
    """A workflow for GitHub Actions or GitLab CI.

    Args:
        where: 'github' or 'gitlab'.
        plan: the pipeline.
        file: in which it lies in the repository.
        rooms: of the workspace, which knows where the model is from.
        exported: folder in the repository that `llmops export` wrote.
        documents: folders in the repository with the documents of the index.
        python: version.

    Raises:
        OptionError: there is no such system, or the pipeline has an index and no documents are named.
    """
    if where not in PATHS:
        raise OptionError(
            f"Workflows are written for github and gitlab, not {where!r:.40}.{did_you_mean(where, PATHS)}"
        )
    if plan.options.get("rag") and not documents:
        raise OptionError(
            f"The pipeline has the index {plan.options['rag']!r}, which is made anew in each job: name the folders of its "
            "documents in the repository, --documents FOLDER."
        )
    job = job_of(plan, file, rooms, exported, documents)
    head = HEAD.format(where=where, exported=exported, file=file.name)
    made = _github(plan, job, python) if where == GITHUB else _gitlab(plan, job, python)
    return head + made


def path_of(where: str, plan: Plan) -> str:
    """Where a workflow lies in a repository."""
    return PATHS[where].format(name=plan.name)


def job_of(plan: Plan, file: Path, rooms: Rooms, exported: str, documents: Sequence[str]) -> Job:
    """The commands of a workflow."""
    folder = f"{BUNDLE}/{plan.name}"
    extras = ["llama", *(["rag"] if plan.options.get("rag") else [])]
    packages = [f"llmops-jupyter[{','.join(extras)}]"]
    prepare = [_command("llmops", "import", exported)]
    secrets: list[str] = []
    models, unknown = _models(plan, rooms)
    prepare += [f"# {name} is not in this workspace: register it here" for name in unknown]
    for model in models:
        command, package, key = _obtain(model)
        prepare.append(command)
        packages += [package] if package else []
        secrets += [key] if key else []
    if plan.options.get("rag"):
        prepare.append(_command("llmops", "rag", "add", str(plan.options["rag"]), *documents))
    prove = _command(
        "llmops", "deploy", "run", file.as_posix(), "--until", PACKAGE, "--folder", folder
    )
    return Job(
        " ".join(shlex.quote(package) for package in packages),
        tuple(prepare),
        prove,
        _command("llmops", "deploy", "promote", folder),
        tuple(dict.fromkeys(secrets)),
        folder,
    )


def _models(plan: Plan, rooms: Rooms) -> tuple[list[Model], list[str]]:
    """The models and adapters of a pipeline as far as this workspace has them, and the names of the others."""
    models, name = rooms.models(), plan.options.get("model")
    adapters = [str(one).partition(":")[0] for one in plan.options.get("adapters") or ()]
    given = {str(name or "the model"): _known(models.resolve, name)}
    given |= {adapter: _known(models.adapter, adapter) for adapter in adapters}
    found = [model for model in given.values() if model is not None]
    return found, [told for told, model in given.items() if model is None]


def _known(get: Callable[[Any], Model], name: Any) -> Model | None:
    try:
        return get(name)
    except LLMOpsError:
        return None


def _obtain(model: Model) -> tuple[str, str, str]:
    """The command that registers a model anew, a package that has it, and the variable of a key."""
    if model.endpoint is not None:
        words = ["llmops", "models", "add", model.name, model.endpoint.url]
        words += ["--model", model.endpoint.model]
        key = model.endpoint.key_env
        return _command(*words, *(["--key-env", key] if key else [])), "", key
    if model.source.startswith("hf:"):
        return _command("llmops", "models", "pull", model.source, "--name", model.name), "", ""
    if model.source.startswith("package:"):
        package = model.source.removeprefix("package:").partition("/")[0]
        return _command("llmops", "models", "add", model.source, "--name", model.name), package, ""
    # Where a file lies on this machine says nothing of another one.
    variable = f"LLMOPS_FILE_{re.sub('[^A-Z0-9]', '_', model.name.upper())}"
    return f'llmops models add "${variable}" --name {model.name}', "", ""


def _command(*words: str) -> str:
    return " ".join(word if PLAIN.fullmatch(word) else shlex.quote(word) for word in words)


def _github(plan: Plan, job: Job, python: str) -> str:
    env = {name: f"${{{{ secrets.{name} }}}}" for name in job.secrets}
    env |= {name: f"${{{{ vars.{name} }}}}" for name in _files(job)}
    prove: dict[str, Any] = {"runs-on": "ubuntu-latest", **({"env": env} if env else {})}
    prove["steps"] = [
        {"uses": "actions/checkout@v4"},
        {"uses": "actions/setup-python@v5", "with": {"python-version": python}},
        {"name": "Install", "run": f"pip install {job.install}"},
        {"name": "Prepare", "run": "\n".join(job.prepare)},
        {
            "name": "Test, evaluate, gate, package",
            "run": f'{job.prove} --markdown "$GITHUB_STEP_SUMMARY"',
        },
        {
            "uses": "actions/upload-artifact@v4",
            "with": {"name": plan.name, "path": job.folder, "if-no-files-found": "error"},
        },
    ]
    promote = {
        "needs": "prove",
        "if": "github.ref_name == github.event.repository.default_branch",
        "runs-on": ["self-hosted", "llmops"],
        "environment": "production",
        "concurrency": f"llmops-{plan.name}",
        "steps": [
            {
                "uses": "actions/download-artifact@v4",
                "with": {"name": plan.name, "path": job.folder},
            },
            {"name": "Promote", "run": job.promote},
        ],
    }
    return _yaml(
        {
            "name": f"llmops {plan.name}",
            "on": {"push": {}, "pull_request": {}, "workflow_dispatch": {}},
            "jobs": {"prove": prove, "promote": promote},
        }
    )


def _gitlab(plan: Plan, job: Job, python: str) -> str:
    return _yaml(
        {
            "stages": ["prove", "promote"],
            f"{plan.name}-prove": {
                "stage": "prove",
                "image": f"python:{python}",
                "script": [
                    f"pip install {job.install}",
                    *job.prepare,
                    f"{job.prove} --markdown {BUNDLE}/{plan.name}.md",
                ],
                "artifacts": {
                    "when": "always",
                    "paths": [f"{job.folder}/", f"{BUNDLE}/{plan.name}.md"],
                },
            },
            f"{plan.name}-promote": {
                "stage": "promote",
                "tags": ["llmops"],
                "environment": {"name": "production"},
                "resource_group": f"llmops-{plan.name}",
                "needs": [f"{plan.name}-prove"],
                "rules": [{"if": "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH", "when": "manual"}],
                "script": [job.promote],
            },
        }
    )


def _files(job: Job) -> list[str]:
    """Variables that hold the paths of model files on the runner."""
    return [name for line in job.prepare for name in re.findall(r"\$(LLMOPS_FILE_\w+)", line)]


def _yaml(value: Any) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes texts of several lines as blocks."""

    def text(dumper: Any, one: str) -> Any:
        style = "|" if "\n" in one else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", one, style=style)

    Dumper.add_representer(str, text)
    made: str = yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=160)
    # "on" is a truth value in YAML 1.1, so it is written in quotes; GitHub reads it either way.
    return made
