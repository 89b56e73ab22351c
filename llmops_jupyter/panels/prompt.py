"""The playground's widget: variants of a prompt side by side, which are tried, compared and kept."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import traitlets

from llmops_jupyter.commands import handover
from llmops_jupyter.errors import LLMOpsError, OptionError
from llmops_jupyter.panels import variants
from llmops_jupyter.panels.assets import script, style
from llmops_jupyter.panels.base import Panel, number_of, text_of
from llmops_jupyter.prompts.candidates import KEYS
from llmops_jupyter.prompts.playground import Playground, Value
from llmops_jupyter.prompts.trials import Round, Trial

if TYPE_CHECKING:
    from llmops_jupyter.workspace import Workspace

# Seconds between two updates of an answer, and characters of it that are sent in a second at most.
UPDATE_S, RATE = 0.07, 150_000
# Characters of a template, a value and a setting that are taken.
MOST = 200_000
FAILED = "That failed. In a cell, %%prompt shows what is wrong."


class PromptPanel(Panel):
    """Shows a playground. The browser sends its whole form with each question, so that what runs is what is seen.

    What runs does so in a thread of the playground's, which tells the panel; an answer is sent some ten times a second.

    Args:
        workspace: has what can be chosen from.
        playground: that is shown.
        tell: told what a saved notebook keeps after each round, as a MIME bundle.
    """

    _esm = script("variants", "prompt")
    _css = style("prompt")
    choices = traitlets.Dict().tag(sync=True)
    columns = traitlets.List().tag(sync=True)
    variables = traitlets.List().tag(sync=True)
    held = traitlets.List().tag(sync=True)
    answer_a = traitlets.Dict().tag(sync=True)
    answer_b = traitlets.Dict().tag(sync=True)
    answer_c = traitlets.Dict().tag(sync=True)
    answer_d = traitlets.Dict().tag(sync=True)
    shown = traitlets.Dict().tag(sync=True)
    history = traitlets.List().tag(sync=True)
    sample = traitlets.Dict().tag(sync=True)
    made = traitlets.Dict().tag(sync=True)
    what = "prompt panel"

    def __init__(
        self,
        workspace: Workspace,
        playground: Playground,
        tell: Callable[[dict[str, str]], None] | None = None,
    ) -> None:
        super().__init__(tell)
        self.workspace, self.playground = workspace, playground
        self._revision, self._made, self._round = 0, 0, self._last()
        self._sent: dict[str, tuple[float, str]] = {}
        self._over, self._verdict = True, ""
        self._sending = threading.RLock()
        self._timer: threading.Timer | None = None
        self._choose()
        if playground.name and not self.choices["versions"]:
            self._said = f"{playground.name} has no version yet. Save makes the first one."
        self._show(rebuilt=True)

    def bundle(self) -> dict[str, str]:
        """The last round as text and HTML."""
        return variants.bundle_of(self.playground, self._round)

    def close(self) -> None:
        """Take the panel away, and end what runs."""
        if hasattr(self, "playground"):
            self.playground.close()
        super().close()

    def _last(self) -> Round | None:
        return self.playground.rounds[-1] if self.playground.rounds else None

    def _take(self, action: str, content: Mapping[str, Any]) -> None:
        ask = text_of(content.get("ask"))
        if ask and ask == self._heard:  # sent twice
            self._show()
            return
        self._heard, self._said = ask, FAILED
        before = [c.key for c in self.playground.candidates]
        try:
            self._said = self._act(action, content)
        except (LLMOpsError, sqlite3.Error) as e:
            self._said = str(e)
        finally:
            rebuilt = action in ("load", "recall") or before != [
                c.key for c in self.playground.candidates
            ]
            self._show(rebuilt=rebuilt)

    def _act(self, action: str, content: Mapping[str, Any]) -> str:
        """Do what was asked for; what is said of it."""
        key, playground = text_of(content.get("key")), self.playground
        if action == "stop":
            playground.stop()
            return ""
        said = self._read(content)
        if action == "edit" or said:
            return said
        if action == "run":
            self._run(key)
        elif action == "add":
            playground.add(text_of(content.get("reference")) or None)
        elif action == "remove":
            playground.remove(key)
        elif action == "load":
            playground.load(key, text_of(content.get("reference")))
        elif action == "recall":
            self._recall(number_of(content.get("number"), 0))
        elif action == "look":
            self._choose()
        elif action in ("save", "alias"):
            return self._keep_version(action, key, content)
        elif action in ("cell", "compare"):
            self._write(action, key, content)
        elif action == "sample":
            rows = number_of(content.get("rows"), 5)
            self.playground.start_sample(text_of(content.get("data")), rows, self._changed)
        return ""

    def _read(self, content: Mapping[str, Any]) -> str:
        """Take over the form; what of it cannot be read."""
        said = ""
        columns = content.get("columns")
        for column in columns if isinstance(columns, list) else []:
            if not isinstance(column, Mapping):
                continue
            key, settings = text_of(column.get("key")), column.get("settings")
            if key not in {c.key for c in self.playground.candidates}:
                continue  # of a form that is older than what there is now
            given = settings if isinstance(settings, Mapping) else {}
            texts = {str(name): text_of(text, MOST) for name, text in given.items()}
            try:
                self.playground.write(key, text_of(column.get("template"), MOST), texts)
            except LLMOpsError as e:
                said = said or f"{key}: {e}"
        values = content.get("values")
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if isinstance(name, str) and name.isidentifier() and isinstance(value, Mapping):
                self.playground.values[name] = Value(
                    text_of(value.get("text"), MOST), text_of(value.get("variable"), MOST)
                )
        return said

    def _run(self, key: str) -> None:
        with self._sending:  # what comes is of this round, and waits until it is known here
            self._round = self.playground.start(key or None, self._changed)
            self._over, self._verdict = False, ""
            for trial in self._round.trials:
                self._send_answer(trial)

    def _recall(self, number: int) -> None:
        self._round = self.playground.recall(number)
        for key in KEYS:
            self._put(key, {})
        for trial in self._round.trials:
            self._send_answer(trial)
        self._verdict = self._round.verdict()

    def _keep_version(self, action: str, key: str, content: Mapping[str, Any]) -> str:
        """Keep a candidate as a version, or point an alias at the version that it is."""
        note = text_of(content.get("note"))
        if action == "save":
            kept = self.playground.save(key, note, text_of(content.get("name")).strip())
            self._choose()
            return f"Kept as {kept.ref}." if kept.created else f"Equal to {kept.ref}."
        alias, seen = text_of(content.get("alias")).strip(), content.get("seen")
        if content.get("confirmed") is not True:
            raise OptionError("An alias is moved once that is confirmed.")
        found = self.playground.point(key, alias, number_of(seen, 0) or None, note)
        self._choose()
        return f"{found.name}@{alias} → version {found.version}."

    def _write(self, action: str, key: str, content: Mapping[str, Any]) -> None:
        """Make the text of a cell."""
        values = ""
        if action == "cell":
            text = handover.prompt_cell(self.playground, key)
            values = handover.values_cell(self.playground, key)
            title = f"Variant {key} as a cell"
        else:
            data, metric = (text_of(content.get(name)).strip() for name in ("data", "metric"))
            text = handover.compare_line(self.playground, data, metric)
            title = "The comparison as a cell"
        self._made += 1
        self.made = {"number": self._made, "title": title, "text": text, "values": values}

    def _choose(self) -> None:
        self.choices = variants.choices_of(self.workspace, self.playground)

    def _changed(self) -> None:
        """Something has come; this is called in the thread of the playground."""
        with self._sending:
            if self._closed.is_set():
                return
            if self._round is not None:
                for trial in self._round.trials:
                    self._send_answer(trial)
            if self.playground.sample is not None:
                self.sample = variants.sample_of(self.playground.sample)
            if self._round is not None and not (self._over or self.playground.busy):
                self._over, self._verdict = True, self._round.verdict()
                self.history = self._rounds()
                self._keep(self._round.number, 0.0, self.bundle)
            self._tell_state()

    def _rounds(self) -> list[dict[str, Any]]:
        return [variants.round_of(made) for made in reversed(self.playground.rounds)]

    def _send_answer(self, trial: Trial) -> None:
        """Send an answer, if its state has changed or it is time."""
        key, now = trial.candidate.key, time.monotonic()
        at, status = self._sent.get(key, (0.0, ""))
        wait = at + max(UPDATE_S, len(trial.text) / RATE) - now
        if trial.status == status == "running" and wait > 0:
            self._send_later(wait)
            return
        self._sent[key] = now, trial.status
        self._put(key, variants.answer_of(trial))

    def _send_later(self, seconds: float) -> None:
        """Look again after a while, also if nothing more has come then."""
        if self._timer is None:
            self._timer = threading.Timer(seconds, self._look_again)
            self._timer.daemon = True
            self._timer.start()

    def _look_again(self) -> None:
        with self._sending:
            self._timer = None
            self._changed()

    def _put(self, key: str, answer: dict[str, Any]) -> None:
        setattr(self, f"answer_{key.lower()}", answer)

    def _show(self, *, rebuilt: bool = False) -> None:
        """Show the playground as it is now; with `rebuilt` the columns are others than the browser's."""
        self._revision += rebuilt
        try:
            with self._sending, self.hold_sync():
                self.columns = variants.columns_of(self.playground)
                self.variables = variants.variables_of(self.playground)
                self.held = variants.held_by(self.playground.variables)
                self.history = self._rounds()
                self._tell_state()
        except (LLMOpsError, sqlite3.Error) as e:  # the workspace was closed, or its disk is full
            self.shown = {**self.shown, "said": str(e), "heard": self._heard}

    def _tell_state(self) -> None:
        playground, made = self.playground, self._round
        now = {
            "name": playground.name,
            "revision": self._revision,
            "said": self._said,
            "heard": self._heard,
            "running": playground.busy,
            "stopping": playground.stopping,
            "verdict": self._verdict,
            "round": 0 if made is None else made.number,
        }
        if now != self.shown:
            self.shown = now
