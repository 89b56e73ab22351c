"""Cells as text: what a playground hands over to the notebook."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmops_jupyter.commands.arguments import ADAPTER, DATA, METRIC
from llmops_jupyter.commands.options import cell_of, commands_of
from llmops_jupyter.errors import OptionError
from llmops_jupyter.prompts.candidates import READERS, Candidate, written
from llmops_jupyter.prompts.options import adapter_pairs

if TYPE_CHECKING:
    from llmops_jupyter.commands.command import Command
    from llmops_jupyter.prompts.playground import Playground

_BARE = re.compile(r"[^\s\"'-]\S*")


def prompt_cell(playground: Playground, key: str) -> str:
    """The `%%prompt` cell of a candidate; for one with examples, a schema or tools, the line that runs its version.

    Raises:
        OptionError: it has what no cell can say, and is no version yet.
        TemplateError: its template cannot be parsed.
    """
    candidate = playground.candidate(key)
    content, extras = candidate.content, [e for e in candidate.extras if e != "cot"]
    if extras:
        version = playground.version_of(key)
        if version is None:
            raise OptionError(
                f"Variant {key} has {' and '.join(extras)}, which a cell takes from variables. Save it, and the "
                "line that runs that version is here."
            )
        return " ".join(
            [f"%prompt run {version.ref}", *_options(commands_of("prompt")["run"], candidate)]
        )
    cell = cell_of("prompt")
    assert cell is not None
    words = [
        "%%prompt",
        *([playground.name] if playground.name else []),
        *_options(cell, candidate),
    ]
    if content.cot:
        words.append("--cot")
    return f"{' '.join(words)}\n{content.template}"


def values_cell(playground: Playground, key: str) -> str:
    """A cell that gives the variables of a candidate what was typed for them; '' if nothing was."""
    lines = []
    for name in playground.candidate(key).names():
        given = playground.values.get(name)
        if given is None:
            continue
        if given.variable and given.variable != name:
            lines.append(f"{name} = {given.variable}")
        elif not given.variable and given.text:
            lines.append(f"{name} = {given.text!r}")
    return "\n".join(lines)


def compare_line(playground: Playground, data: str, metric: str) -> str:
    """The `%evaluate compare` line for the candidates on a data set.

    Raises:
        OptionError: there is one candidate, or one of them is no version yet, or has a setting that no line can say.
    """
    found = playground.candidates
    if len(found) < 2:
        raise OptionError("A comparison takes two variants. Add one.")
    if not data or not metric:
        raise OptionError("Name a data set and what scores the answers, such as exact.")
    variants = [quoted(_variant(playground, candidate)) for candidate in found]
    words = [*variants, DATA.flags[-1], quoted(data), METRIC.flags[-1], quoted(metric)]
    return " ".join(["%evaluate compare", *words])


def quoted(text: str) -> str:
    """A word of a magic's line as `split_line` reads it.

    Raises:
        OptionError: no line can have it.
    """
    if "\n" in text or "\r" in text:
        raise OptionError(f"A line cannot hold {text!r:.80}. Leave it out, or set it in Python.")
    if _BARE.fullmatch(text):
        return text
    if '"' not in text and not text.endswith("\\"):
        return f'"{text}"'
    if "'" not in text:
        return f"'{text}'"
    if text.endswith("\\"):
        raise OptionError(f"A line cannot hold {text!r:.80}. Leave it out, or set it in Python.")
    escaped = text.replace('"', '\\"')
    return f'"{escaped}"'


def _options(command: Command, candidate: Candidate) -> Iterator[str]:
    """The options of a command that say a candidate's settings."""
    flags = {option.name: option for option in command.options}
    texts = written(candidate.settings)
    for name in (n for n in READERS if n in texts):
        option = flags[ADAPTER.name if name == "adapters" else name]
        flag = option.flags[-1]
        if option.kind == "flag":
            if candidate.settings[name]:
                yield flag
        elif option.repeat:
            for one in _each(name, candidate.settings):
                yield f"{flag} {quoted(one)}"
        else:
            yield f"{flag} {quoted(texts[name]) if option.kind == 'text' else texts[name]}"


def _each(name: str, settings: Mapping[str, Any]) -> Sequence[str]:
    if name == "adapters":
        pairs = adapter_pairs(settings[name])
        return [ref if scale == 1 else f"{ref}:{scale:g}" for ref, scale in pairs]
    return [str(value) for value in settings[name]]


def _variant(playground: Playground, candidate: Candidate) -> str:
    """A candidate as `%evaluate` takes it."""
    version = playground.version_of(candidate.key)
    if version is None:
        raise OptionError(f"Variant {candidate.key} is no version yet. Save it first.")
    parts = []
    for name, text in written(candidate.settings).items():
        each = _each(name, candidate.settings) if name in ("adapters", "stop") else [text]
        label = ADAPTER.name if name == "adapters" else name
        if (len(each) > 1 and name == "stop") or any(c in one for one in each for c in ",\n"):
            raise OptionError(
                f"{name} of variant {candidate.key} cannot be said on a line. Compare in Python with "
                "Variant(prompt, options)."
            )
        parts += [f"{label}={one}" for one in each]
    return f"{version.ref}:{','.join(parts)}" if parts else version.ref
