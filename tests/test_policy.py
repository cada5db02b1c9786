"""Policy, sampling and rollout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from emcomm.checkpoints import load_weights
from emcomm.errors import BadInput
from emcomm.networks.policy import Policy, Population
from emcomm.networks.torsos import TORSOS, Sizes
from emcomm.rollout import Rollout, draw_races, sample
from envs.crossing import CrossingGame
from envs.negotiation import Negotiation, TalkRules
from envs.task_and_talk import TaskAndTalkGame


def crossing(games: int, **options: object) -> Negotiation:
    rng = np.random.default_rng(0)
    return Negotiation(CrossingGame(games, rng), TalkRules(window=1, **options), rng)  # type: ignore[arg-type]


def policy_for(negotiation: Negotiation, memory: str = "gru") -> Policy:
    torch.manual_seed(0)
    return Policy(Sizes.of(negotiation, 16), TORSOS[memory])


def test_symbols_are_one_hot_with_a_column_for_silence() -> None:
    negotiation = crossing(1, opening="talk")
    negotiation.reset()
    policy = policy_for(negotiation)
    start = policy.encode(negotiation.observe())
    assert start.shape == (2, 3 + 2 * 7)
    assert start[0].tolist() == [0, 1, 0] + 2 * [0, 0, 0, 0, 0, 0, 1]
    negotiation.step(np.array([[4, 2]]))
    after = policy.encode(negotiation.observe())
    assert after[0, 3:].tolist() == [*[0, 0, 0, 0, 1, 0, 0], *[0, 0, 1, 0, 0, 0, 0]]
    assert after[1, 3:].tolist() == [*[0, 0, 1, 0, 0, 0, 0], *[0, 0, 0, 0, 1, 0, 0]]


def test_the_parts_of_a_move_are_weighed_independently() -> None:
    """The probability of a pair is the product of those of its values; symbols and a move without parts stand alone."""
    rng = np.random.default_rng(0)
    whole, apart = (TaskAndTalkGame(1, rng, n_values=3, naming=naming) for naming in ("pair", "values"))  # type: ignore[arg-type]
    talks = [Negotiation(game, TalkRules(**game.talk), rng) for game in (whole, apart)]  # type: ignore[arg-type]
    policies = [policy_for(talk) for talk in talks]
    n_symbols = talks[0].rules.n_tokens + 1
    assert [policy.actor.out_features for policy in policies] == [n_symbols + 10, n_symbols + 2 * 3 + 1]
    memory, everything = torch.randn(6, 16), torch.ones(6, n_symbols + 10, dtype=torch.bool)
    assert policies[0].logits(memory, everything).shape == policies[1].logits(memory, everything).shape
    answers = everything.clone()
    answers[:, :n_symbols] = answers[:, -1] = False
    for policy, independent in zip(policies, (False, True), strict=True):
        pair = policy.log_probs(memory, answers)[:, n_symbols:-1].exp().view(6, 3, 3)
        product = pair.sum(2)[:, :, None] * pair.sum(1)[:, None]
        assert torch.allclose(pair, product, atol=1e-6) is independent
    heads = policies[1].actor(memory)
    torch.testing.assert_close(policies[1].logits(memory, everything)[:, :n_symbols], heads[:, :n_symbols])
    torch.testing.assert_close(policies[1].logits(memory, everything)[:, -1], heads[:, -1])


def test_weights_of_moves_without_parts_are_not_those_of_moves_with_parts() -> None:
    """With two values both ways to name a pair need four numbers: a checkpoint of one is refused by the other."""
    rng = np.random.default_rng(0)
    games = [TaskAndTalkGame(1, rng, n_values=2, naming=naming) for naming in ("pair", "values")]  # type: ignore[arg-type]
    policies = [policy_for(Negotiation(game, TalkRules(**game.talk), rng)) for game in games]  # type: ignore[arg-type]
    assert policies[0].actor.weight.shape == policies[1].actor.weight.shape
    for policy in policies:
        load_weights(policy, policy.state_dict(), Path("here"))
    for one, other in (policies, policies[::-1]):
        with pytest.raises(BadInput, match="does not fit its configuration"):
            load_weights(one, other.state_dict(), Path("here"))


def test_samples_follow_the_policy_and_the_mask() -> None:
    negotiation = crossing(1)
    policy = policy_for(negotiation)
    rows = 40_000
    memory = torch.randn(1, 16, generator=torch.Generator().manual_seed(1)).expand(rows, -1)
    mask = torch.tensor([[True, True, True, False, True, True, True, False]]).expand(rows, -1)
    drawn = sample(policy, memory, mask, draw_races((rows, 8), np.random.default_rng(0)))
    share = torch.bincount(drawn, minlength=8) / rows
    expected = policy.log_probs(memory[0], mask[0]).exp()
    assert expected[3] == expected[7] == 0
    assert share[3] == share[7] == 0
    # four standard deviations of a share over 40 000 draws are at most 0.01
    torch.testing.assert_close(share, expected, atol=0.01, rtol=0)


def test_greedy_moves_leave_symbols_sampled() -> None:
    negotiation = crossing(1)
    policy = policy_for(negotiation)
    rows = 5000
    memory = torch.zeros(rows, 16)  # all logits equal the bias, which is 0
    with torch.no_grad():
        policy.actor.bias[7] = 0.1
    races = draw_races((rows, 8), np.random.default_rng(0))
    everything = torch.ones(rows, 8, dtype=torch.bool)
    drawn = sample(policy, memory, everything, races, greedy_from=6)
    assert set(drawn.tolist()) == {0, 1, 2, 3, 4, 5, 7}
    assert set(sample(policy, memory, everything, races).tolist()) == set(range(8))


@pytest.mark.parametrize("memory", ["gru", "window", "none"])
def test_memory_starts_anew_with_every_episode(memory: str) -> None:
    """With no talk an episode is one step, so every step's value is that of an untouched memory."""
    negotiation = crossing(4, channel="off")
    policy = policy_for(negotiation, memory)
    played, _, dialogues = Rollout(negotiation, np.random.default_rng(0)).play(policy, 5)
    assert played.value.shape == (6, 4, 2)
    torch.testing.assert_close(played.value, played.value[0, 0, 0].expand(6, 4, 2))
    assert played.ended.min() == 1
    assert sum(len(d.game) for d, _ in dialogues) == 20


def test_a_trajectory_agrees_with_the_policy_step_by_step() -> None:
    """The same games played again, with the network applied one step at a time."""
    policy = policy_for(crossing(3))
    played, _, _ = Rollout(crossing(3), np.random.default_rng(5)).play(policy, 12)
    again, rng = crossing(3), np.random.default_rng(5)
    again.reset()
    races = draw_races((12, 6, 8), rng)
    memory = policy.initial_memory(6)
    for t in range(12):
        seen = again.observe()
        memory = policy.remember(policy.encode(seen), memory)
        mask = torch.from_numpy(seen.mask).view(6, 8)
        action = sample(policy, memory, mask, races[t])
        expected = policy.log_probs(memory, mask).gather(1, action[:, None]).view(3, 2)
        torch.testing.assert_close(played.log_prob[t], expected)
        step = again.step(action.view(3, 2).numpy())
        np.testing.assert_array_equal(played.reward[t].numpy(), step.rewards)
        again.reset(step.over)
        memory = memory * torch.from_numpy(~step.over).repeat_interleave(2)[:, None]


def test_gradients_reach_what_was_said_rounds_before() -> None:
    """The log-probability of a late action depends on an early input through the memory."""
    policy = policy_for(crossing(8, opening="talk", max_rounds=None))
    played, _, _ = Rollout(crossing(8, opening="talk", max_rounds=None), np.random.default_rng(0)).play(policy, 6)
    played.log_prob[5].sum().backward()
    assert policy.torso.cell.weight_hh.grad is not None  # type: ignore[union-attr]
    assert policy.torso.cell.weight_hh.grad.abs().sum() > 0  # type: ignore[union-attr]


def test_the_value_after_the_last_step_is_the_critics_and_carries_no_gradient() -> None:
    negotiation = crossing(8, opening="talk", max_rounds=None)
    policy, rollout = policy_for(negotiation), Rollout(negotiation, np.random.default_rng(0))
    played, again, _ = rollout.play(policy, 6)
    assert rollout.memory is not None
    after = policy.value(policy.remember(policy.encode(negotiation.observe()), rollout.memory))
    for trajectory in (played, again()):
        torch.testing.assert_close(trajectory.value[-1].flatten(), after)
        policy.zero_grad()
        trajectory.value[-1].sum().backward()
        assert all(p.grad is None or not p.grad.any() for p in policy.parameters())


def test_without_memory_the_buffer_is_not_seen() -> None:
    negotiation = crossing(1, opening="talk")
    negotiation.reset()
    for memory, alike in (("none", True), ("window", False)):
        policy = policy_for(negotiation, memory)  # type: ignore[arg-type]
        negotiation.reset()
        negotiation.step(np.array([[4, 2]]))
        after = policy.encode(negotiation.observe())
        assert torch.equal(after[0], after[1]) == alike


def three_members(negotiation: Negotiation) -> list[Policy]:
    """Networks whose value is their number."""
    members = [policy_for(negotiation) for _ in range(3)]
    for i, member in enumerate(members):
        torch.nn.init.constant_(member.critic.bias, float(i))
        torch.nn.init.zeros_(member.critic.weight)
    return members


def test_in_a_population_two_different_members_play_each_game() -> None:
    negotiation = crossing(7, opening="talk")
    members = three_members(negotiation)
    population = Population(members)
    memory = population.initial_memory(14)
    pairs = population.value(memory).view(7, 2).tolist()
    assert pairs == [[0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1], [0, 1]]
    negotiation.reset()
    seen = negotiation.observe()
    after = population.remember(population.encode(seen), memory)
    logits = population.logits(after, torch.from_numpy(seen.mask).view(14, -1))
    for row, member in enumerate(np.array(pairs, int).ravel()):
        alone = members[member].remember(population.encode(seen)[row : row + 1], memory[row : row + 1, :-1])
        torch.testing.assert_close(after[row : row + 1, :-1], alone)
        torch.testing.assert_close(logits[row, :6], members[member].actor(alone)[0, :6])
    over_time = population.value(torch.stack([memory, memory]))
    assert over_time.shape == (2, 14)


def test_a_population_deals_its_pairs_in_turn_to_the_games_that_start() -> None:
    """However long a pair talks, it plays as many games as the others."""
    population = Population(three_members(crossing(4)))
    memory = population.initial_memory(8)
    memory[:, :-1] = 1.0
    after = population.restart(memory, np.array([False, True, True, False]))
    over = torch.tensor([False, True, True, False]).repeat_interleave(2)
    assert population.value(after).view(4, 2).tolist() == [[0, 1], [2, 0], [2, 1], [1, 2]]
    assert (after[over, :-1] == 0).all()
    assert (after[~over] == memory[~over]).all()


def test_a_population_learns_like_one_policy() -> None:
    """Every member gets a gradient from the games that it plays."""
    negotiation = crossing(12)
    population = Population([policy_for(negotiation) for _ in range(3)])
    played, _, _ = Rollout(negotiation, np.random.default_rng(0)).play(population, 6)
    played.log_prob.sum().backward()
    for member in population.members:
        assert member.torso.cell.weight_ih.grad.abs().sum() > 0
