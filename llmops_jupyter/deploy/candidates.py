"""Which release a reference means, and whether it may go where it is to go."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from llmops_jupyter.deploy import promoting, releases
from llmops_jupyter.deploy.evidence import FAILED, UNDECIDED
from llmops_jupyter.deploy.folders import Tell, silent
from llmops_jupyter.deploy.manifest import FILE
from llmops_jupyter.deploy.releases import Live, Release
from llmops_jupyter.errors import DeployError
from llmops_jupyter.store import Store
from llmops_jupyter.store.aliases import NAME


def registered(store: Store, folder: str | os.PathLike[str], tell: Tell = silent) -> Release:
    """A bundle that was built elsewhere, as a release of its deployment.

    Raises:
        DeployError: it is no bundle, or not whole.
    """
    from llmops_jupyter.deploy.opening import open_bundle

    bundle = open_bundle(folder, progress=tell)
    read = bundle.manifest
    return releases.add(store, read.name, read.digest, bundle.folder, read.as_dict())


def meant(store: Store, reference: str) -> Release:
    """A release by its reference, or by the folder of its bundle; of a bare name the one that is up next.

    Raises:
        UnknownNameError: there is none.
        DeployError: the folder is no bundle, or not whole.
    """
    text = os.fspath(reference)
    is_name = NAME.fullmatch(text.partition("@")[0]) is not None
    if not is_name or (Path(text, FILE).is_file() and text not in releases.names(store)):
        return registered(store, text)
    if "@" not in text:
        now = releases.live(store, text)
        waiting = now.staged or now.canary
        if waiting is not None:
            return waiting
    return releases.get(store, text)


def check_expected(store: Store, now: Live, expected: str | None) -> None:
    """Refuse a move where another release is live than the one that was believed to be; None believes nothing.

    Raises:
        DeployError: it is another one.
    """
    if expected is None:
        return
    there = "" if now.release is None else now.release.ref
    wanted = releases.get(store, expected).ref if expected else ""
    if wanted != there:
        raise DeployError(
            f"{there or 'Nothing'} is live, not {wanted or 'nothing'}, so nothing was done. Look at it again with "
            f"%deploy status {now.name}, and repeat it if it still holds."
        )


def check_there(store: Store, name: str) -> None:
    """Refuse to roll back to a bundle that cannot be served; a look at names and sizes, which takes no time.

    Raises:
        DeployError: files of it are missing, or have another size.
    """
    from llmops_jupyter.deploy.opening import open_bundle

    log = promoting.history(store, name, limit=-1)
    target = promoting.before(reversed(log))
    if target is not None:
        open_bundle(releases.get(store, f"{name}@{target}").folder, check=False)


def evidence_of(release: Release, *, anyway: bool) -> dict[str, Any]:
    """What a bundle says for its release.

    Raises:
        DeployError: a gate of it did not pass, and nobody insists.
    """
    found = release.manifest.get("evaluation") or {}
    outcome = found.get("outcome")
    if outcome in (FAILED, UNDECIDED) and not anyway:
        raise DeployError(
            f"{release.ref} did not pass its gate, so it is not promoted: {found.get('summary')}. Correct it and build "
            "it again; or say that it is to go on all the same: --anyway"
        )
    return {
        "digest": release.digest,
        "outcome": outcome or "none",
        "summary": found.get("summary") or "no evaluation came with it",
        **(release.manifest.get("built") or {}).get("store", {}),
    }
