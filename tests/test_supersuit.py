"""SuperSuit's wrappers around the environments: those that need a Box, and the ways to a vector environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import envs

pytest.importorskip("supersuit", reason='pip install -c constraints.txt -e ".[test]"')
from supersuit import (
    black_death_v3,
    clip_reward_v0,
    concat_vec_envs_v1,
    dtype_v0,
    flatten_v0,
    frame_stack_v1,
    normalize_obs_v0,
    pad_action_space_v0,
    pad_observations_v0,
    pettingzoo_env_to_vec_env_v1,
    reward_lambda_v0,
)

pytestmark = pytest.mark.filterwarnings("ignore")

TALK: dict[str, Any] = {"max_rounds": 3, "n_tokens": 2, "opening": "talk"}
VECTOR = {**TALK, "mask_in": "infos"}

ON_ANY = {
    "pad_action_space_v0": pad_action_space_v0,
    "clip_reward_v0": clip_reward_v0,
    "reward_lambda_v0": lambda env: reward_lambda_v0(env, lambda reward: 2 * reward),
}
ON_A_VECTOR = {
    "pad_observations_v0": pad_observations_v0,
    "black_death_v3": black_death_v3,
    "frame_stack_v1": lambda env: frame_stack_v1(env, 2),
    "flatten_v0": flatten_v0,
    "dtype_v0": lambda env: dtype_v0(env, np.float64),
    "normalize_obs_v0": normalize_obs_v0,
}
Wrap = Callable[[Any], Any]


def masks(seen: dict[str, Any], infos: dict[str, Any]) -> dict[str, np.ndarray]:
    return {a: s["action_mask"] if isinstance(s, dict) else infos[a].get("action_mask") for a, s in seen.items()}


def totals(env: Any, games: int, seed: int = 0) -> list[float]:
    """Legal random play; what the agents gained in each game. Everything that is seen lies in its space."""
    rng, gained = np.random.default_rng(seed), []
    seen, infos = env.reset(seed=seed)
    for _ in range(games):
        total = 0.0
        while env.agents:
            legal, here = masks(seen, infos), env.unwrapped.agents
            actions = {a: int(rng.choice(np.flatnonzero(legal[a]))) if a in here else 0 for a in env.agents}
            seen, rewards, _, _, infos = env.step(actions)
            assert all(seen[a] in env.observation_space(a) for a in seen)
            total += sum(rewards.values())
        gained.append(total)
        seen, infos = env.reset()
    return gained


@pytest.mark.parametrize("game", [envs.CrossingGame, envs.SignallingGame, envs.TaskAndTalkGame])
@pytest.mark.parametrize("wrap", {**ON_ANY, **ON_A_VECTOR}.values(), ids={**ON_ANY, **ON_A_VECTOR}.keys())
def test_wrappers_around_the_vector_change_no_game(game: Any, wrap: Wrap) -> None:
    options = VECTOR if game is envs.CrossingGame else {"mask_in": "infos"}
    plain = totals(envs.parallel_env(game, **options), 15)
    wrapped = totals(wrap(envs.parallel_env(game, **options)), 15)
    doubled = wrap is ON_ANY["reward_lambda_v0"]
    assert wrapped == ([2 * total for total in plain] if doubled else plain)
    assert len(set(plain)) > 1


@pytest.mark.parametrize("wrap", ON_ANY.values(), ids=ON_ANY.keys())
def test_wrappers_that_leave_observations_alone_take_dictionaries(wrap: Wrap) -> None:
    assert len(totals(wrap(envs.parallel_env(**TALK)), 10)) == 10


def test_stacked_frames_hold_the_steps_before() -> None:
    env = frame_stack_v1(envs.parallel_env(**VECTOR), 2)
    first = env.reset(seed=0)[0]["train_0"].copy()  # it goes on writing into what it handed out
    second = env.step({"train_0": 1, "train_1": 0})[0]["train_0"]
    size = envs.parallel_env(**VECTOR).observation_space("train_0").shape[0]
    assert second.shape == (2 * size,)
    assert (second[:size] == first[size:]).all()
    assert (second[size:] != first[size:]).any()


@pytest.mark.parametrize("cpus", [0, 2])
@pytest.mark.parametrize("view", [{"mask_in": "infos"}, {}], ids=["vector", "dictionary"])
def test_the_way_to_a_vector_environment(view: dict[str, Any], cpus: int) -> None:
    """Each agent of each copy is a row; its mask is legal for what it sees, also when a new game has just begun."""
    rows = pettingzoo_env_to_vec_env_v1(envs.parallel_env(**TALK, **view))
    rows = concat_vec_envs_v1(rows, 3, num_cpus=cpus, base_class="gymnasium")
    assert rows.num_envs == 6
    rng = np.random.default_rng(0)
    rows.reset(seed=4)
    seen, _, _, _, infos = rows.step(np.zeros(6, np.int64))  # with processes, SuperSuit nests the infos of a reset
    ended = 0
    for _ in range(40):
        legal = seen["action_mask"] if isinstance(seen, dict) else np.stack([info["action_mask"] for info in infos])
        vectors = seen["observation"] if isinstance(seen, dict) else seen
        assert vectors.shape == (6, 3 + 3 * 2 * 4)
        assert (legal[:, 0] == 1 - vectors[:, 2]).all()  # tokens are legal unless the phase is ACT
        actions = np.array([rng.choice(np.flatnonzero(mask)) for mask in legal])
        seen, rewards, terminated, _, infos = rows.step(actions)
        assert (np.abs(rewards) == terminated).all()
        ended += int(terminated.sum())
    assert ended > 12
    rows.close()


def test_a_tool_without_masks_pays_and_plays_on() -> None:
    rows = pettingzoo_env_to_vec_env_v1(envs.parallel_env(**VECTOR, illegal="penalise", penalty=4.0, channel="open"))
    rows = concat_vec_envs_v1(rows, 2, base_class="gymnasium")
    rows.reset(seed=0)
    rng, lowest = np.random.default_rng(0), 0.0
    for _ in range(60):
        _, rewards, _, _, infos = rows.step(rng.integers(0, 5, 4))
        for reward, info in zip(rewards, infos, strict=True):
            if "illegal_action" in info:
                assert reward <= -3.0
        lowest = min(lowest, float(rewards.min()))
    assert lowest == -5.0  # a crash, and an illegal action


def test_no_actions_after_the_end_bring_nothing() -> None:
    env = envs.parallel_env(**TALK)
    with pytest.raises(envs.GameOver, match="call reset before step"):
        env.step({})
    env.reset(seed=0)
    env.step({"train_0": 2, "train_1": 2})
    env.step({"train_0": 3, "train_1": 4})
    assert env.agents == []
    assert env.step({}) == ({}, {}, {}, {}, {})
    with pytest.raises(envs.GameOver, match="call reset before step"):
        env.step({"train_0": 0, "train_1": 0})
