"""Arguments of `vllm serve`: which there are, and a check of those that somebody wrote.

Facts only. Names of the server were read in `vllm/entrypoints/openai/cli_args.py`, names of the engine in
`vllm/engine/arg_utils.py`, in copies of vLLM's sources that were at hand: the first is of 2026, the second, `BEFORE`, is
older. No server was asked. One of another release may know others, or some of these no longer.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from llmops_jupyter.errors import OptionError, did_you_mean

# The release before which the engine's file was read, by what it says will go.
BEFORE = "0.12"
# When the names were looked up, and the commits of the two files.
SEEN = MappingProxyType(
    {
        "on": "2026-11-29",
        "cli_args": "005223338608",
        "arg_utils": "99d7eb5d6a51",
        "arg_utils_before": BEFORE,
    }
)
FLAG, ONE, MANY = 0, 1, 2
# How many values each takes: none, one, or one and more.
ARGUMENTS: Mapping[str, int] = MappingProxyType(
    {
        "--api-key": MANY,
        "--block-size": ONE,
        "--chat-template": ONE,
        "--chat-template-content-format": ONE,
        "--cpu-offload-gb": ONE,
        "--disable-log-stats": FLAG,
        "--disable-uvicorn-access-log": FLAG,
        "--dtype": ONE,
        "--enable-auto-tool-choice": FLAG,
        "--enable-force-include-usage": FLAG,
        "--enable-lora": FLAG,
        "--enable-prefix-caching": FLAG,
        "--enable-request-id-headers": FLAG,
        "--enforce-eager": FLAG,
        "--gpu-memory-utilization": ONE,
        "--host": ONE,
        "--kv-cache-dtype": ONE,
        "--lora-modules": MANY,
        "--max-logprobs": ONE,
        "--max-lora-rank": ONE,
        "--max-loras": ONE,
        "--max-model-len": ONE,
        "--max-num-batched-tokens": ONE,
        "--max-num-seqs": ONE,
        "--no-enable-prefix-caching": FLAG,
        "--pipeline-parallel-size": ONE,
        "--port": ONE,
        "--quantization": ONE,
        "--response-role": ONE,
        "--root-path": ONE,
        "--seed": ONE,
        "--served-model-name": MANY,
        "--ssl-certfile": ONE,
        "--ssl-keyfile": ONE,
        "--tensor-parallel-size": ONE,
        "--tool-call-parser": ONE,
        "--uvicorn-log-level": ONE,
    }
)
# What the export says itself, or what must not lie in a file.
OURS = ("--served-model-name", "--enable-lora", "--max-lora-rank", "--lora-modules")
SECRET = ("--api-key",)
# What goes only with another one.
NEEDS = MappingProxyType({"--enable-auto-tool-choice": "--tool-call-parser"})


@dataclass(frozen=True)
class Argument:
    """One argument with its values."""

    name: str
    values: tuple[str, ...] = ()

    def words(self) -> list[str]:
        return [self.name, *self.values]


def read_arguments(given: str | Sequence[str]) -> list[Argument]:
    """Arguments as they stand on a command line, each with as many values as it takes.

    Args:
        given: one text, or the words of it; ``--name=value`` is two of them.

    Raises:
        OptionError: one is not known, has too many values or too few, is there twice, or is said by the export itself.
    """
    try:
        words = shlex.split(given) if isinstance(given, str) else [str(word) for word in given]
    except ValueError as e:
        raise OptionError(f"The arguments for vLLM cannot be read: {e}. Close the quotes.") from e
    found: list[Argument] = []
    for word in words:
        name, equals, value = word.partition("=")
        if word.startswith("--"):
            if any(name == one.name for one in found):
                raise OptionError(f"The argument {name} is there twice. Leave one out.")
            found.append(Argument(name, (value,) if equals else ()))
        elif not found:
            raise OptionError(f"{word!r:.60} belongs to no argument. Write --NAME VALUE.")
        else:
            last = found[-1]
            found[-1] = Argument(last.name, (*last.values, word))
    for one in found:
        if one.name in OURS:
            raise OptionError(f"{one.name} is written by the export itself. Leave it out.")
        if one.name in SECRET:
            raise OptionError(
                f"{one.name} is a secret and is not written to a file. Give it when the server is started, as the variable "
                "VLLM_API_KEY."
            )
    check(found)
    return found


def check(arguments: Sequence[Argument]) -> None:
    """Refuse names that vLLM does not have, and numbers of values that it does not take.

    Raises:
        OptionError: with the name; also of one that goes only with another one.
    """
    for one in arguments:
        takes = ARGUMENTS.get(one.name)
        if takes is None:
            raise OptionError(
                f"`vllm serve` has no argument {one.name!r:.60} among those known here (looked up {SEEN['on']})."
                f"{did_you_mean(one.name, ARGUMENTS)} Leave it out, and add it where the server is started."
            )
        count = len(one.values)
        if (
            (takes == FLAG and count)
            or (takes == ONE and count != 1)
            or (takes == MANY and not count)
        ):
            wanted = ("no value", "one value", "one value or more")[takes]
            raise OptionError(f"{one.name} takes {wanted}, and has {count}. Write it anew.")
    names = {one.name for one in arguments}
    for name, needed in NEEDS.items():
        if name in names and needed not in names:
            raise OptionError(f"{name} goes only with {needed}. Add it, with the name of a parser.")


def words_of(arguments: Sequence[Argument]) -> list[str]:
    """All of them as words of a command line."""
    return [word for one in arguments for word in one.words()]
