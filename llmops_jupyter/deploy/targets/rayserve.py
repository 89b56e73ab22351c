"""A bundle on a Ray cluster: the folder from which it is deployed, and a service that this process begins."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter.deploy import folders
from llmops_jupyter.deploy.folders import Tell, silent
from llmops_jupyter.deploy.targets.cluster import LOCAL, connect, library, missing
from llmops_jupyter.deploy.targets.scaling import Scaling
from llmops_jupyter.deploy.targets.target import MANIFEST, README, Target, files_of, write_json
from llmops_jupyter.errors import DeployError, OptionError
from llmops_jupyter.finetune import manifest as exports

if TYPE_CHECKING:
    from llmops_jupyter.deploy.bundle import Bundle

CONFIG, COPY = "serve.yaml", "bundle"
APPLICATION = "llmops_jupyter.deploy.targets.serving:application"
HOST, PORT = "127.0.0.1", 8000
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Requests come in at the head node alone, which stays while the cluster lives.
PROXY = "HeadOnly"


@dataclass(frozen=True)
class RayService:
    """A bundle in service on a Ray cluster.

    Args:
        name: of the application and of the model in requests.
        url: the base address for clients of OpenAI's interface.
        connected: whether this process was connected to the cluster for it.
        begun: whether the cluster was begun for it.
    """

    name: str
    url: str
    connected: bool = False
    begun: bool = False

    def status(self) -> dict[str, Any]:
        """What Ray says of it: ``status`` and the replicas that run."""
        library()
        from ray import serve

        found = serve.status().applications.get(self.name)
        if found is None:
            return {"status": "NOT_THERE", "replicas": 0}
        states = found.deployments["replica"].replica_states if found.deployments else {}
        return {"status": str(found.status.value), "replicas": int(states.get("RUNNING", 0))}

    def stop(self) -> None:
        """Take it out of service; a cluster that was begun for it ends, and one that was connected to is left."""
        ray = library()
        from ray import serve

        if ray.is_initialized():
            serve.delete(self.name)
            self.leave()

    def leave(self) -> None:
        """Undo what was done to get to the cluster."""
        ray = library()
        from ray import serve

        if self.begun:
            serve.shutdown()
        if self.connected:
            ray.shutdown()

    def __str__(self) -> str:
        return f"{self.name} is served at {self.url}"


def export(
    bundle: Bundle,
    folder: str | os.PathLike[str],
    *,
    at: str | None = None,
    host: str = HOST,
    port: int = PORT,
    overwrite: bool = False,
    progress: Tell | None = None,
    **options: Any,
) -> Target:
    """Write a folder from which `serve deploy` puts a bundle on a Ray cluster.

    Args:
        bundle: of which a copy goes along.
        folder: to be made.
        at: where this folder will lie on each node; where it lies here if left out.
        host: address at which the head node listens.
        port: of it.
        overwrite: replace an earlier export in the folder.
        progress: told how far it is.
        options: see `Scaling`.

    Raises:
        OptionError: something cannot be used; nothing was written.
        DeployError: the folder cannot be written.
    """
    import yaml

    target = exports.target_of(folder)
    _check_place(host, port, options.get("keys"))
    where = f"{(at or str(target)).rstrip('/')}/{COPY}"
    scaling = Scaling.read({**options, "bundle": where})
    exports.check_target(target, overwrite=overwrite)
    tell = progress or silent
    with folders.begun(target.parent, target.name) as part:
        tell("copying the bundle")
        shutil.copytree(bundle.folder, part / COPY)
        config = _config(bundle.name, scaling, host, port)
        (part / CONFIG).write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
        write_json(
            part / MANIFEST,
            {"target": "ray", "bundle": {"name": bundle.name, "digest": bundle.digest}},
        )
        (part / README).write_text(_readme(bundle, where, port), "utf-8")
        files = files_of(part)
        exports.write(part, "ray", files)
        exports.check_target(target, overwrite=overwrite)
        folders.settle(part, target)
    return Target("ray", target, files, ("serve", "deploy", CONFIG), notes=_notes(bundle))


def start(
    bundle: Bundle,
    *,
    address: str = "auto",
    at: str | None = None,
    host: str = HOST,
    port: int = PORT,
    **options: Any,
) -> RayService:
    """Put a bundle into service on a Ray cluster, and wait until its replicas are ready.

    Args:
        bundle: to serve.
        address: of the cluster; 'local' begins one that ends with the service.
        at: folder of the bundle on each node; where it lies here if left out.
        host: address at which the head node listens, where Ray Serve is not running yet.
        port: of it, likewise.
        options: see `Scaling`.

    Raises:
        OptionError: something cannot be used.
        DeployError: the cluster cannot be reached, or the replicas do not start.
    """
    _check_place(host, port, options.get("keys"))
    where = at or str(bundle.folder)
    scaling = Scaling.read({**options, "bundle": where})
    ray = library()
    try:
        from ray import serve
        from ray.serve.exceptions import RayServeException
    except ImportError as e:
        raise missing() from e
    from llmops_jupyter.deploy.targets.serving import application

    connected = connect(ray, address)
    made = RayService(
        bundle.name, address_of(host, port), connected, begun=connected and address == LOCAL
    )
    try:
        serve.start(proxy_location=PROXY, http_options={"host": host, "port": port})
        serve.run(application(scaling.args()), name=bundle.name, route_prefix="/")
    except (RayServeException, RuntimeError, ValueError) as e:
        made.leave()
        said = " ".join(str(e).split())[:300] or type(e).__name__
        raise DeployError(
            f"The replicas of {bundle.name} do not start: {said}. Look at them: serve status; the bundle lies at {where!r} "
            "on each node?"
        ) from e
    except BaseException:
        made.leave()
        raise
    return made


def address_of(host: str, port: int) -> str:
    """The base address for clients on the head node."""
    near = {"0.0.0.0": HOST, "::": "::1"}.get(host, host)  # noqa: S104 - compared
    return f"http://{f'[{near}]' if ':' in near else near}:{port}/v1"


def _check_place(host: str, port: int, keys: Any) -> None:
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65_535:
        raise OptionError(f"port lies between 1 and 65,535, not {port!r:.40}.")
    if host not in LOOPBACK and not keys:
        raise OptionError(
            f"{host!r} is reached from other machines, and without keys everybody could ask. Make a key (llmops serve keys "
            "add NAME), copy its file to each node, and name it: keys=FILE"
        )


def _config(name: str, scaling: Scaling, host: str, port: int) -> dict[str, Any]:
    """A config file of Ray Serve."""
    application: Mapping[str, Any] = {
        "name": name,
        "route_prefix": "/",
        "import_path": APPLICATION,
        "args": scaling.args(),
    }
    return {
        "proxy_location": PROXY,
        "http_options": {"host": host, "port": port},
        "applications": [dict(application)],
    }


def _notes(bundle: Bundle) -> tuple[str, ...]:
    if bundle.manifest.weight_files() or "endpoint" in bundle.manifest.model:
        return ()
    note = (
        f"the bundle names the weights of {bundle.manifest.model['name']} and does not carry them: put the file on each node "
        "(model=FILE), or build it with --weights copy"
    )
    return (note,)


def _readme(bundle: Bundle, where: str, port: int) -> str:
    lines = [
        f"# {bundle.name} on a Ray cluster",
        "",
        f"The bundle {bundle.release} as an application of Ray Serve.",
        "",
        f"1. On each node: this package with the extra `ray`, and the bundle at `{where}`.",
        f"2. On the head node, in this folder: `serve deploy {CONFIG}`. The number of replicas is in it.",
        f"3. From a notebook: `%deploy use {bundle.name} http://127.0.0.1:{port}/v1`",
        "",
        *[f"* {note}" for note in _notes(bundle)],
    ]
    return "\n".join(lines).rstrip() + "\n"
