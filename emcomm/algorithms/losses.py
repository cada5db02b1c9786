"""The losses of the advantage actor-critic: pure functions over tensors `[T, B, N]` (time, game, agent).

Source: Mnih et al. 2016, "Asynchronous methods for deep reinforcement learning", with the λ-returns of
Schulman et al. 2016 (λ = 1 gives the n-step returns of the former).
"""

from __future__ import annotations

import torch
from torch import Tensor


def returns(reward_t: Tensor, ended_t: Tensor, value_tp1: Tensor, discount: float, trace: float) -> Tensor:
    """λ-returns: `G_t = r_t + γ (1 - ended_t) ((1 - λ) v_{t+1} + λ G_{t+1})`, with `G_T = v_T`.

    `reward_t`, `ended_t` (1 where the episode ended with this step) and `value_tp1` are `[T, ...]`; so is the result.

    >>> returns(torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]), torch.tensor([9.0, 9.0, 4.0]), 0.5, 1.0)
    tensor([0.5000, 1.0000, 2.0000])
    """
    assert reward_t.shape == ended_t.shape == value_tp1.shape
    goes_on_t = discount * (1 - ended_t)
    now_t, decay_t = reward_t + (1 - trace) * goes_on_t * value_tp1, trace * goes_on_t  # G_t = now_t + decay_t G_{t+1}
    target_t = [value_tp1[-1]]
    for now, decay in zip(reversed(now_t.unbind()), reversed(decay_t.unbind()), strict=True):
        target_t.append(torch.addcmul(now, decay, target_t[-1]))
    return torch.stack(target_t[:0:-1])


def policy_gradient(log_prob_t: Tensor, advantage_t: Tensor, weight_t: Tensor) -> Tensor:
    """`-log π(a_t) A_t`, mean over the steps with weight 1; no gradient flows through the advantage."""
    return -weighted_mean(log_prob_t * advantage_t.detach(), weight_t)


def value_error(value_t: Tensor, target_t: Tensor, weight_t: Tensor) -> Tensor:
    """`(G_t - v_t)² / 2`, mean over the steps with weight 1; no gradient flows through the target."""
    return weighted_mean((target_t.detach() - value_t).square() / 2, weight_t)


def spread(entropy_t: Tensor, choice_t: Tensor, speech_t: Tensor, token_entropy: float) -> Tensor:
    """What the entropy bonus pays for: the mean entropy over the steps with a choice, that of speech times a weight.

    >>> one, speech = torch.ones(2), torch.tensor([1.0, 0.0])
    >>> [float(spread(torch.tensor([3.0, 1.0]), one, speech, weight)) for weight in (1.0, 0.0)]
    [2.0, 0.5]
    """
    return weighted_mean(entropy_t * (1 - (1 - token_entropy) * speech_t), choice_t)


FLOOR_WEIGHT = 10.0
"""Of the entropy that is missing below the floor (reward per nat): more than a game with rewards of ±1 pulls."""


def missing_move_entropy(log_probs_t: Tensor, first_move: int, floor: float) -> Tensor:
    """By how much the entropy of the mean distribution over moves lies below `floor` (nats); 0 where it does not.

    The mean is over all steps, games and agents of `log_probs_t` `[T, B, N, A]`, by how likely they move at all; who
    has but one move, as a place without a car, counts, too. Agents who always part, each sure of its own move, have the
    entropy of their shares: unlike an entropy bonus the floor costs them nothing.

    >>> sure = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).log()
    >>> float(missing_move_entropy(sure, 1, 0.5)), round(float(missing_move_entropy(sure[:1], 1, 0.5)), 3)
    (0.0, 0.5)
    """
    mass = log_probs_t[..., first_move:].exp().flatten(0, -2).sum(0)
    share = mass / mass.sum().clamp(min=1e-8)
    entropy = -(share * share.clamp(min=1e-8).log()).sum()
    return (floor - entropy).clamp(min=0)


def floor_penalty(log_probs_t: Tensor, first_move: int, floor: float) -> Tensor | float:
    """What is added to the loss for the entropy of the moves that is missing below `floor`; 0 without a floor."""
    return FLOOR_WEIGHT * missing_move_entropy(log_probs_t, first_move, floor) if floor else 0.0


def weighted_mean(x: Tensor, weight: Tensor) -> Tensor:
    """Mean of `x` where `weight` is 1; 0 where it is nowhere.

    >>> weighted_mean(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([1.0, 1.0, 0.0]))
    tensor(1.5000)
    """
    return (x * weight).sum() / weight.sum().clamp(min=1)


def clipped_surrogate(log_ratio_t: Tensor, advantage_t: Tensor, weight_t: Tensor, clip: float) -> Tensor:
    """`-min(ρ A, clip(ρ, 1 - ε, 1 + ε) A)` with `ρ = exp(log_ratio)`, mean over the steps with weight 1.

    Source: Schulman et al. 2017, equation 7.

    >>> one = torch.ones(3)
    >>> clipped_surrogate(torch.tensor([0.0, 1.0, -1.0]).exp().log(), torch.tensor([1.0, 1.0, -1.0]), one, 0.2)
    tensor(-0.4667)
    """
    ratio_t, advantage_t = log_ratio_t.exp(), advantage_t.detach()
    worse_t = torch.minimum(ratio_t * advantage_t, ratio_t.clamp(1 - clip, 1 + clip) * advantage_t)
    return -weighted_mean(worse_t, weight_t)


def normalised(x: Tensor, weight: Tensor) -> Tensor:
    """`x` less its mean, divided by its standard deviation, both taken where `weight` is 1.

    >>> normalised(torch.tensor([1.0, 3.0, 9.0]), torch.tensor([1.0, 1.0, 0.0]))[:2]
    tensor([-1.,  1.])
    """
    centred = x - weighted_mean(x, weight)
    return centred / (weighted_mean(centred.square(), weight).sqrt() + 1e-8)
