"""Images, audio and video are refused with a sentence that says what to do."""

from __future__ import annotations

import pytest
from IPython.display import Audio, Image, Video
from matplotlib.figure import Figure

from llmops_jupyter.errors import OptionError, TemplateError
from llmops_jupyter.prompts.template import fill
from llmops_jupyter.records import Message

PIXEL = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU"
    b"\x00\x00\x00\nIDATx\x9cc`\x00\x00\x00\x02\x00\x01H\xaf\xa4q\x00\x00\x00\x00IEND\xaeB`\x82"
)


class Photo:
    """As a PIL image, for IPython."""

    def _repr_png_(self):
        return PIXEL


class Formula:
    _repr_png_ = None

    def __str__(self):
        return "x + 1"


@pytest.mark.parametrize(
    "value",
    [
        Photo(),
        Image(data=PIXEL),
        Figure(),
        Audio(data=[0.0, 0.1], rate=8000),
        Video(url="http://localhost/a.mp4"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_is_to_be_seen_or_heard_is_no_value(value):
    with pytest.raises(TemplateError, match="read and write text only"):
        fill("What is this? {{ thing }}", {"thing": value})


def test_bytes_are_no_value():
    with pytest.raises(TemplateError, match=r"bytes.*text only"):
        fill("What is this? {{ thing }}", {"thing": PIXEL})


def test_what_can_be_written_out_is_a_value():
    (message,) = fill("Add {{ thing }} and {{ more }}.", {"thing": Formula(), "more": 3.5})
    assert message.content == "Add x + 1 and 3.5."


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ],
    ids=lambda part: part["type"],
)
def test_parts_of_a_message_that_are_no_text_are_refused(part):
    with pytest.raises(OptionError, match=rf"{part['type']}.*text only"):
        Message("user", [{"type": "text", "text": "What is this?"}, part])


def test_other_contents_are_refused_too():
    with pytest.raises(OptionError, match="not NoneType"):
        Message("user", None)
