"""Suites: what is evaluated on which rows, and the gates that it must pass; YAML files for git and CI."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmops_jupyter.errors import DataError, OptionError, did_you_mean, unknown_name
from llmops_jupyter.evaluation.variant import OPTIONS, Variant, as_variant
from llmops_jupyter.store import Store, aliases

KIND = "suite"
KEYS = (
    *("name", "data", "variant", "baseline", "expected", "metrics", "gates", "repeat", "cluster"),
    *("confidence", "options"),
)
BOUNDS = ("at_least", "at_most", "better_by", "not_worse_by", "never", "always")
GATE_KEYS = ("metric", "slice", *BOUNDS)
AGAINST = ("better_by", "not_worse_by")


@dataclass(frozen=True)
class Gate:
    """One demand: a metric, and a bound that its interval must keep to.

    Args:
        metric: its name.
        kind: 'at_least' (the interval's lower bound), 'at_most' (its upper bound), 'better_by' and
            'not_worse_by' (of the difference to the baseline), 'never' and 'always' (of every row).
        limit: the bound.
        slice: the column of which every value must keep to it; '' for all rows together.
        line: in the suite's file.
    """

    metric: str
    kind: str
    limit: float
    slice: str = ""
    line: int = 0

    def words(self) -> str:
        """The demand for people."""
        said = {
            "at_least": f"at least {self.limit:g}",
            "at_most": f"at most {self.limit:g}",
            "better_by": f"better than the baseline by more than {self.limit:g}",
            "not_worse_by": f"not worse than the baseline by {self.limit:g}",
            "never": "on no row",
            "always": "on every row",
        }[self.kind]
        return f"{self.metric} {said}{f' for each {self.slice}' if self.slice else ''}"


@dataclass(frozen=True)
class Suite:
    """What a gate runs."""

    name: str
    data: str
    variant: Variant
    gates: tuple[Gate, ...]
    baseline: Variant | None = None
    metrics: tuple[str, ...] = ()
    expected: str | None = None
    repeat: int = 1
    cluster: str | None = None
    confidence: float = 0.95
    text: str = field(default="", repr=False, compare=False)
    folder: Path | None = field(default=None, compare=False)

    def every_metric(self) -> list[str]:
        """Metrics of the suite and of its gates, each once."""
        return list(dict.fromkeys([*(g.metric for g in self.gates), *self.metrics]))


def read_suite(given: str | Path) -> Suite:
    """A suite from a file, or from its text.

    Raises:
        DataError: it cannot be read, with the line where that is known.
    """
    text, folder, where = _text(given)
    value, lines = parse_yaml(text, where)
    if not isinstance(value, Mapping):
        raise DataError(f"{where} is no suite: it begins with keys such as name: and data:.")
    check_keys(value, KEYS, where, lines.get((), 1), "A suite")
    for needed in ("data", "variant", "gates"):
        if not value.get(needed):
            raise DataError(f"{where} has no {needed}. A suite needs data, variant and gates.")
    gates = _gates(value["gates"], where, lines)
    options = _mapping(value.get("options"), "options", where)
    baseline = _variant(value.get("baseline"), "baseline", options, where)
    for gate in gates:
        if gate.kind in AGAINST and baseline is None:
            raise DataError(
                f"{where} line {gate.line}: {gate.kind} compares with a baseline, and the suite names none."
            )
    variant = _variant(value["variant"], "variant", options, where)
    assert variant is not None
    return Suite(
        name=str(value.get("name") or (Path(where).stem if folder else "suite")),
        data=str(value["data"]),
        variant=variant,
        gates=gates,
        baseline=baseline,
        metrics=tuple(_metrics(value.get("metrics"), where)),
        expected=_optional(value, "expected"),
        repeat=_whole(value.get("repeat", 1), where),
        cluster=_optional(value, "cluster"),
        confidence=_confidence(value.get("confidence", 0.95), where),
        text=text,
        folder=folder,
    )


def save(store: Store, name: str, given: str | Path) -> Suite:
    """Keep a suite as the next version of `name`, unless the latest one is the same.

    Raises:
        DataError: it cannot be read, or its rows are a file that is not kept with it.
    """
    aliases.check_name(KIND, name)
    suite = read_suite(given)
    if suite.folder is not None and (suite.folder / suite.data).is_file():
        raise DataError(
            f"The suite's data is the file {suite.data!r} beside it, which is not kept with it. Keep the rows as a "
            "data set, %data add NAME FILE, and name that in the suite."
        )
    digest = hashlib.sha256(suite.text.encode()).hexdigest()
    with store.write() as conn:
        latest = conn.execute(
            "SELECT version, content_hash FROM suites WHERE name = ? ORDER BY version DESC LIMIT 1",
            (name,),
        ).fetchone()
        if latest is None or latest[1] != digest:  # going back to an earlier one is a new version
            conn.execute(
                "INSERT INTO suites(name, version, content_hash, content, created_at) "
                "VALUES (?, ?, ?, ?, ?)",
                (name, (latest[0] if latest else 0) + 1, digest, suite.text, store.now()),
            )
    return suite


def import_all(store: Store, read: Sequence[tuple[str, str]]) -> int:
    """Keep what `read_folder` read; how many were new."""

    def count() -> int:
        row = store.row("SELECT count(*) FROM suites")
        return int(row[0]) if row else 0

    before = count()
    for name, text in read:
        save(store, name, text if "\n" in text else f"{text}\n")
    return count() - before


def saved(store: Store) -> list[Mapping[str, Any]]:
    """The latest version of each kept suite."""
    rows = store.rows(
        "SELECT name, max(version) AS version, count(*) AS versions, max(created_at) AS at FROM suites "
        "GROUP BY name ORDER BY name"
    )
    return [dict(row) for row in rows]


def get(store: Store, reference: str) -> Suite:
    """A kept suite by ``name`` (the latest version) or ``name@2``.

    Raises:
        UnknownNameError: there is none.
    """
    name, selector = aliases.parse_reference(reference, KIND)
    versions = [r[0] for r in store.rows("SELECT version FROM suites WHERE name = ?", (name,))]
    if not versions:
        known = [str(row["name"]) for row in saved(store)]
        raise unknown_name("suite", name, known, "Keep one: ws.evaluation.save_suite(name, path)")
    if selector and not selector.isdigit():
        raise OptionError(
            f"Suites have versions and no aliases: write {name}, which is the latest, or {name}@{max(versions)}."
        )
    version = int(selector) if selector else max(versions)
    if version not in versions:
        raise OptionError(f"The suite {name!r} has no version {version}. It has {len(versions)}.")
    row = store.row("SELECT content FROM suites WHERE name = ? AND version = ?", (name, version))
    assert row is not None
    return read_suite(row[0])


def export(store: Store, folder: Path) -> list[Path]:
    """Write the latest version of each kept suite as ``name.yaml``."""
    written = []
    for row in saved(store):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{row['name']}.yaml"
        path.write_text(get(store, str(row["name"])).text, "utf-8")
        written.append(path)
    return written


def read_folder(folder: Path) -> list[tuple[str, str]]:
    """Name and text of each suite in a folder, checked.

    Raises:
        DataError: one cannot be read.
    """
    found = []
    for path in sorted(folder.glob("*.yaml")):
        aliases.check_name(KIND, path.stem)
        found.append((path.stem, read_suite(path).text))
    return found


def _text(given: str | Path) -> tuple[str, Path | None, str]:
    if isinstance(given, str) and "\n" in given:
        return given, None, "the suite"
    path = Path(given).expanduser()
    try:
        return path.read_text("utf-8"), path.parent, str(path)
    except (OSError, ValueError) as e:
        why = e.strerror if isinstance(e, OSError) and e.strerror else "it is no text in UTF-8"
        raise DataError(f"The suite {str(path)!r} cannot be read: {why}. Name a YAML file.") from e


def parse_yaml(text: str, where: str) -> tuple[Any, dict[tuple[Any, ...], int]]:
    """The value of a YAML text, and the lines of its parts by their path.

    Raises:
        DataError: it is no YAML, or a key is there twice; with the line.
    """
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[tuple[Any, ...], int] = {}
        _lines(node, (), lines, where)
        value = yaml.safe_load(text)
    except DataError:
        raise
    except ValueError as e:
        raise DataError(f"{where} has a value that cannot be read: {e}. Put it in quotes.") from e
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark is not None else ""
        problem = getattr(e, "problem", None) or str(e)
        raise DataError(f"{where}{line} is no YAML: {problem}. Correct that line.") from e
    except RecursionError as e:
        raise DataError(f"{where} nests too deep to be read.") from e
    return value, lines


def _lines(node: Any, path: tuple[Any, ...], found: dict[tuple[Any, ...], int], where: str) -> None:
    """Add the lines of a node's parts; a key that is there twice is an error, for one would be lost."""
    import yaml

    if node is None or len(path) > 3:
        return
    found[path] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            name = str(getattr(key, "value", ""))
            inside = (*path, name)
            if inside in found:
                raise DataError(
                    f"{where} line {key.start_mark.line + 1}: {name} is there a second time (first in line "
                    f"{found[inside]}). Write one list, or one key, with all of it."
                )
            _lines(child, inside, found, where)
    elif isinstance(node, yaml.SequenceNode):
        for place, child in enumerate(node.value):
            _lines(child, (*path, place), found, where)


def _gates(given: Any, where: str, lines: Mapping[tuple[Any, ...], int]) -> tuple[Gate, ...]:
    if not isinstance(given, list):
        raise DataError(
            f"{where}: gates is a list of demands, such as - {{metric: exact, at_least: 0.7}}"
        )
    return tuple(_gate(one, where, lines.get(("gates", i), 0)) for i, one in enumerate(given))


def _gate(given: Any, where: str, line: int) -> Gate:
    at = f"{where} line {line}"
    if not isinstance(given, Mapping) or "metric" not in given:
        raise DataError(f"{at}: a gate names a metric, as in {{metric: exact, at_least: 0.7}}")
    check_keys(given, GATE_KEYS, where, line, "A gate")
    kinds = [kind for kind in BOUNDS if kind in given]
    if len(kinds) != 1:
        raise DataError(f"{at}: a gate has one of {', '.join(BOUNDS)}; this has {len(kinds)}.")
    kind = kinds[0]
    limit = given[kind]
    if kind in ("never", "always"):
        if limit is not True:
            raise DataError(f"{at}: write {kind}: true")
        limit = 0.0
    elif not is_number(limit):
        raise DataError(f"{at}: {kind} is a number, not {limit!r:.60}.")
    if kind == "not_worse_by" and limit <= 0:
        raise DataError(f"{at}: not_worse_by is a loss above 0 that does not matter, as in 0.05.")
    if kind == "better_by" and limit < 0:
        raise DataError(
            f"{at}: better_by is 0 or more; for a loss that does not matter: not_worse_by."
        )
    part = "" if given.get("slice") is None else str(given["slice"])
    if part and kind not in ("at_least", "at_most"):
        raise DataError(f"{at}: slice goes with at_least and at_most.")
    return Gate(str(given["metric"]), kind, float(limit), str(part), line)


def is_number(value: Any) -> bool:
    """Whether a value of YAML is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _variant(given: Any, name: str, options: Mapping[str, Any], where: str) -> Variant | None:
    if given is None:
        return None
    if isinstance(given, str):
        made = as_variant(given)
    elif isinstance(given, Mapping):
        known = ("prompt", "column", "name", *OPTIONS)
        check_keys(given, known, where, 0, f"The {name}")
        settings = {k: v for k, v in given.items() if k in OPTIONS}
        made = Variant(
            prompt=given.get("prompt"),
            column=str(given.get("column") or ""),
            name=str(given.get("name") or ""),
            options=settings,
        )
    else:
        raise DataError(
            f"{where}: {name} is a prompt such as support@3, or a mapping with prompt and model."
        )
    return made if made.prompt is None else made.with_options(**options)


def check_keys(
    given: Mapping[Any, Any], known: Sequence[str], where: str, line: int, what: str
) -> None:
    """Raise a DataError for a key that is not known; it proposes the nearest one."""
    for key in given:
        if key not in known:
            at = f"{where} line {line}" if line else where
            raise DataError(
                f"{at}: {what} has no key {str(key)!r}.{did_you_mean(str(key), known)} Keys: "
                f"{', '.join(known)}."
            )


def _mapping(given: Any, name: str, where: str) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise DataError(f"{where}: {name} is a mapping of settings, such as {{temperature: 0}}.")
    return {str(k): v for k, v in given.items()}


def _metrics(given: Any, where: str) -> list[str]:
    if given is None:
        return []
    found = given if isinstance(given, list) else [given]
    if not all(isinstance(one, str) for one in found):
        raise DataError(f'{where}: metrics is a list of names, such as [exact, "latency<2"].')
    return found


def _optional(value: Mapping[str, Any], key: str) -> str | None:
    return str(value[key]) if value.get(key) is not None else None


def _whole(given: Any, where: str) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise DataError(f"{where}: repeat is a whole number from 1, not {given!r:.60}.")
    return given


def _confidence(given: Any, where: str) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0.5 <= given < 1:
        raise DataError(f"{where}: confidence is between 0.5 and 1, as in 0.95, not {given!r:.60}.")
    return float(given)
