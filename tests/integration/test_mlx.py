"""Models on MLX: folders with random weights, and the bundled model beside llama.cpp."""

from __future__ import annotations

import itertools
import json
import threading
import time

import numpy as np
import pytest

pytest.importorskip("mlx_lm", reason="mlx-lm is not installed (extra mlx)")
pytest.importorskip("mlx.core", reason="MLX has no library for this machine", exc_type=ImportError)

from mlx_models import write_adapter, write_folder, write_gguf_adapter

from llmops_jupyter.engine.mlx.engine import MLXEngine
from llmops_jupyter.engine.protocol import Finished, Request, Token
from llmops_jupyter.errors import (
    ContextLengthError,
    ModelArchitectureError,
    ModelError,
    OptionError,
    SchemaError,
)
from llmops_jupyter.records import Message, Sampling, Tool

CAPITAL = "The capital of France is Paris, and the capital of Italy is Rome."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("mlx") / "tiny")


@pytest.fixture(scope="module")
def tiny(folder):
    engine = MLXEngine(folder, model_name="tiny", model_digest="tiny", rows=4)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def bundled(model_path):
    engine = MLXEngine(model_path, model_name="smollm2", model_digest="bundled", n_ctx=512)
    yield engine
    engine.close()


def ask(number, text="hello", **settings):
    own = {key: settings.pop(key) for key in list(settings) if key in Request.__dataclass_fields__}
    sampling = Sampling(**{"temperature": 0.0, "max_tokens": 8, **settings})
    return Request(str(number), text=text, sampling=sampling, **own)


def answers(engine, requests):
    return {e.request_id: e for e in engine.generate(requests) if isinstance(e, Finished)}


def test_tokens_are_streamed_and_make_up_the_answer(tiny):
    events = list(tiny.generate([ask(1, max_tokens=12)]))
    text = "".join(e.text for e in events if isinstance(e, Token))
    assert events[-1].text == text
    assert events[-1].usage.output_tokens <= 12
    assert events[-1].usage.input_tokens == len("hello")


def test_a_batch_gives_what_each_request_gives_alone(tiny):
    texts = ["a", "some longer text here", "xyz" * 60, "mm"]
    wanted = [ask(i, t, temperature=1.0, seed=i) for i, t in enumerate(texts * 2)]
    together = answers(tiny, wanted)
    for request in wanted:
        alone = answers(tiny, [request])[request.id]
        assert together[request.id].text == alone.text
        assert together[request.id].usage.output_tokens == alone.usage.output_tokens
        assert together[request.id].usage.input_tokens == alone.usage.input_tokens


def test_a_seed_decides_the_answer(tiny):
    again = [answers(tiny, [ask(1, temperature=1.0, seed=s)])["1"].text for s in (7, 7, 8)]
    assert again[0]
    assert again[0] == again[1] != again[2]


def test_exact_requests_are_computed_alone(tiny):
    exact, batch = (answers(tiny, [ask(1, exact=exact)])["1"] for exact in (True, False))
    assert exact.text == batch.text


def test_a_stop_string_ends_the_answer_and_is_left_out(tiny):
    whole = answers(tiny, [ask(1, max_tokens=12, logit_bias=((65, 50.0),))])["1"].text
    stopped = answers(tiny, [ask(1, max_tokens=12, logit_bias=((65, 50.0),), stop=(whole[2],))])[
        "1"
    ]
    assert stopped.finish_reason == "stop"
    assert stopped.text == whole[: whole.index(whole[2])]


def test_logprobs_are_those_of_the_model_without_settings(tiny):
    done = answers(tiny, [ask(1, logprobs=3, max_tokens=4)])["1"]
    assert len(done.logprobs) == 4
    for one in done.logprobs:
        assert len(one.top) == 3
        assert one.logprob == one.top[0][1]


def test_penalties_and_biases_change_what_is_drawn(tiny):
    biased = answers(tiny, [ask(1, logit_bias=((70, 100.0),))])["1"]
    penalised = answers(
        tiny, [ask(1, logit_bias=((70, 100.0),), frequency_penalty=90.0, repeat_penalty=1.0)]
    )["1"]
    assert len(set(biased.text)) == 1
    assert len(set(penalised.text)) > 1


def test_top_k_of_one_is_greedy(tiny):
    greedy = answers(tiny, [ask(1)])["1"].text
    assert answers(tiny, [ask(1, temperature=1.5, top_k=1, seed=3)])["1"].text == greedy


def test_a_deadline_and_a_closed_stream_end_requests(tiny):
    late = answers(tiny, [ask(1, max_tokens=400, deadline_s=0.05)])["1"]
    assert late.finish_reason == "deadline"
    stream = tiny.generate(ask(i, max_tokens=450) for i in itertools.count())
    next(stream)
    stream.close()
    end = time.monotonic() + 30
    while not tiny.status()["rows"].startswith("0 ") and time.monotonic() < end:
        time.sleep(0.01)
    assert tiny.status()["rows"] == "0 of 4"
    assert answers(tiny, [ask(1)])["1"].finish_reason in ("stop", "length")


def test_a_value_never_becomes_a_control_token(tiny):
    plain = tiny.count_tokens([Message("user", "x" * len("<|im_end|>"))])
    assert tiny.count_tokens([Message("user", "<|im_end|>")]) == plain


def test_scores_are_sums_of_log_probabilities(tiny):
    (scores,) = tiny.score([("The", ["abc", "ab", "x"])])
    known = tiny.logprobs(["Theabc"])[0]
    assert scores[0] == pytest.approx(float(known[-3:].sum()), abs=1e-3)
    assert scores[1] == pytest.approx(float(known[-3:-1].sum()), abs=1e-3)


def test_a_text_longer_than_the_context_is_read_in_windows(folder):
    engine = MLXEngine(folder, model_name="t", model_digest="t", n_ctx=32)
    try:
        assert len(engine.logprobs(["a" * 100])[0]) == 99
        done = answers(engine, [ask(1, "b" * 100)])["1"]
        assert isinstance(done.error, ContextLengthError)
    finally:
        engine.close()


def test_adapters_of_both_forms_do_the_same_and_can_be_mixed(tiny, tmp_path):
    own = write_adapter(tmp_path / "own")
    gguf = write_gguf_adapter(tmp_path / "own.gguf", own)
    plain = tiny.logprobs(["hello there"])[0]
    first = tiny.logprobs(["hello there"], [(str(own), 1.0)])[0]
    second = tiny.logprobs(["hello there"], [(str(gguf), 1.0)])[0]
    halves = tiny.logprobs(["hello there"], [(str(own), 0.5), (str(gguf), 0.5)])[0]
    assert np.abs(first - plain).max() > 0.01
    np.testing.assert_allclose(first, second, atol=1e-4)
    np.testing.assert_allclose(first, halves, atol=1e-4)
    np.testing.assert_array_equal(tiny.logprobs(["hello there"])[0], plain)


def test_requests_of_different_adapters_run_side_by_side(tiny, tmp_path):
    own = str(write_adapter(tmp_path / "own", scale=20.0))
    wanted = [ask(i, adapters=((own, 1.0),) if i % 2 else ()) for i in range(4)]
    together = answers(tiny, wanted)
    assert together["0"].text == together["2"].text != together["1"].text == together["3"].text


def test_an_adapter_of_another_shape_is_refused(tiny, tmp_path):
    import mlx.core as mx

    own = write_adapter(tmp_path / "own")
    odd = {"model.layers.0.self_attn.q_proj.lora_a": mx.zeros((32, 4))}
    odd["model.layers.0.self_attn.q_proj.lora_b"] = mx.zeros((4, 64))
    mx.save_safetensors(str(own / "adapters.safetensors"), odd)
    with pytest.raises(ModelArchitectureError, match="another shape"):
        tiny.logprobs(["hello"], [(str(own), 1.0)])
    (own / "adapter_config.json").unlink()
    with pytest.raises(ModelError, match="no adapter of mlx-lm"):
        tiny.logprobs(["hello"], [(str(own), 1.0)])


def test_a_folder_is_held_to_a_schema_and_a_grammar(tiny):
    schema = {
        "type": "object",
        "properties": {"old": {"type": "boolean"}, "size": {"enum": ["S", "L"]}},
        "required": ["old", "size"],
        "additionalProperties": False,
    }
    hot = {"temperature": 1.5, "max_tokens": 60}
    wanted = [ask(i, schema=schema, seed=i, **hot) for i in range(3)]
    wanted += [ask(9, grammar='root ::= "perhaps" | "never"', **hot), ask(10)]
    done = answers(tiny, wanted)
    for number in range(3):
        assert set(json.loads(done[str(number)].text)) == {"old", "size"}
    assert done["9"].text in ("perhaps", "never")
    assert done["10"].error is None
    bad = answers(tiny, [ask(1, grammar="root ::= nowhere"), ask(2)])
    assert isinstance(bad["1"].error, SchemaError)
    assert bad["2"].error is None


def test_a_folder_calls_tools(tiny):
    parameters = {
        "type": "object",
        "properties": {"city": {"enum": ["Rome", "Oslo"]}},
        "required": ["city"],
        "additionalProperties": False,
    }
    request = Request(
        "1",
        messages=(Message("user", "How is the weather?"),),
        tools=(Tool("weather", "The weather.", parameters),),
        tool_choice="required",
        sampling=Sampling(temperature=1.0, max_tokens=200, seed=1),
    )
    alone = answers(tiny, [request])["1"]
    assert (alone.finish_reason, alone.error) == ("tool_calls", None)
    assert all(call.arguments["city"] in ("Rome", "Oslo") for call in alone.tool_calls)
    others = [ask(i, "b" * i, max_tokens=20) for i in range(2, 5)]
    beside = answers(tiny, [*others, request])["1"]
    assert [c.arguments for c in beside.tool_calls] == [c.arguments for c in alone.tool_calls]


def test_what_rows_begin_with_is_read_once(folder):
    engine = MLXEngine(folder, model_name="tiny", model_digest="tiny", rows=4)
    beginning = "the same long beginning of all prompts " * 4
    wanted = [ask(i, f"{beginning}{i}", interactive=False) for i in range(4)]
    answers(engine, [ask("open", "a")])
    ready = threading.Event()

    def all_of_them():
        yield from wanted
        ready.set()

    # They are to begin together: nothing is read before all of them wait.
    engine._owner.submit(ready.wait)
    together = answers(engine, all_of_them())
    engine.forget_prefixes()
    for request in wanted:
        found = together[request.id]
        assert found.usage.cached_tokens >= len(beginning) - 1
        assert found.text == answers(engine, [request])[request.id].text
        engine.forget_prefixes()
    engine.close()


def test_a_conversation_goes_on_from_what_was_read(folder):
    engine = MLXEngine(folder, model_name="tiny", model_digest="tiny")
    first = answers(engine, [ask(1, "a conversation that was begun some time ago")])["1"]
    longer = "a conversation that was begun some time ago" + first.text + " and goes on"
    second = answers(engine, [ask(2, longer)])["2"]
    assert second.usage.cached_tokens >= 43
    engine.forget_prefixes()
    assert answers(engine, [ask(2, longer)])["2"].text == second.text
    engine.close()


def test_what_a_folder_cannot_do_is_said(tiny):
    assert isinstance(answers(tiny, [ask(1, logit_bias=((999, 1.0),))])["1"].error, OptionError)
    with pytest.raises(ModelArchitectureError, match="no vectors"):
        tiny.embed(["a"])
    with pytest.raises(ModelArchitectureError, match="no reranker"):
        tiny.rerank("a", ["b"])


def test_a_quantised_folder_runs_in_a_workspace(ws, tmp_path):
    added = ws.models.add(write_folder(tmp_path / "packed", quantized=True), "packed")
    assert added.format == "mlx"
    assert added.metadata.quantization == "8-bit, groups of 32"
    engine = ws.engine.engine("packed")
    assert engine.provider == "mlx"
    assert answers(engine, [ask(1)])["1"].error is None


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0"])
def test_blocks_of_gguf_files_keep_their_values_bit_for_bit(tmp_path, kind):
    import gguf
    import mlx.core as mx

    from llmops_jupyter.engine.mlx.weights import load_gguf

    path = tmp_path / "tiny.gguf"
    tensors = write_tiny_gguf(path, gguf.GGMLQuantizationType[kind])
    model = load_gguf(path)
    layer = model.model.layers[0].self_attn.q_proj
    found = mx.dequantize(layer.weight, layer.scales, layer.biases, 32, layer.bits, stream=mx.cpu)
    np.testing.assert_array_equal(np.array(found), tensors["blk.0.attn_q.weight"])


def write_tiny_gguf(path, kind, architecture="llama"):
    """A GGUF file of one layer without a tokenizer; returns what gguf says the values are."""
    import gguf

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    random = np.random.default_rng(0)
    shapes = {"token_embd": (50, 64), "blk.0.attn_q": (64, 64), "blk.0.attn_k": (32, 64)}
    shapes |= {"blk.0.attn_v": (32, 64), "blk.0.attn_output": (64, 64), "blk.0.ffn_up": (96, 64)}
    shapes |= {"blk.0.ffn_gate": (96, 64), "blk.0.ffn_down": (64, 96)}
    found = {}
    for name, shape in shapes.items():
        values = random.standard_normal(shape, dtype=np.float32) * random.uniform(1e-6, 100)
        packed = gguf.quantize(values, kind)
        found[f"{name}.weight"] = gguf.dequantize(packed, kind)
        writer.add_tensor(f"{name}.weight", packed, raw_dtype=kind)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(64, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return found


def test_a_file_that_mlx_cannot_hold_says_why(tmp_path):
    import gguf

    from llmops_jupyter.engine.mlx.weights import load_gguf

    write_tiny_gguf(tmp_path / "a.gguf", gguf.GGMLQuantizationType.Q5_0)
    with pytest.raises(
        ModelArchitectureError, match=r"'token_embd.weight' is none of F32.*backend"
    ):
        load_gguf(tmp_path / "a.gguf")
    write_tiny_gguf(tmp_path / "b.gguf", gguf.GGMLQuantizationType.Q4_0, architecture="gemma2")
    with pytest.raises(ModelArchitectureError, match=r"none of llama, qwen2, qwen3.*backend"):
        load_gguf(tmp_path / "b.gguf")


@pytest.mark.model
def test_the_bundled_model_says_the_same_on_llama_cpp(bundled, engine):
    """llama.cpp rounds activations to 8 bits for weights of 4, so a token may differ by some tenths."""
    ours, theirs = (e.logprobs([CAPITAL])[0] for e in (bundled, engine))
    assert np.abs(ours - theirs).max() < 0.5
    assert np.median(np.abs(ours - theirs)) < 0.1
    prompt = ("The capital of France is", [" Paris", " Rome", " Timbuktu"])
    (mine,), (other,) = (e.score([prompt]) for e in (bundled, engine))
    assert np.argsort(mine).tolist() == np.argsort(other).tolist()
    request = ask(1, "The capital of France is", max_tokens=3)
    assert answers(bundled, [request])["1"].text == answers(engine, [request])["1"].text


@pytest.mark.model
def test_unpacked_weights_give_the_log_probabilities_of_llama_cpp(model_path, tmp_path):
    from llmops_jupyter.engine.llamacpp import LlamaCppEngine
    from llmops_jupyter.engine.quantize import quantize

    unpacked = quantize(model_path, tmp_path / "f16.gguf", "F16")
    found = []
    for kind in (MLXEngine, LlamaCppEngine):
        one = kind(unpacked, model_name="f16", model_digest="f16", n_ctx=256)
        found.append(one.logprobs([CAPITAL])[0])
        one.close()
    assert np.abs(found[0] - found[1]).max() < 0.02


@pytest.mark.model
def test_the_bundled_model_is_held_to_a_schema_on_mlx(bundled):
    schema = {"type": "object", "properties": {"n": {"type": "boolean"}}, "required": ["n"]}
    done = answers(bundled, [ask(1, "Answer:", schema=schema, max_tokens=24)])["1"]
    assert isinstance(json.loads(done.text)["n"], bool)


@pytest.mark.model
def test_the_setting_says_what_runs_a_file(ws, model_path):
    ws.models.add(model_path, "smollm2")
    assert ws.engine.engine("smollm2").provider == "llama.cpp"
    ws.configure(backend="mlx", context_length=256)
    engine = ws.engine.engine("smollm2")
    assert engine.provider == "mlx"
    assert engine.status()["engine"] == "mlx"


def test_a_folder_runs_in_a_worker(ws, folder):
    ws.models.add(folder, "tiny")
    ws.configure(worker="private")
    engine = ws.engine.engine("tiny")
    assert engine.provider == "mlx"
    assert engine.status()["pid"] > 0
    assert answers(engine, [ask(1)])["1"].error is None
