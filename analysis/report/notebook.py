"""The report's pieces in a notebook: the dialogue browser, one measure with its figure, a table of dialogues.

Everything here has a `_repr_html_`, or is a data frame, so that the last line of a cell shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.data.dialogue_text import line
from analysis.report import chapters, svg
from analysis.report.findings import Findings
from analysis.report.html import table, text
from analysis.report.write import render
from emcomm.dialogues import DialogueTable
from emcomm.errors import BadInput
from emcomm.printable import printable
from envs.game import Declaration


@dataclass(frozen=True)
class Html:
    """What a notebook shows as HTML."""

    html: str

    def _repr_html_(self) -> str:
        return self.html


def browse(found: Findings, height: int = 1_000) -> Html:
    """The game against the network and the dialogue browser, in a frame that fetches nothing.

    Parameters
    ----------
    found : Findings
        Of `study`.
    height : int
        Of the frame (pixels).

    Returns
    -------
    Html
        What a cell shows.

    Examples
    --------
    `browse(analysis.study(run, analysis.QUICK))`
    """
    page = render([found], whole=False)
    return Html(
        f'<iframe srcdoc="{text_of_page(page)}" sandbox="allow-scripts" title="dialogues of {text(found.name)}" '
        f'style="width: 100%; height: {height:d}px; border: 0"></iframe>'
    )


def text_of_page(page: str) -> str:
    """A whole page, fit for the attribute of a frame."""
    return page.replace("&", "&amp;").replace('"', "&quot;")


def shown(found: Findings, name: str) -> Html:
    """One measure as the report shows it: its title, figure, caption and tables; or the reason why it is missing.

    Raises BadInput for a measure that there is not.
    """
    measure = next((m for m in found.measures if m.name == name), None)
    if measure is None:
        raise BadInput(f"there is no measure {name!r}: they are {', '.join(m.name for m in found.measures)}")
    if name not in found.results:
        why = found.absent.get(name, "it failed: see problems")
        return Html(f"<p><b>{text(measure.heading)}</b> is not shown here: {text(why)}.</p>")
    card = chapters.card_of(measure, found)
    if not card:
        frames = measure.tables_of(found.results[name]).items()
        card = "".join(table(frame, str(key), len(frame)) for key, frame in frames)
    return Html(f'<div style="max-width: 46em">{svg.standalone(card)}</div>')


def dialogue_frame(dialogues: DialogueTable, game: Declaration, n_tokens: int) -> pd.DataFrame:
    """Dialogues as a table: what was said, EOT by its name, rounds, the move of each agent, and the outcome in the
    game's words, or where the game declares no success the mean reward."""
    ends = np.cumsum(dialogues.n_rounds)
    said = [
        line(dialogues.symbols[end - rounds : end], n_tokens)
        for end, rounds in zip(ends.tolist(), dialogues.n_rounds.tolist(), strict=True)
    ]
    moves = {
        printable(name, 60): [
            "–" if m < 0 else printable(game.move_names[m], 60) for m in dialogues.moves[:, i].tolist()
        ]
        for i, name in enumerate(game.agent_names)
    }
    ended: dict[str, Any] = {"mean reward": dialogues.rewards.mean(axis=1)}
    if dialogues.judged:
        words = game.words
        ended = {"outcome": [printable(words.success if s else words.failure, 60) for s in dialogues.success.tolist()]}
    return pd.DataFrame({"dialogue": said, "rounds": dialogues.n_rounds, **moves, **ended})
