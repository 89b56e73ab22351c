"""What is said of memory before a run is about what it takes, on the bundled model."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from finetunes import needs_trainer

from llmops_jupyter.finetune.planning import memory_of
from llmops_jupyter.finetune.recipe import Recipe
from llmops_jupyter.models import read_metadata

needs_trainer()
pytestmark = pytest.mark.model
TOKENS = 256
# One step in a process of its own. VmHWM is of this program alone: ru_maxrss is at least what the process that began it had.
STEP = """
import json, re, sys
from pathlib import Path
import numpy as np, torch
from llmops_jupyter.finetune.packing import Tokens, pack
from llmops_jupyter.finetune.recipe import Recipe
from llmops_jupyter.finetune.trainers.pytorch import TorchLearner

learner = TorchLearner(Path(sys.argv[1]), "llama", Recipe(precision="float32"))
one = pack([Tokens(tuple(int(i) for i in np.random.default_rng(0).integers(3, 9000, int(sys.argv[2]))), 1)])
learner.learn(one)
learner.step(1e-4, one.learned)
status = Path("/proc/self/status").read_text()
print(json.dumps(int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) * 1024))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read as Linux tells it")
def test_the_memory_that_is_planned_is_about_what_a_step_takes(model_path):
    done = subprocess.run(
        [sys.executable, "-c", STEP, str(model_path), str(TOKENS)],
        capture_output=True,
        text=True,
        check=True,
        timeout=500,
    )
    peak = json.loads(done.stdout.splitlines()[-1])
    planned = memory_of(read_metadata(model_path), Recipe(), TOKENS, 4, checkpointing=False)
    assert planned / 1.6 <= peak <= planned * 1.6, (planned, peak)
