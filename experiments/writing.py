"""From the runs of an experiment to what a person reads: tables, figures, and the folder of results."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.metrics.seed_aggregation import Interval, seeds_of
from analysis.metrics.seed_aggregation import mean_over_seeds as mean_of
from emcomm.errors import Fault
from emcomm.runs import provenance
from emcomm.statistics import rate
from experiments.experiment import Conclusion, Experiment, Results

# -- figures of several seeds ------------------------------------------------------------------------------------------


def compared(rows: pd.DataFrame, base: str, column: str = "success", scale: float = 100) -> pd.DataFrame:
    """Every condition against the condition `base`, seed by seed.

    One row for each: `difference` with Student's interval, and `p` of a paired t test, corrected for the number of
    conditions by Holm's method.
    """
    from scipy.stats import ttest_rel

    wide = rows.pivot_table(index="seed", columns="condition", values=column, sort=False)
    lines = []
    for condition in wide.columns.drop(base):
        both = wide[[condition, base]].dropna()
        same = (both[condition] == both[base]).all()
        p = 1.0 if same or len(both) < 2 else float(ttest_rel(both[condition], both[base]).pvalue)
        difference = mean_of(scale * (both[condition] - both[base]))
        lines.append({"condition": condition, "against": base, "difference": number(difference), "p": p})
    table = pd.DataFrame(lines).sort_values("p", kind="stable")
    left = np.arange(len(table), 0, -1)
    table["p"] = np.minimum(np.maximum.accumulate(table.p.to_numpy() * left), 1)
    return table.sort_index()


def over_pairs(statistic: Callable[..., float], *matrices: np.ndarray) -> Interval:
    """A statistic of the entries of symmetric matrices that belong to pairs of different seeds.

    The bootstrap draws seeds, which pairs share; NaN where there is none.
    """
    count = len(matrices[0])
    different = ~np.eye(count, dtype=bool)
    if count < 2:
        return Interval(*[float("nan")] * 3)
    rng, replicates = np.random.default_rng(0), []
    for _ in range(10_000):
        drawn = rng.integers(count, size=count)
        kept = different[np.ix_(drawn, drawn)]
        if kept.any():
            replicates.append(statistic(*(matrix[np.ix_(drawn, drawn)][kept] for matrix in matrices)))
    known = np.array(replicates)[np.isfinite(replicates)]
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
    return Interval(float(statistic(*(matrix[different] for matrix in matrices))), float(low), float(high))


def mean_of_pairs(matrix: np.ndarray) -> Interval:
    """The mean of a symmetric matrix over pairs of different seeds."""
    return over_pairs(np.mean, matrix)


def formed(rows: pd.DataFrame) -> str:
    """In how many of the seeds a protocol formed: 3 of 5."""
    formed = seeds_of(rows).formed
    return f"{formed.successes} of {formed.trials}"


def percent(interval: Interval, digits: int = 2) -> str:
    """A share with its interval: 99.98 % [99.97, 99.99]."""
    within = Interval(interval.value, *np.clip([interval.low, interval.high], 0, 1).tolist())
    return within.text(digits, 100, " %")


def number(interval: Interval, digits: int = 2) -> str:
    """A number with its interval."""
    return interval.text(digits)


def by_condition(results: Results, **more: Any) -> pd.DataFrame:
    """The table that every experiment shows; `more` are columns: name -> function of a condition's rows."""
    lines = []
    for condition, rows in results.rows.groupby("condition", sort=False):
        line = {"condition": condition, "seeds": len(rows)}
        if rows.success.notna().any():
            summary = seeds_of(rows)
            line |= {
                "success, mean [95 %]": summary.sentence,
                "interquartile mean": percent(summary.interquartile_mean),
                "worst seed": f"{100 * min(summary.success):.2f} %",
                "formed": f"{summary.formed.successes}/{summary.formed.trials}",
            }
        else:  # the game declares no success
            line["return, mean [95 %]"] = number(mean_of(rows["return"]), 3)
        line |= {
            "optimum": _known(100 * rows.best_success.iloc[0], " %"),
            "rounds, mean [95 %]": number(mean_of(rows.rounds, bounds=(0, np.inf))),
            "optimum's rounds": _known(rows.best_rounds.iloc[0]),
        }
        lines.append({**line, **{name: column(rows) for name, column in more.items()}})
    return pd.DataFrame(lines)


def _known(value: float, unit: str = "") -> str:
    return "–" if np.isnan(value) else f"{value:.2f}{unit}"


def median_to_95(rows: pd.DataFrame) -> str:
    """Episodes until 95 % success, the median over seeds; a dash where half of them or more do not reach it."""
    reached = rows.episodes_to_95.dropna()
    return f"{int(reached.median()):,}" if len(reached) > len(rows) / 2 else "–"


def above_the_bound(results: Results) -> str:
    """Whether any condition is rewarded more than is possible, by more than chance: a sentence.

    Without a price the reward is 2 · success - 1; with one, a pair may succeed more often than the optimal one at the
    cost of longer talks.
    """
    above = []
    for condition, own in results.rows.dropna(subset=["best_reward"]).groupby("condition", sort=False):
        success = rate(round((own.success * own.games).sum()), int(own.games.sum()))
        reward = 2 * success.low - 1 - own.round_cost.iloc[0] * np.average(own.rounds, weights=own.games)
        if reward > own.best_reward.iloc[0] + 1e-12:
            above.append(str(condition))
    if above:
        return f"**Above the optimum, which would be a bug: {', '.join(above)}.**"
    return "No condition lies above its optimum by more than the interval of its games."


# -- drawing -----------------------------------------------------------------------------------------------------------

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#777777"


def panels(count: int = 1, width: float = 6.4, height: float = 4.4) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels side by side."""
    sns.set_theme(style="ticks", context="notebook")
    figure, axes = plt.subplots(1, count, figsize=(width * count, height), layout="constrained", squeeze=False)
    return figure, list(axes[0])


def draw_seeds(
    axes: Axes, results: Results, column: str = "success", conditions: Sequence[str] = (), scale: float = 100
) -> None:
    """One point for each seed, the mean of each condition as a bar of its interval, and the optimum as a line."""
    rows = results.rows
    shown = list(conditions or rows.condition.unique())
    for i, condition in enumerate(shown):
        own = rows[rows.condition == condition]
        values = own[column].to_numpy(float) * scale
        spread = np.linspace(-0.16, 0.16, len(values)) if len(values) > 1 else [0.0]
        middle = mean_of(values, bounds=(0, scale) if column == "success" else (-np.inf, np.inf))
        axes.plot([i, i], [middle.low, middle.high], color=BLUE, lw=9, alpha=0.25, solid_capstyle="butt")
        axes.plot(i + np.asarray(spread), values, "o", color=BLUE, ms=4)
        best = f"best_{column}"
        if best in own and not np.isnan(own[best].iloc[0]):
            axes.plot([i - 0.3, i + 0.3], [own[best].iloc[0] * scale] * 2, color=GREEN, lw=2)
    axes.set_xticks(range(len(shown)), shown)
    if len(shown) > 4:
        plt.setp(axes.get_xticklabels(), rotation=30, ha="right")
    sns.despine(ax=axes)


def draw_against(axes: Axes, rows: pd.DataFrame, x: str, y: str, colour: str = BLUE, scale: float = 1) -> None:
    """Seeds as points, their mean as a line, and the optimum, against the number in column `x`."""
    grouped = rows.groupby(x)
    axes.plot(rows[x], rows[y] * scale, "o", color=colour, ms=3.5, alpha=0.5)
    axes.plot(list(grouped.groups), grouped[y].mean() * scale, color=colour, lw=2, label="learned (mean of seeds)")
    if rows[f"best_{y}"].notna().all():
        axes.plot(list(grouped.groups), grouped[f"best_{y}"].first() * scale, color=GREEN, lw=2, label="optimum")
    sns.despine(ax=axes)


def draw_curve(axes: Axes, x: np.ndarray, curves: np.ndarray, label: str, colour: str) -> None:
    """The mean of several seeds' curves `[S, X]` with the interval of the mean, and each seed as a thin line."""
    known = np.isfinite(curves).all(axis=0)
    x, curves = x[known], curves[:, known]
    intervals = [mean_of(column) for column in curves.T]
    for curve in curves:
        axes.plot(x, curve, color=colour, lw=0.5, alpha=0.35)
    axes.plot(x, [i.value for i in intervals], color=colour, lw=2.2, label=label)
    axes.fill_between(x, [i.low for i in intervals], [i.high for i in intervals], color=colour, alpha=0.2, lw=0)
    sns.despine(ax=axes)


# -- the folder of results ---------------------------------------------------------------------------------------------


def write(folder: Path, name: str, experiment: Experiment, conclusion: Conclusion, results: Results) -> None:
    """README.md, figure.png, runs.csv, result.json and further tables."""
    made = provenance()
    runs = results.rows
    if results.quick:
        conclusion.figure.text(
            0.5, 0.5, "QUICK VERSION: NO EVIDENCE", rotation=20, fontsize=28, color="red", alpha=0.35, ha="center"
        )
    facts = {
        "answer": conclusion.answer, "key": conclusion.key, "headline": conclusion.headline,
        "question": experiment.question, "quick": results.quick, "runs": len(runs),
        "seeds": sorted(map(int, runs.seed.unique())), "command":
        _command(name, results.quick) or made["command"],
        "episodes": sorted(map(int, runs.episodes.unique())),
        "run_seconds": round(float(runs.drop_duplicates("run").wall_s.sum())), "made": time.strftime("%Y-%m-%d"),
        "git": made["git"], "trained_at": sorted({str(git) for git in runs.git}), "versions": made["versions"],
        "machine": made["machine"], **experiment.facts(results),
    }  # fmt: skip
    try:
        folder.mkdir(parents=True, exist_ok=True)
        conclusion.figure.savefig(folder / "figure.png", dpi=110)
        plt.close(conclusion.figure)
        for title, rows in (("runs", runs), ("simulated", results.simulated)):
            if rows is not None:
                listed = rows.map(lambda cell: json.dumps(cell) if isinstance(cell, list) else cell)
                listed.to_csv(folder / f"{title}.csv", index=False, float_format="%.6g")
        for title, table in conclusion.tables.items():
            table.to_csv(folder / f"{title}.csv", index=False, float_format="%.6g")
        (folder / "result.json").write_text(json.dumps(facts, indent=2) + "\n")
        (folder / "README.md").write_text(_page(name, experiment, conclusion, results, facts), encoding="utf-8")
    except OSError as error:
        raise Fault(f"cannot write to {folder}: {error.strerror}") from error


def _command(name: str, quick: bool) -> str | None:
    """The command of an experiment of emcomm; None for another one."""
    if not (Path(__file__).parent / f"{name.replace('.', '/')}.py").exists():
        return None
    return f"python -m experiments.{name.replace('replications.', 'replications ')}{' --quick' * quick}"


def _page(name: str, experiment: Experiment, conclusion: Conclusion, results: Results, facts: dict[str, Any]) -> str:
    name = name.rpartition(".")[2]
    quick = "> **A quick version.** It shows that everything works and is no evidence.\n\n" if facts["quick"] else ""
    seeds = f"seeds {facts['seeds'][0]} to {facts['seeds'][-1]}"
    episodes = " or ".join(f"{count:,}" for count in facts["episodes"])
    trained = ", ".join(revision[:12] + "-dirty" * revision.endswith("-dirty") for revision in facts["trained_at"])
    tables = [*conclusion.tables, *(["simulated"] if results.simulated is not None else [])]
    further = "".join(f", [{title}.csv]({title}.csv)" for title in tables)
    return f"""# {name}

{quick}**{experiment.question}**

{experiment.preface(results)}**{conclusion.answer}** {conclusion.headline}

![{name}](figure.png)

{markdown(conclusion.table)}

{conclusion.findings}

{experiment.legend}

Expected: {experiment.expected}

Made by `{facts["command"]}`: {facts["runs"]} runs, {seeds}, {episodes} episodes each; in sum
{facts["run_seconds"] / 3600:.1f} hours of training and evaluation. Trained at {trained}, concluded at {facts["git"]},
{facts["made"]}.
Every run: [runs.csv](runs.csv){further}.
"""


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown.

    >>> print(markdown(pd.DataFrame({"a": [1], "b": ["x"]})))
    | a | b |
    |---|---|
    | 1 | x |
    """
    lines = [table.columns, ["---"] * len(table.columns), *table.itertuples(index=False)]
    joined = ["| " + " | ".join(map(str, line)) + " |" for line in lines]
    return "\n".join([joined[0], joined[1].replace(" ", ""), *joined[2:]])
