"""How many tokens are worth having? One to ten, with time to talk and with hardly any, beside the theory.

Two rounds are trained in two lengths, and from five tokens on in a third, to see whether what is missing to the optimum
is the game's or the training's.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from emcomm.config import Config
from experiments.experiment import SHORT, Conclusion, Experiment, Results, with_rules
from experiments.running import main
from experiments.writing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    above_the_bound,
    by_condition,
    draw_against,
    mean_of,
    number,
    panels,
    seeds_of,
)

TOKENS = range(1, 11)
LONGER, LONGEST = 1_000_000, 3_000_000
UNFINISHED = range(5, 11)
"""Numbers of tokens with which most is missing after the second length: trained for the third as well."""


def conclude(results: Results) -> Conclusion:
    """Success and rounds against the number of tokens; the gap to the optimum against the length of the training."""
    rows = results.rows.assign(
        tokens=[int(c.split()[0]) for c in results.rows.condition],
        talk=[int(c.split(", ")[1].split()[0]) for c in results.rows.condition],
        gap=100 * (results.rows.best_success - results.rows.success),
    )
    brief, long = rows[rows.talk == 2], rows[rows.talk == 32]
    trained = brief[brief.episodes == brief.groupby("tokens").episodes.transform("max")]
    short = min(brief.episodes)
    figure, (left, middle, right) = panels(3, 4.9)
    for (episodes, own), colour in zip(
        brief.groupby("episodes"), (GREY, ORANGE, BLUE), strict=False
    ):  # --quick has one length
        mean = own.groupby("tokens").success.mean()
        left.plot(own.tokens, 100 * own.success, "o", color=colour, ms=3, alpha=0.5)
        left.plot(mean.index, 100 * mean, color=colour, lw=2, label=f"{episodes:,} episodes")
    best = trained.groupby("tokens").best_success.first()
    left.plot(best.index, 100 * best, color=GREEN, lw=2, label="optimum")
    left.set(title="two rounds that must be talked", ylabel="success (%)")
    left.legend(frameon=False, loc="lower right")
    for tokens, own in brief.groupby("tokens"):
        mean = own.groupby("episodes").gap.mean()
        middle.plot(mean.index, mean, color=BLUE, lw=1.5, alpha=0.3 + 0.07 * tokens)
        middle.annotate(str(tokens), (mean.index[0], mean.iloc[0]), xytext=(-16, -4), textcoords="offset points")
    middle.set(title="two rounds, by number of tokens", ylabel="points below the optimum", xscale="log")
    middle.axhline(0, color=GREEN, lw=1.5)
    lengths = sorted(brief.episodes.unique())
    middle.set(xlabel="training episodes", xticks=lengths, xticklabels=[f"{n:,}" for n in lengths])
    middle.minorticks_off()
    middle.margins(x=0.12)
    draw_against(right, long[long.episodes == min(long.episodes)], "tokens", "rounds", ORANGE)
    right.set(title=f"up to 32 rounds, {short:,} episodes", ylabel="rounds of talk", ylim=(0, None))
    for axes in (left, right):
        axes.set(xlabel="tokens", xticks=list(TOKENS))
    one, five, ten = (trained[trained.tokens == n] for n in (1, 5, 10))
    means = trained.groupby("tokens").success.mean()
    enough = int(means.index[means > means.max() - 0.005][0])
    gaps = _gaps(brief)
    alone, many = long[long.tokens == 1], long[long.tokens == 10]
    hasty, patient = (alone[alone.episodes == length] for length in (short, max(alone.episodes)))
    return Conclusion(
        answer=f"Two rounds: tokens beyond {_words(enough)} gain less than half a point."
        if enough < max(TOKENS)
        else "In two rounds every token up to ten is worth having.",
        key=f"{seeds_of(one).sentence} with one, {seeds_of(five).sentence} with five",
        headline=f"Two rounds of talk, after the longest training: {seeds_of(one).sentence} with one token, "
        f"{seeds_of(five).sentence} with five, {seeds_of(ten).sentence} with ten (optimum {_best(one)}, {_best(five)}, "
        f"{_best(ten)}). From {enough} tokens on less than half a point is gained.",
        findings=f"With two rounds the learned success lies {_missing(brief, trained)} points below the optimum on "
        f"average over the sizes. {_shrinking(gaps)} {above_the_bound(results)} With up to 32 rounds one token, which "
        f"with EOT makes two symbols, reaches "
        f"{seeds_of(hasty).sentence} after {short:,} episodes and {seeds_of(patient).sentence} after "
        f"{max(alone.episodes):,}, two tokens reach {seeds_of(long[long.tokens == 2]).sentence}, ten "
        f"{seeds_of(many).sentence}: time stands in for words. After {short:,} episodes the talk takes "
        f"{number(mean_of(hasty.rounds))} rounds with one token and {number(mean_of(many.rounds))} with ten, the "
        f"optimum {alone.best_rounds.iloc[0]:.2f} and {many.best_rounds.iloc[0]:.2f}; after {max(alone.episodes):,} "
        f"it takes {number(mean_of(patient.rounds))} with one token, and {patient.gap.mean():.2f} points are missing.",
        table=by_condition(results),
        figure=figure,
        tables={"gap": gaps},
    )


def _gaps(brief: pd.DataFrame) -> pd.DataFrame:
    """One line for each size: points below the optimum by length, and what the last lengthening gained, by seed."""
    lengths = sorted(brief.episodes.unique())
    lines = []
    for tokens, own in brief.groupby("tokens"):
        by_seed = own.pivot_table(index="seed", columns="episodes", values="gap")
        left, longest = mean_of(by_seed.iloc[:, -1]), by_seed.columns[-1]
        gained = mean_of((by_seed.iloc[:, -2] - by_seed.iloc[:, -1]).dropna()) if by_seed.shape[1] > 1 else None
        lines.append({
            "tokens": tokens, **{f"gap_{n}": by_seed[n].mean() if n in by_seed else None for n in lengths},
            "longest": longest, "left": left.value, "left_low": left.low, "left_high": left.high,
            **({"gained": gained.value, "gained_low": gained.low, "gained_high": gained.high} if gained else {}),
        })  # fmt: skip
    return pd.DataFrame(lines)


def _missing(brief: pd.DataFrame, trained: pd.DataFrame) -> str:
    """The mean gap after each length that all sizes have, and after the longest of each."""
    everywhere = [episodes for episodes, own in brief.groupby("episodes") if own.tokens.nunique() == len(TOKENS)]
    parts = [(f"after {episodes:,} episodes", brief[brief.episodes == episodes]) for episodes in everywhere]
    parts.append(("after the longest training of each size", trained))
    return ", ".join(f"{own.groupby('tokens').gap.mean().mean():.2f} ({name})" for name, own in parts)


def _shrinking(gaps: pd.DataFrame) -> str:
    """With how many tokens no gap is left, it is at rest, or it still shrinks; by intervals over seeds."""
    if "gained" not in gaps or gaps.gained_low.isna().any():
        return "Whether it shrinks with more training needs several lengths and seeds."
    reached = gaps.left_low <= 0
    still = ~reached & (gaps.gained_low > 0)
    at_rest = ~reached & ~still
    parts = []
    if reached.any():
        parts.append(
            f"with {_listed(gaps.tokens[reached])} no gap shows any more (the interval over seeds holds 0; its upper "
            f"end is {gaps.left_high[reached].min():.2f} to {gaps.left_high[reached].max():.2f} points)"
        )
    if at_rest.any():
        parts.append(
            f"with {_listed(gaps.tokens[at_rest])} the last lengthening brought nothing that shows, and "
            f"{gaps.left[at_rest].min():.2f} to {gaps.left[at_rest].max():.2f} points are left"
        )
    for longest, own in gaps[still].groupby("longest"):
        parts.append(
            f"with {_listed(own.tokens)} the lengthening to {longest:,} episodes still brought {own.gained.min():.2f} "
            f"to {own.gained.max():.2f} points, and {own.left.min():.2f} to {own.left.max():.2f} are left: figures "
            "there are lower bounds of what can be learned"
        )
    return f"By number of tokens: {'; '.join(parts)}."


def _listed(tokens: pd.Series) -> str:
    return ", ".join(map(str, tokens))


def _words(count: int) -> str:
    return ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"][count - 1]


def _tokens(count: int) -> str:
    return f"{count} token{'s' * (count > 1)}"


def _best(rows: pd.DataFrame) -> str:
    return f"{100 * rows.best_success.iloc[0]:.2f} %"


def _two_rounds(tokens: int) -> Config:
    """Two rounds that must be talked, in the short training."""
    return with_rules(SHORT, n_tokens=tokens, max_rounds=2, opening="talk")


EXPERIMENT = Experiment(
    question="How many tokens are worth having?",
    expected="Success near, and never above, the optimum 1 - L with 1/L = 2 + n/L' for n tokens and L' with one round "
    "fewer (`analysis.agents.optimal_pair`): with two rounds 83.3 % for one token, 98.4 % for five.",
    conditions={
        **{f"{_tokens(n)}, 2 rounds": _two_rounds(n) for n in TOKENS},
        **{f"{_tokens(n)}, 2 rounds, 1M episodes": replace(_two_rounds(n), episodes=LONGER) for n in TOKENS},
        **{f"{_tokens(n)}, 2 rounds, 3M episodes": replace(_two_rounds(n), episodes=LONGEST) for n in UNFINISHED},
        **{f"{_tokens(n)}, 32 rounds": with_rules(SHORT, n_tokens=n) for n in TOKENS},
        "1 token, 32 rounds, 1M episodes": replace(with_rules(SHORT, n_tokens=1), episodes=LONGER),
    },
    conclude=conclude,
)

if __name__ == "__main__":
    main(__file__)
