"""Who is told of alarms: the log, a function, a webhook with retries; what is sent, and what is kept of it."""

from __future__ import annotations

import http.server
import json
import stat
import subprocess
import sys
import threading
import time

import pytest
from monitor_fakes import Clock, DriftReport, Traffic, alerts_of

import llmops_jupyter as lo
from llmops_jupyter.monitor.alerts import outbox, posting
from llmops_jupyter.monitor.alerts.channels import Channel
from llmops_jupyter.monitor.alerts.notifying import TRIES
from llmops_jupyter.monitor.alerts.posting import post


class Hook(http.server.ThreadingHTTPServer):
    """A webhook that answers with the statuses it was given, the last one for ever."""

    def __init__(self, *statuses):
        self.statuses, self.got, self.hold = list(statuses) or [200], [], threading.Event()
        self.hold.set()
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/hook/s3cret-path"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.hold.wait(20)
        self.server.got.append((dict(self.headers), json.loads(body)))
        statuses = self.server.statuses
        self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
        self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def hook():
    made = []

    def start(*statuses):
        made.append(Hook(*statuses))
        return made[-1]

    yield start
    for server in made:
        server.hold.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def alerts(ws, clock):
    made = alerts_of(ws, clock)
    made.notifier.first_wait_s = 0.001
    Traffic(ws, clock).add(40, status="error", text="the secret of a user")
    return made


def told(alerts, channel, **rule):
    """Raise an alarm that this channel is told of; the notices."""
    alerts.add(name="errors", metric="error_rate", alert=0.1, channels=[channel], **rule)
    alerts.look()
    assert alerts.notifier.flush(30)
    return alerts.notices()


def test_a_webhook_gets_figures_and_ids_and_the_secret_that_is_nowhere_kept(
    alerts, hook, monkeypatch, ws
):
    monkeypatch.setenv("OPS_TOKEN", "Bearer t0psecret")
    server = hook()
    notices = told(
        alerts, {"webhook": server.url, "secret_env": "OPS_TOKEN"}, severity="high", note="call ann"
    )
    ((headers, body),) = server.got
    assert headers["Authorization"] == "Bearer t0psecret"
    assert headers["Content-Type"] == "application/json"
    assert (body["rule"], body["state"], body["kind"], body["value"]) == (
        *("errors", "alert", "raised", 1.0),
    )
    assert (body["severity"], body["note"], body["n"], len(body["traces"])) == (
        *("high", "call ann", 40, 5),
    )
    assert "secret of a user" not in json.dumps(body)
    assert [(n["outcome"], n["tries"]) for n in notices] == [("sent", 1)]
    assert "s3cret-path" not in notices[0]["channel"]
    assert b"t0psecret" not in ws.path.read_bytes()


def test_a_failing_webhook_is_tried_again_and_then_kept_as_failed(alerts, hook):
    server = hook(503)
    notices = told(alerts, {"webhook": server.url})
    assert len(server.got) == TRIES
    assert (notices[0]["outcome"], notices[0]["tries"]) == ("failed", TRIES)
    assert notices[0]["error"].endswith("answered 503")
    assert "s3cret-path" not in json.dumps(notices)
    assert alerts.notices(failed=True) == notices


def test_a_webhook_that_comes_back_is_told(alerts, hook):
    server = hook(503, 429, 204)
    notices = told(alerts, {"webhook": server.url})
    assert (notices[0]["outcome"], notices[0]["tries"]) == ("sent", 3)


@pytest.mark.parametrize("status", [400, 401, 404, 301, 307])
def test_what_another_try_does_not_help_is_not_tried_again(alerts, hook, status):
    server = hook(status)
    notices = told(alerts, {"webhook": server.url})
    assert len(server.got) == 1
    assert notices[0]["outcome"] == "failed"


def test_a_host_that_is_not_there_and_a_missing_secret_are_said(monkeypatch):
    monkeypatch.delenv("NOT_SET", raising=False)
    gone = Channel("webhook", "http://127.0.0.1:9/s3cret-path")
    error, again = post(gone, {})
    assert again
    assert error == "http://127.0.0.1:9 did not answer: ConnectError"
    error, again = post(Channel("webhook", gone.target, secret_env="NOT_SET"), {})
    assert not again
    assert "NOT_SET is not set" in error
    error, _ = post(Channel("webhook", url_env="NOT_SET"), {})
    assert "NOT_SET is not set" in error
    monkeypatch.setenv("NOT_SET", "file:///etc/passwd")
    error, _ = post(Channel("webhook", url_env="NOT_SET"), {})
    assert "no http:// or https:// address" in error


def test_the_address_may_come_from_a_variable(alerts, hook, monkeypatch):
    server = hook()
    monkeypatch.setenv("HOOK_URL", server.url)
    notices = told(alerts, {"webhook_env": "HOOK_URL"})
    assert len(server.got) == 1
    assert notices[0]["channel"] == "webhook $HOOK_URL"


def test_a_webhook_that_hangs_keeps_no_look_waiting(alerts, hook):
    server = hook()
    server.hold.clear()
    alerts.add(name="errors", metric="error_rate", alert=0.1, channels=[{"webhook": server.url}])
    assert (
        alerts.look().entries[0].standing.state == "alert"
    )  # it has returned, and the hook has not answered
    assert server.got == []
    server.hold.set()
    assert alerts.notifier.flush(30)
    assert len(server.got) == 1


def test_the_log_has_a_line_of_json_for_each_change_and_is_private(alerts, ws, clock, tmp_path):
    told(alerts, "log")
    clock.move(90_000)
    Traffic(ws, clock).add(0)
    alerts.look()
    path = ws.path.with_name("alerts.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["kind"], line["state"]) for line in lines] == [
        *(("raised", "alert"), ("no data", "no data")),
    ]
    assert lines[1]["message"] == "errors has no data (was alert)"
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_log_that_cannot_be_written_is_kept_as_failed(alerts, tmp_path):
    (tmp_path / "file").write_text("")
    notices = told(alerts, {"log": str(tmp_path / "file" / "alerts.jsonl")})
    assert notices[0]["outcome"] == "failed"


def test_a_function_is_called_and_what_it_raises_is_kept(alerts):
    got = []

    def function(body):
        got.append(body["rule"])
        raise RuntimeError("no")

    alerts.on("mine", function)
    notices = told(alerts, {"python": "mine"})
    assert got == ["errors"]
    assert notices[0]["error"] == "RuntimeError: no"


def test_a_function_that_was_not_given_is_said(alerts):
    notices = told(alerts, {"python": "mine"})
    assert "alerts.on('mine', function)" in notices[0]["error"]


def test_silence_keeps_channels_quiet_until_it_ends(alerts, clock):
    alerts.add(name="errors", metric="error_rate", alert=0.1, window="7d", channels=["log"])
    alerts.silence("errors", "1h")
    alerts.look()
    assert alerts.notices() == []
    clock.move(3601)
    alerts.look()
    assert [n["kind"] for n in alerts.notices()] == ["raised"]


def test_an_alarm_that_goes_on_is_told_again(alerts, clock):
    alerts.add(
        *(),
        name="errors",
        metric="error_rate",
        alert=0.1,
        window="7d",
        renotify="2h",
        channels=["log"],
    )
    for _ in range(5):
        alerts.look()
        clock.move(3600)
    assert [n["kind"] for n in alerts.notices()] == ["again", "again", "raised"]
    alerts.acknowledge("errors")
    for _ in range(5):
        alerts.look()
        clock.move(3600)
    assert len(alerts.notices()) == 3


def test_what_texts_are_about_does_not_leave_with_a_webhook(ws, clock, hook):
    server = hook()
    alerts = alerts_of(ws, clock, check=lambda baseline, **filters: DriftReport(alarm=True))
    alerts.add(name="drift", metric="drift:support", channels=[{"webhook": server.url}, "log"])
    alerts.look()
    assert alerts.notifier.flush(30)
    assert "refunds" not in json.dumps(server.got[0][1])
    assert alerts.changes("drift")[0].reason == "more about refunds"


class Drip(http.server.ThreadingHTTPServer):
    """A webhook that answers with a byte every now and then, of the head or of the body, until it is told to stop."""

    def __init__(self, part):
        self.part, self.end, self.got = part, threading.Event(), []
        super().__init__(("127.0.0.1", 0), _Dripping)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"


class _Dripping(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.got.append(self.rfile.read(int(self.headers["Content-Length"])))
        begin = b"HTTP/1.1 200 OK\r\nX-Slow: "
        if self.server.part == "body":
            begin = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
        try:
            self.wfile.write(begin)
            while not self.server.end.wait(0.05):
                self.wfile.write(b"x")
        except OSError:
            return

    def log_message(self, *_):
        pass


@pytest.fixture
def drip():
    made = []

    def start(part):
        made.append(Drip(part))
        return made[-1]

    yield start
    for server in made:
        server.end.set()
        server.shutdown()
        server.server_close()


def test_of_an_answer_only_the_status_is_read(drip):
    assert post(Channel("webhook", drip("body").url), {}) == ("", False)


def test_an_answer_that_drips_is_over_after_a_while(drip, monkeypatch):
    monkeypatch.setattr(posting, "WHOLE_S", 0.5)
    error, again = post(Channel("webhook", drip("head").url), {})
    assert "did not answer: not within" in error
    assert again


def test_a_slow_address_keeps_no_other_one_waiting(alerts, hook):
    slow, quick = hook(), hook()
    slow.hold.clear()
    for name, server in (("a", slow), ("b", quick)):
        alerts.add(name=name, metric="error_rate", alert=0.1, channels=[{"webhook": server.url}])
    alerts.look()
    end = time.monotonic() + 30
    while not quick.got:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert slow.got == []
    outcomes = {n["rule"]: n["outcome"] for n in alerts.notices()}
    assert outcomes["a"] == "waiting"
    assert [n["rule"] for n in alerts.notices(failed=True)][-1] == "a"
    slow.hold.set()
    assert alerts.notifier.flush(30)
    assert {n["outcome"] for n in alerts.notices()} == {"sent"}


def test_closing_a_workspace_waits_for_its_webhooks(own_home, hook):
    server = hook()
    server.hold.clear()
    with lo.open() as ws:
        Traffic(ws).add(40, status="error")
        ws.monitor.alerts.add(
            name="errors", metric="error_rate", alert=0.1, channels=[{"webhook": server.url}]
        )
        ws.monitor.alerts.look()
        threading.Timer(0.5, server.hold.set).start()
    assert len(server.got) == 1
    with lo.open() as ws:
        assert [n["outcome"] for n in ws.monitor.alerts.notices()] == ["sent"]


def test_what_closing_could_not_deliver_is_delivered_by_the_next_look(ws, alerts, hook):
    server = hook()
    server.hold.clear()
    alerts.add(name="errors", metric="error_rate", alert=0.1, channels=[{"webhook": server.url}])
    alerts.look()
    alerts.notifier.close(0.1)
    assert [(n["outcome"], n["error"]) for n in alerts.notices()] == [
        ("waiting", "the process ended before it was delivered")
    ]
    server.hold.set()
    ws.monitor.alerts.look()
    assert ws.monitor.alerts.notifier.flush(30)
    assert [n["outcome"] for n in alerts.notices()] == ["sent"]


DIES = """
import os, sys
import llmops_jupyter as lo
ws = lo.open(sys.argv[1])
ws.monitor.alerts.notifier.deliver = lambda parcels: os._exit(9)
ws.monitor.alerts.look()
"""


def test_notices_of_a_process_that_died_are_sent_once_by_one_other(ws, alerts, hook, clock):
    server = hook()
    rule = {"name": "errors", "metric": "error_rate", "alert": 0.1}
    alerts.add(**rule, channels=[{"webhook": server.url}, "log"])
    done = subprocess.run([sys.executable, "-c", DIES, str(ws.path)], check=False, timeout=120)
    assert done.returncode == 9
    assert [n["outcome"] for n in alerts.notices()] == ["waiting", "waiting"]
    with lo.open(ws.path) as other:
        looks = [threading.Thread(target=one.monitor.alerts.look, kwargs={}) for one in (ws, other)]
        for look in looks:
            look.start()
        for look in looks:
            look.join()
        assert ws.monitor.alerts.notifier.flush(30)
        assert other.monitor.alerts.notifier.flush(30)
    assert len(server.got) == 1
    assert server.got[0][1]["rule"] == "errors"
    assert {n["outcome"] for n in alerts.notices()} == {"sent"}
    lines = ws.path.with_name("alerts.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["raised"]
    kept = ws.store.rows("SELECT body, target FROM alert_notices")
    assert {tuple(row) for row in kept} == {("", "")}  # nothing of it stays


def test_what_two_processes_could_not_deliver_has_failed(ws, alerts):
    alerts.add(name="errors", metric="error_rate", alert=0.1, channels=[{"webhook": "http://a/"}])
    alerts.notifier.deliver = lambda parcels: None
    alerts.look()
    with ws.store.write() as conn:
        conn.execute("UPDATE alert_notices SET process_id = ''")
    assert len(outbox.adopt(ws.store, "x")) == 1
    assert not outbox.adopt(ws.store, "x")  # nobody knows a process x: it has failed now
    (notice,) = alerts.notices()
    assert (notice["outcome"], notice["error"]) == (
        *("failed", "two processes ended before it was delivered"),
    )


def test_a_function_that_is_interrupted_is_kept_as_failed(alerts):
    def function(_):
        raise KeyboardInterrupt

    alerts.on("mine", function)
    alerts.add(name="errors", metric="error_rate", alert=0.1, channels=[{"python": "mine"}])
    with pytest.raises(KeyboardInterrupt):
        alerts.look()
    assert alerts.notices()[0]["outcome"] == "failed"
    assert alerts.board().entries[0].standing.state == "alert"
