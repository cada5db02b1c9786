"""The figures of the chapter on meaning: pure functions from results to an SVG element, or None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.patches import Rectangle

from analysis.metrics.lexicon import Cell
from analysis.metrics.resampling import Estimate
from analysis.metrics.symbol_information import SymbolBits
from analysis.metrics.told_capacity import Capacity
from analysis.report.figures import MOST_BARS, heat
from analysis.report.svg import COLOURS, canvas, svg
from emcomm.printable import printable

MOST_VALUES, MOST_ROUNDS = 24, 8
"""Rows and columns of the lexicon's figure."""


def lexicon(cells: Sequence[Cell]) -> str | None:
    """For each meaning and each round the commonest symbol, in a cell as dark as it is frequent.

    Of a speaker with too many meanings the values of its attributes are shown.
    """
    whole = {c.speaker for c in cells if not c.attribute}
    shown = [c for c in cells if not c.attribute or c.speaker not in whole]
    rows = list(dict.fromkeys((c.speaker, c.attribute, c.meaning) for c in shown))[:MOST_VALUES]
    rounds = min(max((c.round for c in shown), default=0), MOST_ROUNDS)
    if not rows or not rounds:
        return None
    several = len({speaker for speaker, _, _ in rows}) > 1
    names = [printable(f"{speaker}: {meaning}" if several else meaning, 40) for speaker, _, meaning in rows]
    with canvas(4.7, 0.9 + 0.34 * len(rows)) as figure:
        axes = figure.subplots()
        for c in shown:
            if (c.speaker, c.attribute, c.meaning) not in rows or c.round > rounds:
                continue
            x, y = c.round - 1, rows.index((c.speaker, c.attribute, c.meaning))
            colour = COLOURS["muted"] if c.symbol == "–" else COLOURS["first"]
            depth = 0.04 + (0.12 if c.symbol == "–" else 0.6) * c.said.value
            axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, lw=0, facecolor=colour, alpha=depth))
            says = f"{c.symbol} ({100 * c.said.value:.0f} %)" if rounds <= 5 else c.symbol
            axes.text(x, y, says, ha="center", va="center", fontsize=9.5)
        for y, (one, other) in enumerate(pairwise(rows)):
            if one[:2] != other[:2]:
                axes.axhline(y + 0.5, color=COLOURS["muted"], lw=0.8)
        axes.set_xticks(range(rounds), [str(t + 1) for t in range(rounds)])
        axes.set_yticks(range(len(rows)), names)
        axes.tick_params(labelcolor=COLOURS["ink"])
        axes.grid(visible=False)
        axes.set_xlim(-0.5, rounds - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.spines["bottom"].set_visible(False)
        axes.set_xlabel("round")
        earliest = min(c.round for c in shown)
        first = ", ".join(f"{c.meaning}: {c.symbol}" for c in shown if c.round == earliest)
        return svg(figure, f"What is said in round {earliest}: {first}")


def told_by_round(found: Sequence[SymbolBits]) -> str | None:
    """The share of each attribute that the symbol of each round tells."""
    rows = list(dict.fromkeys((one.speaker, one.about) for one in found))[:MOST_VALUES]
    rounds = min(max((one.round for one in found), default=0), MOST_BARS)
    if not rows or not rounds:
        return None
    shares = np.full((len(rows), rounds), np.nan)
    for one in found:
        if (one.speaker, one.about) in rows and one.round <= rounds and one.entropy > 0:
            shares[rows.index((one.speaker, one.about)), one.round - 1] = max(one.bits.value, 0) / one.entropy
    several = len({speaker for speaker, _ in rows}) > 1
    names = [printable(f"{speaker}: {about}" if several else about, 40) for speaker, about in rows]
    return heat(
        shares, [str(t + 1) for t in range(rounds)], names, "round", "", "Share of each attribute told by round"
    )


def estimates(found: Mapping[str, Estimate]) -> str | None:
    """Figures from 0 to 1 with their intervals, and a tick where permuted meanings end."""
    there = {name: one for name, one in found.items() if np.isfinite(one.value)}
    if not there:
        return None
    with canvas(4.7, 0.85 + 0.31 * len(there)) as figure:
        axes = figure.subplots()
        for y, one in enumerate(there.values()):
            axes.plot([one.low, one.high], [y, y], color=COLOURS["first"], lw=2.4, solid_capstyle="round")
            axes.plot(one.value, y, "o", color=COLOURS["first"], ms=6.5, zorder=3, clip_on=False)
            axes.plot([one.null, one.null], [y - 0.3, y + 0.3], color=COLOURS["muted"], lw=1.6)
            axes.annotate(f"{one.value:.2f}", (1.04, y), xycoords=("axes fraction", "data"), va="center", fontsize=9.5)
        axes.set_yticks(range(len(there)), [printable(name, 40) for name in there])
        axes.tick_params(axis="y", labelcolor=COLOURS["ink"], pad=8)
        axes.set_ylim(len(there) - 0.5, -0.5)
        axes.set_xlim(min(0, *(min(one.low, one.null) for one in there.values())), 1)
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("with 95 % interval; tick: chance")
        return svg(
            figure, ", ".join(f"{name} {one.value:.2f}, by chance {one.null:.2f}" for name, one in there.items())
        )


def capacity(found: Sequence[Capacity]) -> str | None:
    """Bits told, beside the bits that are known and those that the symbols could tell."""
    bars = {"told": "first", "known": "second", "could be told": "muted"}
    with canvas(4.7, 0.9 + 0.8 * len(found)) as figure:
        axes = figure.subplots()
        most = 0.0
        for i, c in enumerate(found):
            for k, (bits, (name, colour)) in enumerate(
                zip((max(c.told, 0), c.of_meanings, c.of_symbols), bars.items(), strict=True)
            ):
                y = i + 0.27 * (k - 1)
                shown = min(bits, 3 * max(c.of_meanings, 0.1))
                most = max(most, shown)
                axes.barh(y, shown, 0.24, color=COLOURS[colour], label=name if not i else None)
                axes.annotate(f"{bits:.2f}", (shown, y), (4, 0), textcoords="offset points", va="center", fontsize=9)
        axes.set_yticks(range(len(found)), [printable(c.speaker, 40) for c in found])
        axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
        axes.set_ylim(len(found) - 0.5, -0.5)
        axes.set_xlim(0, most * 1.12)
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("bits")
        figure.legend(loc="outside upper left", ncols=3)
        return svg(figure, "; ".join(f"{c.speaker}: {c.told:.2f} bits told of {c.of_meanings:.2f}" for c in found))
