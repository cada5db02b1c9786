"""The figures of a report: pure functions from findings to an SVG element, or None where there is nothing to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from analysis.automata.query_learning import Learned
from analysis.automata.state_traffic import flow
from analysis.causal.interchange import Interchange
from analysis.causal.role_leaks import Leak
from analysis.explanation.evidence import OF_THE_CEILING
from analysis.explanation.result import Explanation, Play
from analysis.explanation.speaker import Speaker
from analysis.explanation.vote_drift import DriftPoint
from analysis.metrics.decision_information import Bits
from analysis.metrics.mutual_information import Information
from analysis.metrics.success import CourseBin, SuccessReport
from analysis.metrics.token_statistics import TokenReport
from analysis.report.html import shown as _shown
from analysis.report.svg import COLOURS, canvas, svg
from emcomm.dialogues import DialogueTable
from emcomm.printable import printable
from emcomm.statistics import Mean, Rate

MOST_BARS = 12
"""Groups in a figure; beyond them only the largest are shown."""

_PERCENT = FuncFormatter(lambda share, _: f"{100 * share:g} %")
_EPISODES = FuncFormatter(lambda n, _: f"{n / 1e6:g} M" if n >= 1e6 else f"{n / 1e3:g} k" if n >= 1e3 else f"{n:g}")


def course(report: SuccessReport, without_talk: float | None = 0.5) -> str | None:
    """Success, mean return and length of the dialogues over training.

    `without_talk` is the best success that can be reached without talk.
    """
    bins = [b for b in report.course if b.returned.n]
    if len(bins) < 2:
        return None
    at = np.array([b.first_episode for b in bins])
    n_panels = 2 + report.judged
    with canvas(4.7, 1.1 + 1.15 * n_panels) as figure:
        *above, below = figure.subplots(n_panels, 1, sharex=True, height_ratios=(*[2] * report.judged, 1.5, 1))
        gains = above[-1]
        if report.judged:
            _success_course(above[0], at, bins, without_talk)
        low, high = [b.returned.low for b in bins], [b.returned.high for b in bins]
        gains.fill_between(at, low, high, color=COLOURS["good"], alpha=0.25, lw=0)
        gains.plot(at, [b.returned.value for b in bins], color=COLOURS["good"], lw=1.8)
        gains.set_ylabel("mean return")
        below.plot(at, [b.mean_rounds for b in bins], color=COLOURS["second"], lw=1.8)
        below.set_ylim(bottom=0)
        below.set_ylabel("rounds")
        below.set_xlabel("episodes of training")
        below.xaxis.set_major_formatter(_EPISODES)
        figure.align_ylabels()
        last = bins[-1]
        reached = f"success reaches {100 * last.success.value:.1f} %, " if report.judged else ""
        return svg(
            figure,
            f"Learning curve: {reached}the mean return {last.returned.value:.3f} with {last.mean_rounds:.1f} rounds",
        )


def _success_course(axes: Axes, at: np.ndarray, bins: Sequence[CourseBin], without_talk: float | None) -> None:
    axes.fill_between(
        at, [b.success.low for b in bins], [b.success.high for b in bins], color=COLOURS["first"], alpha=0.25, lw=0
    )
    axes.plot(at, [b.success.value for b in bins], color=COLOURS["first"], lw=1.8)
    if without_talk is not None:
        style: dict[str, Any] = {"color": COLOURS["muted"], "fontsize": 9, "ha": "right"}
        axes.axhline(without_talk, color=COLOURS["muted"], lw=0.9, ls=(0, (4, 3)))
        axes.text(at[-1], without_talk + 0.01, "best without talk", **style)
    axes.set_ylim(min(0.45, min(b.success.low for b in bins)) - 0.02, 1.02)
    axes.yaxis.set_major_formatter(_PERCENT)
    axes.set_ylabel("success")


def rates(
    groups: dict[str, Rate], xlabel: str = "success, with 95 % interval", reference: float | None = None
) -> str | None:
    """Rates with their intervals, one line each, the first on top."""
    shown = {name: r for name, r in groups.items() if r.trials}
    if not shown:
        return None
    low = min(r.low for r in shown.values())
    ends = (0 if low < 0.4 else np.floor(low * 10 - 0.2) / 10, 1)
    figures = {name: _shown(r.value, share=True) for name, r in shown.items()}
    told = ", ".join(f"{name} {100 * r.value:.1f} %" for name, r in shown.items())
    return _intervals(shown, figures, xlabel, ends, f"{xlabel}: {told}", _PERCENT, reference)


def means(groups: dict[str, Mean], xlabel: str = "mean return, with 95 % interval") -> str | None:
    """Means with their intervals, one line each, the first on top."""
    shown = {name: m for name, m in groups.items() if m.n and np.isfinite(m[:3]).all()}
    if not shown:
        return None
    low, high = min(m.low for m in shown.values()), max(m.high for m in shown.values())
    room = 0.06 * (high - low) or 1.0
    figures = {name: str(m).partition(" ")[0] for name, m in shown.items()}
    told = ", ".join(f"{name} {figures[name]}" for name in shown)
    return _intervals(shown, figures, xlabel, (low - room, high + room), f"{xlabel}: {told}")


def _intervals(
    shown: Mapping[str, Rate | Mean], figures: Mapping[str, str], xlabel: str, ends: tuple[float, float], told: str,
    formatter: FuncFormatter | None = None, reference: float | None = None,
) -> str:  # fmt: skip
    """A line for each interval, its figure beside it; `told` is the text for who cannot see it."""
    with canvas(4.7, 0.75 + 0.29 * len(shown)) as figure:
        axes = figure.subplots()
        if reference is not None:
            axes.axvline(reference, color=COLOURS["muted"], lw=0.9, ls=(0, (4, 3)))
        for y, (name, one) in enumerate(shown.items()):
            axes.plot(
                [one.low, one.high], [y, y], color=COLOURS["first"], lw=2.4, solid_capstyle="round", clip_on=False
            )
            axes.plot(one.value, y, "o", color=COLOURS["first"], ms=6.5, clip_on=False, zorder=3)
            axes.annotate(
                figures[name], (1.04, y), xycoords=("axes fraction", "data"), va="center", fontsize=9.5
            )  # fmt: skip
        axes.set_yticks(range(len(shown)), list(shown))
        axes.tick_params(axis="y", labelcolor=COLOURS["ink"], pad=8)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlim(*ends)
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        if formatter is not None:
            axes.xaxis.set_major_formatter(formatter)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlabel(xlabel)
        return svg(figure, told)


def by_rounds(report: SuccessReport) -> str | None:
    """Success of all dialogues and by their number of rounds."""
    commonest = sorted(sorted(report.by_rounds, key=lambda r: -report.by_rounds[r].trials)[:MOST_BARS])
    groups = {"all": report.overall}
    if report.cut.trials:
        groups |= {"talk ended": report.uncut, "talk cut": report.cut}
    groups |= {("no talk" if r == 0 else f"{r} round{'s' * (r > 1)}"): report.by_rounds[r] for r in commonest}
    return rates(groups)


def lengths(report: TokenReport) -> str | None:
    """How many dialogues have how many rounds."""
    counts = report.n_rounds
    if not counts.sum():
        return None
    end = min(len(counts), int(np.searchsorted(np.cumsum(counts), 0.999 * counts.sum())) + 2, 70)
    with canvas(4.7, 2.5) as figure:
        axes = figure.subplots()
        axes.bar(np.arange(end), counts[:end] / counts.sum(), color=COLOURS["first"], width=0.85)
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("rounds, the closing one included")
        axes.set_ylabel("dialogues")
        return svg(figure, f"Lengths: most dialogues have {int(counts.argmax())} rounds")


def rarefaction(report: TokenReport) -> str | None:
    """Different dialogues among so many."""
    frame = report.rarefaction_frame()
    if len(frame) < 3:
        return None
    with canvas(4.7, 2.7) as figure:
        axes = figure.subplots()
        axes.plot(frame.dialogues, frame.dialogues, color=COLOURS["grid"], lw=1.5)
        axes.plot(frame.dialogues, frame.different, color=COLOURS["first"], lw=2, label="different dialogues")
        if report.joins_twins:
            axes.plot(
                frame.dialogues, frame.twins_joined, color=COLOURS["second"], lw=2, label="with its mirror image as one"
            )
        axes.set(xscale="log", yscale="log", xlabel="dialogues drawn", ylabel="different ones")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(_EPISODES)
            axis.set_minor_locator(NullLocator())
        figure.legend(loc="outside upper left", ncols=2)
        return svg(figure, "How many different dialogues there are among so many")


def symbols_by_role(report: TokenReport) -> str | None:
    """How often the agents that then take each move say each symbol."""
    uses = report.by_move.sum(axis=1)
    if not uses.sum():
        return None
    names = [*map(str, range(uses.shape[1] - 1)), "EOT"]
    shares = uses / np.maximum(uses.sum(axis=1, keepdims=True), 1)
    shown = np.sort(np.argsort(-uses.sum(axis=0), kind="stable")[:MOST_BARS])
    colours = [COLOURS["first"], COLOURS["second"], COLOURS["good"], COLOURS["muted"]]
    commonest = np.sort(np.argsort(-uses.sum(axis=1), kind="stable")[: len(colours)])
    moves = [m for m in commonest.tolist() if uses[m].sum()]
    width = 0.84 / len(moves)
    with canvas(4.7, 2.9) as figure:
        axes = figure.subplots()
        for i, m in enumerate(moves):
            at = np.arange(len(shown)) + (i - (len(moves) - 1) / 2) * width
            label = f"says it, then takes {printable(report.move_names[m], 40)}"
            axes.bar(at, shares[m, shown], width * 0.94, color=colours[i % len(colours)], label=label)
        axes.set_xticks(range(len(shown)), [names[k] for k in shown])
        axes.tick_params(axis="x", labelcolor=COLOURS["ink"])
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.set_ylabel("of the symbols")
        axes.set_ylim(0, shares[moves][:, shown].max() * 1.05)
        figure.legend(loc="outside upper left", ncols=min(len(moves), 2))
        of = f", the {len(moves)} commonest of {len(uses)} moves" if len(uses) > len(moves) else ""
        return svg(figure, f"Use of each symbol by the move that its speaker then takes{of}")


def symbols_by_round(report: TokenReport, rounds: int = 10) -> str | None:
    """The share of each symbol in each of the first rounds; the fuller a cell, the more frequent."""
    counts = report.by_move.sum(axis=0)[:rounds]
    kept = counts.sum(axis=1) > 0.002 * max(counts.sum(), 1)
    counts = counts[: int(kept.sum())]
    if not counts.size or counts.shape[1] > 2 * MOST_BARS:
        return None
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [*map(str, range(counts.shape[1] - 1)), "EOT"]
    return heat(
        shares.T, [str(r + 1) for r in range(len(counts))], names, "round", "symbol", "Share of each symbol by round"
    )


def heat(values: np.ndarray, columns: list[str], rows: list[str], xlabel: str, ylabel: str, label: str) -> str:
    """A matrix of shares: each cell filled in proportion and written out in percent; NaN is left empty."""
    with canvas(4.7, 0.9 + 0.36 * len(rows)) as figure:
        axes = figure.subplots()
        for (y, x), value in np.ndenumerate(values):
            if np.isnan(value):
                continue
            axes.add_patch(_cell(x, y, float(value)))
            if len(columns) <= 12:
                axes.text(x, y, f"{100 * value:.0f}", ha="center", va="center", fontsize=9.5)
        _frame_of_cells(axes, columns, rows)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        return svg(figure, label)


def _cell(x: float, y: float, value: float, colour: str = COLOURS["first"]) -> Rectangle:
    return Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, facecolor=colour, alpha=0.04 + 0.6 * min(value, 1), lw=0)


def _frame_of_cells(axes: Axes, columns: list[str], rows: list[str]) -> None:
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(labelcolor=COLOURS["ink"])
    axes.grid(visible=False)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.spines["bottom"].set_visible(False)


def bits_by_round(result: Information, rounds: int = 24) -> str | None:
    """Bits about who yields after each round, with interval and null, over the rounds where decisions become known."""
    count = min(len(result.bits), rounds)
    if not count or not result.trusted:
        return None
    at = np.arange(1, count + 1)
    with canvas(4.7, 3.2) as figure:
        axes = figure.subplots()
        share = result.known_at[1 : count + 1] / max(int(result.known_at.sum()), 1)
        axes.bar(
            at, share, color=COLOURS["second"], alpha=0.35, width=0.8, label="decisions that become known in this round"
        )
        if result.null.size:
            null = np.quantile(result.null, 0.95, axis=0)[:count]
            axes.plot(
                at,
                np.maximum(null, 0),
                color=COLOURS["muted"],
                lw=1.2,
                ls=(0, (4, 3)),
                label="no relation (permuted answers)",
            )
        axes.fill_between(at, result.low[:count], result.high[:count], color=COLOURS["first"], alpha=0.25, lw=0)
        axes.plot(
            at,
            result.bits[:count],
            "o-",
            color=COLOURS["first"],
            lw=1.8,
            ms=4.5,
            label="bits known by then (95 % interval)",
        )
        axes.set_ylim(min(0, float(result.low.min())) - 0.01, 1.04)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("after round")
        axes.set_ylabel("bits, share")
        figure.legend(loc="outside upper left", ncols=1)
        told = f"{result.bits[0]:.2f} bits after round 1, {result.bits[count - 1]:.2f} at the end"
        return svg(figure, f"Information about who yields: {told}")


def decision_bits(result: tuple[Bits, ...]) -> str | None:
    """Bits about each decision by round, with interval, and the entropies of the answers."""
    if not result:
        return None
    with canvas(4.7, 3.2) as figure:
        axes = figure.subplots()
        hues = [COLOURS["first"], COLOURS["second"], COLOURS["good"], COLOURS["muted"]]
        for i, one in enumerate(result[: len(hues)]):
            axes.fill_between(one.rounds, one.low, one.high, color=hues[i], alpha=0.2, lw=0)
            axes.plot(one.rounds, one.bits, "o-", color=hues[i], lw=1.8, ms=4.5, label=printable(one.decision, 60))
            axes.axhline(one.entropy, color=hues[i], lw=0.9, ls=(0, (4, 3)))
        axes.axhline(0, color=COLOURS["muted"], lw=0.8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("after round")
        axes.set_ylabel("bits")
        figure.legend(loc="outside upper left", ncols=1)
        told = ", ".join(f"{one.decision} {one.bits[-1]:.2f} of {one.entropy:.2f}" for one in result)
        return svg(figure, f"Bits about the decisions at the end: {told}")


def rank_frequency(report: TokenReport) -> str | None:
    """Shares of the tokens by rank, and the Zipf law fitted to them."""
    frame = report.rank_frame()
    if len(frame) < 3:
        return None
    with canvas(4.7, 2.7) as figure:
        axes = figure.subplots()
        axes.loglog(frame["rank"], frame["zipf"], color=COLOURS["muted"], lw=1.4, label="fitted Zipf law")
        axes.loglog(frame["rank"], frame["share"], "o", color=COLOURS["first"], ms=6, label="tokens")
        if len(frame) <= MOST_BARS:
            for _, row in frame.iterrows():
                place = (row["rank"], row["share"])
                axes.annotate(
                    str(int(row["symbol"])), place, (0, 6), textcoords="offset points", ha="center", fontsize=9.5
                )
            axes.set_xticks(frame["rank"], frame["rank"].astype(str))
        axes.minorticks_off()
        axes.set_xlabel("rank")
        axes.set_ylabel("share (log)")
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.margins(y=0.2)
        figure.legend(loc="outside upper left", ncols=2)
        return svg(figure, "Rank and frequency of the tokens")


def explanations(result: Explanation) -> str | None:
    """For each explanation: unseen yielders named, moves on random dialogues, success of its machine against itself."""
    shown = [c for c in result.competitors if c.check.passed and c.accuracy.trials]
    if not shown:
        return None
    with canvas(4.7, 1.25 + 0.31 * len(shown)) as figure:
        axes = figure.subplots()
        for y, one in enumerate(shown):
            axes.plot([one.accuracy.low, one.accuracy.high], [y, y], color=COLOURS["first"], lw=2.4)
        marks: dict[str, tuple[str, str, list[Rate | None]]] = {
            "names held-out yielders": ("o", COLOURS["first"], [c.accuracy for c in shown]),
            "names the network's moves on random dialogues": ("D", COLOURS["good"], [c.random for c in shown]),
            "succeeds when it plays itself": ("s", COLOURS["second"], [_success_of(c.self_play) for c in shown]),
        }
        for label, (marker, colour, values) in marks.items():
            points = [(rate.value, y) for y, rate in enumerate(values) if rate is not None]
            if points:
                axes.plot(*zip(*points, strict=True), marker, color=colour, ms=6, label=label, alpha=0.9)
        axes.axvline(0.9, color=COLOURS["muted"], lw=0.9, ls=(0, (4, 3)))
        axes.set_yticks(range(len(shown)), [c.method for c in shown])
        axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlim(min(0.44, *(c.accuracy.low for c in shown)) - 0.02, 1.02)
        axes.xaxis.set_major_formatter(_PERCENT)
        axes.grid(axis="x")
        figure.legend(loc="outside upper left", ncols=1)
        return svg(figure, "How well each explanation predicts and plays")


def _success_of(play: Play | None) -> Rate | None:
    return play.success if play else None


def strata(result: Explanation) -> str | None:
    """For each stratum of random dialogues the share of what a rule can reach, of the rules that come nearest."""
    able = [c for c in result.competitors if c.check.passed and c.strata and c.method != "silent"]
    shown = sorted(able, key=lambda c: -min(part.share for part in c.strata))[:MOST_RULES]
    if not shown:
        return None
    with canvas(4.7, 3.1) as figure:
        axes = figure.subplots()
        hues = [COLOURS["first"], COLOURS["second"], COLOURS["good"], COLOURS["muted"]]
        names = [part.name for part in shown[0].strata]
        for one, hue in zip(shown, hues, strict=False):
            axes.plot(range(len(names)), [part.share for part in one.strata], "o-", color=hue, ms=5, label=one.method)
        axes.axhline(OF_THE_CEILING, color=COLOURS["muted"], lw=0.9, ls=(0, (4, 3)))
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.set_ylabel("moves named, of what\na rule can")
        axes.grid(axis="y")
        figure.legend(loc="outside upper left", ncols=2)
        told = ", ".join(f"{c.method} at least {100 * min(p.share for p in c.strata):.1f} %" for c in shown)
        return svg(figure, f"Random dialogues by stratum: {told}")


MOST_RULES = 4
"""Rules drawn beside each other by stratum."""


def interchange(result: Interchange) -> str | None:
    """What becomes of pairs when each part of the memory is exchanged, and what a push along the direction does."""
    parts = [one for one in result.interventions if one.flips.trials]
    if not parts:
        return None
    with canvas(4.7, 3.4) as figure:
        above, below = figure.subplots(2, 1, height_ratios=[len(parts), 4])
        for y, one in enumerate(parts):
            above.plot([one.flips.low, one.flips.high], [y, y], color=COLOURS["first"], lw=2.4)
            above.plot(one.flips.value, y, "o", color=COLOURS["first"], ms=6, label="" if y else "flips that must be")
            above.plot(one.stays.value, y, "|", color=COLOURS["second"], ms=9, label="" if y else "stays that must be")
        above.set_yticks(range(len(parts)), [one.part for one in parts])
        above.set_ylim(len(parts) - 0.5, -0.5)
        above.set_xlim(-0.02, 1.02)
        above.xaxis.set_major_formatter(_PERCENT)
        above.grid(axis="x")
        if result.steering:
            pushes, yields = zip(*result.steering, strict=True)
            below.plot(pushes, yields, "o-", color=COLOURS["good"], ms=4)
            below.set_xlabel("push (standard deviations)")
            below.set_ylabel("yields")
            below.yaxis.set_major_formatter(_PERCENT)
            below.set_ylim(0, 1)
        figure.legend(loc="outside upper left", ncols=2)
        told = ", ".join(f"{one.part} {100 * one.flips.value:.1f} %" for one in parts)
        return svg(figure, f"Pairs that flip when a part of the memory is exchanged: {told}")


def speaker(result: Speaker) -> str | None:
    """Bits that each rule needs for a symbol, down to the network's own entropy."""
    if not result.symbols:
        return None
    with canvas(4.7, 2.4) as figure:
        axes = figure.subplots()
        names, bits = [rule.looks_at for rule in result.rules], [rule.bits for rule in result.rules]
        axes.barh(range(len(names)), bits, color=COLOURS["first"], height=0.6)
        axes.axvline(result.entropy, color=COLOURS["second"], lw=1.2, label="the network's own entropy")
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel("bits for each symbol")
        axes.grid(axis="x")
        figure.legend(loc="outside upper left")
        told = ", ".join(f"{name} {value:.2f}" for name, value in zip(names, bits, strict=True))
        return svg(figure, f"Bits for each symbol: {told}; the network {result.entropy:.2f}")


def generalisation(frame: pd.DataFrame) -> str | None:
    """By the rounds of random dialogues: whether the network's views part, and what its rule names."""
    if not len(frame):
        return None
    with canvas(4.7, 2.6) as figure:
        axes = figure.subplots()
        axes.plot(frame.rounds, frame.ceiling, "o-", color=COLOURS["first"], ms=4, label="what a rule can reach")
        axes.plot(frame.rounds, frame.named, "s-", color=COLOURS["second"], ms=4, label=f"the {frame.method.iloc[0]}")
        axes.axvline(frame.longest_held.iloc[0], color=COLOURS["muted"], lw=0.9, ls=(0, (4, 3)))
        axes.set_xlabel("rounds of a random dialogue")
        axes.set_ylabel("moves named")
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.grid(axis="y")
        figure.legend(loc="outside upper left", ncols=2)
        return svg(figure, f"At {frame.rounds.iloc[-1]} rounds the rule names {100 * frame.named.iloc[-1]:.0f} %")


def weights(result: Explanation) -> str | None:
    """The weight of each symbol in the vote."""
    if not result.weights or len(result.weights) > 2 * MOST_BARS:
        return None
    names, values = list(result.weights), np.array(list(result.weights.values()))
    with canvas(4.7, 0.8 + 0.28 * len(names)) as figure:
        axes = figure.subplots()
        colours = [COLOURS["second"] if v > 0 else COLOURS["first"] for v in values]
        axes.barh(range(len(names)), values, color=colours, height=0.7)
        axes.axvline(0, color=COLOURS["muted"], lw=0.9)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("weight: to the right, saying it counts for yielding")
        told = ", ".join(f"{n} {v:+.2f}" for n, v in result.weights.items())
        return svg(figure, f"Weights of the vote: {told}")


def failures(report: SuccessReport) -> str | None:
    """Failed dialogues by kind."""
    kinds = {kind: count for kind, count in report.failures.items() if count}
    total = sum(kinds.values())
    if not total:
        return None
    with canvas(4.7, 0.7 + 0.3 * len(kinds)) as figure:
        axes = figure.subplots()
        axes.barh(range(len(kinds)), list(kinds.values()), color=COLOURS["second"], height=0.62)
        for y, count in enumerate(kinds.values()):
            axes.annotate(
                f"{count:,}".replace(",", " "),
                (count, y),
                (5, 0),
                textcoords="offset points",
                va="center",
                fontsize=9.5,
            )
        axes.set_yticks(range(len(kinds)), list(kinds))
        axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
        axes.set_ylim(len(kinds) - 0.5, -0.5)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.12)
        axes.set_xlabel(f"of {total:,} failures".replace(",", " "))
        return svg(figure, "Failures: " + ", ".join(f"{kind} {count}" for kind, count in kinds.items()))


def protocol_graph(result: Explanation, table: DialogueTable | None) -> str | None:
    """The states of the extracted machine and the traffic of dialogues between them."""
    if result.machine is None or table is None or not len(table) or not (table.n_rounds > 0).any():
        return None
    graph = flow(result.machine, table)
    at, counter = _places(graph), _counts(graph)
    with canvas(4.7, 2.3 if counter else 4.2) as figure:
        axes = figure.subplots()
        drawn = [(a, b, d) for a, b, d in graph.edges(data=True) if a != b and d["share"] >= 0.002]
        loudest = max((share for _, _, share in graph.edges(data="share")), default=1.0)
        busiest = sorted((d["share"] for _, _, d in drawn), reverse=True)[:MOST_NAMED]
        for source, target, data in drawn:
            bow = 0.75 if counter else 0.25
            _draw_arrow(axes, at[source], at[target], (data["share"] / loudest) ** 0.5, bow)
            if data["share"] >= busiest[-1]:
                said = " ".join("E" if s == result.machine.eot else str(s) for s in data["said"][0])
                axes.annotate(said, _middle(at[source], at[target], bow), ha="center", va="center", fontsize=7.5)
        for name, data in graph.nodes(data=True):
            size = 8 + 22 * data["visits"] ** 0.5
            axes.plot(*at[name], "o", ms=size, color=_side(data["yields"]), mec=COLOURS["paper"], mew=1.5)
            label = name.removeprefix("vote ").replace("+0", "0").rpartition("leans ")[2]
            below = (0, -3 - size / 2)
            axes.annotate(label, at[name], below, textcoords="offset points", ha="center", va="top", fontsize=9)
        axes.set_axis_off()
        axes.margins(0.06 if counter else 0.12)
        if counter:
            axes.set_ylim(-0.35, 1)
        return svg(
            figure, f"The machine {result.machine.name}: {len(graph)} states, starting in {graph.graph['initial']}"
        )


def _draw_arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], strength: float, bow: float) -> None:
    style = {
        "arrowstyle": "-|>,head_length=0.35,head_width=0.18",
        "connectionstyle": f"arc3,rad={bow if end[0] < start[0] else -bow}",
        "color": COLOURS["muted"],
        "alpha": 0.2 + 0.7 * strength,
        "lw": 0.5 + 3 * strength,
        "shrinkA": 6,
        "shrinkB": 7,
    }
    axes.annotate("", end, start, arrowprops=style)


MOST_NAMED = 14
"""Arrows of the protocol graph on which the commonest round is written."""


def _middle(start: tuple[float, float], end: tuple[float, float], bow: float) -> tuple[float, float]:
    """Where the arc of `_draw_arrow` has its middle: beside the line by half its bow."""
    (x, y), (u, v) = start, end
    side = (bow if u < x else -bow) / 2
    return (x + u) / 2 + side * (v - y), (y + v) / 2 - side * (u - x)


def _side(yields: float) -> str:
    if np.isnan(yields) or 0.25 < yields < 0.75:
        return COLOURS["muted"]
    return COLOURS["second"] if yields >= 0.75 else COLOURS["first"]


def _counts(graph: nx.DiGraph) -> bool:
    """Whether the states are those of a vote counter."""
    return all(str(name).startswith("vote ") for name in graph)


def _places(graph: nx.DiGraph) -> dict[str, tuple[float, float]]:
    """Vote counters on a line by their value, other machines by the pull of their edges."""
    if _counts(graph):
        return {name: (float(str(name).removeprefix("vote ")), 0.0) for name in graph}
    places = nx.kamada_kawai_layout(nx.Graph(graph)) if len(graph) > 1 else dict.fromkeys(graph, (0.0, 0.0))
    return {name: (float(x), float(y)) for name, (x, y) in places.items()}


def leaks(result: tuple[Leak, ...]) -> str | None:
    """How well who yields is told by other things than the content, with what chance reaches."""
    shown = [leak for leak in result if leak.accuracy.trials]
    if not shown:
        return None
    with canvas(4.7, 0.8 + 0.32 * len(shown)) as figure:
        axes = figure.subplots()
        for y, leak in enumerate(shown):
            colour = COLOURS["second"] if leak.leaks else COLOURS["first"]
            rate = leak.accuracy
            axes.plot([rate.low, rate.high], [y, y], color=colour, lw=2.4, solid_capstyle="round")
            axes.plot(rate.value, y, "o", color=colour, ms=6.5)
            axes.plot([leak.null, leak.null], [y - 0.25, y + 0.25], color=COLOURS["muted"], lw=1.6)
        axes.axvline(0.5, color=COLOURS["muted"], lw=0.9, ls=(0, (4, 3)))
        axes.set_yticks(range(len(shown)), [leak.source for leak in shown])
        axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlim(
            min(0.45, *(leak.accuracy.low for leak in shown)), max(0.6, *(x.accuracy.high for x in shown)) + 0.01
        )
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_formatter(_PERCENT)
        axes.set_xlabel("yielders named without the content")
        told = ", ".join(f"{leak.source} {100 * leak.accuracy.value:.1f} %" for leak in shown)
        return svg(figure, f"Role leaks: {told}")


def growth(result: tuple[Learned, ...]) -> str | None:
    """States of the automaton that answers like the network, by length of the dialogues."""
    if not result:
        return None
    with canvas(4.7, 2.5) as figure:
        axes = figure.subplots()
        at, states = [g.length for g in result], [g.n_states for g in result]
        axes.plot(at, states, "o-", color=COLOURS["first"], lw=1.8, ms=6.5)
        for g in result:
            label = str(g.n_states) if g.converged else f"more than {g.n_states - 1}"
            axes.annotate(label, (g.length, g.n_states), (0, 7), textcoords="offset points", ha="center", fontsize=9.5)
        axes.set_ylim(0, max(states) * 1.25)
        axes.margins(x=0.15)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("rounds before the closing one, at most")
        axes.set_ylabel("states")
        return svg(figure, "States by length: " + ", ".join(f"{g.length}: {g.n_states}" for g in result))


def drift(points: tuple[DriftPoint, ...]) -> str | None:
    """Agreement of the vote in each stretch of training with the last one."""
    if len(points) < 2:
        return None
    with canvas(4.7, 2.9) as figure:
        axes = figure.subplots()
        at = [max(p.last_episode, 1) for p in points]
        axes.plot(
            at,
            [p.accuracy.value for p in points],
            "o-",
            color=COLOURS["first"],
            lw=1.8,
            ms=5,
            label="its vote names the yielder",
        )
        axes.plot(
            at,
            [p.agreement for p in points],
            "s-",
            color=COLOURS["second"],
            lw=1.8,
            ms=5,
            label="decides as the last vote does",
        )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(_EPISODES)
        axes.minorticks_off()
        axes.set_ylim(-0.02, 1.05)
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.set_xlabel("up to episode")
        figure.legend(loc="outside upper left", ncols=1)
        return svg(figure, "Drift of the protocol over training")


def matrix(shares: np.ndarray, names: Sequence[str], xlabel: str, ylabel: str, label: str) -> str:
    """A share for every run with every other."""
    short = [name if len(name) <= 14 else f"{name[:6]}…{name[-6:]}" for name in names]
    numbered = short if len(names) <= 6 else [str(i + 1) for i in range(len(names))]
    rows = short if len(names) <= 6 else [f"{i + 1} {name}" for i, name in enumerate(short)]
    return heat(shares, numbered, rows, xlabel, ylabel, f"{label}, percent")


def alikeness(cosine: np.ndarray, names: Sequence[str]) -> str:
    """Likeness of the vote weights of every two runs; opposite conventions in the second colour."""
    count = len(names)
    with canvas(4.7, 0.9 + 0.36 * count) as figure:
        axes = figure.subplots()
        for (y, x), value in np.ndenumerate(cosine):
            if np.isnan(value):
                continue
            axes.add_patch(_cell(x, y, abs(float(value)), COLOURS["first" if value >= 0 else "second"]))
            if count <= 12:
                axes.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=9.5)
        short = [name if len(name) <= 14 else f"{name[:6]}…{name[-6:]}" for name in names]
        _frame_of_cells(axes, short if count <= 6 else [str(i + 1) for i in range(count)], short)
        return svg(figure, "Likeness of the vote weights")
