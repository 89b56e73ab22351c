"""The steps of a preparation; each takes the rows that are left and returns those that stay."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmops_jupyter.data.examples import CHAT, TEXT, Example, Format, fault_of
from llmops_jupyter.data.preparing import balance, cleaning, languages, leaks, quality
from llmops_jupyter.data.preparing.doubles import Comparer, find_near, same_answer
from llmops_jupyter.data.preparing.masking import Masker
from llmops_jupyter.data.preparing.presidio import presidio_redactor
from llmops_jupyter.data.preparing.recipe import Recipe
from llmops_jupyter.data.preparing.sieve import Entry, Sieve, Tell, paced, plain, shown_text
from llmops_jupyter.data.preparing.words import normal
from llmops_jupyter.errors import DataError, LLMOpsError, OptionError, did_you_mean
from llmops_jupyter.privacy import redact

Entries = list[Entry]
EXAMPLES, PREVIEWS = 3, 3
# Where so many rows quote their question, that is the task (extraction, correction), not a leak.
TASK = 0.2
# The same answer to so many questions is worth a word.
SAME_ANSWER = 5
# Blanks that a table would not show.
_BLANKS = re.compile(r" +(?=\\n|$)|(?<= ) +")


@dataclass
class Found:
    """What the steps saw besides the rows that went."""

    changes: Counter[str] = field(default_factory=Counter)
    changed: list[dict[str, Any]] = field(default_factory=list)
    changed_rows: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    pii: Counter[str] = field(default_factory=Counter)
    pii_rows: int = 0
    conflicts: list[dict[str, Any]] = field(default_factory=list)
    templated: list[dict[str, Any]] = field(default_factory=list)
    templated_rows: int = 0
    contamination: list[dict[str, Any]] = field(default_factory=list)
    same_answers: list[dict[str, Any]] = field(default_factory=list)
    previews: list[dict[str, Any]] = field(default_factory=list)
    tokens: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass
class Work:
    """What all steps share."""

    recipe: Recipe
    format: Format
    sieve: Sieve
    tell: Tell
    found: Found = field(default_factory=Found)

    def over(self, entries: Entries, what: str, stays: Callable[[Entry], bool]) -> Entries:
        """The rows that stay, one asked after the other."""
        return [entry for entry in paced(entries, what, self.tell) if stays(entry)]


def read(work: Work, entries: Entries) -> Entries:
    """Rows that have the form of the data set, cleaned."""
    repair = cleaning.encoding_repair() if work.recipe.clean else None
    if work.recipe.clean and repair is None:
        work.found.notes.append(
            "Broken encodings were not repaired, since ftfy is not installed: "
            'pip install "llmops-jupyter[finetune]"'
        )

    def stays(entry: Entry) -> bool:
        try:
            work.format.read(entry.row)
        except DataError as e:
            return not work.sieve.drop(entry, "unreadable", str(e))
        if work.recipe.clean:
            _clean(work, entry, repair)
        entry.row = _with_system(work.format, entry.row)
        entry.example = work.format.read(entry.row)
        fault = fault_of(entry.example)
        rule = "empty" if "empty" in fault else "roles"
        return not (fault and work.sieve.drop(entry, rule, fault))

    return work.over(entries, "reading and cleaning", stays)


def _clean(work: Work, entry: Entry, repair: cleaning.Repair | None) -> None:
    before = work.format.texts_of(entry.row)
    made = [cleaning.clean(text, repair) for text in before]
    after = [text for text, _ in made]
    if after == before:
        return
    work.found.changed_rows += 1
    work.found.changes.update({kind for _, kinds in made for kind in kinds})
    entry.row = work.format.write(entry.row, after)
    if len(work.found.changed) < EXAMPLES:
        was, now, kinds = next((b, a, k) for b, (a, k) in zip(before, made, strict=True) if a != b)
        shown = {"row": entry.row_id, "repaired": ", ".join(kinds)}
        work.found.changed.append({**shown, **_around(was, now)})


def _around(before: str, after: str) -> dict[str, str]:
    """Where two texts begin to differ, with what is invisible made visible."""
    same = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b),
        min(len(before), len(after)),
    )
    start = max(0, same - 20)
    return {
        name: _BLANKS.sub(_dots, repr(redact(text[start : start + 80])[0])[1:-1])
        for name, text in (("before", before), ("after", after))
    }


def _dots(blanks: re.Match[str]) -> str:
    return "·" * len(blanks[0])


def _with_system(format_: Format, row: dict[str, Any]) -> dict[str, Any]:
    """A conversation with the system message of its format written into it."""
    if format_.kind != CHAT or not format_.system:
        return row
    column = format_.columns[0]
    first = row[column][0]
    if first.get("role", first.get("from")) == "system":
        return row
    role, content = ("role", "content") if "role" in first else ("from", "value")
    return {**row, column: [{role: "system", content: format_.system}, *row[column]]}


def language(work: Work, entries: Entries) -> Entries:
    """Rows in the languages that were asked for; the mix is counted where it can be."""
    wanted, guess = languages.wanted_languages(work.recipe.language), languages.guesser()
    if guess is None:
        work.found.notes.append(
            "Languages were not counted, since py3langid is not installed: "
            'pip install "llmops-jupyter[finetune]"'
        )
        return entries

    def stays(entry: Entry) -> bool:
        code = guess(learned(entry.example)) or guess(entry.example.whole)
        work.found.languages[code or "?"] += 1
        wrong = bool(wanted and code and code not in wanted)
        return not (wrong and work.sieve.drop(entry, "language", f"the language is {code}"))

    return work.over(entries, "languages", stays)


def learned(example: Example) -> str:
    """What a model learns to write: the answer, or the whole text."""
    return example.text or example.answer


def good(work: Work, entries: Entries) -> Entries:
    """Rows whose answer or text keeps the rules of quality."""
    if not work.recipe.quality:
        return entries
    whole = work.format.kind == TEXT

    def stays(entry: Entry) -> bool:
        fault = quality.fault_of_text(learned(entry.example), whole=whole)
        return fault is None or not work.sieve.drop(entry, *fault)

    return work.over(entries, "quality", stays)


def unleaked(work: Work, entries: Entries) -> Entries:
    """Rows whose answer does not stand in the question; all of them where that is the task."""
    said = [leaks.leaked(entry.example) for entry in entries]
    share = sum(map(bool, said)) / max(1, len(entries))
    task = share > TASK and len(entries) >= 10
    if task:
        work.found.notes.append(
            f"In {share:.0%} of the rows the answer stands in the question. That looks like the task itself "
            "(extraction, correction), so they stay."
        )
    return [
        entry
        for entry, why in zip(entries, said, strict=True)
        if not (why and work.sieve.drop(entry, "leaked", why, flag=task))
    ]


def private(work: Work, entries: Entries) -> Entries:
    """Rows with their personal data as the recipe wants it."""
    how = work.recipe.pii
    take_out = presidio_redactor() if how == "presidio" else redact

    def stays(entry: Entry) -> bool:
        made = [take_out(text) for text in work.format.texts_of(entry.row)]
        counts: Counter[str] = Counter()
        for _, kinds in made:
            counts.update(kinds)
        if not counts:
            return True
        work.found.pii.update(counts)
        work.found.pii_rows += 1
        if how == "drop":
            listed = ", ".join(f"{n} × {kind}" for kind, n in sorted(counts.items()))
            return not work.sieve.drop(entry, "pii", listed)
        if how in ("redact", "presidio"):
            entry.row = work.format.write(entry.row, [text for text, _ in made])
            entry.example = work.format.read(entry.row)
        return True

    return work.over(entries, "personal data", stays)


def fitting(work: Work, entries: Entries, masker: Masker | None) -> Entries:
    """Rows that the model's template renders and its context holds."""
    if masker is None:
        work.found.notes.append(
            "Chat template, loss mask and length against the context were not checked: name a model for that."
        )
        return entries

    def stays(entry: Entry) -> bool:
        try:
            masked = masker.masked(entry.example)
        except LLMOpsError as e:
            return not work.sieve.drop(entry, "template", str(e))
        if masked.tokens > masker.context_length:
            detail = f"{masked.tokens:,} tokens; the context has {masker.context_length:,}"
            return not work.sieve.drop(entry, "too long", detail)
        if not masked.learned:
            return not work.sieve.drop(entry, "template", "no token would be learned")
        work.found.tokens[entry.row_id] = masked.tokens
        return True

    return work.over(entries, "chat template", stays)


def previewed(work: Work, entries: Entries, masker: Masker | None) -> None:
    """Note some of the rows that stayed as the model reads them."""
    if masker is None:
        return
    for entry in entries[:PREVIEWS]:
        try:
            masked = masker.masked(entry.example)
        except LLMOpsError:
            continue  # a row of a rule in `keep`
        pieces = [(redact(text)[0], learns) for text, learns in masked.pieces]
        shown = {"row": entry.row_id, "tokens": masked.tokens, "learned": masked.learned}
        work.found.previews.append({**shown, "pieces": pieces})


def single(work: Work, entries: Entries) -> Entries:
    """The first of each row that is there several times, word for word or nearly so."""
    first: dict[tuple[str, ...], str] = {}

    def stays(entry: Entry) -> bool:
        key = tuple(f"{m.role}: {normal(m.content)}" for m in entry.example.messages)
        key = key or (normal(entry.example.text),)
        like = first.setdefault(key, entry.row_id)
        if like == entry.row_id:
            return True
        return not work.sieve.drop(entry, "exact", "the same words", like)

    return _not_near(work, work.over(entries, "exact duplicates", stays))


def _not_near(work: Work, entries: Entries) -> Entries:
    comparer = Comparer(
        [e.example.whole for e in entries],
        [e.example.answer if e.example.messages else None for e in entries],
        near=work.recipe.near,
    )
    found = find_near(comparer, work.tell)
    for place, pair in list(found.templated.items())[:EXAMPLES]:
        work.found.templated.append(
            {
                "row": entries[place].row_id,
                "like": entries[pair.second].row_id,
                "alike": pair.similarity,
                "why they stay": pair.why,
                "text": shown_text(entries[place]),
            }
        )
    work.found.templated_rows = len(
        {*found.templated, *(p.second for p in found.templated.values())}
    )
    stay = []
    for place, entry in enumerate(entries):
        near = found.dropped.get(place)
        detail, like = (
            ("", "")
            if near is None
            else (f"{near.similarity:.1%} of the words", entries[near.second].row_id)
        )
        if near is None or not work.sieve.drop(entry, "near", detail, like):
            stay.append(entry)
    return stay


def uncontaminated(
    work: Work, entries: Entries, against: Sequence[tuple[str, str, Example]]
) -> Entries:
    """Rows that are not in the evaluation sets, given as (data set, row id, example)."""
    if not against:
        return entries
    work.tell(f"contamination: {len(entries):,} rows against {len(against):,}")
    touching = leaks.contacts(
        [e.example for e in entries], [example for _, _, example in against], near=work.recipe.near
    )
    going = {}
    framed = [entries[c.place].row_id for c in touching if c.how == leaks.FRAME]
    if framed:
        shown = ", ".join(framed[:5]) + (" …" if len(framed) > 5 else "")
        work.found.notes.append(
            f"{len(framed):,} rows have the template of a row of the evaluation set and say something else, so they "
            f"stay: {shown}. Look at some of them."
        )
    for contact in (c for c in touching if c.how != leaks.FRAME):
        entry, (name, row_id, example) = entries[contact.place], against[contact.other]
        work.found.contamination.append(
            {
                "row": entry.row_id,
                "how": contact.how,
                "evaluation row": f"{name}:{row_id}",
                "alike": contact.similarity or "",
                "text": shown_text(entry),
                "evaluation text": plain(leaks.asked(example)),
            }
        )
        detail = f"{contact.how}: {contact.detail}"
        going[entry.row_id] = work.sieve.drop(entry, "contaminated", detail, f"{name}:{row_id}")
    return [entry for entry in entries if not going.get(entry.row_id)]


def capped(work: Work, entries: Entries) -> Entries:
    """At most so many rows of each value of a column; which ones stay follows from their ids alone."""
    for column, most in work.recipe.cap.items():
        if entries and column != balance.ANSWER and not any(column in e.row for e in entries):
            known = list(dict.fromkeys(name for e in entries for name in e.row))
            raise OptionError(
                f"There is no column {column!r} to cap.{did_you_mean(column, known)} "
                f"There are: {', '.join(known)}; and {balance.ANSWER}, the answer itself."
            )
        groups: defaultdict[str, Entries] = defaultdict(list)
        for entry in entries:
            groups[balance.value_of(column, entry.row, entry.example)].append(entry)
        over = {
            entry.row_id: f"{column}={plain(value)!r} has {len(group):,} rows, {most:,} stay"
            for value, group in groups.items()
            for entry in sorted(group, key=lambda e: _order(e.row_id))[most:]
        }
        entries = [
            e
            for e in entries
            if e.row_id not in over or not work.sieve.drop(e, "cap", over[e.row_id])
        ]
    return entries


def _order(row_id: str) -> bytes:
    return hashlib.blake2b(row_id.encode(), digest_size=8).digest()


def compared(work: Work, entries: Entries) -> None:
    """Note questions with several answers, and answers that many questions share."""
    by_question: defaultdict[str, Entries] = defaultdict(list)
    by_answer: defaultdict[str, Entries] = defaultdict(list)
    for entry in entries:
        if entry.example.messages:
            by_question[normal(entry.example.prompt)].append(entry)
            by_answer[normal(entry.example.answer)].append(entry)
    for group in by_question.values():
        first = group[0].example.answer
        other = next((e for e in group if not same_answer(first, e.example.answer)), None)
        if other is not None:
            work.found.conflicts.append(
                {
                    "question": plain(group[0].example.prompt),
                    "rows": ", ".join(e.row_id for e in group[:5]),
                    "answer": plain(first),
                    "another": plain(other.example.answer),
                }
            )
    if len(by_answer) * balance.ROWS_PER_LABEL <= len(entries):
        return  # labels, which many rows are meant to share
    common = sorted((g for g in by_answer.values() if len(g) >= SAME_ANSWER), key=len, reverse=True)
    for group in common[:10]:
        work.found.same_answers.append(
            {"answer": plain(group[0].example.answer), "rows": len(group)}
        )
