"""The switch riddle: its rules against a second, plain version; the bulb under every control; and its optimum."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from analysis.agents.optimal_prisoners import TELL, all_visited, optimum
from analysis.agents.policy_player import Situation, action_probabilities, situation_of
from analysis.causal.listening import listening
from analysis.data.decisions import NotApplicable, any_decisions
from emcomm.config import Config
from emcomm.dialogues import DialogueTable, concatenate
from emcomm.errors import BadInput
from emcomm.evaluation import Tally, evaluate
from emcomm.games import with_talk
from emcomm.loop import episodes
from emcomm.networks.policy import Policy
from emcomm.worlds import make_negotiation, make_policy
from envs import BadOption, Negotiation, SwitchRiddleGame, TalkRules

ACT = 2


class Scripted(SwitchRiddleGame):
    """The visitors `[B, T]` are given."""

    script: np.ndarray

    def _enter(self, games: np.ndarray) -> None:
        self.visitor[games] = self.script[games, self.day[games]]
        self.visited[games, self.visitor[games]] = True


def talk_of(game: SwitchRiddleGame, **options: object) -> Negotiation:
    talk = Negotiation(game, TalkRules(**{**game.talk, **options}), np.random.default_rng(1))  # type: ignore[arg-type]
    talk.reset()
    return talk


def riddle(games: int = 64, seed: int = 0, **options: object) -> SwitchRiddleGame:
    return SwitchRiddleGame(games, np.random.default_rng(seed), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("n_prisoners", "days"), [(2, 2), (3, 6), (4, 10)])
def test_the_rules_against_a_plain_version(n_prisoners: int, days: int) -> None:
    game = riddle(40, n_prisoners=n_prisoners)
    talk, rng = talk_of(game), np.random.default_rng(2)
    visitors: list[list[int]] = [[] for _ in range(40)]
    bulbs: list[int] = [-1] * 40
    right_ones = wrong_ones = 0
    for _ in range(300):
        seen, phase, visitor = talk.observe(), talk.phase.copy(), game.visitor.copy()
        mask, features, buffer = seen.mask, seen.features, seen.buffer
        actions = (rng.random(mask.shape) * mask * np.where(np.arange(5) == 4, 0.6, 1)).argmax(axis=2)
        step = talk.step(actions)
        for g in range(40):
            if phase[g] != ACT:  # yesterday's visitor leaves the bulb
                yesterday = visitors[g][-1]
                assert mask[g, yesterday].tolist() == [True, True, False, False, False]
                assert mask[g].sum() == 2 + n_prisoners - 1
                bulbs[g] = int(actions[g, yesterday])
                continue
            today, past = int(visitor[g]), [*visitors[g]]
            visitors[g].append(today)
            days_seen = features[g, :, 2 : 2 + days].argmax(axis=1)
            assert days_seen.tolist() == [len(past)] * n_prisoners
            assert features[g, :, 0].tolist() == [float(i == today) for i in range(n_prisoners)]
            assert features[g, :, 1].tolist() == [float(past[-1:] == [i]) for i in range(n_prisoners)]
            for i in range(n_prisoners):
                heard = set(buffer[g, i].ravel().tolist()) - {-1}
                assert heard == ({bulbs[g]} if past and (i == today or past[-1] == i) else set())
            tells = bool(actions[g, today] == 3 + 1)
            right = set(visitors[g]) == set(range(n_prisoners))
            right_ones, wrong_ones = right_ones + (tells and right), wrong_ones + (tells and not right)
            assert set(step.rewards[g].tolist()) == {(1.0 if right else -1.0) if tells else 0.0}
            assert step.dialogues.success[step.dialogues.game == g].tolist() == [tells and right]
            assert step.over[g] == (tells or len(visitors[g]) == days)
            assert not step.truncated[g].any()
            if step.over[g]:
                visitors[g] = []
        talk.reset(step.over)
    assert right_ones > 5
    assert wrong_ones > 5


@pytest.mark.parametrize("channel", ["open", "constant", "shuffled", "noisy", "self", "off"])
def test_a_channel_acts_on_the_bulb(channel: str) -> None:
    """The bulb is left in the state of the visitor's number; what the next one sees tells it apart from the channel."""
    game = riddle(2000)
    talk = talk_of(game, channel=channel, noise=1.0)
    agreed = strangers = 0
    for step in range(40):
        seen = talk.observe()
        if (talk.phase == ACT).all() and channel != "off" and (game.day > 0).any():
            other = game.visitor != game.yesterday
            g = np.flatnonzero(other & (game.day > 0))
            heard = seen.buffer[g, game.visitor[g], -1, 1:]
            assert ((heard >= 0).sum(axis=1) == (channel != "self")).all()  # from yesterday's visitor alone
            if step > 6:  # by then there are messages of other games
                agreed += int((heard.max(axis=1) == game.yesterday[g] % 2).sum())
                strangers += len(g)
        mask = seen.mask
        left = np.tile(np.arange(3) % 2, (2000, 1))
        actions = np.where(mask[..., :2].any(axis=2), left, mask.argmax(axis=2))
        talk.reset(talk.step(actions).over)
    assert (talk.n_rounds == 0).all() or channel != "off"
    shares = {"open": 1, "constant": 2 / 3, "shuffled": 5 / 9, "noisy": 1 / 2}  # two of three numbers are even
    if channel in shares:
        assert agreed / strangers == pytest.approx(shares[channel], abs=0.03)


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("channel", ["open", "constant", "shuffled", "noisy"])
def test_the_bulb_does_not_show_who_was_in_the_room(channel: str, numbered: bool) -> None:
    """It stands at one place, whoever left it: else a bulb that never changes tells more than none."""
    game = riddle(500, numbered=numbered, n_prisoners=4)
    talk, seen_bulbs = talk_of(game, channel=channel), 0
    for _ in range(30):
        seen = talk.observe()
        g = np.flatnonzero((talk.phase == ACT) & (game.day > 0) & (game.visitor != game.yesterday))
        heard = seen.buffer[g, game.visitor[g]]
        seen_bulbs += len(g)
        assert (heard[:, -1, 1] >= 0).all()
        heard[:, -1, 1] = -1
        assert (heard == -1).all()
        talk.reset(talk.step((talk.mask() * np.random.default_rng(1).random(talk.mask().shape)).argmax(axis=2)).over)
    assert seen_bulbs > 1000


def played(protocol: np.ndarray, n_prisoners: int, **options: object) -> Fraction:
    """The exact expected reward of a first-visit protocol: played in the engine over all sequences of visitors."""
    days = len(protocol)
    script = np.array(list(product(range(n_prisoners), repeat=days)))
    game = Scripted.__new__(Scripted)
    game.script = script
    Scripted.__init__(game, len(script), np.random.default_rng(0), n_prisoners=n_prisoners, days=days)
    talk, total = talk_of(game, **options), 0
    g, going = np.arange(len(script)), np.ones(len(script), np.bool_)
    chosen = np.zeros(len(script), int)
    for day in range(days):
        if day:
            actions = talk.mask().argmax(axis=2)
            actions[g, game.yesterday] = chosen * (game.yesterday >= 0)
            talk.step(actions)
        visitor, heard = game.visitor.copy(), talk.observe().buffer[g, game.visitor, -1]
        been = (script[:, :day] == visitor[:, None]).any(axis=1).astype(int)
        bulb = np.maximum(heard.max(axis=1), 0)
        action = protocol[day][been, bulb]
        actions = talk.mask().argmax(axis=2)
        actions[g, visitor] += action == TELL
        step = talk.step(actions)
        total += int(step.rewards[going, 0].sum())
        chosen = np.where(action == TELL, 0, action)
        going &= ~step.over
        talk.over[:] = False  # games that have ended play on, and are not counted
        if day < days - 1:
            game.day[:], game.yesterday[:] = day + 1, visitor
            game._enter(g)
            talk._begin(np.ones(len(g), np.bool_))
    return Fraction(total, len(script))


def test_the_optimum_for_three_meets_the_bound_and_is_played_in_the_engine() -> None:
    best = optimum(3)
    assert best.reward == pytest.approx(20 / 27)
    assert best.bound == pytest.approx(20 / 27)
    assert played(best.protocol, 3) == Fraction(20, 27)
    assert played(best.protocol, 3, channel="constant") < Fraction(1, 2)


def test_an_optimum_for_four_is_played_in_the_engine() -> None:
    best = optimum(4, 6)
    assert float(played(best.protocol, 4)) == pytest.approx(best.reward)
    assert best.reward < best.bound


@pytest.mark.slow
def test_the_optimum_for_four() -> None:
    """The bulb tells the parity of the number of visitors; on the last day two are taken for four."""
    exactly_two = 6 * (2**10 - 2) / 4**10
    assert optimum(4).reward == pytest.approx(all_visited(4, 10) - exactly_two)


def test_the_optimum_against_all_protocols() -> None:
    """Two prisoners, three days: each of 3^9 protocols over all sequences of visitors, by hand."""
    best = -1.0
    sequences = list(product(range(2), repeat=3))
    for rules in product(range(3), repeat=9):
        total = 0
        for visitors in sequences:
            bulb, been = 0, set()
            for day, who in enumerate(visitors):
                action = rules[0] if day == 0 else rules[1 + 4 * (day - 1) + 2 * (who in been) + bulb]
                been.add(who)
                if action == TELL:
                    total += 1 if len(been) == 2 else -1
                    break
                bulb = action
        best = max(best, total / len(sequences))
    assert optimum(2, 3).reward == pytest.approx(best)


def test_no_random_protocol_passes_the_optimum() -> None:
    """Evaluated as a Markov chain over the number of visitors and the bulb, written anew."""
    rng, best = np.random.default_rng(0), optimum(4, 7).reward
    for _ in range(300):
        rules = rng.choice(3, size=(7, 2, 2), p=[0.45, 0.45, 0.1])
        mass, reward = {(0, 0): 1.0}, 0.0
        for day in rules:
            after: dict[tuple[int, int], float] = {}
            for (k, bulb), p in mass.items():
                for been, share in ((0, (4 - k) / 4), (1, k / 4)):
                    now, action = k + (not been), day[been, bulb]
                    if action == TELL:
                        reward += p * share * (1 if now == 4 else -1)
                    else:
                        after[now, int(action)] = after.get((now, int(action)), 0.0) + p * share
            mass = after
        assert reward <= best + 1e-9


def test_the_return_is_that_of_episodes_and_success_that_of_their_last_day() -> None:
    talk, rng, tally = talk_of(riddle(20)), np.random.default_rng(0), Tally()
    play = episodes(talk, lambda seen: (rng.random(seen.mask.shape) * seen.mask).argmax(axis=2), lambda over: None, 150)
    returns: dict[tuple[int, int], float] = {}
    for part, table in enumerate(play):
        tally.add(table)
        for row in range(len(table)):
            key = (part, int(table.episode[row]))
            returns[key] = returns.get(key, 0.0) + float(table.rewards[row, 0])
    figures, paid = tally.figures(), np.array(list(returns.values()))
    assert len(paid) == figures.success.trials == 150
    assert figures.returns == pytest.approx([paid.mean()] * 3)
    assert figures.success.value == figures.score == (paid == 1).mean() > 0
    half = 1.96 * paid.std(ddof=1) / 150**0.5
    assert (figures.return_low, figures.return_high) == pytest.approx(
        (paid.mean() - half, paid.mean() + half), abs=1e-4
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"n_prisoners": 1}, "n_prisoners must be from 2 to 100, not 1"),
        ({"n_prisoners": 101}, "n_prisoners must be from 2 to 100, not 101"),
        ({"days": 0}, "days must be from 1 to 10,000, not 0"),
    ],
)
def test_bad_options_are_named(options: dict, says: str) -> None:
    with pytest.raises(BadOption, match=says):
        riddle(1, **options)
    with pytest.raises(BadInput, match=says):
        make_negotiation(Config(env="emcomm/switch-riddle-v1", game_options=options), 1, np.random.SeedSequence(0))
    with pytest.raises(ValueError, match="at least 2 prisoners and 1 day, not 1 and 3"):
        optimum(1, 3)


def test_prisoners_know_their_number_or_are_exchangeable() -> None:
    assert talk_of(riddle()).declaration.roles == ("prisoner_0", "prisoner_1", "prisoner_2")
    assert talk_of(riddle(numbered=False)).declaration.roles == ("agent",)


def test_what_is_said_otherwise_is_heard_otherwise_where_not_all_hear_all() -> None:
    """The log holds what was heard; put other symbols into it, and today's visitor, it alone, sees another bulb."""
    config = with_talk(Config(env="emcomm/switch-riddle-v1", games=32))
    policy, parts = make_policy(config), []
    evaluate(policy, config, 60, keep=parts.append)
    table = concatenate(parts)
    table = table[np.lexsort((table.negotiation, table.episode))]
    declared = make_negotiation(config, 1, np.random.SeedSequence(0)).declaration
    situation = situation_of(policy, config.rules, table, declared)
    said = table.padded(1)
    as_it_was = action_probabilities(policy, config.rules, said, table.n_rounds, situation)
    reaches = situation.setting.reaches
    assert reaches is not None
    heard = np.full((len(table), 2, 3, 2), -1, np.int8)
    heard[np.arange(2) <= table.n_rounds[:, None]] = table.heard.reshape(-1, 3, 2)
    on_record = replace(situation, setting=replace(situation.setting, heard=heard, reaches=None))
    np.testing.assert_array_equal(
        as_it_was, action_probabilities(policy, config.rules, said, table.n_rounds, on_record)
    )
    other = action_probabilities(policy, config.rules, np.where(said >= 0, 1 - said, said), table.n_rounds, situation)
    rows = np.flatnonzero(table.n_rounds == 1)
    changed = np.nan_to_num(other - as_it_was)[rows, 1, :, -1] != 0
    assert len(rows) > 50
    assert (changed == (table.features[rows, :, 0] == 1)).all()
    heeds = listening(policy, config.rules, any_decisions(table, 2), situation)
    assert all(one.bits > 0 == one.null for one in heeds)


def talked(channel: str, games: int = 16) -> tuple[Policy, TalkRules, DialogueTable, Situation]:
    config = with_talk(Config(env="emcomm/switch-riddle-v1", games=games))
    config = replace(config, rules=replace(config.rules, channel=channel))
    policy, parts = make_policy(config), []
    evaluate(policy, config, 30, keep=parts.append)
    table = concatenate(parts)
    table = table[np.lexsort((table.negotiation, table.episode))]
    declared = make_negotiation(config, 1, np.random.SeedSequence(0)).declaration
    return policy, config.rules, table, situation_of(policy, config.rules, table, declared)


def test_nothing_else_is_put_in_where_what_is_heard_does_not_follow_from_what_is_said() -> None:
    policy, rules, table, situation = talked("shuffled")
    said = table.padded(1)
    action_probabilities(policy, rules, said, table.n_rounds, situation)
    for measure in (
        lambda: listening(policy, rules, any_decisions(table, 2), situation),
        lambda: action_probabilities(policy, rules, np.where(said >= 0, 1 - said, said), table.n_rounds, situation),
    ):
        with pytest.raises(NotApplicable, match="over the channel 'shuffled' does not follow from what is said"):
            measure()


@pytest.mark.parametrize("channel", ["off", "self", "constant", "delayed"])
def test_what_not_all_hear_is_replayed_over_every_channel(channel: str) -> None:
    policy, rules, table, situation = talked(channel)
    odds = action_probabilities(policy, rules, table.padded(1), table.n_rounds, situation)
    assert np.isfinite(odds[np.arange(len(table)), table.n_rounds]).all()


def test_only_those_who_hear_somebody_and_have_a_choice_are_asked_to_heed() -> None:
    policy, rules, table, situation = talked("open", games=30)
    hears, legal = situation.setting.reaches, situation.setting.legal
    assert hears is not None
    assert legal is not None
    for found in listening(policy, rules, any_decisions(table, 2), situation, dialogues=10_000):
        hearer = int(found.hearer[-1])
        heeds = hears[:, hearer].any(axis=1) & (legal[:, hearer].sum(axis=1) > 1)
        assert 1 < found.dialogues <= heeds.sum() < len(table)
    nobody = replace(situation, setting=replace(situation.setting, reaches=np.zeros_like(hears)))
    with pytest.raises(NotApplicable, match="nobody hears anything and has a choice"):
        listening(policy, rules, any_decisions(table, 2), nobody)
    away = replace(situation, setting=replace(situation.setting, active=np.zeros(hears.shape[:2], np.bool_)))
    with pytest.raises(NotApplicable, match="nobody hears anything and has a choice"):
        listening(policy, rules, any_decisions(table, 2), away)
