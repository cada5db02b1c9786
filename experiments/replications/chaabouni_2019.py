"""Do networks give frequent objects short messages? Signalling with Zipf's frequencies and messages of free length.

Human languages have shorter words for what is said more often (Zipf's law of abbreviation). The paper finds the
reverse in networks, unless length has a price.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from analysis.data.runs import LoadedRun
from analysis.explanation.sentence import listed
from analysis.metrics.seed_aggregation import Interval
from emcomm.config import Config
from emcomm.games import with_talk
from experiments.experiment import Conclusion, Results, with_rules
from experiments.measures import evaluation_of, under_channels
from experiments.replication import Paper, Published, Replication, Verdict
from experiments.running import main
from experiments.writing import BLUE, GREEN, GREY, ORANGE, PURPLE, mean_of, number, panels, percent

STATES, LONGEST = 8, 5
FEW, MANY = 3, 40
"""Tokens, besides EOT: what an untrained speaker says is short with few, and nearly as long as allowed with many."""
PAIRS = {FEW: ("no price", "price 0.1"), MANY: ("no price, 40 tokens", "price 0.1, 40 tokens")}
"""The condition without a price and the one with it, by the number of tokens."""
FREQUENCY = 1 / np.arange(1, STATES + 1) / (1 / np.arange(1, STATES + 1)).sum()
"""How often each state is drawn."""
COLOURS = dict(zip(itertools.chain(*PAIRS.values()), (BLUE, GREEN, PURPLE, ORANGE), strict=True))
EPISODES = 200_000
LEARNED = 0.9
"""Success from which a seed is looked at: lengths of messages that are not understood mean nothing."""
LEAST = 3
"""Seeds of each condition that a verdict on lengths needs."""
NEITHER = "neither"
ALIKE = 1
"""Decimals of a round to which the lengths of two states are compared: smaller differences are ties."""


def measure(run: LoadedRun, quick: bool) -> dict[str, Any]:
    """Mean length by state, its rank correlation with the state's rank, and the channel controls.

    States are numbered by frequency, the most frequent first: a positive correlation is the law of abbreviation.
    """
    table = evaluation_of(run)
    state = table.private[:, 0, 0].astype(int)
    count = np.bincount(state, minlength=STATES)
    lengths = np.bincount(state, table.n_rounds, STATES) / np.maximum(count, 1)
    compared = lengths.round(ALIKE)
    correlation = float(spearmanr(np.arange(STATES), compared).statistic) if np.ptp(compared) > 0 else 0.0
    return {
        "lengths": lengths.round(4).tolist(), "correlation": correlation,
        "told": int((np.bincount(state, table.success, STATES) > count / 2).sum()),
        "length_of_token": float(table.n_rounds.mean()), "length_of_type": float(lengths.mean()),
        **under_channels(run, quick, ("open", "constant", "shuffled"), 5_000),
    }  # fmt: skip


def shortest_lengths(states: int = STATES, tokens: int = FEW, longest: int = LONGEST) -> np.ndarray:
    """`[S]` rounds of the messages of a code that gives the most frequent states the shortest ones, its EOT included.

    A message of k tokens takes k + 1 rounds, or `longest` where it is cut there.

    >>> shortest_lengths(7, 2, 3).tolist()
    [1, 2, 2, 3, 3, 3, 3]
    """
    tokens_said = np.repeat(np.arange(longest + 1), tokens ** np.arange(longest + 1))[:states]
    return np.minimum(tokens_said + 1, longest)


def untrained_length(tokens: int, longest: int = LONGEST) -> float:
    """Rounds of a message whose every symbol is drawn evenly from the tokens and EOT (mean).

    >>> untrained_length(1, 2), round(untrained_length(40), 2)
    (1.5, 4.76)
    """
    goes_on = tokens / (tokens + 1)
    return sum(goes_on**said for said in range(longest))


def _learned(results: Results, condition: str) -> pd.DataFrame:
    """The seeds of a condition that signal well enough."""
    return results.of(condition).query("under_open >= @LEARNED")


def _correlation(condition: str) -> Callable[[Results], str]:
    def said(results: Results) -> str:
        own = _learned(results, condition)
        return f"{number(mean_of(own.correlation, bounds=(-1, 1)))}, {len(own)} of {len(results.of(condition))} seeds"

    return said


class Lengths(NamedTuple):
    """What a number of tokens shows."""

    tokens: int
    free: Interval
    """Rank correlation of a state's rank and its message's length without a price."""
    priced: Interval
    """The same with a price."""

    @property
    def longer(self) -> bool:
        """Frequent states get longer messages without a price: the first half of the claim."""
        return self.free.high < 0

    @property
    def shorter(self) -> bool:
        """They get shorter ones with a price: the second half."""
        return self.priced.low > 0

    def text(self) -> str:
        return f"{number(self.free)} without a price and {number(self.priced)} with one ({self.tokens} tokens)"


def _lengths(results: Results) -> list[Lengths]:
    """By the number of tokens, where enough seeds of both conditions tell all states."""
    return [
        Lengths(tokens, *(mean_of(_learned(results, name).correlation, bounds=(-1, 1)) for name in pair))
        for tokens, pair in PAIRS.items()
        if min(len(_learned(results, name)) for name in pair) >= LEAST
    ]


def judge(results: Results) -> Verdict:
    """Whether the correlation is negative without a price and positive with one, by intervals over seeds."""
    found = _lengths(results)
    if not found:
        return Verdict("not", _why_not(results))
    said = (
        "the rank correlation of a state's rank and its message's length is "
        f"{listed([lengths.text() for lengths in found])}. {_by_chance(results)}"
    )
    if any(lengths.longer and lengths.shorter for lengths in found):
        return Verdict("reproduced", f"Both halves: {said}")
    if any(lengths.longer for lengths in found):
        return Verdict("partly", f"Frequent states get longer messages, but the price does not reverse it: {said}")
    if any(lengths.shorter for lengths in found):
        without = " and ".join(_without(lengths) for lengths in found if lengths.shorter)
        return Verdict("partly", f"With a price frequent states get shorter messages, but {without}: {said}")
    return Verdict("not", f"Neither half shows: {said}")


def _without(lengths: Lengths) -> str:
    way = "they do so, too" if lengths.free.low > 0 else "their lengths go neither way beyond chance"
    return f"without one ({lengths.tokens} tokens) {way}"


def _by_chance(results: Results) -> str:
    """The control: what the number of tokens alone does to the lengths."""
    lengths = {
        tokens: mean_of(results.of(free).length_of_type, bounds=(1, LONGEST)) for tokens, (free, _) in PAIRS.items()
    }
    parts = [
        f"with {tokens} tokens {untrained_length(tokens):.1f} rounds in a speaker that is not trained and "
        f"{number(length)} after training"
        for tokens, length in lengths.items()
    ]
    full = [str(tokens) for tokens, length in lengths.items() if length.low > LONGEST - 0.05]
    return (
        "The control is the number of tokens, which sets how likely EOT is at first. A message takes, in the mean of "
        f"the states and without a price, {listed(parts)}; {LONGEST} are allowed."
        + (f" So with {listed(full)} tokens no state's message has room to be longer than another's." if full else "")
    )


def _answer(results: Results) -> str:
    found = _lengths(results)
    if not found:
        return "Not decided: too few networks tell all states."
    if all(_way(one) == NEITHER for lengths in found for one in (lengths.free, lengths.priced)):
        return "No difference beyond chance is shown between the lengths for frequent and for rare states."
    said = [f"{_way(one.free)} without a price and {_way(one.priced)} with one ({one.tokens} tokens)" for one in found]
    return f"Frequent states get messages that are {'; '.join(said)}."


def _way(one: Interval) -> str:
    return "longer" if one.high < 0 else "shorter" if one.low > 0 else NEITHER


def _why_not(results: Results) -> str:
    """What the seeds do that do not tell all states, by the control that takes the tokens away."""
    rows = results.rows
    own = {name: rows[rows.condition == name] for name in CONDITIONS}
    learned = listed([f"{len(_learned(results, name))} of {len(own[name])} ({name})" for name in CONDITIONS])
    told = listed([number(mean_of(own[name].told, bounds=(0, STATES)), 1) for name in CONDITIONS])
    left = listed([percent(mean_of(own[name].under_constant), 1) for name in CONDITIONS])
    whole = listed([percent(mean_of(own[name].under_open), 1) for name in CONDITIONS])
    by_length = " So a part of what is told lies in when the message ends: there its length is the word."
    return (
        f"After {rows.episodes.max():,} episodes too few seeds succeed in {100 * LEARNED:.0f} % or more: {learned}. "
        f"They tell {told} of the {STATES} states. With every token replaced by token 0 they still succeed "
        f"in {left} instead of {whole}; who always names the most frequent state, in {100 * FREQUENCY[0]:.1f} %."
        + (by_length if mean_of(own[PAIRS[FEW][0]].under_constant).low > FREQUENCY[0] else "")
    )


def conclude(results: Results) -> Conclusion:
    """Lengths by frequency, with a price and without."""
    figure, (left, right) = panels(2, 7.4)
    ranks = np.arange(1, STATES + 1)
    rows = {name: results.of(name) for name in CONDITIONS}
    for name, own in rows.items():
        for lengths in own.lengths:
            left.plot(ranks, lengths, color=COLOURS[name], lw=0.6, alpha=0.3)
        left.plot(ranks, np.mean([*own.lengths], axis=0), color=COLOURS[name], lw=2.4, label=name)
    left.plot(ranks, shortest_lengths(), color=GREY, lw=1.5, ls="--", label=f"shortest code, {FEW} tokens")
    for tokens, (free, _) in PAIRS.items():
        left.axhline(untrained_length(tokens), color=COLOURS[free], lw=1, ls=":", label=f"untrained, {tokens} tokens")
    left.set(
        xlabel="rank of the state, the most frequent first", ylabel="rounds of its message", ylim=(0, LONGEST + 0.3)
    )
    left.legend(frameon=False, fontsize=7.5, loc="lower right")
    for place, name in enumerate(CONDITIONS):
        own, middle = rows[name], mean_of(_learned(results, name).correlation, bounds=(-1, 1))
        right.plot([place, place], [middle.low, middle.high], color=COLOURS[name], lw=9, alpha=0.25)
        for correlation, success in zip(own.correlation, own.under_open, strict=True):
            filled = "full" if success >= LEARNED else "none"
            right.plot(place, correlation, "o", color=COLOURS[name], ms=5, fillstyle=filled)
    right.axhline(0, color=GREY, ls=":")
    right.set_xticks(range(len(CONDITIONS)), [name.replace(", ", ",\n") for name in CONDITIONS], fontsize=8)
    right.set(ylabel="rank correlation, rank and length", ylim=(-1.05, 1.05), xlim=(-0.5, len(CONDITIONS) - 0.5))
    right.set_title(f"hollow: below {100 * LEARNED:.0f} % success", fontsize=10)
    lengths = {name: number(mean_of(rows[name].length_of_token, bounds=(1, LONGEST))) for name in CONDITIONS}
    shuffled = {name: percent(mean_of(rows[name].under_shuffled), 1) for name in CONDITIONS}
    found = _lengths(results)
    told = number(mean_of(rows[PAIRS[FEW][0]].told, bounds=(0, STATES)), 1)
    return Conclusion(
        answer=_answer(results),
        key="correlation " + "; ".join(f"{number(one.free)}, with a price {number(one.priced)}" for one in found)
        if found
        else f"{told} of {STATES} states told",
        headline="The rank correlation of a state's rank and the length of its message is "
        f"{listed([one.text() for one in found])}; positive is the law of abbreviation. {_by_chance(results)}"
        if found
        else f"The networks tell {told} of {STATES} states without a price: too few to judge the lengths of rare ones.",
        findings="Messages take "
        + ", ".join(f"{length} rounds ({name})" for name, length in lengths.items())
        + f" on average over games; the shortest code with {FEW} tokens would take "
        f"{FREQUENCY @ shortest_lengths():.2f}. With the messages of other games the same networks succeed in "
        + ", ".join(f"{success} ({name})" for name, success in shuffled.items())
        + f"; who always names the most frequent state succeeds in {100 * FREQUENCY[0]:.1f} %.",
        table=_table(results),
        figure=figure,
    )


def _table(results: Results) -> pd.DataFrame:
    lines = []
    for name in CONDITIONS:
        rows, own = results.of(name), _learned(results, name)
        lines.append({
            "condition": name, "seeds": len(rows), "success": percent(mean_of(rows.success), 1),
            "told": number(mean_of(rows.told, bounds=(0, STATES)), 1), "learned": f"{len(own)}/{len(rows)}",
            "correlation": number(mean_of(own.correlation, bounds=(-1, 1))),
            "rounds, by game": number(mean_of(rows.length_of_token, bounds=(1, LONGEST))),
            "rounds, by state": number(mean_of(rows.length_of_type, bounds=(1, LONGEST))),
            "shuffled": percent(mean_of(rows.under_shuffled), 1), "constant": percent(mean_of(rows.under_constant), 1),
        })  # fmt: skip
    return pd.DataFrame(lines)


def _condition(tokens: int, price: float) -> Config:
    config = Config(
        workers=0, env="emcomm/signalling-v1", policies="by-role",
        game_options={"n_values": STATES, "frequencies": "zipf"}, episodes=EPISODES, evaluation_games=5_000,
        games=32, unroll=8, discount=1.0, learning_rate=5e-3, entropy_bonus=0.3, entropy_until=0.9,
        token_gradient=True, token_entropy=0.3, cost_until=0.3 if price else 0.0,
    )  # fmt: skip
    return with_rules(with_talk(config), n_tokens=tokens, closing="mutual", max_rounds=LONGEST, round_cost=price)


CONDITIONS = {
    name: _condition(tokens, price)
    for tokens, pair in PAIRS.items()
    for name, price in zip(pair, (0.0, 0.1), strict=True)
}

EXPERIMENT = Replication(
    question="Do networks give frequent objects shorter messages, as languages do?",
    expected="No: longer ones; but shorter ones where each symbol has a price.",
    conditions=CONDITIONS,
    measure=measure,
    conclude=conclude,
    paper=Paper(
        "Chaabouni et al.",
        2019,
        "Anti-efficient encoding in emergent communication",
        "https://arxiv.org/abs/1905.12561",
    ),
    game=f"`emcomm/signalling-v1`: {STATES} states, the r-th drawn in proportion to 1 / r; the sender says up to "
    f"{LONGEST} of {FEW} tokens, or of {MANY}, and ends its message with EOT. Much smaller than the paper's, which has "
    "1 000 objects, 5 to 1 000 symbols and messages of up to 30; trained with A3C on both sides, and gradients through "
    "the tokens, instead of REINFORCE for the speaker and the gradient of the error for the listener; and the listener "
    "pays the price, too, which changes nothing that it can choose. Where the reward alone taught the speaker, 600,000 "
    "episodes were not enough to tell all states.",
    published=tuple(
        Published(name, "correlation of rank and length", sign, "claim only", _correlation(name), theory)
        for pair in PAIRS.values()
        for name, sign, theory in zip(pair, ("negative", "positive"), ("any", "positive"), strict=True)
    ),
    judge=judge,
)

if __name__ == "__main__":
    main(__file__)
