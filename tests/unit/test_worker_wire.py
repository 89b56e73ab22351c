"""What travels between a client and a worker comes out as it went in, and anything else is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_jupyter import errors
from llmops_jupyter.engine.protocol import Finished, Request, Token
from llmops_jupyter.engine.worker import wire
from llmops_jupyter.engine.worker.spec import Spec
from llmops_jupyter.engine.worker.wire import WireError
from llmops_jupyter.errors import ContextLengthError, EngineError, LLMOpsError, OptionError
from llmops_jupyter.records import (
    Message,
    Resources,
    Sampling,
    Timing,
    TokenLogprob,
    Tool,
    ToolCall,
    Usage,
)
from llmops_jupyter.records.resources import CERTAINTIES

# Lone surrogates included: a wrongly decoded prompt has them.
TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
FLOAT = st.floats(allow_nan=False)
WHOLE = st.integers(-(2**63), 2**63)
JSON = st.recursive(
    st.none() | st.booleans() | WHOLE | FLOAT | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
SAMPLING = st.builds(
    Sampling,
    temperature=FLOAT,
    max_tokens=WHOLE,
    seed=st.none() | WHOLE,
    top_k=WHOLE,
    top_p=FLOAT,
    min_p=FLOAT,
    repeat_penalty=FLOAT,
    stop=st.lists(TEXT, max_size=3).map(tuple),
    frequency_penalty=FLOAT,
    presence_penalty=FLOAT,
    penalty_window=WHOLE,
    logit_bias=st.lists(st.tuples(WHOLE | TEXT, FLOAT), max_size=3).map(tuple),
    logprobs=st.none() | WHOLE,
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=3)
CALLS = st.lists(st.builds(ToolCall, TEXT, TEXT, OBJECT), max_size=2).map(tuple)
ROLE = st.sampled_from(["system", "user", "assistant", "tool"])
MESSAGE = st.builds(Message, ROLE, TEXT) | st.builds(Message, ROLE, TEXT, CALLS, TEXT)
REQUEST = st.builds(
    Request,
    id=TEXT,
    messages=st.lists(MESSAGE, max_size=3).map(tuple),
    text=st.none() | TEXT,
    prefill=TEXT,
    sampling=SAMPLING,
    schema=st.none() | st.dictionaries(TEXT, JSON, max_size=3),
    grammar=st.none() | TEXT,
    tools=st.lists(st.builds(Tool, TEXT, TEXT, OBJECT), max_size=2).map(tuple),
    tool_choice=TEXT,
    adapters=st.lists(st.tuples(st.sampled_from(["/a.gguf", "/b/c"]), FLOAT), max_size=2).map(
        tuple
    ),
    deadline_s=st.none() | FLOAT,
    interactive=st.booleans(),
    exact=st.booleans(),
    trace_id=TEXT,
)
LOGPROB = st.builds(
    TokenLogprob, TEXT, FLOAT, st.lists(st.tuples(TEXT, FLOAT), max_size=2).map(tuple)
)
FINISHED = st.builds(
    Finished,
    request_id=TEXT,
    text=TEXT,
    finish_reason=st.sampled_from(wire.REASONS),
    usage=st.builds(Usage, WHOLE, WHOLE, WHOLE, WHOLE),
    timing=st.builds(Timing, FLOAT, st.none() | FLOAT, st.none() | FLOAT),
    seed=WHOLE,
    reasoning=TEXT,
    logprobs=st.lists(LOGPROB, max_size=2).map(tuple),
    tool_calls=CALLS,
    cost=st.none() | FLOAT,
    notes=st.lists(TEXT, max_size=2).map(tuple),
    resources=st.none()
    | st.builds(
        Resources,
        busy_s=st.none() | FLOAT,
        cpu_s=st.none() | FLOAT,
        peak_bytes=st.none() | WHOLE,
        energy_j=st.none() | FLOAT,
        shared=st.booleans(),
        energy_source=st.sampled_from(CERTAINTIES),
    ),
)
KINDS = sorted(
    n for n, k in vars(errors).items() if isinstance(k, type) and issubclass(k, LLMOpsError)
)


def over(value):
    return wire.decode(wire.encode(value))


@given(REQUEST)
def test_a_request_comes_out_as_it_went_in(request):
    made = wire.read_request(over(wire.request_value(request, request.id)))
    assert made == request


@given(FINISHED | st.builds(Token, TEXT, TEXT, st.booleans()))
def test_an_event_comes_out_as_it_went_in(event):
    assert wire.read_event(over(wire.event_value(event))) == event


@given(st.lists(MESSAGE, max_size=3).map(tuple) | TEXT)
def test_a_prompt_comes_out_as_it_went_in(prompt):
    assert wire.read_prompt(over(wire.prompt_value(prompt))) == prompt


@given(st.lists(st.lists(st.floats(width=32), min_size=3, max_size=3), max_size=4))
def test_vectors_keep_every_bit(rows):
    array = np.array(rows, np.float32).reshape(len(rows), 3)
    made = wire.read_array(over(wire.array_value(array)))
    assert made.dtype == np.float32
    assert made.tobytes() == array.tobytes()
    assert made.shape == array.shape


@given(st.sampled_from(KINDS), TEXT)
def test_an_error_keeps_its_kind_and_its_message(kind, message):
    error = getattr(errors, kind)(message)
    made = wire.read_error(over(wire.error_value(error)))
    assert type(made) is type(error)
    assert str(made) == str(error)


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), KeyError("k"), SystemExit(3)])
def test_an_unknown_kind_of_error_is_an_engine_error_that_names_it(error):
    made = wire.read_error(over(wire.error_value(error)))
    assert type(made) is EngineError
    assert type(error).__name__ in str(made)


def test_a_finished_request_takes_its_error_along():
    done = Finished("r", "", "error", Usage(), Timing(), 1, error=ContextLengthError("too long"))
    made = wire.read_event(over(wire.event_value(done)))
    assert type(made.error) is ContextLengthError


def test_numbers_of_other_libraries_and_paths_are_sent_as_plain_ones():
    sampling = Sampling(np.float32(0.5), np.int64(3), logit_bias=((np.int32(7), -math.inf),))
    made = wire.read_request(over(wire.request_value(Request("r", sampling=sampling), "r")))
    assert made.sampling == Sampling(0.5, 3, logit_bias=((7, -math.inf),))
    assert over({"path": Path("a")}) == {"path": "a"}


def test_an_adapter_is_found_from_another_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert wire.adapters_value([("style.gguf", 0.5)]) == [[str(tmp_path / "style.gguf"), 0.5]]


def test_what_has_no_form_in_json_says_so():
    loop: list = []
    loop.append(loop)
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    for value in ({1, 2}, object(), loop, deep):
        with pytest.raises(OptionError, match="cannot be sent"):
            wire.encode({"schema": value})


def test_a_message_beyond_the_limit_says_so(monkeypatch):
    monkeypatch.setattr(wire, "MAX_MESSAGE", 1000)
    with pytest.raises(OptionError, match="Cut it"):
        wire.encode("x" * 2000)


@given(st.binary(max_size=200) | JSON.map(wire.encode))
def test_any_bytes_are_read_or_refused_and_nothing_else(data):
    kinds = {
        lambda v: wire.read_request(wire.mapping(v, "it")): Request,
        wire.read_event: Token | Finished,
        wire.read_prompt: str | tuple,
        wire.read_error: LLMOpsError,
        wire.read_array: np.ndarray,
        wire.read_adapters: tuple,
    }
    for read, kind in kinds.items():
        try:
            made = read(wire.decode(data))
        except WireError:
            continue
        assert isinstance(made, kind)


@pytest.mark.parametrize(
    "change",
    [
        {"id": 5},
        {"messages": [["user"]]},
        {"messages": [["user", 5]]},
        {"messages": "user"},
        {"messages": [["owner", "text"]]},
        {"messages": [["tool", "text", [["id", "name", 5]], ""]]},
        {"messages": [["tool", "text", [], 5]]},
        {"tools": [["name", "what", []]]},
        {"tools": [["name"]]},
        {"text": 5},
        {"sampling": {"temperature": "hot"}},
        {"sampling": {"temperature": True}},
        {"sampling": {"max_tokens": 2.5}},
        {"sampling": {"seed": "x"}},
        {"sampling": {"stop": "x"}},
        {"sampling": {"logit_bias": [[None, 1]]}},
        {"sampling": {"colour": 1}},
        {"schema": []},
        {"adapters": [["a"]]},
        {"deadline_s": "soon"},
        {"exact": 1},
    ],
)
def test_a_request_of_the_wrong_kind_is_refused(change):
    with pytest.raises(WireError):
        wire.read_request({"id": "r", **change})


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"a": 1', b"\xff\xfe", b"1" * 5000, b""])
def test_bytes_that_are_no_json_are_refused(data):
    with pytest.raises(WireError):
        wire.sequence(wire.decode(data), "a frame")


def test_arrays_whose_shape_is_a_lie_are_refused():
    for shape in ([-1, -1], [2**40], [1, 2], ["x"], None):
        with pytest.raises(WireError):
            wire.read_array({"shape": shape, "f32": "AAAAAA=="})
    with pytest.raises(WireError):
        wire.read_array({"shape": [0, 2**70], "f32": ""})
    assert wire.read_array({"shape": [1], "f32": "AAAAAA=="}).tolist() == [0.0]


def test_workers_are_shared_by_what_they_have_loaded():
    spec = Spec("/a", "a", "digest", n_ctx=512)
    assert spec.key({}) == Spec("/elsewhere", "other name", "digest", n_ctx=512).key({})
    others = [
        Spec("/a", "a", "other", n_ctx=512),
        Spec("/a", "a", "digest", n_ctx=1024),
        Spec("/a", "a", "digest", n_ctx=512, n_threads=1),
        Spec("/a", "a", "digest", n_ctx=512, rows=4),
    ]
    keys = {s.key({}) for s in [spec, *others]} | {spec.key({"CUDA_VISIBLE_DEVICES": "1"})}
    assert len(keys) == len(others) + 2
    assert spec.key({"HOME": "/x"}) == spec.key({})
    assert Spec.read(over(spec.value())) == spec
