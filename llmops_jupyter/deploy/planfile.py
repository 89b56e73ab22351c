"""The declaration of a pipeline as a small YAML file: read, and checked with its lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmops_jupyter.deploy.folders import MODES, REFERENCE
from llmops_jupyter.deploy.inputs import OPTIONS
from llmops_jupyter.deploy.plan import (
    AUTO,
    CANARY,
    EVALUATE,
    GATE,
    MANUAL,
    PROMOTE,
    STAGE,
    TEST,
    Case,
    Demands,
    Measure,
    Plan,
    Trial,
)
from llmops_jupyter.deploy.releases import KIND
from llmops_jupyter.deploy.watching import read_rules
from llmops_jupyter.errors import DataError, OptionError, did_you_mean
from llmops_jupyter.evaluation.suites import check_keys, is_number, parse_yaml
from llmops_jupyter.store import aliases

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
Lines = Mapping[tuple[Any, ...], int]


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
