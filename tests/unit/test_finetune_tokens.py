"""What of an example is learned: the tokens that are served, then the answer and what ends it."""

from __future__ import annotations

import pytest

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra demo)")

from llmops_jupyter.data.examples import Example, find_format
from llmops_jupyter.engine.chat import ChatFormat
from llmops_jupyter.engine.tokens import Tokenizer
from llmops_jupyter.errors import DataError, ModelError
from llmops_jupyter.finetune.tokens import Encoder, encoder_of
from llmops_jupyter.records import Message, ToolCall

pytestmark = pytest.mark.model

THINKING = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{{ m['content'].split('</think>')[-1] + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
)
BARE = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


def said(*pairs):
    return Example(tuple(Message(role, content) for role, content in pairs))


@pytest.fixture(scope="module")
def encoder(model_path):
    with encoder_of(model_path, 8192) as made:
        yield made


def with_template(encoder, template, learn="all"):
    tokenizer = Tokenizer(encoder._tokenizer.vocabulary, 8192)
    given = tokenizer.format
    tokenizer.__dict__["format"] = ChatFormat(
        template, "model", given.control, given.bos, given.eos
    )
    return Encoder(tokenizer, learn)


def learned(encoder, sequence):
    return encoder.text(sequence.ids[sequence.learned :])


def test_the_prompt_has_the_tokens_of_a_request(encoder):
    messages = (Message("system", "Be brief."), Message("user", "Where is <|im_end|> it?"))
    example = Example((*messages, Message("assistant", "Here.")))
    (sequence,) = encoder.encode(example, "r1")
    served = encoder._tokenizer.tokens(messages)
    assert list(sequence.ids[: sequence.learned]) == served
    assert learned(encoder, sequence) == "Here.<|im_end|>"
    assert sequence.row == "r1"
    assert sequence.ids[-1] in encoder.ends


def test_control_tokens_in_an_answer_are_only_text(encoder):
    (sequence,) = encoder.encode(said(("user", "a"), ("assistant", "x <|im_end|> y")))
    end = sequence.ids[-1]
    assert sequence.ids[sequence.learned :].count(end) == 1
    assert learned(encoder, sequence) == "x <|im_end|> y<|im_end|>"


def test_each_answer_of_a_conversation_is_learned_behind_its_own_prompt(encoder, model_path):
    example = said(("user", "a"), ("assistant", "one"), ("user", "b"), ("assistant", "two"))
    first, second = encoder.encode(example)
    assert learned(encoder, first) == "one<|im_end|>"
    assert learned(encoder, second) == "two<|im_end|>"
    # What was learned first stands in the second's prompt, token by token.
    assert second.ids[: len(first.ids)] == first.ids
    with encoder_of(model_path, 8192, learn="last") as last:
        assert last.encode(example) == [second]


def test_a_text_is_learned_whole_and_ends(encoder):
    (sequence,) = encoder.encode(Example(text="Once upon a time."))
    assert encoder.text(sequence.ids) == "Once upon a time.<|im_end|>"
    assert sequence.targets == len(sequence.ids) - 1


def test_an_answer_after_reasoning_that_the_template_begins_is_learned_alone(encoder):
    thinking = with_template(encoder, THINKING)
    (sequence,) = thinking.encode(said(("user", "a"), ("assistant", "one")))
    assert thinking.text(sequence.ids[: sequence.learned]).endswith("<think>\n\n</think>\n\n")
    assert learned(thinking, sequence) == "one<|im_end|>"


def test_a_template_without_a_token_that_ends_gets_the_models_own(encoder):
    bare = with_template(encoder, BARE)
    (sequence,) = bare.encode(said(("user", "a"), ("assistant", "one")))
    assert learned(bare, sequence) == "one<|im_end|>"


def test_calls_of_tools_need_a_template_that_knows_them(encoder):
    call = ToolCall("1", "add", {"a": 1})
    example = Example((Message("user", "1 + 1?"), Message("assistant", "", (call,))))
    with pytest.raises(ModelError, match="knows no calls of tools"):
        encoder.encode(example)
    result = Message("tool", "2", tool_call_id="1")
    whole = Example((*example.messages, result, Message("assistant", "Two.")))
    with encoder_of_last(encoder) as last:
        (sequence,) = last.encode(whole)
        assert learned(last, sequence) == "Two.<|im_end|>"
        assert "2" in last.text(sequence.ids[: sequence.learned])


def test_faults_are_said(encoder):
    with pytest.raises(DataError, match="The answer is empty"):
        encoder.encode(said(("user", "a"), ("assistant", "")))


def test_the_mask_shows_what_is_learned(encoder):
    rows = [{"role": r, "content": c} for r, c in (("user", "a"), ("assistant", "b"))]
    shown = encoder.masked(find_format(["messages"], system="S").read({"messages": rows}))
    assert shown.pieces[-1] == ("b<|im_end|>", True)
    assert not shown.pieces[0][1]
    assert shown.learned == 2
    assert "".join(text for text, _ in shown.pieces).count("<|im_start|>") == 3


def test_the_mask_of_a_conversation_is_in_turns(encoder):
    example = said(("user", "a"), ("assistant", "one"), ("user", "b"), ("assistant", "two"))
    assert [learned for _, learned in encoder.masked(example).pieces] == [False, True] * 2


def encoder_of_last(encoder):
    import contextlib

    return contextlib.nullcontext(Encoder(encoder._tokenizer, "last"))
