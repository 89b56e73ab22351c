"""The magics in a shell of the test's own process, on an engine that answers at once."""

from __future__ import annotations

import pickle

import pytest
from engine_fakes import FakeEngine
from gguf_files import write_gguf
from IPython.core.error import UsageError
from shells import Notebook

from llmops_jupyter.errors import LLMOpsError, OptionError
from llmops_jupyter.records import Completion


@pytest.fixture
def notebook(ws):
    made = Notebook(ws)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("%%prompt p --over df\n{{ nosuch }}", "nosuch"),
        ("%%prompt p --over undefined\n{{ q }}", "undefined"),
        ("%%prompt p --over 3\n{{ q }}", "not defined"),
        ("%%prompt p --session x --over rows\n{{ q }}", "do not go together"),
        ("%%prompt p --shots rows\n{{ q }}", "none of them is the answer"),
        ("%%prompt p --over rows --shots rows\n{{ q }}", "none of them is the answer"),
        ("%%prompt p --session 'My Chat'\nhi", "'my-chat'"),
        ("%%prompt p\n{{ 'word ' * 200 }}", "200 tokens"),
        ("%%prompt p -o 9x\nhi", "'9x' cannot be one"),
        ("%%prompt p -o lambda\nhi", "'lambda' cannot be one"),
        ("%%prompt p --max-tokens 99999999999\nhi", "must be at most 2,147,483,647"),
        ("%%prompt p --logprobs 1000\nhi", "logprobs must be at most 100"),
        ("%%prompt p --adapter nosuch\nhi", "no adapter 'nosuch'"),
        ("%%prompt p --adapter x:y\nhi", "NAME:SCALE"),
        ("%%prompt p -over rows\nhi", "Did you mean '--over'"),
        ("%%trace\nx", "%trace has no cell form"),
        ("%%model list\nx", "%model has no cell form"),
    ],
)
def test_bad_input_is_raised_before_anything_is_kept_or_asked(notebook, cell, says):
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    notebook.names.update(rows=[{"q": "a"}], df=pandas.DataFrame({"q": ["a"]}))
    with pytest.raises(LLMOpsError, match=says) as raised:
        notebook.run(cell)
    assert not isinstance(raised.value, UsageError)
    assert notebook.ws.prompts.list() == []
    assert notebook.ws.traces.newest() == []
    assert notebook.engine.requests == []


def test_a_generator_is_run_over_once(notebook):
    notebook.names["rows"] = ({"q": n} for n in range(2))
    notebook.run("%%prompt p --over rows -o table\n{{ q }}")
    assert [c.text for c in notebook.names["table"]] == ["echo 0", "echo 1"]
    assert notebook.names["table"][0].prompt_version == "p@1"


def test_all_settings_have_an_option(notebook, tmp_path):
    adapter = notebook.ws.models.add(write_gguf(tmp_path / "style.gguf", kind="adapter"))
    notebook.run(
        "%%prompt p --temperature 0 --frequency-penalty 0.5 --presence-penalty 0.25 "
        "--repeat-penalty 1.5 --logprobs 2 --exact --adapter style:0.5 -o done\nhi"
    )
    request = notebook.engine.requests[0]
    assert (request.sampling.temperature, request.sampling.frequency_penalty) == (0, 0.5)
    assert (request.sampling.presence_penalty, request.sampling.repeat_penalty) == (0.25, 1.5)
    assert (request.exact, request.sampling.logprobs) == (True, 2)
    assert request.adapters == ((str(adapter.path), 0.5),)
    assert notebook.names["done"].logprobs[0].logprob == -0.5
    notebook.run("%prompt run p")
    assert notebook.engine.requests[1].adapters == request.adapters
    notebook.run("%%prompt p\nhi")
    assert notebook.engine.requests[2].adapters == ()


def test_the_setting_exact_is_obeyed(notebook):
    notebook.run("%config LLMOps.exact = True")
    notebook.run("%%prompt\nhi")
    assert notebook.engine.requests[0].exact


def test_a_result_of_a_line_magic_is_plain_and_shown_once(notebook, capsys):
    notebook.ws.prompts.save("p", "hi")
    notebook.run("x = %prompt run p")
    done = notebook.names["x"]
    assert type(done) is Completion
    assert pickle.loads(pickle.dumps(done)) == done
    assert capsys.readouterr().out.count("echo hi") == 1
    assert notebook.run("%prompt run p").text == "echo hi"
    assert capsys.readouterr().out.count("echo hi") == 1
    notebook.run("x")
    assert capsys.readouterr().out.count("echo hi") == 1


def test_a_cell_with_another_order_of_its_schema_says_which_order_it_ran_with(notebook, capsys):
    notebook.engine.answer = lambda _: '{"a": 1, "b": 2}'
    for name, columns in (("one", "ab"), ("two", "ba")):
        notebook.names[name] = {"type": "object", "properties": {c: {} for c in columns}}
        notebook.run(f"%%prompt p --schema {name}\nhi")
    assert "p@1 keeps the order" in capsys.readouterr().out
    assert [list(r.schema["properties"]) for r in notebook.engine.requests] == [["a", "b"]] * 2


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("%trace search what is this?", '%trace search "what is this?"'),
        ("x = 1\nfound = %trace search really??", '%trace search "really?"'),
        ("%prompt list?", "%prompt?"),
    ],
)
def test_a_question_that_became_a_search_for_help_is_explained(notebook, capsys, cell, says):
    notebook.run(cell)
    assert says in capsys.readouterr().out


@pytest.mark.parametrize(
    "cell", ["%prompt?", '%trace search "what?"', "%%prompt\n%trace search what is this?"]
)
def test_other_questions_are_left_alone(notebook, capsys, cell):
    notebook.run(cell)
    assert "IPython takes" not in capsys.readouterr().out


def test_a_replay_needs_no_count_of_tokens(notebook, tmp_path):
    from llmops_jupyter.engine.cassette import Cassette
    from llmops_jupyter.engine.replay import RecordingEngine, ReplayEngine

    path = tmp_path / "c.json"
    recording = RecordingEngine(FakeEngine(), Cassette(path))
    notebook.ws.engine.engine = lambda model=None: recording
    notebook.run("%%prompt p --seed 1\nhi")
    assert {c["kind"] for c in Cassette.load(path).calls} == {"generate"}
    replay = ReplayEngine(Cassette.load(path), "fake", "f" * 64)
    notebook.ws.engine.engine = lambda model=None: replay
    notebook.run("%%prompt p --seed 1 -o again\nhi")
    assert notebook.names["again"].text == "echo hi"


def test_a_model_list_shows_adapters_apart(notebook, tmp_path, capsys):
    notebook.ws.models.add(write_gguf(tmp_path / "style.gguf", kind="adapter"))
    notebook.run("%model list")
    assert "style" in capsys.readouterr().out
    with pytest.raises(OptionError):
        notebook.run("%model lst")
