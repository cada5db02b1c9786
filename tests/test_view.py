"""The game as PettingZoo shows it: where everything stands, the global state, penalties, and the former versions."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pettingzoo
import pytest
from gymnasium.spaces import Box, Dict
from pettingzoo.test.state_test import state_test
from pettingzoo.utils.deprecated_module import DeprecatedEnv

import envs
from emcomm.config import Config, read_config, upgraded
from emcomm.errors import BadInput
from emcomm.runs import Run
from emcomm.worlds import make_negotiation, make_policy
from envs import GAMES, SILENT, IllegalAction, Negotiation, TalkRules, parallel_env
from envs.foreign import negotiable
from envs.game import BadGame
from envs.negotiation import decoded, encoded
from envs.registry import Unknown

GOLDEN = Path(__file__).parent / "golden" / "run"
every_game = pytest.mark.parametrize("env_id", GAMES)


def make(env_id: str, **options: Any) -> Any:
    return pettingzoo.make("parallel", env_id, **options)


def walk(env: Any, rng: np.random.Generator, steps: int, seen: dict[str, Any]) -> Any:
    """Random legal play; yields what is seen."""
    for _ in range(steps):
        if not env.agents:
            seen, _ = env.reset()
            yield seen
        actions = {a: int(rng.choice(np.flatnonzero(seen[a]["action_mask"]))) for a in env.agents}
        seen, *_ = env.step(actions)
        yield seen


# -- what stands where -------------------------------------------------------------------------------------------------


def test_the_observation_of_the_crossing_number_by_number() -> None:
    env = parallel_env(n_tokens=2, max_rounds=3, opening="talk")
    env.reset(seed=0)
    env.step({"train_0": 0, "train_1": 1})
    seen, *_ = env.step({"train_0": 2, "train_1": 0})
    silence, zero, one, eot = [0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]
    in_talk = [0, 1, 0]
    assert seen["train_0"]["observation"].tolist() == [*in_talk, *silence, *silence, *zero, *one, *eot, *zero]
    assert seen["train_1"]["observation"].tolist() == [*in_talk, *silence, *silence, *one, *zero, *zero, *eot]
    assert seen["train_0"]["action_mask"].tolist() == [1, 1, 1, 0, 0]
    assert [(part.start, part.stop) for part in env.heard] == [(7, 11), (15, 19), (23, 27)]


def test_the_places_that_the_manual_names() -> None:
    env = parallel_env()
    env.reset(seed=0)
    seen, *_ = env.step({"train_0": 3, "train_1": 5})
    own = seen["train_0"]["observation"]
    assert own.shape == (115,)
    assert own[0:3].tolist() == [0, 1, 0]
    assert own[101:108].tolist() == [0, 0, 0, 1, 0, 0, 0]  # token 3
    assert own[108:115].tolist() == [0, 0, 0, 0, 0, 1, 0]  # EOT


@pytest.mark.parametrize(
    ("options", "rounds"),
    [({}, 8), ({"max_rounds": 4}, 4), ({"max_rounds": 40}, 8), ({"max_rounds": None}, 8), ({"window": 32}, 32),
     ({"max_rounds": 4, "window": 9}, 9), ({"window": 2}, 2)],
)  # fmt: skip
def test_by_default_the_whole_of_a_usual_talk_is_visible(options: dict[str, Any], rounds: int) -> None:
    assert TalkRules(**options).visible_rounds == rounds
    env = parallel_env(observation_parts=True, **options)
    assert env.reset()[0]["train_0"]["buffer"].shape == (rounds, 2)


def test_after_a_usual_talk_its_first_round_is_still_seen() -> None:
    env = parallel_env(max_rounds=6, opening="talk", observation_parts=True)
    env.reset(seed=0)
    for token in (4, 0, 1, 2, 3):
        env.step({"train_0": token, "train_1": 0})
    seen, *_ = env.step({"train_0": 5, "train_1": 5})
    assert seen["train_1"]["buffer"][:, 1].tolist() == [4, 0, 1, 2, 3, 5]


@every_game
@pytest.mark.parametrize("options", [{}, {"speaking": "sequential", "order": "round"}], ids=str)
def test_the_vector_is_the_parts_and_says_no_more(env_id: str, options: dict[str, Any]) -> None:
    env, parts = make(env_id, **options), make(env_id, observation_parts=True, **options)
    whole, split = env.reset(seed=4)[0], parts.reset(seed=4)[0]
    n_symbols = env.unwrapped.rules.eot + 1
    for one, other in zip(
        walk(env, np.random.default_rng(4), 60, whole), walk(parts, np.random.default_rng(4), 60, split), strict=True
    ):
        assert one.keys() == other.keys()
        for agent, seen in one.items():
            features, buffer = other[agent]["observation"], other[agent]["buffer"]
            assert seen["observation"][: len(features)].tolist() == features.tolist()
            rest = seen["observation"][len(features) :]
            assert (decoded(rest, len(env.possible_agents), n_symbols) == buffer).all()
            assert (encoded(buffer, n_symbols) == rest).all()
            assert seen["observation"] in env.observation_space(agent)["observation"]
            assert other[agent] in parts.observation_space(agent)


def test_decoding_undoes_encoding() -> None:
    buffer = np.random.default_rng(0).integers(SILENT, 4, (7, 5, 3)).astype(np.int8)
    assert (decoded(encoded(buffer, 4), 3, 4) == buffer).all()


@pytest.mark.parametrize("torso", ["window", "gru", "none", "transformer"])
def test_a_network_reads_what_pettingzoo_shows(torso: str) -> None:
    """A memoryless one the whole vector, a recurrent one its newest round, one without talk no words."""
    config = Config(torso=torso, rules=TalkRules(max_rounds=4, n_tokens=3), hidden_size=8)
    policy, env = make_policy(config), parallel_env(max_rounds=4, n_tokens=3)
    talk = Negotiation(GAMES[config.env](1, np.random.default_rng(0)), config.rules, np.random.default_rng(0))
    talk.reset()
    env.reset()
    for row in ([0, 1], [2, 2]):
        talk.step(np.array([row]))
        seen, *_ = env.step({"train_0": row[0], "train_1": row[1]})
    shown = seen["train_1"]["observation"]
    read = policy.encode(talk.observe())[1].numpy()
    silence = encoded(np.full((1, 2), SILENT, np.int8), 4)
    expected = {"gru": [*shown[:3], *shown[-10:]], "none": [*shown[:3], *silence]}.get(torso, shown)
    assert read.tolist() == np.array(expected).tolist()


def test_the_trainer_and_pettingzoo_share_their_defaults() -> None:
    assert Config().rules == TalkRules() == parallel_env().rules
    assert make_negotiation(Config(), 1, np.random.SeedSequence(0)).rules.visible_rounds == 1  # what a GRU reads
    memoryless = make_negotiation(Config(torso="window"), 1, np.random.SeedSequence(0))
    assert memoryless.rules.visible_rounds == 8
    several = Config(env="emcomm/signalling-v1", torso="gru,window", policies="by-role", rules=TalkRules(max_rounds=3))
    assert make_negotiation(several, 1, np.random.SeedSequence(0)).rules.visible_rounds == 3


# -- where the mask stands ---------------------------------------------------------------------------------------------


@every_game
def test_with_the_mask_in_the_infos_the_observation_is_one_vector(env_id: str) -> None:
    env, usual = make(env_id, mask_in="infos"), make(env_id)
    seen, infos = env.reset(seed=2)
    as_usual, _ = usual.reset(seed=2)
    rng = np.random.default_rng(2)
    for _ in range(40):
        for agent, vector in seen.items():
            assert isinstance(env.observation_space(agent), Box)
            assert vector in env.observation_space(agent)
            assert vector.tolist() == as_usual[agent]["observation"].tolist()
            assert infos[agent]["action_mask"].tolist() == as_usual[agent]["action_mask"].tolist()
            assert infos[agent]["action_mask"].dtype == np.int8
        if not env.agents:
            break
        actions = {a: int(rng.choice(np.flatnonzero(infos[a]["action_mask"]))) for a in env.agents}
        seen, _, _, _, infos = env.step(actions)
        as_usual, *_ = usual.step(actions)


def test_raw_parts_with_the_mask_in_the_infos() -> None:
    env = parallel_env(observation_parts=True, mask_in="infos")
    seen, infos = env.reset()
    assert set(seen["train_0"]) == {"observation", "buffer"}
    assert isinstance(env.observation_space("train_0"), Dict)
    assert seen["train_0"] in env.observation_space("train_0")
    assert infos["train_0"]["action_mask"].tolist() == [1] * 8


# -- the global state --------------------------------------------------------------------------------------------------


class Trio:
    """Three agents without roles: the columns of their buffers are permuted."""

    move_names = ("wait", "go")
    n_agents = 3
    feature_bounds = (np.full(1, -1, np.float32), np.full(1, 9, np.float32))

    def __init__(self, n_games: int, rng: np.random.Generator) -> None:
        self.n_games = n_games

    def reset(self, which: Any) -> None: ...

    def observe(self) -> Any:
        return np.tile(np.array([[3], [4], [5]], np.float32), (self.n_games, 1, 1))

    def private(self) -> Any:
        return np.zeros((self.n_games, 3, 0), np.float32)

    def legal_moves(self) -> Any:
        return np.ones((self.n_games, 3, 2), np.bool_)

    def active(self) -> Any:
        return np.ones((self.n_games, 3), np.bool_)

    def play(self, moves: Any, which: Any) -> Any:
        ended = np.ones(moves.shape, np.bool_)
        return envs.Outcome(np.zeros(moves.shape, np.float32), np.ones(len(moves), np.bool_), ended, ~ended)


def test_the_state_has_all_agents_in_a_fixed_order_number_by_number() -> None:
    orders = set()
    for seed in range(20):
        env = parallel_env(Trio, n_tokens=2, max_rounds=2, opening="talk")
        env.reset(seed=seed)
        seen, *_ = env.step(dict(zip(env.agents, (0, 1, 2), strict=True)))
        zero, one, eot, silence = np.eye(4, dtype=int).tolist()
        heard = [*silence * 3, *zero, *one, *eot]  # as agent 0, 1, 2 said it, for each of them
        mask = [1, 1, 1, 0, 0]
        agents = [[feature, 0, 1, 0, *heard, *mask] for feature in (3, 4, 5)]
        assert env.state().tolist() == [*np.ravel(agents), 0.5]
        assert env.state() in env.state_space
        orders.add(tuple(seen["agent_0"]["observation"][-12:].tolist()))
    assert len(orders) == 2  # what agent 0 itself sees is permuted


@every_game
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_pettingzoo_accepts_the_state(env_id: str) -> None:
    parallel = make(env_id, channel="noisy", noise=0.5, max_rounds=3, illegal="penalise")  # it looks at no masks
    state_test(pettingzoo.make("aec", env_id, illegal="penalise"), parallel)
    assert parallel.state().dtype == np.float32
    assert pickle.loads(pickle.dumps(parallel)).state_space == parallel.state_space


@every_game
def test_the_state_holds_what_every_agent_sees(env_id: str) -> None:
    """Each agent's own words, whoever it is, stand in its observation and in its part of the state alike."""
    env = make(env_id)
    first, _ = env.reset(seed=6)
    n, talk = len(env.possible_agents), env.unwrapped._talk
    for seen in walk(env, np.random.default_rng(6), 40, first):
        state = env.state()
        assert state in env.state_space
        parts = state[:-1].reshape(n, -1)
        for agent, shown in seen.items():
            part, vector = parts[env.possible_agents.index(agent)], shown["observation"]
            assert part[: talk.n_features].tolist() == vector[: talk.n_features].tolist()
            assert np.sort(part[: len(vector)]).tolist() == np.sort(vector).tolist()  # the same, in another order
            assert part[len(vector) :].tolist() == shown["action_mask"].tolist()


def test_the_state_of_a_wrapped_environment_stands_behind_that_of_the_talk() -> None:
    from mpe2 import simple_spread_v3

    wrapped = simple_spread_v3.parallel_env()
    env = negotiable(wrapped, n_tokens=2, max_rounds=2)
    env.reset(seed=1)
    assert env.state_space.shape == (3 * (18 + 3 + 2 * 3 * 4 + 8) + 1 + 54,)
    assert env.state()[-54:].tolist() == wrapped.state().astype(np.float32).tolist()
    assert env.state() in env.state_space


# -- illegal actions ---------------------------------------------------------------------------------------------------


def test_an_illegal_action_costs_a_penalty_and_the_first_legal_one_is_taken() -> None:
    env = parallel_env(illegal="penalise", penalty=0.25, max_rounds=2, opening="talk", round_cost=0.125)
    env.reset(seed=0)
    _, rewards, _, _, infos = env.step({"train_0": 7, "train_1": 3})  # a move in the talk
    assert env.scene().symbols == ((0, 3),)
    assert rewards == {"train_0": -0.375, "train_1": -0.125}
    assert infos == {"train_0": {"illegal_action": 7}, "train_1": {}}
    env.step({"train_0": 5, "train_1": 5})
    _, rewards, terminated, _, infos = env.step({"train_0": -3, "train_1": 99})  # both take the main line
    assert rewards == {"train_0": -1.25, "train_1": -1.25}
    assert infos == {"train_0": {"illegal_action": -3}, "train_1": {"illegal_action": 99}}
    assert all(terminated.values())
    assert env.dialogue is not None
    assert (env.dialogue.moves, env.dialogue.rewards) == ((0, 0), (-1.0, -1.0))


def test_legal_play_is_the_same_with_and_without_penalties() -> None:
    strict, lenient = parallel_env(), parallel_env(illegal="penalise")
    pairs = zip(
        walk(strict, np.random.default_rng(1), 200, strict.reset(seed=1)[0]),
        walk(lenient, np.random.default_rng(1), 200, lenient.reset(seed=1)[0]),
        strict=True,
    )
    assert all(str(one) == str(other) for one, other in pairs)


def test_who_has_nothing_to_choose_pays_nothing() -> None:
    env = parallel_env(illegal="penalise", speaking="sequential")
    seen, _ = env.reset(seed=0)
    assert seen["train_1"]["action_mask"].sum() == 1  # it is train_0's turn
    _, rewards, _, _, infos = env.step({"train_0": 2, "train_1": 7})
    assert rewards == {"train_0": 0, "train_1": 0}
    assert infos == {"train_0": {}, "train_1": {}}


def test_what_is_no_action_at_all_is_still_an_error() -> None:
    env = parallel_env(illegal="penalise")
    env.reset()
    for wrong, message in (({"train_0": 0}, "missing"), ({"train_0": 0, "train_1": 0.5}, "is no integer")):
        with pytest.raises(IllegalAction, match=message):
            env.step(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"illegal": "ignore"}, "^illegal must be one of raise, penalise, not 'ignore'$"),
        ({"mask_in": "state"}, "^mask_in must be one of observations, infos, not 'state'$"),
        ({"penalty": -1}, "^penalty must be a number from 0 up, not -1$"),
        ({"penalty": "1"}, "^penalty must be a number from 0 up, not '1'$"),
        ({"observation_parts": "yes"}, "^observation_parts must be True or False, not 'yes'$"),
    ],
)
def test_a_wrong_option_of_the_view_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parallel_env(**options)


def test_a_game_may_not_have_an_option_of_the_view() -> None:
    def game(n_games: int, rng: np.random.Generator, penalty: float = 0.0) -> Any: ...

    with pytest.raises(BadGame, match=r"^penalty is an option of the view, and so cannot be one of the game$"):
        parallel_env(game)


# -- former versions ---------------------------------------------------------------------------------------------------

REPLACED = (
    "emcomm/crossing-v0 is now emcomm/crossing-v1: its observation holds the talk too, which in v0 lay beside it in "
    "buffer; the rules of the game are the same, and runs of v0 can be read and resumed"
)


@pytest.mark.parametrize("kind", ["parallel", "aec"])
def test_a_former_id_says_what_has_replaced_it_and_why(kind: Any) -> None:
    with pytest.raises(DeprecatedEnv) as said:
        pettingzoo.make(kind, "emcomm/crossing-v0", n_tokens=3)
    assert str(said.value) == REPLACED
    with pytest.raises(Unknown) as refused:
        GAMES.find("emcomm/crossing-v0")
    assert str(refused.value) == REPLACED
    assert [GAMES.present(name) for name in GAMES.replaced] == list(GAMES)  # of each game, in their order
    assert GAMES.present("my_module:MyGame") == "my_module:MyGame"


def test_the_command_line_says_so_too(call: Any) -> None:
    said = call("train", "--env", "emcomm/crossing-v0", "--workers", 0, "--episodes", 10)
    assert said.err == f"emcomm: {REPLACED}\n"
    assert said.code == 2


def test_a_run_of_v0_means_the_same_today() -> None:
    saved = json.loads((GOLDEN / "config.json").read_text())
    assert saved["config"]["env"] == "emcomm/crossing-v0"
    config = read_config(GOLDEN)
    assert config.env == "emcomm/crossing-v1"
    assert config.rules.window is None
    assert make_negotiation(config, 1, np.random.SeedSequence(0)).rules.window == saved["config"]["rules"]["window"]
    for env in (None, "emcomm/crossing-v0", "emcomm/crossing-v1"):
        assert Run.open(GOLDEN, env).config == config
    with pytest.raises(BadInput, match="was trained on emcomm/crossing-v1, not on emcomm/signalling-v0"):
        Run.open(GOLDEN, "emcomm/signalling-v0")


@pytest.mark.parametrize(
    ("torso", "window", "today"),
    [("gru", 1, None), ("lstm", 1, None), ("none", 1, None), ("gru", 3, 3), ("window", 1, 1), ("window", 8, 8),
     ("gru,window", 1, 1), ("my_module:Mine", 1, 1)],
)  # fmt: skip
def test_the_rounds_that_an_older_run_saw_are_kept(torso: str, window: int, today: int | None) -> None:
    saved = {**Config().to_json(), "torso": torso, "env": "emcomm/line-v0"}
    saved["rules"]["window"] = window
    new = upgraded(saved, 4)
    assert (new["rules"]["window"], new["env"]) == (today, "emcomm/line-v1")
    assert saved["rules"]["window"] == window  # what was read is left as it was
    assert upgraded(saved, 5) == saved
    if ":" not in torso:
        config = Config.from_json({**new, "policies": "by-role" if "," in torso else "shared"})
        assert make_negotiation(config, 1, np.random.SeedSequence(0)).rules.visible_rounds == window
