"""The matrix game: its rules against a second, plain version, mixed motives, and who speaks."""

from __future__ import annotations

import numpy as np
import pytest

from emcomm.config import Config
from emcomm.errors import BadInput
from emcomm.worlds import make_negotiation
from envs import BadOption, MatrixGame, Negotiation, TalkRules


def matrix(games: int = 300, seed: int = 0, **options: object) -> MatrixGame:
    game = MatrixGame(games, np.random.default_rng(seed), **options)  # type: ignore[arg-type]
    game.reset(np.ones(games, np.bool_))
    return game


@pytest.mark.parametrize(("n_moves", "alignment"), [(2, 0.0), (3, 1.0), (4, -0.5)])
def test_the_rules_against_a_plain_version(n_moves: int, alignment: float) -> None:
    game, rng = matrix(200, n_moves=n_moves, alignment=alignment), np.random.default_rng(1)
    payoffs = game.payoffs.copy()
    which = np.flatnonzero(rng.random(200) < 0.7)
    moves = rng.integers(n_moves, size=(len(which), 2))
    outcome = game.play(moves, which)
    for d, g in enumerate(which):
        one, other = moves[d]
        mine, theirs = payoffs[g]
        sums = {(i, j): mine[i, j] + theirs[i, j] for i in range(n_moves) for j in range(n_moves)}
        least, most = min(sums.values()), max(sums.values())
        assert outcome.rewards[d].tolist() == [mine[one, other], theirs[one, other]]
        assert outcome.success[d] == (max(sums, key=sums.__getitem__) == (one, other))
        assert outcome.score is not None
        assert outcome.score[d] == pytest.approx((sums[one, other] - least) / (most - least), abs=1e-6)
    assert outcome.terminated.all()
    assert not outcome.truncated.any()


def test_each_sees_its_own_payoffs_by_its_own_moves() -> None:
    game = matrix(1)
    game.payoffs[0] = [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    assert game.observe()[0].tolist() == [[1, 2, 3, 4, 5, 6, 7, 8], [5, 7, 6, 8, 1, 3, 2, 4]]


@pytest.mark.parametrize("alignment", [-1.0, -0.5, 0.0, 0.5, 1.0])
def test_alignment_is_the_correlation_of_the_payoffs(alignment: float) -> None:
    one, other = matrix(5000, alignment=alignment).payoffs.swapaxes(0, 1)
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] == pytest.approx(alignment, abs=0.03)
    assert other.std() == pytest.approx(1, abs=0.03)


def test_where_interests_are_opposed_all_sums_are_equal() -> None:
    outcome = matrix(50, alignment=-1.0).play(np.zeros((50, 2), int), np.arange(50))
    assert outcome.success.all()
    assert (outcome.score == 1).all()
    assert (outcome.rewards.sum(axis=1) == 0).all()


def test_one_message_each_or_from_one_side() -> None:
    for speakers, words, roles in (("both", [5, 5], 1), ("one", [5, 1], 2)):
        game = matrix(3, speakers=speakers)
        talk = Negotiation(game, TalkRules(**game.talk), np.random.default_rng(0))
        talk.reset()
        assert talk.mask()[0].sum(axis=1).tolist() == words  # the listener has a placeholder
        assert len(talk.declaration.roles) == roles
        talk.step(talk.mask().argmax(axis=2))
        assert (talk.phase == 2).all()
        assert not talk.cut.any()
        assert (talk.observe().buffer[:, 1, -1, 1] == 0).all()  # heard from agent 0
        assert (talk.observe().buffer[:, 0, -1, 1] == (0 if speakers == "both" else -1)).all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"n_moves": 1}, "n_moves must be from 2 to 32, not 1"),
        ({"alignment": 1.5}, "alignment is a correlation from -1 to 1, not 1.5"),
        ({"speakers": "none"}, "speakers must be both or one, not 'none'"),
    ],
)
def test_bad_options_are_named(options: dict, says: str) -> None:
    with pytest.raises(BadOption, match=says):
        matrix(1, **options)
    with pytest.raises(BadInput, match=r"n_moves|alignment|speakers"):
        make_negotiation(Config(env="emcomm/matrix-v1", game_options=options), 1, np.random.SeedSequence(0))
