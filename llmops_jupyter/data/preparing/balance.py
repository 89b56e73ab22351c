"""How evenly labels, topics, lengths and groups of people are spread, and what would even them out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.data.examples import CHAT, TEXT, Example, Format
from llmops_jupyter.data.preparing import people
from llmops_jupyter.data.preparing.words import words_of
from llmops_jupyter.data.values import Row

# The answer itself, where an option takes a column.
ANSWER = "answer"
MOST_LABELS, WORDS_OF_LABEL, ROWS_PER_LABEL = 100, 5, 3
FEWEST_FOR_TOPICS, MOST_TOPICS, TOPIC_WORDS, MOST_TEXTS = 20, 8, 4, 20_000
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
# A label or topic this many times as frequent as the one in the middle is worth a word.
UNEVEN = 2.0


@dataclass(frozen=True)
class Balance:
    """Counts of labels by column, topics by name, lengths by part, rows by group of people; and advice."""

    labels: Mapping[str, Mapping[str, int]]
    topics: Mapping[str, int]
    lengths: Mapping[str, Sequence[int]]
    people: Sequence[Mapping[str, Any]]
    advice: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        return {
            "labels": {name: dict(counts) for name, counts in self.labels.items()},
            "topics": dict(self.topics),
            "lengths": {name: list(values) for name, values in self.lengths.items()},
            "people": [dict(row) for row in self.people],
            "advice": list(self.advice),
        }


def balance_of(
    rows: Sequence[tuple[str, Row]], examples: Sequence[Example], format_: Format
) -> Balance:
    """The balance of rows that stay."""
    labels = {name: counts for name, counts in _labels(rows, examples, format_).items() if counts}
    topics = topics_of([e.whole for e in examples])
    named = people.counted([e.whole for e in examples], [i for i, _ in rows])
    lengths = {"words": quantiles([len(words_of(e.whole)) for e in examples])}
    if format_.kind != TEXT:
        lengths["words of the question"] = quantiles([len(words_of(e.prompt)) for e in examples])
        lengths["words of the answer"] = quantiles([len(words_of(e.answer)) for e in examples])
    advice = [said for name, counts in labels.items() if (said := _even(name, counts))]
    advice += _topic_advice(topics, len(rows)) + people.advice(named)
    return Balance(labels, topics, lengths, named, advice)


def quantiles(values: Sequence[int]) -> list[int]:
    """The values at `QUANTILES`."""
    ordered = sorted(values)
    return [ordered[int(q * (len(ordered) - 1) + 0.5)] for q in QUANTILES] if ordered else []


def value_of(name: str, row: Row, example: Example) -> str:
    """A row's value of a column, or its answer."""
    return str(row[name]) if name in row else example.answer if name == ANSWER else ""


def _labels(
    rows: Sequence[tuple[str, Row]], examples: Sequence[Example], format_: Format
) -> dict[str, dict[str, int]]:
    """Columns, and short answers, of few values that repeat."""
    columns = {name: None for _, row in rows for name in row if name not in format_.columns}
    answered = [] if format_.kind == TEXT else [_answer_column(format_)]
    found = {}
    for name in [*answered, *columns]:
        values = []
        for (_, row), example in zip(rows, examples, strict=True):
            value = example.answer if name in answered else row.get(name)
            if isinstance(value, str | int | bool):
                values.append(str(value).strip())
        counts = Counter(values)
        if _is_label(counts, len(rows)):
            found[name] = dict(counts.most_common())
    return found


def _answer_column(format_: Format) -> str:
    return ANSWER if format_.kind == CHAT else format_.columns[1]


def _is_label(counts: Counter[str], n: int) -> bool:
    filled = counts.total()
    return (
        2 <= len(counts) <= MOST_LABELS
        and filled >= 0.9 * n
        and filled >= ROWS_PER_LABEL * len(counts)
        and max(len(value.split()) for value in counts) <= WORDS_OF_LABEL
    )


def _even(name: str, counts: Mapping[str, int]) -> str:
    """What would even out a label; '' if it is even enough."""
    ordered = sorted(counts.values(), reverse=True)
    value, most = next(iter(counts.items()))
    middle = ordered[1:][(len(ordered) - 2) // 2]
    if most < UNEVEN * middle:
        return ""
    missing = sum(most - n for n in ordered)
    return (
        f"{name}: {most:,} of {sum(ordered):,} rows are {value!r}; {missing:,} more of the others would even it "
        f"out, or --cap {name}={ordered[1]} (at most {ordered[1]} rows of each)"
    )


def topics_of(texts: Sequence[str]) -> dict[str, int]:
    """Rows of each topic, named by its heaviest words: k-means on TF-IDF; {} for few or empty texts."""
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.feature_extraction.text import TfidfVectorizer

    if len(texts) < FEWEST_FOR_TOPICS:
        return {}
    step = -(-len(texts) // MOST_TEXTS)
    # Words that most rows have belong to a frame; those that one row has make no topic.
    vectorizer = TfidfVectorizer(
        tokenizer=_topic_words,
        token_pattern=None,
        lowercase=False,
        stop_words=sorted(_stop_words()),
        min_df=2,
        max_df=0.8,
        max_features=20_000,
        sublinear_tf=True,
    )
    try:
        vectors = vectorizer.fit_transform(texts[::step])
    except ValueError:
        return {}
    k = min(MOST_TOPICS, max(2, round((len(texts) / 8) ** 0.5)), vectors.shape[0])
    names = vectorizer.get_feature_names_out()
    model = MiniBatchKMeans(k, random_state=0, n_init=5, batch_size=2048).fit(vectors)
    found: Counter[str] = Counter()
    sizes = Counter(model.predict(vectorizer.transform(texts)).tolist())
    for topic, size in sizes.items():
        order = model.cluster_centers_[topic].argsort()[::-1][:TOPIC_WORDS]
        found[", ".join(str(names[i]) for i in order)] += size
    return dict(found.most_common())


def _topic_words(text: str) -> list[str]:
    return [word for word in words_of(text) if not word.isdigit()]


def _stop_words() -> set[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    contracted = {
        "don't",
        "i'm",
        "it's",
        "can't",
        "i've",
        "you're",
        "doesn't",
        "didn't",
        "isn't",
        "i'd",
        "i'll",
    }
    return {*ENGLISH_STOP_WORDS, *contracted}


def _topic_advice(topics: Mapping[str, int], n: int) -> list[str]:
    if len(topics) < 2:
        return []
    (name, most), *others = topics.items()
    middle = [size for _, size in others][(len(others) - 1) // 2]
    if most < UNEVEN * middle or most * len(topics) < UNEVEN * n:
        return []
    said = (
        f"topics: {most:,} of {n:,} rows are about {name}; {most - middle:,} more about "
        f"{others[-1][0]} and the like would even it out"
    )
    return [said]
