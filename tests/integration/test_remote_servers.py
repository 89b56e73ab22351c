"""The remote engine against real servers: llama_cpp.server, and llama-server where one is built."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from remote_processes import started, stop

from llmops_jupyter.engine.protocol import Finished, Request, Token
from llmops_jupyter.engine.remote import RemoteEngine
from llmops_jupyter.errors import EngineError
from llmops_jupyter.models.endpoint import Endpoint
from llmops_jupyter.records import Message, Sampling

pytestmark = pytest.mark.model

LLAMA_SERVER = Path(__file__).parents[2] / "build/peers/llama-server/out/bin/llama-server"
GREEDY = Sampling(temperature=0, max_tokens=16)
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "old": {"type": "boolean"}},
    "required": ["city", "old"],
    "additionalProperties": False,
}


@pytest.fixture(scope="session")
def llama_server(model_path, tmp_path_factory):
    """llama-server with the bundled model and four slots."""
    if not LLAMA_SERVER.is_file():
        pytest.skip("llama-server is not built (build/peers)")
    command = [str(LLAMA_SERVER), "-m", str(model_path), "-c", "4096", "-np", "4", "-t", "1"]
    command += ["--alias", "smollm2", "--no-webui"]
    url, process = started(command, tmp_path_factory.mktemp("server") / "log")
    yield url
    stop(process)


@pytest.fixture(params=["python_server", "llama_server"])
def remote(request):
    url = request.getfixturevalue(request.param)
    engine = RemoteEngine(Endpoint(url, "smollm2", concurrency=4), model_name="far")
    yield engine
    engine.close()


def ask(text, number="1", **options):
    messages = (Message("system", "You answer in one short sentence."), Message("user", text))
    return Request(number, messages, **{"sampling": GREEDY, **options})


def only(engine, request):
    ends = [e for e in engine.generate([request]) if isinstance(e, Finished)]
    assert len(ends) == 1
    assert ends[0].error is None
    return ends[0]


def test_the_server_is_recognised(remote):
    status = remote.status()
    assert status["provider"] == "llama.cpp"
    assert status["flavour"] in ("llama-cpp-python", "llama-server")
    assert not any("does not list" in note for note in status.get("notes", ()))


def test_an_answer_streams_and_is_that_of_the_model_here(remote, engine):
    request = ask("What is the capital of France?")
    *tokens, end = remote.generate([request])
    assert len(tokens) > 1
    assert all(isinstance(token, Token) for token in tokens)
    assert "".join(token.text for token in tokens) == end.text
    assert "Paris" in end.text
    assert end.text[:20] == only(engine, request).text[:20]
    assert (end.finish_reason, end.error) in (("length", None), ("stop", None))
    assert end.usage.input_tokens > 5
    assert end.usage.output_tokens > 3


def test_a_batch_ends_whole(remote):
    requests = [ask(f"Write the number {i}.", str(i)) for i in range(6)]
    ends = [e for e in remote.generate(requests) if isinstance(e, Finished)]
    assert sorted(e.request_id for e in ends) == [str(i) for i in range(6)]
    assert all(e.error is None and e.text for e in ends)


def test_the_seed_is_that_of_the_request(remote):
    """A server that has read the prompt before computes slightly differently, so beginnings are compared."""

    def begun(seed):
        sampling = Sampling(temperature=2.0, max_tokens=5, seed=seed)
        return only(remote, ask("Tell a story.", sampling=sampling)).text[:8]

    begun(5)
    assert begun(5) == begun(5)
    assert len({begun(seed) for seed in range(5)}) > 1


def test_settings_beyond_the_standard_ones_arrive(remote):
    # Only the likeliest token is left, however hot.
    sampling = Sampling(temperature=5.0, max_tokens=12, top_k=1)
    end = only(remote, ask("What is the capital of France?", sampling=sampling))
    assert (
        end.text
        == only(
            remote,
            ask("What is the capital of France?", sampling=Sampling(temperature=0, max_tokens=12)),
        ).text
    )
    assert not any("top_k" in note for note in end.notes)


def test_a_schema_is_enforced_by_the_server(remote):
    sampling = Sampling(temperature=0, max_tokens=60)
    end = only(remote, ask("Name a city.", schema=SCHEMA, sampling=sampling))
    assert set(json.loads(end.text)) == {"city", "old"}
    assert not any("enforce" in note for note in end.notes)


def test_a_grammar_is_enforced_by_the_server(remote):
    end = only(remote, ask("Is water wet?", grammar='root ::= "perhaps" | "never"'))
    assert end.text in ("perhaps", "never")


def test_a_forbidden_text_does_not_come(remote):
    sampling = Sampling(temperature=0, max_tokens=12, logit_bias=((" Paris", float("-inf")),))
    end = only(remote, ask("What is the capital of France?", sampling=sampling))
    assert " Paris" not in end.text


def test_a_begun_answer_goes_on(remote):
    end = only(remote, ask("What is the capital of France?", prefill="The capital of France is"))
    assert end.text
    assert not end.text.startswith("The capital of France is")
    known = remote.status()["flavour"] == "llama-server"
    assert known != any("begun" in note for note in end.notes)
    assert not known or "Paris" in end.text


def test_a_text_goes_on_without_a_chat_template(remote):
    end = only(remote, Request("1", text="The capital of France is", sampling=GREEDY))
    assert "Paris" in end.text


def test_stop_strings_end_the_answer(remote):
    sampling = Sampling(temperature=0, max_tokens=40, stop=("Paris",))
    end = only(remote, ask("What is the capital of France?", sampling=sampling))
    assert "Paris" not in end.text
    assert end.finish_reason == "stop"


def test_logprobs_are_those_of_the_model_here(remote, engine):
    sampling = Sampling(temperature=0, max_tokens=4, logprobs=3)
    request = ask("What is the capital of France?", sampling=sampling)
    far, near = only(remote, request), only(engine, request)
    assert [t.token for t in far.logprobs] == [t.token for t in near.logprobs]
    assert np.allclose(
        [t.logprob for t in far.logprobs], [t.logprob for t in near.logprobs], atol=0.3
    )
    assert all(len(t.top) >= 3 for t in far.logprobs)


def test_labels_are_ordered_as_by_the_model_here(remote, engine):
    prompt = [Message("user", "Is Paris in France? Answer Yes or No.")]
    items = [(prompt, ["Yes", "No"])]
    far, near = remote.score(items)[0], engine.score(items)[0]
    assert (far[0] > far[1]) == (near[0] > near[1])


def test_tokens_are_counted_as_here(remote, engine):
    text = "How many tokens has this sentence, with Grüße?"
    assert remote.count_tokens(text) == engine.count_tokens(text)


def test_of_given_texts_it_is_said_that_nothing_is_known(remote):
    """llama-server does not echo; llama_cpp.server echoes what is one token off."""
    with pytest.raises(EngineError, match="this machine"):
        remote.logprobs(["The capital of France is Paris."])


def test_after_a_cancelled_answer_the_next_one_comes(remote):
    events = remote.generate([ask("Tell a long story.", sampling=Sampling(max_tokens=500))])
    assert isinstance(next(events), Token)
    events.close()
    assert only(remote, ask("What is the capital of France?")).text


def test_a_model_that_is_not_there_is_told(llama_server):
    engine = RemoteEngine(Endpoint(llama_server, "other"), model_name="far")
    try:
        assert any("does not list" in note for note in engine.status()["notes"])
    finally:
        engine.close()
