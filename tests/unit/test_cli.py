"""The command line prints on every terminal, and says when it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import llmops_jupyter as lo
from llmops_jupyter.records import Message, Usage


@pytest.fixture
def traced(ws):
    with ws.tracer.span("chat ✓", op="chat", messages=(Message("user", "Γειά"),)) as span:
        span.output("→ 日本語 é")
        span.usage(Usage(3, 2))
    return ws


def llmops(*arguments, stdout=subprocess.PIPE, **variables):
    return subprocess.run(
        [sys.executable, "-m", "llmops_jupyter.cli", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, **variables},
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
)
def test_a_table_prints_in_every_encoding(traced, variables):
    done = llmops("traces", "list", **variables)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"chat ?" in done.stdout
    done = llmops("traces", "list", "--json", **variables)
    assert json.loads(done.stdout)[0]["preview"] == "→ 日本語 é"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_one_line(traced):
    with Path("/dev/full").open("wb") as full:
        done = llmops("traces", "list", stdout=full)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "The output cannot be written: No space left on device."
    ]


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX pipes")
def test_a_reader_that_has_gone_is_no_fault(traced):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = llmops("traces", "list", stdout=pipe)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_store_option_takes_the_home_folder_itself(traced):
    folder = lo.open().path.parent
    done = llmops("traces", "list", "--json", "--store", str(folder), LLMOPS_HOME="/nowhere")
    assert len(json.loads(done.stdout)) == 1
