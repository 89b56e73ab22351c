"""A workspace as a folder of text: where that cannot be written or read, it says so."""

from __future__ import annotations

import pytest

import llmops_jupyter as lo
from llmops_jupyter.errors import OptionError, UnknownNameError


def test_a_folder_that_cannot_be_written_or_is_not_there_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with lo.open(":memory:") as ws:
        with pytest.raises(OptionError, match=r"cannot be written.*Name another folder"):
            ws.export(tmp_path / "file" / "folder")
        with pytest.raises(UnknownNameError, match="There is no folder"):
            ws.import_(tmp_path / "nowhere")


def test_what_was_exported_is_there_after_an_import_and_only_once(tmp_path):
    with lo.open(tmp_path / "one.db") as ws:
        ws.prompts.save("greet", "Hello {{ name }}")
        ws.data.add("names", [{"name": "Ann"}])
        ws.export(tmp_path / "out")
    with lo.open(tmp_path / "two.db") as other:
        new = other.import_(tmp_path / "out")
        assert (new["prompts"], new["data"]) == (1, 1)
        assert other.prompts.get("greet").template.strip() == "Hello {{ name }}"
        again = other.import_(tmp_path / "out")
        assert (again["prompts"], again["data"]) == (0, 0)
