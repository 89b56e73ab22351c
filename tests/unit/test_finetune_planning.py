"""What a run takes is said before it begins, and what does not fit is refused with what would."""

from __future__ import annotations

import pytest

from llmops_jupyter.errors import ModelMemoryError
from llmops_jupyter.finetune.packing import Tokens
from llmops_jupyter.finetune.planning import memory_of, plan, spoken
from llmops_jupyter.finetune.recipe import Recipe
from llmops_jupyter.models.gguf import GGUFMetadata
from llmops_jupyter.models.memory import MemoryLimit

SMALL = GGUFMetadata(
    "llama",
    parameters=134_515_008,
    embedding_length=576,
    feed_forward_length=1536,
    layers=30,
    heads=9,
    kv_heads=(3,) * 30,
    vocabulary=49_152,
    context_length=8192,
)
PREFIX = tuple(range(200))


def examples(count, length=60):
    return [[Tokens((*PREFIX, *[1000 + i] * length), 200)] for i in range(count)]


def made(train, gigabytes=20.0, **recipe):
    limit = MemoryLimit(int(gigabytes * 1e9), "free memory")
    options = {k: recipe.pop(k) for k in ("speed", "evals", "bytes_each") if k in recipe}
    return plan(SMALL, Recipe(**recipe), train, limit, **options)


def test_shared_beginnings_are_counted_once():
    found = made(examples(80), epochs=1)
    assert found.steps == 10
    assert found.plain == 80 * 260
    assert found.tokens == 10 * (200 + 8 * 60)
    assert found.budget == 200 + 8 * 60
    assert "3.1 times fewer than one by one" in found.sentence()


def test_what_a_pass_holds_goes_by_the_memory():
    roomy, tight = made(examples(80), epochs=1), made(examples(80), 2.5, epochs=1)
    assert tight.memory <= 2.5e9 * 0.9 < roomy.memory
    assert tight.budget < roomy.budget
    assert tight.tokens > roomy.tokens


def test_checkpointing_comes_before_a_refusal():
    long = [[Tokens(tuple(range(i, i + 2000)), 1)] for i in range(10)]
    found = made(long, 3.0, eval_share=0)
    assert found.checkpointing
    with pytest.raises(
        ModelMemoryError, match=r"longest example has 2,000 tokens.*--max-length \d+"
    ):
        made(long, 1.9)
    with pytest.raises(ModelMemoryError, match="longest example"):
        made(long, 3.0, checkpointing="off")
    with pytest.raises(ModelMemoryError, match="smaller base model"):
        made(long, 1.0)


def test_memory_grows_with_what_it_depends_on():
    def memory(tokens=500, bytes_each=4, rank=16, **options):
        return memory_of(
            SMALL, Recipe(rank=rank), tokens, bytes_each, **{"checkpointing": False, **options}
        )

    assert memory(1000) > memory() > memory(checkpointing=True)
    assert memory() > memory(bytes_each=2)
    assert memory(rank=64) > memory()


def test_time_follows_the_work_and_the_speed():
    slow, fast = (made(examples(80), epochs=1, speed=s).seconds for s in (1e10, 1e11))
    assert slow == pytest.approx(10 * fast)
    assert made(examples(80), epochs=1).seconds is None
    looked = made(examples(80), epochs=1, speed=1e11, evals=examples(40))
    assert looked.seconds > fast


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (89, "89 s"), (600, "10 min"), (7200, "2.0 h")]
)
def test_times_are_said_as_people_say_them(seconds, text):
    assert spoken(seconds) == text
