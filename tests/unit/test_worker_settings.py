"""The settings of the worker: where they come from and what is refused."""

from __future__ import annotations

import pytest

from llmops_jupyter import config
from llmops_jupyter.errors import OptionError


def test_models_are_shared_unless_something_else_is_said():
    made = config.from_environment({})
    assert (made.worker, made.worker_idle_s) == ("shared", 300.0)
    given = {"LLMOPS_WORKER": "private", "LLMOPS_WORKER_IDLE_S": "1.5"}
    made = config.from_environment(given)
    assert (made.worker, made.worker_idle_s) == ("private", 1.5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"worker": "shard"}, "Did you mean 'shared'"),
        ({"worker": ""}, "shared, private, off"),
        ({"worker_idle_s": -1.0}, "at least 0"),
        ({"worker_idle_s": float("nan")}, "at most"),
        ({"worker_idle_s": float("inf")}, "at most"),
        ({"worker_idle_s": "soon"}, "is a number"),
    ],
)
def test_a_setting_that_cannot_be_used_says_what_can(change, says):
    with pytest.raises(OptionError, match=says):
        config.changed(config.Settings(), **change)


def test_a_variable_that_is_no_number_is_named():
    with pytest.raises(OptionError, match="LLMOPS_WORKER_IDLE_S"):
        config.from_environment({"LLMOPS_WORKER_IDLE_S": "soon"})


def test_waiting_threads_of_a_worker_spin_for_a_short_time_unless_the_user_says_otherwise(
    monkeypatch,
):
    from llmops_jupyter.engine.worker import process

    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    assert process.environment()["GOMP_SPINCOUNT"] == process.SPINS
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert process.environment()["GOMP_SPINCOUNT"] == "7"
