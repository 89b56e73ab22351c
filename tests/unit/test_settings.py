"""Settings of a kernel: what holds when, and for which workspace."""

from __future__ import annotations

import pytest
from engine_fakes import plug
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import llmops_jupyter as lo
from llmops_jupyter.errors import OptionError
from llmops_jupyter.magics.session import Session


@pytest.fixture
def shell():
    """A shell of its own with the extension loaded."""
    made = InteractiveShell()
    made.run_line_magic("load_ext", "llmops_jupyter")
    yield made
    made.run_line_magic("unload_ext", "llmops_jupyter")


def config(shell, line):
    shell.run_line_magic("config", f"LLMOps.{line}")


def everything(ws):
    """All text that the store holds."""
    return "\n".join(ws.store.read().iterdump())


def test_redaction_holds_from_the_moment_it_is_set(shell):
    config(shell, "redact = 'pii'")
    lo.trace(lambda who: who)("ada@example.com")
    with lo.open() as ws:
        plug(ws)
        ws.prompts.run(ws.prompts.scratch("Mail {{ who }}"), {"who": "bob@example.com"})
        assert "[EMAIL]" in everything(ws)
        assert "ada@example.com" not in everything(ws)
        assert "bob@example.com" not in everything(ws)


def test_what_was_named_when_opening_outlives_the_first_magic(shell):
    config(shell, "temperature = 0.5")
    with lo.open(redact="pii", max_tokens=3, temperature=0.25) as ws:
        shell.run_line_magic("prompt", "list")
        assert (ws.settings.redact, ws.settings.max_tokens) == ("pii", 3)
        assert ws.settings.temperature == 0.25
        assert ws.tracer.clean("ada@example.com") == "[EMAIL]"


def test_a_later_setting_wins_even_if_it_is_the_default(shell):
    with lo.open(redact="pii", temperature=0.25) as ws:
        config(shell, "redact = ''")
        config(shell, "temperature = 0.9")
        assert (ws.settings.redact, ws.settings.temperature) == ("", 0.9)
        assert ws.tracer.redact is None


def test_settings_go_with_the_extension(shell):
    config(shell, "max_tokens = 5")
    with lo.open() as ws:
        assert ws.settings.max_tokens == 5
    shell.run_line_magic("unload_ext", "llmops_jupyter")
    with lo.open() as ws:
        assert ws.settings.max_tokens == 512
    shell.run_line_magic("load_ext", "llmops_jupyter")


def test_ipythons_own_configuration_counts():
    made = InteractiveShell(config=Config({"LLMOps": {"max_tokens": 9, "temperature": 0.1}}))
    with lo.open(temperature=0.3) as ws:
        session = Session(made)
        session.register()
        try:
            assert (ws.settings.max_tokens, ws.settings.temperature) == (9, 0.3)
        finally:
            session.unregister()


def test_traces_name_the_cell_before_any_magic_was_used(shell):
    shell.run_cell("import llmops_jupyter as lo\nlo.trace(lambda: 1)()", store_history=True)
    with lo.open() as ws:
        assert ws.traces.last().root.execution_count == 1


def test_durable_reaches_the_file_and_leaves_it(shell):
    with lo.open() as ws:
        config(shell, "durable = True")
        assert ws.store.writer().execute("PRAGMA synchronous").fetchone()[0] == 2
        config(shell, "durable = False")
        assert ws.store.writer().execute("PRAGMA synchronous").fetchone()[0] == 1


def test_keep_days_prunes_when_it_is_set(shell):
    with lo.open() as ws:
        with ws.tracer.span("old"):
            pass
        config(shell, "keep_days = 1e-9")
        assert ws.traces.newest() == []
        config(shell, "keep_days = None")


def test_keep_bytes_prunes_what_is_opened_later(shell):
    with lo.open() as ws, ws.tracer.span("old"):
        pass
    config(shell, "keep_bytes = 1")
    with lo.open() as ws:
        assert ws.traces.newest() == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"threads": "2"}, "threads is a whole number"),
        ({"keep_days": -1}, "keep_days must be at least 0"),
        ({"max_tokens": 99_999_999_999}, "max_tokens must be at most 2,147,483,647"),
        ({"redact": 3}, "redact is a text"),
    ],
)
def test_settings_of_another_type_or_range_are_refused(changes, says):
    with pytest.raises(OptionError, match=says):
        lo.open(":memory:", **changes)


def test_a_model_is_loaded_anew_with_other_threads(shell, tmp_path, monkeypatch):
    from types import SimpleNamespace

    from engine_fakes import FakeEngine
    from gguf_files import write_gguf

    specs = []

    def open_engine(spec, **_):
        specs.append(spec)
        return SimpleNamespace(engine=FakeEngine(), notes=())

    monkeypatch.setattr("llmops_jupyter.engine.worker.sharing.open_engine", open_engine)
    with lo.open(threads=1) as ws:
        ws.models.add(write_gguf(tmp_path / "m.gguf"))
        assert ws.engine.engine() is ws.engine.engine()
        config(shell, "threads = 2")
        ws.engine.engine()
        assert [s.n_threads for s in specs] == [1, 2]
