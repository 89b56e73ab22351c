"""What is written for vLLM and Ray: arguments, scripts, containers, replicas."""

from __future__ import annotations

import json
import shlex
import subprocess
from importlib import resources

import jsonschema
import pytest
import yaml

from llmops_jupyter.deploy.targets import containers, rayserve
from llmops_jupyter.deploy.targets.arguments import ARGUMENTS, read_arguments, words_of
from llmops_jupyter.deploy.targets.asgi import Asked, Begun, answers
from llmops_jupyter.deploy.targets.cluster import connect
from llmops_jupyter.deploy.targets.scaling import Scaling
from llmops_jupyter.engine.engines import Engines
from llmops_jupyter.errors import DeployError, MissingDependencyError, OptionError

WORDS = ["--served-model-name", "it's $HOME", "--max-num-seqs", "64"]


def test_arguments_are_read_as_a_shell_reads_them():
    found = read_arguments("--max-num-seqs=64 --enforce-eager --dtype bfloat16")
    assert words_of(found) == ["--max-num-seqs", "64", "--enforce-eager", "--dtype", "bfloat16"]
    assert read_arguments(()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("--max-num-seq 4", "Did you mean '--max-num-seqs'"),
        ("--max-num-seqs", "takes one value, and has 0"),
        ("--max-num-seqs 4 5", "takes one value, and has 2"),
        ("--enforce-eager yes", "takes no value"),
        ("--seed 1 --seed 2", "there twice"),
        ("64", "belongs to no argument"),
        ("--dtype 'half", "cannot be read"),
        ("--lora-modules a=b", "written by the export itself"),
        ("--api-key sk-123", "is a secret"),
        ("--enable-auto-tool-choice", "goes only with --tool-call-parser"),
    ],
)
def test_an_argument_that_vllm_would_refuse_is_refused_before_anything_is_written(text, said):
    with pytest.raises(OptionError, match=said) as found:
        read_arguments(text)
    assert "sk-123" not in str(found.value)


def test_each_known_argument_has_a_name_that_a_command_line_has():
    assert all(name.startswith("--") and name == name.lower() for name in ARGUMENTS)


def test_the_script_hands_on_words_as_they_are(tmp_path):
    (tmp_path / "vllm").write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    (tmp_path / "vllm").chmod(0o755)
    (tmp_path / "serve.sh").write_text(containers.script(WORDS))
    ran = subprocess.run(
        ["/bin/sh", str(tmp_path / "serve.sh"), "--port", "1"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.splitlines() == ["serve", "model", *WORDS, "--port", "1"]


def test_the_compose_file_is_one_by_the_published_schema():
    schemas = pytest.importorskip("check_jsonschema", reason="carries compose's schema")
    path = resources.files(schemas) / "builtin_schemas" / "vendor" / "compose-spec.json"
    value = yaml.safe_load(yaml.safe_dump(containers.compose("support", WORDS)))
    schema = json.loads(path.read_text("utf-8"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert list(validator.iter_errors(value)) == []
    assert list(validator.iter_errors({"services": {"vllm": {"port": 1}}}))


def test_the_compose_file_mounts_the_model_to_be_read_and_listens_on_this_machine_only():
    service = containers.compose("support", WORDS)["services"]["vllm"]
    assert service["volumes"][0]["read_only"] is True
    assert service["ports"] == ["${VLLM_ADDRESS:-127.0.0.1:8000}:8000"]
    assert "it's $$HOME" in service["command"]  # which compose would fill in
    assert service["image"].startswith("${VLLM_IMAGE:-")


def test_no_file_names_a_registry():
    texts = [containers.dockerfile(WORDS), yaml.safe_dump(containers.compose("a", WORDS))]
    for text in texts:
        image = text.partition("vllm/")[0].split()[-1]
        assert "." not in image.rpartition("-")[2]


def test_the_image_begins_the_server_with_the_same_words():
    line = containers.dockerfile(WORDS).splitlines()[-1]
    assert json.loads(line.removeprefix("ENTRYPOINT ")) == ["vllm", "serve", "/model", *WORDS]
    assert shlex.split(containers.script(WORDS).splitlines()[-1])[3:] == ["model", *WORDS, "$@"]


def test_replicas_are_fixed_or_follow_the_load():
    fixed = Scaling.read({"bundle": "/b", "replicas": 3, "cpus": 2})
    assert fixed.replicas()["num_replicas"] == 3
    assert fixed.replicas()["ray_actor_options"]["num_cpus"] == 2
    moving = Scaling.read({"bundle": "/b", "max_replicas": 6})
    assert moving.replicas()["autoscaling_config"]["max_replicas"] == 6
    slow = Scaling.read({"bundle": "/b", "downscale_delay_s": 60})
    assert slow.replicas()["autoscaling_config"]["downscale_delay_s"] == 60
    for made in (fixed, moving, slow):
        assert Scaling.read(made.args()) == made
        json.dumps(made.args())


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({}, "bundle is the folder"),
        ({"bundle": "/b", "replica": 2}, "Did you mean 'replicas'"),
        ({"bundle": "/b", "replicas": 0}, "from 1"),
        ({"bundle": "/b", "replicas": True}, "whole number"),
        ({"bundle": "/b", "replicas": 2, "max_replicas": 3}, "leave out replicas"),
        ({"bundle": "/b", "replicas": 2, "upscale_delay_s": 3}, "leave out replicas"),
        ({"bundle": "/b", "min_replicas": 5, "max_replicas": 3}, "is more than max_replicas"),
        ({"bundle": "/b", "cpus": float("nan")}, "cpus is a number"),
        ({"bundle": "/b", "keys": 3}, "keys is a path"),
    ],
)
def test_replicas_that_cannot_be_had_are_refused(args, said):
    with pytest.raises(OptionError, match=said):
        Scaling.read(args)


async def test_an_answer_of_an_application_comes_piece_by_piece():
    async def app(scope, receive, send):
        body = (await receive())["body"]
        headers = [(b"Content-Type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for part in (body, scope["path"].encode()):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    found = [piece async for piece in answers(app, Asked("POST", "/v1", body=b"hello"))]
    assert found == [Begun(200, ((b"content-type", b"text/event-stream"),)), b"hello", b"/v1"]
    assert found[0].streams


async def test_an_application_is_told_when_the_client_leaves():
    left = []

    async def app(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        left.append(await receive())

    found = answers(app, Asked("GET", "/"))
    await anext(found)
    await found.aclose()
    assert left == [{"type": "http.disconnect"}]


async def test_what_an_application_raises_is_raised():
    async def app(scope, receive, send):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        [piece async for piece in answers(app, Asked("GET", "/"))]


@pytest.mark.parametrize("on", ["", "spark://a:1", "ray://", "host", "ray://host", "local; rm"])
def test_a_place_that_is_none_is_refused_before_a_row_is_run(ws, on):
    with pytest.raises(OptionError, match="is no place to compute"), ws.engine.at(on):
        pass


def test_without_ray_the_line_that_installs_it_is_told(ws, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(MissingDependencyError, match=r"llmops-jupyter\[ray\]"),
        ws.engine.at("local"),
    ):
        pass


def test_a_cassette_is_not_played_elsewhere(ws, tmp_path):
    ws.engine.record(tmp_path / "a.json")
    with pytest.raises(OptionError, match="without --on"), ws.engine.at("local"):
        pass


def test_engines_compute_elsewhere_only_inside_and_the_place_is_closed(ws):
    closed = []

    class Place:
        def close(self):
            closed.append(True)

    engines = Engines(ws.store, lambda: ws.models, lambda: ws.settings, lambda on: Place())
    with pytest.raises(RuntimeError), engines.at("x"):
        raise RuntimeError
    assert closed == [True]
    with engines.at(None):
        pass


def test_a_deployment_that_is_served_is_a_model(ws):
    made = ws.deploy.use("support", "http://127.0.0.1:8123", key_env="SUPPORT_KEY")
    assert (made.name, made.endpoint.url) == ("support-served", "http://127.0.0.1:8123/v1")
    assert made.endpoint.model == "support"
    with pytest.raises(OptionError, match="is not served on this machine"):
        ws.deploy.use("other")


def test_a_target_that_there_is_not_is_refused(ws):
    with pytest.raises(OptionError, match="Did you mean 'vllm'"):
        ws.deploy.export("support", "vlm", "out")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000/v1"),
        ("::1", "http://[::1]:8000/v1"),
        ("0.0.0.0", "http://127.0.0.1:8000/v1"),
        ("head", "http://head:8000/v1"),
    ],
)
def test_a_service_has_an_address_that_can_be_asked(host, url):
    assert rayserve.address_of(host, 8000) == url


def test_a_cluster_that_is_not_there_is_told_at_once():
    class Ray:
        __version__ = "2"

        def is_initialized(self):
            return False

    with pytest.raises(DeployError, match=r"'ray://127.0.0.1:1' cannot be used: .*refused"):
        connect(Ray(), "ray://127.0.0.1:1")
