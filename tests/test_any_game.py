"""Any game: what it declares, how it is logged and replayed, and that its figures are right."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.agents.policy_player import action_probabilities, situation_of
from analysis.causal.dialogue_edits import EDITS, edits
from analysis.data.decisions import NotApplicable, any_decisions
from analysis.data.dialogue_text import table_of
from analysis.metrics.decision_information import answers, decision_bits
from analysis.metrics.failure_modes import KINDS, JointMoves, failure_kinds
from emcomm.config import require_named
from emcomm.dialogues import DialogueTable, DialogueWriter, EpisodeCollector, concatenate, facts_of, read_part
from emcomm.errors import BadInput
from emcomm.networks.policy import Cast, Policy, Population
from emcomm.networks.torsos import TORSOS, Sizes
from emcomm.rollout import draw_races, players_of, sample
from envs import Attribute, BadGame, CrossingGame, Decision, LineGame, TrafficJunctionGame, Words, declared
from envs.game import plain_declaration
from envs.negotiation import Negotiation, TalkRules
from tests.games import Plain, SameMove, Signal, Trio, changed

# -- declarations ------------------------------------------------------------------------------------------------------


def of(base: type = Plain, **attributes: object):
    return declared(changed(base, **attributes)(1, np.random.default_rng(0)))


def test_a_game_that_declares_nothing() -> None:
    assert of() == plain_declaration(2, ("left", "right"))
    assert [d.kind for d in of().decisions] == ["joint move"]


def test_the_crossing_declares_who_yields() -> None:
    game = declared(CrossingGame(1, np.random.default_rng(0)))
    assert game.decision("yields").move == "detour"  # type: ignore[union-attr]
    assert (game.words.agents, game.words.failure) == ("trains", "crash")


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"roles": {"a": (0, 1), "b": ()}}, "role 'b' has no agents"),
        ({"roles": {"a": (0,)}}, "agent 1 is in no role"),
        ({"roles": {"a": (0, 1), "b": (1,)}}, "agent 1 is in two roles"),
        ({"roles": {"a": (0, 2)}}, "names agent 2: the agents are 0 to 1"),
        ({"roles": ("a", "b")}, "roles must name the agents of each role"),
        ({"tokens": {"z": 3}}, "names the role 'z': the roles are agent"),
        ({"tokens": {"agent": -1}}, "number of tokens from 0 up, not -1"),
        ({"attributes": (Attribute("delay", 0),)}, "'delay' must have at least 1 value"),
        ({"attributes": (Attribute("x", 2), Attribute("x", 3))}, "two attributes 'x'"),
        ({"attributes": (Attribute("x", 2, ("a",)),)}, "'x' names 1 values, and has 2: give one name for each"),
        ({"attributes": ("delay",)}, "a name and a number of values"),
        ({"decisions": (Decision("who", "move"),)}, "'who' names no agent"),
        ({"decisions": (Decision("who", "move", agent=2),)}, "names agent 2: the agents are 0 to 1"),
        ({"decisions": (Decision("it", "attribute", agent=0, attribute="y"),)}, "no attribute of the game, but 'y'"),
        ({"decisions": (Decision("who", "yields", move="up"),)}, "must name the move of the one that yields"),
        ({"decisions": (Decision("who", "yields", move="left"),)}, "put the move of the one that yields last"),
        ({"n_agents": 3, "decisions": (Decision("who", "yields", move="right"),)}, "for two agents of one role"),
        ({"decisions": (Decision("who", "moves"),)}, "of no known kind"),
        ({"agent_names": ("one",)}, "2 different names"),
        ({"move_names": ("a", "a")}, "different names"),
        ({"words": "trains"}, "words must be envs.Words"),
    ],
)  # fmt: skip
def test_declarations_that_contradict_each_other_are_named(attributes: dict, says: str) -> None:
    with pytest.raises(BadGame, match=says):
        of(**attributes)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (((0,),), "must be 2 rows, one for each move, all of one length, of numbers from -1 up"),
        (((0, 1), (0,)), "must be 2 rows"),
        ((0, 1), "must be 2 rows"),
        (((0.5,), (1.0,)), "must be 2 rows"),
        (((-2,), (0,)), "must be 2 rows"),
        ("ab", "must be 2 rows"),
        (None, "must be 2 rows"),
        (((0, 1), (0, 1)), r"two moves are made of the same choices, \(0, 1\)"),
    ],
)
def test_parts_that_do_not_fit_the_moves_are_named(parts: object, says: str) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(BadGame, match=says):
        Negotiation(changed(Plain, move_parts=parts)(1, rng), TalkRules(), rng)


def test_moves_may_say_what_they_are_made_of() -> None:
    rng = np.random.default_rng(0)
    parts = Negotiation(changed(Plain, move_parts=np.array([[0, -1], [-1, -1]]))(1, rng), TalkRules(), rng).move_parts
    assert parts == ((0, -1), (-1, -1))
    assert Negotiation(Plain(1, rng), TalkRules(), rng).move_parts == ()


def test_an_attribute_out_of_range_is_named() -> None:
    game = changed(Signal, private=lambda self: np.full((self.n_games, 2, 1), 5, np.float32))
    rng = np.random.default_rng(0)
    with pytest.raises(BadGame, match="'colour' of agent 0 is 5: its values are 0 to 2"):
        Negotiation(game(2, rng), TalkRules(), rng).reset()


def test_more_tokens_than_there_are_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(BadGame, match="sender has 2 tokens, and there are 1: --n-tokens 2"):
        Negotiation(Signal(1, rng), TalkRules(n_tokens=1), rng)


# -- the talk ----------------------------------------------------------------------------------------------------------


def talk_of(game: type, games: int = 4, **options: object) -> Negotiation:
    rng = np.random.default_rng(0)
    negotiation = Negotiation(game(games, rng), TalkRules(**options), rng)  # type: ignore[arg-type]
    negotiation.reset()
    return negotiation


def test_who_may_not_speak_only_moves() -> None:
    talk = talk_of(Signal, n_tokens=3)
    mask = talk.observe().mask[0]
    assert np.flatnonzero(mask[0]).tolist() == [0, 1, 3, 4]  # two tokens, EOT, its only move
    assert np.flatnonzero(mask[1]).tolist() == [4, 5, 6]
    talk.step(np.tile([1, 4], (4, 1)))
    assert np.flatnonzero(talk.mask()[0, 1]).tolist() == [3]  # a placeholder
    talk.step(np.tile([3, 3], (4, 1)))  # the sender's EOT alone ends the talk
    step = talk.step(np.tile([4, 5], (4, 1)))
    assert step.dialogues.symbols[:2].tolist() == [[1, -1], [3, -1]]
    assert step.dialogues.speaks[0].tolist() == [True, False]
    assert not step.dialogues.cut.any()


def test_an_agent_sees_its_role_where_there_are_several() -> None:
    features = talk_of(Signal).observe().features
    assert features[0, :, 3:5].tolist() == [[1, 0], [0, 1]]
    assert talk_of(SameMove).observe().features.shape == (4, 2, 3)


def test_one_eot_ends_the_talk_where_any_may_close_it() -> None:
    for closing, phase in (("any", 2), ("mutual", 1)):
        talk = talk_of(SameMove, closing=closing)
        talk.step(np.tile([5, 0], (4, 1)))
        assert talk.phase.tolist() == [phase] * 4


def test_a_talk_of_fixed_length_has_no_eot() -> None:
    talk = talk_of(Signal, opening="talk", closing="fixed", max_rounds=2)
    assert np.flatnonzero(talk.mask()[0, 0]).tolist() == [0, 1]
    talk.step(np.tile([1, 5], (4, 1)))
    assert talk.phase.tolist() == [1] * 4
    talk.step(np.tile([0, 5], (4, 1)))
    assert np.flatnonzero(talk.mask()[0, 1]).tolist() == [6, 7, 8]  # the moves, and no EOT
    dialogues = talk.step(np.tile([6, 7], (4, 1))).dialogues
    assert dialogues.symbols[:2].tolist() == [[1, -1], [0, -1]]
    assert not dialogues.cut.any()
    rng = np.random.default_rng(0)
    with pytest.raises(BadGame, match="sender has no tokens, and with --closing fixed no EOT"):
        Negotiation(changed(Signal, tokens={"sender": 0})(1, rng), TalkRules(closing="fixed"), rng)


def test_only_neighbours_are_heard() -> None:
    talk = talk_of(Trio, opening="talk", n_tokens=9)
    talk.step(np.tile([1, 2, 3], (4, 1)))
    heard = np.sort(talk.observe().buffer[:, :, -1], axis=2)
    assert heard[0].tolist() == [[-1, 1, 2], [1, 2, 3], [-1, 2, 3]]


class Pairs(Plain):
    """Two pairs, each of which hears only itself; a fifth agent has nobody to talk to."""

    n_agents = 5

    def may_speak(self) -> np.ndarray:
        return np.tile([True, True, True, True, False], (self.n_games, 1))

    def hears(self) -> np.ndarray:
        pairs = np.zeros((5, 5), np.bool_)
        pairs[[0, 1, 2, 3], [1, 0, 3, 2]] = True
        return np.tile(pairs, (self.n_games, 1, 1))

    def good(self, moves: np.ndarray, which: np.ndarray) -> np.ndarray:
        return (moves[:, 0] != moves[:, 1]) & (moves[:, 2] != moves[:, 3])


def test_each_group_ends_its_talk_by_itself() -> None:
    talk = talk_of(Pairs, games=1, opening="talk", n_tokens=2, max_rounds=9)
    eot, left = 2, 3
    assert np.flatnonzero(talk.mask()[0, 4]).tolist() == [eot]  # a placeholder
    talk.step(np.array([[eot, eot, 0, eot, eot]]))
    assert [np.flatnonzero(mask).tolist() for mask in talk.mask()[0]] == [[eot], [eot], [0, 1, eot], [0, 1, eot], [eot]]
    before = talk.observe().buffer[0, :2].copy()
    talk.step(np.array([[eot, eot, eot, 1, eot]]))
    assert (talk.observe().buffer[0, :2] == before).all()  # the talk of others is none of theirs
    assert np.sort(talk.observe().buffer[0, 2, -1]).tolist() == [-1, -1, -1, 1, eot]
    talk.step(np.array([[eot, eot, eot, eot, eot]]))
    assert talk.phase.tolist() == [2]
    done = talk.step(np.full((1, 5), left)).dialogues
    assert done.symbols.tolist() == [[2, 2, 0, 2, -1], [-1, -1, 2, 1, -1], [-1, -1, 2, 2, -1]]
    assert not done.cut[0]


def test_one_eot_ends_the_talk_of_its_group() -> None:
    talk = talk_of(Pairs, games=1, opening="talk", closing="any", n_tokens=2)
    talk.step(np.array([[2, 0, 0, 1, 2]]))
    assert talk.mask()[0, :4].sum(axis=1).tolist() == [1, 1, 3, 3]
    talk.step(np.array([[2, 2, 2, 1, 2]]))
    assert talk.phase.tolist() == [2]


def test_a_group_that_moves_at_once_does_not_talk() -> None:
    talk = talk_of(Pairs, games=1, n_tokens=2)
    left = 3
    talk.step(np.array([[left, left, 0, left, left]]))
    assert talk.phase.tolist() == [1]
    assert talk.mask()[0, :4].sum(axis=1).tolist() == [1, 1, 3, 3]
    talk.step(np.array([[2, 2, 2, 2, 2]]))
    assert talk.phase.tolist() == [2]


def test_talks_in_groups_are_saved() -> None:
    talk, rng = talk_of(LineGame, games=16, opening="talk", n_tokens=2), np.random.default_rng(0)

    def step(one: Negotiation, actions: np.ndarray) -> tuple:
        done = one.step(actions)
        one.reset(done.over)
        return done.rewards, done.dialogues.symbols, one.observe().buffer, one.mask()

    for _ in range(400):
        step(talk, (rng.random(talk.mask().shape) * talk.mask()).argmax(axis=2))
        if talk._closed.any():
            break
    assert talk._closed.any()
    copy = talk_of(LineGame, games=16, opening="talk", n_tokens=2)
    copy.restore(talk.state())
    for _ in range(60):
        actions = (rng.random(talk.mask().shape) * talk.mask()).argmax(axis=2)
        for one, other in zip(step(talk, actions), step(copy, actions), strict=True):
            np.testing.assert_array_equal(one, other)


def test_others_are_seen_by_role_and_shuffled_within() -> None:
    roles = changed(Trio, roles={"boss": (1,), "worker": (0, 2)})
    talk = talk_of(roles, games=200, opening="talk", n_tokens=9)  # type: ignore[arg-type]
    talk.step(np.tile([1, 2, 3], (200, 1)))
    boss = {tuple(row) for row in talk.observe().buffer[:, 1, -1].tolist()}
    assert boss == {(2, 1, 3), (2, 3, 1)}
    assert {tuple(row) for row in talk.observe().buffer[:, 0, -1].tolist()} == {(1, 2, -1)}  # the boss first


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        ("delayed", [[1, -1], [2, 1]]),  # agent 0 hears in round 1 nothing, in round 2 what was said in round 1
        ("constant", [[1, 0], [2, 0]]),
        ("self", [[1, 1], [2, 2]]),
    ],
)
def test_what_a_channel_lets_hear(channel: str, expected: list) -> None:
    talk = talk_of(SameMove, opening="talk", channel=channel, window=2)
    talk.step(np.tile([1, 1], (4, 1)))
    talk.step(np.tile([2, 3], (4, 1)))
    assert talk.observe().buffer[0, 0].tolist() == expected


def test_shuffled_ends_and_tokens() -> None:
    """With tokens shuffled EOT is heard when it is said, and no token is; with ends shuffled the reverse."""
    for channel in ("tokens_shuffled", "ends_shuffled"):
        talk = talk_of(SameMove, games=400, opening="talk", channel=channel)
        said = np.random.default_rng(1).integers(6, size=(400, 2))
        talk.step(said)
        heard = talk.observe().buffer[:, 0, -1, 1]
        other = said[:, 1]
        if channel == "tokens_shuffled":
            assert ((heard == 5) == (other == 5)).all()
            assert 0.1 < (heard == other)[other < 5].mean() < 0.3  # by chance, one in five
        else:
            token = (other < 5) & (heard < 5)
            assert (heard == other)[token].all()
            assert 0.05 < (heard == 5)[other < 5].mean() < 0.3


def test_relabelled_tokens_keep_what_does_not_depend_on_names() -> None:
    """EOT, equality, and one name for one token throughout a game; hearing is a bijection, drawn for each game."""
    games = 300
    talk = talk_of(SameMove, games=games, opening="talk", channel="relabelled")
    heard = np.zeros((games, 2, 6), int)
    for token in range(5):
        talk.step(np.full((games, 2), token))
        heard[:, :, token] = talk.observe().buffer[:, :, -1, 1]
    talk.step(np.tile([5, 0], (games, 1)))
    closing = talk.observe().buffer[:, :, -1, 1]
    assert (closing[:, 1] == 5).all()
    assert (closing[:, 0] == heard[:, 0, 0]).all()  # the name of token 0 is what it was
    assert (np.sort(heard[:, :, :5], axis=2) == np.arange(5)).all()
    same = heard[:, 0, :5][np.arange(games), heard[:, 1, 3]]  # what 0 hears of the token that 1 hears as 0's token 3
    assert (same == 3).all()
    assert 0.15 < (heard[:, 0, :5] == np.arange(5)).mean() < 0.25


# -- replayed ----------------------------------------------------------------------------------------------------------


def policy_for(negotiation: Negotiation, kind: str) -> Policy:
    torch.manual_seed(0)
    sizes = Sizes.of(negotiation, 12)
    torso = TORSOS.get(kind, TORSOS["gru"])
    if kind == "population":
        return Population([Policy(sizes) for _ in range(3)])
    if kind == "separate":
        return Cast([Policy(sizes) for _ in range(negotiation.n_agents)], range(negotiation.n_agents))
    return Policy(sizes, torso)


@pytest.mark.parametrize(
    ("game", "kind", "options"),
    [
        (CrossingGame, "gru", {}),
        (CrossingGame, "lstm", {"opening": "talk", "window": 3}),
        (CrossingGame, "transformer", {"window": 4, "closing": "any"}),
        (CrossingGame, "population", {}),
        (CrossingGame, "gru", {"channel": "noisy", "noise": 0.5}),
        (CrossingGame, "gru", {"channel": "shuffled"}),
        (CrossingGame, "gru", {"channel": "oracle", "window": 2}),
        (CrossingGame, "gru", {"channel": "tokens_shuffled"}),
        (CrossingGame, "gru", {"channel": "ends_shuffled"}),
        (CrossingGame, "gru", {"channel": "delayed"}),
        (CrossingGame, "gru", {"channel": "relabelled"}),
        (Signal, "gru", {"opening": "talk", "closing": "fixed", "max_rounds": 3}),
        (CrossingGame, "window", {"channel": "constant", "window": 2}),
        (CrossingGame, "gru", {"channel": "self"}),
        (CrossingGame, "gru", {"channel": "off"}),
        (CrossingGame, "gru", {"speaking": "sequential"}),
        (CrossingGame, "gru", {"speaking": "sequential", "order": "round", "channel": "noisy"}),
        (SameMove, "none", {}),
        (Signal, "gru", {"n_tokens": 3, "opening": "talk"}),
        (Signal, "separate", {"n_tokens": 2}),
        (Trio, "gru", {}),
        (LineGame, "gru", {"n_tokens": 3}),
        (LineGame, "lstm", {"n_tokens": 2, "opening": "talk", "closing": "any", "window": 2}),
        (LineGame, "window", {"n_tokens": 2, "speaking": "sequential", "order": "episode", "channel": "noisy"}),
        (TrafficJunctionGame, "gru", {"n_tokens": 2}),
        (Trio, "lstm", {"channel": "noisy", "noise": 0.3, "window": 2}),
        (Trio, "separate", {"speaking": "sequential", "order": "episode", "opening": "talk"}),
    ],
)
def test_a_replayed_dialogue_shows_the_network_what_it_saw(game: type, kind: str, options: dict) -> None:
    """Its probabilities while it played are those that it has when the log is fed to it, through disk."""
    games, rng = 40, np.random.default_rng(3)
    rules = TalkRules(**{"max_rounds": 5, **options})  # type: ignore[arg-type]
    negotiation = Negotiation(game(games, rng), rules, rng)
    policy = policy_for(negotiation, kind)
    collector = EpisodeCollector(games, worker=0, limit=60)
    negotiation.reset()
    memory = policy.initial_memory(games * negotiation.n_agents)
    lived: dict[tuple[int, int], list] = {}
    episode, begun, number = np.arange(games), games, np.zeros(games, int)
    with torch.no_grad():
        while not collector.complete:
            seen = negotiation.observe()
            memory = policy.remember(policy.encode(seen), memory)
            mask = torch.from_numpy(seen.mask).view(len(memory), -1)
            probabilities = policy.log_probs(memory, mask).exp().view(games, negotiation.n_agents, -1).numpy()
            action = sample(policy, memory, mask, draw_races((len(memory), negotiation.n_actions), rng))
            acting, rounds = negotiation._acting(), negotiation.n_rounds.copy()
            step = negotiation.step(action.view(games, -1).numpy())
            for g in range(games):
                for agent in np.flatnonzero(acting[g]):
                    lived.setdefault((int(episode[g]), int(number[g])), []).append(
                        (rounds[g], agent, probabilities[g, agent])
                    )
            collector.add(step.dialogues, 0, players_of(policy, memory, step.dialogues, negotiation.n_agents))
            number[step.dialogues.game] += 1
            for g in step.dialogues.game[step.dialogues.last]:
                episode[g], number[g], begun = begun, 0, begun + 1
            negotiation.reset(step.over)
            memory = policy.forget(policy.restart(memory, step.over), step.gone)
    table, begun_as = written_and_read(collector, rules, negotiation)
    situation = situation_of(policy, rules, table, negotiation.declaration)
    symbols = table.padded(max(int(table.n_rounds.max()), 1))
    fed = action_probabilities(policy, rules, symbols, table.n_rounds, situation)
    compared = 0
    for row in range(len(table)):
        key = (begun_as[int(table.episode[row])], int(table.negotiation[row]))
        if rules.speaking == "sequential" and rules.order != "fixed" and not table.n_rounds[row]:
            assert np.isnan(fed[row]).all()  # in whose order they moved is not on record
            continue
        for at, agent, expected in lived[key]:
            np.testing.assert_allclose(fed[row, at, agent], expected, atol=2e-6, err_msg=f"{key} {at} {agent}")
            compared += 1
    assert compared > 60


def written_and_read(
    collector: EpisodeCollector, rules: TalkRules, negotiation: Negotiation
) -> tuple[DialogueTable, list[int]]:
    """The table of all episodes, through a file, and for each episode in it the how manyth that began."""
    begun_as = np.concatenate(collector._ended).tolist()
    with tempfile.TemporaryDirectory() as folder:
        game = negotiation.declaration
        writer = DialogueWriter(Path(folder), rules.n_tokens, game.move_names, game=game)
        writer.add(collector.take())  # type: ignore[arg-type]
        writer.close()
        [part] = Path(folder).glob("part-*.parquet")
        assert facts_of(part).game == game
        return read_part(part), begun_as


def test_without_what_was_heard_there_is_no_replay() -> None:
    negotiation = talk_of(CrossingGame, channel="shuffled")  # type: ignore[arg-type]
    policy = policy_for(negotiation, "gru")
    situation = situation_of(policy, negotiation.rules, table_of([[(1, 2), (5, 5)]]), negotiation.declaration)
    with pytest.raises(NotApplicable, match="what was heard over the channel 'shuffled'"):
        action_probabilities(policy, negotiation.rules, np.array([[[1, 2], [5, 5]]]), np.array([2]), situation)


def test_a_symbol_is_swapped_only_where_both_speak() -> None:
    """Trains without a conflict are silent: what another one said cannot be put into their mouth."""
    rules = TalkRules(n_tokens=3, max_rounds=4, opening="talk")
    games, rng = 30, np.random.default_rng(0)
    negotiation = Negotiation(LineGame(games, rng), rules, rng)
    policy, collector = policy_for(negotiation, "gru"), EpisodeCollector(games, worker=0, limit=60)
    negotiation.reset()
    while not collector.complete:
        mask = negotiation.mask()
        step = negotiation.step((rng.random(mask.shape) * mask).argmax(axis=2))
        collector.add(step.dialogues, 0)
        negotiation.reset(step.over)
    table, game = collector.take(), negotiation.declaration
    assert table is not None
    situation = situation_of(policy, rules, table, game)
    found = edits(policy, rules, any_decisions(table, 3), situation=situation)
    assert {edit.name for edit in found} == set(EDITS)
    assert next(edit.shift for edit in found if edit.name == "nothing") == 0


# -- failures ----------------------------------------------------------------------------------------------------------


def test_a_slip_in_a_game_of_the_same_move() -> None:
    """The network wants the same move for both; what was sampled differs. Nothing is a misreading, nothing a tie."""
    table = table_of([[(3, 1), (5, 5)], [(2, 2), (5, 5)], [(3, 1), (5, 5)]], moves=[(0, 1), (1, 0), (0, 0)])
    table = type(table)(**{**table.__dict__, "success": np.array([False, False, True])})
    leaning = np.tile([0.9, 0.1], (3, 2, 1))
    kinds = failure_kinds(table, leaning)
    assert [KINDS[k] for k in kinds[:2]] == ["slip of sampling", "slip of sampling"]
    never_seen = np.tile([0.1, 0.9], (3, 2, 1))  # whether (1, 1) succeeds, no dialogue has shown
    assert KINDS[failure_kinds(table, never_seen)[0]] == "slip or misreading"


def test_ties_of_training_are_counted_only_where_moves_must_differ(tmp_path: Path) -> None:
    """Two identical agents that have said the same are no tie where the same move succeeds."""
    from analysis.data.runs import load
    from analysis.report.study import QUICK, Study

    table = table_of([[(2, 2), (5, 5)]] * 40, moves=[(0, 0), (0, 1)] * 20)
    table = type(table)(**{**table.__dict__, "success": table.moves[:, 0] == table.moves[:, 1]})
    writer = DialogueWriter(tmp_path / "dialogues", 5, ("left", "right"), game=of())
    writer.add(table)
    writer.close()
    training = Study(load(tmp_path), QUICK).training
    assert training is not None
    assert {kind: n for kind, n in training.failures.items() if n} == {"slip or misreading": 20}


def test_where_the_same_move_was_never_made_no_tie_is_claimed() -> None:
    """A few failures of a game in which the same move may succeed: that they said the same explains nothing."""
    table = table_of([[(2, 2), (5, 5)]] * 3, moves=[(0, 1)] * 3)
    table = type(table)(**{**table.__dict__, "success": np.zeros(3, np.bool_)})
    assert {KINDS[kind] for kind in failure_kinds(table)} == {"slip or misreading"}


def test_where_more_than_the_moves_decides_nothing_is_claimed() -> None:
    table = table_of([[(3, 1), (5, 5)]] * 4, moves=[(0, 1), (0, 1), (1, 1), (1, 1)])
    table = type(table)(**{**table.__dict__, "success": np.array([False, True, False, True])})
    leaning = np.tile([0.9, 0.1], (4, 2, 1))
    assert not JointMoves([0, 0]).learn(table).consistent
    assert {KINDS[k] for k in failure_kinds(table, leaning) if k >= 0} == {"slip or misreading"}


def test_what_a_game_says_of_success_is_asked_first() -> None:
    table = table_of([[(1, 0)]], moves=[(0, 2)])
    table = type(table)(
        **{**table.__dict__, "success": np.array([False]), "private": np.array([[[1.0], [-1.0]]], np.float32)}
    )
    joint = JointMoves([0, 1], Signal.succeeds)
    assert joint.outcome(np.array([[0, 1]]), table).tolist() == [1]
    assert joint.outcome(np.array([[0, 2]]), table).tolist() == [0]
    assert not joint.must_differ  # agents of two roles need nothing to tell them apart


# -- decisions ---------------------------------------------------------------------------------------------------------


def signals(dialogues: int, tells: bool):
    """The sender says its colour (or noise), the receiver picks what it hears."""
    rng = np.random.default_rng(0)
    colour = rng.integers(3, size=dialogues)
    said = colour if tells else rng.integers(3, size=dialogues)
    table = table_of([[(int(s), -1), (5, -1)] for s in said], moves=[(0, int(s)) for s in said])
    private = np.stack([colour, np.full(dialogues, -1)], axis=1)[..., None].astype(np.float32)
    return type(table)(**{**table.__dict__, "private": private})


def test_bits_about_an_attribute_and_a_move() -> None:
    game = declared(Signal(1, np.random.default_rng(0)))
    pick, colour = game.decisions
    for tells, most in ((True, np.log2(3)), (False, 0.0)):
        table = signals(1500, tells)
        found = decision_bits(table, colour, game, 5)
        assert found.trusted, found.why
        assert found.bits[0] == pytest.approx(most, abs=0.05)
        assert found.null < 0.05
        assert decision_bits(table, pick, game, 5).bits[0] == pytest.approx(np.log2(3), abs=0.05)
    assert answers(signals(4, True), colour, game).tolist() == signals(4, True).private[:, 0, 0].tolist()


def test_a_decision_that_is_always_the_same_is_none() -> None:
    game = declared(Signal(1, np.random.default_rng(0)))
    table = concatenate([signals(400, True)])
    still = type(table)(**{**table.__dict__, "moves": np.zeros_like(table.moves)})
    with pytest.raises(NotApplicable, match="the pick is always the same"):
        decision_bits(still, game.decisions[0], game, 5)


def test_a_word_of_the_game_is_its_own() -> None:
    assert Words("ship").agents == "ships"


def test_what_is_code_has_to_be_named(tmp_path: Path) -> None:
    require_named(tmp_path, "emcomm/crossing-v1", ())
    require_named(tmp_path, "a:B", ("c:D", "a:B"))
    with pytest.raises(BadInput, match=r"uses a:B, which is code outside emcomm .* --env a:B"):
        require_named(tmp_path, "a:B", ("c:D", None), "--env")
