"""How many tokens are worth having? One to ten, with time to talk and with hardly any, beside the theory."""

from __future__ import annotations

import pandas as pd

from experiments.experiment import SHORT, Conclusion, Experiment, Results, with_rules
from experiments.running import main
from experiments.writing import (
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


def conclude(results: Results) -> Conclusion:
    """Success and rounds against the number of tokens."""
    rows = results.rows.assign(tokens=[int(c.split()[0]) for c in results.rows.condition])
    brief, long = (rows[rows.condition.str.endswith(f", {limit} rounds")] for limit in (2, 32))
    figure, (left, middle, right) = panels(3, 4.6)
    draw_against(left, brief, "tokens", "success", scale=100)
    left.set(title="two rounds that must be talked", ylabel="success (%)")
    left.legend(frameon=False, loc="lower right")
    draw_against(middle, long, "tokens", "success", scale=100)
    middle.set(title="up to 32 rounds", ylabel="success (%)")
    draw_against(right, long, "tokens", "rounds", ORANGE)
    right.set(title="up to 32 rounds", ylabel="rounds of talk", ylim=(0, None))
    for axes in (left, middle, right):
        axes.set(xlabel="tokens", xticks=list(TOKENS))
    gap = {tokens: own.best_success.iloc[0] - own.success.mean() for tokens, own in brief.groupby("tokens")}
    widest = max(gap, key=lambda tokens: gap[tokens])
    one, five, ten = (brief[brief.tokens == n] for n in (1, 5, 10))
    means = brief.groupby("tokens").success.mean()
    enough = int(means.index[means > means.max() - 0.005][0])
    alone, many = long[long.tokens == 1], long[long.tokens == 10]
    return Conclusion(
        answer="A handful: in two rounds, more tokens than six gain little.",
        key=f"{seeds_of(one).sentence} with one, {seeds_of(five).sentence} with five",
        headline=f"Two rounds of talk: {seeds_of(one).sentence} with one token, {seeds_of(five).sentence} "
        f"with five, {seeds_of(ten).sentence} with ten (optimum {_best(one)}, {_best(five)}, {_best(ten)}). "
        f"From {enough} tokens on less than half a point is gained.",
        findings=f"With two rounds the learned success lies {100 * sum(gap.values()) / len(gap):.2f} points below the "
        f"optimum on average, at most {100 * gap[widest]:.2f} (with {widest} tokens). {above_the_bound(results)} "
        f"With up to 32 rounds one token, which with EOT makes two symbols, reaches {seeds_of(alone).sentence}, "
        f"two reach {seeds_of(long[long.tokens == 2]).sentence}, ten {seeds_of(many).sentence}: time stands "
        f"in for words. The talk takes {number(mean_of(alone.rounds))} rounds with one token and "
        f"{number(mean_of(many.rounds))} with ten, the optimum {alone.best_rounds.iloc[0]:.2f} and "
        f"{many.best_rounds.iloc[0]:.2f}. A shorter talk than the optimum's is no gain: with one token the networks "
        f"succeed in {100 * (alone.best_success - alone.success).mean():.2f} points less than the optimum.",
        table=by_condition(results),
        figure=figure,
    )


def _tokens(count: int) -> str:
    return f"{count} token{'s' * (count > 1)}"


def _best(rows: pd.DataFrame) -> str:
    return f"{100 * rows.best_success.iloc[0]:.2f} %"


EXPERIMENT = Experiment(
    question="How many tokens are worth having?",
    expected="Success near, and never above, the optimum 1 - L with 1/L = 2 + n/L' for n tokens and L' with one round "
    "fewer (`analysis.agents.optimal_pair`): with two rounds 83.3 % for one token, 98.4 % for five.",
    conditions={
        **{f"{_tokens(n)}, 2 rounds": with_rules(SHORT, n_tokens=n, max_rounds=2, opening="talk") for n in TOKENS},
        **{f"{_tokens(n)}, 32 rounds": with_rules(SHORT, n_tokens=n) for n in TOKENS},
    },
    conclude=conclude,
)

if __name__ == "__main__":
    main(__file__)
