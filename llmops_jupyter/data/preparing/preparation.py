"""From rows to a cleaned version: the rules one after the other, and nothing written before the end."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.data.dataset import Dataset
from llmops_jupyter.data.examples import Example, Format, fault_of, find_format
from llmops_jupyter.data.preparing import kept, languages, steps
from llmops_jupyter.data.preparing.balance import balance_of, quantiles
from llmops_jupyter.data.preparing.masking import Masker
from llmops_jupyter.data.preparing.prepared import Prepared
from llmops_jupyter.data.preparing.recipe import RULES, Recipe
from llmops_jupyter.data.preparing.sieve import Entry, Sieve, Tell
from llmops_jupyter.data.preparing.words import words_of
from llmops_jupyter.data.values import Row
from llmops_jupyter.errors import DataError, LLMOpsError, OptionError
from llmops_jupyter.store import aliases

if TYPE_CHECKING:
    from llmops_jupyter.data.stage import Datasets

CLEAN, DROPPED = "clean", "dropped"
Items = Sequence[tuple[str, Row]]
BINS = 24


def prepare(
    data: Datasets,
    rows: Any,
    name: str | None,
    recipe: Recipe,
    *,
    against: Any = (),
    masker: Masker | None = None,
    tell: Tell = lambda _: None,
) -> Prepared:
    """See `Datasets.prepare`."""
    rows = _looked_up(data, rows)
    target = _target(rows, name)
    source, items = _items(data, rows)
    evaluation = _evaluation(data, against, items, recipe)
    columns = list(dict.fromkeys(column for _, row in items for column in row))
    format_ = find_format(
        columns,
        kind=recipe.format,
        prompt=recipe.prompt,
        answer=recipe.answer,
        system=recipe.system,
    )
    languages.wanted_languages(recipe.language)
    sieve = Sieve(recipe.keep)
    work = steps.Work(recipe, format_, sieve, tell)
    entries = _sifted(work, items, evaluation, masker)
    if not entries:
        raise DataError(_nothing_left(sieve, len(items)))
    steps.compared(work, entries)
    steps.previewed(work, entries, masker)
    tell("balance")
    return _written(data, target, source, len(items), work, entries, [n for n, _, _ in evaluation])


def _sifted(
    work: steps.Work,
    items: Items,
    evaluation: Sequence[tuple[str, str, Example]],
    masker: Masker | None,
) -> list[Entry]:
    entries = [Entry(row_id, row) for row_id, row in items]
    entries = steps.read(work, entries)
    entries = steps.language(work, entries)
    entries = steps.good(work, entries)
    entries = steps.unleaked(work, entries)
    entries = steps.private(work, entries)
    entries = steps.fitting(work, entries, masker)
    entries = steps.single(work, entries)
    entries = steps.uncontaminated(work, entries, evaluation)
    return steps.capped(work, entries)


def _looked_up(data: Datasets, rows: Any) -> Any:
    """A data set in the place of its reference."""
    is_reference = isinstance(rows, str) and not Path(rows).expanduser().is_file()
    return data.get(rows) if is_reference else rows


def _items(data: Datasets, rows: Any) -> tuple[str, Items]:
    """The source (a reference, a path, '' for rows that have no name), and its rows with their ids."""
    items = list(data.identified(rows))
    if not items:
        raise DataError("There are no rows to prepare. Check the source.")
    path = str(rows) if isinstance(rows, str | Path) else ""
    return (rows.ref if isinstance(rows, Dataset) else path), items


def _target(rows: Any, name: str | None) -> str:
    """The name of the cleaned data set."""
    if name is None and isinstance(rows, Dataset):
        name = f"{rows.name}.{CLEAN}"
    if name is None:
        raise OptionError("Name the data set that these rows become, with name= or --name.")
    return aliases.check_name("data", name)


def _evaluation(
    data: Datasets, against: Any, items: Items, recipe: Recipe
) -> list[tuple[str, str, Example]]:
    """The rows of the evaluation sets that can be read, as (data set, row id, example)."""
    several = isinstance(against, list | tuple) and not all(isinstance(v, Mapping) for v in against)
    found = []
    for number, given in enumerate(against if several else [against] if against else [], 1):
        source, others = _items(data, _looked_up(data, given))
        if dict(others) == dict(items):
            raise OptionError(
                f"{source or 'The evaluation set'} has the rows that are to be prepared: all of them would go. Name "
                "the data set that the trained model will be evaluated on."
            )
        name = source or f"evaluation set {number}"
        found += [(name, row_id, example) for row_id, example in _readable(name, others, recipe)]
    return found


def _readable(name: str, items: Items, recipe: Recipe) -> list[tuple[str, Example]]:
    """Rows of an evaluation set; where they have no known form, all their texts count."""
    format_ = _form_of(items, recipe)
    found = []
    for row_id, row in items:
        try:
            example = format_.read(row) if format_ is not None else None
        except LLMOpsError:
            example = None
        if example is None or fault_of(example) not in ("", "the answer is empty"):
            example = Example(text="\n".join(v for v in row.values() if isinstance(v, str)))
        if example.whole.strip():
            found.append((row_id, example))
    if not found:
        raise DataError(f"{name} has no text to compare with. Name a data set with texts.")
    return found


def _form_of(items: Items, recipe: Recipe) -> Format | None:
    """How rows of an evaluation set are read: by the columns of the recipe where it has them, else by its own."""
    columns = list(dict.fromkeys(column for _, row in items for column in row))
    chosen: dict[str, Any] = {
        "kind": recipe.format,
        "prompt": recipe.prompt,
        "answer": recipe.answer,
    }
    for options in (chosen, {}):
        with suppress(OptionError):
            return find_format(columns, **options)
    return None


def _nothing_left(sieve: Sieve, rows: int) -> str:
    gone = ", ".join(f"{n:,} by {rule!r} ({RULES[rule]})" for rule, n in sieve.counts.items())
    first = sieve.dropped[0]
    return (
        f"None of the {rows:,} rows would stay: {gone}. For example row {first.entry.row_id}: {first.detail}. "
        "Nothing was written. Mend the rows, or keep those of a rule: keep=['RULE'] or --keep RULE."
    )


def _written(
    data: Datasets,
    target: str,
    source: str,
    rows: int,
    work: steps.Work,
    entries: Sequence[Entry],
    against: Sequence[str],
) -> Prepared:
    """The versions and the report, all of them or none."""
    recipe = work.recipe.as_dict()
    if against:
        recipe["against"] = list(dict.fromkeys(against))
    report = _report(work, entries)
    note = ", ".join(f"{key} {_short(value)}" for key, value in recipe.items()) or "default rules"
    with data.store.write():
        cleaned = data.add(
            target,
            data.with_ids([(e.row_id, e.row) for e in entries]),
            source=source,
            note=f"prepared: {note}",
        )
        dropped = None
        if work.sieve.dropped:
            gone = data.with_ids([one.as_row() for one in work.sieve.dropped])
            dropped = data.add(
                f"{target}.{DROPPED}", gone, source=source, note=f"left out of {cleaned.ref}"
            )
        made = Prepared(cleaned, dropped, source=source, rows=rows, recipe=recipe, **report)
        kept.keep(data, made)
    return kept.find(data, cleaned.ref)


def _report(work: steps.Work, entries: Sequence[Entry]) -> dict[str, Any]:
    """What the rules and the steps saw, by the names that it has in `Prepared`."""
    sieve, found = work.sieve, work.found
    examples = [e.example for e in entries]
    balance = balance_of([(e.row_id, e.row) for e in entries], examples, work.format).as_dict()
    tokens = [found.tokens[e.row_id] for e in entries if e.row_id in found.tokens]
    words = [len(words_of(example.whole)) for example in examples]
    balance["histogram"] = _histogram(tokens or words, "tokens" if tokens else "words")
    seen = {
        **vars(found),
        "pii": found.pii.most_common(),
        "languages": found.languages.most_common(),
    }
    for name in ("changes", "pii", "languages"):
        seen[name] = dict(seen[name])
    return {
        **seen,
        "counts": sieve.counts,
        "flagged": dict(sieve.flagged),
        "examples": sieve.examples,
        "balance": balance,
        "tokens": quantiles(tokens),
    }


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{k}={v}" for k, v in value.items())
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _histogram(values: Sequence[int], unit: str) -> dict[str, Any]:
    """Counts in bins whose edges grow by a constant factor."""
    if not values:
        return {}
    low, high = max(1, min(values)), max(2, *values) + 1
    factor = math.log(high / low) / BINS
    edges = [low * math.exp(factor * i) for i in range(BINS + 1)]
    counts = Counter(min(BINS - 1, int(math.log(max(low, v) / low) / factor)) for v in values)
    return {"unit": unit, "edges": edges, "counts": [counts[i] for i in range(BINS)]}
