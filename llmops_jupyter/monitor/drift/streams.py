"""Streams: what comes in is watched without an end, and may be looked at whenever one likes.

See `statistics.martingale` for why a look costs nothing.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_jupyter import render
from llmops_jupyter.errors import DataError, OptionError, unknown_name
from llmops_jupyter.evaluation.statistics import adjusted
from llmops_jupyter.monitor.drift.baselines import Baseline
from llmops_jupyter.monitor.drift.collecting import hash_of
from llmops_jupyter.monitor.drift.sample import Sample
from llmops_jupyter.monitor.drift.vectors import check_alike
from llmops_jupyter.monitor.drift.watched import Reference, Watched, begin, references, values_of
from llmops_jupyter.render.html import bundle, escaped
from llmops_jupyter.store import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llmops_jupyter.monitor.drift.plots import Capital

# Rows that come in at once at most.
TOGETHER = 2_000
Read = Callable[[Any, int], "tuple[Sample, int]"]
# Which sessions the baseline's kind of traces had before it was made.
Earlier = Callable[[Sequence[str]], set[str]]


@dataclass(frozen=True)
class Change:
    """A feature of a stream.

    Args:
        feature: its name.
        p_value: that holds at every look, corrected for the number of features (Holm).
        rows: of the stream that had a value.
        capital: of the bets against it now; it begins at 1.
        crossed_at: the row of the stream at which it alarmed; None if it has not.
        since: about the row at which the change began; None if it has not alarmed.
    """

    feature: str
    p_value: float
    rows: int
    capital: float
    crossed_at: int | None = None
    since: int | None = None

    @property
    def delay(self) -> int | None:
        """Rows from about where the change began to the alarm."""
        if self.crossed_at is None or self.since is None:
            return None
        return self.crossed_at - self.since

    def row(self) -> dict[str, Any]:
        """The feature as a row of a table."""
        return {
            "feature": self.feature,
            "p (any time)": f"{self.p_value:.3g}",
            "capital": f"{self.capital:,.3g}",
            "rows": self.rows,
            "alarm at row": "" if self.crossed_at is None else self.crossed_at,
            "began near row": "" if self.since is None else self.since,
            "delay": "" if self.delay is None else self.delay,
        }


class Stream:
    """A stream that is watched against a baseline; its state is kept, so that it goes on in another kernel.

    Use `ws.monitor.stream(baseline)` to get one.
    """

    def __init__(
        self,
        store: Store,
        baseline: Baseline,
        read: Read,
        earlier: Earlier,
        *,
        name: str = "default",
        level: float = 0.05,
    ) -> None:
        self.store = store
        self.baseline = baseline
        self.name = name
        self.level = level
        self.rows = 0
        self.skipped = 0
        self.place = baseline.place
        self.notes: tuple[str, ...] = ()
        self._read, self._earlier = read, earlier
        self._features: list[Watched] = []
        self._crossed: dict[str, tuple[int, int]] = {}
        self._sessions: set[int] = set()
        self._measured: dict[str, Reference] = {}
        self._resume()

    def update(self, data: Any = None) -> Stream:
        """Take in what has come since the last update: traces of the baseline's kind, or the rows that are given.

        Of each session its first row is taken in, since the rows after it are no independent ones. Returns the
        stream itself.

        Rows that are given twice count once if they have an id, and twice if they have none. They are taken in some
        thousands at a time, and other kernels may write in between; so may what was taken in before an interrupt stay.

        Raises:
            DataError: rows cannot be read, or their vectors are of another model than the baseline's.
            UnknownNameError: the baseline was removed.
        """
        if data is not None:
            return self._update_with(data)
        while True:
            self._resume()
            before = self.place
            sample, place = self._read(None, before)
            self._check_vectors(sample)
            with self.store.write() as conn:
                self.baseline.check_there(conn)
                self._resume()
                if self.place != before:
                    continue  # another kernel has taken these rows in
                self._take(sample)
                self.place = max(self.place, place)
                self._save()
            if not len(sample):
                return self

    def _update_with(self, data: Any) -> Stream:
        sample, _ = self._read(data, self.place)
        self._check_vectors(sample)
        for first in range(0, max(1, len(sample)), TOGETHER):
            part = sample.only(range(first, min(first + TOGETHER, len(sample))))
            with self.store.write() as conn:
                self.baseline.check_there(conn)
                self._resume()
                self._take(part)
                self._save()
        return self

    @property
    def features(self) -> tuple[Change, ...]:
        """All that is watched, the most changed first."""
        p_values = adjusted([one.martingale.p_value for one in self._features])
        found = []
        for one, p_value in zip(self._features, p_values, strict=True):
            crossed, since = self._crossed.get(one.name, (None, None))
            capital = math.exp(min(690.0, one.martingale.log_capital))
            found.append(Change(one.name, p_value, one.martingale.count, capital, crossed, since))
        return tuple(sorted(found, key=lambda change: change.p_value))

    @property
    def alarm(self) -> bool:
        """Whether something has changed, at any look so far."""
        return bool(self._crossed)

    @property
    def changed(self) -> tuple[Change, ...]:
        """The features that have alarmed."""
        return tuple(one for one in self.features if one.crossed_at is not None)

    def summary(self) -> str:
        """What may be said, on one line."""
        promise = (
            f"{len(self._features)} features, looked at as often as you like, at most "
            f"{self.level:.0%} false alarms over all looks"
        )
        if not self.alarm:
            return f"No change in {self.rows:,} rows since {self.baseline.ref} ({promise})"
        said = "; ".join(
            f"{one.feature} (alarm at row {one.crossed_at:,}, began near row {one.since:,})"
            for one in self.changed[:4]
        )
        return f"Changed since {self.baseline.ref}: {said} ({promise})"

    def reset(self) -> Stream:
        """Begin anew from now: what has come so far is forgotten, and so are alarms."""
        with self.store.write() as conn:
            self.baseline.check_there(conn)
            conn.execute(
                "DELETE FROM monitor_streams WHERE baseline_id = ? AND name = ?",
                (self.baseline.key, self.name),
            )
            place, sessions = self.place, self._sessions
            self._begin()
            self.place, self._sessions = place, sessions
            self._save()
        return self

    def chart(self, *features: str) -> Capital:
        """The capital over time; of the features that are named, else of those that changed most.

        Raises:
            UnknownNameError: a feature is not watched.
        """
        from llmops_jupyter.monitor.drift.plots import Capital

        known = {one.name: one for one in self._features}
        for name in features:
            if name not in known:
                raise unknown_name("feature", name, known, "stream.features lists what is watched.")
        chosen = features or tuple(one.feature for one in self.features[:5])
        limit = len(self._features) / self.level
        return Capital({name: known[name].martingale.path for name in chosen}, limit)

    def as_dict(self) -> dict[str, Any]:
        """The stream as JSON values."""
        return {
            "stream": self.name,
            "baseline": self.baseline.ref,
            "level": self.level,
            "rows": self.rows,
            "alarm": self.alarm,
            "features": [{**vars(one), "delay": one.delay} for one in self.features],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        rows = render.text_table([one.row() for one in self.features])
        return "\n".join([self.summary(), rows, *self.notes])

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        page = f"<p><strong>{escaped(self.summary())}</strong></p>"
        page += render.table_html([one.row() for one in self.features])
        page += "".join(f"<p><em>{escaped(note)}</em></p>" for note in self.notes)
        return bundle(str(self), page)

    def _take(self, sample: Sample) -> None:
        rows = self._new_rows(sample)
        self.notes = sample.notes
        if self.skipped:
            self.notes += (
                f"{self.skipped:,} rows were not taken in: later ones of a session, or there already",
            )
        salt = f"{self.baseline.content_hash} {self.name}"
        found = values_of(sample, rows, self._measured)
        known = {one.name: one for one in self._features}
        for at in range(len(rows)):
            self.rows += 1
            for name, one in known.items():
                value = found[name][at] if name in found else None
                if value is not None:
                    one.take(value, self.rows, salt)
            self._look()

    def _new_rows(self, sample: Sample) -> list[int]:
        """The first rows of sessions that are new, and rows without a session that were not there yet."""
        if sample.from_traces:
            unknown = {s for s in sample.sessions if s and hash_of(s) not in self._sessions}
            # Of a large baseline a part is kept, which does not know all sessions that it is of.
            self._sessions |= {hash_of(s) for s in self._earlier(sorted(unknown))}
        rows = []
        marks = sample.marks or sample.ids
        for place, (session, mark) in enumerate(zip(sample.sessions, marks, strict=True)):
            if session is None and mark is None:
                rows.append(place)
                continue
            key = hash_of(session or f"row {mark}")
            if key in self._sessions:
                self.skipped += 1
            else:
                self._sessions.add(key)
                rows.append(place)
        return rows

    def _look(self) -> None:
        """Note which features cross, each at the row at which it does."""
        waiting = [one for one in self._features if one.name not in self._crossed]
        # By Holm the next to cross is corrected for those that wait. Rows at which none does are nearly all.
        least = math.log(max(1, len(waiting)) / self.level) - 1e-9
        if all(one.martingale.highest < least for one in waiting):
            return
        p_values = adjusted([one.martingale.p_value for one in self._features])
        for one, p_value in zip(self._features, p_values, strict=True):
            if p_value <= self.level and one.name not in self._crossed:
                self._crossed[one.name] = (self.rows, max(1, one.martingale.lowest_at))

    def _check_vectors(self, sample: Sample) -> None:
        for name, vectors in self.baseline.sample.vectors.items():
            found = sample.vectors.get(name)
            if found is not None:
                check_alike(vectors, found)

    def _begin(self) -> None:
        self.rows = self.skipped = 0
        self._crossed = {}
        self._measured = references(self.baseline.sample)
        self._features = begin(self.baseline.sample, self._measured)
        if not self._features:
            raise DataError(
                f"The baseline {self.baseline.ref} has no feature with 20 values to watch. Make one of more rows."
            )
        sample = self.baseline.sample
        self._sessions = {hash_of(s) for s in sample.sessions if s}
        if sample.from_traces:
            self._sessions |= {
                hash_of(f"row {i}")
                for s, i in zip(sample.sessions, sample.ids, strict=True)
                if not s
            }

    def _resume(self) -> None:
        row = self.store.row(
            "SELECT level, place, state FROM monitor_streams WHERE baseline_id = ? AND name = ?",
            (self.baseline.key, self.name),
        )
        if row is None:
            if not self._features:
                self._begin()
            return
        if row["level"] != self.level:
            raise OptionError(
                f"The stream {self.name!r} runs at a level of {row['level']:g}, which cannot change while it runs. "
                "Give that level, another name=, or reset() it."
            )
        state = json.loads(zlib.decompress(row["state"]))
        self.place, self.rows, self.skipped = row["place"], state["rows"], state["skipped"]
        if not self._measured:
            # Found anew they might be numbered otherwise, and topics mean something else.
            centres = {name: _array(text, "<f4") for name, text in state["centres"].items()}
            width = {n: v.values.shape[1] for n, v in self.baseline.sample.vectors.items()}
            shaped = {name: found.reshape(-1, width[name]) for name, found in centres.items()}
            self._measured = references(self.baseline.sample, shaped)
        self._features = [Watched.of(one) for one in state["features"]]
        self._crossed = {name: (pair[0], pair[1]) for name, pair in state["crossed"].items()}
        self._sessions = {int(key) for key in _array(state["sessions"], "<u8")}

    def _save(self) -> None:
        state = {
            "rows": self.rows,
            "skipped": self.skipped,
            "features": [one.as_dict() for one in self._features],
            "crossed": self._crossed,
            "sessions": _text(sorted(self._sessions), "<u8"),
            "centres": {name: _text(one.centres, "<f4") for name, one in self._measured.items()},
        }
        content = zlib.compress(json.dumps(state).encode(), 1)
        now = self.store.now()
        with self.store.write() as conn:
            conn.execute(
                "INSERT INTO monitor_streams(baseline_id, name, level, place, state, created_at, updated_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT(baseline_id, name) DO UPDATE SET "
                "place = excluded.place, state = excluded.state, updated_at = excluded.updated_at",
                (self.baseline.key, self.name, self.level, self.place, content, now, now),
            )


def _text(values: Any, kind: str) -> str:
    """An array as text."""
    import numpy as np

    return base64.b64encode(np.asarray(values, kind).tobytes()).decode()


def _array(text: str, kind: str) -> NDArray[Any]:
    """What `_text` made, in one dimension."""
    import numpy as np

    return np.frombuffer(base64.b64decode(text), kind)
