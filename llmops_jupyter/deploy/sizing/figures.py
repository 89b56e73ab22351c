"""What a level of a load came to: percentiles with intervals, throughput, goodput, faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from llmops_jupyter.deploy.sizing.calling import CUT, Call
from llmops_jupyter.deploy.sizing.load import Level, Limits, Load
from llmops_jupyter.deploy.sizing.measuring import Raw
from llmops_jupyter.evaluation.statistics.estimate import Numbers

SHARES = (0.5, 0.95, 0.99)
NAMES = ("p50", "p95", "p99")
RESAMPLES = 999
CONFIDENCE = 0.95
# The generator says that it was the limit when it used so much of a core, or was late by more than this and that
# share of the median gap between tokens.
BUSY, LATE_S, LATE_SHARE = 0.85, 0.01, 0.5
# A gap so many times the median one is long: something stopped the row.
LONG = 2.5


@dataclass(frozen=True)
class Quantile:
    """A percentile with its interval (percentile bootstrap over requests), in seconds."""

    value: float
    low: float
    high: float

    def words(self) -> str:
        """For people, in milliseconds or seconds."""
        if self.high >= 10:
            return f"{self.value:.1f} ({self.low:.1f}–{self.high:.1f}) s"
        return f"{self.value * 1e3:.0f} ({self.low * 1e3:.0f}–{self.high * 1e3:.0f}) ms"


Quantiles = Mapping[str, Quantile]


@dataclass(frozen=True)
class LevelResult:
    """What a level came to. Seconds; rates are those of the time after the warm-up.

    Args:
        level: that was run.
        seconds: that were measured.
        requests: that were due in them, of which `answered` got a whole answer.
        answered: requests with a whole answer.
        cut: requests that had none when the load ended; no faults.
        errors: faults by kind.
        refused: answers of a full server (429 or 503) that were sent again.
        waited: seconds that was waited after them, all together.
        request_rate: whole answers a second.
        token_rate: tokens of answers a second.
        rows: requests that were decoded at once, on average.
        stalled: share of the time from the first to the last token that is the excess of long gaps over the median one.
        input_tokens: of a prompt, on average; None if the server does not say.
        output_tokens: of an answer, on average.
        tokens_counted: share of the answers of which the server counted the tokens.
        ttft: seconds to the first token, percentiles.
        itl: seconds from one piece to the next, percentiles over all gaps.
        tpot: seconds a token after the first, averaged over an answer; percentiles over answers.
        latency: seconds to the end of the answer, percentiles.
        good: share of the requests that got a whole answer within the limits; None without limits.
        goodput: good answers a second.
        cpu: share of a core that the generator used.
        late: seconds that the generator was late, 99th percentile.
        limit: why the generator, and not the server, was the limit; '' if it was not.
        whole: whether the level ran to its end.
        answers: of each answer: prompt tokens, answer tokens, first token, end; for the sizing.
    """

    level: Level
    seconds: float
    requests: int
    answered: int
    cut: int
    errors: Mapping[str, int]
    refused: int
    waited: float
    request_rate: float
    token_rate: float
    rows: float
    stalled: float
    input_tokens: float | None
    output_tokens: float
    tokens_counted: float
    ttft: Quantiles
    itl: Quantiles
    tpot: Quantiles
    latency: Quantiles
    good: float | None
    goodput: float | None
    cpu: float
    late: float
    limit: str
    whole: bool
    answers: Sequence[tuple[int | None, int, float, float]] = field(repr=False, default=())

    def row(self) -> dict[str, Any]:
        """The level as a row for people."""
        row: dict[str, Any] = {
            "load": self.level.words(),
            "answers": f"{self.answered} of {self.requests}",
            "tok/s": f"{self.token_rate:.1f}",
            "req/s": f"{self.request_rate:.2f}",
        }
        for name, values in (("first token", self.ttft), ("token to token", self.itl)):
            for share in ("p50", "p95"):
                row[f"{name} {share}"] = values[share].words() if share in values else "–"
        if self.good is not None:
            row["good"] = f"{self.good:.0%}, {self.goodput:.2f}/s"
        if self.refused:
            row["429"] = str(self.refused)
        if self.errors:
            row["errors"] = ", ".join(f"{n} {kind}" for kind, n in self.errors.items())
        return row

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LevelResult:
        """A level's result from what `as_dict` gave."""
        given = dict(values)
        given["level"] = Level(**given["level"])
        for name in ("ttft", "itl", "tpot", "latency"):
            given[name] = {share: Quantile(**q) for share, q in given[name].items()}
        given["answers"] = tuple(tuple(one) for one in given["answers"])
        return cls(**given)


def figures(level: Level, raw: Raw, load: Load) -> LevelResult:
    """The figures of a level.

    Requests are counted that were due after the warm-up; tokens and refusals by when they came, whichever request
    they are of: so neither the first nor the last requests bend the rate, and a client that a full server turns away
    all the time is seen.
    """
    end = raw.lasted
    if end is None:
        end = max((c.due + c.total for c in raw.calls), default=0.0)
        end = min(end, load.warmup_s + load.duration_s)
    start = min(load.warmup_s, end)
    seconds = max(end - start, 1e-9)
    counted = [c for c in raw.calls if start <= c.due < end]
    whole = [c for c in counted if not c.error]
    faults = Counter(c.error for c in counted if c.error and c.error != CUT)
    ended = sum(not c.error and start <= c.due + c.total < end for c in raw.calls)
    good = _good(counted, load.limits)
    itl = _gaps(whole)
    waits = [s for c in raw.calls for at, s in c.waits if start <= c.due + at < end]
    return LevelResult(
        level=level,
        seconds=seconds,
        requests=len(counted),
        answered=len(whole),
        cut=sum(c.error == CUT for c in counted),
        errors=dict(faults.most_common()),
        refused=len(waits),
        waited=sum(waits),
        request_rate=ended / seconds,
        token_rate=sum(_tokens_within(c, start, end) for c in raw.calls) / seconds,
        rows=sum(_decoding_within(c, start, end) for c in raw.calls) / seconds,
        stalled=_stalled(whole),
        input_tokens=_mean([c.input_tokens for c in whole if c.input_tokens is not None]),
        output_tokens=_mean([c.tokens for c in whole]) or 0.0,
        tokens_counted=_mean([float(c.counted) for c in whole]) or 0.0,
        ttft=quantiles([c.ttft for c in whole if c.ttft is not None]),
        itl=itl,
        tpot=quantiles([x for c in whole if (x := per_token(c)) is not None]),
        latency=quantiles([c.total for c in whole]),
        good=None if good is None else good / max(1, _settled(counted)),
        goodput=None if good is None else good / seconds,
        cpu=raw.cpu,
        late=raw.late,
        limit=_limit(raw, itl),
        whole=raw.lasted is not None and raw.lasted >= load.warmup_s + load.duration_s - 1e-6,
        answers=tuple(
            (c.input_tokens, c.tokens, round(c.ttft or 0.0, 5), round(c.total, 5)) for c in whole
        ),
    )


def per_token(call: Call) -> float | None:
    """Seconds a token after the first; None for an answer of one token."""
    if len(call.pieces) < 2 or call.tokens < 2:
        return None
    return (call.pieces[-1] - call.pieces[0]) / (call.tokens - 1)


def quantiles(values: Sequence[float]) -> dict[str, Quantile]:
    """Percentiles of independent values with their intervals by scipy's percentile bootstrap; {} for no values."""
    import numpy as np
    from scipy.stats import bootstrap

    if not values:
        return {}
    found = np.asarray(values, dtype=np.float64)
    points = np.quantile(found, SHARES)
    if len(found) < 2 or found.min() == found.max():
        low = high = points
    else:

        def statistic(sample: Numbers, axis: int = -1) -> Any:
            return np.quantile(sample, SHARES, axis=axis)

        made = bootstrap((found,), statistic, **_how()).confidence_interval
        low, high = made.low, made.high
    return _named(points, low, high)


def _gaps(calls: Sequence[Call]) -> dict[str, Quantile]:
    """Percentiles of the gaps between pieces; whole answers are drawn, since the gaps of one go together."""
    import numpy as np
    from scipy.stats import bootstrap

    gaps = [np.diff(c.pieces) for c in calls if len(c.pieces) > 1]
    if not gaps:
        return {}
    values = np.concatenate(gaps)
    owners = np.repeat(np.arange(len(gaps)), [len(g) for g in gaps])
    order = np.argsort(values)
    values, owners = values[order], owners[order]

    def statistic(drawn: Any) -> Any:
        weights = np.bincount(drawn, minlength=len(gaps))[owners]
        reached = np.cumsum(weights)
        return values[np.searchsorted(reached, np.array(SHARES) * reached[-1])]

    points = statistic(np.arange(len(gaps)))
    if len(gaps) < 2:
        return _named(points, points, points)
    made = bootstrap(
        (np.arange(len(gaps)),), statistic, vectorized=False, **_how()
    ).confidence_interval
    return _named(points, made.low, made.high)


def _stalled(calls: Sequence[Call]) -> float:
    """The share of the writing that is the excess of long gaps over the median one."""
    import numpy as np

    every = [np.diff(c.pieces) for c in calls if len(c.pieces) > 1]
    gaps = np.concatenate(every) if every else np.zeros(1)
    if gaps.sum() <= 0:
        return 0.0
    median = float(np.median(gaps))
    return float((gaps[gaps > LONG * median] - median).sum() / gaps.sum())


def _how() -> dict[str, Any]:
    import numpy as np

    return {
        "n_resamples": RESAMPLES,
        "confidence_level": CONFIDENCE,
        "method": "percentile",
        "rng": np.random.default_rng(0),
        "batch": 100,
    }


def _named(points: Any, low: Any, high: Any) -> dict[str, Quantile]:
    return {
        name: Quantile(float(p), float(a), float(b))
        for name, p, a, b in zip(NAMES, points, low, high, strict=True)
    }


def _good(calls: Sequence[Call], limits: Limits) -> int | None:
    """Requests with a whole answer within the limits; None without limits."""
    if limits == Limits():
        return None
    return sum(_is_good(c, limits) for c in calls)


def _is_good(call: Call, limits: Limits) -> bool:
    if call.error or call.ttft is None:
        return False
    pace = per_token(call)
    return (limits.ttft_s is None or call.ttft <= limits.ttft_s) and (
        limits.itl_s is None or pace is None or pace <= limits.itl_s
    )


def _settled(calls: Sequence[Call]) -> int:
    return sum(c.error != CUT for c in calls)


def _tokens_within(call: Call, start: float, end: float) -> float:
    """Tokens that came in a stretch of time; a piece stands for its share of the answer's tokens."""
    if not call.pieces:
        return 0.0
    inside = sum(start <= call.due + piece < end for piece in call.pieces)
    return inside * call.tokens / len(call.pieces)


def _decoding_within(call: Call, start: float, end: float) -> float:
    """Seconds of a stretch of time in which an answer was being written."""
    if not call.pieces:
        return 0.0
    first, last = call.due + call.pieces[0], call.due + call.pieces[-1]
    return max(0.0, min(last, end) - max(first, start))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _limit(raw: Raw, itl: Quantiles) -> str:
    """Why the generator was the limit; '' if it was not."""
    if raw.full:
        return "so many requests ran at once that the generator sent no more"
    if raw.cpu > BUSY:
        return f"the generator used {raw.cpu:.0%} of a core, so the server may do better than this"
    median = itl["p50"].value if itl else 0.0
    if raw.late > max(LATE_S, LATE_SHARE * median):
        return (
            f"the generator got its turn up to {raw.late * 1e3:.0f} ms late, since the machine was busy: times are "
            "as much too long; run it on another machine than the server"
        )
    return ""
