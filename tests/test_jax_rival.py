"""The JAX rival of the speed measurement plays the same game and learns it; without JAX there is one clear line.

`pip install -c constraints.txt -e ".[jax]" && pytest -m slow tests/test_jax_rival.py`
"""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import pytest

from emcomm.config import Config
from emcomm.errors import BadInput
from envs.crossing import CrossingGame
from envs.negotiation import Negotiation, TalkRules
from experiments import throughput

SMALL = Config(episodes=10**9, workers=0, games=64, device="cpu")
needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is an extra")


def test_without_jax_one_line_says_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r'^--against jax needs JAX: pip install -c constraints.txt -e "\.\[jax\]"$'):
        throughput.require_rival(SMALL)


@pytest.mark.parametrize("unknown", [{"torso": "lstm"}, {"rules": TalkRules(window=3)}, {"env": "emcomm/line-v0"}])
def test_a_setting_that_the_rival_does_not_know_is_named(unknown, monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(BadInput, match=f"^--against jax: .* default {next(iter(unknown))}, not "):
        throughput.require_rival(dataclasses.replace(SMALL, **unknown))


@needs_jax
def test_the_rival_plays_by_the_rules_of_the_negotiation() -> None:
    """Random legal actions in both: phases, rounds, what was heard last, rewards and ends are the same."""
    from experiments.rivals.jax_a3c import fresh_games, play

    rng = np.random.default_rng(0)
    negotiation = Negotiation(CrossingGame(SMALL.games, rng), SMALL.rules, rng)
    negotiation.reset()
    games, seen_phases, longest = fresh_games(SMALL), set(), 0
    keen = np.ones((SMALL.games, 1, 8))
    keen[::2, :, 5] = 0.2  # half of the games end their talks soon, many others are cut
    for _ in range(200):
        seen = negotiation.observe()
        actions = (rng.random(seen.mask.shape) ** keen * seen.mask).argmax(2)
        step = negotiation.step(actions)
        negotiation.reset(step.over)
        games, reward, over = play(games, games.memory + 1, actions, SMALL)
        np.testing.assert_array_equal(games.phase, negotiation.phase)
        np.testing.assert_array_equal(games.n_rounds, negotiation.n_rounds)
        heard = negotiation.observe().buffer[:, 0, -1]
        np.testing.assert_array_equal(games.heard, np.where(heard < 0, 6, heard))
        np.testing.assert_array_equal(np.repeat(reward[:, None], 2, 1), step.rewards)
        np.testing.assert_array_equal(over, step.over)
        assert (np.asarray(games.memory)[step.over] == 0).all()
        seen_phases |= set(negotiation.phase.tolist())
        longest = max(longest, int(negotiation.n_rounds.max()))
    assert (seen_phases, longest) == ({0, 1, 2}, 32)


@needs_jax
@pytest.mark.slow
def test_the_rival_learns_the_crossing() -> None:
    from experiments.rivals.jax_a3c import compiled, learner_of

    learner = learner_of(Config(workers=0))
    learn = compiled(Config(workers=0))
    while learner.episodes < 60_000:
        learner, (ended, won) = learn(learner)
    assert won.sum() / ended.sum() > 0.97
