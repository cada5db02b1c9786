"""Small pieces of HTML. Everything that comes from files is escaped here, and only here."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from html import escape
from typing import Any

import pandas as pd

from emcomm.printable import printable

_PERCENT = {
    "success",
    "share",
    "accuracy",
    "random",
    "random_low",
    "random_high",
    "self_play",
    "network_play",
    "cut",
    "known_at",
    "zipf",
}
"""Columns that hold shares; `low` and `high` after one of them do so, too."""
MOST_ROWS = 60
MOST_SIGNS = 10_000
"""Characters of one piece of text: a name from a file must not make the page endless."""


def text(value: object) -> str:
    """Words from anywhere, safe inside an element or a quoted attribute.

    >>> text('<b "x">')
    '&lt;b &quot;x&quot;&gt;'
    """
    return escape(printable(value, MOST_SIGNS), quote=True)


def embedded(value: Any) -> str:
    """JSON that can stand inside a script element; raises ValueError for NaN.

    >>> embedded("</script>")
    '"\\\\u003c/script\\\\u003e"'
    """
    packed = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for sign in "<>&\u2028\u2029":
        packed = packed.replace(sign, f"\\u{ord(sign):04x}")
    return packed.encode("utf-8", "backslashreplace").decode()  # halves of characters, as JSON writes them


def table(frame: pd.DataFrame, caption: str, unfolded: int = 0) -> str:
    """A data frame, folded away under its caption; long ones are shortened and say so.

    With `unfolded`, so many rows stand open.
    """
    most = unfolded or MOST_ROWS
    head = "".join(f'<th scope="col">{text(str(name).replace("_", " "))}</th>' for name in frame.columns)
    shares = columns_of_shares(frame)
    body = "".join(_row(row, shares) for row in frame.head(most).itertuples(index=False))
    more = f"<p class=more>{len(frame) - most} more rows: --csv writes them all.</p>" if len(frame) > most else ""
    return (
        f"<details class=numbers{' open' if unfolded else ''}><summary>{text(caption)}</summary>"
        f'<div class=scroll tabindex=0 role=region aria-label="{text(caption)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}</details>"
    )


def columns_of_shares(frame: pd.DataFrame) -> list[bool]:
    """Which columns hold shares.

    >>> columns_of_shares(pd.DataFrame(columns=["success", "low", "high"]))
    [True, True, True]
    >>> columns_of_shares(pd.DataFrame(columns=["round", "bits", "low", "high", "share_said_so"]))
    [False, False, False, False, True]
    """
    shares: list[bool] = []
    for name in map(str, frame.columns):
        ends_of_share = name in ("low", "high") and bool(shares) and shares[-1]
        shares.append(ends_of_share or name in _PERCENT or name.startswith("share"))
    return shares


def _row(values: Iterable[Any], shares: list[bool]) -> str:
    cells = []
    for share, value in zip(shares, values, strict=True):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        cells.append(f"<td{' class=n' if number else ''}>{text(shown(value, share))}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def shown(value: Any, share: bool = False) -> str:
    """A value as a reader expects it: percentages, three digits, thin spaces between thousands, a dash for nothing.

    >>> shown(0.98765, share=True), shown(12345), shown(float("nan")), shown(True)
    ('98.8 %', '12\u202f345', '–', 'yes')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, float) and math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if share and 0.9995 <= value < 1:
        return f"{100 * value:.2f} %"
    if share:
        return f"{100 * value:.1f} %" if abs(value) >= 0.001 or value == 0 else f"{100 * value:.2g} %"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def card(title: str, figure: str | None, says: str, numbers: str = "", always: bool = False, wide: bool = False) -> str:
    """A figure with what it says in one sentence and its table; nothing where there is no figure and no table.

    With `always`, what it says stands alone; `wide`, across all columns.
    """
    if figure is None and not numbers and not always:
        return ""
    return (
        f"<figure class='card{' wide' * wide}'><h4>{text(title)}</h4>"
        f"{figure or ''}<figcaption>{text(says)}</figcaption>{numbers}</figure>"
    )


def chapter(title: str, says: str, cards: Iterable[str], anchor: str = "") -> str:
    """A row of cards under a heading; nothing where there are none."""
    kept = "".join(cards)
    head = f"<h3>{text(title)}</h3><p class=says>{text(says)}</p>"
    at = f' id="{text(anchor)}"' if anchor else ""
    return f"<section class=chapter{at}>{head}<div class=cards>{kept}</div></section>" if kept else ""


def fact(value: str, name: str, says: str) -> str:
    """A key figure."""
    return f"<div class=fact><dt>{text(name)}</dt><dd>{text(value)}</dd><p>{text(says)}</p></div>"
