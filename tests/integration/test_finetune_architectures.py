"""Models that differ from the common kind: windows, capped logits, convolutions, folders, other precisions."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from learners import (
    KINDS,
    PEFT_WARNS,
    alone,
    apart,
    gradients,
    make,
    moved,
    sequences,
)
from mlx_models import write_folder
from tiny_models import HEADS, VOCABULARY, WIDTH, write_llama, write_mamba

from llmops_jupyter.errors import MissingDependencyError, ModelArchitectureError
from llmops_jupyter.finetune.packing import Tokens, pack
from llmops_jupyter.finetune.training import Material, Training

pytestmark = pytest.mark.filterwarnings(PEFT_WARNS)
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS // 2,
    "head_dim": WIDTH // HEADS,
}
HYBRID = {
    "model_type": "lfm2",
    "norm_eps": 1e-5,
    "conv_bias": False,
    "conv_L_cache": 3,
    "block_dim": 64,
    "block_ff_dim": 96,
    "block_multiple_of": 32,
    "block_ffn_dim_multiplier": 1.0,
    "block_auto_adjust_ff_dim": True,
    "full_attn_idxs": [1],
}


def write_hugging_face(folder, kind, **settings):
    """A folder of transformers with random weights."""
    torch = pytest.importorskip("torch")
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    config = AutoConfig.for_model(kind, **SHAPE, initializer_range=0.2, **settings)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    return folder


def both(folder, architecture, **settings):
    """The two learners of a folder, with the same factors."""
    ours = moved(make("mlx", folder, architecture, **settings))
    theirs = make("torch", folder, architecture, folder=folder, **settings)
    theirs.put(ours.lora())
    return ours, theirs


def check_packs(learner):
    group = sequences()
    wanted = sum(learner.learn(one) for one in alone(group))
    slopes = gradients(learner)
    learner.step(0.0, 1)
    assert learner.learn(pack(group)) == pytest.approx(wanted, rel=1e-4)
    assert apart(gradients(learner), slopes) < 1e-3


def test_capped_scores_and_logits_are_learned_as_they_are_computed(tmp_path):
    pytest.importorskip("mlx_lm")
    folder = write_hugging_face(
        tmp_path, "gemma2", final_logit_softcapping=2.0, query_pre_attn_scalar=16
    )
    ours, theirs = both(folder, "gemma2")
    ids = sequences()[0].ids
    assert ours.logprobs(ids, 9) == pytest.approx(theirs.logprobs(ids, 9), abs=1e-4)
    packed = pack(sequences())
    assert ours.learn(packed) == pytest.approx(theirs.learn(packed), rel=1e-5)
    assert apart(gradients(ours), gradients(theirs)) < 1e-3
    for learner in (ours, theirs):
        learner.step(0.0, 1)
        check_packs(learner)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_rotary_positions_are_those_that_the_folder_says(tmp_path, kind):
    pytest.importorskip("mlx_lm")
    rotary = {"rope_type": "default", "rope_theta": 700.0}
    if kind == "llama":
        rotary = {
            "rope_type": "llama3",
            "rope_theta": 500.0,
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8,
        }
    folder = write_hugging_face(tmp_path, kind, tie_word_embeddings=False, rope_parameters=rotary)
    ours, theirs = both(folder, kind)
    ids = sequences()[0].ids
    assert ours.logprobs(ids, 9) == pytest.approx(theirs.logprobs(ids, 9), abs=1e-3)
    assert ours.shares
    packed = pack(sequences())
    assert ours.learn(packed) == pytest.approx(theirs.learn(packed), rel=1e-5)
    assert apart(gradients(ours), gradients(theirs)) < 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_ends_what_is_seen_in_a_pack_as_it_does_alone(tmp_path, kind):
    if kind == "torch":
        folder = write_hugging_face(
            tmp_path,
            "gemma2",
            sliding_window=4,
            layer_types=["sliding_attention", "full_attention"],
        )
        learner = moved(make(kind, folder, "gemma2", folder=folder))
    else:
        pytest.importorskip("mlx_lm")
        layers = ["sliding_attention", "full_attention"]
        folder = write_folder(tmp_path, layer_types=layers, sliding_window=4)
        learner = moved(make(kind, folder))
    assert learner.shares
    check_packs(learner)
    long = [s for s in sequences() if len(s.ids) > 12]
    loss = learner.loss(pack(long))
    wide = (
        write_hugging_face(tmp_path / "wide", "gemma2", sliding_window=64)
        if kind == "torch"
        else write_folder(tmp_path / "wide")
    )
    other = make(kind, wide, "gemma2" if kind == "torch" else "llama", folder=wide)
    other.put(learner.lora())
    assert abs(other.loss(pack(long)) - loss) > 1e-2, "the window matters here"


def test_models_that_cannot_read_a_pack_are_found_by_trying(tmp_path, monkeypatch):
    pytest.importorskip("mlx_lm")
    from llmops_jupyter.finetune.trainers import opened

    # Positions that follow from the length of what is read.
    dynamic = write_folder(tmp_path / "d", rope_scaling={"type": "dynamic", "factor": 2.0})
    learner = moved(make("mlx", dynamic))
    assert not learner.shares
    assert learner.learn(pack(sequences()[:1])) > 0
    plain = write_folder(tmp_path / "p")
    assert make("mlx", plain).shares
    monkeypatch.setattr(opened.Reading, "make_mask", lambda *_, **__: "causal")
    assert not make("mlx", plain).shares


def test_what_a_layer_sees_is_what_it_asks_for_or_what_its_cache_would_keep():
    pytest.importorskip("mlx.core", exc_type=ImportError)
    from llmops_jupyter.finetune.trainers.opened import Places, Reading

    packed = pack(sequences())
    for kept, asked, window in ((0, None, 0), (0, 2, 2), (3, None, 3), (3, 2, 2)):
        reading = Reading(packed, Places(packed.positions), kept, {})
        found = np.array(reading.make_mask(packed.tokens, window_size=asked, return_array=True))
        assert np.array_equal(found, packed.sees(window))


def test_what_is_left_out_is_made_up_for_by_the_rest():
    mx = pytest.importorskip("mlx.core", exc_type=ImportError)
    from mlx import nn

    from llmops_jupyter.finetune.trainers.opened import LowRank

    base = nn.Linear(8, 8, bias=False)
    base.weight = mx.zeros((8, 8))
    layer = LowRank(base, 8, 1.0, 0.25, mx.random.key(0))
    layer.a = layer.b = mx.eye(8)
    ones = mx.ones((1, 500, 8))
    assert np.array_equal(np.array(layer(ones)), np.array(ones))
    layer.key = mx.random.key(1)
    found = np.array(layer(ones))
    assert sorted(set(found.ravel().tolist())) == pytest.approx([0, 4 / 3])
    assert (found == 0).mean() == pytest.approx(0.25, abs=0.03)


def test_a_model_with_convolutions_reads_each_example_alone(tmp_path):
    pytest.importorskip("mlx_lm")
    learner = moved(make("mlx", write_folder(tmp_path / "lfm", **HYBRID), "lfm2"))
    assert not learner.shares
    with pytest.raises(AssertionError, match="alone"):
        learner.loss(pack(sequences()))
    train = [[one] for one in sequences()]
    told = []
    recipe = learner._recipe
    made = Training(
        learner, Material(train, train), recipe, tmp_path, 500, told.append, learner.width
    )
    assert made.eval_loss() == pytest.approx(
        sum(learner.loss(one) for one in alone(sequences()))
        / sum(one.learned for one in alone(sequences()))
    )
    made.run()
    losses = [event["loss"] for event in told if event["kind"] == "eval"]
    assert losses[-1] < losses[0]


def test_a_model_without_known_layers_says_which_it_has(tmp_path):
    pytest.importorskip("mlx_lm")
    settings = {"state_size": 8, "conv_kernel": 4, "use_bias": False, "use_conv_bias": True}
    folder = write_folder(tmp_path, model_type="mamba", time_step_rank=4, **settings)
    with pytest.raises(ModelArchitectureError, match=r"None of .*in_proj.*docs/finetune.md"):
        make("mlx", folder, "mamba")


def test_a_file_that_mlx_cannot_hold_asks_for_the_folder(tmp_path):
    pytest.importorskip("mlx_lm")
    with pytest.raises(ModelArchitectureError, match=r"'mamba'.*--weights FOLDER"):
        make("mlx", write_mamba(tmp_path / "m.gguf"), "mamba")


def test_weights_stay_as_they_are_packed(tmp_path):
    pytest.importorskip("mlx_lm")
    import mlx.core as mx

    learner = moved(make("mlx", write_llama(tmp_path / "q.gguf", kv_heads=2, kind="Q4_1")))
    base = learner._opened.factors["model.layers.0.mlp.down_proj"].base
    before = np.array(base.weight)
    assert base.weight.dtype == mx.uint32
    assert base.bits == 4
    learner.learn(pack(sequences()))
    learner.step(0.1, 1)
    assert np.array_equal(np.array(base.weight), before)


@pytest.mark.parametrize("quantized", [False, True])
def test_an_mlx_folder_is_learned_on(tmp_path, quantized):
    pytest.importorskip("mlx_lm")
    learner = moved(make("mlx", write_folder(tmp_path, quantized=quantized)))
    check_packs(learner)
    assert "model.layers.1.self_attn.k_proj" in learner.lora().factors


def test_rows_are_in_the_order_of_transformers_whatever_they_come_from(tmp_path):
    pytest.importorskip("mlx_lm")
    folder = write_hugging_face(tmp_path, "llama")
    ours, theirs = both(folder, "llama")
    ids = sequences()[0].ids
    assert ours.logprobs(ids, 9) == pytest.approx(theirs.logprobs(ids, 9), abs=1e-3)


def test_weights_of_a_folder_replace_those_of_the_file(tmp_path):
    pytest.importorskip("mlx_lm")
    file = write_llama(tmp_path / "q.gguf", kv_heads=2)
    folder = write_hugging_face(tmp_path / "hf", "llama")
    ids = sequences()[0].ids
    given, plain, served = (
        make("mlx", path, folder=where).logprobs(ids, 3)
        for path, where in ((file, folder), (folder, None), (file, None))
    )
    assert np.array_equal(given, plain)
    assert not np.allclose(given, served, atol=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_base_in_bfloat16_learns_factors_in_float32(tmp_path, kind):
    file = write_llama(tmp_path / "q.gguf", kv_heads=2, kind="Q8_0")
    learner, exact = (moved(make(kind, file, precision=p)) for p in ("bfloat16", "float32"))
    exact.put(learner.lora())
    assert learner.facts["precision"] == "bfloat16"
    assert learner.shares
    packed = pack(sequences())
    loss, wanted = learner.learn(packed), exact.learn(packed)
    assert loss == pytest.approx(wanted, rel=0.05)
    assert loss != pytest.approx(wanted, rel=1e-5), "the base is rounded"
    learner.step(0.01, packed.learned)
    dtypes = {v.dtype for k, v in learner.state().items() if k.startswith(("factor.", "exp_avg"))}
    assert dtypes == {np.dtype(np.float32)}


def test_without_mlx_lm_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlx_lm", None)
    from llmops_jupyter.finetune.recipe import Recipe
    from llmops_jupyter.finetune.trainers.mlx import MlxLearner

    with pytest.raises(MissingDependencyError, match="mlx"):
        MlxLearner(tmp_path, "llama", Recipe())


def test_random_numbers_of_others_are_left_alone(tmp_path):
    pytest.importorskip("mlx_lm")
    import mlx.core as mx

    # mlx-lm's models draw first weights, which the file's replace.
    learner = make("mlx", write_llama(tmp_path / "q.gguf", kv_heads=2), dropout=0.5)
    mx.random.seed(4)
    wanted = np.array(mx.random.normal((3,)))
    mx.random.seed(4)
    learner.learn(pack(sequences()))
    assert np.array_equal(np.array(mx.random.normal((3,))), wanted)


def test_activations_that_are_computed_twice_take_less_memory(tmp_path):
    pytest.importorskip("mlx_lm")
    import mlx.core as mx

    file = write_llama(tmp_path / "deep.gguf", layers=12, kv_heads=2)
    made = np.random.default_rng(0)
    one = pack([Tokens(tuple(int(i) for i in made.integers(0, VOCABULARY, 256)), 250)])
    peaks = []
    for switch in ("off", "on"):
        learner = make("mlx", file, checkpointing=switch)
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        learner.learn(one)
        peaks.append(mx.get_peak_memory() - before)
    assert peaks[1] < 0.5 * peaks[0]
