"""%rag eval and the health of an index: figures that can be checked by hand, intervals, generated questions, drift."""

from __future__ import annotations

import pytest
from rag_fakes import documents_of, workspace_with
from shells import Notebook

import llmops_jupyter as lo
from llmops_jupyter.errors import DataError, OptionError
from llmops_jupyter.rag.health import Asked, Question
from llmops_jupyter.rag.judging import Wanted, ranked, wanted
from llmops_jupyter.records import Hit

PAGES = {
    "valves.md": "# Valves\n\nThe relief valve opens at nine bar and closes again at seven bar when all is well.\n",
    "pumps.md": "# Pumps\n\nThe feed pump runs at night and delivers forty litres a minute to the upper tank.\n",
    "tower.md": "# Tower\n\nThe clock on the tower was made by a smith from Graz and strikes every quarter hour.\n",
}
QUESTIONS = [
    {
        "question": "When does the relief valve open?",
        "source": "valves.md",
        "quote": "opens at nine bar",
    },
    {"question": "How many litres does the feed pump deliver?", "source": "pumps.md"},
    {"question": "Who made the clock on the tower?", "quote": "made by a smith from Graz"},
    {"question": "Who painted the ceiling in Rome?", "answerable": False},
]


@pytest.fixture
def made(tmp_path):
    place = documents_of(tmp_path, PAGES)
    with workspace_with(place, "The relief valve opens at nine bar.") as workspace:
        yield workspace


def hit(text, source):
    return Hit(text, source, "line 1", 1.0, "1", "1")


def test_figures_of_a_ranking_are_those_of_the_textbook():
    hits = [hit("x", "a.md"), hit("y", "b.md"), hit("y2", "b.md"), hit("z", "c.md")]
    found = ranked(Wanted("1", "?", ("b.md",)), hits, 3)
    assert (found.recall, found.reciprocal_rank, found.first) == (1.0, 0.5, 2)
    assert found.ndcg == pytest.approx(1 / 1.5849625)
    assert found.precision == pytest.approx(0.5)
    both = ranked(Wanted("1", "?", ("a.md", "c.md", "d.md")), hits, 3)
    assert both.recall == pytest.approx(2 / 3)
    assert both.ndcg == pytest.approx((1 + 0.5) / (1 + 1 / 1.5849625 + 0.5))
    assert both.precision == pytest.approx((1 + 2 / 3) / 2)
    none = ranked(Wanted("1", "?", ("q.md",)), hits, 3)
    assert (none.recall, none.ndcg, none.first) == (0.0, 0.0, None)


def test_quotations_are_looked_for_in_passages():
    hits = [
        hit("Nothing here.", "a.md"),
        hit("It  opens at\nnine bar.", "b.md"),
        hit("opens at nine bar", "b.md"),
    ]
    found = ranked(Wanted("1", "?", (), ("opens at nine bar",)), hits, 3)
    assert (found.recall, found.first) == (1.0, 2)
    assert found.precision == pytest.approx(0.5)
    assert ranked(Wanted("1", "?", (), ("opens at dawn today",)), hits, 3).first is None


def test_an_index_is_evaluated_in_every_way_with_intervals(made):
    found = made.rag.eval("manual", QUESTIONS, k=3)
    assert set(found.figures) == {"hybrid", "words", "vectors"}
    one = found.figures["hybrid"]["recall@3"]
    assert (one.value, one.n) == (1.0, 3)
    assert one.interval.low < 0.6
    assert found.difference is not None
    assert "3 questions" in found.sentence()
    assert found.chart()._repr_png_().startswith(b"\x89PNG")
    assert len(found.rows) == 4


def test_answers_are_counted_where_there_should_be_one_and_where_not(made):
    found = made.rag.eval("manual", QUESTIONS, k=3, answers=True)
    assert found.answers["answered, where none does"].value == 0.0
    assert found.answers["answered, where a document answers"].n == 3
    supported = [row.get("answered") for row in found.rows]
    assert supported[0] is True
    assert supported[3] is False


def test_questions_can_be_made_from_passages_and_are_marked(made):
    made.reader.answer = lambda text: (
        "Question: When does the relief valve open?" if "relief" in text else "Tell me a story."
    )
    found = made.rag.eval("manual", generate=2, k=1)
    assert found.generated == found.questions == 1
    assert "made by a model" in found.sentence()
    rows = list(made.data.get("manual-questions").rows())
    assert rows[0]["generated"] is True
    assert rows[0]["quote"].startswith("The relief valve")
    made.reader.answer = lambda _: "No."
    with pytest.raises(DataError, match="no question"):
        made.rag.eval("manual", generate=2)


def test_what_cannot_be_evaluated_is_told(made):
    with pytest.raises(OptionError, match="--data"):
        made.rag.eval("manual")
    with pytest.raises(OptionError, match="1 to 20"):
        made.rag.eval("manual", QUESTIONS, k=0)
    with pytest.raises(DataError, match="no question"):
        made.rag.eval("manual", [{"q": "What?"}])
    with pytest.raises(DataError, match="does not say what answers"):
        wanted([("1", {"question": "What?"})])


def test_an_index_of_words_is_evaluated_by_words(tmp_path):
    (tmp_path / "valves.md").write_text(PAGES["valves.md"])
    with lo.open(":memory:") as workspace:
        workspace.rag.add("plain", tmp_path / "valves.md", embedder="none")
        found = workspace.rag.eval("plain", QUESTIONS[:1])
        assert set(found.figures) == {"words"}
        assert found.difference is None


def test_questions_without_support_show_in_the_status(made):
    made.rag.ask("manual", "When does the relief valve open?")
    made.rag.ask("manual", "Who painted the ceiling in Rome?")
    found = made.rag.index("manual").status().asked
    assert len(found.questions) == 2
    assert [q.text for q in found.without_support] == ["Who painted the ceiling in Rome?"]
    facts = {row["fact"]: row["value"] for row in made.rag.index("manual").status().rows()}
    assert facts["without support"].startswith("1 (50 %)")
    assert found.drift() is None


def test_drift_is_found_where_newer_questions_are_further_away_and_not_elsewhere():
    def asked(cosines):
        newest_first = [Question("?", 0, "", c, True, True) for c in reversed(cosines)]
        return Asked(newest_first).drift()

    near, far = (
        [0.6 + 0.01 * (i % 10) for i in range(30)],
        [0.3 + 0.01 * (i % 10) for i in range(30)],
    )
    moved = asked(near + far)
    assert moved.p_value < 1e-6
    assert "further" in moved.sentence()
    assert asked(near + near).p_value > 0.05
    assert asked(far + near).p_value > 0.05


def test_the_command_shows_figures_and_what_was_not_found(made, capsys):
    engines = made.engine.engine
    shell = Notebook(made)
    made.engine.engine = engines
    shell.names["qs"] = [*QUESTIONS[:3], {"question": "relief valve", "source": "elsewhere.md"}]
    shell.run("%rag eval manual --data qs -k 3 -o found")
    said = capsys.readouterr().out
    assert "recall@3" in said
    assert "not found" in said
    assert shell.names["found"].k == 3
    shell.close()


def test_one_question_keeps_its_figure_and_says_that_it_says_nothing(made):
    found = made.rag.eval(
        "manual", [{"question": "relief valve bar", "source": "valves.md|missing.md"}], k=3
    )
    recall = found.figures["words"]["recall@3"]
    assert recall.value == 0.5
    assert (recall.interval.low, recall.interval.high) == (0.0, 1.0)


def test_two_quotations_in_the_first_passage_are_a_perfect_ranking():
    one = Wanted("1", "?", (), ("opens at nine bar", "closes at seven"))
    found = ranked(
        one, [hit("It opens at nine bar and closes at seven.", "a.md"), hit("x", "b.md")], 5
    )
    assert (found.recall, found.ndcg, found.reciprocal_rank) == (1.0, 1.0, 1.0)


def test_questions_without_an_answer_alone_need_answers(made):
    with pytest.raises(OptionError, match="--answers"):
        made.rag.eval("manual", [{"question": "Who?", "answerable": "False"}])


def test_a_reranker_is_a_way_of_its_own(made):
    made.rag.reranker = lambda name: (
        (lambda q, texts: [float("pump" in t) for t in texts]) if name else None
    )
    found = made.rag.eval("manual", QUESTIONS[:2], k=3, rerank="any")
    assert set(found.figures) == {"hybrid", "words", "vectors", "reranked"}
    assert found.rows[1]["reranked"] == 1
