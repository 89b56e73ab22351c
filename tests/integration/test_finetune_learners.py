"""What learns, on torch and on MLX: the same losses, gradients, steps and adapters on the same small model."""

from __future__ import annotations

import numpy as np
import pytest
from learners import (
    KINDS,
    PEFT_WARNS,
    alone,
    apart,
    flat,
    gradients,
    make,
    moved,
    sequences,
)
from tiny_models import HEADS, VOCABULARY, write_llama

from llmops_jupyter.errors import OptionError
from llmops_jupyter.finetune.packing import Tokens, pack

pytestmark = pytest.mark.filterwarnings(PEFT_WARNS)
LINEAR = {
    "attention": {"q_proj", "k_proj", "v_proj", "o_proj"},
    "mlp": {"gate_proj", "up_proj", "down_proj"},
}
LINEAR["all"] = LINEAR["attention"] | LINEAR["mlp"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A model with grouped queries, its weights packed in 8 bits."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    return write_llama(path, kv_heads=HEADS // 2, kind="Q8_0")


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.mark.parametrize("twice", [False, True])
def test_a_pack_teaches_what_its_examples_teach_one_by_one(kind, file, twice):
    group = sequences()
    learner = moved(make(kind, file))
    wanted = sum(learner.learn(one) for one in alone(group))
    slopes = gradients(learner)
    learner.step(0.0, 1)
    learner.checkpoints = twice
    assert learner.facts["checkpointing"] is twice
    packed = pack(group)
    assert packed.tokens < sum(len(s.ids) for s in group)
    assert learner.learn(packed) == pytest.approx(wanted, rel=1e-5)
    assert apart(gradients(learner), slopes) < 1e-4
    assert learner.loss(packed) == pytest.approx(wanted, rel=1e-5)


def test_passes_add_up_and_a_step_clears_them(kind, file):
    learner = moved(make(kind, file))
    one = pack(sequences())
    learner.learn(one)
    once = gradients(learner)
    learner.learn(one)
    assert apart(gradients(learner), {name: 2 * slope for name, slope in once.items()}) < 1e-5
    learner.step(0.0, one.learned)
    assert gradients(learner) == {}


@pytest.mark.parametrize(
    "settings", [{}, {"weight_decay": 0.3, "max_grad_norm": 0.05}, {"rslora": True, "alpha": 4.0}]
)
def test_both_learners_take_the_same_steps(file, settings):
    ours, theirs = moved(make("mlx", file, **settings)), make("torch", file, **settings)
    theirs.put(ours.lora())
    before = flat(ours.lora())
    for seed in range(3):
        one = pack(sequences(seed))
        assert ours.learn(one) == pytest.approx(theirs.learn(one), rel=1e-5)
        assert apart(gradients(ours), gradients(theirs)) < 1e-3
        lengths = [learner.step(0.01, one.learned) for learner in (ours, theirs)]
        assert lengths[0] == pytest.approx(lengths[1], rel=1e-4)
    after = [flat(learner.lora()) for learner in (ours, theirs)]
    ways = [{name: one[name] - before[name] for name in before} for one in after]
    assert apart(*ways) < 5e-3


def test_a_gradient_that_is_too_long_is_cut_and_told_at_its_whole_length(kind, file):
    one = pack(sequences())
    free, cut = (
        moved(make(kind, file, max_grad_norm=most, learning_rate=0.1)) for most in (1e6, 1e-6)
    )
    lengths = []
    for learner in (free, cut):
        learner.learn(one)
        mean = np.concatenate([g.ravel() for g in gradients(learner).values()]) / one.learned
        before = flat(learner.lora())
        lengths.append(learner.step(1e-3, one.learned))
        assert lengths[-1] == pytest.approx(np.linalg.norm(mean), rel=1e-4)
        assert apart(flat(learner.lora()), before) > 1e-4
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-6)
    # Adam's steps do not depend on the length but for its epsilon, which is not small beside these.
    state = cut.state()
    moments = [v for k, v in state.items() if k.startswith("exp_avg.")]
    assert np.sqrt(sum((m**2).sum() for m in moments)) == pytest.approx(0.1 * 1e-6, rel=0.01)


@pytest.mark.parametrize("twice", [False, True])
def test_a_state_is_gone_on_from_as_if_nothing_had_happened(kind, file, twice):
    settings = {"dropout": 0.3, "checkpointing": "on" if twice else "off"}
    group = [pack(sequences(seed)) for seed in range(4)]

    def steps(learner, packs):
        losses = []
        for one in packs:
            losses.append(learner.learn(one))
            learner.step(0.01, one.learned)
        return losses

    learner = make(kind, file, **settings)
    steps(learner, group[:2])
    state = {name: value.copy() for name, value in learner.state().items()}
    went_on = steps(learner, group[2:])
    fresh = make(kind, file, seed=9, **settings)
    fresh.restore(state)
    assert steps(fresh, group[2:]) == pytest.approx(went_on, rel=1e-6)
    assert apart(flat(fresh.lora()), flat(learner.lora())) < 1e-6
    other = make(kind, file, seed=9, **settings)
    random = {k: v for k, v in other.state().items() if k.startswith("random")}
    other.restore({**state, **random})
    assert steps(other, group[2:]) != pytest.approx(went_on, rel=1e-4), "dropout is drawn"


def test_nothing_is_left_out_at_random_while_nothing_is_learned(kind, file):
    one = pack(sequences())
    plain, random = (moved(make(kind, file, dropout=share)) for share in (0.0, 0.5))
    random.put(plain.lora())
    assert random.loss(one) == plain.loss(one)
    losses = [random.learn(one) for _ in range(2)]
    assert abs(losses[0] - plain.learn(one)) > 1e-3
    assert abs(losses[0] - losses[1]) > 1e-3, "each pass draws anew"
    assert random.loss(one) == plain.loss(one)


def test_activations_computed_twice_leave_out_the_same(kind, file):
    one = pack(sequences())
    learner = moved(make(kind, file, dropout=0.4))
    state = learner.state()
    learner.learn(one)
    once = gradients(learner)
    learner.step(0.0, 1)
    learner.restore(state)
    learner.checkpoints = True
    learner.learn(one)
    assert apart(gradients(learner), once) < 1e-5


@pytest.mark.parametrize("rslora", [False, True])
def test_an_adapter_says_what_is_to_be_added_to_the_weights_of_transformers(kind, file, rslora):
    torch = pytest.importorskip("torch")
    from llmops_jupyter.finetune.trainers import weights

    learner = moved(make(kind, file, rslora=rslora, alpha=6.0))
    lora = learner.lora()
    assert lora.scale == pytest.approx(3.0 if rslora else 1.5)
    base = weights.load(file, torch.float32)
    ids = sequences()[0].ids
    with torch.no_grad():
        bare = torch.log_softmax(base(torch.tensor([ids])).logits[0], -1).numpy()
        for module, (a, b) in lora.factors.items():
            base.get_submodule(module).weight += lora.scale * torch.from_numpy(b @ a)
        whole = torch.log_softmax(base(torch.tensor([ids])).logits[0], -1).numpy()
    assert np.abs(whole - bare).max() > 1
    assert np.abs(learner.logprobs(ids, len(ids)) - whole).max() < 2e-3
    assert np.abs(learner.logprobs(ids, 3) - whole[-3:]).max() < 2e-3


def test_what_was_learned_can_be_put_back(kind, file):
    learner = moved(make(kind, file))
    lora, ids = learner.lora(), sequences()[0].ids
    before = learner.logprobs(ids, 4)
    one = pack(sequences())
    learner.learn(one)
    learner.step(0.05, one.learned)
    assert np.abs(learner.logprobs(ids, 4) - before).max() > 1e-2
    learner.put(lora)
    assert np.array_equal(learner.logprobs(ids, 4), before)


@pytest.mark.parametrize("targets", ["all", "attention", "mlp"])
def test_the_recipe_says_which_layers_learn(kind, file, targets):
    learner = make(kind, file, targets=targets)
    factors = learner.lora().factors
    assert {name.rpartition(".")[2] for name in factors} == LINEAR[targets]
    assert learner.facts["modules"] == len(factors) == 2 * len(LINEAR[targets])
    assert learner.facts["parameters"] == sum(a.size + b.size for a, b in factors.values())
    assert all(a.shape[0] == b.shape[1] == 4 for a, b in factors.values())


def test_first_factors_follow_from_the_seed_and_change_nothing(kind, file):
    first, again, other = (make(kind, file, seed=seed) for seed in (1, 1, 2))
    ours, same, theirs = (flat(learner.lora()) for learner in (first, again, other))
    assert all(np.array_equal(ours[name], same[name]) for name in same)
    a = ours["model.layers.0.self_attn.q_proj.A"]
    assert not np.array_equal(a, theirs["model.layers.0.self_attn.q_proj.A"])
    assert not np.array_equal(a, ours["model.layers.1.self_attn.q_proj.A"])
    # Uniform up to one over the root of the inputs, as PEFT draws them.
    assert 0.9 < np.abs(a).max() * np.sqrt(a.shape[1]) <= 1
    assert np.std(a) == pytest.approx(1 / np.sqrt(3 * a.shape[1]), rel=0.15)
    assert not any(value.any() for name, value in ours.items() if name.endswith(".B"))


def test_an_answer_is_the_likeliest_token_again_and_again(kind, file):
    learner = moved(make(kind, file))
    prompt = list(sequences()[0].ids)
    wanted = []
    for _ in range(6):
        wanted.append(int(learner.logprobs([*prompt, *wanted], 1)[0].argmax()))
    never = VOCABULARY - 1 if VOCABULARY - 1 not in wanted else 0
    assert learner.answer(prompt, 6, [never]) == wanted
    end = wanted[3]
    assert learner.answer(prompt, 6, [never, end]) == wanted[: wanted.index(end)]
    assert learner.answer(prompt[:1], 2, [never]) == [
        first := int(learner.logprobs(prompt[:1], 1)[0].argmax()),
        int(learner.logprobs([prompt[0], first], 1)[0].argmax()),
    ]


def test_a_pass_in_which_nothing_is_learned_has_no_loss(kind, file):
    learner = make(kind, file)
    assert learner.learn(pack([Tokens((1, 2, 3), 3)])) == 0.0
    assert learner.loss(pack([Tokens((1, 2, 3), 3)])) == 0.0


def test_learners_say_what_runs_where(kind, file):
    learner = make(kind, file)
    facts = learner.facts
    assert facts["trainer"] == kind
    assert facts["precision"] == "float32"
    assert facts["quantize"] == "none"
    assert learner.width == 64
    assert learner.shares


def test_four_bits_need_cuda(kind, file):
    if kind == "torch" and pytest.importorskip("torch").cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(OptionError, match="CUDA"):
        make(kind, file, quantize="nf4")


def test_going_back_forgets_gradients_and_moments_since(kind, file):
    learner = moved(make(kind, file))
    group = [pack(sequences(seed)) for seed in range(2)]
    first = learner.state()

    def steps():
        for one in group:
            learner.learn(one)
            learner.step(0.01, one.learned)
        return flat(learner.lora())

    once = steps()
    learner.learn(group[0])
    learner.restore(first)
    assert gradients(learner) == {}
    assert apart(steps(), once) < 1e-6
