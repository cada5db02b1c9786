"""The gradient through tokens: to the speaker and nobody else, and without a change of what is played."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from analysis.causal.channel_controls import channel_controls
from emcomm.algorithms import losses
from emcomm.config import Config
from emcomm.errors import BadInput
from emcomm.games import with_talk
from emcomm.networks.policy import Policy
from emcomm.rollout import Rollout, Trajectory, draw_races, sample
from emcomm.worlds import make_negotiation, make_policy
from envs.channels import SILENT
from envs.negotiation import TalkRules

STEPS = 7

GAMES = {
    "signalling": {"env": "emcomm/signalling-v1", "policies": "by-role"},
    "crossing": {"env": "emcomm/crossing-v1", "policies": "separate"},
    "crossing, window": {"env": "emcomm/crossing-v1", "policies": "separate", "torso": "window"},
    "task and talk": {"env": "emcomm/task-and-talk-v1", "policies": "by-role"},
    "traffic junction": {"env": "emcomm/traffic-junction-v1"},
    "in turns": {"torso": "window", "rules": TalkRules(speaking="sequential", order="round")},
    "line": {"env": "emcomm/line-v1", "game_options": {"trains": 3}},
}


def config_of(name: str, **more: object) -> Config:
    return with_talk(Config(workers=0, games=5, unroll=STEPS, hidden_size=12, **{**GAMES[name], **more}))  # type: ignore[arg-type]


def play(config: Config, token_gradient: bool) -> tuple[Policy, Trajectory, Trajectory]:
    policy = make_policy(config)
    negotiation = make_negotiation(config, config.games, np.random.SeedSequence(3), training=True)
    rollout = Rollout(negotiation, np.random.default_rng(4), token_gradient)
    rollout.play(policy, STEPS)  # so that the trajectory begins in the middle of talks
    trajectory, again, _ = rollout.play(policy, STEPS)
    return policy, trajectory, again()


def gradient(loss: Tensor, policy: Policy) -> Tensor:
    grads = torch.autograd.grad(loss, [*policy.parameters()], retain_graph=True, allow_unused=True)
    return torch.cat([torch.zeros(0) if g is None else g.flatten() for g in grads if g is not None])


@pytest.mark.parametrize("name", GAMES)
def test_what_is_played_stays_and_what_is_evaluated_again_agrees(name: str) -> None:
    (_, plain, _), (policy, passing, again) = play(config_of(name), False), play(config_of(name), True)
    for before, now, later in zip(plain, passing, again, strict=True):
        torch.testing.assert_close(before, now)
        torch.testing.assert_close(now, later)
    for one in range(STEPS):
        torch.testing.assert_close(
            gradient(passing.log_prob[one].sum(), policy), gradient(again.log_prob[one].sum(), policy)
        )


def naive(config: Config) -> tuple[Policy, Tensor]:
    """`[T, B, N]` the log-probabilities, each symbol followed by hand from the ear to the mouth."""
    policy = make_policy(config)
    talk = make_negotiation(config, config.games, np.random.SeedSequence(3), training=True)
    rollout = Rollout(talk, np.random.default_rng(4))
    rollout.play(policy, STEPS)
    assert rollout.memory is not None
    games, agents, memory = talk.n_games, talk.n_agents, rollout.memory
    races = draw_races((STEPS, games * agents, talk.n_actions), rollout._rng)
    symbols, log_probs, mouths = policy.sizes.n_symbols, [], {}
    sequential = config.rules.speaking == "sequential"
    # of the talk that goes on, round by round, who spoke at which step of this trajectory
    rounds: list[list[dict[int, int]]] = [[{}] if sequential and talk._turn[b] else [] for b in range(games)]
    for t in range(STEPS):
        seen = talk.observe()
        encoded = policy.encode(seen)
        features = encoded.shape[1] - policy.sizes.window * policy.sizes.round_size
        rows = []
        for b in range(games):
            for i in range(agents):
                row = [encoded[b * agents + i, :features]]
                for slot in range(policy.sizes.window):
                    for c in range(agents):
                        at = features + (slot * agents + c) * (symbols + 1)
                        cell = encoded[b * agents + i, at : at + symbols + 1]
                        back, speaker = policy.sizes.window - slot, int(talk.columns[b, i, c])
                        heard = cell[:-1].sum() > 0
                        if c and heard and back <= len(rounds[b]) and speaker in rounds[b][-back]:
                            soft = mouths[rounds[b][-back][speaker], b, speaker]
                            cell = torch.cat([cell[:-1] + soft - soft.detach(), cell[-1:]])
                        row.append(cell)
                rows.append(torch.cat(row))
        memory = policy.remember(torch.stack(rows), memory)
        mask = torch.from_numpy(seen.mask).view(games * agents, -1)
        action = sample(policy, memory, mask, races[t])
        log_prob = policy.log_probs(memory, mask)
        log_probs.append(log_prob.gather(1, action[:, None]).view(games, agents))
        soft = torch.softmax(log_prob - races[t], dim=1)[:, :symbols]
        for b in range(games):
            for i in range(agents):
                mouths[t, b, i] = soft[b * agents + i]
        acts = action.view(games, agents).numpy()
        for b in range(games):
            speakers = [i for i in range(agents) if seen.mask[b, i].sum() > 1 and acts[b, i] < symbols]
            if not sequential or not talk._turn[b]:
                rounds[b].append({})
            rounds[b][-1].update(dict.fromkeys(speakers, t))
        step = talk.step(acts)
        goes_on = [talk.n_rounds[b] > 0 or (sequential and talk._turn[b] > 0) for b in range(games)]
        rounds = [rounds[b] if goes_on[b] else [] for b in range(games)]
        if step.over.any():
            talk.reset(step.over)
            memory = policy.restart(memory, step.over)
        if step.gone.any():
            memory = policy.forget(memory, step.gone)
    return policy, torch.stack(log_probs)


@pytest.mark.parametrize("name", [name for name in GAMES if name != "line"])
def test_the_gradients_are_those_of_a_naive_implementation(name: str) -> None:
    config = config_of(name)
    (policy, trajectory, _), (other, expected) = play(config, True), naive(config)
    torch.testing.assert_close(trajectory.log_prob, expected)
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        gradient((trajectory.log_prob * weight).sum(), policy), gradient((expected * weight).sum(), other)
    )


def test_the_receivers_loss_teaches_the_sender_of_its_own_game_alone() -> None:
    config = config_of("signalling")
    for passes in (False, True):
        policy = make_policy(config)
        talk = make_negotiation(config, config.games, np.random.SeedSequence(3), training=True)
        trajectory, _, _ = Rollout(talk, np.random.default_rng(4), passes).play(policy, 2)
        sender, receiver = talk.declaration.role_of.index(0), talk.declaration.role_of.index(1)
        move = trajectory.log_prob[1, :, receiver]
        sent = torch.autograd.grad(move[2], [policy.seat(sender).actor.weight], retain_graph=True, allow_unused=True)[0]
        assert (sent is not None and bool(sent.any())) is passes
        said = torch.autograd.grad(move[2], [trajectory.log_probs], allow_unused=True)[0]
        assert said is None  # the voice is a branch of its own


def test_whoever_does_not_see_the_talk_teaches_nobody() -> None:
    policy, trajectory, _ = play(config_of("signalling", torso="none"), True)
    heard = trajectory.log_prob[1::2].sum()  # of the receivers, whose turn it is in every second step
    plain, without, _ = play(config_of("signalling", torso="none"), False)
    torch.testing.assert_close(gradient(heard, policy), gradient(without.log_prob[1::2].sum(), plain))


@pytest.mark.parametrize("name", [name for name in GAMES if GAMES[name].get("torso") != "none"])
def test_what_is_dated_is_what_was_said_then(name: str) -> None:
    """In all games, the line with its groups included; nothing of an earlier trajectory or episode is dated."""
    config = config_of(name)
    talk = make_negotiation(config, config.games, np.random.SeedSequence(1), training=True)
    talk.reset()
    rng, said, dated = np.random.default_rng(0), [], 0
    for t in range(40):
        dates, seen = talk.date(t % 20).copy(), talk.observe()
        if t % 20 == 0:
            said = []
        for b, i, w, c in np.argwhere(dates >= 0):
            assert seen.buffer[b, i, w, c] in (said[dates[b, i, w, c]][b, talk.columns[b, i, c]], SILENT)
            dated += 1
        acts = np.array([[rng.choice(np.flatnonzero(mask)) for mask in game] for game in seen.mask])
        said.append(acts)
        talk.reset(talk.step(acts).over)
    assert dated > 20


def test_a_channel_that_does_not_carry_it_is_refused_in_training_alone() -> None:
    """A run that was trained with it is played under every channel: the controls do that."""
    config = Config(token_gradient=True, rules=TalkRules(channel="shuffled"))
    with pytest.raises(BadInput, match="open, not on shuffled"):
        make_negotiation(config, 1, np.random.SeedSequence(0), training=True)
    found = channel_controls(make_policy(config), replace(config, rules=TalkRules()), 20, ("constant", "shuffled"))
    assert [one.channel for one in found] == ["constant", "shuffled"]


def test_the_weight_of_speech_is_of_speech_alone() -> None:
    """With no weight the entropy bonus leaves the logits of symbols alone where nothing else can be done."""
    for weight, moved in ((0.0, False), (0.5, True)):
        policy, played, _ = play(config_of("signalling"), False)
        bonus = losses.spread(played.entropy, played.choice, played.speech, weight)
        actor = torch.autograd.grad(bonus, [policy.seat(0).actor.weight], allow_unused=True)[0]
        assert (actor is not None and bool(actor.any())) is moved
