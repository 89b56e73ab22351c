"""Who does something: a person on a machine, in a notebook, or a job of continuous integration."""

from __future__ import annotations

import getpass
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from llmops_jupyter.tracing import Provenance
from llmops_jupyter.tracing.messages import clean

# What a system of continuous integration says of the job, by the variable that tells that it runs.
CI: Mapping[str, tuple[str, ...]] = {
    "GITHUB_ACTIONS": (
        *("GITHUB_ACTOR", "GITHUB_REPOSITORY", "GITHUB_REF_NAME", "GITHUB_SHA", "GITHUB_RUN_ID"),
        "GITHUB_WORKFLOW",
    ),
    "GITLAB_CI": (
        *("GITLAB_USER_LOGIN", "CI_PROJECT_PATH", "CI_COMMIT_REF_NAME", "CI_COMMIT_SHA"),
        *("CI_PIPELINE_ID", "CI_JOB_URL"),
    ),
    "CI": ("BUILD_URL", "BUILD_NUMBER"),
}
LONGEST = 300


@dataclass(frozen=True)
class Actor:
    """Who moves a release, or runs a pipeline.

    Args:
        user: name of the account.
        host: name of the machine.
        notebook: path of the notebook, and `cell_id` the cell; '' elsewhere.
        cell_id: of the notebook.
        ci: what the job of continuous integration says of itself.
    """

    user: str
    host: str
    notebook: str = ""
    cell_id: str = ""
    ci: Mapping[str, str] = field(default_factory=dict)

    def words(self) -> str:
        """Who it is, on one line."""
        person = self.ci.get("GITHUB_ACTOR") or self.ci.get("GITLAB_USER_LOGIN")
        said = f"{person} (as {self.user}@{self.host})" if person else f"{self.user}@{self.host}"
        job = self.ci.get("GITHUB_RUN_ID") or self.ci.get("CI_PIPELINE_ID")
        if job:
            said += f" in run {job}"
        return f"{said} in {self.notebook}" if self.notebook else said

    def text(self) -> str:
        """As the store keeps it."""
        return clean(json.dumps(asdict(self), ensure_ascii=False, sort_keys=True))

    @classmethod
    def from_text(cls, text: str) -> Actor:
        """The actor that `text` wrote."""
        known: dict[str, Any] = json.loads(text)
        return cls(**{name: known[name] for name in cls.__dataclass_fields__ if name in known})


def actor(provenance: Provenance | None = None, environ: Mapping[str, str] | None = None) -> Actor:
    """Who runs this process now."""
    variables = os.environ if environ is None else environ
    told: dict[str, str] = {}
    for sign, kept in CI.items():
        if variables.get(sign):
            told = {name: variables[name][:LONGEST] for name in kept if variables.get(name)}
            break
    where = provenance or Provenance()
    return Actor(_user(), platform.node(), where.notebook or "", where.cell_id or "", told)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # an account without a name, as in some containers
        return "somebody"
