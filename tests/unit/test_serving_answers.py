"""Answers of a server as the real client of OpenAI's interface gets them."""

from __future__ import annotations

import json

import httpx
import openai
import pytest
from serving_fakes import Writer, deployment, served, wait_until

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
ASKED = [{"role": "user", "content": "day"}]


@pytest.fixture(scope="module")
def ws(tmp_path_factory):
    with deployment(tmp_path_factory.mktemp("served") / "home") as found:
        yield found


@pytest.fixture(scope="module")
def service(ws):
    with served(ws) as found:
        yield found


@pytest.fixture
def client(service):
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def test_the_last_message_of_the_user_fills_a_prompt_with_one_variable(service, client):
    answer = client.chat.completions.create(model="support", messages=ASKED)
    assert answer.choices[0].message.content == "echo good day"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "support"
    request = service.engine.requests[-1]
    assert [m.role for m in request.messages] == ["system", "user"]
    assert request.messages[0].content.startswith("Be kind.")


def test_variables_fill_the_template_and_earlier_turns_stand_before_it(service, client):
    turns = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hi"},
        {"role": "user", "content": "left out"},
    ]
    answer = client.chat.completions.create(
        model="support", messages=turns, extra_body={"variables": {"q": "night"}}
    )
    assert answer.choices[0].message.content == "echo good night"
    contents = [m.content for m in service.engine.requests[-1].messages[1:]]
    assert contents == ["hello", "hi", "good night"]


def test_variables_may_come_as_metadata(client):
    answer = client.chat.completions.create(
        model="support", messages=[], metadata={"variables": json.dumps({"q": "morning"})}
    )
    assert answer.choices[0].message.content == "echo good morning"


def test_a_system_message_of_the_caller_takes_the_place_of_the_template(service, client):
    messages = [{"role": "developer", "content": "Be short."}, *ASKED]
    raw = client.chat.completions.with_raw_response.create(model="support", messages=messages)
    assert raw.headers["x-llmops-prompt"] == "messages"
    assert raw.parse().choices[0].message.content == "echo day"
    assert service.engine.requests[-1].messages[0].content == "Be short."
    assert service.engine.requests[-1].sampling.max_tokens == 64


def test_usage_tells_of_tokens_that_were_read_before(client):
    usage = client.chat.completions.create(model="support", messages=ASKED).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 3, 10)
    assert usage.prompt_tokens_details.cached_tokens == 2


def test_a_stream_comes_in_pieces_and_ends_with_usage_where_asked_for(client):
    stream = client.chat.completions.create(
        model="support", messages=ASKED, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    pieces = [
        c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content
    ]
    assert pieces == ["echo", " good", " day"]
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 10


async def test_the_asynchronous_client_streams_too(service):
    async with openai.AsyncOpenAI(
        base_url=f"{service.url}/v1", api_key="none", max_retries=0
    ) as client:
        stream = await client.chat.completions.create(model="support", messages=ASKED, stream=True)
        text = "".join([c.choices[0].delta.content or "" async for c in stream])
    assert text == "echo good day"


def test_several_answers_come_for_one_request(client):
    answer = client.chat.completions.create(model="support", messages=ASKED, n=3, seed=5)
    assert [c.index for c in answer.choices] == [0, 1, 2]
    assert {c.message.content for c in answer.choices} == {"echo good day"}
    # One prompt was read, as OpenAI counts it.
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 9)


@pytest.mark.parametrize("stream", [False, True])
def test_the_caller_gets_calls_of_its_tools(client, stream):
    choice = {"type": "function", "function": {"name": "weather"}}
    made = client.chat.completions.create(
        model="support", messages=ASKED, tools=[TOOL], tool_choice=choice, stream=stream
    )
    if stream:
        chunks = list(made)
        call = next(c.choices[0].delta.tool_calls for c in chunks if c.choices[0].delta.tool_calls)[
            0
        ]
        reason = chunks[-1].choices[0].finish_reason
    else:
        call, reason = made.choices[0].message.tool_calls[0], made.choices[0].finish_reason
    assert reason == "tool_calls"
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}


def test_results_of_tools_go_back_to_the_model(service, client):
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
    }
    turns = [
        *ASKED,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]
    answer = client.chat.completions.create(model="support", messages=turns, tools=[TOOL])
    assert answer.choices[0].message.content == "echo rain"
    sent = service.engine.requests[-1].messages
    assert [m.role for m in sent] == ["system", "user", "assistant", "tool"]
    assert sent[1].content == "good day"
    assert sent[2].tool_calls[0].arguments == {"city": "Paris"}


def test_a_schema_of_the_request_shapes_the_answer(service, client):
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    answer = client.chat.completions.create(
        model="support",
        messages=ASKED,
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema}},
    )
    assert json.loads(answer.choices[0].message.content) == {"city": "Paris"}
    assert service.engine.requests[-1].schema == schema


def test_settings_of_the_request_win_over_those_of_the_bundle(service, client):
    client.chat.completions.create(
        model="support",
        messages=ASKED,
        temperature=0,
        max_completion_tokens=9,
        seed=-1,
        stop=["END"],
        logit_bias={"5": -100},
        extra_body={"top_k": 3},
    )
    sampling = service.engine.requests[-1].sampling
    assert (sampling.temperature, sampling.max_tokens, sampling.top_k) == (0, 9, 3)
    assert (sampling.seed, sampling.stop, sampling.logit_bias) == (
        2**32 - 1,
        ("END",),
        ((5, -100),),
    )


def test_plain_completions_read_the_text_as_it_is(service, client):
    answer = client.completions.create(model="support", prompt=["one", "two"])
    assert [c.text for c in answer.choices] == ["echo one", "echo two"]
    assert service.engine.requests[-1].messages == ()
    text = "".join(
        c.choices[0].text
        for c in client.completions.create(model="support", prompt="x", stream=True)
    )
    assert text == "echo x"


def test_models_are_listed_and_unknown_ones_refused(client):
    assert [m.id for m in client.models.list()] == ["support"]
    assert client.models.retrieve("support").id == "support"
    assert client.models.retrieve("support@1").id == "support@1"
    with pytest.raises(openai.NotFoundError, match="Did you mean 'support'") as caught:
        client.chat.completions.create(model="suport", messages=ASKED)
    assert caught.value.code == "model_not_found"


def test_without_an_embedder_embeddings_are_refused(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.embeddings.create(model="support", input="x")
    assert caught.value.code == "no_embedder"


def logged(service, request):
    """The lines of a request in the log."""
    lines = map(json.loads, service.log.getvalue().splitlines())
    return [line for line in lines if line["request"] == request]


def test_each_request_has_an_id_a_trace_and_a_line_in_the_log_without_content(ws, service):
    parent = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    headers = {"X-Request-ID": "mine-1", "traceparent": parent}
    body = {"model": "support", "messages": [{"role": "user", "content": "a secret"}]}
    answer = httpx.post(f"{service.url}/v1/chat/completions", json=body, headers=headers)
    assert answer.headers["x-request-id"] == "mine-1"
    trace = ws.traces.get(answer.json()["llmops"]["trace_id"])
    attributes = trace.root.attributes
    assert attributes["llmops.request.id"] == "mine-1"
    assert attributes["traceparent"] == parent
    assert attributes["llmops.deployment"] == "support"
    assert attributes["llmops.deployment.release"] == ws.deploy.get("support@1").short
    assert wait_until(lambda: logged(service, "mine-1"))  # it is written once the answer is sent
    (line,) = logged(service, "mine-1")
    assert (line["status"], line["release"], line["output_tokens"]) == (200, "support@1", 3)
    assert "secret" not in service.log.getvalue()


def test_figures_stand_under_the_names_of_vllm_and_of_opentelemetry(service, client):
    client.chat.completions.create(model="support", messages=ASKED)
    text = httpx.get(f"{service.url}/metrics").text
    assert 'vllm:request_success_total{finished_reason="stop",model_name="support"}' in text
    assert 'vllm:num_requests_running{model_name="support"} 0.0' in text
    assert "vllm:time_to_first_token_seconds_bucket" in text
    assert "gen_ai_server_request_duration_seconds_count" in text
    assert 'llmops_release_in_service{release="support@1",slot="live"} 1.0' in text


def test_a_bundle_is_served_without_the_project(ws, tmp_path):
    import llmops_jupyter as lo

    with (
        lo.open(tmp_path / "own.db") as own,
        served(own, release=ws.deploy.get("support@1")) as found,
    ):
        body = {"model": "support", "messages": ASKED}
        answer = httpx.post(f"{found.url}/v1/chat/completions", json=body).json()
        assert answer["choices"][0]["message"]["content"] == "echo good day"
        assert own.traces.get(answer["llmops"]["trace_id"]).root.prompt_name == "support"


def test_a_guard_holds_an_answer_back_until_it_is_checked(tmp_path):
    from deploy_fakes import project

    with project(tmp_path / "home") as ws:
        ws.guard.add("strict", "output:\n  - {check: pii, action: modify}\n")
        ws.prompts.save("support", "good {{ q }}")
        release = ws.deploy.build("support", model="tiny", guard="strict", max_tokens=64)
        ws.deploy.promote(release.ref)
        writer = Writer(lambda text: "write to ann@example.com today")
        with (
            served(ws, writer) as found,
            openai.OpenAI(base_url=f"{found.url}/v1", api_key="none", max_retries=0) as client,
        ):
            chunks = list(
                client.chat.completions.create(model="support", messages=ASKED, stream=True)
            )
    pieces = [c.choices[0].delta.content for c in chunks if c.choices[0].delta.content]
    assert len(pieces) == 1
    assert "ann@example.com" not in pieces[0]
    assert pieces[0].startswith("write to")


def test_a_bundle_with_documents_is_given_passages_names_its_sources_and_embeds(tmp_path):
    from deploy_fakes import add_index, plugged, project

    home = tmp_path / "home"
    with project(home) as ws:
        add_index(ws, home)
        ws.prompts.save("support", "Read this: {{ context }}\nand answer: {{ q }}")
        release = ws.deploy.build("support", model="tiny", rag="manual", max_tokens=64)
        ws.deploy.promote(release.ref)

        def opens(bundle):
            workspace = bundle.workspace()
            plugged(workspace)
            return workspace

        with (
            served(ws, opens=opens) as found,
            openai.OpenAI(base_url=f"{found.url}/v1", api_key="none", max_retries=0) as client,
        ):
            question = [{"role": "user", "content": "How do I charge the battery?"}]
            answer = client.chat.completions.create(model="support", messages=question)
            vectors = client.embeddings.create(model="support", input=["one battery", "two"])
            plain = client.embeddings.create(
                model="support", input="one battery", encoding_format="float"
            )
            with pytest.raises(openai.BadRequestError, match="dimensions"):
                client.embeddings.create(model="support", input="x", dimensions=3)
    assert answer.choices[0].message.content == "yes"
    assert answer.llmops["sources"]
    assert all("/" not in one["source"] for one in answer.llmops["sources"])
    assert len(vectors.data) == 2
    assert vectors.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert vectors.usage.prompt_tokens == 3


def test_where_only_the_prompt_is_answered_messages_of_the_system_are_refused(ws):
    with served(ws, only_template=True) as found:
        for body in (
            {"messages": [{"role": "system", "content": "x"}, *ASKED]},
            {"messages": [{"role": "assistant", "content": "x"}]},
        ):
            answer = httpx.post(
                f"{found.url}/v1/chat/completions", json={"model": "support", **body}
            )
            assert answer.status_code == 400
            assert "its own prompt only" in answer.json()["error"]["message"]
        answer = httpx.post(
            f"{found.url}/v1/chat/completions", json={"model": "support", "messages": ASKED}
        )
        assert answer.status_code == 200


def test_arguments_of_calls_pass_the_guard_as_answers_do(tmp_path):
    from deploy_fakes import project

    with project(tmp_path / "home") as ws:
        ws.guard.add("strict", "output:\n  - {check: words, banned: [Paris], action: deny}\n")
        ws.prompts.save("support", "good {{ q }}")
        release = ws.deploy.build("support", model="tiny", guard="strict", max_tokens=64)
        ws.deploy.promote(release.ref)
        with served(ws) as found:
            body = {
                "model": "support",
                "messages": ASKED,
                "tools": [TOOL],
                "tool_choice": "required",
            }
            answer = httpx.post(f"{found.url}/v1/chat/completions", json=body).json()
    assert answer["choices"][0]["finish_reason"] == "content_filter"
    assert "tool_calls" not in answer["choices"][0]["message"]
    assert "Paris" not in json.dumps(answer["choices"])
