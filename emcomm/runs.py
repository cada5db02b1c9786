"""The run folder: configuration, checkpoints, resume.

logs/<run>/
  config.json             everything needed to repeat the run, and its resumes
  dialogues/              every dialogue of training; abandoned/ holds parts behind the checkpoint of a resume
  evaluation/             dialogues of the frozen policy after training
  checkpoints/            one safetensors file each: the exact state that follows the log as it was then
  tensorboard/            curves
  summary.json            the final figures

Everything in it is data: it is checked when it is read, and nothing in it is ever executed.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from emcomm import files
from emcomm.config import CONFIG_VERSION, Config, read_config, require_named, upgraded
from emcomm.dialogues import LogPosition, digest_of, part_name, parts_of
from emcomm.errors import BadInput
from emcomm.schemas import LARGEST_JSON, RunFile, Summary
from envs import GAMES

if TYPE_CHECKING:  # torch takes seconds to import
    from emcomm.checkpoints import Checkpoint

KEPT_CHECKPOINTS = 4
REVISION = "EMCOMM_REVISION"
"""The environment variable that tells the revision of code which has travelled to a node without its checkout."""


def _read(path: Path) -> Checkpoint:
    from emcomm.checkpoints import read_checkpoint

    return read_checkpoint(path)


class Continuation(NamedTuple):
    """From where a run goes on, and what stands in the way of it."""

    checkpoint: Checkpoint | None
    """None: from the beginning."""
    position: LogPosition
    """Where the log ends that the checkpoint follows."""
    beyond: tuple[Path, ...]
    """Parts and checkpoints behind it, to be set aside."""


class Run:
    """One run on disk."""

    def __init__(self, path: Path, config: Config) -> None:
        self.path, self.config = path, config
        self.dialogues = path / "dialogues"
        self.evaluation = path / "evaluation"
        self.tensorboard = path / "tensorboard"
        self._checkpoints = path / "checkpoints"

    @classmethod
    def create(cls, log_dir: Path, name: str, config: Config, another: bool = False) -> Run:
        """Make the folder of a new run, which appears whole; an existing one is never written over.

        Where the name is taken, `another` takes the next free one (`name-2`, …).
        """
        if Path(name).name != name or name in (".", ".."):
            raise BadInput(f"a run name is one folder name, not {name!r}")
        run = cls(log_dir / name, config)
        try:
            files.make_folder(log_dir)
            unfinished = Path(tempfile.mkdtemp(prefix=f".{name[:100]}.", dir=log_dir))
        except FileExistsError as error:
            raise BadInput(f"the log folder {log_dir} cannot be made: a file stands in its way") from error
        except (OSError, ValueError) as error:
            raise BadInput(f"the log folder {log_dir} is not writable: {files.reason(error)}") from error
        try:
            unfinished.chmod(0o777 & ~_umask())
            (unfinished / "checkpoints").mkdir()
            about = {"version": CONFIG_VERSION, "config": config.to_json(), **provenance()}
            files.write_json(unfinished / "config.json", about)
            _require_readable(unfinished / "config.json")
            count = 1
            while not _renamed(unfinished, run.path):
                if not another:
                    cls.require_free(run.path)
                count += 1
                run = cls(log_dir / f"{name}-{count}", config)
        except OSError as error:
            raise BadInput(f"the log folder {log_dir} is not writable: {files.reason(error)}") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return run

    @staticmethod
    def require_free(path: Path) -> None:
        """Raise BadInput where something is called `path` already."""
        if os.path.lexists(path):
            raise BadInput(f"the run {path} exists: choose another --run-name, or continue it with --resume {path}")

    @classmethod
    def open(cls, path: Path, env: str | None = None, code: Sequence[str] = ()) -> Run:
        """An existing run; raises BadInput where there is none, and where its code is not to be trusted.

        A game outside emcomm is code, and so are channels, torsos and algorithms. They are imported only if the user
        named them on the command line: the game as `env`, any of them in `code`.
        """
        config = read_config(path)
        if env is not None and GAMES.present(env) != config.env:
            raise BadInput(f"{path} was trained on {config.env}, not on {env}")
        require_named(path, config.env, (env, *code), "--env")
        for name in (config.rules.channel, *config.torsos, config.algorithm):
            require_named(path, name, (env, *code))
        return cls(path, config)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second process from writing into the run; raises BadInput where one already does."""
        with locked(self.path / ".lock", f"another process is writing into {self.path}"):
            own = (self.dialogues, self.evaluation, self.tensorboard, self._checkpoints)
            for folder in (*own, *(above / "abandoned" for above in own)):
                if folder.is_symlink():
                    raise BadInput(f"{folder} is a link: a run writes only into folders of its own")
            yield

    def note_resume(self, episodes: int) -> int:
        """Note in config.json that this process goes on with the run after `episodes` episodes; raises OSError.

        Returns how many resumes there have been, those that were killed before they saved anything included.

        The settings there become the present ones. The entry under `resumes` names those that changed, as
        [before, after], with the command, versions and revision; what the run began with stays beside them.
        """
        saved = files.read_json(self.path / "config.json", self.path, LARGEST_JSON)
        config, before = self.config.to_json(), upgraded(saved["config"], saved.get("version", 1))
        changed = {k: [before.get(k), v] for k, v in config.items() if before.get(k) != v}
        resume = {"episode": episodes, "changed": changed, **provenance()}
        resumes = [*saved.get("resumes", []), resume]
        self.save_json("config.json", {**saved, "version": CONFIG_VERSION, "config": config, "resumes": resumes})
        return len(resumes)

    def remove_unfinished(self) -> None:
        """Remove what a killed process was writing; only for who holds the lock. Raises OSError."""
        for folder in (self.path, self._checkpoints, self.dialogues):
            for unfinished in folder.glob("*.tmp"):
                files.remove(unfinished)

    def save_json(self, name: str, value: dict[str, Any]) -> None:
        """Write one JSON file, whole or not at all."""
        files.write_json(self.path / name, value)

    def summary(self) -> Summary | None:
        """The final figures; None where there are none yet. Raises BadInput where they are damaged."""
        try:
            return files.read_as(self.path / "summary.json", self.path, Summary)
        except FileNotFoundError:
            return None

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint, whole or not at all, and let go of all but the last few; raises OSError."""
        files.make_folder(self._checkpoints)
        path = self._checkpoints / f"{checkpoint.facts['version']:012d}.safetensors"
        files.write(path, checkpoint.to_bytes())
        for old in self.checkpoints()[:-KEPT_CHECKPOINTS]:
            files.remove(old)
        return path

    def checkpoints(self) -> list[Path]:
        """All checkpoints, the newest last; raises BadInput where their folder is a link that leads out of the run."""
        files.require_inside(self._checkpoints, self.path)
        return sorted(self._checkpoints.glob("*.safetensors"))

    def newest(self) -> Checkpoint:
        """The newest checkpoint; raises BadInput where there is none or it is damaged."""
        paths = self.checkpoints()
        if not paths:
            raise BadInput(f"{self.path} has no checkpoint")
        return _read(paths[-1])

    def checkpoint(self, version: int) -> Checkpoint:
        """The checkpoint after `version` updates; raises BadInput where it is damaged or no longer there."""
        path = self._checkpoints / f"{version:012d}.safetensors"
        if path not in self.checkpoints():
            raise BadInput(f"{self.path} no longer holds the weights after {version:,} updates")
        return _read(path)

    def continuation(self) -> Continuation:
        """The newest checkpoint whose log is whole on disk; nothing is changed.

        Parts behind it were written by a process that died before it could save what follows them. Raises BadInput
        for a damaged checkpoint, one from which no training can go on, and where none fits its log.
        """
        parts, paths = parts_of(self.dialogues), self.checkpoints()
        if not parts and not paths:
            return Continuation(None, LogPosition(), ())
        for place in range(len(paths) - 1, -1, -1):
            checkpoint = _read(paths[place])
            if "format" not in checkpoint.facts:
                raise BadInput(
                    f"{self.path} was written by an older emcomm, whose checkpoints lack the games in progress: "
                    f"it can be analysed and played, but a training cannot go on from it"
                )
            position = LogPosition(**checkpoint.facts["log"])
            if position.parts == 0 or self._ends_with(position):
                beyond = (part for part in parts if part.name >= part_name(position.parts))
                return Continuation(checkpoint, position, (*beyond, *paths[place + 1 :]))
        if not paths:
            raise BadInput(f"{self.path} has no checkpoint")
        where = shlex.quote(str(self.path))
        raise BadInput(f"no checkpoint in {self.path} fits its dialogues: see python -m emcomm.verify {where}")

    def finished(self, resume: Continuation) -> Summary | None:
        """The final figures, where the run has all its episodes and the evaluation that its settings ask for."""
        summary = self.summary()
        if resume.checkpoint is None or resume.beyond or summary is None or summary.evaluation is None:
            return None
        log, parts = summary.evaluation_log, parts_of(self.evaluation)
        facts = resume.checkpoint.facts
        trained = facts["episodes"] >= self.config.episodes and summary.updates == facts["version"]
        if not trained or log is None or log.episodes != self.config.evaluation_games or len(parts) != log.parts:
            return None
        return summary if parts and digest_of(parts[-1]) == log.digest else None

    def _ends_with(self, position: LogPosition) -> bool:
        last = self.dialogues / part_name(position.parts - 1)
        try:
            return digest_of(last) == position.digest
        except BadInput:
            return False


def _require_readable(settings: Path) -> None:
    """Raise BadInput where the settings that a run is to have could not be read again."""
    try:
        files.read_as(settings, settings.parent, RunFile)
    except BadInput as error:
        why = str(error.__cause__ or error).removeprefix(f"{settings} ")
        raise BadInput(f"a run with these settings could not be opened again: {why}") from error


# -- folders and locks -------------------------------------------------------------------------------------------------


def _renamed(source: Path, target: Path) -> bool:
    """Whether the folder `source` could be given the name `target`, which was free."""
    if os.path.lexists(target):
        return False
    try:
        files.rename(source, target)
    except OSError:
        if os.path.lexists(target):  # somebody else was faster
            return False
        raise
    return True


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def locked(file: Path, message: str) -> Iterator[None]:
    """Hold the lock that `file` stands for; raises BadInput with `message` where another process holds it."""
    try:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise BadInput(f"{file.parent} is not writable: {error.strerror}") from error
    with os.fdopen(handle):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadInput(message) from error
        yield


# -- provenance --------------------------------------------------------------------------------------------------------


def provenance() -> dict[str, Any]:
    """The command, versions, machine and revision behind a result."""
    packages = ("emcomm", "torch", "numpy", "ray", "pettingzoo", "pyarrow")
    versions = {"python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "command": command_line(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": versions,
        "machine": f"{platform.platform()}, {os.cpu_count()} cores",
        "git": git_revision(),
    }


def command_line() -> str:
    """The command that this process was started with, to be typed again."""
    main = sys.modules["__main__"].__spec__
    program = ["python", "-m", main.name.removesuffix(".__main__")] if main else [*sys.argv[:1]]
    return shlex.join([*program, *sys.argv[1:]])


def git_revision() -> str | None:
    """The revision of emcomm's own checkout, `-dirty` where it was changed; None outside one, as in a `.venv`."""
    if REVISION in os.environ:
        return os.environ[REVISION] or None
    root = Path(__file__).resolve().parent.parent

    def git(*args: str) -> str:
        return subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, timeout=10).stdout.strip()

    try:
        if git("rev-parse", "--show-toplevel") != str(root):
            return None
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*") or None
    except (OSError, subprocess.TimeoutExpired):
        return None
