"""Releases that change while a server answers: nobody's request is dropped."""

from __future__ import annotations

import threading
import time

import httpx
import pytest
from serving_fakes import Writer, deployment, promoted, served, wait_until

from llmops_jupyter.deploy.releases import live
from llmops_jupyter.errors import DataError, DeployError, ModelMemoryError, UnknownNameError

BODY = {"model": "support", "messages": [{"role": "user", "content": "day"}]}
CHAT = "/v1/chat/completions"


@pytest.fixture
def ws(tmp_path):
    with deployment(tmp_path / "home", template="one {{ q }}") as found:
        yield found


def asked(service, unit="u", **more):
    return httpx.post(
        f"{service.url}{CHAT}", json={**BODY, **more}, headers={"X-LLMOps-Unit": unit}, timeout=30
    )


def said(service, unit="u", **more):
    return asked(service, unit, **more).json()["choices"][0]["message"]["content"]


class Load:
    """Clients that ask without a pause; `answers` are status, text and when the request was sent."""

    def __init__(self, service, clients=4):
        self.service, self.answers, self.over = service, [], threading.Event()
        self.threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self):
        with httpx.Client(timeout=30) as client:
            while not self.over.is_set():
                sent = time.monotonic()
                answer = client.post(f"{self.service.url}{CHAT}", json=BODY)
                text = answer.json().get("choices", [{}])[0].get("message", {}).get("content")
                self.answers.append((answer.status_code, text, sent))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        assert wait_until(lambda: len(self.answers) > 8)
        return self

    def __exit__(self, *exc):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def has(self, text):
        return wait_until(lambda: self.answers[-1][1] == text)


def test_a_promotion_and_a_roll_back_take_over_under_load_without_a_dropped_request(ws):
    opened = []

    def engine(bundle):
        opened.append(bundle.digest)
        return Writer(wait=0.005)

    with served(ws, engine) as service, Load(service) as load:
        promoted(ws, template="two {{ q }}")
        assert load.has("echo two day")
        before = len(opened)
        ws.deploy.rollback("support")
        assert load.has("echo one day")
        assert len(opened) == before  # what was live before was still loaded
    assert {status for status, *_ in load.answers} == {200}
    assert {text for _, text, _ in load.answers} == {"echo one day", "echo two day"}


def test_a_retired_release_ends_with_its_last_request(ws):
    writers = []

    def engine(bundle):
        writers.append(Writer(lambda text: f"{text} " * 40, wait=0.02))
        return writers[-1]

    with served(ws, engine) as service:
        first = service.fleet.any()
        with httpx.stream("POST", f"{service.url}{CHAT}", json={**BODY, "stream": True}) as answer:
            lines = answer.iter_lines()
            next(lines)
            promoted(ws, template="two {{ q }}")
            promoted(ws, template="three {{ q }}")
            assert wait_until(lambda: first.retired)
            assert not first.closed
            closed, real = [], first.workspace.close
            # Not where requests are answered: to end a worker takes its time.
            first.workspace.close = lambda: (closed.append(threading.current_thread().name), real())
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert wait_until(lambda: first.closed)
        assert wait_until(lambda: closed == ["closing"])


def test_a_release_that_cannot_be_loaded_changes_nothing_and_says_so(ws):
    def engine(bundle):
        if bundle.digest != ws.deploy.get("support@1").digest:
            raise ModelMemoryError("The model takes 90 GB, and 8 GB are free.")
        return Writer()

    with served(ws, engine) as service:
        promoted(ws, template="two {{ q }}")
        assert wait_until(lambda: service.fleet.problem)
        assert said(service) == "echo one day"
        ready = httpx.get(f"{service.url}/ready").json()
        assert "support@2 cannot be loaded" in ready["warning"]
        ws.deploy.rollback("support")
        assert wait_until(lambda: not service.fleet.problem)


def test_a_canary_gets_its_share_of_units_and_each_unit_its_release(ws):
    ws.prompts.save("support", "two {{ q }}")
    release = ws.deploy.build("support", model="tiny", max_tokens=64)
    ws.deploy.promote(release.ref, canary=0.5)
    now = live(ws.store, "support")
    with served(ws) as service:
        for number in range(12):
            unit = f"user-{number}"
            expected = "echo two day" if now.is_canary(unit) else "echo one day"
            assert said(service, unit) == expected
            assert said(service, "", user=unit) == expected
        assert said(service, model="support@2") == "echo two day"
        assert {m["id"] for m in httpx.get(f"{service.url}/v1/models").json()["data"]} == {
            "support"
        }
        assert 'release="support@2",slot="canary"' in httpx.get(f"{service.url}/metrics").text


def test_a_canary_that_fails_is_taken_back_by_its_rules(ws, monkeypatch):
    monkeypatch.setattr("llmops_jupyter.deploy.serving.fleet.CHECK_S", 0.3)
    ws.prompts.save("support", "bad {{ q }}")
    release = ws.deploy.build("support", model="tiny", max_tokens=64)
    rules = {"rules": [{"metric": "error_rate", "at_most": 0.2}], "units": 5}
    ws.deploy.promote(release.ref, canary=0.5, rules=rules)

    def engine(bundle):
        writer = Writer()
        if bundle.digest == release.digest:
            from llmops_jupyter.errors import EngineError

            writer.fault = EngineError("broken")
        return writer

    with served(ws, engine) as service:
        for number in range(400):
            asked(service, f"user-{number}")
            if ws.deploy.status("support").canary is None:
                break
        assert wait_until(lambda: service.fleet.refs() == {"live": "support@1"})
        assert all(asked(service, f"user-{n}").status_code == 200 for n in range(10))
    entry = ws.deploy.history("support")[0]
    assert entry.action == "rollback"
    assert "error_rate" in entry.reason


def test_what_is_not_live_is_not_served(tmp_path):
    from deploy_fakes import project

    with project(tmp_path / "home") as ws:
        with pytest.raises(UnknownNameError), served(ws):
            pass
        ws.deploy.build("support", model="tiny")
        with pytest.raises(DeployError, match="Nothing of 'support' is live"), served(ws):
            pass


def test_a_store_that_cannot_be_read_for_a_while_leaves_what_is_in_service(ws, monkeypatch):
    with served(ws) as service:
        with monkeypatch.context() as patched:

            def broken(store, name):
                raise OSError("the drive is gone")

            patched.setattr("llmops_jupyter.deploy.releases.changed", broken)
            assert wait_until(lambda: "the drive is gone" in service.fleet.problem)
            assert said(service) == "echo one day"
        assert wait_until(lambda: not service.fleet.problem)


def test_what_only_waits_for_a_roll_back_makes_room_for_a_new_release(ws):
    open_now = []

    def opens(bundle):
        if len(open_now) == 2:
            raise ModelMemoryError("There is room for two.")
        workspace = bundle.workspace()
        workspace.engine.engine = lambda name=None: Writer()
        open_now.append(workspace)
        close = workspace.close
        workspace.close = lambda: (open_now.remove(workspace), close())
        return workspace

    with served(ws, opens=opens) as service:
        promoted(ws, template="two {{ q }}")
        assert wait_until(lambda: service.fleet.refs() == {"live": "support@2"})
        promoted(ws, template="three {{ q }}")
        assert wait_until(lambda: service.fleet.refs() == {"live": "support@3"})
        assert said(service) == "echo three day"
        assert not service.fleet.problem


def test_a_canary_that_fails_before_it_answers_is_taken_back_too(ws, monkeypatch):
    monkeypatch.setattr("llmops_jupyter.deploy.serving.fleet.CHECK_S", 0.3)
    ws.prompts.save("support", "two {{ q }} {{ more }}")  # a variable that no client sends
    release = ws.deploy.build("support", model="tiny", max_tokens=64)
    rules = {"rules": [{"metric": "error_rate", "at_most": 0.2}], "units": 5}
    ws.deploy.promote(release.ref, canary=0.5, rules=rules)
    with served(ws) as service:
        for number in range(400):
            asked(service, f"user-{number}", variables={"q": "day"})
            if ws.deploy.status("support").canary is None:
                break
        assert wait_until(lambda: service.fleet.refs() == {"live": "support@1"})
    assert ws.deploy.history("support")[0].action == "rollback"


def test_a_roll_back_counts_while_another_release_is_still_loaded(ws):
    going, slow, late = threading.Event(), [], []

    def opens(bundle):
        workspace = bundle.workspace()
        workspace.engine.engine = lambda name=None: Writer()
        if bundle.digest in slow:
            assert going.wait(30)
            late.append(workspace)
        return workspace

    with served(ws, opens=opens) as service:
        promoted(ws, template="two {{ q }}")
        assert wait_until(lambda: service.fleet.refs() == {"live": "support@2"})
        ws.prompts.save("support", "three {{ q }}")
        release = ws.deploy.build("support", model="tiny", max_tokens=64)
        slow.append(release.digest)
        try:
            ws.deploy.promote(release.ref, canary=0.5)
            assert wait_until(lambda: service.fleet._loading)
            assert said(service) == "echo two day"
            ws.deploy.rollback("support")
            assert wait_until(lambda: service.fleet.refs() == {"live": "support@1"})
            assert said(service) == "echo one day"
        finally:
            going.set()
        # What was loaded for nothing is closed.
        assert wait_until(lambda: late and late[0].store.closed)
        assert service.fleet.refs() == {"live": "support@1"}


def test_a_roll_back_counts_while_a_canary_is_judged(ws, monkeypatch):
    monkeypatch.setattr("llmops_jupyter.deploy.serving.fleet.CHECK_S", 0.1)
    judging, over = threading.Event(), threading.Event()

    def slowly(self, name, *, act=True):
        judging.set()
        assert over.wait(30)
        raise DataError("The rules of the canary cannot be read. Write others.")

    ws.prompts.save("support", "two {{ q }}")
    ws.deploy.promote(ws.deploy.build("support", model="tiny").ref, canary=0.5)
    monkeypatch.setattr(type(ws.deploy), "check", slowly)
    with served(ws) as service:
        try:
            assert judging.wait(30)
            ws.deploy.rollback("support", canary=True)
            assert wait_until(lambda: service.fleet.refs() == {"live": "support@1"})
        finally:
            over.set()


def test_rules_that_cannot_be_looked_at_are_told(ws, monkeypatch):
    monkeypatch.setattr("llmops_jupyter.deploy.serving.fleet.CHECK_S", 0.1)
    ws.prompts.save("support", "two {{ q }}")
    ws.deploy.promote(ws.deploy.build("support", model="tiny").ref, canary=0.5)
    with served(ws) as service:
        with monkeypatch.context() as patched:

            def damaged(self, name, *, act=True):
                raise DataError("The rules of the canary cannot be read. Write others.")

            patched.setattr(type(ws.deploy), "check", damaged)
            assert wait_until(lambda: service.fleet.problem)
            time.sleep(0.5)  # looks at releases come and go
            ready = httpx.get(f"{service.url}/ready").json()
            assert "rules of the canary cannot be read" in ready["warning"]
        assert wait_until(lambda: not service.fleet.problem)
