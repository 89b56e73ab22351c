"""Forgetting: what runs were given of a document, and what they made of it, goes; what others said stays."""

from __future__ import annotations

import json

import pytest
from rag_fakes import PAGES, ReadingEngine, WordEngine, documents_of, workspace_with

import llmops_jupyter as lo
from llmops_jupyter.errors import UnknownNameError


@pytest.fixture
def pages(tmp_path):
    return documents_of(tmp_path, PAGES)


def test_forgetting_takes_passages_and_answers_out_of_what_was_kept_of_runs(tmp_path, pages):
    secret = "zanzibarium"
    (pages / "secret.md").write_text(f"# Secret\n\nThe {secret} valve opens at dawn.\n")
    store = tmp_path / "store" / "llmops.db"
    workspace = lo.open(store)
    embedder, reader = WordEngine(), ReadingEngine(lambda _: f"The {secret} valve opens at dawn.")
    workspace.engine.engine = lambda name=None: embedder if name == "words" else reader
    workspace.rag.add("manual", pages, embedder="words")
    asked = "When does that valve open at dawn?"
    done = workspace.rag.ask("manual", asked, session="talk")
    workspace.rag.ask("manual", "And that valve again at dawn?", session="talk")
    workspace.prompts.save("reader", "user: {{ context }} Q: {{ q }}")
    rows = [{"id": "a", "q": asked, "expected": "dawn"}]
    workspace.evaluation.run("reader:rag=manual", rows, ["contains"])
    assert workspace.traces.search(secret)
    assert secret.encode() in b"".join(p.read_bytes() for p in store.parent.glob("llmops.db*"))
    source = next(s for s in workspace.rag.index("manual").documents() if s.endswith("secret.md"))
    forgotten = workspace.rag.index("manual").forget(source)
    assert forgotten.traces == 3
    assert not workspace.traces.search(secret)
    trace = workspace.traces.get(done.trace_id)
    assert trace.root.output[-1].content == "(forgotten)"
    assert "feed pump" in trace.spans[3].input[-1].content
    left = b"".join(p.read_bytes() for p in store.parent.rglob("*") if p.is_file())
    assert secret.encode() not in left
    workspace.close()
    assert secret.encode() not in store.read_bytes()


def forgotten_store(tmp_path, pages, said="The relief valve opens at nine bar."):
    workspace = workspace_with(pages, said, tmp_path / "store" / "llmops.db")
    source = next(s for s in workspace.rag.index("manual").documents() if s.endswith("valves.md"))
    return workspace, source


def test_forgetting_leaves_what_others_said_alone(tmp_path, pages):
    workspace, source = forgotten_store(tmp_path, pages, "Yes.")
    with workspace:
        workspace.rag.ask("manual", "Does the relief valve open?", rag_only=False)
        other = workspace.prompts.run(
            workspace.prompts.scratch("Is two even? Yes."), session="other"
        )
        workspace.rag.add("two", pages, embedder="words")
        second = workspace.rag.ask("two", "When does the relief valve open?", rag_only=False)
        assert workspace.rag.forget("manual", source).traces == 1
        assert workspace.traces.get(other.trace_id).root.output[-1].content == "Yes."
        assert workspace.prompts.sessions.turns("other")[0].messages[-1].content == "Yes."
        chat = workspace.traces.get(second.trace_id).spans[3]
        assert "opens at nine bar" in chat.input[-1].content


def test_a_document_that_is_gone_already_is_still_forgotten_in_traces(tmp_path, pages):
    workspace, source = forgotten_store(tmp_path, pages)
    with workspace:
        done = workspace.rag.ask("manual", "When does the relief valve open?")
        (pages / "valves.md").unlink()
        workspace.rag.add("manual", pages)
        assert source not in workspace.rag.index("manual").documents()
        assert workspace.rag.forget("manual", source).traces == 1
        assert workspace.traces.get(done.trace_id).root.output[-1].content == "(forgotten)"
        (pages / "valves.md").write_text(PAGES["valves.md"])
        workspace.rag.add("manual", pages)
        done = workspace.rag.ask("manual", "When does the relief valve open?")
        workspace.rag.remove("manual")
        assert workspace.rag.forget("manual", source).traces == 2
        assert workspace.traces.get(done.trace_id).root.output[-1].content == "(forgotten)"
        with pytest.raises(UnknownNameError):
            workspace.rag.forget("manual", "elsewhere.md")


def test_a_forgotten_answer_is_not_the_recorded_one_when_the_document_comes_back(tmp_path, pages):
    workspace, source = forgotten_store(tmp_path, pages)
    with workspace:
        workspace.prompts.save("reader", "user: {{ context }} Q: {{ q }}")
        rows = [{"id": "a", "q": "When does the relief valve open?", "expected": "nine"}]
        workspace.evaluation.run("reader:rag=manual", rows, ["contains"])
        workspace.rag.forget("manual", source)
        workspace.rag.add("manual", pages)
        asked = len(workspace.reader.requests)
        run = workspace.evaluation.run("reader:rag=manual", rows, ["contains"])
        assert len(workspace.reader.requests) == asked + 1
        assert run.items[0].case.output == "The relief valve opens at nine bar."


def test_reasoning_and_prefills_of_a_forgotten_document_go_too(tmp_path, pages):
    workspace, source = forgotten_store(
        tmp_path, pages, "The relief valve opens at nine bar, I think."
    )
    with workspace:
        content = workspace.prompts.scratch(
            "{{ context }} When does the relief valve open?", cot=True
        )
        done = workspace.prompts.run(content, rag="manual")
        workspace.rag.forget("manual", source)
        kept = json.dumps([s.attributes for s in workspace.traces.get(done.trace_id).spans])
        assert "nine bar" not in kept
