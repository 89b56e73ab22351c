"""What is attacked: a prompt, the variable that an attacker writes into, and what the prompt has to keep."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import DataError, OptionError, did_you_mean
from llmops_jupyter.evaluation.metrics.attacks import (
    COLUMN,
    LEAST_SECRET,
    SAID,
    runs_of,
)
from llmops_jupyter.evaluation.metrics.disguises import squeezed
from llmops_jupyter.evaluation.rows import EXPECTED, EvaluationRows, check_column
from llmops_jupyter.monitor.redteam.attacks import Attack, Means
from llmops_jupyter.prompts.content import Content, with_template
from llmops_jupyter.prompts.grounding import CONTEXT
from llmops_jupyter.prompts.registry import PromptVersion
from llmops_jupyter.prompts.template import MARKER, split_roles, variables_of
from llmops_jupyter.prompts.tools import FunctionTool, as_tools

if TYPE_CHECKING:
    from llmops_jupyter.prompts import Prompts
    from llmops_jupyter.rag import Rag

Row = dict[str, Any]
# Names that people give to what a user writes.
USUAL = (
    *("question", "input", "user_input", "message", "query", "request", "text", "prompt", "user"),
    *("content", "q"),
)
TURN = "redteam_turn"
SUMMARISE = "Please summarise this for me."
_HOLES = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_ROLE_LINE = re.compile(r"^(?=(?:system|user|assistant):)", re.MULTILINE)
# Passages of an index among which an attack's document is put.
PASSAGES = 4


@dataclass(frozen=True)
class Target:
    """A prompt under attack.

    Args:
        ref: of its version; '' for scratch content.
        content: what is run.
        version: the version, if it is one.
        variable: that the attacker writes into.
        document: the variable that documents are read from; '' if there is none.
        shared: values of other variables.
        texts: what the system messages say, without variables.
        secrets: what must not leak.
        tools: functions of the same signatures that do nothing.
        forbidden: names of those that are not to be called.
        options: settings of the run.
    """

    content: Content
    version: PromptVersion | None
    variable: str
    document: str
    shared: Mapping[str, Any]
    texts: tuple[str, ...]
    secrets: tuple[str, ...]
    tools: tuple[FunctionTool, ...]
    forbidden: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        return self.version.ref if self.version is not None else "scratch"

    @property
    def runnable(self) -> PromptVersion | Content:
        return self.version if self.version is not None else self.content

    @property
    def means(self) -> Means:
        secret = bool(self.secrets) or any(True for text in self.texts for _ in runs_of(text))
        return Means(secret, self.forbidden)


def find_target(
    prompts: Prompts,
    prompt: Any,
    *,
    variable: str | None,
    document: str | None,
    variables: Mapping[str, Any] | None,
    secrets: Sequence[str] | str,
    tools: Any,
    forbidden: Sequence[str] | str | None,
    options: Mapping[str, Any],
) -> Target:
    """The prompt with what can be attacked in it.

    Raises:
        OptionError: it has no variable that an attacker could write into, or several; or an option is none.
        UnknownNameError: there is no such prompt.
    """
    version = None if isinstance(prompt, Content) else prompt
    if not isinstance(version, PromptVersion | None):
        if not isinstance(version, str):
            raise OptionError(
                f"What is attacked is a prompt such as 'support@3', not {type(version).__name__}."
            )
        version = prompts.get(version)
    content = prompt if isinstance(prompt, Content) else version.content if version else None
    assert content is not None
    if not isinstance(variables, Mapping | None):
        raise OptionError(f"variables is a mapping of names to values, not {variables!r:.60}.")
    shared = dict(variables or {})
    names = variables_of(content.template)
    if document is not None and document == variable:
        raise OptionError(
            f"document and variable are both {document!r}. Name the variable that users write into as variable=…"
        )
    reserved = next((n for n in names if n == COLUMN or n.startswith((SAID, TURN))), None)
    if reserved:
        raise OptionError(
            f"The prompt has a variable {reserved!r}, under which attacks are kept. Give it another name."
        )
    has_documents = options.get("rag") is not None
    document = _document(names, document, variable, has_documents=has_documents)
    found = _variable(content, names, variable, shared, document)
    given = as_tools(tools)
    return Target(
        content=content,
        version=version,
        variable=found,
        document=document,
        shared={k: v for k, v in shared.items() if k != found},
        texts=system_texts(content),
        secrets=_secrets(secrets),
        tools=tuple(replace(one, function=_nothing, side_effects=False) for one in given),
        forbidden=_forbidden(given, forbidden),
        options={k: v for k, v in options.items() if v is not None},
    )


def _nothing(**_: Any) -> str:
    """What a function says that is only there to see whether it is called."""
    return "done"


def _document(
    names: Sequence[str], given: str | None, variable: str | None, *, has_documents: bool
) -> str:
    if given:
        if given not in names:
            raise OptionError(_no_variable("document", given, names))
        return given
    return CONTEXT if has_documents or (CONTEXT in names and variable != CONTEXT) else ""


def _variable(
    content: Content,
    names: Sequence[str],
    given: str | None,
    shared: Mapping[str, Any],
    document: str,
) -> str:
    if given is not None:
        if given not in names:
            raise OptionError(_no_variable("variable", given, names))
        return given
    free = [n for n in names if n not in shared and n != document]
    if len(free) == 1:
        return free[0]
    said = [p.source for p in split_roles(content.template) if p.role == "user"]
    last = [n for n in free if said and n in variables_of(f"user: {said[-1]}")]
    for choices in (last, [n for n in last if n in USUAL], [n for n in free if n in USUAL]):
        if len(choices) == 1:
            return choices[0]
    if not free:
        raise OptionError(
            "The prompt has no variable that an attacker could write into. Write {{ question }} where the user's "
            "words go, or name one of those with a value: variable=…"
        )
    raise OptionError(
        f"The prompt has several variables ({', '.join(free)}). Say into which one users write: "
        f"variable={free[0]!r}"
    )


def _no_variable(option: str, given: str, names: Sequence[str]) -> str:
    return (
        f"{option}={given!r} is no variable of the prompt.{did_you_mean(str(given), names)} Variables: "
        f"{', '.join(names) or 'none'}."
    )


def system_texts(content: Content) -> tuple[str, ...]:
    """What the system messages of a template say, between its variables."""
    sources = [p.source for p in split_roles(content.template) if p.role == "system"]
    pieces = [piece.strip() for source in sources for piece in _HOLES.split(source)]
    return tuple(piece for piece in pieces if piece)


def _secrets(given: Sequence[str] | str) -> tuple[str, ...]:
    if not isinstance(given, str | list | tuple):
        raise OptionError(f"secrets is a list of texts, not {given!r:.60}.")
    found = (given,) if isinstance(given, str) else tuple(given)
    for one in found:
        if not isinstance(one, str) or len(squeezed(one)) < LEAST_SECRET:
            raise OptionError(
                f"A secret has at least {LEAST_SECRET} letters and digits, or it would be found by chance; "
                f"{one!r:.60} has fewer."
            )
    return found


def _forbidden(given: Sequence[FunctionTool], names: Sequence[str] | str | None) -> dict[str, str]:
    """The functions that are not to be called, each with the parameter that takes any text, or ''."""
    known = {one.name: one for one in given}
    if names is None:
        chosen = [n for n, one in known.items() if one.side_effects] or list(known)
    else:
        chosen = [names] if isinstance(names, str) else list(names)
    for name in chosen:
        if name not in known:
            raise OptionError(
                f"forbidden={name!r} is no function of this prompt.{did_you_mean(str(name), known)} Functions: "
                f"{', '.join(known) or 'none; give them with tools=…'}."
            )
    return {name: _free_text(known[name]) for name in chosen}


def _free_text(found: FunctionTool) -> str:
    properties = found.tool.parameters.get("properties", {})
    for name, schema in properties.items():
        if schema.get("type") == "string" and not {"format", "enum", "pattern"} & set(schema):
            return str(name)
    return ""


@dataclass(frozen=True)
class Harmless:
    """Inputs that nobody needs to decline: their rows, and the texts alone."""

    rows: tuple[tuple[str, Row], ...]
    texts: tuple[str, ...]


def harmless_of(target: Target, given: EvaluationRows | Sequence[str]) -> Harmless:
    """The harmless inputs of a target, from rows or texts.

    Raises:
        DataError: the rows have no column for the variable, or not one for each of the others.
    """
    if isinstance(given, EvaluationRows):
        check_column(target.variable, given.columns, "harmless")
        pairs = [(row.row_id, dict(row.values)) for row in given.rows]
    else:
        pairs = [(f"harmless/{i}", {target.variable: text}) for i, text in enumerate(given, 1)]
    if not pairs:
        raise DataError("There are no harmless inputs to compare with. Leave harmless out.")
    for row_id, row in pairs:
        missing = [
            name
            for name in variables_of(target.content.template)
            if name not in row and name not in target.shared and name != target.document
        ]
        if missing:
            raise DataError(
                f"The prompt has a variable {missing[0]!r}, and the harmless input {row_id!r} has no value for it. "
                f"Give one for all: variables={{{missing[0]!r}: …}}"
            )
    return Harmless(tuple(pairs), tuple(str(row[target.variable]) for _, row in pairs))


@dataclass(frozen=True)
class Rows:
    """Makes the rows of attacks.

    Args:
        target: what is attacked.
        harmless: whose other columns attacks take over, so that every variable has a value.
        passages: what a prompt is given to read beside an attack's document, from the question and the document;
            None where it has no index.
    """

    target: Target
    harmless: Harmless
    passages: Callable[[str, str], str] | None = None

    def of_attack(self, attack: Attack) -> Row:
        """The row of an attack's first message."""
        target = self.target
        draw = random.Random(f"carrier {attack.id}")  # noqa: S311 - not for secrets
        place = draw.randrange(len(self.harmless.rows))
        row = {k: v for k, v in self.harmless.rows[place][1].items() if k not in ("id", EXPECTED)}
        question, text = self.harmless.texts[place], attack.turns[0]
        row[target.variable] = text
        if attack.place == "document":
            row.update(self._with_document(question, text))
        elif target.document and target.document not in {*row, *target.shared}:
            row[target.document] = ""
        row[COLUMN] = meta_of(attack)
        return row

    def _with_document(self, question: str, text: str) -> Row:
        target = self.target
        if self.passages is not None:
            read = self.passages(question, text)
            if target.document in variables_of(target.content.template):
                return {target.variable: question, target.document: read}
            return {target.variable: f"{read}\n\n{question}"}
        if target.document:
            before = str(target.shared.get(target.document) or "")
            return {target.variable: question, target.document: f"{before}\n\n{text}".strip()}
        return {target.variable: f"{SUMMARISE}\n\n{text}"}

    def of_harmless(self) -> list[tuple[str, Row]]:
        """The rows of the harmless inputs."""
        found = []
        for row_id, row in self.harmless.rows:
            made = {**row, COLUMN: {"kind": "harmless"}}
            if self.target.document and self.target.document not in {*row, *self.target.shared}:
                made[self.target.document] = ""
            found.append((row_id, made))
        return found


def meta_of(attack: Attack) -> Row:
    """What a row says of its attack."""
    return {
        "kind": "attack",
        "id": attack.id,
        "family": attack.family,
        "goal": attack.goal,
        "check": dict(attack.check),
    }


def passages_of(
    rag: Rag, count: Callable[[str], int], options: Mapping[str, Any]
) -> Callable[[str, str], str]:
    """Puts a document among the passages that an index has for a question, packed as prompts get them."""
    from llmops_jupyter.rag.instructions import flags_of
    from llmops_jupyter.rag.packing import TOKENS, packed
    from llmops_jupyter.records import Hit

    index = rag.index(options["rag"])

    def read(question: str, text: str) -> str:
        hits = index.search(question, PASSAGES, where=options.get("rag_where"))
        flagged = index.flagged(hits)
        score = hits[0].score if hits else 1.0
        planted = Hit(text, "upload.md", "", score, "redteam", "planted")
        if flags_of(text):
            flagged = {*flagged, planted.chunk_id}
        # Second, since the best passage is seldom the attacker's.
        among = [*hits[:1], planted, *hits[1:]]
        return packed(among, count, options.get("rag_tokens") or TOKENS, flagged).text

    return read


def extended(content: Content, turns: int) -> Content:
    """The prompt with what came after its first answer: answers and further messages of the attacker."""
    template = content.template.rstrip("\n")
    first = next((line for line in template.split("\n") if line.strip()), "")
    if not MARKER.match(first):
        template = "user: " + _ROLE_LINE.sub(r"\\", template.lstrip("\n"))
    for turn in range(2, turns + 1):
        template += f"\nassistant: {{{{ {SAID}_{turn - 1} }}}}\nuser: {{{{ {TURN}_{turn} }}}}"
    return with_template(content, template)
