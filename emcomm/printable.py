"""Words from files and folders, made safe to print: nothing in them can move the cursor or hide a line."""

from __future__ import annotations

import re

MOST = 1_000
"""Characters of one printed piece; the rest is only counted."""
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, signs that reverse the direction of writing, and halves of characters."""


def printable(words: object, most: int | None = MOST) -> str:
    """`words` with what a terminal would obey written out, and shortened to `most` characters.

    A byte of a file name that is no UTF-8 is written as that byte.

    >>> printable("run-\\x1b[2J\\udcff")
    'run-\\\\x1b[2J\\\\xff'
    >>> printable("a" * 1_200, most=3)
    'aaa… (1,200 characters)'
    """
    text = str(words)
    kept = text if most is None or len(text) <= most else text[:most]
    safe = _UNPRINTABLE.sub(_written_out, kept)
    return safe if kept is text else f"{safe}… ({len(text):,} characters)"


def _written_out(sign: re.Match[str]) -> str:
    code = ord(sign[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte that it could not decode
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
