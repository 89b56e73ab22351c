"""`%deploy bench` and `%deploy size`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands.evaluate import data_of
from llmops_jupyter.commands.view import Advice, Context, Result, told
from llmops_jupyter.errors import OptionError

if TYPE_CHECKING:
    from llmops_jupyter.deploy.sizing.result import LoadResult

OPTIONS = ("max_tokens", "temperature", "retries", "seed", "ttft", "itl")
SECONDS = ("duration", "warmup", "timeout")


def bench_(context: Context, values: Mapping[str, Any]) -> Result:
    from llmops_jupyter.deploy.sizing.load import numbers_of

    files = {name: _writable(values[name]) for name in ("file", "plot")}
    with told(context, "") as tell:
        result = context.workspace.deploy.bench(
            values["target"],
            clients=numbers_of(values["clients"], "--clients", int),
            rates=numbers_of(values["rate"], "--rate", float),
            data=data_of(context, values["data"]) if values["data"] else None,
            column=values["column"],
            model=values["model"],
            key_env=values["key_env"],
            progress=tell,
            **{name: values[name] for name in OPTIONS},
            **{f"{name}_s": values[name] for name in SECONDS},
        )
    views: list[Any] = [result, result.plot]
    if files["file"]:
        _write(files["file"], json.dumps(result.as_dict(), indent=1).encode())
        views.append(f"written to {files['file']}")
    if files["plot"]:
        _write(files["plot"], result.plot._repr_png_())
    views.append(Advice("how many replicas a load needs: %deploy size --rate R --ttft S"))
    code = {} if result.status == "ok" else {"exit": 130 if result.status == "interrupted" else 1}
    return Result(result if values.get("out") else {**result.as_dict(), **code}, tuple(views))


def size_(context: Context, values: Mapping[str, Any]) -> Result:
    if values["rate"] is None:
        raise OptionError("Say how many requests a second: --rate R")
    file = _writable(values["plot"])
    made = context.workspace.deploy.size(
        values["rate"],
        run=_run(values["from"]),
        ttft=values["ttft"],
        itl=values["itl"],
        watts=values["watts"],
        dollars_per_kwh=values["dollars_per_kwh"],
        dollars_per_hour=values["dollars_per_hour"],
        slots=values["slots"],
        replicas=values["replicas"],
        route=values["route"] or "least",
    )
    if file:
        _write(file, made.plot._repr_png_())
    return Result(made if values.get("out") else made.as_dict(), (made, made.plot))


def _run(given: str | None) -> str | LoadResult | None:
    """A number or a name; a file's result where one is named."""
    if given is None or not given.endswith(".json"):
        return given
    from llmops_jupyter.deploy.sizing.result import LoadResult

    try:
        values = json.loads(Path(given).expanduser().read_text("utf-8"))
    except OSError as e:
        raise OptionError(f"{given!r} cannot be read: {e.strerror or e}. Name another file.") from e
    except ValueError as e:
        raise OptionError(f"{given!r} is no JSON. Name a file that %deploy bench wrote.") from e
    return LoadResult.from_dict(values)


def _writable(name: str | None) -> Path | None:
    """A file that is written at the end, in a folder that is there: looked at before the load, which takes long."""
    if not name:
        return None
    path = Path(name).expanduser()
    if not path.parent.is_dir() or path.is_dir():
        raise OptionError(f"{name!r} cannot be written: name a file in a folder that is there.")
    return path


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as e:
        raise OptionError(
            f"{str(path)!r} cannot be written: {e.strerror or e}. The result is kept in the store."
        ) from e
