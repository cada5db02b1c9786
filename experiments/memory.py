"""How much memory does the protocol need? None, a window of the last rounds, or a recurrent network."""

from __future__ import annotations

import dataclasses

from emcomm.config import Config
from experiments.experiment import SHORT, Conclusion, Experiment, Results, with_rules
from experiments.running import main
from experiments.writing import by_condition, draw_seeds, mean_of, number, panels, percent, seeds_of

WINDOWS = (1, 2, 4, 8)


def conclude(results: Results) -> Conclusion:
    """Success and rounds for every kind of memory."""
    rows = results.rows
    figure, (left, right) = panels(2, 5.6)
    draw_seeds(left, results)
    left.set(ylabel="success (%)", ylim=(0, 103))
    draw_seeds(right, results, "rounds", scale=1)
    right.set(ylabel="rounds of talk", ylim=(0, None))
    by_name = {name: rows[rows.condition == name] for name in EXPERIMENT.conditions}
    none, one, recurrent = (by_name[name] for name in ("none", "window 1", "recurrent"))
    enough = [
        window for window in WINDOWS
        if seeds_of(by_name[f"window {window}"]).mean.value > seeds_of(recurrent).mean.value - 0.01
    ]  # fmt: skip
    smallest = (
        f"The smallest window within a point of the recurrent network is {enough[0]}."
        if enough
        else "No window comes within a point of the recurrent network."
    )
    windows = "; ".join(
        f"{w}: {percent(seeds_of(by_name[f'window {w}']).mean)} in {number(mean_of(by_name[f'window {w}'].rounds), 1)} "
        f"rounds" for w in WINDOWS
    )  # fmt: skip
    return Conclusion(
        headline=f"Without memory {percent(seeds_of(none).mean)}, with only the last round in sight "
        f"{percent(seeds_of(one).mean)}, with a recurrent network {percent(seeds_of(recurrent).mean)}.",
        findings=f"By window: {windows}. {smallest} A talk that both end closes with EOT against EOT, alike for "
        f"both: whoever sees one round only cannot tell the roles apart after it, unless the talk runs into the cut, "
        f"where the last round may differ ({100 * one.cut.mean():.0f} % of the talks with a window of one, "
        f"{100 * recurrent.cut.mean():.2f} % with the recurrent network).",
        table=by_condition(results, **{"talks cut": lambda rows: f"{100 * rows.cut.mean():.1f} %"}),
        figure=figure,
    )


def _window(rounds: int) -> Config:
    return dataclasses.replace(with_rules(SHORT, window=rounds), memory="window")


EXPERIMENT = Experiment(
    question="How much memory does the protocol need?",
    expected="At most 50 % without memory (identical views). The first difference has to be remembered to the end of "
    "the talk: a window of w rounds suffices for talks of w + 1, or where what is said repeats it.",
    conditions={
        "none": dataclasses.replace(SHORT, memory="none"),
        **{f"window {w}": _window(w) for w in WINDOWS},
        "recurrent": SHORT,
    },
    conclude=conclude,
)

if __name__ == "__main__":
    main(__file__)
