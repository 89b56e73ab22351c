"""Traces: what was acknowledged is on disk, and what was not finished says so."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import llmops_jupyter as lo
from llmops_jupyter.errors import OptionError, UnknownNameError
from llmops_jupyter.records import Message, Usage
from llmops_jupyter.store import open_store
from llmops_jupyter.tracing import Tracer, Traces, names
from llmops_jupyter.tracing.names import COLUMN_NAMES


@pytest.fixture
def tracer(tmp_path):
    with open_store(tmp_path) as store:
        yield Tracer(store)


@pytest.fixture
def traces(tracer):
    return Traces(tracer.store, tracer)


def chat(tracer, question="Why is the sky blue?", answer="Scattering.", **columns):
    messages = (Message("system", "Be brief."), Message("user", question))
    with tracer.span("chat m", op="chat", messages=messages, model="m", **columns) as span:
        span.output(answer)
        span.usage(Usage(10, 2, 4))
    return span.trace_id


def test_a_trace_reads_back_whole(tracer, traces):
    found = traces.get(chat(tracer, seed=7)[:8])
    span = found.root
    assert (span.status, span.model, span.seed, span.usage) == ("ok", "m", 7, Usage(10, 2, 4))
    assert [m.content for m in span.input] == ["Be brief.", "Why is the sky blue?"]
    assert found.text == "Scattering."
    assert span.schema_url == names.SCHEMA_URL
    assert all(n.startswith(("gen_ai.", "llmops.", "error.")) for n in COLUMN_NAMES.values())


def test_equal_messages_are_kept_once(tracer):
    for _ in range(3):
        chat(tracer)
    count = tracer.store.rows("SELECT count(*) FROM messages")[0][0]
    assert count == 3


def test_a_workflow_and_its_step_keep_one_answer(tracer, traces):
    question = (Message("user", "Why?"),)
    for given in (), question:
        with tracer.span("workflow", op="invoke_workflow", messages=given) as root:
            with tracer.span("chat", op="chat", messages=question) as step:
                step.output("Because.")
            root.output("Because.")
        found = traces.get(root.trace_id)
        assert [s.input for s in found.spans] == [given, question]
        assert [s.output for s in found.spans] == [(Message("assistant", "Because."),)] * 2
    assert tracer.store.rows("SELECT count(*) FROM messages")[0][0] == 3


def test_what_goes_in_can_be_said_again_before_it_has_ended(tracer, traces):
    other = (Message("user", "other"),)
    with tracer.span("workflow", messages=(Message("user", "first"),)) as root:
        root.input(other)
        with tracer.span("chat", op="chat", messages=other) as step:
            step.output("answer")
    assert [s.input for s in traces.get(root.trace_id).spans] == [other, other]


def test_children_stand_below_their_parent_across_threads_and_tasks(tracer, traces):
    def work(name):
        with tracer.span(name):
            pass

    async def tasks():
        async def one(name):
            await asyncio.sleep(0)
            work(name)

        await asyncio.gather(one("task 1"), one("task 2"))

    with tracer.span("root") as root:
        thread = threading.Thread(target=work, args=("thread",))
        thread.start()
        thread.join()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(work, "pool").result()
        asyncio.run(tasks())
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work, "alone").result()
    spans = traces.get(root.trace_id).spans
    assert {s.name for s in spans if s.parent_id == root.span_id} == {
        "thread",
        "pool",
        "task 1",
        "task 2",
    }
    assert traces.newest(1)[0].name == "alone"


def test_spans_of_a_killed_process_are_shown_as_interrupted(tmp_path):
    code = (
        "import sys, time\nfrom llmops_jupyter.store import open_store\n"
        "from llmops_jupyter.tracing import Tracer\nfrom llmops_jupyter.records import Message\n"
        "t = Tracer(open_store(sys.argv[1]))\n"
        "with t.span('outer') as o:\n"
        "    with t.span('chat', op='chat', messages=(Message('user', 'hello'),)) as s:\n"
        "        s.partial('half an ans')\n"
        "        print(o.trace_id, flush=True)\n"
        "        time.sleep(60)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    trace_id = child.stdout.readline().strip()
    child.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    child.communicate()
    with open_store(tmp_path, read_only=True) as store:
        seen = Traces(store, Tracer(store)).get(trace_id)
        assert [s.status for s in seen.spans] == ["interrupted", "interrupted"]
        assert seen.spans[1].output[0].content == "half an ans"
    with lo.open(tmp_path) as ws:
        assert ws.traces.get(trace_id).spans[1].status == "interrupted"
        assert [t.trace_id for t in ws.traces.newest(status="interrupted")] == [trace_id]
        assert [t.trace_id for t in ws.traces.search("half")] == [trace_id]


def test_acknowledged_traces_survive_sudden_death(tmp_path):
    code = (
        "import os, sys\nfrom llmops_jupyter.store import open_store\n"
        "from llmops_jupyter.tracing import Tracer\n"
        "t = Tracer(open_store(sys.argv[1]))\n"
        "while True:\n"
        "    with t.span('call') as s:\n        pass\n"
        "    os.write(1, (s.trace_id + '\\n').encode())\n"
    )
    acknowledged = []
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        first = [child.stdout.readline().strip() for _ in range(40)]
        child.kill()
        rest = child.communicate()[0].split()
        acknowledged += first + [i for i in rest if len(i) == 32]
    with open_store(tmp_path) as store:
        kept = {r[0] for r in store.rows("SELECT trace_id FROM spans WHERE status = 'ok'")}
    assert len(acknowledged) >= 120
    assert set(acknowledged) <= kept


def test_search_finds_words_phrases_and_beginnings_newest_first(tracer, traces):
    old = chat(tracer, answer="The quick brown fox")
    new = chat(tracer, answer="A brown dog, quick as light")
    assert [t.trace_id for t in traces.search("quick brown")] == [new, old]
    assert [t.trace_id for t in traces.search('"quick brown"')] == [old]
    assert [t.trace_id for t in traces.search("scatt*")] == []
    assert [t.trace_id for t in traces.search("bro*", limit=1)] == [new]
    assert {t.trace_id for t in traces.search("brown", order="relevance")} == {old, new}
    assert traces.search('AND OR "unclosed (') == []
    with pytest.raises(OptionError, match="no word"):
        traces.search("?!")


def test_scores_replace_each_other_and_filter_traces(tracer, traces):
    bad, good = chat(tracer), chat(tracer)
    traces.score(bad, "thumb", "up")
    traces.score(bad, "thumb", "down")
    traces.score(good, "thumb", "up")
    traces.score(good, "relevance", 0.8, source="judge")
    assert [s.label for s in traces.scores(bad)] == ["down"]
    assert [t.trace_id for t in traces.newest(score="thumb=down")] == [bad]
    assert [t.trace_id for t in traces.newest(score={"relevance": 0.8})] == [good]
    assert tracer.store.rows("SELECT count(*) FROM scores")[0][0] == 4
    with pytest.raises(OptionError):
        traces.score(good, "x", float("nan"))


def test_what_is_redacted_never_reaches_the_file(tmp_path):
    secret = "jane.doe@example.org"
    with lo.open(tmp_path, redact="pii") as ws:
        with ws.tracer.span("chat", op="chat", messages=(Message("user", f"I am {secret}"),)) as s:
            s.partial(f"Hello {secret}")
            s.set("llmops.prompt.variables", {"who": secret})
            s.output(f"Hello {secret}")
        shown = ws.traces.get(s.trace_id)
        assert "[EMAIL]" in shown.text
        ws.store.writer().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw = b"".join(p.read_bytes() for p in (tmp_path / ".llmops").iterdir())
    assert secret.encode() not in raw


def test_a_function_can_redact_and_its_failure_keeps_the_text_out(ws):
    ws.redact(lambda text: text.replace("secret", "***"))
    with ws.tracer.span("chat", op="chat", messages=(Message("user", "my secret"),)):
        pass
    assert ws.traces.last().root.input[0].content == "my ***"


def test_old_traces_go_with_their_text_and_scores(tracer, traces):
    ids = [chat(tracer, question=f"unique{i} words", answer=f"answer{i}") for i in range(6)]
    traces.score(ids[0], "thumb", "down")
    with tracer.store.write() as conn:
        conn.execute("UPDATE spans SET start_ns = 0 WHERE trace_id IN (?, ?)", ids[:2])
    assert traces.prune(older_than="1d", dry_run=True) == 2
    assert traces.search("unique0")
    assert traces.prune(older_than="1d") == 2
    assert traces.search("unique0") == []
    assert [t.trace_id for t in traces.search("unique5")] == [ids[5]]
    assert tracer.store.rows("SELECT count(*) FROM scores")[0][0] == 0
    texts = " ".join(r[0] for r in tracer.store.rows("SELECT parts FROM messages"))
    assert "unique0" not in texts
    assert "unique5" in texts
    tracer.store.writer().execute("INSERT INTO spans_text(spans_text) VALUES ('integrity-check')")
    with pytest.raises(OptionError, match="Say what may go"):
        traces.prune()


def test_traces_are_exported_as_json_lines(tracer, traces, tmp_path):
    ids = [chat(tracer) for _ in range(3)]
    assert traces.export(tmp_path / "t.jsonl", limit=2) == 2
    lines = [json.loads(x) for x in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert [x["trace_id"] for x in lines] == ids[1:]


def test_unknown_and_ambiguous_ids_say_what_to_do(tracer, traces):
    chat(tracer)
    with pytest.raises(UnknownNameError, match="%trace list"):
        traces.get("ffffffffffff")
    with pytest.raises(UnknownNameError, match="hexadecimal"):
        traces.get("nope")


def test_text_that_utf8_cannot_hold_is_kept_escaped(tracer, traces):
    found = traces.get(chat(tracer, answer="odd \ud800 text"))
    assert found.text == "odd \\ud800 text"


def test_a_fork_can_go_on_tracing(tracer, traces):
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    code = (
        "import os, sys\nfrom llmops_jupyter.store import open_store\n"
        "from llmops_jupyter.tracing import Tracer\nt = Tracer(open_store(sys.argv[1]))\n"
        "with t.span('parent'): pass\n"
        "pid = os.fork()\n"
        "with t.span('child' if pid == 0 else 'parent again'): pass\n"
        "pid and os.waitpid(pid, 0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tracer.store.path)], check=True)
    assert {t.name for t in traces.newest(9)} == {"parent", "child", "parent again"}


def test_a_prompt_without_a_version_is_called_by_its_name(ws):
    with ws.tracer.span("lookup", prompt_name="capital") as span:
        span.output("Paris")
    assert ws.traces.newest()[0].prompt == "capital"
    assert ws.traces.get(span.trace_id).spans[0].prompt == "capital"
