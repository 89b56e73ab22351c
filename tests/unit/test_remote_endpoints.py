"""Endpoints and prices."""

from __future__ import annotations

import json

import pytest

from llmops_jupyter.errors import EngineError, OptionError
from llmops_jupyter.models.endpoint import Endpoint
from llmops_jupyter.models.prices import price_of
from llmops_jupyter.records import Usage


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1"),
        ("HTTPS://API.openai.com/v1/chat/completions", "https://api.openai.com/v1"),
        ("http://[::1]:80/llm", "http://[::1]:80/llm/v1"),
        ("https://host/openai/v1", "https://host/openai/v1"),
        ("https://host/v1beta/openai/", "https://host/v1beta/openai"),
    ],
)
def test_an_address_is_kept_with_its_version(given, kept):
    assert Endpoint(given, "m").url == kept


@pytest.mark.parametrize(
    "given",
    ["", "localhost:8000", "ftp://host", "http://", "http://host:port", "http://host/?key=hidden"],
)
def test_what_is_no_address_is_refused(given):
    with pytest.raises(OptionError) as caught:
        Endpoint(given, "m")
    assert "hidden" not in str(caught.value)


def test_an_address_with_a_password_is_refused_without_showing_it():
    with pytest.raises(OptionError) as caught:
        Endpoint("https://me:hidden@host", "m")
    assert "hidden" not in str(caught.value)
    assert "--key-env" in str(caught.value)


@pytest.mark.parametrize("given", ["sk-proj-hidden", "gsk_hidden", "A B", "hidden=1"])
def test_a_key_in_place_of_its_variable_is_refused_without_showing_it(given):
    with pytest.raises(OptionError) as caught:
        Endpoint("http://host", "m", given)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"model": " "},
        {"concurrency": 0},
        {"concurrency": 2.5},
        {"context_length": 0},
        {"flavour": "vlm"},
    ],
)
def test_other_fields_are_checked(options):
    with pytest.raises(OptionError):
        Endpoint("http://host", **{"model": "m", **options})


def test_the_digest_stands_for_address_and_model_and_not_for_the_key():
    one = Endpoint("http://host", "m", "KEY_ONE")
    assert one.digest == Endpoint("http://host/v1", "m", "KEY_TWO", concurrency=1).digest
    assert one.digest != Endpoint("http://host", "n", "KEY_ONE").digest
    assert one.digest != Endpoint("http://host:81", "m", "KEY_ONE").digest
    assert len(one.digest) == 64


def test_an_endpoint_goes_through_json():
    one = Endpoint("http://host", "m", "KEY", 4096, 3, "vllm")
    kept = json.loads(json.dumps(one.as_dict()))
    assert Endpoint.from_dict({**kept, "later": 1}) == one


def test_the_key_is_read_at_each_call(monkeypatch):
    endpoint = Endpoint("http://host", "m", "SOME_KEY")
    with pytest.raises(EngineError, match="SOME_KEY"):
        endpoint.key()
    monkeypatch.setenv("SOME_KEY", " abc\n")
    assert endpoint.key() == "abc"
    monkeypatch.setenv("SOME_KEY", "a b")
    with pytest.raises(EngineError) as caught:
        endpoint.key()
    assert "a b" not in str(caught.value)
    assert Endpoint("http://host", "m").key() == ""


@pytest.mark.parametrize(
    ("url", "local", "exposed"),
    [
        ("http://localhost:1", True, False),
        ("http://127.0.0.5", True, False),
        ("http://[::1]", True, False),
        ("http://host", False, True),
        ("https://host", False, False),
    ],
)
def test_a_key_is_exposed_on_a_network_without_encryption(url, local, exposed):
    endpoint = Endpoint(url, "m", "KEY")
    assert (endpoint.local, endpoint.exposed) == (local, exposed)


def test_dated_names_have_the_price_of_the_plain_one():
    plain = price_of(Endpoint("https://api.openai.com", "gpt-4o"))
    dated = price_of(Endpoint("https://api.openai.com", "gpt-4o-2024-08-06"))
    assert plain == dated
    assert plain.date >= "2026"


def test_cached_tokens_cost_their_own_price():
    price = price_of(Endpoint("https://api.openai.com", "gpt-4o"))
    cost = price.cost(Usage(1_000_000, 500_000, 400_000))
    assert cost == pytest.approx(0.6 * price.input + 0.4 * price.cached + 0.5 * price.output)


def test_local_endpoints_and_unknown_models_have_no_price():
    assert price_of(Endpoint("http://localhost:8000", "gpt-4o")) is None
    assert price_of(Endpoint("https://api.openai.com", "my-own")) is None


def test_the_users_own_prices_win(tmp_path, monkeypatch):
    path = tmp_path / "prices.json"
    monkeypatch.setenv("LLMOPS_PRICES", str(path))
    models = {"gpt-4o": {"input": 1, "output": 2}, "own": {"input": 0.5, "output": 0}}
    hosts = {"api.openai.com": {"models": models}, "here": {"models": models}}
    path.write_text(json.dumps({"date": "2030-01-01", "hosts": hosts}))
    found = price_of(Endpoint("https://api.openai.com", "gpt-4o"))
    assert (found.input, found.cached, found.output, found.date) == (1, 1, 2, "2030-01-01")
    assert price_of(Endpoint("http://here:1", "own")).input == 0.5
    assert price_of(Endpoint("https://api.openai.com", "gpt-4o-mini")).date < "2030"


@pytest.mark.parametrize("text", ["", "{}", '{"date": "x", "hosts": {"h": {"models": {"m": {}}}}}'])
def test_prices_that_cannot_be_read_are_told(tmp_path, monkeypatch, text):
    path = tmp_path / "prices.json"
    path.write_text(text)
    monkeypatch.setenv("LLMOPS_PRICES", str(path))
    with pytest.raises(OptionError, match=r"prices\.json"):
        price_of(Endpoint("https://api.openai.com", "gpt-4o"))


def test_a_file_of_prices_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMOPS_PRICES", str(tmp_path / "none.json"))
    with pytest.raises(OptionError, match="LLMOPS_PRICES"):
        price_of(Endpoint("https://api.openai.com", "gpt-4o"))
