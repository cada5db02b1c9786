"""How much memory does the protocol need? None, a window of the last rounds, or a recurrent network."""

from __future__ import annotations

import dataclasses

import pandas as pd

from emcomm.config import Config
from experiments.experiment import SHORT, SHORT_TERSE, Conclusion, Experiment, Results, with_rules
from experiments.running import main
from experiments.writing import by_condition, draw_seeds, mean_of, number, panels, percent, seeds_of

WINDOWS = (1, 2, 4, 8)
PRICED = ("window 1", "window 2", "recurrent")
"""What is also trained with a price of 0.05 on each round."""
PRICE = ", price 0.05"


def conclude(results: Results) -> Conclusion:
    """Success and rounds for every kind of memory."""
    rows = results.rows
    figure, (left, right) = panels(2, 5.6)
    draw_seeds(left, results)
    left.set(ylabel="success (%)", ylim=(0, 103))
    draw_seeds(right, results, "rounds", scale=1)
    right.set(ylabel="rounds of talk", ylim=(0, None))
    by_name = {name: rows[rows.condition == name] for name in EXPERIMENT.conditions}
    none, one, two, recurrent = (by_name[name] for name in ("none", "window 1", "window 2", "recurrent"))
    windows = "; ".join(_told(by_name, f"window {w}") for w in WINDOWS)
    priced = "; ".join(_told(by_name, f"{name}{PRICE}") for name in PRICED)
    return Conclusion(
        answer="Two rounds in sight suffice for short talk; without memory, chance.",
        key=f"{seeds_of(none).sentence} → {seeds_of(two).sentence} (two rounds)",
        headline=f"Without memory {seeds_of(none).sentence}. With only the last round in sight "
        f"{seeds_of(one).sentence}, with {percent(mean_of(one.cut), 0)} of the talks run into the cut; with the "
        f"last two {seeds_of(two).sentence} in {number(mean_of(two.rounds), 1)} rounds; with a recurrent network "
        f"{seeds_of(recurrent).sentence} in {number(mean_of(recurrent.rounds), 1)}.",
        findings=f"By window: {windows}. A talk that both end closes with EOT against EOT, alike for both: whoever "
        f"sees one round only cannot tell the roles apart after it, unless the talk runs into the cut, where the last "
        f"round may differ, or the opening is free and one moves while the other talks. Where a round has a price, so "
        f"that the way to the cut does not pay: {priced}.",
        table=by_condition(results, **{"talks cut": lambda rows: f"{100 * rows.cut.mean():.1f} %"}),
        figure=figure,
    )


def _told(by_name: dict[str, pd.DataFrame], name: str) -> str:
    own = by_name[name]
    return f"{name.removesuffix(PRICE)}: {seeds_of(own).sentence} in {number(mean_of(own.rounds), 1)} rounds"


def _window(rounds: int, config: Config = SHORT) -> Config:
    return dataclasses.replace(with_rules(config, window=rounds), torso="window")


EXPERIMENT = Experiment(
    question="How much memory does the protocol need?",
    expected="At most 50 % without memory (identical views). The first difference has to be remembered to the end of "
    "the talk: a window of w rounds suffices for talks of w + 1, or where what is said repeats it.",
    conditions={
        "none": dataclasses.replace(SHORT, torso="none"),
        **{f"window {w}": _window(w) for w in WINDOWS},
        "recurrent": SHORT,
        f"window 1{PRICE}": _window(1, SHORT_TERSE),
        f"window 2{PRICE}": _window(2, SHORT_TERSE),
        f"recurrent{PRICE}": SHORT_TERSE,
    },
    conclude=conclude,
)

if __name__ == "__main__":
    main(__file__)
