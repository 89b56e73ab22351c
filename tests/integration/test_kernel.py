"""The magics in a real kernel: streaming, interruption, sudden death, errors."""

from __future__ import annotations

import time

import pytest

import llmops_jupyter as lo

pytest.importorskip("ipykernel", reason="needs ipykernel (extra demo)")
from kernels import LONG, Kernel

pytestmark = pytest.mark.model


@pytest.fixture
def kernel(model_path, tmp_path):
    made = Kernel(tmp_path)
    assert made.run("%load_ext llmops_jupyter").error is None
    yield made
    made.close()


def test_a_prompt_cell_streams_and_keeps_version_trace_and_variable(kernel):
    run = kernel.run(
        "%%prompt capital -o reply --temperature 0 --max-tokens 40\n"
        "system: Answer in one short sentence.\nuser: What is the capital of {{ 'France' }}?"
    )
    assert run.error is None
    assert len(run.shown) == 1
    assert run.updates
    assert "Paris" in run.last["data"]["text/markdown"]
    assert "capital@1" in run.last["data"]["text/markdown"]
    trace_id = run.last["metadata"]["llmops"]["trace_id"]
    assert kernel.run("str(_) == str(reply), 'Paris' in str(reply)").text == "(True, True)"
    assert kernel.run("assert _oh and reply.prompt_version == 'capital@1'").error is None
    with lo.open() as ws:
        trace = ws.traces.get(trace_id)
        assert trace.status == "ok"
        assert "Paris" in trace.text
        assert trace.root.execution_count is not None
        assert trace.root.kernel_id


def test_a_kernel_killed_in_mid_answer_leaves_the_partial_text(kernel):
    def enough(run):
        return len(run.updates) > 12

    kernel.run(LONG, until=enough)
    time.sleep(0.5)
    kernel.manager.signal_kernel(9)
    with lo.open() as ws:
        deadline = time.monotonic() + 10
        while ws.traces.last().status == "open" and time.monotonic() < deadline:
            time.sleep(0.05)
        trace = ws.traces.last()
        assert trace.status == "interrupted"
        partial = [m.content for s in trace.spans for m in s.output]
        assert any(len(text) > 20 for text in partial)
        assert any("dragon" in m.content for m in trace.root.input)


def test_an_interrupt_keeps_the_partial_answer_everywhere(kernel):
    kernel.run(LONG, until=lambda run: len(run.updates) > 5)
    kernel.manager.interrupt_kernel()
    run = kernel.collect()
    assert run.error["ename"] == "KeyboardInterrupt"
    assert "interrupted" in run.last["data"]["text/markdown"]
    assert kernel.run("tale.finish_reason, len(tale.text) > 10").text == "('interrupted', True)"
    with lo.open() as ws:
        trace = ws.traces.last()
        assert trace.status == "interrupted"
        assert len(trace.text) > 10
    again = kernel.run("%%prompt --max-tokens 3\nSay hi.")
    assert again.error is None


def test_an_interrupt_while_the_prompt_is_read_gives_the_kernel_back(kernel):
    kernel.run("long = 'word ' * 3000")
    kernel.id = kernel.client.execute("%%prompt --max-tokens 3\n{{ long }}")
    time.sleep(1.5)
    kernel.manager.interrupt_kernel()
    assert kernel.collect(timeout=10).error["ename"] == "KeyboardInterrupt"


@pytest.mark.parametrize(
    ("cell", "name", "says"),
    [
        ("%%prompt p\n{{ qestion }}", "TemplateError", "Did you mean 'question'"),
        ("%%prompt p -over rows\nhi", "OptionError", "--over"),
        ("%%prompt p@3\nhi", "OptionError", "%prompt run p@3"),
        ("%%prompt p --temperature -1\nhi", "OptionError", "temperature must be at least 0"),
        ('%%prompt p\n{"a": {"b": 1}}', "TemplateError", "{% raw %}"),
        ("%%prompt p\n{{ big }}", "ContextLengthError", "tokens"),
        ("%%prompt p -m smolm2\nhi", "UnknownNameError", "Did you mean 'smollm2'"),
        ("%%prompt don't\nhi", "OptionError", "cannot be the name"),
        ("%%prompt p\n{{ odd }}", "TemplateError", "not valid Unicode"),
        ("%%prompt p\n{{ raw }}", "TemplateError", "bytes"),
        ("%prompt alias q@7 production", "UnknownNameError", "no version 7"),
        ("%prompt shw q", "OptionError", "Did you mean 'show'"),
        ("%%prompt p --over rows\n{{ nosuch }}", "TemplateError", "nosuch"),
        ("%%prompt p --session 'My Chat'\nhi", "OptionError", "'my-chat'"),
        ("%%prompt p -o lambda\nhi", "OptionError", "cannot be one"),
        ("%%trace\nx", "OptionError", "no cell form"),
    ],
)
def test_bad_input_is_one_line_raised_and_nothing_is_kept(kernel, cell, name, says):
    kernel.run(
        "question = 1; rows = [{'q': 1}]; big = 'word ' * 2_000_000; odd = '\\ud800'; raw = b'x'\n"
        "import llmops_jupyter as lo; ws = lo.open(); _v = ws.prompts.save('q', 'hi')"
    )
    run = kernel.run(cell)
    assert run.error is not None
    assert run.error["ename"] == name
    assert says in run.error["evalue"]
    assert len(run.error["traceback"]) == 1
    assert "\n" not in run.error["traceback"][0]
    assert kernel.run("[p.name for p in ws.prompts.list()]").text == "['q']"


def test_a_setting_out_of_range_is_refused_and_a_good_one_is_obeyed(kernel):
    # IPython itself catches what a setting raises and prints it.
    assert "temperature must be at least 0" in kernel.run("%config LLMOps.temperature = -1").text
    kernel.run("%config LLMOps.max_tokens = 3")
    run = kernel.run("%%prompt -o short --temperature 0\nCount to one hundred.")
    assert run.error is None
    assert kernel.run("short.usage.output_tokens, short.finish_reason").text == "(3, 'length')"


def test_completion_and_help_come_from_the_option_table(kernel):
    kernel.run("import llmops_jupyter as lo; _v = lo.open().prompts.save('greet', 'hi')")

    def complete(code):
        reply = kernel.client.complete(code, reply=True, timeout=30)["content"]
        return {code[: reply["cursor_start"]] + m for m in reply["matches"]}

    assert complete("%%prompt --te") == {"%%prompt --temperature"}
    assert complete("%prompt sho") == {"%prompt show"}
    assert complete("%prompt show gr") == {"%prompt show greet", "%prompt show greet@1"}
    help_text = kernel.client.inspect("%%prompt", 8, reply=True, timeout=30)["content"]["data"]
    assert "--temperature" in help_text["text/plain"]


def test_two_kernels_saving_one_prompt_get_distinct_versions(kernel, tmp_path):
    other = Kernel(tmp_path)
    try:
        other.run("%load_ext llmops_jupyter")
        code = (
            "import llmops_jupyter as lo\nws = lo.open()\n"
            "got = [ws.prompts.save('shared', f'{who} {i}').version for i in range(20)]"
        )
        kernel.id = kernel.client.execute(f"who = 'a'\n{code}")
        assert other.run(f"who = 'b'\n{code}").error is None
        assert kernel.collect().error is None
        both = eval(kernel.run("got").text) + eval(other.run("got").text)
        assert sorted(both) == list(range(1, 41))
    finally:
        other.close()
