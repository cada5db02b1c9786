"""A run's folder, mirrored from the node that makes the run to the disk of the driver, a piece at a time.

At any moment the mirror is a run that can be resumed: parts of the log come before the checkpoints that follow them,
and the summary comes last. Files still being written (`*.tmp`) and locks stay where they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from emcomm import files
from emcomm.errors import BadInput

_LATE = ("checkpoints", "measured", "summary.json")
"""What stands at the end of a piece of work, and so is read before and sent after the rest."""


class Piece(NamedTuple):
    """A file or the end of one; `content` is None where the file is gone."""

    path: str
    """Relative to the run's folder."""
    content: bytes | None
    offset: int = 0
    """Where the content belongs (bytes); from 0 it is the whole file."""


class Mirror:
    """What is new in a folder; what lies there at the start is known on the other side."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sent = {path: _stamp(folder / path) for path in _names(folder)}

    def news(self) -> list[Piece]:
        """What has changed since the last time, in the order in which it is to be written."""
        there = list(_names(self._folder))
        late = [name for name in there if name.split("/")[0] in _LATE]
        pieces = list(self._changed(late))  # read first: what they follow lies there already
        early = list(self._changed([name for name in _names(self._folder) if name.split("/")[0] not in _LATE]))
        gone = [Piece(name, None) for name in sorted(self._sent.keys() - set(_names(self._folder)))]
        for piece in gone:
            del self._sent[piece.path]
        return [*early, *pieces, *gone]

    def _changed(self, names: list[str]) -> Iterator[Piece]:
        for name in names:
            path = self._folder / name
            try:
                stamp = _stamp(path)
                known = self._sent.get(name)
                if stamp == known:
                    continue
                grows = known is not None and name.startswith("tensorboard/") and stamp[0] > known[0]
                start = known[0] if grows and known else 0
                with path.open("rb") as file:
                    file.seek(start)
                    content = file.read(stamp[0] - start)
            except FileNotFoundError:  # an old checkpoint
                continue
            self._sent[name] = stamp
            yield Piece(name, content, start)


def content_of(folder: Path) -> list[Piece]:
    """A whole folder; nothing where there is none."""
    return [Piece(name, (folder / name).read_bytes()) for name in _names(folder)]


def receive(folder: Path, piece: Piece) -> None:
    """Write a piece down; raises OSError, and BadInput for one that would lie outside the folder."""
    name = PurePosixPath(piece.path)
    if name.is_absolute() or ".." in name.parts or not name.parts:
        raise BadInput(f"a node has sent {piece.path!r}, which lies outside {folder}")
    path = folder / name
    files.require_inside(path, folder)
    if piece.content is None:
        files.remove(path)
        return
    files.make_folder(path.parent)
    if not piece.offset:
        files.write(path, piece.content)
        return
    with path.open("r+b") as file:
        file.truncate(piece.offset)
        file.seek(piece.offset)
        file.write(piece.content)


def _names(folder: Path) -> Iterator[str]:
    """The files of a run, relative to it."""
    for above, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.endswith(".tmp"))
        for name in sorted(names):
            if not name.endswith(".tmp") and name != ".lock":
                yield (Path(above) / name).relative_to(folder).as_posix()


def _stamp(path: Path) -> tuple[int, int]:
    """What changes with a file's content: size (bytes) and time (ns)."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns
