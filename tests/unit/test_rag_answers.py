"""Answers from documents: packing, support of each sentence, follow-ups, refusals, traces."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rag_fakes import PAGES, ReadingEngine, documents_of, workspace_with

import llmops_jupyter as lo
from llmops_jupyter.engine.protocol import Finished
from llmops_jupyter.errors import ContextLengthError, OptionError, UnknownNameError
from llmops_jupyter.prompts.grounding import NOT_FOUND, UNSUPPORTED
from llmops_jupyter.prompts.options import Documents
from llmops_jupyter.records import Hit
from llmops_jupyter.render.grounded import shown_text


@pytest.fixture
def pages(tmp_path):
    return documents_of(tmp_path, PAGES)


@pytest.fixture
def made(pages):
    with workspace_with(pages, "The relief valve opens at nine bar [1].") as workspace:
        yield workspace


def hit(text, number=1, source="a.md", locator="line 1"):
    return Hit(text, source, locator, 1.0, "1", str(number))


def test_an_answer_has_passages_verdicts_and_places(made):
    done = made.rag.ask("manual", "When does the relief valve open?")
    assert done.text == "The relief valve opens at nine bar [1]."
    assert done.hits[0].source.endswith("valves.md")
    (claim,) = done.grounding.claims
    assert claim.verdict == "supported"
    (cited,) = done.grounding.citations
    assert cited.quote == "The relief valve opens at nine bar."
    assert cited.quote in done.hits[cited.number - 1].text
    assert cited.locator.startswith("line")
    assert done.grounding.fingerprint == made.rag.index("manual").fingerprint()


def test_passages_are_numbered_and_marked_and_the_question_follows_them(made):
    made.rag.ask("manual", "When does the relief valve open?")
    told = made.reader.requests[-1].messages[-1].content
    assert told.index("<passage 1") < told.index("1| ") < told.index("</passage 1>")
    assert (
        told.rstrip()
        .partition("</passage 3>\n\n")[2]
        .startswith("Question: When does the relief valve open?\n")
    )


def test_a_question_of_which_the_documents_say_nothing_asks_no_model(made):
    before = len(made.reader.requests)
    done = made.rag.ask("manual", "Who painted the ceiling in Rome?")
    assert done.text == NOT_FOUND
    assert not done.grounding.answered
    assert "painted" in done.grounding.why
    assert len(made.reader.requests) == before
    assert made.traces.get(done.trace_id).root.status == "ok"


def test_an_answer_that_no_passage_supports_is_none_and_the_draft_is_kept(made):
    made.reader.answer = lambda _: "The valve was painted green by a famous artist."
    done = made.rag.ask("manual", "When does the relief valve open?")
    assert done.text == UNSUPPORTED
    assert done.grounding.draft.startswith("The valve was painted")
    assert done.grounding.nearest[0].quote == "The relief valve opens at nine bar."
    assert "nearest" in str(done._repr_mimebundle_()[0]["text/plain"])
    shown = made.rag.ask("manual", "When does the relief valve open?", rag_only=False)
    assert shown.text.startswith("The valve was painted")
    assert [c.verdict for c in shown.grounding.claims] == ["unsupported"]


def test_the_whole_path_is_one_trace(made):
    done = made.rag.ask("manual", "When does the relief valve open?")
    trace = made.traces.get(done.trace_id)
    assert [s.name.split()[0] for s in trace.spans] == [
        "prompt",
        "retrieval",
        "packing",
        "chat",
        "check",
    ]
    assert all(s.parent_id == trace.root.span_id for s in trace.spans[1:])
    found = trace.spans[1].attributes
    assert found["gen_ai.data_source.id"] == "manual"
    assert found["llmops.rag.fingerprint"] == done.grounding.fingerprint
    assert found["gen_ai.retrieval.documents"][0]["cosine"] is not None
    assert trace.spans[2].attributes["llmops.rag.passages"][0]["source"] == done.hits[0].source
    assert trace.spans[4].attributes["llmops.rag.claims"][0]["verdict"] == "supported"
    assert trace.root.input[-1].content.strip().startswith("Question: When does")


def test_a_follow_up_is_searched_for_with_the_question_before(made):
    made.rag.ask("manual", "When does the feed pump run?", session="tour")
    made.reader.answer = lambda text: (
        "The feed pump runs at night." if "Last question" not in text else "nonsense of the model"
    )
    done = made.rag.ask("manual", "And on Sundays?", session="tour")
    assert "feed pump" in done.grounding.query
    assert any("searched for" in note for note in done.notes)
    made.reader.answer = lambda text: (
        "Does the feed pump run on Sundays?"
        if "Last question" in text
        else "It does not run on Sundays."
    )
    done = made.rag.ask("manual", "And on Sundays?", session="tour")
    assert done.grounding.query == "Does the feed pump run on Sundays?"
    names = [s.name.split()[0] for s in made.traces.get(done.trace_id).spans]
    assert names[1] == "rewrite"
    turns = made.prompts.sessions.turns("tour")
    assert len(turns) == 3
    assert not any("<passage" in m.content for turn in turns for m in turn.messages)


def test_a_prompt_of_ones_own_is_given_passages_where_it_says(made):
    template = "system: Short.\nuser: {{ question }} Look here: {{ context }} So?"
    done = made.prompts.run(
        made.prompts.scratch(template), {"question": "relief valve bar"}, rag="manual"
    )
    told = made.reader.requests[-1].messages[-1].content
    assert told.startswith("relief valve bar Look here: Passages of documents")
    assert told.endswith("So?")
    assert done.grounding.answered
    made.prompts.run(made.prompts.scratch("relief valve bar?"), rag="manual")
    assert (
        made.reader.requests[-1].messages[-1].content.endswith("</passage 3>\n\nrelief valve bar?")
    )


def test_rows_get_passages_each(made):
    made.reader.answer = lambda text: (
        "The relief valve opens at nine bar."
        if "relief" in text.rpartition("Question:")[2]
        else "No."
    )
    made.prompts.save("reader", "user: {{ context }} Question: {{ q }}")
    rows = [{"q": "When does the relief valve open?"}, {"q": "Who painted Rome?"}]
    table = made.prompts.map("reader", rows, rag="manual", rag_only=True)
    assert [done.text for done in table] == ["The relief valve opens at nine bar.", NOT_FOUND]
    assert table[0].hits
    assert not table[1].grounding.answered


def test_variants_may_differ_in_index_and_an_edited_index_is_another(made, pages):
    made.reader.answer = lambda _: "The relief valve opens at nine bar."
    made.prompts.save("reader", "user: {{ context }} Question: {{ q }}")
    rows = [{"id": "a", "q": "When does the relief valve open?", "expected": "nine"}]
    run = made.evaluation.run("reader:rag=manual", rows, ["contains"])
    assert run.items[0].case.completion.grounding.index == "manual"
    before = len(made.reader.requests)
    made.evaluation.run("reader:rag=manual", rows, ["contains"])
    assert len(made.reader.requests) == before
    (pages / "valves.md").write_text("# Valves\n\nThe relief valve opens at ten bar.\n")
    made.rag.add("manual", pages)
    made.evaluation.run("reader:rag=manual", rows, ["contains"])
    assert len(made.reader.requests) == before + 1


def test_options_that_cannot_be_are_told(made):
    with pytest.raises(UnknownNameError, match="manual"):
        made.rag.ask("manul", "What?")
    with pytest.raises(OptionError, match="no question"):
        made.rag.ask("manual", "  ")
    with pytest.raises(OptionError, match="rag_tokens"):
        made.rag.ask("manual", "What?", rag_tokens=0)
    with pytest.raises(OptionError, match="rag='docs'"):
        made.prompts.run(made.prompts.scratch("Hello"), rag_tokens=10)


def test_an_answer_can_be_in_the_documents_own_words_without_a_model(made):
    before = len(made.reader.requests)
    done = made.rag.ask("manual", "When does the relief valve open?", rag_quote=True)
    assert done.text.startswith("The relief valve opens at nine bar.")
    assert done.grounding.answered
    assert done.grounding.citations[0].source.endswith("valves.md")
    assert len(made.reader.requests) == before
    assert made.rag.ask("manual", "Who painted Rome?", rag_quote=True).text == NOT_FOUND


def test_a_question_that_leaves_no_room_for_passages_is_told(made):
    with pytest.raises(ContextLengthError, match="no room for passages"):
        made.rag.ask("manual", "valve " * 50_000)


@pytest.mark.parametrize(
    "question", ["a AND (b OR", '"quotes" NEAR/2 *', "🦊 🐙", "متى يفتح الصمام؟"]
)
def test_odd_questions_get_no_answer_and_no_error(made, question):
    assert made.rag.ask("manual", question).text == NOT_FOUND


def test_a_question_that_is_no_text_is_refused(made):
    with pytest.raises(lo.LLMOpsError, match="Unicode"):
        made.rag.ask("manual", "\ud800?")


def test_a_prompt_with_a_place_for_passages_needs_an_index(made):
    with pytest.raises(lo.LLMOpsError, match="--rag INDEX"):
        made.prompts.run(made.prompts.scratch("{{ context }} What?"))


def test_a_model_that_finds_no_answer_is_believed(made):
    made.reader.answer = lambda _: "The documents do not say."
    done = made.rag.ask("manual", "When does the relief valve open?")
    assert done.text == NOT_FOUND
    assert not done.grounding.answered
    assert done.grounding.nearest


def test_numbers_that_the_model_wrote_are_never_shown_unchecked(made):
    made.reader.answer = lambda _: "The relief valve opens at nine bar. Yes [2]. Why not [1]?"
    done = made.rag.ask("manual", "When does the relief valve open?")
    shown = shown_text(done)
    assert shown == "The relief valve opens at nine bar. [1] Yes. Why not?"


def test_too_few_tokens_and_filters_that_fit_nothing_are_told(made):
    with pytest.raises(OptionError, match="too few for a passage"):
        made.rag.ask("manual", "When does the relief valve open?", rag_tokens=5)
    done = made.rag.ask("manual", "When does the relief valve open?", rag_where={"source": "no/*"})
    assert "--where" in done.grounding.why


def test_a_source_with_brackets_fits_its_own_name(made, tmp_path):
    place = tmp_path / "b"
    place.mkdir()
    (place / "a[1].md").write_text("# Gauge\n\nThe gauge shows bar.\n")
    made.rag.add("manual", place)
    source = next(s for s in made.rag.index("manual").documents() if s.endswith("a[1].md"))
    assert made.rag.index("manual").search("gauge", where={"source": source})


@pytest.mark.parametrize("scores", [[1.0], None, [float("nan")] * 3])
def test_a_reranker_that_gives_no_scores_is_refused(made, scores):
    with pytest.raises(OptionError, match="finite number"):
        made.rag.index("manual").find("relief valve pump", rerank=lambda *_: scores)


def test_words_weigh_by_their_own_index(made, tmp_path):
    source = made.rag.source(Documents("manual"))
    before = source.index.counted("valve", 100)
    place = tmp_path / "many"
    place.mkdir()
    for n in range(30):
        (place / f"{n}.md").write_text(f"# Valve {n}\n\nAnother valve, number {n}.\n")
    made.rag.add("other", place, embedder="words")
    assert source.index.counted("valve", 100) == before


def test_an_answer_that_ran_out_of_time_is_checked_as_well(made):
    class Late(ReadingEngine):
        def generate(self, requests):
            for event in super().generate(requests):
                late = isinstance(event, Finished)
                yield replace(event, finish_reason="deadline") if late else event

    late = Late(lambda _: "The valve was painted green by an artist.")
    embedder = made.engine.engine("words")
    made.engine.engine = lambda name=None: embedder if name == "words" else late
    done = made.rag.ask("manual", "When does the relief valve open?")
    assert done.text == UNSUPPORTED
    assert done.finish_reason == "deadline"


def test_passages_win_over_a_variable_of_the_notebook_that_is_called_context(made):
    content = made.prompts.scratch("{{ context }} When does the relief valve open?")
    made.prompts.run(content, {"context": "my own"}, rag="manual")
    told = made.reader.requests[-1].messages[-1].content
    assert "my own" not in told
    assert told.startswith("Passages of documents")


def test_a_variant_says_in_its_text_that_it_quotes(made):
    made.prompts.save("reader", "user: {{ context }} Q: {{ q }}")
    rows = [{"id": "a", "q": "When does the relief valve open?", "expected": "nine"}]
    run = made.evaluation.run("reader:rag=manual,rag_quote=true,rag_tokens=200", rows, ["contains"])
    assert run.items[0].case.output.startswith("The relief valve opens at nine bar.")
    assert not made.reader.requests
