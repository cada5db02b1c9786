"""The rules of talk, one by one, with the values that the rules prescribe."""

import numpy as np
import pytest

from envs import CrossingGame, GameOver, IllegalAction, Negotiation, NegotiationEnv, Outcome, TalkRules
from envs.channels import Shuffled
from envs.negotiation import ACT, OPEN, TALK

EOT, MAIN, DETOUR = 5, 6, 7  # of the crossing with five tokens
SYMBOLS, MOVES = [0, 1, 2, 3, 4, 5], [6, 7]


class Stages:
    """Three agents make two joint moves; each is paid its own move, and its private feature is its seat.

    With `leaver`, the last agent leaves after the first move.
    """

    n_agents = 3
    move_names = ("a", "b")
    feature_bounds = (np.zeros(1, np.float32), np.full(1, 2, np.float32))

    def __init__(self, n_games, rng, leaver=False):
        self.n_games, self._leaver = n_games, leaver
        self._stage = np.zeros(n_games, np.int64)

    def reset(self, which):
        self._stage[which] = 0

    def observe(self):
        return np.tile(np.arange(3, dtype=np.float32)[:, None], (self.n_games, 1, 1))

    def private(self):
        return self.observe()

    def legal_moves(self):
        return np.ones((self.n_games, 3, 2), np.bool_)

    def active(self):
        active = np.ones((self.n_games, 3), np.bool_)
        active[:, 2] = ~((self._stage > 0) & self._leaver)
        return active

    def play(self, moves, which):
        self._stage[which] += 1
        terminated = np.repeat(self._stage[which, None] == 2, 3, axis=1)
        terminated[:, 2] |= self._leaver
        ones = np.ones(len(which), np.bool_)
        return Outcome(moves.astype(np.float32), ones, terminated, np.zeros_like(terminated))


def start(game=CrossingGame, games=1, seed=0, **rules):
    rng = np.random.default_rng(seed)
    talk = Negotiation(game(games, rng), TalkRules(**rules), rng)
    talk.reset()
    return talk


def step(talk, *actions):
    """One step in which every game sees the same `actions`, one per agent."""
    return talk.step(np.tile(actions, (talk.n_games, 1)))


def newest(talk, agent, game=0):
    """The newest round as an agent sees it, own symbol first."""
    return talk.observe().buffer[game, agent, -1].tolist()


def legal(talk, agent=0, game=0):
    return np.flatnonzero(talk.mask()[game, agent]).tolist()


def said(talk, game=0):
    return talk.so_far(game)[0].tolist()


# -- phases ------------------------------------------------------------------------------------------------------


def test_a_game_starts_in_the_open_phase_where_everything_is_legal():
    talk = start()
    assert talk.phase.tolist() == [OPEN]
    assert legal(talk) == SYMBOLS + MOVES
    assert talk.observe().features.tolist() == [[[1, 0, 0], [1, 0, 0]]]
    assert (talk.observe().buffer == -1).all()


@pytest.mark.parametrize(("moves", "reward"), [((MAIN, DETOUR), 1), ((DETOUR, MAIN), 1), ((MAIN, MAIN), -1)])
def test_moving_in_the_open_phase_plays_without_talk(moves, reward):
    result = step(start(), *moves)
    dialogue = result.dialogues
    assert result.rewards.tolist() == [[reward, reward]]
    assert result.over.tolist() == [True]
    assert result.terminated.tolist() == [[True, True]]
    assert result.truncated.tolist() == [[False, False]]
    assert dialogue.n_rounds.tolist() == [0]
    assert dialogue.symbols.shape == (0, 2)
    assert dialogue.moves.tolist() == [[moves[0] - 6, moves[1] - 6]]
    assert dialogue.success.tolist() == [reward > 0]
    assert dialogue.last.tolist() == [True]


def test_symbols_enter_the_talk_where_only_symbols_are_legal():
    talk = start()
    result = step(talk, 2, 3)
    assert talk.phase.tolist() == [TALK]
    assert legal(talk) == SYMBOLS
    assert (newest(talk, 0), newest(talk, 1)) == ([2, 3], [3, 2])
    assert talk.observe().features.tolist() == [[[0, 1, 0], [0, 1, 0]]]
    assert result.rewards.tolist() == [[0, 0]]
    assert result.dialogues.game.tolist() == []


def test_a_move_against_a_symbol_is_not_played_and_leaves_its_cell_silent():
    talk = start()
    result = step(talk, MAIN, 4)
    assert talk.phase.tolist() == [TALK]
    assert said(talk) == [[-1, 4]]
    assert (newest(talk, 0), newest(talk, 1)) == ([-1, 4], [4, -1])
    assert not result.over.any()


def test_eot_against_a_move_does_not_end_the_talk():
    talk = start()
    step(talk, EOT, MAIN)
    assert talk.phase.tolist() == [TALK]


def test_eot_by_one_alone_ends_nothing_and_is_not_binding():
    talk = start()
    for actions in [(1, 2), (EOT, 3), (4, EOT), (EOT, 0)]:
        step(talk, *actions)
        assert talk.phase.tolist() == [TALK]
    step(talk, EOT, EOT)
    assert talk.phase.tolist() == [ACT]
    assert said(talk) == [[1, 2], [5, 3], [4, 5], [5, 0], [5, 5]]


def test_eot_of_all_in_the_first_round_leads_to_the_moves():
    talk = start()
    step(talk, EOT, EOT)
    assert talk.phase.tolist() == [ACT]
    assert talk.n_rounds.tolist() == [1]


def test_after_the_talk_only_moves_are_legal_and_nothing_is_written():
    talk = start()
    step(talk, EOT, EOT)
    assert legal(talk) == MOVES
    assert talk.observe().features.tolist() == [[[0, 0, 1], [0, 0, 1]]]
    dialogue = step(talk, MAIN, DETOUR).dialogues
    assert dialogue.symbols.tolist() == [[5, 5]]
    assert dialogue.n_rounds.tolist() == [1]
    assert dialogue.moves.tolist() == [[0, 1]]
    assert (talk.observe().buffer == -1).all()


def test_a_game_of_several_moves_goes_on_in_the_open_phase_with_an_empty_buffer():
    talk = start(Stages)
    step(talk, 1, 2, 3)
    step(talk, EOT, EOT, EOT)
    first = step(talk, 6, 7, 7)
    assert talk.phase.tolist() == [OPEN]
    assert talk.n_rounds.tolist() == [0]
    assert (talk.observe().buffer == -1).all()
    assert first.over.tolist() == [False]
    assert first.dialogues.last.tolist() == [False]
    assert first.rewards.tolist() == [[0, 1, 1]]
    step(talk, 0, 0, 0)
    step(talk, EOT, EOT, EOT)
    second = step(talk, 7, 7, 6)
    assert second.over.tolist() == [True]
    assert second.dialogues.last.tolist() == [True]
    assert second.dialogues.symbols.tolist() == [[0, 0, 0], [5, 5, 5]]
    assert second.dialogues.private.tolist() == [[[0], [1], [2]]]


# -- limits and costs --------------------------------------------------------------------------------------------


def test_the_talk_is_cut_after_max_rounds_and_the_dialogue_says_so():
    talk = start(max_rounds=2)
    step(talk, 0, 1)
    assert talk.phase.tolist() == [TALK]
    step(talk, 1, EOT)
    assert talk.phase.tolist() == [ACT]
    dialogue = step(talk, MAIN, MAIN).dialogues
    assert dialogue.cut.tolist() == [True]
    assert dialogue.n_rounds.tolist() == [2]


def test_eot_of_all_in_the_last_allowed_round_is_no_cut():
    talk = start(max_rounds=2)
    step(talk, 0, 1)
    step(talk, EOT, EOT)
    assert step(talk, MAIN, MAIN).dialogues.cut.tolist() == [False]


def test_a_cut_is_forgotten_with_the_next_talk():
    talk = start(Stages, max_rounds=1)
    step(talk, 0, 0, 0)
    assert step(talk, 6, 6, 6).dialogues.cut.tolist() == [True]
    step(talk, EOT, EOT, EOT)
    assert step(talk, 6, 6, 6).dialogues.cut.tolist() == [False]


@pytest.mark.parametrize(("last", "cut"), [((EOT, EOT), False), ((EOT, 0), True)])
def test_whether_a_talk_was_cut_is_remembered_while_others_talk(last, cut):
    talk = start(games=2, max_rounds=2)
    talk.step(np.array([[0, 1], [MAIN, DETOUR]]))
    talk.reset(talk.over)
    talk.step(np.array([last, [2, 2]]))
    result = talk.step(np.array([[MAIN, MAIN], [3, 3]]))
    assert result.dialogues.game.tolist() == [0]
    assert result.dialogues.cut.tolist() == [cut]
    assert talk.phase[1] == ACT
    talk.reset(talk.over)
    assert talk.step(np.array([[0, 0], [MAIN, MAIN]])).dialogues.cut.tolist() == [True]


@pytest.mark.parametrize("speaking", ["simultaneous", "sequential"])
def test_without_a_limit_the_talk_goes_on(speaking):
    talk = start(max_rounds=None, speaking=speaking)
    for t in range(70):
        if speaking == "simultaneous":
            step(talk, t % 5, 4 - t % 5)
        else:
            step(talk, t % 5, EOT)
            step(talk, EOT, 4 - t % 5)
    assert talk.phase.tolist() == [TALK]
    assert said(talk) == [[t % 5, 4 - t % 5] for t in range(70)]


@pytest.mark.parametrize("speaking", ["simultaneous", "sequential"])
def test_one_long_talk_among_short_ones_is_kept_whole(speaking):
    """Game 0 talks for 40 rounds; game 1 closes every talk at once and starts anew."""
    talk = start(games=2, max_rounds=None, speaking=speaking)
    for t in range(40):
        for _ in range(1 if speaking == "simultaneous" else 2):
            symbol = np.array([t % 5, EOT])
            talk.step(np.where(talk.phase == ACT, MAIN, np.where(talk.mask()[:, :, 0].T, symbol, EOT)).T)
            talk.reset(talk.over)
    assert said(talk) == [[t % 5, t % 5] for t in range(40)]
    assert talk.so_far(0)[1].tolist() == ([] if speaking == "simultaneous" else [[0, 1]] * 40)


def test_every_round_costs_and_the_moves_do_not():
    talk = start(round_cost=0.25)
    assert step(talk, 1, MAIN).rewards.tolist() == [[-0.25, -0.25]]
    assert step(talk, 2, 2).rewards.tolist() == [[-0.25, -0.25]]
    assert step(talk, EOT, EOT).rewards.tolist() == [[-0.25, -0.25]]
    result = step(talk, MAIN, DETOUR)
    assert result.rewards.tolist() == [[1, 1]]
    assert result.dialogues.rewards.tolist() == [[1, 1]]


def test_sequential_rounds_cost_once():
    talk = start(round_cost=0.25, speaking="sequential")
    assert step(talk, 1, EOT).rewards.tolist() == [[0, 0]]
    assert step(talk, EOT, 1).rewards.tolist() == [[-0.25, -0.25]]


def test_opening_talk_allows_no_move_before_the_talk():
    talk = start(Stages, opening="talk")
    assert talk.phase.tolist() == [TALK]
    assert legal(talk) == SYMBOLS
    step(talk, EOT, EOT, EOT)
    step(talk, 6, 6, 6)
    assert talk.phase.tolist() == [TALK]


def test_one_token_is_enough():
    talk = start(n_tokens=1)  # 0 is the token, 1 is EOT, 2 and 3 are the moves
    assert legal(talk) == [0, 1, 2, 3]
    step(talk, 0, 1)
    assert legal(talk) == [0, 1]
    step(talk, 1, 1)
    assert legal(talk) == [2, 3]
    assert step(talk, 2, 3).dialogues.success.tolist() == [True]


def test_the_window_shows_the_last_rounds_newest_last():
    talk = start(window=3)
    for t in range(4):
        step(talk, t, 4 - t)
    assert talk.observe().buffer[0, 0].tolist() == [[1, 3], [2, 2], [3, 1]]
    assert talk.observe().buffer[0, 1].tolist() == [[3, 1], [2, 2], [1, 3]]


# -- one after the other -----------------------------------------------------------------------------------------


def test_sequential_speakers_hear_what_was_said_before_in_the_round():
    talk = start(speaking="sequential")
    assert (legal(talk, 0), legal(talk, 1)) == (SYMBOLS + MOVES, [EOT])
    step(talk, 3, EOT)
    assert (newest(talk, 0), newest(talk, 1)) == ([3, -1], [-1, 3])
    assert (legal(talk, 0), legal(talk, 1)) == ([EOT], SYMBOLS + MOVES)
    assert talk.phase.tolist() == [OPEN]
    step(talk, EOT, 2)
    assert (newest(talk, 0), newest(talk, 1)) == ([3, 2], [2, 3])
    assert talk.phase.tolist() == [TALK]
    assert [rows.tolist() for rows in talk.so_far(0)] == [[[3, 2]], [[0, 1]]]


def test_placeholders_are_neither_written_nor_heard():
    talk = start(speaking="sequential")
    step(talk, 3, EOT)
    assert said(talk) == [[3, -1]]
    step(talk, EOT, EOT)
    assert said(talk) == [[3, 5]]
    assert talk.phase.tolist() == [TALK]


def test_the_window_of_sequential_talk_holds_whole_rounds_and_the_one_in_progress():
    talk = start(speaking="sequential", window=3)
    for first, second in [(3, 2), (1, 4)]:
        step(talk, first, EOT)
        step(talk, EOT, second)
    assert talk.observe().buffer[0].tolist() == [[[-1, -1], [3, 2], [1, 4]], [[-1, -1], [2, 3], [4, 1]]]
    step(talk, 0, EOT)
    assert talk.observe().buffer[0].tolist() == [[[3, 2], [1, 4], [0, -1]], [[2, 3], [4, 1], [-1, 0]]]
    step(talk, EOT, 2)
    step(talk, 1, EOT)
    assert talk.observe().buffer[0].tolist() == [[[1, 4], [0, 2], [1, -1]], [[4, 1], [2, 0], [-1, 1]]]


@pytest.mark.parametrize(
    ("channel", "heard"),
    [("open", ([3, -1], [-1, 3])), ("constant", ([3, -1], [-1, 0])), ("self", ([3, 3], [-1, -1]))],
)
def test_who_has_not_spoken_yet_is_not_heard(channel, heard):
    talk = start(speaking="sequential", channel=channel)
    step(talk, 3, EOT)
    assert (newest(talk, 0), newest(talk, 1)) == heard


def test_what_was_heard_in_a_round_stays_as_it_was_heard():
    talk = start(games=200, speaking="sequential", channel="noisy", noise=1.0)
    step(talk, 3, EOT)
    heard = talk.observe().buffer[:, 1, -1, 1]
    assert len(np.unique(heard)) == 6
    step(talk, EOT, 2)
    assert (talk.observe().buffer[:, 1, -1] == np.stack([np.full(200, 2), heard], axis=1)).all()


def test_the_oracle_tells_the_role_before_the_other_has_spoken():
    talk = start(games=20, speaking="sequential", channel="oracle")
    roles = talk.observe().buffer[:, :, -1, 1]
    for _ in range(2):
        step(talk, 3, EOT)
        newest_round = talk.observe().buffer[:, :, -1]
        assert (newest_round[:, 0, 0] == 3).all()
        assert (newest_round[:, 1, 0] == -1).all()
        assert (newest_round[..., 1] == roles).all()
        step(talk, EOT, 3)


def test_sequential_moves_are_made_at_once_after_the_talk():
    talk = start(speaking="sequential")
    step(talk, EOT, EOT)
    step(talk, EOT, EOT)
    assert talk.phase.tolist() == [ACT]
    assert (legal(talk, 0), legal(talk, 1)) == (MOVES, MOVES)
    dialogue = step(talk, MAIN, DETOUR).dialogues
    assert dialogue.moves.tolist() == [[0, 1]]
    assert dialogue.order.tolist() == [[0, 1]]


def test_sequential_moves_in_the_open_phase():
    talk = start(speaking="sequential")
    assert not step(talk, DETOUR, EOT).over.any()
    assert newest(talk, 1) == [-1, -1]  # nobody sees another's move before its own
    assert step(talk, EOT, MAIN).dialogues.moves.tolist() == [[1, 0]]


def test_a_sequential_move_against_a_symbol_is_not_played():
    talk = start(speaking="sequential")
    step(talk, DETOUR, EOT)
    step(talk, EOT, 2)
    assert said(talk) == [[-1, 2]]
    assert talk.phase.tolist() == [TALK]


def test_a_reset_in_the_middle_of_a_round_gives_the_first_speaker_its_turn():
    talk = start(speaking="sequential", games=2)
    step(talk, DETOUR, EOT)
    talk.reset(np.array([True, False]))
    assert (legal(talk, 0, game=0), legal(talk, 1, game=0)) == (SYMBOLS + MOVES, [EOT])
    assert (legal(talk, 0, game=1), legal(talk, 1, game=1)) == ([EOT], SYMBOLS + MOVES)  # its round goes on
    result = talk.step(np.array([[MAIN, EOT], [EOT, MAIN]]))
    assert result.over.tolist() == [False, True]
    assert result.dialogues.moves.tolist() == [[1, 0]]
    talk.reset(result.over)
    # what was chosen before the reset is not played
    assert talk.step(np.array([[EOT, DETOUR], [MAIN, EOT]])).dialogues.moves.tolist() == [[0, 1]]


def test_what_was_said_in_a_round_in_progress_is_forgotten_with_a_reset():
    talk = start(speaking="sequential")
    step(talk, 3, EOT)
    assert [rows.tolist() for rows in talk.so_far(0)] == [[[3, -1]], [[0, 1]]]
    talk.reset()
    assert [rows.shape for rows in talk.so_far(0)] == [(0, 2), (0, 2)]
    step(talk, MAIN, EOT)
    assert step(talk, EOT, DETOUR).dialogues.moves.tolist() == [[0, 1]]


def test_the_order_so_far_is_that_of_each_round():
    """What is handed out is a copy; where all speak at once there is no order."""
    talk = start(speaking="sequential", order="round", games=40)
    lived = []
    for _ in range(3):
        lived.append([0 if legal(talk, 1, game) == [EOT] else 1 for game in range(40)])
        for _ in range(2):
            talk.step(np.where(talk.mask()[..., 0], 0, EOT))
    for game in range(40):
        assert talk.so_far(game)[1][:, 0].tolist() == [firsts[game] for firsts in lived]
    talk.so_far(0)[0][:] = talk.so_far(0)[1][:] = 9
    assert talk.so_far(0)[0].tolist() == [[0, 0]] * 3
    assert (talk.so_far(0)[1] < 2).all()
    talk = start()
    step(talk, 1, 2)
    assert talk.so_far(0)[1].shape == (0, 2)


def test_a_reset_of_the_games_that_are_over_draws_their_order_anew():
    """`over` may be handed back as it is: it is not emptied before it has been read."""
    talk, firsts = start(speaking="sequential", order="episode"), set()
    for _ in range(20):
        for _ in range(2):
            step(talk, MAIN if legal(talk, 0) != [EOT] else EOT, MAIN if legal(talk, 1) != [EOT] else EOT)
        talk.reset(talk.over)
        assert talk.over.tolist() == [False]
        firsts.add(legal(talk, 0) == [EOT])
    assert firsts == {True, False}


def test_what_a_step_brought_is_not_changed_by_a_reset():
    talk = start()
    result = step(talk, MAIN, DETOUR)
    talk.reset(result.over)
    assert result.over.tolist() == [True]


def orders(order, episodes=30):
    """The speaking orders of many three-round talks: `[episodes, 3, 2]`."""
    talk, found = start(games=episodes, speaking="sequential", order=order), []
    while not (talk.n_rounds == 3).all():
        mask = talk.mask()
        first_legal = np.where(mask[..., 0], 0, EOT)
        talk.step(first_legal)
    for game in range(episodes):
        found.append(talk.so_far(game)[1].tolist())
    return np.array(found)


def test_a_fixed_order_is_always_the_same():
    assert (orders("fixed") == [0, 1]).all()


def test_an_order_shuffled_per_episode_lasts_for_the_episode():
    found = orders("episode")
    assert (found == found[:, :1]).all()
    assert {0, 1} == set(found[:, 0, 0])


def test_an_order_shuffled_per_round_changes_within_the_episode():
    found = orders("round")
    assert (found != found[:, :1]).any()
    assert (np.sort(found, axis=2) == [0, 1]).all()


def test_the_order_is_drawn_anew_for_every_episode():
    talk, firsts = start(speaking="sequential", order="episode"), set()
    for _ in range(20):
        talk.reset()
        firsts.add(legal(talk, 0) == [EOT])
    assert firsts == {True, False}


# -- the channel -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "heard"),
    [
        ({"channel": "open"}, ([2, 3], [3, 2])),
        ({"channel": "constant"}, ([2, 0], [3, 0])),
        ({"channel": "self"}, ([2, 2], [3, 3])),
        ({"channel": "noisy", "noise": 0.0}, ([2, 3], [3, 2])),
    ],
)
@pytest.mark.parametrize("speaking", ["simultaneous", "sequential"])
def test_what_each_agent_hears(rules, heard, speaking):
    talk = start(speaking=speaking, **rules)
    if speaking == "simultaneous":
        step(talk, 2, 3)
    else:
        step(talk, 2, EOT)
        step(talk, EOT, 3)
    assert (newest(talk, 0), newest(talk, 1)) == heard
    assert said(talk) == [[2, 3]]  # the record holds what was said


def test_without_a_channel_the_moves_come_first():
    talk = start(Stages, channel="off")
    assert talk.phase.tolist() == [ACT]
    assert legal(talk) == MOVES
    assert step(talk, 6, 7, 6).dialogues.n_rounds.tolist() == [0]
    assert talk.phase.tolist() == [ACT]


def test_noise_replaces_symbols_at_its_rate_and_never_ones_own():
    talk = start(games=6000, channel="noisy", noise=0.6)
    step(talk, 2, 3)
    buffer = talk.observe().buffer
    assert (buffer[:, 0, -1, 0] == 2).all()
    changed = (buffer[:, 0, -1, 1] != 3).mean()  # 0.6 replaced, 5/6 of these by another symbol
    assert changed == pytest.approx(0.5, abs=0.03)
    assert set(np.unique(buffer[:, 0, -1, 1])) == {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize("speaking", ["simultaneous", "sequential"])
def test_the_oracle_tells_the_roles_apart_whatever_is_said(speaking):
    talk = start(games=50, channel="oracle", speaking=speaking)
    roles = talk.observe().buffer[:, :, -1, 1]
    assert (np.sort(roles, axis=1) == [0, 1]).all()
    assert {0, 1} == set(roles[:, 0])
    step(talk, *((4, 4) if speaking == "simultaneous" else (4, EOT)))
    assert (talk.observe().buffer[:, :, -1, 1] == roles).all()


def test_shuffled_speech_comes_from_finished_dialogues():
    talk = start(games=64, channel="shuffled")
    for actions in [(3, 3), (EOT, EOT), (MAIN, MAIN)]:
        step(talk, *actions)
    talk.reset()
    heard = []
    for _ in range(3):
        step(talk, 1, 1)
        assert (talk.observe().buffer[:, :, -1, 0] == 1).all()
        heard.append(np.unique(talk.observe().buffer[:, :, -1, 1]).tolist())
    assert heard == [[3], [5], [5]]  # after a dialogue's end, EOT


def test_shuffled_agents_of_one_game_never_hear_the_same_dialogue():
    talk = start(games=64, channel="shuffled", n_tokens=64)
    for g_says in (np.arange(64), np.full(64, 64), np.full(64, 65)):  # each dialogue by a token of its own
        talk.step(np.stack([g_says, g_says], axis=1))
    talk.reset()
    step(talk, 1, 1)
    heard = talk.observe().buffer[:, :, -1, 1]
    assert (heard[:, 0] != heard[:, 1]).all()


def test_a_shuffled_agent_hears_one_whole_dialogue_while_others_end():
    """Each dialogue has a token of its own, and games end at different times; heard is one token, then EOT."""
    games, rng = 64, np.random.default_rng(0)
    talk = start(games=games, channel="shuffled", n_tokens=126, max_rounds=12)
    own, length = np.arange(games) + 1, rng.integers(2, 12, games)
    heard: list[list[int]] = [[] for _ in range(games)]
    checked = 0
    for time in range(400):
        deciding, ending = talk.phase == ACT, talk.n_rounds == length - 1
        said = np.where(deciding, talk.rules.eot + 1, np.where(ending, talk.rules.eot, own))
        dialogues = talk.step(np.stack([said, said], axis=1)).dialogues
        for game in np.flatnonzero(~deciding):
            heard[game].append(int(talk._heard[game, 0, -1, 1]))
        for game in dialogues.game:
            if time > 100:
                tokens = [h for h in heard[game] if h != talk.rules.eot]
                assert len(set(tokens)) == 1
                assert heard[game] == (tokens + [talk.rules.eot] * 12)[: len(heard[game])]
                checked += 1
            heard[game], own[game], length[game] = [], rng.integers(126), rng.integers(2, 12)
        talk.reset(talk.over)
    assert checked > 1000


def test_shuffled_agents_hear_the_other_side_of_the_donor():
    talk = start(games=64, channel="shuffled")
    for actions in [(1, 3), (2, 4), (EOT, EOT), (MAIN, MAIN)]:
        step(talk, *actions)
    talk.reset()
    for heard in ((3, 1), (4, 2), (EOT, EOT)):
        step(talk, 0, 0)
        assert (talk.observe().buffer[:, :, -1, 1] == heard).all()


def test_decisions_without_talk_are_no_donors():
    talk = start(games=64, channel="shuffled")
    for actions in [(3, 3), (EOT, EOT), (MAIN, MAIN)]:
        step(talk, *actions)
    for _ in range(3):
        talk.reset()
        step(talk, MAIN, MAIN)  # silent
    talk.reset()
    step(talk, 1, 1)
    assert (talk.observe().buffer[:, :, -1, 1] == 3).all()


def test_long_dialogues_are_heard_to_their_end():
    talk = start(games=64, channel="shuffled", max_rounds=None)
    for t in range(40):
        step(talk, t % 5, t % 5)
    step(talk, EOT, EOT)
    step(talk, MAIN, MAIN)
    talk.reset()
    heard = []
    for _ in range(70):
        step(talk, 0, 0)
        heard.append(np.unique(talk.observe().buffer[:, :, -1, 1]).tolist())
    assert heard == [[t % 5] for t in range(40)] + [[EOT]] * 30


def test_a_single_game_hears_more_than_its_last_dialogue():
    talk = start(channel="shuffled")
    for actions in [*[(3, 3)] * 5, (EOT, EOT), (MAIN, MAIN)]:
        step(talk, *actions)
    heard_itself = 0
    for _ in range(20):
        talk.reset()
        heard = set()
        for _ in range(5):
            step(talk, 0, 0)
            heard |= {newest(talk, 0)[1], newest(talk, 1)[1]}
        heard_itself += heard == {3}
    assert heard_itself <= 2


def test_the_last_allowed_round_of_a_donor_is_heard():
    talk = start(games=64, channel="shuffled", max_rounds=4)
    for t in range(4):
        step(talk, t, t)
    step(talk, MAIN, MAIN)
    talk.reset()
    for t in range(4):
        step(talk, 4, 4)
        assert (talk.observe().buffer[:, :, -1, 1] == t).all()


def test_a_donor_that_has_ended_is_silent_for_good_while_longer_ones_arrive():
    """The donors of game 1 are of 32 rounds; meanwhile game 0 ends a talk of 40 rounds."""
    talk = start(games=2, channel="shuffled", max_rounds=None)
    for t in range(70):
        own = MAIN if talk.phase[0] == ACT else EOT if t == 40 else 3
        talk.step(np.array([[own, own], [0, 0]]))
        talk.reset(talk.over)
        if t >= 32:
            assert talk.observe().buffer[1, :, -1, 1].tolist() == [EOT, EOT]
    assert talk.n_rounds.tolist() == [28, 70]


def test_before_any_dialogue_has_ended_shuffled_speech_is_noise():
    talk = start(games=600, channel="shuffled")
    step(talk, 1, 1)
    heard = talk.observe().buffer[:, :, -1, 1]
    assert np.unique(heard).tolist() == [0, 1, 2, 3, 4, 5]
    assert 0.4 < (heard > 2).mean() < 0.6


def bank_of(tokens, agents, size):
    """A bank that was given dialogues of one round, in which all agents said the token."""
    bank = Shuffled(TalkRules(n_tokens=100, max_rounds=1), size, agents, np.random.default_rng(0))
    bank.bank = bank.bank[:size]
    for batch in tokens:
        said = np.repeat(np.array(batch, np.int8)[:, None, None], agents, axis=2)
        bank.finished(said, np.ones(len(batch), np.int64))
    return bank


@pytest.mark.parametrize("agents", [2, 3, 4])
def test_all_donors_of_a_game_differ_and_all_dialogues_are_donors(agents):
    drawn = bank_of([range(64)], agents, 64)._drawn(5000)
    assert drawn.shape == (5000, agents, 1, agents)
    donors = drawn[:, :, 0, 0]
    assert (np.diff(np.sort(donors, axis=1)) > 0).all()
    for agent in range(agents):
        shares = np.bincount(donors[:, agent], minlength=64) / 5000  # 1/64 each, ± 5 standard errors
        assert shares.min() > 0.0068
        assert shares.max() < 0.0245


def test_two_donors_meet_in_many_pairs():
    donors = bank_of([range(64)], 2, 64)._drawn(2000)[:, :, 0, 0].astype(int)
    assert len(np.unique((donors[:, 1] - donors[:, 0]) % 64)) > 25


def test_short_dialogues_of_the_bank_end_with_eot_where_longer_ones_join_them():
    bank = bank_of([[1, 2, 3]], 2, 4)
    bank.finished(np.full((1, 3, 2), 9, np.int8), np.array([3]))
    drawn = bank._drawn(500)
    assert np.unique(drawn.reshape(1000, 4, 2)[..., 0], axis=0).tolist() == [
        [1, 100, 100, 100],
        [2, 100, 100, 100],
        [3, 100, 100, 100],
        [9, 9, 9, 100],
    ]


def test_the_newest_dialogues_replace_the_oldest():
    bank = bank_of([[1, 2, 3], [4, 5, 6]], 2, 4)
    assert np.unique(bank._drawn(500)).tolist() == [3, 4, 5, 6]
    bank = bank_of([[1, 2, 3], [4, 5, 6], [7]], 2, 4)
    assert np.unique(bank._drawn(500)).tolist() == [4, 5, 6, 7]


def test_the_oracle_writes_the_role_into_the_columns_of_the_others_only():
    talk = start(games=20, channel="oracle")
    buffer = talk.observe().buffer
    assert (buffer[:, :, -1, 0] == -1).all()
    assert (buffer[:, :, :-1] == -1).all()


def test_roles_of_the_oracle_are_symbols():
    """Three agents, of which two share a role where there are but a token and EOT; with two tokens, none do."""
    talk = start(Stages, games=50, channel="oracle", n_tokens=1)
    assert (np.sort(talk.observe().buffer[:, :, -1, 1], axis=1) == [0, 0, 1]).all()
    talk = start(Stages, games=50, channel="oracle", n_tokens=2)
    assert (np.sort(talk.observe().buffer[:, :, -1, 1], axis=1) == [0, 1, 2]).all()


# -- more than two -----------------------------------------------------------------------------------------------


def test_three_agents_end_the_talk_only_together():
    talk = start(Stages)
    step(talk, EOT, EOT, 0)
    assert talk.phase.tolist() == [TALK]
    step(talk, EOT, EOT, EOT)
    assert talk.phase.tolist() == [ACT]


def test_the_columns_of_the_others_are_permuted_per_episode_and_agent():
    talk = start(Stages, games=200)
    step(talk, 0, 1, 2)
    first = talk.observe().buffer[:, :, -1]
    assert (first[..., 0] == [0, 1, 2]).all()  # own column first
    assert (np.sort(first, axis=2) == [0, 1, 2]).all()
    assert 0.35 < (first[:, 0, 1] == 1).mean() < 0.65  # a column is no identity
    assert 0.35 < ((first[:, 0, 1] == 1) == (first[:, 1, 1] == 0)).mean() < 0.65  # nor do agents share one order
    step(talk, 0, 1, 2)
    assert (talk.observe().buffer[:, :, -1] == first).all()  # the same for the whole episode
    talk.reset()
    step(talk, 0, 1, 2)
    assert (talk.observe().buffer[:, :, -1] != first).any()


def test_whoever_has_left_neither_talks_nor_keeps_the_others_talking():
    talk = start(lambda n, rng: Stages(n, rng, leaver=True))
    step(talk, 6, 6, 6)
    assert legal(talk, 2) == [EOT]
    step(talk, 1, 2, EOT)
    assert said(talk) == [[1, 2, -1]]
    step(talk, EOT, EOT, EOT)
    assert talk.phase.tolist() == [ACT]
    assert len(legal(talk, 2)) == 1
    result = step(talk, 7, 7, 6)
    assert result.over.tolist() == [True]
    assert result.dialogues.moves.tolist() == [[1, 1, -1]]


def test_a_reset_starts_the_game_itself_anew():
    talk = start(Stages)
    step(talk, 6, 6, 6)  # the first of two moves
    talk.reset()
    assert step(talk, 6, 6, 6).over.tolist() == [False]
    assert step(talk, 6, 6, 6).over.tolist() == [True]


class Limited(Stages):
    """The same, but a limit of its own stops it after the first move."""

    def play(self, moves, which):
        outcome = super().play(moves, which)
        return outcome._replace(truncated=~outcome.terminated)


def test_a_game_that_is_stopped_by_a_limit_is_over():
    talk = start(Limited)
    result = step(talk, 6, 6, 6)
    assert result.over.tolist() == result.dialogues.last.tolist() == [True]
    assert result.truncated.tolist() == [[True] * 3]
    assert result.terminated.tolist() == [[False] * 3]


class OneWay(Stages):
    """The same, but only agent 0 may take the second move."""

    def legal_moves(self):
        legal = super().legal_moves()
        legal[:, 1:, 1] = False
        return legal


def test_moves_that_the_game_forbids_are_masked():
    talk = start(OneWay)
    assert (legal(talk, 0), legal(talk, 1)) == (SYMBOLS + MOVES, [*SYMBOLS, 6])
    step(talk, EOT, EOT, EOT)
    assert (legal(talk, 0), legal(talk, 1)) == (MOVES, [6])


# -- many games, and mistakes ------------------------------------------------------------------------------------


def test_games_go_their_own_way():
    talk = start(games=3)
    talk.step(np.array([[MAIN, DETOUR], [1, 2], [EOT, EOT]]))
    assert talk.over.tolist() == [True, False, False]
    talk.reset(np.array([True, False, False]))
    assert talk.phase.tolist() == [OPEN, TALK, ACT]
    result = talk.step(np.array([[0, 0], [EOT, EOT], [MAIN, MAIN]]))
    assert talk.phase.tolist() == [TALK, ACT, OPEN]
    assert result.dialogues.game.tolist() == [2]
    assert result.dialogues.symbols.tolist() == [[5, 5]]


def test_a_step_after_the_end_or_before_the_start_is_refused():
    talk = Negotiation(CrossingGame(1, None), TalkRules(), np.random.default_rng(0))
    with pytest.raises(GameOver, match="reset it"):
        step(talk, 0, 0)
    talk.reset()
    step(talk, MAIN, MAIN)
    with pytest.raises(GameOver, match="game 0 has ended"):
        step(talk, 0, 0)


def test_an_illegal_action_is_named():
    talk = start()
    step(talk, 0, 0)
    with pytest.raises(IllegalAction, match=r"action 6 of agent 1 .* TALK: legal are \[0, 1, 2, 3, 4, 5\]"):
        step(talk, 0, MAIN)
    with pytest.raises(IllegalAction, match="shape"):
        talk.step(np.array([0, 0]))


def test_one_game_that_has_ended_is_enough_to_refuse_a_step():
    talk = start(games=3)
    talk.step(np.array([[0, 0], [MAIN, MAIN], [0, 0]]))
    with pytest.raises(GameOver, match="game 1 has ended"):
        step(talk, 0, 0)


@pytest.mark.parametrize("action", [-1, 8])
def test_an_action_that_does_not_exist_is_named(action):
    talk = start(games=2)
    with pytest.raises(IllegalAction, match=rf"^action {action} of agent 1 in game 1 is illegal in phase OPEN"):
        talk.step(np.array([[0, 0], [0, action]]))
    assert talk.n_rounds.tolist() == [0, 0]


def test_the_state_of_chance_can_be_kept_and_put_back():
    talk = start(channel="noisy", noise=1.0)
    state, heard = talk.state(), []
    for seed in range(2):
        talk = start(channel="noisy", noise=1.0, seed=seed)
        talk.restore(state)
        heard.append([])
        for _ in range(20):
            step(talk, 0, 0)
            heard[-1].append(newest(talk, 0))
    assert heard[0] == heard[1]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("n_tokens", 1),
        ("n_tokens", 126),
        ("n_tokens", np.int64(3)),
        ("max_rounds", 1),
        ("max_rounds", 32767),
        ("max_rounds", None),
        ("noise", 0),
        ("noise", 1),
        ("round_cost", 0),
        ("round_cost", 7.5),
        ("window", None),
        ("window", 1),
        ("window", 1024),
    ],
)
def test_options_up_to_their_limits_are_taken(option, value):
    assert getattr(TalkRules(**{option: value}), option) == value


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("n_tokens", True),
        ("n_tokens", None),
        ("max_rounds", 32768),
        ("max_rounds", False),
        ("max_rounds", 2.5),
        ("noise", -0.1),
        ("noise", float("nan")),
        ("round_cost", float("inf")),
        ("round_cost", float("nan")),
        ("window", 1025),
        ("window", True),
        ("n_tokens", 0),
        ("n_tokens", 127),
        ("n_tokens", "3"),
        ("max_rounds", 0),
        ("opening", "closed"),
        ("speaking", "loud"),
        ("order", "none"),
        ("channel", "tin"),
        ("noise", 1.5),
        ("noise", "0.5"),
        ("round_cost", None),
        ("round_cost", -1.0),
        ("window", 0),
        ("window", 2.5),
    ],
)
def test_a_wrong_option_is_named(option, value):
    with pytest.raises(ValueError, match=rf"^{option} .*{value}"):
        TalkRules(**{option: value})


# -- against the literature --------------------------------------------------------------------------------------

TALK_2022 = [  # the dialogues shown in the talk, and how they ended
    ([(4, 2), (5, 5)], True),
    ([(3, 0), (1, 5), (5, 5)], True),
    ([(3, 5), (5, 5)], True),
    ([(3, 1), (3, 2), (5, 0), (5, 5)], False),
    ([(3, 2), (5, 3), (5, 4), (2, 5), (5, 5)], True),
    ([(4, 3), (3, 1), (5, 5)], True),
]


@pytest.mark.parametrize(("dialogue", "success"), TALK_2022)
def test_the_dialogues_of_the_talk_replay(dialogue, success):
    env = NegotiationEnv(CrossingGame, render_mode="ansi")
    env.reset()
    for one, other in dialogue:
        env.step({"train_0": one, "train_1": other})
    _, rewards, terminated, _, _ = env.step({"train_0": MAIN, "train_1": DETOUR if success else MAIN})
    assert env.agents == []
    assert rewards == dict.fromkeys(("train_0", "train_1"), 1 if success else -1)
    assert terminated == {"train_0": True, "train_1": True}
    assert env.dialogue.symbols == tuple(dialogue)
    assert env.dialogue.success is success
    lines = env.render().splitlines()
    assert lines[0].split() == ["timestep", "train_0", "train_1"]
    table = [[int(cell) for cell in line.split()] for line in lines[1 : 1 + len(dialogue)]]
    assert table == [[t, *symbols] for t, symbols in enumerate(dialogue, start=1)]
    assert lines[-1] == f"outcome: {'success' if success else 'crash'}"


def test_the_best_symmetric_pair_always_parts_after_nine_quarters_of_a_round():
    """Say a random token until the tokens differ, then EOT; the larger yields: 1 / (1 - 1/5) + 1 = 2.25 rounds."""
    talk, rng = start(games=40_000, opening="talk", max_rounds=None), np.random.default_rng(1)
    n_rounds, success = np.zeros(40_000), np.zeros(40_000, np.bool_)
    waiting = np.ones(40_000, np.bool_)
    while waiting.any():
        own, other = np.moveaxis(talk.observe().buffer, -1, 0)  # each [B, N, W]
        differ = own[..., -1] != other[..., -1]
        symbols = np.where(differ, EOT, rng.integers(5, size=differ.shape))
        moves = np.where(own[..., -2] > other[..., -2], DETOUR, MAIN)
        result = talk.step(np.where(talk.phase[:, None] == ACT, moves, symbols))
        first = waiting[result.dialogues.game]
        games = result.dialogues.game[first]
        n_rounds[games], success[games] = result.dialogues.n_rounds[first], result.dialogues.success[first]
        waiting[games] = False
        talk.reset(talk.over)
    assert success.mean() == 1
    assert n_rounds.mean() == pytest.approx(2.25, abs=0.02)
