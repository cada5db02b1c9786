"""Files that appear whole or not at all, in a folder that one process at a time writes into."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from emcomm.errors import BadInput, Fault
from emcomm.printable import printable

UNFINISHED = (".emcomm-*.tmp", ".report.html.tmp")
"""What a killed process leaves behind: of this version, and of earlier ones."""
LONGEST = 180
"""Bytes of a file name that comes from a run; file systems allow 255."""
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, beside `path`: renamed to it when all went well, removed when not. Raises OSError."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED[0].split("*")[0], suffix=".tmp")
    os.close(handle)
    unfinished = Path(name)
    try:
        yield unfinished
        unfinished.chmod(0o644)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all; raises OSError."""
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Make `folder` where it is missing, and keep other processes from claiming it meanwhile.

    Raises BadInput where another has claimed it or it cannot be made, Fault where the disk is full. A folder that was
    made here and is still empty at the end is removed. Where a file system has no locks, none is taken.
    """
    made = _make(folder)
    try:
        with _locked(folder):
            for unfinished in (path for name in UNFINISHED for path in folder.rglob(name)):
                with contextlib.suppress(OSError):
                    unfinished.unlink()
            yield
    finally:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _make(folder: Path) -> bool:
    """Make a folder; returns whether it was missing."""
    try:
        missing = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in FULL:
            raise cannot_write(folder, error) from error
        why = "a file or a link to nowhere has that name" if isinstance(error, FileExistsError) else error.strerror
        raise BadInput(f"the folder {folder} cannot be made: {why}; choose another --out") from error
    return missing


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of the folder itself, so that no file is needed for it."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise BadInput(f"the folder {folder} cannot be read: {error.strerror}; choose another --out") from error
    try:
        if not _lock(handle) or not folder.exists():
            raise BadInput(f"another analysis is writing into {folder}: wait for its end, or choose another --out")
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    """Take the lock of an open folder; returns whether it was free. A file system without locks always is."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def cannot_write(folder: Path, error: OSError) -> Fault:
    """What to say, and to do, where writing into `folder` failed."""
    where = error.filename2 or error.filename or folder
    advice = "free some space" if error.errno in FULL else "make room for it"
    return Fault(
        f"cannot write {os.fsdecode(where)}: {error.strerror or error}. What was there is unchanged: {advice}, or "
        "choose another --out, and give the command again"
    )


def file_name(name: str) -> str:
    """The name of a run as one for a file: what cannot be printed is written out, and a long one is shortened.

    >>> file_name("run"), len(file_name("r" * 255))
    ('run', 180)
    """
    safe = printable(name, most=None).encode()
    if len(safe) <= LONGEST:
        return safe.decode()
    digest = hashlib.sha256(safe).hexdigest()[:12]
    return f"{safe[: LONGEST - 13].decode(errors='ignore')}-{digest}"
