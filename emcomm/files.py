"""The file layer: what is written appears whole or not at all and outlasts a power cut; what is read is limited.

Every step that changes the disk is announced to `before_step` first, so that a test can make any of them fail.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from emcomm.errors import BadInput
from emcomm.schemas import LARGEST_JSON, decoded

T = TypeVar("T")

before_step: Callable[[str, Path], None] = lambda step, path: None  # noqa: E731 (a test puts its own here)
"""Called with the name of a step (write, sync, rename, make, remove) and its path; what it raises, the step raises."""


_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

# -- writing -----------------------------------------------------------------------------------------------------------


def write(path: Path, content: bytes | str) -> None:
    """Write a file, whole or not at all, and return when it lies on the disk itself; raises OSError."""
    unfinished = path.with_name(path.name + ".tmp")
    try:
        before_step("write", unfinished)
        with os.fdopen(os.open(unfinished, _NEW_FILE, 0o666), "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            before_step("sync", unfinished)
            os.fsync(file.fileno())
        rename(unfinished, path)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise


def open_new(path: Path) -> BinaryIO:
    """A file to append to as one goes; raises OSError."""
    before_step("write", path)
    return os.fdopen(os.open(path, _NEW_FILE, 0o666), "wb")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON file, whole or not at all; raises OSError, and ValueError for a NaN."""
    write(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def rename(source: Path, target: Path) -> None:
    """Give a file or folder another name, in the place of a file or an empty folder there; raises OSError."""
    before_step("rename", target)
    source.rename(target)
    for folder in {source.parent, target.parent}:
        sync_folder(folder)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where it is missing; raises OSError."""
    if not path.is_dir():
        before_step("make", path)
        path.mkdir(parents=True, exist_ok=True)
        sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it is there; raises OSError."""
    if not os.path.lexists(path):
        return
    before_step("remove", path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def set_aside(path: Path, folder: Path) -> Path:
    """Move a file into `folder` under a name that is free there; returns where it is now. Raises OSError."""
    make_folder(folder)
    target, count = folder / path.name, 1
    while os.path.lexists(target):
        count += 1
        target = folder / f"{path.stem}-{count}{path.suffix}"
    rename(path, target)
    return target


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder lie on the disk itself; raises OSError."""
    before_step("sync", folder)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# -- reading -----------------------------------------------------------------------------------------------------------


def no_folder(path: Path, kind: str) -> BadInput:
    """What to raise where a folder of some kind was named and there is none."""
    if path.exists():
        return BadInput(f"{path} is a file, and a {kind} is wanted")
    return BadInput(f"there is no {kind} {path}")


@contextmanager
def opened(path: Path, within: Path, largest: int) -> Iterator[BinaryIO]:
    """A file to read; raises BadInput unless it is a regular file of at most `largest` bytes that lies in `within`.

    A link that leads out of `within`, a pipe or a device could hang the reader, or show it what is not of the run.
    A missing file raises FileNotFoundError.
    """
    require_inside(path, within)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read: {reason(error)}") from error
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)  # of a folder, no file object can be made
        raise BadInput(f"{path} is no regular file")
    with os.fdopen(handle, "rb") as file:
        if status.st_size > largest:
            raise BadInput(f"{path} is larger than the {largest:,} bytes that such a file may have")
        yield file


def require_inside(path: Path, folder: Path) -> None:
    """Raise BadInput where `path` is a link that leads out of `folder`, or into a circle."""
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError) as error:
        raise BadInput(f"{path} cannot be read: {reason(error)}") from error
    if not inside:
        raise BadInput(f"{path} is a link that leads out of {folder}: put the thing itself there")


def reason(error: Exception) -> str:
    """Why reading or writing failed, without the path."""
    return getattr(error, "strerror", None) or str(error)


def digest(file: BinaryIO) -> str:
    """SHA-256 of an open file, a piece at a time."""
    digest = hashlib.sha256()
    while piece := file.read(2**20):
        digest.update(piece)
    return digest.hexdigest()


def read(path: Path, within: Path, largest: int) -> bytes:
    """The content of a file; see `opened`."""
    with opened(path, within, largest) as file:
        return file.read()


def read_json(path: Path, within: Path, largest: int) -> dict[str, Any]:
    """A JSON object as plain values; raises BadInput naming a file that holds none."""
    try:
        value = json.loads(read(path, within, largest))
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, BadInput) else BadInput(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise BadInput(f"{path} is damaged: it holds no object")
    return value


def read_as(path: Path, within: Path, kind: type[T]) -> T:
    """A JSON file of a run as a `kind`; raises BadInput naming one that is damaged."""
    content = read(path, within, LARGEST_JSON)
    try:
        return decoded(content, kind)
    except ValueError as error:
        raise BadInput(f"{path} is damaged: {error}") from error
