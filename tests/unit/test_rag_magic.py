"""%rag and `llmops rag`."""

from __future__ import annotations

import json

import pytest
from engine_fakes import plug
from rag_fakes import WordEngine
from shells import Notebook

from llmops_jupyter.cli.program import run as llmops
from llmops_jupyter.commands.rag import where_of
from llmops_jupyter.errors import OptionError


@pytest.fixture
def pages(tmp_path):
    place = tmp_path / "pages"
    place.mkdir()
    (place / "valves.md").write_text("# Valves\n\nThe relief valve opens at nine bar.\n")
    (place / "pumps.md").write_text("# Pumps\n\nThe feed pump runs at night.\n")
    (place / "broken.txt").write_bytes(b"\x00")
    return place


@pytest.fixture
def shell(ws):
    notebook = Notebook(ws)
    plug(ws, WordEngine())
    yield notebook
    notebook.close()


def test_an_index_from_its_beginning_to_its_end(shell, pages, capsys):
    shell.run(f"%rag add manual {pages} --embedder words")
    said = capsys.readouterr().out
    assert "2 added" in said
    assert "zero bytes" in said
    shell.run("%rag list")
    assert "manual" in capsys.readouterr().out
    shell.run('%rag search manual "when does the relief valve open?" -n 1 -o hits')
    shown = capsys.readouterr().out
    assert "valves.md" in shown
    assert "nine bar" in shown
    assert shell.names["hits"][0].text.startswith("The relief valve")
    shell.run("%rag status manual")
    assert "fingerprint" in capsys.readouterr().out
    shell.run("%rag documents manual")
    source = shell.names["hits"][0].source
    assert source in capsys.readouterr().out
    shell.run(f"%rag forget manual {source}")
    said = capsys.readouterr().out
    assert "is forgotten: 1 passages" in said
    assert "Not reached" in said
    shell.run("%rag remove manual")
    shell.run("%rag list")
    assert "No indexes yet" in capsys.readouterr().out


def test_rows_of_a_variable_and_of_a_data_set(ws, shell, capsys):
    shell.names["notes"] = [{"id": "1", "text": "a note on valves"}]
    shell.run("%rag add notes notes --embedder none")
    assert "no embedding model" in capsys.readouterr().out
    ws.data.add("kept", [{"id": "1", "body": "kept text on pumps"}])
    shell.run("%rag add notes kept --column body")
    shell.run("%rag search notes pumps")
    assert "kept text" in capsys.readouterr().out


def test_the_terminal_has_it_too(own_home, pages, capsys):
    assert llmops(["rag", "add", "manual", str(pages), "--embedder", "none"]) == 0
    capsys.readouterr()
    assert llmops(["rag", "search", "manual", "relief", "valve", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "nine bar" in str(found)
    assert llmops(["rag", "search", "nothing", "relief"]) == 1
    assert "Make one" in capsys.readouterr().err


def test_filters_of_the_command_line():
    assert where_of(["site=east", "site=west", "source=*.md"]) == {
        "site": ["east", "west"],
        "source": ["*.md"],
    }
    assert where_of(None) is None
    with pytest.raises(OptionError, match="is no filter"):
        where_of(["east"])


def test_adding_that_is_broken_off_is_done_by_the_same_line_again(
    shell, pages, monkeypatch, capsys
):
    def breaks(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(WordEngine, "embed", breaks)
    shell.shell.run_cell(f"%rag add manual {pages} --embedder words")
    monkeypatch.undo()
    plug(shell.ws, WordEngine())
    shell.run(f"%rag add manual {pages} --embedder words")
    assert "2 added" in capsys.readouterr().out


def test_documents_are_asked_in_a_cell_and_on_a_line(shell, pages, capsys):
    shell.run(f"%rag add manual {pages} --embedder words")
    capsys.readouterr()
    shell.run("%%rag ask manual --quote -o reply\nWhen does the relief valve open?")
    said = capsys.readouterr().out
    assert said.startswith("The relief valve opens at nine bar.\n")
    assert "valves.md, line 3" in said
    assert "no model asked" in said
    assert shell.names["reply"].grounding.answered
    shell.run('other = %rag ask manual --quote "When does the feed pump run?"')
    assert shell.names["other"].text == "The feed pump runs at night."
    shell.run('%rag ask manual "Who painted Rome?" --max-tokens 50')
    assert "The documents do not say." in capsys.readouterr().out
    with pytest.raises(OptionError, match="no cell form"):
        shell.run("%%rag answer manual\nWhat?")


def test_a_prompt_cell_is_given_documents(shell, pages, capsys):
    shell.run(f"%rag add manual {pages} --embedder words")
    shell.run(
        "%%prompt reader --rag manual --rag-where source=*valves.md --rag-quote -o reply\n"
        "{{ context }} When does the relief valve open?"
    )
    assert shell.names["reply"].grounding.citations[0].source.endswith("valves.md")
    assert shell.names["reply"].prompt_version == "reader@1"


def test_documents_are_asked_in_a_terminal(ws, pages, capsys, monkeypatch):
    plug(ws, WordEngine())
    ws.rag.add("manual", pages, embedder="none")
    store = str(ws.path)
    assert (
        llmops(
            [
                "rag",
                "ask",
                "manual",
                "When does the relief valve open?",
                "--quote",
                "--store",
                store,
                "--json",
            ]
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["answered"]
    assert found["grounding"]["claims"][0]["citations"][0]["quote"].startswith("The relief valve")


def test_a_reranker_orders_what_was_found(ws, shell, pages):
    class Reranker(WordEngine):
        def rerank(self, query, texts):
            return [1.0 if "pump" in text else 0.0 for text in texts]

    plug(ws, Reranker())
    shell.run(f"%rag add manual {pages} --embedder words")
    shell.run("%rag search manual relief valve pump -o plain")
    shell.run("%rag search manual relief valve pump --rerank any -o hits")
    assert "pump" in shell.names["hits"][0].text
    assert "valve" in shell.names["plain"][0].text
    shell.run("%rag ask manual relief valve pump --quote --rerank any -o done")
    assert "pump" in shell.names["done"].hits[0].text
