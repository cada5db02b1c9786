"""The losses, on arrays small enough to work out by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from emcomm.algorithms import losses
from emcomm.algorithms.reinforce import reinforce
from emcomm.config import Config

REWARD = torch.tensor([1.0, 0.0, 2.0])
VALUE_TP1 = torch.tensor([10.0, 20.0, 30.0])
GOES_ON = torch.zeros(3)


@pytest.mark.parametrize(
    ("trace", "ended", "expected"),
    [
        # n-step: 2 + .5·30 = 17; 0 + .5·17 = 8.5; 1 + .5·8.5 = 5.25
        (1.0, [0, 0, 0], [5.25, 8.5, 17.0]),
        # one step: 1 + .5·10, 0 + .5·20, 2 + .5·30
        (0.0, [0, 0, 0], [6.0, 10.0, 17.0]),
        # half: 17; .5·(.5·20 + .5·17) = 9.25; 1 + .5·(.5·10 + .5·9.25) = 5.8125
        (0.5, [0, 0, 0], [5.8125, 9.25, 17.0]),
        # the episode ends with the second step: nothing flows back over it
        (1.0, [0, 1, 0], [1.0, 0.0, 17.0]),
    ],
)
def test_returns(trace: float, ended: list[int], expected: list[float]) -> None:
    found = losses.returns(REWARD, torch.tensor(ended, dtype=torch.float32), VALUE_TP1, 0.5, trace)
    torch.testing.assert_close(found, torch.tensor(expected))


def test_policy_gradient_raises_what_went_well_and_leaves_the_advantage_alone() -> None:
    log_prob = torch.tensor([-1.0, -2.0, -3.0], requires_grad=True)
    advantage = torch.tensor([2.0, -1.0, 5.0], requires_grad=True)
    weight = torch.tensor([1.0, 1.0, 0.0])  # in the third step there was no choice
    loss = losses.policy_gradient(log_prob, advantage, weight)
    assert loss.item() == pytest.approx(-(-2.0 + 2.0) / 2)
    loss.backward()
    assert log_prob.grad is not None
    torch.testing.assert_close(log_prob.grad, torch.tensor([-1.0, 0.5, 0.0]))
    assert advantage.grad is None


def test_value_error_moves_the_value_not_the_target() -> None:
    value = torch.tensor([1.0, 3.0], requires_grad=True)
    target = torch.tensor([2.0, 1.0], requires_grad=True)
    loss = losses.value_error(value, target, torch.ones(2))
    assert loss.item() == pytest.approx((0.5 + 2.0) / 2)
    loss.backward()
    assert value.grad is not None
    torch.testing.assert_close(value.grad, torch.tensor([-0.5, 1.0]))
    assert target.grad is None


def test_the_mean_over_nothing_is_zero() -> None:
    assert losses.weighted_mean(torch.ones(3), torch.zeros(3)).item() == 0.0


def test_the_mean_over_one_step_is_that_step() -> None:
    assert losses.weighted_mean(torch.tensor([3.0, 5.0]), torch.tensor([1.0, 0.0])).item() == 3.0


@pytest.mark.parametrize("shapes", [((3, 1), (3, 2), (3, 2)), ((3, 2), (3, 1), (3, 2)), ((3, 2), (3, 2), (3, 1))])
def test_returns_of_different_games_are_not_mixed(shapes: tuple[tuple[int, int], ...]) -> None:
    reward, ended, value = map(torch.zeros, shapes)
    with pytest.raises(AssertionError):
        losses.returns(reward, ended, value, 0.5, 1.0)


def test_reinforce_judges_by_the_whole_return_alone() -> None:
    """Each action counts what follows it in its episode, whatever the critic expects; so a usual loss still repels."""
    log_prob = torch.tensor([[[-1.0]], [[-2.0]], [[-3.0]]], requires_grad=True)
    policy = torch.nn.Linear(1, 1)
    ones = torch.ones(3, 1, 1)
    played = SimpleNamespace(
        speech=torch.zeros(()),
        log_prob=log_prob + 0 * policy.weight.sum(), log_probs=None, reward=torch.tensor([[[0.0]], [[-10.0]], [[4.0]]]),
        ended=torch.tensor([[[0.0]], [[1.0]], [[0.0]]]), value=torch.full((4, 1, 1), 99.0), choice=ones, entropy=ones,
    )  # fmt: skip
    config = Config(workers=0, discount=0.5)
    found = reinforce(policy, played, lambda: played, config, 0.0)  # type: ignore[arg-type]
    assert log_prob.grad is not None
    torch.testing.assert_close(log_prob.grad.flatten(), -torch.tensor([-5.0, -10.0, 0.0]) / 2)  # the third goes on
    assert found.entropy == 1.0
    assert np.isnan(found.value_error)
