"""The matrix games of Lowe et al. 2019: what agents say goes with what they do, and nobody listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.data.decisions import NotApplicable
from analysis.data.runs import LoadedRun
from analysis.explanation.sentence import listed
from analysis.metrics.seed_aggregation import Interval
from analysis.metrics.speaker_consistency import consistency
from analysis.metrics.symbol_information import pointwise
from analysis.report.study import QUICK, Study
from emcomm.algorithms.a3c import a3c
from emcomm.algorithms.interface import Gradient
from emcomm.config import Config
from emcomm.games import with_talk
from emcomm.networks.policy import Policy
from emcomm.rollout import Trajectory
from envs.game import Ints
from experiments.experiment import Conclusion, Results, with_rules
from experiments.measures import evaluation_of, heeded, played_under
from experiments.replication import Paper, Published, Replication, Verdict
from experiments.running import main
from experiments.writing import BLUE, ORANGE, mean_of, number, panels

SCRAMBLED, TENTH = ", scrambled", ", words a tenth"
SIZES = (2, 4, 8)
PUBLISHED = (0.19, 0.54)
LEAST = 0.05
"""A move of which the talk decides less is not led by it, and one that shares less with the symbol is not told by it
(bits)."""


BATCH = 64
"""Games over which the authors' code counts, in nats, before it averages (games)."""


def words_count_a_tenth(
    policy: Policy, played: Trajectory, again: Callable[[], Trajectory], config: Config, entropy_bonus: float
) -> Gradient:
    """A3C in which the return teaches words a tenth of what it teaches moves, as in the authors' code."""
    log_prob = played.log_prob * (1 - 0.9 * played.speech)
    return a3c(policy, played._replace(log_prob=log_prob), again, config, entropy_bonus)


def in_batches(symbols: Ints, moves: Ints) -> tuple[float, float]:
    """Speaker consistency as the authors' code counts it, and the same of moves that are permuted (nats).

    The mutual information of `symbols` and `moves` `[D]` within each batch of 64 games, mean over the batches: a small
    batch shares something by chance alone.

    >>> says = np.arange(6400) % 4
    >>> [round(one, 3) for one in in_batches(says, says % 2)]
    [0.693, 0.025]
    """
    permuted = np.random.default_rng(0).permutation(moves)
    starts = range(0, len(moves) - BATCH + 1, BATCH)
    own, null = (
        float(np.mean([pointwise(symbols[i : i + BATCH], of[i : i + BATCH]).mean() for i in starts])) * np.log(2)
        for of in (moves, permuted)
    )
    return float(own), float(null)


def measure(run: LoadedRun, quick: bool) -> dict[str, Any]:
    """Speaker consistency, as the authors count it and otherwise, and the causal influence of what is heard."""
    if run.config.rules.channel == "off":
        return {}
    study = Study(run, replace(QUICK, dialogues=1_000 if quick else 10_000))
    fixed = run.config.rules.closing == "fixed"
    try:
        of_each = [consistency(who, study.language, study.game, nulls=9, fixed=fixed) for who in study.utterances]
        found = [one for of in of_each for one in of if one.own]
    except NotApplicable:
        found = []
    table = evaluation_of(run)
    said, done = table.symbols.astype(int), table.moves.astype(int)  # one round each
    batches = [in_batches(said[:, agent], done[:, agent]) for agent in range(said.shape[1])]
    means = {
        "consistency_nats": [own for own, _ in batches],
        "consistency_nats_null": [null for _, null in batches],
        "consistency_bits": [one.bits.value for one in found],
        "consistency_null": [one.bits.null for one in found],
        "consistency_jaques": [one.jaques for one in found],
        "consistency_jaques_null": [one.jaques_null for one in found],
    }
    figures = {name: float(np.mean(values)) if values else float("nan") for name, values in means.items()}
    return {**figures, **heeded(run), **played_under(run, quick)}


class Found(NamedTuple):
    """What of the claim holds in games of one size, by intervals over seeds; None: the seeds do not settle it."""

    consistent: bool | None
    """Whether a symbol shares at least `LEAST` more with its speaker's move than by chance."""
    heeded: bool | None
    """Whether what is heard decides at least `LEAST` of the move."""
    within: bool
    """The consistency, counted as the authors do, has its mean in the published range."""

    @property
    def claimed(self) -> bool:
        """Agents say what they do, and nobody listens."""
        return self.consistent is True and self.heeded is False

    def __str__(self) -> str:
        said = {True: "consistent", False: "not consistent", None: "consistency open"}[self.consistent]
        return f"{said}, {({True: 'heeded', False: 'hardly heeded', None: 'heeding open'})[self.heeded]}"


def _more_than_least(bits: Interval) -> bool | None:
    return True if bits.low >= LEAST else False if bits.high < LEAST else None


def _consistent(results: Results, condition: str) -> bool | None:
    own = results.of(condition)
    return _more_than_least(mean_of(own.consistency_bits - own.consistency_null))


def found_in(results: Results) -> dict[str, Found]:
    """What of the claim holds, by the size of the game."""
    return {
        size: Found(
            _consistent(results, size),
            _more_than_least(results.mean(size, "heeded_bits")),
            PUBLISHED[0] <= results.mean(size, "consistency_nats").value <= PUBLISHED[1],
        )
        for size in map(_size, SIZES)
    }


def judge(results: Results) -> Verdict:
    """High consistency where the messages are heard and where they are scrambled, and influence at its floor."""
    found, stays = found_in(results), _consistent(results, _size(2) + SCRAMBLED)
    figures = "; ".join(
        f"{size}: speaker consistency {_text(results, size, 'consistency_nats', 3)} nats as the authors count it, of "
        f"which chance alone gives {_text(results, size, 'consistency_nats_null', 3)}, influence "
        f"{_text(results, size, 'heeded_bits', 3)} bits"
        for size in found
    )
    figures += f"; 2 × 2 with messages that are scrambled in training: {_scrambled(results, 'consistency_nats')} nats"
    if stays and all(one.claimed and one.within for one in found.values()):
        why = "symbols go with moves because one network makes both, not because anybody listens"
        return Verdict("reproduced", f"{figures}. In 2 × 2 games also where nothing can be heard: {why}.")
    unheeded = [size for size, one in found.items() if one.claimed]
    reasons = [
        *([f"consistency that is not heeded is found in {listed(unheeded)} games"] if unheeded else []),
        *(f"{size}: {reason}" for size, one in found.items() for reason in _reasons(results, size, one)),
        *([] if stays else [f"2 × 2, scrambled: {'open' if stays is None else 'not'} consistent"]),
    ]
    some = any(one.consistent and one.heeded is not True for one in found.values())
    told = "; ".join(reasons)
    return Verdict("partly" if some else "not", f"{figures}. {told[:1].upper()}{told[1:]}.")


def _reasons(results: Results, size: str, one: Found) -> list[str]:
    """What of the claim does not hold in games of one size."""
    own = results.of(size)
    listens = own.heeded_bits >= LEAST
    lost = (own.score - own.score_shuffled)[listens]
    control = (
        f", and each of them loses by other games' words ({lost.mean():.3f} on average)"
        if listens.any() and (lost > 0).all()
        else ", though other games' words do not cost each of them anything"
        if listens.any()
        else ""
    )
    inside = own.consistency_nats.between(*PUBLISHED).sum()
    return [
        *([] if one.consistent else [f"{_shares(one.consistent)} {LEAST} bits with the move"]),
        *([] if one.within else [
            f"the mean is outside the published range, {inside} of {len(own)} seeds are inside"
        ]),
        *([] if one.heeded is False else [f"{listens.sum()} of {len(own)} seeds listen{control}"]),
    ]  # fmt: skip


def _shares(consistent: bool | None) -> str:
    return "a symbol shares less than" if consistent is False else "it is open whether a symbol shares"


def _answer(found: dict[str, Found]) -> str:
    if all(one.claimed for one in found.values()):
        return "No: what is said goes with what is done, and is hardly heeded."
    said: dict[str, list[str]] = {}
    for size, one in found.items():
        said.setdefault(str(one), []).append(size)
    return "By size of the game: " + "; ".join(f"{listed(sizes)}: {what}" for what, sizes in said.items()) + "."


def _scrambled(results: Results, column: str) -> str:
    return _text(results, _size(2) + SCRAMBLED, column, 3)


def conclude(results: Results) -> Conclusion:
    """Consistency beside influence."""
    rows = results.rows
    talks = rows[rows.consistency_bits.notna()]
    figure, (axes,) = panels(1, 11.5, 4.6)
    shown = list(talks.condition.unique())
    for i, condition in enumerate(shown):
        own = talks[talks.condition == condition]
        for column, colour, shift, label in (
            ("consistency_bits", BLUE, -0.12, "said, with the own move (speaker consistency)"),
            ("heeded_bits", ORANGE, 0.12, "heard, on the move (causal influence)"),
        ):
            axes.plot([i + shift] * len(own), own[column], "o", color=colour, alpha=0.7, label=label if not i else None)
    axes.set_xticks(range(len(shown)), shown, rotation=20)
    axes.set(ylabel="bits", ylim=(0, None))
    axes.legend(frameon=False)
    two = _size(2)
    silent = results.mean(f"{two}, no talk", "score")
    gain = mean_of(_paired(rows, two, f"{two}, no talk"))
    cause = ": it comes from one network that makes both" if _consistent(results, two + SCRAMBLED) else ""

    def each(column: str, digits: int = 3, condition: str = "") -> str:
        return ", ".join(_text(results, _size(size) + condition, column, digits) for size in SIZES)

    return Conclusion(
        answer=_answer(found_in(results)),
        key=f"consistency {each('consistency_nats', 2)} nats, influence {each('heeded_bits')} bits",
        headline=f"In games of {', '.join(map(str, SIZES))} moves a symbol shares {each('consistency_bits', 2)} bits "
        f"with its speaker's move (null {each('consistency_null')}); what is heard decides {each('heeded_bits')} bits "
        "of a move.",
        findings=f"**Counting bias.** Counted in batches of {BATCH} games, as in the authors' code, the consistency is "
        f"{each('consistency_nats', 2)} nats; with the moves permuted, where nothing is shared, the same count gives "
        f"{each('consistency_nats_null', 2)}. Where the return teaches words a tenth of what it teaches moves, as in "
        f"that code, it is {each('consistency_nats', 2, TENTH)}, and with the moves permuted "
        f"{each('consistency_nats_null', 2, TENTH)}. **What is learned.** With messages of other games in training, "
        "where nothing can be learned from what is heard, the symbol of 2 × 2 games shares "
        f"{_scrambled(results, 'consistency_bits')} bits with the move{cause}. Talk changes the score of 2 × 2 games "
        f"by {number(gain, 3)} against no talk at all ({number(silent, 3)}); played with other games' words the "
        f"trained networks score {_text(results, two, 'score_shuffled', 3)}, with their own "
        f"{_text(results, two, 'score', 3)}. "
        "The score of Jaques et al. is high where one symbol or move prevails, so it stands beside the same score of "
        "permuted moves.",
        table=_table(rows),
        figure=figure,
    )


def _paired(rows: pd.DataFrame, one: str, other: str) -> pd.Series:
    wide = rows.pivot_table(index="seed", columns="condition", values="score")
    return wide[one] - wide[other]


def _table(rows: pd.DataFrame) -> pd.DataFrame:
    lines = []
    for condition, own in rows.groupby("condition", sort=False):
        line = {"condition": condition, "seeds": len(own), "score": number(mean_of(own.score), 3)}
        for name, column, digits in (
            ("consistency (nats, as the authors)", "consistency_nats", 3), ("permuted", "consistency_nats_null", 3),
            ("consistency (bits)", "consistency_bits", 3), ("null (bits)", "consistency_null", 3),
            ("Jaques's score", "consistency_jaques", 2), ("null of that score", "consistency_jaques_null", 2),
            ("influence (bits)", "heeded_bits", 3), ("made deaf", "heeded_null", 3),
            ("score with other games' words", "score_shuffled", 3),
        ):  # fmt: skip
            line[name] = number(mean_of(own[column]), digits)
        lines.append(line)
    return pd.DataFrame(lines)


def _size(moves: int) -> str:
    return f"{moves} × {moves}"


def _text(results: Results, condition: str, column: str, digits: int = 2) -> str:
    return number(results.mean(condition, column), digits)


def _ours(condition: str, column: str, digits: int = 2) -> Callable[[Results], str]:
    return lambda results: _text(results, condition, column, digits)


def _games(moves: int) -> Config:
    config = with_talk(
        Config(
            env="emcomm/matrix-v1", game_options={"n_moves": moves}, workers=0, evaluation_games=20_000,
            policies="separate", torso="window", hidden_size=20 + 10 * moves,
            episodes=250_000, games=BATCH, unroll=2, learning_rate=5e-3, discount=1.0, trace=1.0, value_weight=0.1,
            entropy_bonus=0.0033, entropy_until=0.0, entropy_final=0.0033,
        )
    )  # fmt: skip
    return with_rules(config, n_tokens=moves + 2, window=1)


def _a_tenth(config: Config) -> Config:
    return replace(config, algorithm="experiments.replications.lowe_2019:words_count_a_tenth")


EXPERIMENT = Replication(
    question="Does high speaker consistency show that agents communicate?",
    expected="Speaker consistency of 0.19 to 0.54 while the causal influence of communication stays at its floor: high "
    "consistency, no listening. It stays where messages are scrambled.",
    paper=Paper(
        "Lowe et al.", 2019, "On the pitfalls of measuring emergent communication", "https://arxiv.org/abs/1903.05168"
    ),
    game="Two agents see new random payoffs of both in every episode, say one symbol each at the same moment, and "
    "move. As in the authors' code: a network for each agent, whose heads for words and moves share their layers; two "
    "symbols more than moves; 250,000 games in batches of 64; the learning rate; the weights of critic and entropy "
    "(their payoffs have three times the spread); and the measure: nats, counted within batches of 64. Done "
    "otherwise: A3C with one hidden layer; a learning rate that falls to 0; both speak at once, one of its options, "
    "where its default is turns; the return teaches words as much as moves, and a tenth of that, as there, in "
    "conditions of their own.",
    published=(
        *(
            Published(
                _size(size),
                "speaker consistency (nats)",
                "0.19 – 0.54 over all games",
                "quoted; place not at hand",
                _ours(_size(size), "consistency_nats"),
                f"{np.log(size):.2f} nats",
            )
            for size in SIZES
        ),
        *(
            Published(
                _size(size),
                "causal influence (bits)",
                "its floor",
                "claim only",
                _ours(_size(size), "heeded_bits", 3),
                "0 bits need be heeded",
            )
            for size in SIZES
        ),
        Published(
            _size(2) + SCRAMBLED,
            "speaker consistency (nats)",
            "stays",
            "claim only",
            _ours(_size(2) + SCRAMBLED, "consistency_nats"),
        ),
    ),
    conditions={
        **{_size(n): _games(n) for n in SIZES},
        _size(2) + SCRAMBLED: with_rules(_games(2), channel="shuffled"),
        f"{_size(2)}, no talk": with_rules(_games(2), channel="off"),
        **{_size(n) + TENTH: _a_tenth(_games(n)) for n in SIZES},
    },
    measure=measure,
    seeds=10,
    judge=judge,
    conclude=conclude,
)

if __name__ == "__main__":
    main(__file__)
