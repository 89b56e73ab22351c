"""`llmops serve`: a bundle or a deployment with OpenAI's interface, and the keys to it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands import Result, Rows
from llmops_jupyter.errors import OptionError

if TYPE_CHECKING:
    from llmops_jupyter.cli.program import Terminal

HELP = "serve a bundle or a deployment with OpenAI's interface"
WHAT = "folder of a bundle, NAME of a deployment, NAME@RELEASE; or: keys add NAME, keys list, keys revoke ID"
NUMBERS = {
    "--max-running": ("running", int, 1, "answers that are written at once"),
    "--max-waiting": ("waiting", int, 0, "requests that wait for that; more get status 429"),
    "--max-body": ("body_bytes", int, 1, "bytes of a request"),
    "--max-connections": ("connections", int, 1, "connections at once"),
    "--request-timeout": ("request_s", float, 0.001, "seconds that an answer takes at most"),
    "--per-minute": ("per_minute", int, 1, "requests a minute of each key"),
    "--drain": ("drain_s", float, 0, "seconds that running requests have at the end"),
    "--notice": ("notice_s", float, 0, "seconds between not being ready and the end"),
}


def add_commands(groups: Any, common: argparse.ArgumentParser) -> None:
    """Add `llmops serve`."""
    parser = groups.add_parser("serve", parents=[common], allow_abbrev=False, help=HELP)
    parser.description = HELP
    parser.add_argument("what", nargs="+", metavar="WHAT", help=WHAT)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; 127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="port to listen at; 8000")
    parser.add_argument(
        "--no-auth", action="store_true", help="accept everybody on this machine, without a key"
    )
    parser.add_argument("--keys", metavar="FILE", help="file of keys; the user's own if left out")
    parser.add_argument(
        "--alias",
        action="append",
        default=[],
        metavar="NAME",
        help="further name that clients may call the model; may be repeated",
    )
    parser.add_argument(
        "--only-prompt", action="store_true", help="answer with the bundle's own prompt only"
    )
    parser.add_argument(
        "--model-path", metavar="FILE", help="weights of a bundle that names them, if elsewhere"
    )
    for flag, (name, kind, _, text) in NUMBERS.items():
        parser.add_argument(flag, dest=name, type=kind, metavar="N", help=text)
    parser.set_defaults(_call=run_serve)


def run_serve(terminal: Terminal, values: Mapping[str, Any]) -> Result:
    """Serve until the process is asked to end, or change the keys."""
    words = list(values["what"])
    if words[0] == "keys":
        return _keys(words[1:], values)
    if len(words) > 1:
        raise OptionError(f"Serve one thing at a time, not {' '.join(words)!r:.100}. {WHAT}")
    from llmops_jupyter.deploy.serving.serving import serve

    serve(
        words[0],
        project=lambda: terminal.workspace,
        store=values["store"],
        host=values["host"],
        port=values["port"],
        no_auth=values["no_auth"],
        keys=values["keys"],
        aliases=values["alias"],
        model=values["model_path"],
        only_prompt=values["only_prompt"],
        limits=_limits(values),
        tell=lambda text: print(text, flush=True),
    )
    return Result({"exit": 0}, ())


def _limits(values: Mapping[str, Any]) -> Any:
    from llmops_jupyter.deploy.serving.limits import Limits

    given = {}
    for flag, (name, _, least, _) in NUMBERS.items():
        value = values[name]
        if value is None:
            continue
        if not least <= value < 1e9:
            raise OptionError(f"{flag} is at least {least}, not {value:g}.")
        given[name] = value
    return Limits(**given)


def _keys(words: list[str], values: Mapping[str, Any]) -> Result:
    from llmops_jupyter.deploy.serving.keys import Keys

    keys, action = Keys(values["keys"]), words[0] if words else "list"
    if action == "list" and len(words) <= 1:
        every = [key.row() for key in keys.all()]
        none = "There is no key yet. Make one: llmops serve keys add NAME"
        return Result(every, (Rows(every) if every else none,))
    if action == "add" and len(words) == 2:
        key, text = keys.add(words[1], per_minute=values["per_minute"])
        facts = {"id": key.id, "name": key.name, "key": text}
        return Result(facts, (f"{text}", f"key {key.id} of {key.name}; it is not shown again"))
    if action == "revoke" and len(words) == 2:
        gone = keys.revoke(words[1])
        return Result({"id": gone.id}, (f"key {gone.id} of {gone.name} is accepted no more",))
    raise OptionError("Write keys add NAME, keys list, or keys revoke ID.")
