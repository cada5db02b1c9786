"""What of the gain is content? The same networks with the content taken away, and networks trained without it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns

from analysis.data.runs import LoadedRun
from analysis.metrics.seed_aggregation import FORMED_ABOVE
from experiments.experiment import SHORT, TALK, Conclusion, Experiment, Results, with_rules
from experiments.measures import under_channels
from experiments.running import main
from experiments.writing import by_condition, mean_of, number, panels, percent, seeds_of

CHANNELS = ("open", "off", "constant", "shuffled", "tokens_shuffled", "ends_shuffled", "self", "noisy", "oracle")
MUST_TALK: tuple[str, ...] = ("constant", "shuffled", "self")


def measure(run: LoadedRun, quick: bool) -> dict[str, Any]:
    """Success of the same network with each channel."""
    return under_channels(run, quick, CHANNELS)


def conclude(results: Results) -> Conclusion:
    """Success of networks trained with one channel (rows) and played with another (columns)."""
    rows = results.rows
    under = [f"under_{channel}" for channel in CHANNELS]
    means = rows.groupby("condition", sort=False)[under].mean() * 100
    means.columns = pd.Index(CHANNELS)
    figure, (axes,) = panels(1, 8.4, 5.6)
    cells = rows.groupby("condition", sort=False)[under].agg(_cell)
    sns.heatmap(
        means, annot=cells.to_numpy(), fmt="", cmap="viridis", vmin=0, vmax=100, ax=axes,
        cbar_kws={"label": "success, mean of the seeds (%)"}, annot_kws={"size": 9},
    )  # fmt: skip
    axes.set(xlabel="played with", ylabel="trained with")
    open_networks = rows[rows.condition == LONG]
    of = {channel: percent(mean_of(open_networks[f"under_{channel}"])) for channel in CHANNELS}
    by_name = {name: rows[rows.condition == name] for name in EXPERIMENT.conditions}
    trained = {name: seeds_of(own).sentence for name, own in by_name.items()}
    gain = mean_of(100 * (open_networks.under_open - 0.5))
    content = mean_of(100 * (open_networks.under_open - np.maximum(open_networks.under_shuffled, 0.5)))
    return Conclusion(
        answer="All of it is content: with other games' words nothing is left.",
        key=f"{of['open']} → {of['shuffled']}",
        headline=f"The same networks succeed in {of['open']} with the open channel and in {of['shuffled']} with the "
        f"words of other games: {number(content, 1)} of the {number(gain, 1)} points above 50 % are content.",
        findings=f"Networks trained with an open channel reach {of['constant']} if they hear only token 0, "
        f"{of['self']} if they hear themselves, {of['noisy']} if a tenth of what they hear is replaced, and "
        f"{of['oracle']} if they are told a role, which they never learned to use. Some networks trained *under* a "
        f"control find what it leaves: {trained['constant']} with constant, {trained['shuffled']} with shuffled, "
        f"{trained['self']} with own words; where they must talk, {trained['constant, must talk']}, "
        f"{trained['shuffled, must talk']} and {trained['self, must talk']}. Two things are left without any words. "
        "With a free opening, who moves while the other talks knows it and the other does not. And the end of the "
        "talk is itself a channel: who says EOT and finds the talk going on knows that the other did not say it. "
        "With a single round that must be talked neither is there, and success is "
        f"{trained['constant, one round']}. Told their roles in training, networks reach {trained['oracle']}.",
        table=by_condition(results, **{f"played with {c}": _under(c) for c in CHANNELS}),
        figure=figure,
    )


def _cell(success: pd.Series) -> str:
    """The mean over seeds; of seeds of two kinds, both, and how many there are of each.

    >>> _cell(pd.Series([0.99, 0.98])), _cell(pd.Series([0.99, 0.5, 0.52]))
    ('98.5', '99 ×1\\n51 ×2')
    """
    high = success[success > FORMED_ABOVE]
    low = success[success <= FORMED_ABOVE]
    if not len(high) or not len(low):
        return f"{100 * success.mean():.1f}"
    return f"{100 * high.mean():.0f} ×{len(high)}\n{100 * low.mean():.0f} ×{len(low)}"


def _under(channel: str) -> Any:
    return lambda rows: seeds_of(rows, f"under_{channel}").sentence


LONG = "open, 1M episodes"

EXPERIMENT = Experiment(
    question="What of the gain is content, and what would come without it?",
    expected="For the same networks 50 % or less with every control that removes the content; near 100 % for "
    "networks trained with the oracle. A network that succeeds without content uses a leak (in the code behind the "
    "talk of 2022: 92.1 % with shuffled buffers). Networks trained under a control may use what it leaves, the "
    "opening and the end of the talk; with one round that must be talked nothing is left, and 50 % is the most.",
    conditions={
        LONG: TALK,
        **{channel: with_rules(SHORT, channel=channel) for channel in CHANNELS if channel != "off"},
        **{f"{c}, must talk": with_rules(SHORT, channel=c, opening="talk") for c in MUST_TALK},
        "constant, one round": with_rules(SHORT, channel="constant", opening="talk", max_rounds=1),
    },
    measure=measure,
    conclude=conclude,
)

if __name__ == "__main__":
    main(__file__)
