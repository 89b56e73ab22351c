"""From data sets to what a run learns from: examples as tokens, apart from those it is looked at with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.data.examples import Example, Format, fault_of
from llmops_jupyter.data.splitting import assign
from llmops_jupyter.data.values import canonical, digest
from llmops_jupyter.errors import DataError, LLMOpsError
from llmops_jupyter.finetune.job import Sample
from llmops_jupyter.finetune.packing import Tokens
from llmops_jupyter.finetune.recipe import Recipe
from llmops_jupyter.finetune.tokens import Encoder
from llmops_jupyter.finetune.training import Material

Items = Sequence[tuple[str, Mapping[str, Any]]]
SHOWN = 5
# Fewer different examples than this cannot be split into ones to learn from and ones to look at.
FEWEST = 10


@dataclass(frozen=True)
class Prepared:
    """Material with remarks on what was left out, and the samples to answer."""

    material: Material
    samples: tuple[Sample, ...]
    notes: tuple[str, ...]


def prepare(
    train: Items,
    evals: Items | None,
    form: Format,
    encoder: Encoder,
    recipe: Recipe,
    *,
    tell: Callable[[str], None] = lambda _: None,
) -> Prepared:
    """Turn rows into tokens, and set eval examples apart where none are given.

    Equal examples stay on one side; those to learn from that are eval examples too are left out.

    Args:
        train: ids and values of the rows to learn from.
        evals: those to look at; a share of `train` if None.
        form: how rows are read.
        encoder: tokens of the model.
        recipe: says how long an example may be, and which share is set apart.
        tell: gets a line of progress.

    Raises:
        DataError: rows are faulty (the first ones are named), too few, all alike, or all too long.
    """
    read = _read(train, form, "")
    looked = None if evals is None else _read(evals, form, " of the eval data")
    different = {_key(e) for _, e in read}
    _check_enough(len(different), split=looked is None and bool(recipe.eval_share))
    notes: list[str] = []
    if looked is None:
        read, looked = _split(read, recipe)
    else:
        known = {_key(e) for _, e in looked}
        kept = [(i, e) for i, e in read if _key(e) not in known]
        if len(kept) < len(read):
            notes.append(
                f"{len(read) - len(kept):,} of the examples are eval examples too and not learned"
            )
        read = kept
        if len({_key(e) for _, e in read}) < 2:
            raise DataError(
                f"{'All' if not read else 'All but one of the'} examples are eval examples too. Name another data "
                "set for --eval."
            )
    most = min(recipe.max_length or encoder.context_length, encoder.context_length)
    learned = _encoded(read, encoder, most, notes, tell)
    seen = _encoded(looked, encoder, most, notes, tell)
    if len({_key(e) for _, e, _ in learned}) < 2:
        raise DataError(
            f"{'All' if not learned else 'All but one of the'} examples are longer than {most:,} tokens. "
            f"{_remedy(recipe, most, encoder.context_length)}"
        )
    if evals is not None and not seen:
        raise DataError(
            "No example of the eval data can be looked at: "
            + (f"all are longer than {most:,} tokens." if looked else "it has no rows.")
            + " Name another data set for --eval."
        )
    chosen = [(i, e, s) for (i, e, s) in seen if e.messages][: recipe.samples]
    samples = tuple(Sample(i, e.prompt, e.answer, s[-1].ids[: s[-1].learned]) for i, e, s in chosen)
    return Prepared(
        Material([s for _, _, s in learned], [s for _, _, s in seen]), samples, tuple(notes)
    )


def _remedy(recipe: Recipe, most: int, context: int) -> str:
    """What helps against examples that are too long."""
    if recipe.max_length is not None and most < context:
        return f"Allow more with --max-length, up to {context:,}."
    return "That is all that the model can read: shorten them, or choose a model with a longer context."


def _read(items: Items, form: Format, where: str) -> list[tuple[str, Example]]:
    found: list[tuple[str, Example]] = []
    faults: list[str] = []
    for row_id, row in items:
        try:
            example = form.read(row)
        except DataError as e:
            faults.append(f"row {row_id}{where}: {e}")
            continue
        if fault := fault_of(example):
            faults.append(f"row {row_id}{where}: {fault}")
        else:
            found.append((row_id, example))
    _raise_for(faults)
    return found


def _raise_for(faults: Sequence[str]) -> None:
    if not faults:
        return
    more = f" and {len(faults) - SHOWN:,} more" if len(faults) > SHOWN else ""
    raise DataError(
        f"{_count(faults, 'row')} cannot be learned from: {'; '.join(f.rstrip('.') for f in faults[:SHOWN])}"
        f"{more}. %data prepare leaves such rows out and says why."
    )


def _count(found: Sequence[str], noun: str) -> str:
    return f"{len(found):,} {noun}{'' if len(found) == 1 else 's'}"


def _check_enough(different: int, *, split: bool) -> None:
    if different < 2:
        raise DataError(
            "There is only one example to learn from, or all are the same. Give some dozens that differ."
        )
    if split and different < FEWEST:
        raise DataError(
            f"{different} different examples are too few to set some apart. Give at least {FEWEST}, name "
            "eval data with --eval, or switch looking off with --eval-share 0."
        )


def _split(
    read: Sequence[tuple[str, Example]], recipe: Recipe
) -> tuple[list[tuple[str, Example]], list[tuple[str, Example]]]:
    """Examples to learn from and to look at; which is which follows from their content and the seed."""
    if not recipe.eval_share:
        return list(read), []
    keys = [_key(e) for _, e in read]
    items: list[tuple[str, dict[str, Any]]] = [(key, {}) for key in dict.fromkeys(keys)]
    parts = {"eval": recipe.eval_share, "train": 1 - recipe.eval_share}
    chosen = assign(items, parts, seed=recipe.seed, by=None, stratify=None)
    if len(set(chosen.values())) < 2:
        # So few examples may all fall on one side; then one goes to the other.
        only = next(iter(chosen.values()))
        chosen[min(chosen)] = "eval" if only == "train" else "train"
    sides: dict[str, list[tuple[str, Example]]] = {"train": [], "eval": []}
    for key, pair in zip(keys, read, strict=True):
        sides[chosen[key]].append(pair)
    return sides["train"], sides["eval"]


def _key(example: Example) -> str:
    """What is equal for equal examples."""
    values = {"messages": [m.as_dict() for m in example.messages], "text": example.text}
    return digest(canonical(values))


def _encoded(
    read: Sequence[tuple[str, Example]],
    encoder: Encoder,
    most: int,
    notes: list[str],
    tell: Callable[[str], None],
) -> list[tuple[str, Example, list[Tokens]]]:
    found: list[tuple[str, Example, list[Tokens]]] = []
    faults: list[str] = []
    long: list[str] = []
    for number, (row_id, example) in enumerate(read):
        if number % 200 == 199:
            tell(f"reading examples: {number + 1:,} of {len(read):,}")
        try:
            sequences = encoder.encode(example, row_id)
        except LLMOpsError as e:
            faults.append(f"row {row_id}: {e}")
            continue
        if max(len(s.ids) for s in sequences) > most:
            long.append(row_id)
        else:
            found.append((row_id, example, sequences))
    _raise_for(faults)
    if long:
        shown = ", ".join(long[:SHOWN]) + (" …" if len(long) > SHOWN else "")
        notes.append(
            f"left out, since longer than {most:,} tokens: {_count(long, 'example')} ({shown})"
        )
    return found
