"""The parts of the remote engine that need no server."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from llmops_jupyter.engine.protocol import Request
from llmops_jupyter.engine.remote import body, faults, flavours, pace, pieces, scoring
from llmops_jupyter.engine.remote.dialect import Dialect
from llmops_jupyter.errors import EngineError, OptionError
from llmops_jupyter.models.endpoint import Endpoint
from llmops_jupyter.records import Message, Sampling, ToolCall, Usage

NOW = datetime(2026, 11, 25, 6, 0, 0, tzinfo=timezone.utc)
HERE = Endpoint("http://localhost:8000", "m")


def test_the_engine_is_imported_without_an_http_library():
    code = "import llmops_jupyter.engine.remote, sys; print('httpx' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Wed, 25 Nov 2026 06:00:20 GMT"}, 20.0),
        ({"retry-after": "Wed, 25 Nov 2026 05:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(given, seconds):
    assert pace.retry_after(given, NOW) == seconds


def test_backoff_is_jittered_below_a_doubling_bound():
    source = random.Random(1)
    for tries in range(1, 12):
        bound = min(pace.CAP_S, pace.BASE_S * 2 ** (tries - 1))
        drawn = [pace.backoff(tries, source) for _ in range(200)]
        assert 0 <= min(drawn) < bound / 4
        assert bound * 3 / 4 < max(drawn) <= bound


async def test_who_is_interactive_gets_the_next_slot():
    import asyncio

    slots, order = pace.Slots(1), []

    async def work(name, interactive):
        await slots.take(interactive=interactive)
        order.append(name)
        slots.give()

    await slots.take(interactive=False)
    tasks = [asyncio.ensure_future(work(n, n == "asked")) for n in ("a", "b", "asked")]
    await asyncio.sleep(0)
    tasks[0].cancel()
    slots.give()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == ["asked", "b"]
    assert slots.used == 0


@pytest.mark.parametrize(
    ("entry", "flavour", "context"),
    [
        ({"owned_by": "vllm", "max_model_len": 99}, "vllm", 99),
        ({"owned_by": "llamacpp", "meta": {"n_ctx_train": 5, "n_ctx": 4}}, "llama-server", 4),
        ({"owned_by": "me", "permissions": []}, "llama-cpp-python", None),
        ({"owned_by": "me"}, "compatible", None),
        ({"owned_by": "library"}, "ollama", None),
        ({"context_window": 7}, "compatible", 7),
    ],
)
def test_servers_are_recognised_by_their_list_of_models(entry, flavour, context):
    found = flavours.facts(HERE, {"data": [{"id": "m", **entry}]})
    assert (found.flavour.name, found.context_length) == (flavour, context)
    assert found.models == ("m",)


@pytest.mark.parametrize("listed", [None, {}, [], "x", {"data": 3}, {"data": [3, {"id": 4}]}])
def test_a_list_of_models_that_cannot_be_read_is_no_fault(listed):
    assert flavours.facts(HERE, listed).flavour.name == "compatible"


def test_a_flavour_that_was_named_wins():
    named = Endpoint("http://localhost:8000", "m", flavour="ollama")
    assert flavours.facts(named, {"data": [{"id": "m", "owned_by": "vllm"}]}).provider == "ollama"


def built(flavour, **options):
    request = Request("1", (Message("user", "Hi"),), **options)
    return body.build("m", request, Dialect(flavours.FLAVOURS[flavour]), 3, {})


def test_only_standard_fields_go_to_servers_that_are_not_known():
    for flavour in ("openai", "compatible", "ollama"):
        call = built(flavour)
        assert not {"top_k", "min_p", "repeat_penalty", "repetition_penalty"} & set(call.body)
        assert call.notes == []


def test_settings_that_were_changed_and_cannot_be_sent_are_noted():
    sampling = Sampling(top_k=5, min_p=0.3, repeat_penalty=1.2, penalty_window=9)
    notes = " ".join(built("openai", sampling=sampling).notes)
    assert all(n in notes for n in ("top_k", "min_p", "repeat_penalty", "penalty_window"))
    call = built("llama-server", sampling=sampling)
    assert call.notes == []
    assert (call.body["top_k"], call.body["repeat_last_n"]) == (5, 9)
    call = built("vllm", sampling=sampling)
    assert call.body["repetition_penalty"] == 1.2
    assert len(call.notes) == 1


def test_more_stop_strings_than_a_server_takes_are_not_all_sent():
    sampling = Sampling(stop=tuple("abcdef"))
    assert built("openai", sampling=sampling).body["stop"] == list("abcd")
    assert built("vllm", sampling=sampling).body["stop"] == list("abcdef")


def test_grammars_go_to_servers_that_take_them():
    assert built("llama-server", grammar="root ::= x").body["grammar"] == "root ::= x"
    assert built("vllm", grammar="g").body["structured_outputs"] == {"grammar": "g"}
    with pytest.raises(OptionError, match="grammars"):
        built("openai", grammar="g")


def test_tool_messages_are_written_as_the_interface_has_them():
    call = Message("assistant", "", (ToolCall("c1", "add", {"a": 1}),))
    value = body.message_value(call)
    assert value["content"] == ""  # null is refused by some servers
    assert value["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 1}'}
    result = body.message_value(Message("tool", "2", tool_call_id="c1"))
    assert result == {"role": "tool", "content": "2", "tool_call_id": "c1"}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        ({"type": "object", "properties": {}, "additionalProperties": False}, True),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": False}, False),
        ({"type": "object", "properties": {}}, False),
        ({"type": "array", "items": {"type": "object"}}, False),
        ({"type": "array", "items": {"type": "string"}}, True),
    ],
)
def test_strict_is_asked_only_for_schemas_that_can_be(schema, strict):
    assert body.strict(schema) is strict


def test_refusals_of_a_web_framework_name_their_field():
    detail = (
        '{"detail": [{"loc": ["body", "seed"], "msg": "not allowed", "type": "extra_forbidden"}]}'
    )
    fault = faults.refused(HERE, 422, {}, detail, "")
    dialect = Dialect(flavours.FLAVOURS["compatible"])
    assert dialect.learn(fault, {"seed": 1})
    assert dialect.dropped == {"seed"}
    assert not dialect.learn(fault, {})


def test_a_schema_is_asked_for_in_weaker_and_weaker_ways():
    dialect = Dialect(flavours.FLAVOURS["compatible"])
    fault = faults.refused(HERE, 400, {}, '{"error": {"param": "response_format"}}', "")
    ways = [dialect.schema]
    for form in (
        {"type": "json_schema"},
        {"type": "json_object", "schema": {}},
        {"type": "json_object"},
    ):
        assert dialect.learn(fault, {"response_format": form})
        ways.append(dialect.schema)
    assert tuple(ways) == flavours.SCHEMA_WAYS
    # A request that was sent before says nothing new.
    assert dialect.learn(fault, {"response_format": {"type": "json_schema"}})
    assert dialect.schema == "asked"


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("top_logprobs must be at most 11", 11),
        ("Invalid value for top_logprobs: 20. It must be between 0 and 5.", 5),
        ("too many logprobs", 10),
    ],
)
def test_as_many_likely_tokens_are_asked_for_as_the_server_returns(said, left):
    dialect = Dialect(flavours.FLAVOURS["compatible"])
    request = Request("1", (Message("user", "x"),), sampling=Sampling(logprobs=20))
    sent = body.build("m", request, dialect, 1, {}).body
    refusal = faults.refused(HERE, 400, {}, json.dumps({"error": {"message": said}}), "")
    assert dialect.learn(refusal, sent)
    again = body.build("m", request, dialect, 1, {})
    assert again.body["top_logprobs"] == left
    assert f"the {left} likeliest tokens at most" in again.notes[0]


def test_fields_that_a_known_server_ignores_are_left_out_and_noted():
    endpoint = Endpoint("https://api.anthropic.com/v1/", "claude", "ANTHROPIC_API_KEY")
    flavour = flavours.facts(endpoint, {}).flavour
    request = Request("1", (Message("user", "x"),), sampling=Sampling(seed=3, logprobs=2))
    call = body.build("claude", request, Dialect(flavour), 3, {})
    assert not {"seed", "logprobs", "top_logprobs"} & set(call.body)
    assert [note.split("setting ")[1].split(";")[0] for note in call.notes] == ["seed", "logprobs"]
    schema = body.build(
        "claude", replace(request, schema={"type": "object"}), Dialect(flavour), 3, {}
    )
    assert "response_format" not in schema.body
    assert "JSON schema" in schema.body["messages"][0]["content"]


def test_a_beginning_is_taken_off_only_if_it_is_there():
    for parts, left in ((["The a", "nswer"], ""), (["The answer is"], " is"), (["The b"], "The b")):
        skipped = pieces.Skipped("The answer")
        assert "".join(skipped.add(part) for part in parts) + skipped.end() == left
    skipped = pieces.Skipped("The answer")
    assert skipped.add("The") == ""
    assert skipped.end() == "The"


def test_both_forms_of_logprobs_are_read():
    chat = {
        "content": [{"token": "a", "logprob": -1, "top_logprobs": [{"token": "b", "logprob": 0}]}]
    }
    older = {"tokens": ["a"], "token_logprobs": [-1], "top_logprobs": [{"b": 0}]}
    assert pieces.logprobs_of(chat) == pieces.logprobs_of(older)
    assert pieces.logprobs_of({"tokens": ["x"], "token_logprobs": [None]}) == []
    assert pieces.logprobs_of(None) == pieces.logprobs_of("x") == []


def test_reasoning_that_only_the_total_counts_is_output():
    given = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 44}
    given["completion_tokens_details"] = {"reasoning_tokens": 30}
    assert pieces.usage_of(given) == Usage(10, 34, reasoning_tokens=30)
    assert pieces.usage_of({"prompt_tokens": 10, "completion_tokens": 4}) == Usage(10, 4)


def test_a_name_that_comes_with_each_piece_is_one_name():
    calls = pieces.ToolCalls()
    for part in ('{"a"', ": 1}", ""):
        calls.add([{"index": 0, "id": "c", "function": {"name": "add", "arguments": part}}])
    assert calls.finish() == (ToolCall("c", "add", {"a": 1}),)


def test_a_call_that_the_end_of_the_answer_cuts_is_left_out():
    calls = pieces.ToolCalls()
    calls.add([{"index": 0, "id": "c", "function": {"name": "add", "arguments": "{}"}}])
    calls.add([{"index": 1, "id": "d", "function": {"name": "add", "arguments": '{"a'}}])
    assert len(calls) == 2
    assert [call.id for call in calls.finish(cut=True)] == ["c"]
    with pytest.raises(EngineError, match="no JSON object"):
        calls.finish()


def test_tool_calls_without_index_or_id_are_put_together():
    calls = pieces.ToolCalls()
    calls.add([{"function": {"name": "f", "arguments": {"a": 1}}}])
    assert calls.finish() == (ToolCall("call_0", "f", {"a": 1}),)
    calls = pieces.ToolCalls()
    for name in ("x", "y"):
        calls.add([{"index": 0, "id": name, "function": {"name": name, "arguments": "{}"}}])
    assert [call.name for call in calls.finish()] == ["x", "y"]


def test_scores_sum_the_tokens_that_only_one_label_begins_with():
    top = ((" pos", -1.0), ("pos", -2.0), ("n", -3.0), ("zzz", -8.0))
    found = scoring.score(["positive", "negative", "mixed"], top)
    assert found.values == pytest.approx([-0.6867, -3.0, -8.0], abs=1e-3)
    assert found.bounds == 1


def test_labels_that_share_the_likeliest_token_are_refused():
    with pytest.raises(EngineError, match="'pending' and 'positive'"):
        scoring.score(["pending", "positive"], (("p", -0.1), ("positive", -4.0)))
    # A rare token that several begin with bounds the one that has none of its own.
    found = scoring.score(["pending", "positive"], (("positive", -0.1), ("p", -4.0), ("x", -9.0)))
    assert found.values == [-4.0, -0.1]


@pytest.mark.parametrize("labels", [[], [""], ["a", "a "], [" "]])
def test_labels_that_cannot_differ_are_refused(labels):
    with pytest.raises(OptionError):
        scoring.check(labels)


def test_labels_share_whole_words():
    assert scoring.shared_beginning(["very good", "very bad"]) == "very "
    assert scoring.shared_beginning(["positive", "possible"]) == ""
    assert scoring.shared_beginning(["one two"]) == ""
