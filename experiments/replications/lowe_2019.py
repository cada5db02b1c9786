"""The matrix games of Lowe et al. 2019: what agents say goes with what they do, and nobody listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.data.decisions import NotApplicable
from analysis.data.runs import LoadedRun
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
SIZES = (2, 4)
PUBLISHED = (0.19, 0.54)
HEEDED = 0.05
"""A move of which the talk decides less is not led by it (bits)."""


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


def _of(results: Results, condition: str, column: str) -> Interval:
    return mean_of(results.rows[column][results.rows.condition == condition])


class Found(NamedTuple):
    """What of the claim holds, by intervals over seeds."""

    consistent: bool
    """The consistency lies above its null."""
    within: bool
    """The mean lies in the published range."""
    heeded: bool | None
    """Whether the talk is heeded; None where the seeds do not settle it."""
    stays: bool
    """Above its null also where the messages were scrambled in training."""


def found_in(results: Results) -> Found:
    """What of the claim holds in 2 × 2 games."""
    above = {
        name: mean_of(own.consistency_bits - own.consistency_null).low > 0
        for name, own in results.rows.groupby("condition")
    }
    heard = _of(results, _size(2), "heeded_bits")
    heeded = False if heard.high < HEEDED else True if heard.low > 0 and heard.value >= HEEDED else None
    within = PUBLISHED[0] <= _of(results, _size(2), "consistency_nats").value <= PUBLISHED[1]
    return Found(above[_size(2)], within, heeded, above[_size(2) + SCRAMBLED])


def judge(results: Results) -> Verdict:
    """High consistency where the messages are heard and where they are scrambled, and influence at its floor."""
    found = found_in(results)
    columns = (_size(2), "nats"), (_size(2), "nats_null"), (_size(2) + SCRAMBLED, "nats")
    said, null, scrambled = (number(_of(results, name, f"consistency_{unit}"), 3) for name, unit in columns)
    figures = (
        f"Speaker consistency {said} nats as the authors count it (permuted {null}), with scrambled messages in "
        f"training {scrambled}; influence of what is heard {number(_of(results, _size(2), 'heeded_bits'), 3)} bits"
    )
    if found == Found(True, True, False, True):
        why = "symbols go with moves because one network makes both, not because anybody listens"
        return Verdict("reproduced", f"{figures}: {why}.")
    seeds = results.rows.consistency_nats[results.rows.condition == _size(2)]
    reasons = [
        *([] if found.consistent else ["the consistency is not above its null, by the interval over seeds"]),
        *([] if found.within else [
            f"the mean consistency lies outside 0.19 to 0.54, and inside in {seeds.between(*PUBLISHED).sum()} of "
            f"{len(seeds)} seeds"
        ]),
        *([] if found.stays else ["with scrambled messages it is not above its null"]),
        *([] if found.heeded is False else ["the talk is heeded"] if found.heeded else [
            "the seeds do not settle whether the talk is heeded"
        ]),
    ]  # fmt: skip
    holds = found.consistent and found.stays and found.heeded is False
    claim = "; what is claimed holds all the same" if holds else ""
    told = f"{figures}. {'; '.join(reasons).capitalize()}{claim}."
    return Verdict("partly" if found.consistent or found.heeded is False else "not", told)


def _answer(found: Found) -> str:
    if not found.consistent:
        return "What is said does not go with what is done beyond chance here."
    return "What is said goes with what is done, " + {
        False: "and is hardly heeded.", True: "and is heeded.", None: "and whether it is heeded is open."
    }[found.heeded]  # fmt: skip


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
    axes.set_xticks(range(len(shown)), shown)
    axes.set(ylabel="bits", ylim=(0, None))
    axes.legend(frameon=False)
    two = _size(2)
    silent = _of(results, f"{two}, no talk", "score")
    gain = mean_of(_paired(rows, two, f"{two}, no talk"))
    return Conclusion(
        answer=_answer(found_in(results)),
        key=f"consistency {number(_of(results, two, 'consistency_nats'))} nats, influence "
        f"{number(_of(results, two, 'heeded_bits'), 3)} bits",
        headline=f"In 2 × 2 games a symbol shares {number(_of(results, two, 'consistency_bits'))} bits with its "
        f"speaker's move (null {number(_of(results, two, 'consistency_null'), 3)}); what is heard decides "
        f"{number(_of(results, two, 'heeded_bits'), 3)} bits of a move.",
        findings=f"With messages of other games in training, where nothing can be learned from what is heard, the "
        f"symbol still shares {number(_of(results, two + SCRAMBLED, 'consistency_bits'))} bits with the move: it comes "
        f"from one network that makes both. Talk changes the score by {number(gain, 3)} against no talk at all "
        f"({number(silent, 3)}); played with other games' words the trained networks score "
        f"{number(_of(results, two, 'score_shuffled'), 3)}, with their own {number(_of(results, two, 'score'), 3)}. "
        f"Where the return teaches words a tenth of what it teaches moves, as in the authors' code, the consistency is "
        f"{number(_of(results, two + TENTH, 'consistency_nats'))} nats, of which a batch of 64 games gives "
        f"{number(_of(results, two + TENTH, 'consistency_nats_null'))} by chance alone; in 4 × 4 games "
        f"{number(_of(results, _size(4) + TENTH, 'consistency_nats'))}, of which "
        f"{number(_of(results, _size(4) + TENTH, 'consistency_nats_null'))} by chance. "
        f"The score of Jaques et al. is high where one symbol prevails, so it stands beside the same score of permuted "
        f"moves; with two moves and four symbols its floor is not 0.",
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


def _text(condition: str, column: str, digits: int = 2) -> Any:
    return lambda results: number(_of(results, condition, column), digits)


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
    "where its default is turns; the return teaches words as much as moves, and a tenth of that, as there, in two "
    "conditions of their own.",
    published=(
        Published(
            _size(2),
            "speaker consistency (nats)",
            "0.19 – 0.54",
            "quoted; place not at hand",
            _text(_size(2), "consistency_nats"),
            "0.69 nats",
        ),
        Published(
            _size(2),
            "causal influence",
            "its floor",
            "claim only",
            _text(_size(2), "heeded_bits", 3),
            "0 bits need be heeded",
        ),
        Published(
            _size(2) + SCRAMBLED,
            "speaker consistency (nats)",
            "stays",
            "claim only",
            _text(_size(2) + SCRAMBLED, "consistency_nats"),
        ),
    ),
    conditions={
        **{_size(n): _games(n) for n in SIZES},
        _size(2) + SCRAMBLED: with_rules(_games(2), channel="shuffled"),
        f"{_size(2)}, no talk": with_rules(_games(2), channel="off"),
        **{_size(n) + TENTH: _a_tenth(_games(n)) for n in SIZES},
    },
    measure=measure,
    judge=judge,
    conclude=conclude,
)

if __name__ == "__main__":
    main(__file__)
