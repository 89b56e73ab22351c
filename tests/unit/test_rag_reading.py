"""Loaders: every kind of file, with where each piece stands; what cannot be read says why."""

from __future__ import annotations

import json
import os

import pytest

from llmops_jupyter.errors import DataError, UnknownNameError
from llmops_jupyter.rag.reading import read_document
from llmops_jupyter.rag.walking import find


def sections(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_document(path, path.name).sections


def test_markdown_is_cut_at_headings_and_code_stands_apart(tmp_path):
    text = "intro\n\n# A\n\none\n\n## B\n\ntwo\n\n```python\n# no heading\n```\n\n# C\n\nthree\n"
    found = sections(tmp_path / "a.md", text)
    assert [(s.heading, s.kind, s.line) for s in found] == [
        ((), "prose", 1),
        (("A",), "prose", 5),
        (("A", "B"), "prose", 9),
        (("A", "B"), "code", 11),
        (("C",), "prose", 17),
    ]
    lines = text.split("\n")
    assert all(one.text.split("\n")[0] == lines[one.line - 1] for one in found)


def test_html_gives_what_a_reader_sees(tmp_path):
    page = (
        "<html><head><script>secret()</script></head><body><nav>menu</nav><h1>Title</h1><p>One <b>bold</b> word.</p>"
        "<h2>Sub</h2><ul><li>first</li><li>second</li></ul><table><tr><td>cell</td></tr></table></body></html>"
    )
    first, second = sections(tmp_path / "a.html", page)
    assert (first.heading, first.text) == (("Title",), "One bold word.")
    assert second.heading == ("Title", "Sub")
    assert second.text == "first\n\nsecond\n\ncell"


def pdf(text):
    """A page with a line of text."""
    stream = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    made, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(made)
    made += b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % p for p in places)
    return made + b"trailer\n<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % start


def test_pdf_pages_are_named(tmp_path):
    (page,) = sections(tmp_path / "a.pdf", pdf("The valve opens at nine bar"))
    assert (page.locator, page.text.strip()) == ("page 1", "The valve opens at nine bar")


def test_an_encrypted_pdf_says_so(tmp_path):
    from pypdf import PdfReader, PdfWriter

    (tmp_path / "plain.pdf").write_bytes(pdf("x"))
    writer = PdfWriter(clone_from=PdfReader(tmp_path / "plain.pdf"))
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(tmp_path / "locked.pdf")
    with pytest.raises(DataError, match="encrypted"):
        read_document(tmp_path / "locked.pdf", "locked.pdf")


def test_notebooks_keep_cells(tmp_path):
    cells = [
        {"cell_type": "markdown", "id": "aa", "source": ["# Start\n", "\n", "hello"]},
        {"cell_type": "code", "id": "bb", "source": "x = 1", "outputs": [{"text": "not read"}]},
    ]
    prose, code = sections(tmp_path / "a.ipynb", json.dumps({"cells": cells, "nbformat": 4}))
    assert (prose.locator, prose.heading, prose.text) == ("cell aa", ("Start",), "hello")
    assert (code.locator, code.heading, code.kind) == ("cell bb", ("Start",), "code")


def test_python_is_cut_at_functions_and_classes(tmp_path):
    text = '"""Top."""\nimport os\n\n\n@wraps\ndef f():\n    return 1\n\n\nclass K:\n    pass\n'
    found = sections(tmp_path / "a.py", text)
    assert [(s.heading, s.line) for s in found] == [((), 1), (("f",), 5), (("K",), 10)]
    assert found[1].text.startswith("@wraps")
    (whole,) = sections(tmp_path / "b.py", "def broken(:\n    pass")
    assert whole.text.startswith("def broken")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_rows_of_tables_keep_their_number_and_the_other_columns(tmp_path, suffix):
    rows = [{"text": "one", "kind": "a"}, {"text": "two", "kind": "b"}]
    path = tmp_path / f"t{suffix}"
    if suffix == ".csv":
        path.write_text("text,kind\none,a\ntwo,b\n")
    elif suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        import pandas as pd

        pd.DataFrame(rows).to_parquet(path)
    found = read_document(path, "t").sections
    assert [(s.text, s.locator, s.metadata["kind"]) for s in found] == [
        ("one", "row 1", "a"),
        ("two", "row 2", "b"),
    ]


def test_docx_has_headings_paragraphs_and_tables(tmp_path):
    import docx

    made = docx.Document()
    made.add_heading("Care", 1)
    made.add_paragraph("Wash it cold.")
    table = made.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "size", "M"
    made.save(str(tmp_path / "a.docx"))
    prose, rows = read_document(tmp_path / "a.docx", "a").sections
    assert (prose.heading, prose.text) == (("Care",), "Wash it cold.")
    assert (rows.locator, rows.text) == ("table 1", "size | M")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.txt", b"\x00\x01binary", "zero bytes"),
        ("a.txt", b"caf\xe9 is latin", "not UTF-8 at byte 3"),
        ("a.pdf", b"no pdf", "no readable PDF"),
        ("a.docx", b"no docx", "cannot be read|no readable DOCX"),
        ("a.ipynb", b"{}", "no notebook"),
        ("a.ipynb", b"{", "cannot be read"),
        ("a.exe", b"MZ", "are not read"),
        ("a.csv", b"\xff\xfe\x00", "."),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_document(path, name)


def test_a_huge_file_is_refused_without_being_read(tmp_path):
    path = tmp_path / "big.txt"
    with path.open("wb") as file:
        file.truncate(2 * 1024**3)
    with pytest.raises(DataError, match="2,048 MB"):
        read_document(path, "big.txt")


def test_right_to_left_text_and_emoji_stay_as_they_are(tmp_path):
    text = "שלום עולם 🙂 مرحبا"
    assert sections(tmp_path / "a.txt", text)[0].text == text
    assert sections(tmp_path / "b.txt", text.encode("utf-16"))[0].text == text


def test_a_folder_is_walked_without_tools_hidden_files_and_cycles(tmp_path):
    for name in ("a.md", "b/c.txt", "b/d.bin", ".git/e.md", "node_modules/f.md", ".hidden.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    if hasattr(os, "symlink"):
        (tmp_path / "b/loop").symlink_to(tmp_path, target_is_directory=True)
        (tmp_path / "self.md").symlink_to(tmp_path / "self.md")
    assert [f.source for f in find(tmp_path, base=tmp_path)] == ["a.md", "b/c.txt"]
    assert [f.source for f in find(tmp_path, ("**/*.txt",), base=tmp_path)] == ["b/c.txt"]
    assert [f.source for f in find(tmp_path, ("b/*",), base=tmp_path)] == ["b/c.txt", "b/d.bin"]
    assert [f.source for f in find(f"{tmp_path}/*.md", base=tmp_path)] == ["a.md"]
    elsewhere = find(tmp_path / "b", base=tmp_path / "other")
    assert elsewhere[0].source == (tmp_path / "b/c.txt").as_posix()


def test_empty_folders_and_wrong_paths(tmp_path):
    with pytest.raises(DataError, match="is no file of"):
        find(tmp_path, base=tmp_path)
    with pytest.raises(UnknownNameError, match="There is no file or folder"):
        find(tmp_path / "nowhere", base=tmp_path)
