"""What every registered environment promises, with every option: PettingZoo's own tests, and stronger ones."""

import importlib
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pettingzoo
import pytest
from gymnasium.utils.env_checker import data_equivalence
from hypothesis import given, settings
from hypothesis import strategies as st
from pettingzoo.utils import BaseParallelWrapper

import envs
from envs import GAMES, IllegalAction, Negotiation, TalkRules, parallel_env

DETERMINISTIC = [
    {},
    {"n_tokens": 1},
    {"n_tokens": 126, "window": 1},
    {"opening": "talk", "round_cost": 0.05},
    {"max_rounds": 2},
    {"max_rounds": None, "window": 40},
    {"channel": "off"},
    {"channel": "constant"},
    {"channel": "self"},
]
VARIANTS = [
    *DETERMINISTIC,
    {"speaking": "sequential"},
    {"speaking": "sequential", "opening": "talk", "order": "episode"},
    {"speaking": "sequential", "order": "round", "channel": "self"},
    {"speaking": "sequential", "channel": "oracle"},
    {"channel": "noisy", "noise": 0.5},
    {"channel": "shuffled"},
    {"channel": "oracle", "opening": "talk"},
]


def name(options):
    return "-".join(f"{key}={value}" for key, value in options.items()) or "default"


FIRST, *OTHERS = GAMES
IN_ALL_GAMES = [{}, {"channel": "off"}, {"channel": "shuffled"}, {"speaking": "sequential", "order": "round"}]
"""The rules of talk are one for all games: with the first one every variant is tried, with the others these."""


def cases(variants, others):
    """Games with variants of the talk."""
    pairs = [(FIRST, options) for options in variants] + [(env_id, options) for env_id in OTHERS for options in others]
    return pytest.mark.parametrize(("env_id", "options"), pairs, ids=[f"{e}-{name(o)}" for e, o in pairs])


every_game = pytest.mark.parametrize("env_id", GAMES)
every_variant = cases(VARIANTS, IN_ALL_GAMES)
every_deterministic_variant = cases(DETERMINISTIC, IN_ALL_GAMES[:2])


def make(env_id, options):
    return pettingzoo.make("parallel", env_id, **options)


def choose(rng, observations):
    """A random legal action for every agent."""
    return {agent: int(rng.choice(np.flatnonzero(seen["action_mask"]))) for agent, seen in observations.items()}


def play(env, rng, steps, observations=None):
    """Random legal play over episodes; yields what each reset and step gives, preceded by the actions."""
    for _ in range(steps):
        if not env.agents:
            observations, infos = env.reset()
            yield {}, observations, {}, {}, {}, infos
        actions = choose(rng, {agent: observations[agent] for agent in env.agents})
        observations, *rest = env.step(actions)
        yield actions, observations, *rest


# -- PettingZoo's own tests --------------------------------------------------------------------------------------


class Obedient(BaseParallelWrapper):
    """Replaces forbidden actions by legal ones: PettingZoo's seed test does not look at masks."""

    def reset(self, seed=None, options=None):
        self._seen, infos = super().reset(seed, options)
        return self._seen, infos

    def step(self, actions):
        masks = {agent: seen["action_mask"] for agent, seen in self._seen.items()}
        legal = {a: action if masks[a][action] else int(masks[a].argmax()) for a, action in actions.items()}
        self._seen, *rest = super().step(legal)
        return self._seen, *rest


@every_variant
@pytest.mark.filterwarnings("ignore")
def test_pettingzoo_accepts_the_environment(env_id, options):
    from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test

    parallel_api_test(make(env_id, options), num_cycles=100)
    api_test(pettingzoo.make("aec", env_id, **options), num_cycles=20)
    parallel_seed_test(lambda: Obedient(make(env_id, options)), num_cycles=50)


# -- spaces and masks --------------------------------------------------------------------------------------------


@every_variant
def test_observations_are_in_their_spaces_over_whole_episodes(env_id, options):
    env = make(env_id, options)
    first, _ = env.reset(seed=3)
    spaces = {agent: env.observation_space(agent) for agent in env.possible_agents}
    assert set(first) == set(env.agents)
    assert all(seen in spaces[agent] for agent, seen in first.items())
    for _, observations, rewards, terminated, truncated, infos in play(env, np.random.default_rng(3), 150, first):
        assert set(observations) == set(infos)
        for agent, seen in observations.items():
            assert env.observation_space(agent) is spaces[agent]
            assert seen in spaces[agent]
            assert {key: part.dtype for key, part in seen.items()} == {
                "observation": np.float32,
                "action_mask": np.int8,
            }
        assert all(isinstance(reward, float) for reward in rewards.values())
        assert all(isinstance(flag, bool) for flag in [*terminated.values(), *truncated.values()])


@every_variant
def test_masks_tell_exactly_what_is_accepted(env_id, options):
    own = getattr(make(env_id, {}).unwrapped._talk.game, "talk", {})  # a role may need more than two tokens
    env, rng = make(env_id, {"n_tokens": 2, **own, **options}), np.random.default_rng(5)
    observations, _ = env.reset(seed=5)
    for _ in range(6):
        if not env.agents:
            observations, _ = env.reset()
        before = pickle.dumps(env)
        actions = choose(rng, observations)
        for agent in env.agents:
            mask = observations[agent]["action_mask"]
            assert mask.any()
            for action in {*range(min(len(mask), 8)), len(mask) - 1, len(mask), -1}:
                trial = pickle.loads(before)
                if 0 <= action < len(mask) and mask[action]:
                    trial.step({**actions, agent: action})
                    continue
                with pytest.raises(
                    IllegalAction, match=rf"^action {action} \(.*\) of {agent} is illegal in phase [A-Z]+"
                ):
                    trial.step({**actions, agent: action})
                assert data_equivalence(trial.step(actions), pickle.loads(before).step(actions))  # nothing has changed
        observations, *_ = env.step(actions)


# -- repeatable --------------------------------------------------------------------------------------------------


@every_variant
def test_one_seed_is_one_history(env_id, options):
    histories = []
    for past in (0, 7):  # what was played before a reset with a seed does not matter
        env = make(env_id, options)
        list(play(env, np.random.default_rng(1), past))
        observations, _ = env.reset(seed=11)
        steps = 1000 if env_id == FIRST else 150
        histories.append(list(play(env, np.random.default_rng(2), steps, observations)))
    assert all(data_equivalence(one, other) for one, other in zip(*histories, strict=True))


@every_game
def test_seeds_differ_where_chance_plays(env_id):
    heard = []
    for seed in range(8):
        env = make(env_id, {"channel": "oracle", "observation_parts": True})
        observations, _ = env.reset(seed=seed)
        heard.append(observations[env.agents[0]]["buffer"][-1, 1])
    assert len(set(heard)) > 1


@every_variant
def test_pickling_in_mid_episode_changes_nothing(env_id, options):
    env, rng = make(env_id, {"opening": "talk", "max_rounds": None, **options}), np.random.default_rng(13)
    observations, _ = env.reset(seed=13)
    *_, (_, observations, *_) = play(env, rng, 3, observations)
    copy = pickle.loads(pickle.dumps(env))
    assert copy.agents == env.agents
    futures = [list(play(each, np.random.default_rng(4), 100, observations)) for each in (env, copy)]
    assert all(data_equivalence(one, other) for one, other in zip(*futures, strict=True))


@every_game
@pytest.mark.parametrize("channel", ["open", "shuffled"])
def test_games_in_progress_are_saved_and_go_on(env_id, channel):
    talks = []
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        game = GAMES[env_id](6, rng)
        talks.append(Negotiation(game, TalkRules(**{**getattr(game, "talk", {}), "channel": channel}), rng))
        talks[-1].reset()
    talk, other = talks
    rng = np.random.default_rng(3)
    for step in range(25):
        if step == 9:
            other.restore(pickle.loads(pickle.dumps(talk.state())))
        mask = talk.mask()
        actions = (rng.random(mask.shape) * mask).argmax(axis=2)
        done = talk.step(actions)
        if step >= 9:
            assert data_equivalence(tuple(other.step(actions))[:4], tuple(done)[:4])
            other.reset(other.over)
        talk.reset(talk.over)
        assert step < 9 or data_equivalence(tuple(other.observe()), tuple(talk.observe()))


# -- one rule book -----------------------------------------------------------------------------------------------


def share(batch, singles):
    """Give single games what chance has dealt to those of a batch."""
    for g, single in enumerate(singles):
        for name, value in vars(batch.game).items():
            if isinstance(value, np.ndarray) and len(value) == batch.n_games:
                getattr(single.game, name)[0] = value[g]
        single._columns[0], single._groups[:1], single._mask = batch._columns[g], batch._groups[g : g + 1], None
        if not batch.n_rounds[g]:
            single.phase[0] = batch.phase[g]  # who may speak is a matter of chance too


@cases([*DETERMINISTIC, {"speaking": "sequential"}], [{}, {"channel": "off"}, {"speaking": "sequential"}])
def test_a_batch_and_single_games_are_the_same_game(env_id, options):
    games, rng = 13, np.random.default_rng(17)
    singles = [make(env_id, {**options, "observation_parts": True}) for _ in range(games)]
    for env in singles:
        env.reset()
    talks = [env.unwrapped._talk for env in singles]
    batch = Negotiation(GAMES[env_id](games, rng), talks[0].rules, rng)
    batch.reset()
    for _ in range(30):
        share(batch, talks)
        for env in singles:
            env.agents = env.unwrapped._present(np.zeros(len(env.possible_agents), np.bool_))
        seen, actions = batch.observe(), batch.mask().argmax(axis=2)
        seen_alone = [env.unwrapped._observations(env.agents) for env in singles]
        rows = [[env.possible_agents.index(agent) for agent in env.agents] for env in singles]
        for game, here in enumerate(rows):
            for i, alone in zip(here, seen_alone[game].values(), strict=True):
                assert (seen.features[game, i] == alone["observation"]).all()
                assert (seen.buffer[game, i] == alone["buffer"]).all()
                assert (seen.mask[game, i] == alone["action_mask"]).all()
            actions[game, here] = list(choose(rng, seen_alone[game]).values())
        result = batch.step(actions)
        for game, (env, here) in enumerate(zip(singles, rows, strict=True)):
            agents = list(env.agents)
            _, *told = env.step(dict(zip(agents, actions[game, here].tolist(), strict=True)))
            for by_name, all_of_them in zip(
                told[:3], (result.rewards, result.terminated, result.truncated), strict=True
            ):
                assert [by_name[agent] for agent in agents] == all_of_them[game, here].tolist()
            assert (not env.agents) == result.over[game]
            if not env.agents:
                env.reset()
        batch.reset(result.over)


@every_deterministic_variant
def test_swapping_the_agents_swaps_what_they_see_and_nothing_else(env_id, options):
    env, mirror, rng = make(env_id, options), make(env_id, options), np.random.default_rng(19)
    if len(env.possible_agents) > 2:
        pytest.skip("the columns of more than two agents are permuted at random")
    if len(env.unwrapped._talk.declaration.roles) > 1:
        pytest.skip("agents of two roles are not exchangeable")
    if not data_equivalence(env.reset(seed=1), env.reset(seed=2)):
        pytest.skip("chance deals to each game its own: it is not the mirror of another")
    env.agents = []
    one, other = env.possible_agents
    for _ in range(60):
        if not env.agents:
            observations, _ = env.reset()
            reflected, _ = mirror.reset()
        assert data_equivalence(reflected, {one: observations[other], other: observations[one]})
        actions = choose(rng, observations)
        observations, rewards, *_ = env.step(actions)
        reflected, reflected_rewards, *_ = mirror.step({one: actions[other], other: actions[one]})
        assert reflected_rewards == {one: rewards[other], other: rewards[one]}
        assert mirror.agents == env.agents
        if not env.agents:
            assert mirror.dialogue.symbols == tuple(round_[::-1] for round_ in env.dialogue.symbols)
            assert mirror.dialogue.success == env.dialogue.success


@given(
    n_tokens=st.integers(1, 6),
    max_rounds=st.one_of(st.none(), st.integers(1, 40)),
    opening=st.sampled_from(["free", "talk"]),
    speaking=st.sampled_from(["simultaneous", "sequential"]),
    order=st.sampled_from(["fixed", "episode", "round"]),
    channel=st.sampled_from(["open", "off", "constant", "shuffled", "self", "noisy", "oracle"]),
    round_cost=st.sampled_from([0.0, 0.125]),
    window=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_every_dialogue_keeps_the_rules(seed, round_cost, **options):
    rules, total = TalkRules(round_cost=round_cost, **options), 0.0
    env = parallel_env(round_cost=round_cost, **options)
    observations, _ = env.reset(seed=seed)
    for _, seen, rewards, *_ in play(env, np.random.default_rng(seed), 400, observations):
        assert all(seen[agent] in env.observation_space(agent) for agent in seen)
        total += sum(rewards.values())
        if not env.agents:
            break
    if env.agents:  # without a limit, talk may outlast any patience
        return
    symbols, eots = env.dialogue.symbols, (rules.eot, rules.eot)
    assert eots not in symbols[:-1]
    assert env.dialogue.cut == (bool(symbols) and symbols[-1] != eots)
    assert not env.dialogue.cut or len(symbols) == rules.max_rounds
    assert len(symbols) <= (rules.max_rounds or 400)
    assert not symbols or rules.channel != "off"
    assert symbols or rules.opening == "free" or rules.channel == "off"
    assert all(-1 not in round_ for round_ in symbols[1:])
    assert len(env.dialogue.order) == (len(symbols) if rules.speaking == "sequential" else 0)
    assert total == sum(env.dialogue.rewards) - 2 * round_cost * len(symbols)


# -- making them, and mistakes -----------------------------------------------------------------------------------


@every_game
@pytest.mark.parametrize("kind", ["parallel", "aec"])
def test_an_unknown_option_is_named_and_the_valid_ones_are_listed(env_id, kind):
    with pytest.raises(
        TypeError, match=r"^unknown option 'tokens': the options are n_tokens, .*window.*, render_mode$"
    ):
        pettingzoo.make(kind, env_id, tokens=3)


@every_game
def test_mistakes_are_named_in_one_line(env_id):
    env, rng = make(env_id, {}), np.random.default_rng(0)
    with pytest.raises(envs.GameOver, match="call reset before step"):
        env.step(dict.fromkeys(env.possible_agents, 0))
    seen, _ = env.reset(seed=0)
    one, other = env.agents[0], env.agents[-1]
    actions, none = choose(rng, seen), env.action_space(one).n
    where = r"in phase (OPEN|TALK|ACT): legal are \d"
    with pytest.raises(IllegalAction, match=rf"^the action of {other} is missing {where}"):
        env.step({agent: action for agent, action in actions.items() if agent != other})
    with pytest.raises(IllegalAction, match=rf"^agent 'nobody' is unknown: the agents are {one}"):
        env.step({**actions, "nobody": 0})
    with pytest.raises(IllegalAction, match=rf"^action 'left' of {one} is no integer {where}"):
        env.step({**actions, one: "left"})
    with pytest.raises(IllegalAction, match=rf"^action {none} \(no such action\) of {one} is illegal {where}"):
        env.step({**actions, one: none})
    with pytest.raises(ValueError, match=r"^render_mode must be one of ansi, rgb_array, human, or None, not 'film'"):
        make(env_id, {"render_mode": "film"})


def test_a_move_in_the_talk_is_named():
    env = parallel_env()
    env.reset()
    env.step({"train_0": 0, "train_1": 0})
    with pytest.raises(
        IllegalAction, match=r"^action 7 \(move detour\) of train_1 .* TALK: legal are 0, 1, 2, 3, 4, 5$"
    ):
        env.step({"train_0": 0, "train_1": 7})


@every_game
def test_pictures_and_text_of_every_game(env_id):
    for mode, kind in (("ansi", str), ("rgb_array", np.ndarray)):
        env = make(env_id, {"render_mode": mode})
        env.reset(seed=0)
        for _ in play(env, np.random.default_rng(0), 12, env.unwrapped._observations(env.agents)):
            assert isinstance(env.render(), kind)


@pytest.mark.parametrize("env_id", OTHERS)
def test_a_game_brings_its_own_defaults_of_the_talk(env_id):
    env = make(env_id, {})
    assert env.unwrapped._rules == TalkRules(**getattr(env.unwrapped._talk.game, "talk", {}))
    assert make(env_id, {"max_rounds": 7}).unwrapped._rules.max_rounds == 7


def test_numpy_integers_are_actions():
    env = parallel_env()
    env.reset()
    env.step({"train_0": np.int64(3), "train_1": np.array(4)})
    assert env.scene().symbols == ((3, 4),)


def test_the_last_dialogue_survives_a_reset():
    env = parallel_env()
    assert env.dialogue is None
    env.reset()
    env.step({"train_0": 6, "train_1": 7})
    env.reset()
    assert env.dialogue.moves == (0, 1)
    assert env.scene().moves == ()


class Sized:
    """A game with an option of its own."""

    def __new__(cls, n_games, rng, size=1):
        game = envs.CrossingGame(n_games, rng)
        game.size = size
        return game


def test_the_options_of_a_game_are_options_of_its_environment():
    env = parallel_env(Sized, size=4, n_tokens=2)
    assert env._talk.game.size == 4
    with pytest.raises(TypeError, match=r"unknown option 'length': .*, size, observation_parts, .*, render_mode"):
        parallel_env(Sized, length=4)


def test_importing_twice_is_no_new_registration():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.reload(envs)


def test_importing_envs_loads_neither_learning_nor_drawing():
    heavy = "{'torch', 'ray', 'pandas', 'PIL', 'matplotlib', 'pygame', 'emcomm', 'analysis'}"
    root = str(Path(envs.__file__).parents[1])
    command = [sys.executable, "-c", f"import sys, envs; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
