"""Runs pairs of texts that differ in a person alone, and measures how the answers differ."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from llmops_jupyter.errors import DataError, OptionError, did_you_mean
from llmops_jupyter.evaluation.rows import check_column
from llmops_jupyter.evaluation.statistics.estimate import check_confidence
from llmops_jupyter.evaluation.variant import Variant
from llmops_jupyter.guard.refusing import refuses
from llmops_jupyter.monitor.bias.people import (
    ATTRIBUTES,
    changed,
    check_slots,
    groups_of,
    told_of,
)
from llmops_jupyter.monitor.bias.report import Answer, BiasReport, Measure
from llmops_jupyter.monitor.redteam.targets import find_target
from llmops_jupyter.prompts.rows import Rows
from llmops_jupyter.prompts.template import fill

if TYPE_CHECKING:
    from llmops_jupyter.engine.protocol import Engine
    from llmops_jupyter.evaluation import Evaluation
    from llmops_jupyter.monitor.redteam.targets import Target

LEAST, MOST = 2, 8
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?|(?<![\w.])[-+]?\d+(?:\.\d+)?")
Tell = Callable[[str], None]


class Engines(Protocol):
    """Where engines come from."""

    def engine(self, model: str | None) -> Engine:
        """The loaded engine of a model reference; None means the default model."""
        ...


@dataclass(frozen=True)
class Plan:
    """What is to be probed.

    Args:
        prompt: a reference, a version or scratch content.
        texts: texts with slots ({name}, {he}, {him}, {his}, {person}, {age}) or with names, pronouns and ages to be
            found; or rows with such texts in the variable's column.
        variable: that gets them.
        attributes: of 'gender', 'names', 'pronouns' and 'age'; all that the texts allow if left out.
        metrics: further measures, as for an evaluation.
        labels: answers that are a choice: how often each is given is measured.
        choices: continuations whose log-probabilities are measured, where the engine gives them.
        each: harmless changes of each text: other names of the same group, other ages, a courtesy more.
        variables: values of the template's other variables.
        confidence: of the intervals.
        options: settings of the run; temperature 0 and exact if not given.
    """

    prompt: Any
    texts: Any
    variable: str | None = None
    attributes: Sequence[str] | str | None = None
    metrics: Any = None
    labels: Sequence[str] = ()
    choices: Sequence[str] = ()
    each: int = 6
    variables: Mapping[str, Any] | None = None
    confidence: float = 0.95
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Probe:
    """One text with somebody of a group in it."""

    text: int
    attribute: str
    group: str
    number: int
    said: str


def probe(
    evaluation: Evaluation, engines: Engines, plan: Plan, tell: Tell | None = None
) -> BiasReport:
    """Whether answers differ by who is told of.

    Raises:
        DataError: no text tells of anybody.
        OptionError: an option cannot be used; nothing was run.
    """
    attributes = _attributes(plan)
    check_confidence(plan.confidence)
    for name in ("labels", "choices"):
        given = getattr(plan, name)
        texts = isinstance(given, list | tuple) and all(isinstance(x, str) and x for x in given)
        if not texts or len(given) == 1 or len(set(given)) != len(given):
            raise OptionError(f"{name} are two or more different texts, as in ('yes', 'no').")
    target = find_target(
        evaluation.prompts,
        plan.prompt,
        variable=plan.variable,
        document=None,
        variables=plan.variables,
        secrets=(),
        tools=None,
        forbidden=None,
        options=plan.options,
    )
    if plan.choices and target.content.examples is not None:
        raise OptionError(
            "The probabilities of choices are measured of prompts without examples. Leave choices out, and name "
            "labels=… instead."
        )
    rows = _rows(evaluation, target, plan.texts)
    probes, notes = _probes([str(row[target.variable]) for row in rows], attributes, plan.each)
    answers = _answers(evaluation, target, rows, probes, plan, tell)
    measures = _measures(answers, plan)
    if plan.choices:
        measures += _choices(engines, target, rows, probes, plan)
    return BiasReport.of(
        target.ref, answers, measures, plan.confidence, len(rows), tuple(notes), plan.each
    )


def _attributes(plan: Plan) -> tuple[str, ...]:
    each = plan.each
    if isinstance(each, bool) or not isinstance(each, int) or not LEAST <= each <= MOST:
        raise OptionError(
            f"each is a number of harmless changes from {LEAST} to {MOST}, not {each!r:.60}."
        )
    if plan.attributes is None:
        return ATTRIBUTES
    if not isinstance(plan.attributes, str | list | tuple | set | frozenset):
        raise OptionError(f"attributes is a list of names, not {plan.attributes!r:.60}.")
    given = [plan.attributes] if isinstance(plan.attributes, str) else list(plan.attributes)
    for one in given:
        if one not in ATTRIBUTES:
            raise OptionError(
                f"There is no attribute {str(one)!r}.{did_you_mean(str(one), ATTRIBUTES)} Attributes: "
                f"{', '.join(ATTRIBUTES)}."
            )
    if not given:
        raise OptionError("The list of attributes is empty. Leave it out to take all of them.")
    return tuple(dict.fromkeys(given))


def _rows(evaluation: Evaluation, target: Target, texts: Any) -> list[dict[str, Any]]:
    if isinstance(texts, list | tuple) and all(isinstance(t, str) for t in texts):
        found = [{target.variable: t} for t in evaluation.tracer.clean(list(texts))]
    else:
        rows = evaluation.rows(texts)
        check_column(target.variable, rows.columns, "texts")
        found = [dict(row.values) for row in rows.rows]
    if not found:
        raise DataError("There are no texts to probe with. Give some: texts=['{name} asks for …']")
    return found


def _probes(
    texts: Sequence[str], attributes: Sequence[str], each: int
) -> tuple[list[Probe], list[str]]:
    """The probes of all texts, and what is to be said of texts that cannot be used."""
    for text in texts:
        check_slots(text)
    made, notes = [], []
    for attribute in attributes:
        reasons: dict[str, int] = {}
        for place, text in enumerate(texts):
            why = told_of(text, attribute)
            if why:
                reasons[why] = reasons.get(why, 0) + 1
                continue
            for group in groups_of(attribute):
                for number in range(each):
                    said = changed(text, attribute, group, number)
                    made.append(Probe(place, attribute, group, number, said))
        if reasons:
            told = ", ".join(f"{count} with {why}" for why, count in reasons.items())
            notes.append(f"{attribute}: left out {told}")
    if not made:
        raise DataError(
            "No text tells of anybody whom a name, a pronoun, a word of gender or an age could change. Write slots, as in "
            "'{name} asks whether {he} can pay later.'"
        )
    return made, notes


def _answers(
    evaluation: Evaluation,
    target: Target,
    rows: Sequence[Mapping[str, Any]],
    probes: Sequence[Probe],
    plan: Plan,
    tell: Tell | None,
) -> list[Answer]:
    """The answer to each probe; equal texts are asked once."""
    ids: dict[tuple[int, str], str] = {}
    for one in probes:
        ids.setdefault((one.text, one.said), f"probe/{len(ids) + 1}")
    pairs = [
        (row_id, {**rows[text], target.variable: said}) for (text, said), row_id in ids.items()
    ]
    options = {"temperature": 0.0, "exact": True, **target.options}
    variant = Variant(prompt=target.runnable, options=options, name=target.ref)
    run = evaluation.run(
        variant, Rows(pairs), plan.metrics or (), variables=target.shared, progress=tell
    )
    place = {item.case.row_id: i for i, item in enumerate(run.items)}
    found = []
    for one in probes:
        i = place[ids[one.text, one.said]]
        item = run.items[i]
        missing = item.output_id is None
        found.append(
            Answer(
                text=one.text,
                attribute=one.attribute,
                group=one.group,
                number=one.number,
                said=one.said,
                answer=item.case.output,
                trace_id=item.trace_id,
                error=item.error if missing else "",
                scores={}
                if missing
                else {name: m.scores[i].value for name, m in run.metrics.items()},
            )
        )
    return found


def _measures(answers: Sequence[Answer], plan: Plan) -> list[Measure]:
    """What is measured of the answers' texts, and by metrics."""
    made = [
        Measure("words", [_of(a, lambda t: float(len(t.split()))) for a in answers]),
        Measure("refused", [_of(a, lambda t: float(refuses(t))) for a in answers], share=True),
    ]
    numbers = [None if a.error else _number(a.answer) for a in answers]
    if all(n is not None for n, a in zip(numbers, answers, strict=True) if not a.error):
        made.append(Measure("number", numbers))
    for label in plan.labels[:1] if len(plan.labels) == 2 else plan.labels:
        chosen = [
            None if a.error else float(_label(a.answer, plan.labels) == label) for a in answers
        ]
        made.append(Measure(f"answer {label!r}", chosen, share=True))
    for name in dict.fromkeys(name for a in answers for name in a.scores):
        values = [a.scores.get(name) for a in answers]
        said = [v for v in values if v is not None]
        made.append(Measure(name, values, share=bool(said) and all(v in (0, 1) for v in said)))
    return made


def _of(answer: Answer, measure: Callable[[str], float]) -> float | None:
    return None if answer.error else measure(answer.answer)


def _number(text: str) -> float | None:
    found = _NUMBER.search(text)
    return float(found[0].replace(",", "")) if found else None


def _label(text: str, labels: Sequence[str]) -> str:
    """The label that an answer begins with, else the only one that it has; '' if neither."""
    small = text.strip().casefold()
    longest = sorted(labels, key=len, reverse=True)
    for label in longest:
        if re.match(rf"\W*{re.escape(label.casefold())}\b", small):
            return label
    inside = [x for x in labels if re.search(rf"\b{re.escape(x.casefold())}\b", small)]
    return inside[0] if len(inside) == 1 else ""


def _choices(
    engines: Engines,
    target: Target,
    rows: Sequence[Mapping[str, Any]],
    probes: Sequence[Probe],
    plan: Plan,
) -> list[Measure]:
    """The log-odds of each choice against the others, in nats; of two the first alone."""
    options = target.options
    if options.get("adapters"):
        raise OptionError(
            "The probabilities of choices are measured without adapters. Leave one out."
        )
    engine = engines.engine(options.get("model"))
    asked: dict[tuple[int, str], int] = {}
    items: list[tuple[Any, Sequence[str]]] = []
    for one in probes:
        if (one.text, one.said) in asked:
            continue
        asked[one.text, one.said] = len(items)
        values = {**target.shared, **rows[one.text], target.variable: one.said}
        items.append((fill(target.content.template, values), list(plan.choices)))
    scored = engine.score(items)
    made = []
    for place, choice in enumerate(plan.choices[:1] if len(plan.choices) == 2 else plan.choices):
        values_of = [_odds(scored[asked[one.text, one.said]], place) for one in probes]
        made.append(Measure(f"log-odds of {choice!r}", values_of))
    return made


def _odds(logprobs: Sequence[float], place: int) -> float | None:
    rest = [v for i, v in enumerate(logprobs) if i != place]
    most = max(rest)
    if not (math.isfinite(most) and math.isfinite(logprobs[place])):
        return None
    return logprobs[place] - most - math.log(sum(math.exp(v - most) for v in rest))
