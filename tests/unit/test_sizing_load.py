"""The load generator against a server whose delays are known."""

from __future__ import annotations

import json
import os
import signal
import threading
from dataclasses import replace

import pytest
from load_fakes import Served
from shells import Notebook

from llmops_jupyter.cli.program import run as llmops
from llmops_jupyter.deploy.sizing.calling import CUT, Call
from llmops_jupyter.deploy.sizing.figures import figures, per_token, quantiles
from llmops_jupyter.deploy.sizing.load import Level, Limits, Load, load_of, numbers_of
from llmops_jupyter.deploy.sizing.measuring import Raw
from llmops_jupyter.deploy.sizing.prompts import own_prompts, prompts_of
from llmops_jupyter.deploy.sizing.result import LoadResult
from llmops_jupyter.errors import DataError, DeployError, EngineError, OptionError, UnknownNameError

SHORT = {"duration_s": 1.0, "warmup_s": 0.2}


def call(due, first=0.1, gaps=(0.1, 0.1), tokens=3, **more):
    pieces = [first]
    for gap in gaps:
        pieces.append(pieces[-1] + gap)
    made = Call(due, due, first, pieces[-1], pieces, tokens, 5, counted=True)
    return replace(made, **more)


LOAD = Load((Level("closed", 1),), duration_s=10.0, warmup_s=2.0, limits=Limits(0.5, 0.15))


def of(*calls, load=LOAD, **raw):
    return figures(load.levels[0], Raw(calls, **{"lasted": 12.0, **raw}), load)


def test_requests_of_the_warm_up_are_not_counted_and_their_tokens_only_afterwards():
    found = of(call(0.0), call(1.85), call(3.0), call(11.95))
    assert (found.requests, found.answered) == (2, 2)
    # Of the second one two pieces came after the warm-up, of the last one none before the end.
    assert found.token_rate == pytest.approx((2 + 3) / 10)
    assert found.request_rate == pytest.approx(2 / 10)


def test_a_request_that_is_refused_since_the_warm_up_is_seen():
    starved = call(0.5, first=11.0, waits=[(0.0, 1.2), (1.6, 0.25), (2.0, 0.75), (11.8, 0.1)])
    found = of(starved)
    assert found.requests == 0
    assert (found.refused, found.waited) == (2, pytest.approx(1.0))


def test_good_answers_keep_both_limits():
    slow = call(5.0, first=0.6)
    jerky = call(6.0, gaps=(0.1, 0.3))
    failed = call(7.0, error="timeout")
    cut = call(8.0, error=CUT)
    found = of(call(4.0), slow, jerky, failed, cut)
    assert (found.good, found.goodput) == (0.25, 0.1)
    assert (found.cut, found.errors) == (1, {"timeout": 1})
    assert of(call(4.0), load=replace(LOAD, limits=Limits())).good is None


def test_percentiles_are_those_of_the_times_and_lie_in_their_intervals():
    found = of(*(call(2.0 + i / 20, first=i / 1000) for i in range(1, 101)))
    assert found.ttft["p50"].value == pytest.approx(0.0505)
    assert found.ttft["p95"].value == pytest.approx(0.09505)
    for q in found.ttft.values():
        assert q.low <= q.value <= q.high
    assert found.ttft["p50"].low > 0.03
    assert found.itl["p99"].value == pytest.approx(0.1)
    assert found.input_tokens == 5


def test_gaps_are_drawn_with_their_answers():
    # Half the answers are slow throughout: the median gap may be either.
    calls = [call(2 + i / 10, gaps=(0.1,) * 20 if i % 2 else (0.5,) * 20) for i in range(20)]
    found = of(*calls)
    assert (found.itl["p50"].low, found.itl["p50"].high) == pytest.approx((0.1, 0.5))


def test_tokens_in_one_piece_share_its_gap():
    assert per_token(call(0, gaps=(0.2, 0.2), tokens=5)) == pytest.approx(0.1)
    assert per_token(call(0, gaps=(), tokens=1)) is None
    assert quantiles([]) == {}


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ({"cpu": 0.95}, "95% of a core"),
        ({"late": 0.2}, "200 ms late"),
        ({"full": True}, "sent no more"),
    ],
)
def test_a_generator_that_was_the_limit_says_so(raw, why):
    assert why in of(call(3.0), **raw).limit
    assert of(call(3.0)).limit == ""


def test_a_level_that_was_broken_off_keeps_what_it_has():
    found = of(call(3.0), call(3.5), lasted=None)
    assert (found.answered, found.whole) == (2, False)
    assert of(lasted=None).requests == 0


def test_closed_loops_keep_so_many_requests_running_and_count_them(ws):
    told = []
    with Served(pieces=4, first_s=0.05, gap_s=0.01) as server:
        result = ws.deploy.bench(
            server.url, clients=[3], ttft=30, itl=10, progress=told.append, **SHORT
        )
        sent = len(server.seen) - 1  # without the look before
        assert server.most == 3
    level = result.levels[0]
    assert (result.status, level.errors, level.good) == ("ok", {}, 1.0)
    assert 0 < level.answered <= sent
    assert (level.output_tokens, level.input_tokens, level.tokens_counted) == (8, 7, 1)
    assert level.ttft["p50"].value >= 0.05
    assert level.latency["p50"].value >= 0.05 + 3 * 0.01
    assert any("3 clients (1 of 1)" in line for line in told)
    assert server.seen[1]["stream_options"] == {"include_usage": True}
    # Each prompt is another one, so that no cache answers it.
    texts = [body["messages"][0]["content"] for body in server.seen[1:]]
    assert len(set(texts)) == len(texts)


def test_open_loops_send_whether_or_not_there_are_answers(ws):
    with Served(pieces=2, first_s=0.4) as server:
        result = ws.deploy.bench(server.url, rates=[20], seed=1, **SHORT)
        assert server.most > 3
    level = result.levels[0]
    assert level.requests == level.answered + level.cut
    assert result.open == [level]
    assert result.closed == []


def test_a_full_server_is_asked_again_when_it_says(ws):
    with Served(pieces=1, first_s=0.05, room=1, wait="0.1") as server:
        result = ws.deploy.bench(server.url, clients=[2], retries=1000, **SHORT)
        assert server.refused > 0
    level = result.levels[0]
    assert level.errors == {}
    assert level.refused > 0
    assert level.waited >= 0.05 * level.refused
    assert "429" in level.row()


def test_a_full_server_that_is_not_asked_again_is_a_fault(ws):
    with Served(pieces=1, first_s=0.1, room=1) as server:
        level = ws.deploy.bench(server.url, clients=[3], retries=0, **SHORT).levels[0]
    assert level.errors["HTTP 429"] > 0
    assert (level.refused, level.answered > 0) == (0, True)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (500, "HTTP 500"),
        ("break", "broken stream"),
        ("error", "error in the stream"),
        ("html", "no event stream"),
        ("empty", "empty answer"),
    ],
)
def test_faults_are_told_apart(ws, fault, kind):
    with Served(pieces=3, fault=lambda number: fault if number else None) as server:
        level = ws.deploy.bench(server.url, clients=[1], duration_s=0.5, warmup_s=0).levels[0]
    assert set(level.errors) == {kind}
    assert level.answered == 0
    assert kind in level.row()["errors"]


def test_a_request_that_takes_too_long_is_given_up(ws):
    with Served(pieces=2, gap_s=5.0) as server:
        result = ws.deploy.bench(server.url, clients=[1], timeout_s=0.2, duration_s=0.5, warmup_s=0)
    assert set(result.levels[0].errors) == {"timeout"}


@pytest.mark.parametrize("usage", [False, None])
def test_without_the_servers_count_pieces_are_counted_and_it_is_said(ws, usage):
    with Served(pieces=4, usage=usage) as server:
        result = ws.deploy.bench(server.url, clients=[1], duration_s=0.5, warmup_s=0)
        assert ("stream_options" in server.seen[-1]) is (usage is False)
    assert result.levels[0].output_tokens == 4
    assert any("does not count" in note for note in result.notes())


def test_an_interrupt_keeps_what_there_is(ws):
    seen = []

    def tell(text):
        if " · " in text and "· 0 answers" not in text and not seen:
            seen.append(text)
            raise KeyboardInterrupt

    with Served(pieces=2, first_s=0.02) as server:
        result = ws.deploy.bench(
            server.url, clients=[2, 4], duration_s=60, warmup_s=0, progress=tell
        )
    assert result.status == "interrupted"
    assert [one.level.value for one in result.levels] == [2]
    assert result.levels[0].answered > 0
    assert not result.levels[0].whole
    assert "this is what there is" in result.title()
    assert ws.deploy.size(1.0).result.id == result.id


def test_a_generator_that_is_killed_leaves_what_it_had(ws, monkeypatch):
    import llmops_jupyter.deploy.sizing.measuring as measuring

    begun, real = [], measuring.subprocess.Popen

    def popen(*arguments, **options):
        begun.append(real(*arguments, **options))
        return begun[-1]

    monkeypatch.setattr(measuring.subprocess, "Popen", popen)
    killed = threading.Event()

    def tell(text):
        if " · " in text and "· 0 answers" not in text and not killed.is_set():
            killed.set()
            os.kill(begun[0].pid, getattr(signal, "SIGKILL", signal.SIGTERM))

    with Served(pieces=2, first_s=0.02) as server:
        result = ws.deploy.bench(server.url, clients=[2], duration_s=60, warmup_s=0, progress=tell)
    assert result.status == "broken off"
    assert result.levels[0].answered > 0


def test_a_result_comes_back_from_the_store_and_from_its_file(ws, tmp_path, capsys):
    notebook = Notebook(ws)
    file, picture = tmp_path / "load.json", tmp_path / "load.png"
    ws.data.add("asked", [{"question": "Why?"}, {"question": "Where?"}])
    try:
        with Served(pieces=3, first_s=0.01, gap_s=0.005) as server:
            notebook.run(
                f"%deploy bench {server.url} --clients 1,2 --duration 1 --warmup 0 --data asked "
                f"--ttft 9 --file {file} --plot {picture} -o load"
            )
            assert {b["messages"][0]["content"] for b in server.seen[1:]} == {"Why?", "Where?"}
        result = notebook.names["load"]
        notebook.run(f"%deploy size --rate 1 --from {file} --plot {picture} -o guide")
    finally:
        notebook.close()
    said = capsys.readouterr().out
    assert "2 clients" in said
    assert LoadResult.from_dict(json.loads(file.read_text())) == result
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert notebook.names["guide"].needed == 1
    assert notebook.names["guide"].result == result


def test_the_terminal_says_the_same(ws, capsys):
    with Served(pieces=3) as server:
        code = llmops(
            [
                *("bench", "serve", server.url, "--clients", "1", "--duration", "0.5"),
                *("--warmup", "0", "--store", str(ws.path), "--json"),
            ]
        )
    found = json.loads(capsys.readouterr().out)
    assert (code, found["status"], found["levels"][0]["errors"]) == (0, "ok", {})
    assert llmops(["deploy", "size", "--rate", "1", "--store", str(ws.path)]) == 0
    assert "1 replica is enough (estimated)" in capsys.readouterr().out


def test_the_key_goes_with_each_request_and_is_kept_nowhere(ws, monkeypatch):
    monkeypatch.setenv("SERVING_KEY", "sk-hidden-7")
    with Served(pieces=1) as server:
        ws.deploy.bench(server.url, clients=[1], key_env="SERVING_KEY", duration_s=0.3, warmup_s=0)
        assert {h["authorization"] for h in server.headers} == {"Bearer sk-hidden-7"}
    kept = ws.store.row("SELECT result FROM load_runs")[0]
    assert "sk-hidden" not in kept
    monkeypatch.delenv("SERVING_KEY")
    with pytest.raises(EngineError, match="SERVING_KEY"):
        ws.deploy.bench("http://localhost:1/v1", key_env="SERVING_KEY")


def test_a_server_that_is_not_there_or_refuses_is_told_before_anything_is_measured(ws):
    with pytest.raises(DeployError, match="does not answer"):
        ws.deploy.bench("http://127.0.0.1:9/v1", clients=[1])
    with Served(fault=lambda _: 401) as server, pytest.raises(DeployError, match="refused the key"):
        ws.deploy.bench(server.url, clients=[1])
    with Served(fault=lambda _: 500) as server, pytest.raises(DeployError, match="HTTP 500"):
        ws.deploy.bench(server.url, clients=[1])
    with pytest.raises(UnknownNameError, match="deploy bench"):
        ws.deploy.size(1.0)


@pytest.mark.parametrize(
    "given",
    [
        {"clients": [0]},
        {"clients": [2.5]},
        {"clients": []},
        {"rates": [0]},
        {"rates": ["fast"]},
        {"clients": [1], "duration_s": 0},
        {"clients": [1], "duration_s": float("nan")},
        {"clients": [1], "max_tokens": 0},
        {"clients": [1], "ttft": -1},
        {"clients": [1], "retries": -1},
    ],
)
def test_a_load_that_cannot_be_is_refused(given):
    with pytest.raises(OptionError):
        load_of(**given)


def test_loads_come_back_from_json_and_their_numbers_from_text():
    load = load_of([1, 4, 4], [0.5], ttft=1.0, itl=0.1)
    assert len(load.levels) == 3
    assert Load.from_dict(json.loads(json.dumps(load.as_dict()))) == load
    assert numbers_of("1, 4,16", "--clients", int) == [1, 4, 16]
    with pytest.raises(OptionError, match="whole numbers"):
        numbers_of("1,x", "--clients", int)


def test_prompts_come_from_texts_and_messages():
    assert len({p[0]["content"] for p in own_prompts()}) == 16
    talk = [{"role": "user", "content": "Hi"}]
    assert prompts_of([{"messages": talk}]) == [talk]
    assert prompts_of([{"a": "x", "b": "y"}], "b")[0][0]["content"] == "y"
    with pytest.raises(OptionError, match=r"No column of the rows is a prompt\. Name one"):
        prompts_of([{"a": "x"}])
    with pytest.raises(OptionError, match=r"no column 'c'\. Name one"):
        prompts_of([{"a": "x"}], "c")
    for bad in ("", 3, [], [{"role": "tool", "content": "x"}], [{"role": "user"}]):
        with pytest.raises(DataError, match="Row 1"):
            prompts_of([{"prompt": bad}])
    with pytest.raises(DataError, match="no rows"):
        prompts_of([])


@pytest.mark.parametrize("values", [{}, {"form": 2}, {"form": 1, "load": 3}, []])
def test_what_is_no_result_is_refused(values):
    with pytest.raises(DeployError, match="no result of a load"):
        LoadResult.from_dict(values)
