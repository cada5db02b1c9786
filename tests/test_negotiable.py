"""Talk around foreign environments: their agents, spaces, masks and early leavers are kept."""

import pickle

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import data_equivalence
from pettingzoo import ParallelEnv

from emcomm.dialogues import DialogueWriter, EpisodeCollector, read_part
from envs import IllegalAction, Negotiation, NegotiationEnv, ParallelGame, TalkRules, negotiable

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


class Ferry(ParallelEnv):
    """Four passengers with different spaces ride for three stops; ann leaves after the first stop, zoe comes there.

    Actions are counted from 10. The pilot's are masked in its observation, and nothing is left of them at stop 2; those
    of bob are masked in his info, at stop 0 only.
    """

    def __init__(self, render_mode=None):
        self.metadata = {"name": "ferry_v0", "render_modes": ["ansi"]}
        self.possible_agents = ["pilot", "ann", "bob", "zoe"]
        self.render_mode = render_mode
        self._observation_spaces = {
            "pilot": spaces.Dict(observation=spaces.Box(-2, 5, (3,)), action_mask=spaces.Box(0, 1, (4,), np.int8)),
            "ann": spaces.Discrete(4),
            "bob": spaces.Box(0, 255, (2, 1), np.uint8),
            "zoe": spaces.MultiBinary(2),
        }
        self._action_spaces = {
            agent: spaces.Discrete(n, start=10) for agent, n in zip(self.possible_agents, (4, 2, 3, 2), strict=True)
        }

    def observation_space(self, agent):
        return self._observation_spaces[agent]

    def action_space(self, agent):
        return self._action_spaces[agent]

    def _told(self, agents):
        seen = {
            "pilot": {
                "observation": np.full(3, self.luck, np.float32),
                "action_mask": np.array([0, self.stop < 2] * 2, np.int8),
            },
            "ann": 2,
            "bob": np.array([[200], [self.stop]], np.uint8),
            "zoe": np.ones(2, np.int8),
        }
        infos = {agent: {"stop": self.stop} for agent in agents}
        if self.stop == 0:
            infos["bob"]["action_mask"] = np.array([1, 1, 0])
        return {agent: seen[agent] for agent in agents}, infos

    def reset(self, seed=None, options=None):
        self.luck = np.random.default_rng(seed).random() + (options or {}).get("luck", 0)
        self.agents, self.stop, self.log = ["pilot", "ann", "bob"], 0, []
        return self._told(self.agents)

    def step(self, actions):
        self.log.append(dict(actions))
        self.stop += 1
        told = [*self.agents, "zoe"] if self.stop == 1 else self.agents
        terminated = {agent: agent == "ann" for agent in told}
        truncated = dict.fromkeys(told, self.stop == 3)
        self.agents = [agent for agent in told if not (terminated[agent] or truncated[agent])]
        observations, infos = self._told(told)
        return observations, dict.fromkeys(told, float(self.stop)), terminated, truncated, infos

    def render(self):
        return f"stop {self.stop}"


class LongFerry(Ferry):
    """The same with a long list of actions for everyone."""

    def action_space(self, agent):
        return spaces.Discrete(300, start=10)

    def _told(self, agents):
        seen, infos = super()._told(agents)
        seen["pilot"]["action_mask"] = np.ones(300, np.int8)
        infos["bob"].pop("action_mask", None)
        return seen, infos


def ferry(**options):
    """The wrapped ferry, at the point where the moves are due: 0-4 tokens, 5 EOT, 6-9 moves."""
    env = negotiable(Ferry(), channel="off", **options)
    return env, *env.reset(seed=1)


# -- environments of others --------------------------------------------------------------------------------------


def mpe(name, **kwargs):
    import importlib

    return importlib.import_module(f"mpe2.{name}").parallel_env(max_cycles=3, **kwargs)


@pytest.mark.parametrize(
    "rules", [{}, {"speaking": "sequential"}, {"channel": "off"}, {"channel": "shuffled"}], ids=str
)
@pytest.mark.parametrize(
    "make", [lambda: mpe("simple_spread_v3"), lambda: mpe("simple_speaker_listener_v4"), Ferry], ids=["3", "2", "ferry"]
)
def test_pettingzoo_accepts_wrapped_environments(make, rules):
    from pettingzoo.test import parallel_api_test

    parallel_api_test(negotiable(make(), max_rounds=5, **rules), num_cycles=60)


def test_different_agents_share_one_layout():
    env = negotiable(mpe("simple_speaker_listener_v4"), n_tokens=4, observation_parts=True)
    observations, _ = env.reset(seed=0)
    assert env.agents == ["speaker_0", "listener_0"]
    assert env.action_space("speaker_0").n == env.action_space("listener_0").n == 4 + 1 + 5
    # the listener sees 11 numbers, the speaker 3; then come the role and the phase
    assert observations["speaker_0"]["observation"].shape == (11 + 2 + 3,)
    assert observations["speaker_0"]["observation"][11:13].tolist() == [1, 0]
    assert observations["listener_0"]["observation"][11:13].tolist() == [0, 1]
    assert (observations["speaker_0"]["observation"][3:11] == 0).all()
    assert (observations["listener_0"]["observation"][:11] != 0).any()
    assert observations["speaker_0"]["action_mask"].tolist() == [1] * 5 + [1, 1, 1, 0, 0]
    assert observations["listener_0"]["action_mask"].tolist() == [1] * 5 + [1, 1, 1, 1, 1]


def test_the_wrapped_environment_gets_the_moves_and_its_rewards_come_back():
    wrapped, alone = mpe("simple_spread_v3"), mpe("simple_spread_v3")
    env = negotiable(wrapped, channel="off")
    seen, _ = env.reset(seed=7)
    # the seed of the wrapped environment is drawn from ours
    first, _ = alone.reset(seed=int(np.random.default_rng(7).integers(2**31)))
    for moves in [(1, 2, 3), (0, 4, 1), (2, 2, 2)]:
        assert all((seen[agent]["observation"][:18] == first[agent].astype(np.float32)).all() for agent in first)
        seen, rewards, terminated, truncated, _ = env.step({f"agent_{i}": 6 + move for i, move in enumerate(moves)})
        first, expected, *flags, _ = alone.step({f"agent_{i}": move for i, move in enumerate(moves)})
        assert rewards == pytest.approx(expected)
        assert [terminated, truncated] == flags
    assert env.agents == []


def test_talk_leaves_the_wrapped_environment_alone():
    env = negotiable(Ferry())
    env.reset(seed=0)
    env.step(dict.fromkeys(env.agents, 3))
    _, rewards, _, _, infos = env.step(dict.fromkeys(env.agents, 5))
    assert env.wrapped.log == []
    assert rewards == {"pilot": 0, "ann": 0, "bob": 0}
    assert infos == {"pilot": {}, "ann": {}, "bob": {}}


# -- what an environment may have --------------------------------------------------------------------------------


def test_observations_are_flattened_without_their_mask():
    env, seen, _ = ferry(observation_parts=True)
    luck = np.float32(env.wrapped.luck)
    act, role = [0, 0, 1], np.eye(4)  # each has spaces of its own, and so a role of its own
    assert seen["pilot"]["observation"].tolist() == [luck, luck, luck, 0, *role[0], *act]
    assert seen["ann"]["observation"].tolist() == [0, 0, 1, 0, *role[1], *act]
    assert seen["bob"]["observation"].tolist() == [200, 0, 0, 0, *role[2], *act]
    space = env.observation_space("bob")["observation"]
    assert space.low.tolist() == [-2, -2, -2, 0, *[0] * 7]
    assert space.high.tolist() == [255, 255, 5, 1, *[1] * 7]


def test_the_masks_of_the_wrapped_environment_are_honoured():
    env, seen, infos = ferry()
    assert [seen[agent]["action_mask"][6:].tolist() for agent in env.agents] == [
        [0, 1, 0, 1],
        [1, 1, 0, 0],
        [1, 1, 0, 0],
    ]
    assert infos == {agent: {"stop": 0} for agent in env.agents}
    with pytest.raises(IllegalAction, match=r"^action 6 \(move 0\) of pilot is illegal in phase ACT: legal are 7, 9$"):
        env.step({"pilot": 6, "ann": 6, "bob": 6})


def test_masks_are_forgotten_when_they_are_gone():
    env, _, _ = ferry()
    seen, *_ = env.step({"pilot": 9, "ann": 7, "bob": 6})
    assert seen["pilot"]["action_mask"][6:].tolist() == [0, 1, 0, 1]
    assert seen["bob"]["action_mask"][6:].tolist() == [1, 1, 1, 0]
    seen, *_ = env.step({"pilot": 9, "bob": 8, "zoe": 6})
    assert seen["pilot"]["action_mask"][6:].tolist() == [1, 1, 1, 1]  # an empty mask leaves nothing to choose


def test_agents_come_and_leave():
    env, _, _ = ferry()
    seen, rewards, terminated, _, infos = env.step({"pilot": 9, "ann": 7, "bob": 6})
    assert env.wrapped.log == [{"pilot": 13, "ann": 11, "bob": 10}]
    assert env.agents == ["pilot", "bob", "zoe"]
    assert rewards == {"pilot": 1, "ann": 1, "bob": 1, "zoe": 1}
    assert terminated == {"pilot": False, "ann": True, "bob": False, "zoe": False}
    assert set(seen) == set(infos) == {"pilot", "ann", "bob", "zoe"}
    with pytest.raises(IllegalAction, match=r"^agent 'ann' has left the game: the agents are pilot, bob, zoe"):
        env.step({"pilot": 9, "ann": 7, "bob": 6, "zoe": 6})
    _, rewards, *_ = env.step({"pilot": 9, "bob": 6, "zoe": 7})
    assert env.wrapped.log[-1] == {"pilot": 13, "bob": 10, "zoe": 11}
    assert rewards == {"pilot": 2, "bob": 2, "zoe": 2}
    _, _, _, truncated, _ = env.step({"pilot": 9, "bob": 6, "zoe": 7})
    assert truncated == {"pilot": True, "bob": True, "zoe": True}
    assert env.agents == []


def test_those_present_talk_without_those_who_left():
    env = negotiable(Ferry())
    env.reset(seed=1)
    env.step({"pilot": 9, "ann": 7, "bob": 6})
    env.step({"pilot": 1, "bob": 2, "zoe": 3})
    assert env.scene().symbols == ((1, -1, 2, 3),)
    env.step({"pilot": 5, "bob": 5, "zoe": 5})
    assert env.scene().phase == "ACT"
    env.step({"pilot": 7, "bob": 7, "zoe": 7})
    assert env.dialogue.symbols == ((1, -1, 2, 3), (5, -1, 5, 5))
    assert env.dialogue.moves == (1, -1, 1, 1)


def test_rewards_are_no_success_unless_somebody_says_so():
    env, _, _ = ferry()
    env.step({"pilot": 9, "ann": 7, "bob": 6})
    assert env.declaration.has_success is False
    assert env.dialogue.success is None
    assert env.dialogue.outcome == "+4 in all"
    env, _, _ = ferry(success=lambda rewards: rewards.min() > 1)
    env.step({"pilot": 9, "ann": 7, "bob": 6})
    assert env.dialogue.success is False
    assert env.declaration.has_success is True


def test_reset_hands_its_options_on():
    env = negotiable(Ferry())
    env.reset(seed=1)
    luck = env.wrapped.luck
    env.reset(seed=1, options={"luck": 2})
    assert env.wrapped.luck == luck + 2
    env.reset(seed=1)
    assert env.wrapped.luck == luck


def test_a_seed_fixes_the_wrapped_environment_and_pickling_keeps_it():
    env = negotiable(Ferry())
    one, _ = env.reset(seed=4)
    env.reset()
    other, _ = env.reset(seed=4)
    assert data_equivalence(one, other)
    env.step(dict.fromkeys(env.agents, 2))
    copy = pickle.loads(pickle.dumps(env))
    for _ in range(2):
        assert data_equivalence(env.step(dict.fromkeys(env.agents, 5)), copy.step(dict.fromkeys(copy.agents, 5)))
        env.reset()
        copy.reset()
    assert copy.wrapped.luck == env.wrapped.luck
    assert copy.wrapped is not env.wrapped


# -- many at once ------------------------------------------------------------------------------------------------


def test_many_copies_are_one_batched_game():
    rng = np.random.default_rng(0)
    game = ParallelGame(3, rng, Ferry)
    talk = Negotiation(game, TalkRules(channel="off"), rng)
    talk.reset()
    assert len({env.luck for env in game.envs}) == 3  # each with a seed of its own
    move = np.array([[9, 6, 6, 6]] * 3)
    assert talk.step(move).rewards.tolist() == [[1, 1, 1, 1]] * 3
    talk.reset(np.array([False, True, False]))
    assert [env.stop for env in game.envs] == [1, 0, 1]
    assert game.active().tolist() == [[True, False, True, True], [True, True, True, False], [True, False, True, True]]
    talk.step(move)
    result = talk.step(move)
    assert result.over.tolist() == [True, False, True]
    assert result.dialogues.last.tolist() == [True, False, True]


class Sulky(Ferry):
    """All leave at once, and nobody is told that it has ended."""

    def step(self, actions):
        observations, rewards, terminated, truncated, infos = super().step(actions)
        self.agents = []
        return observations, rewards, dict.fromkeys(terminated, False), truncated, infos


def test_a_game_that_everyone_has_left_is_over():
    env = negotiable(Sulky(), channel="off")
    env.reset()
    *_, truncated, _ = env.step({"pilot": 9, "ann": 7, "bob": 6})
    assert truncated == {"pilot": True, "ann": True, "bob": True}
    assert env.agents == []


# -- showing -----------------------------------------------------------------------------------------------------


def test_text_shows_the_dialogue_and_the_wrapped_environment():
    env = negotiable(Ferry(render_mode="ansi"), opening="talk")
    env.reset()
    assert env.render_mode == "ansi"
    assert env.render().splitlines() == ["timestep  pilot  ann  bob  zoe", "phase: TALK", "stop 0"]


def test_the_picture_of_the_wrapped_environment_is_beside_the_dialogue():
    env = negotiable(mpe("simple_spread_v3", render_mode="rgb_array"))
    env.reset(seed=0)
    both = env.render()
    env.wrapped.render_mode = None
    alone = env.render()
    assert alone.shape == (540, 960, 3)
    assert both.shape == (540, 960 + 540, 3)  # the wrapped picture is a square
    assert (both[:, 540:] == alone).all()
    env.close()


# -- mistakes ----------------------------------------------------------------------------------------------------


class Hermit(Ferry):
    def __init__(self):
        super().__init__()
        self.possible_agents = ["pilot"]


class Wordy(Ferry):
    def __init__(self):
        super().__init__()
        self._observation_spaces["ann"] = spaces.Sequence(spaces.Discrete(2))


def test_what_cannot_be_wrapped_is_named():
    import mpe2.simple_spread_v3 as spread

    with pytest.raises(
        TypeError, match=r"^talk needs a PettingZoo ParallelEnv, not OrderEnforcingWrapper .*aec_to_parallel"
    ):
        negotiable(spread.env())
    with pytest.raises(
        ValueError,
        match=r"^the actions of agent_0 in simple_spread_v3: Box.* with 5 values .* 3125 moves, more than 1,024",
    ):
        negotiable(mpe("simple_spread_v3", continuous_actions=True), bins=5)
    with pytest.raises(ValueError, match=r"^talk takes two: ferry_v0 has 1 agent$"):
        negotiable(Hermit())
    with pytest.raises(ValueError, match=r"^the observations of ann have no fixed length: Sequence"):
        negotiable(Wordy())
    with pytest.raises(
        TypeError, match=r"^unknown option 'tokens': .* window, success, bins, observation_parts, .*, render_mode$"
    ):
        negotiable(Ferry(), tokens=2)
    with pytest.raises(TypeError, match=r"^talk needs a PettingZoo ParallelEnv, not int"):
        ParallelGame(1, np.random.default_rng(0), lambda: 3)


def test_a_wrapped_environment_is_a_negotiation_env():
    assert isinstance(negotiable(Ferry()), NegotiationEnv)
    assert negotiable(Ferry()).metadata["name"] == "negotiable ferry_v0"


# -- many actions ------------------------------------------------------------------------------------------------


def test_moves_beyond_a_byte_are_recorded_and_logged(tmp_path):
    rng = np.random.default_rng(0)
    negotiation = Negotiation(ParallelGame(1, rng, LongFerry), TalkRules(channel="off"), rng)
    negotiation.reset()
    collector, played = EpisodeCollector(1, worker=0), [[299, 128, 200, 0], [255, 0, 7, 127], [299, 0, 299, 256]]
    for moves in played:
        collector.add(negotiation.step(np.array([moves]) + 6).dialogues, policy_version=0)
    writer = DialogueWriter(tmp_path, 5, negotiation.game.move_names)
    writer.add(collector.take())
    writer.close()
    [part] = tmp_path.iterdir()
    # ann leaves after the first stop, zoe comes there
    assert read_part(part).moves.tolist() == [[299, 128, 200, -1], [255, -1, 7, 127], [299, -1, 299, 256]]
    assert negotiation.game.envs[0].log[0] == {"pilot": 309, "ann": 138, "bob": 210}


def test_more_actions_than_a_record_holds_are_refused():
    class Endless(Ferry):
        def action_space(self, agent):
            return spaces.Discrete(40_000)

    with pytest.raises(ValueError, match="40,000 actions, more than 32,767"):
        negotiable(Endless())
