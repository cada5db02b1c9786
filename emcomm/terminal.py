"""What `python -m emcomm.analyze` prints of one run: token statistics, key figures, the sentence, what is missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from analysis.metrics.token_statistics import TokenReport
from analysis.report.chapters import key_lines, not_shown
from analysis.report.findings import Findings
from analysis.report.html import columns_of_shares, shown
from emcomm.printable import printable

MOST_NOTES = 20
"""Notes of one run that are printed; the report has them all."""
WIDEST = 10_000
"""Columns of a table that is not printed on a terminal."""
MOST_SYMBOLS = 12
"""Symbols of which a line is printed: the most frequent ones."""
MOST_COLUMNS = 6
"""Decisions or roles, and rounds, for which shares are printed: a line has 80 characters."""
MOST_DIALOGUES = 5


def print_line(console: Console, words: object) -> None:
    """A line of words from anywhere."""
    console.print(printable(words), soft_wrap=True, markup=False)


def print_notes(console: Console, problems: Sequence[str]) -> None:
    """What was missing, the first of it in full."""
    for problem in problems[:MOST_NOTES]:
        console.print(f"[yellow]note:[/] {escape(printable(problem))}", soft_wrap=True)
    if len(problems) > MOST_NOTES:
        console.print(f"[yellow]note:[/] {len(problems) - MOST_NOTES:,} more, in the report", soft_wrap=True)


def print_run(console: Console, findings: Findings) -> None:
    """Everything about one run."""
    console.print()
    print_line(console, findings.run.path)
    if findings.tokens is not None and findings.tokens.counts.sum():
        _print_tokens(console, findings.tokens)
    table = _plain_table("", "figure", "")
    table.columns[1].justify = "right"
    for line in key_lines(findings):
        name, figure, remark = (escape(printable(part)) for part in line)
        table.add_row(name, f"[bold]{figure}[/]", f"[dim]{remark}[/]")
    console.print()
    console.print(table)
    console.print(Padding(f"[bold green]{escape(printable(findings.sentence))}[/]", (1, 0, 0, 0)))
    for says in not_shown(findings):
        console.print(f"[dim]not shown: {escape(printable(says))}[/]", soft_wrap=True)
    print_notes(console, findings.problems)


def _plain_table(*columns: str) -> Table:
    return Table(*columns, box=None, padding=(0, 2, 0, 0))


def _print_tokens(console: Console, tokens: TokenReport) -> None:
    """Token statistics: shares by decision or role and by round, entropies, lengths, the commonest dialogues."""
    console.print()
    console.print(_shares(tokens))
    entropy, given = tokens.unigram, tokens.given_one
    after = f", {given.bits:.2f} given the one before" if given.trusted else ""
    said = tokens.tokens_said
    mean_said = float(np.arange(len(said)) @ said / max(said.sum(), 1))
    rounds = tokens.n_rounds
    middle = int(np.searchsorted(np.cumsum(rounds), rounds.sum() / 2)) if rounds.sum() else 0
    print_line(console, f"entropy of a symbol {entropy.bits:.2f} bits{after}")
    print_line(
        console, f"rounds: median {middle}, longest {len(rounds) - 1}; tokens said by an agent: mean {mean_said:.2f}"
    )
    console.print(_dialogues(tokens))


def _shares(tokens: TokenReport) -> Table:
    """One line for each symbol: its share, by what its speaker then does or by role, and by round."""
    frame = tokens.frequency_frame() if len(tokens.roles) < 2 else tokens.role_tables()["roles"]
    groups = [name for name in frame.columns if str(name).startswith(("share before ", "share of "))]
    if len(groups) == len(tokens.by_move) > 3:  # the moves that are taken most
        groups = [groups[m] for m in np.sort(np.argsort(-tokens.by_move.sum(axis=(1, 2)), kind="stable")[:3])]
    groups = groups[:3]
    by_round = tokens.by_move.sum(axis=0)[: MOST_COLUMNS - len(groups)]
    by_round = by_round[by_round.sum(axis=1) > 0]
    table = _plain_table(
        "symbol",
        "share",
        *(escape(printable(str(name).removeprefix("share "), 30)) for name in groups),
        *(f"round {r + 1}" for r in range(len(by_round))),
    )  # fmt: skip
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    shares = tokens.counts / max(int(tokens.counts.sum()), 1)
    in_round = by_round / np.maximum(by_round.sum(axis=1, keepdims=True), 1)
    commonest = np.sort(np.argsort(-tokens.counts, kind="stable")[:MOST_SYMBOLS])
    for s in commonest.tolist():
        cells = [shares[s], *(frame[name][s] for name in groups), *in_round[:, s]]
        table.add_row(f"[bold]{frame['symbol'][s]}[/]", *(shown(float(cell), share=True) for cell in cells))
    if len(tokens.counts) > MOST_SYMBOLS:
        table.caption = f"the {MOST_SYMBOLS} most frequent of {len(tokens.counts)} symbols; --tables tokens has all"
        table.caption_justify = "left"
    return table


def _dialogues(tokens: TokenReport) -> Table:
    """The commonest dialogues."""
    frame = tokens.twin_frame().head(MOST_DIALOGUES)
    figures = [name for name in ("share", "success") if name in frame]
    table = _plain_table(f"commonest dialogues{' (mirror images as one)' if tokens.joins_twins else ''}", *figures)
    for column in table.columns[1:]:
        column.justify = "right"
    for _, row in frame.iterrows():
        text = printable(row["dialogue"], 60)
        table.add_row(escape(text), *(shown(row[name], share=True) for name in figures))
    return table


def print_table(console: Console, name: str, frame: pd.DataFrame) -> None:
    """A whole table: nothing of it is cut, and what is no terminal is as wide as the table."""
    table = _plain_table(*(escape(printable(str(column).replace("_", " "), 60)) for column in frame.columns))
    if table.columns:
        table.columns[0].no_wrap = True
    for column in table.columns:
        column.overflow = "fold"
    shares = columns_of_shares(frame)
    for row in frame.itertuples(index=False):
        cells = [shown(value, share) for value, share in zip(row, shares, strict=True)]
        table.add_row(*(escape(printable(cell, 200)) for cell in cells))
    console.print()
    print_line(console, f"table {name}")
    whole = console.measure(table, options=console.options.update(max_width=WIDEST)).maximum
    if not console.is_terminal:
        console = Console(file=console.file, width=max(whole, console.width), highlight=False)
    console.print(table)
