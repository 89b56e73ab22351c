"""The declaration of a pipeline: what is deployed, how it is tested, and how it goes into service; a small YAML file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmops_jupyter.deploy.folders import MODES, REFERENCE
from llmops_jupyter.deploy.inputs import OPTIONS
from llmops_jupyter.deploy.releases import KIND
from llmops_jupyter.deploy.watching import Rules, read_rules
from llmops_jupyter.errors import DataError, OptionError, did_you_mean
from llmops_jupyter.evaluation.suites import check_keys, is_number, parse_yaml
from llmops_jupyter.store import aliases

TEST, EVALUATE, GATE, PACKAGE = "test", "evaluate", "gate", "package"
STAGE, CANARY, PROMOTE = "stage", "canary", "promote"
STEPS = (TEST, EVALUATE, GATE, PACKAGE, STAGE, CANARY, PROMOTE)
KEYS = (
    *("name", "prompt", "model", "adapter", "index", "guard", "options", "weights"),
    *(TEST, EVALUATE, GATE, STAGE, CANARY, PROMOTE),
)
PARTS: Mapping[str, tuple[str, ...]] = {
    TEST: ("cases", "commands"),
    EVALUATE: ("data", "metrics", "expected", "baseline", "cluster", "repeat"),
    GATE: ("suites", "rules", "allow_undecided"),
    CANARY: ("weight", "rules", "units", "confidence", "promote"),
}
AUTO, MANUAL = "auto", "manual"
Lines = Mapping[tuple[Any, ...], int]


@dataclass(frozen=True)
class Case:
    """One call that must answer as expected.

    Args:
        variables: of the prompt; ``expected`` among them is what metrics compare with.
        expect: metrics that must hold, such as ``contains=order``.
        line: in the file.
    """

    variables: Mapping[str, Any]
    expect: tuple[str, ...]
    line: int = 0


@dataclass(frozen=True)
class Measure:
    """What the step 'evaluate' runs."""

    data: str
    metrics: tuple[str, ...]
    expected: str | None = None
    baseline: str | None = None
    cluster: str | None = None
    repeat: int = 1


@dataclass(frozen=True)
class Demands:
    """What the step 'gate' decides: suites of gates, and rules of the monitor that must not be in alarm."""

    suites: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    allow_undecided: bool = False


@dataclass(frozen=True)
class Trial:
    """The canary: its share of the units, and by what it is watched."""

    weight: float
    rules: Rules


@dataclass(frozen=True)
class Plan:
    """A pipeline as it was declared.

    Args:
        name: of the deployment.
        prompt: that is deployed.
        options: of its runs: model, adapters, guard, rag and the rest.
        weights: how they are in the bundle.
        cases: calls that must answer as expected.
        commands: that must end with 0, one after the other, without a shell.
        evaluate: what is measured; None for nothing.
        gate: what must hold; None for nothing.
        stage: whether a release waits before it is promoted.
        canary: the share that it is tried on first; None for none.
        promote: 'auto', or 'manual' where a person does it.
        text: of the file.
        folder: in which it lies, from which names of files are read.
        out: folder of the bundle; None puts it beside the store.
    """

    name: str
    prompt: str
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: str = REFERENCE
    cases: tuple[Case, ...] = ()
    commands: tuple[str, ...] = ()
    evaluate: Measure | None = None
    gate: Demands | None = None
    stage: bool = True
    canary: Trial | None = None
    promote: str = AUTO
    text: str = field(default="", repr=False, compare=False)
    folder: Path = field(default_factory=Path, compare=False)
    out: Path | None = None

    @property
    def digest(self) -> str:
        """Of the file's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def steps(self) -> list[str]:
        """The declared steps in their order; what is not declared is not run."""
        declared = {
            TEST: bool(self.cases or self.commands),
            EVALUATE: self.evaluate is not None,
            GATE: self.gate is not None,
            PACKAGE: True,
            STAGE: self.stage,
            CANARY: self.canary is not None,
            PROMOTE: True,
        }
        return [step for step in STEPS if declared[step]]


def read_plan(given: Any) -> Plan:
    """A pipeline from a YAML file, or from its text.

    Raises:
        DataError: it cannot be read; with the line, and the nearest name for a wrong one.
    """
    if isinstance(given, Plan):
        return given
    text, folder, where = _text(given)
    value, lines = parse_yaml(text, where)
    if not isinstance(value, Mapping):
        raise DataError(
            f"{where} is no pipeline: it begins with keys such as name: and prompt:. See docs/deploy.md."
        )
    for key in value:
        check_keys({key: 0}, KEYS, where, lines.get((key,), 0), "A pipeline")
    reading = _Reading(value, lines, where)
    name = reading.name()
    cases, commands = reading.test()
    return Plan(
        name=name,
        prompt=reading.text("prompt") or name,
        options=reading.options(),
        weights=reading.choice("weights", MODES, REFERENCE),
        cases=cases,
        commands=commands,
        evaluate=reading.evaluate(),
        gate=reading.gate(),
        stage=reading.flag(STAGE, otherwise=True),
        canary=reading.canary(),
        promote=reading.choice(PROMOTE, (AUTO, MANUAL), AUTO),
        text=text,
        folder=folder,
    )


class _Reading:
    """A file that is being read: each part checked, with its line where something is wrong."""

    def __init__(self, value: Mapping[str, Any], lines: Lines, where: str) -> None:
        self._value, self._lines, self._where = value, lines, where

    def at(self, *path: Any) -> str:
        """Where a part stands."""
        line = self._lines.get(path) or self._lines.get(path[:-1])
        return f"{self._where} line {line}" if line else self._where

    def name(self) -> str:
        name = self._value.get("name")
        if not name:
            raise DataError(f"{self._where} has no name. Write name: and that of the deployment.")
        try:
            return aliases.check_name(KIND, str(name))
        except OptionError as e:
            raise DataError(f"{self.at('name')}: {e}") from e

    def text(self, key: str) -> str | None:
        value = self._value.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"{self.at(key)}: {key} is a name, not {value!r:.60}.")
        return value

    def flag(self, key: str, *, otherwise: bool) -> bool:
        value = self._value.get(key, otherwise)
        if not isinstance(value, bool):
            raise DataError(f"{self.at(key)}: {key} is true or false, not {value!r:.60}.")
        return value

    def choice(self, key: str, known: Sequence[str], otherwise: str) -> str:
        value = self._value.get(key, otherwise)
        if value not in known:
            near = did_you_mean(str(value), known)
            raise DataError(
                f"{self.at(key)}: {key} is {' or '.join(known)}, not {value!r:.60}.{near}"
            )
        return str(value)

    def options(self) -> dict[str, Any]:
        given = self._value.get("options")
        if given is not None and not isinstance(given, Mapping):
            raise DataError(
                f"{self.at('options')}: options are settings of runs, such as {{temperature: 0}}."
            )
        found = dict(given or {})
        for key in found:
            line = self._lines.get(("options", key), 0)
            check_keys({key: 0}, OPTIONS, self._where, line, "options")
        named: dict[str, Any] = {
            "model": self.text("model"),
            "guard": self.text("guard"),
            "rag": self.text("index"),
        }
        adapters = self._value.get("adapter")
        if adapters is not None:
            named["adapters"] = self._texts(adapters, "adapter")
        for key, value in named.items():
            if value is None:
                continue
            if key in found:
                raise DataError(f"{self.at('options', key)}: {key} is said twice. Say it once.")
            found[key] = value
        return found

    def test(self) -> tuple[tuple[Case, ...], tuple[str, ...]]:
        given = self._value.get(TEST)
        if given is None:
            return (), ()
        inside: tuple[Any, ...] = (TEST,)
        commands: list[str] = []
        if isinstance(given, Mapping):
            self._keys(given, TEST)
            commands = self._texts(given.get("commands"), TEST, "commands")
            given, inside = given.get("cases") or [], (TEST, "cases")
        if not isinstance(given, list):
            raise DataError(
                f"{self.at(TEST)}: test is a list of cases such as {{variables: {{question: Hello}}, expect: contains=order}}"
            )
        cases = tuple(self._case(one, (*inside, place)) for place, one in enumerate(given))
        return cases, tuple(commands)

    def _case(self, given: Any, path: tuple[Any, ...]) -> Case:
        at = self.at(*path)
        if not isinstance(given, Mapping):
            raise DataError(
                f"{at}: a case is a mapping with variables and expect, not {given!r:.60}."
            )
        check_keys(given, ("variables", "expect"), self._where, self._lines.get(path, 0), "A case")
        variables = given.get("variables", {})
        if not isinstance(variables, Mapping):
            raise DataError(f"{at}: variables is a mapping such as {{question: Hello}}.")
        expect = self._texts(given.get("expect"), *path, "expect")
        if not expect:
            raise DataError(f"{at}: a case says what to expect, as in expect: contains=order")
        return Case(
            {str(k): v for k, v in variables.items()}, tuple(expect), self._lines.get(path, 0)
        )

    def evaluate(self) -> Measure | None:
        given = self._value.get(EVALUATE)
        if given is None:
            return None
        if not isinstance(given, Mapping) or not given.get("data"):
            raise DataError(
                f"{self.at(EVALUATE)}: evaluate names data and metrics, as in {{data: support.test, metrics: [exact]}}"
            )
        self._keys(given, EVALUATE)
        metrics = self._texts(given.get("metrics"), EVALUATE, "metrics")
        if not metrics:
            raise DataError(
                f"{self.at(EVALUATE, 'metrics')}: evaluate needs metrics, as in [exact]."
            )
        repeat = given.get("repeat", 1)
        if isinstance(repeat, bool) or not isinstance(repeat, int) or repeat < 1:
            raise DataError(f"{self.at(EVALUATE, 'repeat')}: repeat is a whole number from 1.")
        texts = {
            key: None if given.get(key) is None else str(given[key])
            for key in ("expected", "baseline", "cluster")
        }
        return Measure(str(given["data"]), tuple(metrics), repeat=repeat, **texts)

    def gate(self) -> Demands | None:
        given = self._value.get(GATE)
        if given is None:
            return None
        if isinstance(given, str | list):
            given = {"suites": given}
        if not isinstance(given, Mapping):
            raise DataError(
                f"{self.at(GATE)}: gate is a suite, a list of them, or suites and rules."
            )
        self._keys(given, GATE)
        suites = self._texts(given.get("suites"), GATE, "suites")
        rules = self._texts(given.get("rules"), GATE, "rules")
        allow = given.get("allow_undecided", False)
        if not isinstance(allow, bool):
            raise DataError(
                f"{self.at(GATE, 'allow_undecided')}: allow_undecided is true or false."
            )
        if not (suites or rules):
            raise DataError(f"{self.at(GATE)}: a gate names suites, or rules of the monitor.")
        return Demands(tuple(suites), tuple(rules), allow)

    def canary(self) -> Trial | None:
        given = self._value.get(CANARY)
        if given is None:
            return None
        if is_number(given):
            given = {"weight": given}
        if not isinstance(given, Mapping):
            raise DataError(f"{self.at(CANARY)}: canary has a weight, as in {{weight: 0.1}}.")
        self._keys(given, CANARY)
        weight = given.get("weight")
        if not is_number(weight) or not 0 < float(weight) < 1:  # type: ignore[arg-type]
            raise DataError(
                f"{self.at(CANARY, 'weight')}: weight is a share of the units between 0 and 1, as in 0.1, not {weight!r:.40}."
            )
        rules = {key: value for key, value in given.items() if key != "weight"}
        return Trial(float(weight), read_rules(rules, self.at(CANARY)))  # type: ignore[arg-type]

    def _keys(self, given: Mapping[Any, Any], part: str) -> None:
        for key in given:
            line = self._lines.get((part, key), 0)
            check_keys({key: 0}, PARTS[part], self._where, line, part)

    def _texts(self, given: Any, *path: Any) -> list[str]:
        """A text, or a list of texts."""
        if given is None:
            return []
        several = given if isinstance(given, list) else [given]
        if not all(isinstance(one, str) and one for one in several):
            raise DataError(f"{self.at(*path)}: {path[-1]} is a text or a list of texts.")
        return list(several)


def check_until(until: str | None, steps: Sequence[str]) -> str:
    """The last step that is run.

    Raises:
        OptionError: there is no such step, or it is not declared.
    """
    if until is None:
        return steps[-1]
    if until not in steps:
        raise OptionError(
            f"There is no step {until!r}.{did_you_mean(until, steps)} Steps of this pipeline: {', '.join(steps)}."
        )
    return until


def _text(given: Any) -> tuple[str, Path, str]:
    if isinstance(given, str) and "\n" in given:
        return given, Path.cwd(), "the pipeline"
    path = Path(given).expanduser()
    try:
        return path.read_text("utf-8"), path.absolute().parent, str(path)
    except FileNotFoundError as e:
        raise DataError(
            f"There is no pipeline {str(path)!r}. Write one (see docs/deploy.md), or name its file: %deploy run FILE.yaml"
        ) from e
    except (OSError, ValueError) as e:
        why = e.strerror if isinstance(e, OSError) and e.strerror else "it is no text in UTF-8"
        raise DataError(f"The pipeline {str(path)!r} cannot be read: {why}.") from e
