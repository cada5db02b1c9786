"""Figures as SVG that take their colours from the page: legible in light and in dark, without a second copy.

A figure is drawn in the colours below; in the SVG they become CSS variables of the same name, which the page defines.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from matplotlib.figure import Figure

from emcomm.printable import printable

COLOURS = {
    "ink": "#26303a",
    "muted": "#7d8893",
    "grid": "#dcdcd6",
    "paper": "#fbfaf7",
    "first": "#0072b2",
    "second": "#d55e00",
    "good": "#009e73",
    "bad": "#c82c1e",
}
"""Name of the CSS variable -> colour in the drawing. The data colours can be told apart by colour-blind readers."""

_STYLE: dict[Any, Any] = {
    "font.size": 10.5,
    "axes.titlesize": 10.5,
    "patch.edgecolor": "none",
    "patch.force_edgecolor": False,
    "text.color": COLOURS["ink"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.edgecolor": COLOURS["grid"],
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "font.sans-serif": ["Arial", "DejaVu Sans", "Liberation Sans", "sans-serif"],
    "axes.spines.left": False,
    "grid.color": COLOURS["grid"],
    "grid.linewidth": 0.8,
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "emcomm",
    "text.parse_math": False,  # names from runs stand in figures, and a $ in one is no formula
}


@contextmanager
def canvas(width: float = 4.7, height: float = 3.0) -> Iterator[Figure]:
    """A figure of `width` × `height` inches in the style of the report."""
    import matplotlib.style

    with matplotlib.style.context(["seaborn-v0_8-ticks", _STYLE]):
        yield Figure(figsize=(width, height), layout="constrained")


def svg(figure: Figure, label: str) -> str:
    """The figure as an SVG element for a page, described by `label` for those who cannot see it."""
    from html import escape

    layout = figure.get_layout_engine()
    if layout is not None:  # once; saving would draw everything a second time for it
        layout.execute(figure)
        figure.set_layout_engine(None)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r"(\d)pt\"", r'\1"', text, count=2)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r" ?font-family: [^;\"]*;?", "", text)
    for name, colour in COLOURS.items():
        text = text.replace(colour, f"var(--{name})")
    text = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), text)  # where, not what is written
    described = escape(printable(label, None), quote=True)
    return text.replace("<svg", f'<svg role="img" aria-label="{described}"', 1).strip()


def standalone(drawn: str) -> str:
    """An SVG element of `svg` as a picture of its own, in the light colours: for notebooks and files.

    >>> standalone('<svg fill="var(--first)"/>')
    '<svg fill="#0072b2"/>'
    """
    for name, colour in COLOURS.items():
        drawn = drawn.replace(f"var(--{name})", colour)
    return drawn
