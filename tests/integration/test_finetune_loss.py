"""The loss of learned tokens, with logits for a few of them at a time, on torch and on MLX."""

from __future__ import annotations

import numpy as np
import pytest

ROWS, WIDTH, WORDS = 11, 6, 17
KINDS = ("torch", "mlx")


class Case:
    """Random states, head and targets, and what their loss and its gradient are."""

    def __init__(self):
        made = np.random.default_rng(3)
        self.states = made.standard_normal((ROWS, WIDTH)).astype(np.float32)
        self.head = made.standard_normal((WIDTH, WORDS)).astype(np.float32)
        self.targets = made.integers(0, WORDS, ROWS)
        self.weights = made.integers(1, 4, ROWS).astype(np.float32)
        logits = (self.states @ self.head).astype(np.float64)
        shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        rows = np.arange(ROWS)
        self.loss = -(np.log(shares[rows, self.targets]) * self.weights).sum()
        shares[rows, self.targets] -= 1
        self.slope = (shares * self.weights[:, None]) @ self.head.T


def of_torch(case, chunk, factor):
    torch = pytest.importorskip("torch")
    from llmops_jupyter.finetune.trainers.loss import answer_loss

    asked = []

    def head(states):
        asked.append(len(states))
        return states @ torch.from_numpy(case.head)

    states = torch.from_numpy(case.states).requires_grad_()
    rest = (torch.from_numpy(case.targets), torch.from_numpy(case.weights))
    loss = factor * answer_loss(states, head, *rest, chunk=chunk)
    loss.backward()
    return float(loss.detach()), states.grad.numpy(), asked


def of_mlx(case, chunk, factor):
    mx = pytest.importorskip("mlx.core", exc_type=ImportError)
    from llmops_jupyter.finetune.trainers.mlxloss import answer_loss

    asked = []

    def head(states):
        asked.append(len(states))
        return states @ mx.array(case.head)

    rest = (mx.array(case.targets), mx.array(case.weights))

    def whole(states):
        return factor * answer_loss(states, head, *rest, chunk=chunk)

    alone = answer_loss(mx.array(case.states), head, *rest, chunk=chunk, learns=False)
    assert float(alone) == pytest.approx(case.loss, rel=1e-5)
    asked.clear()
    loss, slope = mx.value_and_grad(whole)(mx.array(case.states))
    return float(loss), np.array(slope), asked


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk", [1, 4, ROWS, 100])
@pytest.mark.parametrize("factor", [1.0, 0.25])
def test_loss_and_gradient_are_those_of_all_logits_at_once(kind, chunk, factor):
    case = Case()
    loss, slope, asked = {"torch": of_torch, "mlx": of_mlx}[kind](case, chunk, factor)
    assert loss == pytest.approx(factor * case.loss, rel=1e-5)
    assert slope == pytest.approx(factor * case.slope, abs=1e-4)
    assert max(asked) <= chunk
    assert sum(asked) == ROWS, "each row is computed once, for loss and gradient together"


@pytest.mark.parametrize("learns", [False, True])
def test_logits_of_few_chunks_are_in_memory_at_a_time_on_mlx(learns):
    mx = pytest.importorskip("mlx.core", exc_type=ImportError)
    from llmops_jupyter.finetune.trainers.mlxloss import answer_loss

    rows, words = 256, 8192
    head, states = mx.ones((WIDTH, words)), mx.ones((rows, WIDTH))
    targets, weights = mx.zeros((rows,), dtype=mx.int32), mx.ones((rows,))

    def whole(states):
        return answer_loss(states, lambda x: x @ head, targets, weights, chunk=16, learns=learns)

    mx.eval(head, states, targets, weights)
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    mx.eval(mx.value_and_grad(whole)(states) if learns else whole(states))
    logits = 4 * rows * words
    assert mx.get_peak_memory() - before < logits
