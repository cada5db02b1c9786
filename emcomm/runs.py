"""The run folder: configuration, checkpoints, resume.

logs/<run>/
  config.json             everything needed to repeat the run
  dialogues/              every dialogue of training
  evaluation/             dialogues of the frozen policy after training
  checkpoints/            one safetensors file each: weights, optimiser, counters, random states
  tensorboard/            curves
  summary.json            the final figures
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from emcomm.config import Config
from emcomm.errors import BadInput

CONFIG_VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """A moment of training from which it can go on."""

    tensors: dict[str, Tensor]
    """`policy.*` the weights, `optimiser.*` its moments."""
    facts: dict[str, Any]
    """Counters and the states of random generators: plain values."""

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names start with `prefix` and a dot, without it."""
        return {k.removeprefix(f"{prefix}."): v for k, v in self.tensors.items() if k.startswith(f"{prefix}.")}


class Run:
    """One run on disk."""

    def __init__(self, path: Path, config: Config) -> None:
        self.path, self.config = path, config
        self.dialogues = path / "dialogues"
        self.evaluation = path / "evaluation"
        self.tensorboard = path / "tensorboard"
        self._checkpoints = path / "checkpoints"

    @classmethod
    def create(cls, log_dir: Path, name: str, config: Config) -> Run:
        """Make the folder of a new run; an existing one is never written over."""
        path = log_dir / name
        if Path(name).name != name or name in (".", ".."):
            raise BadInput(f"a run name is one folder name, not {name!r}")
        try:
            log_dir.mkdir(parents=True, exist_ok=True)
            path.mkdir()
            (path / "checkpoints").mkdir()
            run = cls(path, config)
            run.save_json("config.json", {"version": CONFIG_VERSION, "config": config.to_json(), **provenance()})
        except FileExistsError as error:
            if path.exists():
                raise BadInput(
                    f"the run {path} exists: choose another --run-name, or continue it with --resume {path}"
                ) from error
            raise BadInput(f"the log folder {log_dir} cannot be made: a file stands in its way") from error
        except OSError as error:
            raise BadInput(f"the log folder {log_dir} is not writable: {error.strerror}") from error
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """An existing run; raises BadInput where there is none."""
        try:
            text = (path / "config.json").read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            if path.is_dir():
                raise BadInput(f"{path} is not a run: it has no config.json") from error
            raise BadInput(f"there is no run folder {path}") from error
        except OSError as error:
            raise BadInput(f"{path / 'config.json'} cannot be read: {error.strerror}") from error
        try:
            saved = json.loads(text)
            config = saved["config"]
        except (ValueError, TypeError, KeyError) as error:
            raise BadInput(f"{path / 'config.json'} is damaged: {error}") from error
        if saved.get("version", 0) > CONFIG_VERSION:
            raise BadInput(f"{path} was written by a newer emcomm: upgrade emcomm to open it")
        return cls(path, Config.from_json(config))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second process from writing into the run; raises BadInput where one already does."""
        import fcntl

        try:
            handle = (self.path / ".lock").open("w")
        except OSError as error:
            raise BadInput(f"the run {self.path} is not writable: {error.strerror}") from error
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise BadInput(f"another process is writing into {self.path}") from error
            yield

    def save_resume(self, episodes: int) -> None:
        """Note in config.json that this process goes on with the run after `episodes` episodes; raises OSError.

        The settings there become the present ones. The entry under `resumes` names those that changed, as
        [before, after], with the command, versions and revision; what the run began with stays beside them.
        """
        saved = json.loads((self.path / "config.json").read_text())
        config = self.config.to_json()
        changed = {k: [saved["config"].get(k), v] for k, v in config.items() if saved["config"].get(k) != v}
        resume = {"episode": episodes, "changed": changed, **provenance()}
        self.save_json("config.json", {**saved, "config": config, "resumes": [*saved.get("resumes", []), resume]})

    def remove_unfinished(self) -> None:
        """Remove what a killed process was writing; only for who holds the lock. Raises OSError."""
        for folder in (self.path, self._checkpoints):
            for unfinished in folder.glob("*.tmp"):
                shutil.rmtree(unfinished) if unfinished.is_dir() else unfinished.unlink()

    def save_json(self, name: str, value: dict[str, Any]) -> None:
        """Write one JSON file, whole or not at all."""
        with _replacing(self.path / name) as unfinished:
            unfinished.write_text(json.dumps(value, indent=2) + "\n")

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def save(self, checkpoint: Checkpoint, keep: int = 10) -> Path:
        """Write a checkpoint, whole or not at all, and let go of all but the last `keep`; raises OSError."""
        path = self._checkpoints / f"{checkpoint.facts['version']:012d}.safetensors"
        with _replacing(path) as unfinished:
            try:
                save_file(checkpoint.tensors, unfinished, {"emcomm": json.dumps(checkpoint.facts)})
            except SafetensorError as error:
                raise OSError(str(error)) from error
        for old in self.checkpoints()[:-keep]:
            old.unlink()
        return path

    def checkpoints(self) -> list[Path]:
        """All checkpoints, the newest last."""
        return sorted(self._checkpoints.glob("*.safetensors"))

    def newest(self) -> Checkpoint:
        """The newest checkpoint; raises BadInput where there is none or it is damaged."""
        paths = self.checkpoints()
        if not paths:
            raise BadInput(f"{self.path} has no checkpoint")
        return read_checkpoint(paths[-1])


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint from disk; raises BadInput naming a damaged one."""
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads(file.metadata()["emcomm"])
            return Checkpoint({name: file.get_tensor(name) for name in file.keys()}, facts)  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"the checkpoint {path} is damaged: {error}") from error


def load_weights(module: torch.nn.Module, weights: dict[str, Tensor], source: Path) -> None:
    """Put `weights` into `module`; raises BadInput where they do not fit."""
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise BadInput(f"the checkpoint in {source} does not fit its configuration: {error}") from error


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A path to write to; renamed to `path` when all went well, removed when not."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    os.close(handle)
    try:
        yield Path(name)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


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
        "git": _git_revision(),
    }


def command_line() -> str:
    """The command that this process was started with, to be typed again."""
    main = sys.modules["__main__"].__spec__
    program = ["python", "-m", main.name] if main else [*sys.argv[:1]]
    return shlex.join([*program, *sys.argv[1:]])


def _git_revision() -> str | None:
    """The revision of emcomm's own checkout, `-dirty` where it was changed; None outside one, as in a `.venv`."""
    root = Path(__file__).resolve().parent.parent

    def git(*args: str) -> str:
        return subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, timeout=10).stdout.strip()

    try:
        if git("rev-parse", "--show-toplevel") != str(root):
            return None
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*") or None
    except (OSError, subprocess.TimeoutExpired):
        return None
