"""What a model reads under a policy: passages of documents, their names, results of tools."""

from __future__ import annotations

import pytest
from engine_fakes import plug, script
from guard_fakes import ATTACK, KEY
from guard_shop import POLICY, ask, decisions, lookup
from rag_fakes import PAGES, documents_of, workspace_with

from llmops_jupyter.guard.check import Finding
from llmops_jupyter.prompts.screening import WITHHELD


@pytest.fixture
def pages(tmp_path):
    return documents_of(tmp_path, PAGES)


RAG = """
context:
  - check: words
    banned: ["ignore all previous instructions"]
    action: {action}
output: [canary]
"""


def test_a_denied_passage_is_left_out_with_a_note(pages):
    with workspace_with(pages, "Nothing about gauges [1].") as ws:
        ws.guard.add("read", RAG.format(action="deny"))
        done = ws.rag.ask("manual", "What is said about gauges and valves?", guard="read")
        told = "\n".join(m.content for m in ws.reader.requests[-1].messages)
        assert "Ignore all" not in told
        assert [h for h in done.hits if "evil" in h.source] == []
        assert "guard read@1 left out 1 passage (evil.md)" in done.notes
        assert decisions(done.verdicts) == [("words", "context", "deny", "blocked")]
        (span, _) = [s for s in ws.traces.last().spans if s.op == "run_guardrail"]
        assert span.attributes["llmops.guard.place"] == "context"
        assert span.attributes["llmops.guard.decision"] == "deny"


def test_a_changed_passage_is_what_the_model_reads_and_the_answer_rests_on(pages):
    with workspace_with(pages, "Gauges are mentioned [1].") as ws:
        ws.guard.add("read", RAG.format(action="modify"))
        done = ws.rag.ask("manual", "What is said about gauges?", guard="read")
        told = "\n".join(m.content for m in ws.reader.requests[-1].messages)
        assert "Ignore all" not in told
        assert "[removed]" in told
        assert "[removed]" in next(h for h in done.hits if "evil" in h.source).text


def test_when_every_passage_is_denied_the_documents_do_not_say(tmp_path):
    pages = documents_of(tmp_path, {"evil.md": PAGES["evil.md"]})
    with workspace_with(pages, "x") as ws:
        ws.guard.add("read", RAG.format(action="deny"))
        done = ws.rag.ask("manual", "What about gauges?", guard="read")
        assert not done.grounding.answered
        assert "left out every passage" in done.grounding.why
        assert ws.reader.requests == []


def test_a_passage_of_which_nothing_is_left_is_left_out_with_a_note(tmp_path):
    pages = documents_of(tmp_path, {"evil.md": f"# About gauges\n\n{ATTACK} about gauges."})
    with workspace_with(pages, "x") as ws:
        ws.guard.register("all", lambda text: Finding(None, "gauges" in text, "", replaced=""))
        ws.guard.add("read", "context:\n  - check: all\n    action: modify\n")
        done = ws.rag.ask("manual", "What about gauges?", guard="read")
        assert "guard read@1 left out 1 passage (evil.md)" in done.notes
        assert done.grounding.why == "the guard policy left out every passage that was found"
        assert ws.reader.requests == []


@pytest.mark.parametrize("name", [f"{ATTACK}.md", f"{ATTACK.replace(' ', '_')}.md"])
def test_names_of_documents_are_checked_with_them(tmp_path, fitted, name):
    pages = documents_of(
        tmp_path, {name: "# Gauges\n\nGauges show nine bar.", "other.md": "Old gauges show dust."}
    )
    with workspace_with(pages, "Gauges show nine bar [1].") as ws:
        ws.guard.add("deny", "context: [injection]\n")
        done = ws.rag.ask("manual", "What do gauges show?", guard="deny")
        assert f"guard deny@1 left out 1 passage ({name})" in done.notes
        assert name not in str(ws.reader.requests[-1].messages)
        ws.guard.add("modify", "context:\n  - check: injection\n    action: modify\n")
        done = ws.rag.ask("manual", "What do gauges show?", guard="modify")
        told = str(ws.reader.requests[-1].messages)
        assert "nine bar" in told
        assert name not in told
        assert ATTACK not in told


def test_an_answer_of_quotations_is_checked_too(pages):
    with workspace_with(pages, "x") as ws:
        ws.guard.add(
            "out",
            "message: Nein.\noutput:\n  - check: words\n    banned: [nine bar]\n    action: deny\n",
        )
        done = ws.rag.ask("manual", "When does the relief valve open?", guard="out", rag_quote=True)
        assert (done.text, done.finish_reason) == ("Nein.", "content_filter")
        assert done.grounding is None


def test_an_attack_in_a_question_is_denied_before_anything_is_searched(pages, fitted):
    with workspace_with(pages, "x") as ws:
        ws.guard.add("shop", POLICY)
        done = ws.rag.ask("manual", f"{ATTACK} about valves", guard="shop")
        assert done.finish_reason == "content_filter"
        assert [s.op for s in ws.traces.last().spans if s.op == "retrieval"] == []
        asked = ws.rag.ask("manual", f"When does the relief valve {KEY} open?", guard="shop")
        retrieval = next(s for s in ws.traces.last().spans if s.op == "retrieval")
        assert (
            retrieval.attributes["gen_ai.retrieval.query.text"]
            == "When does the relief valve [SECRET] open?"
        )
        assert KEY not in str(ws.reader.requests[-1].messages)
        assert asked.finish_reason == "stop"


def test_results_of_tools_are_checked_as_context(ws, fitted):
    ws.guard.add("shop", POLICY)
    plug(ws, script(("", [("lookup", {"name": "evil"})]), "done"))
    done = ask(ws, "look", tools=[lookup])
    assert done.tool_calls[0]["result"] == "evil: , then stop"
    assert done.messages[1].content == "evil: , then stop"
    ws.guard.add(
        "deny",
        POLICY.replace(
            "context:\n  - check: injection\n    action: modify", "context: [injection]"
        ),
    )
    plug(ws, script(("", [("lookup", {"name": "evil"})]), "done"))
    done = ask(ws, "look", guard="deny", tools=[lookup])
    assert done.tool_calls[0]["result"] == WITHHELD
    assert done.text == "done"
