"""What lies on disk, as types: everything that is read is checked against them first.

Limits on sizes and counts keep a hostile file from filling the memory; unknown and missing entries are refused.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from envs.game import Declaration

LARGEST_JSON = 2**20
"""A larger JSON file of a run is refused (bytes)."""
LARGEST_CHECKPOINT = 2**31
"""A larger checkpoint is refused (bytes)."""

Count = Annotated[int, Meta(ge=0, le=2**62)]
Name = Annotated[str, Meta(max_length=200)]
LONGEST_TEXT = 100_000
"""Longer texts are refused (characters)."""
Text = Annotated[str, Meta(max_length=LONGEST_TEXT)]
Share = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]
Setting = bool | int | float | Annotated[str, Meta(max_length=1000)] | None
Option = bool | int | float | Text | None

T = TypeVar("T")


def decoded(content: bytes | str, kind: type[T]) -> T:
    """JSON as a `kind`; raises ValueError, which names the entry, for anything else."""
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def converted(value: Any, kind: type[T]) -> T:
    """Plain values as a `kind`; raises ValueError, which names the entry, where they are not."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


class PartFacts(Struct, frozen=True, forbid_unknown_fields=True):
    """The metadata of a part of the dialogue log."""

    schema_version: Annotated[int, Meta(ge=1, le=4)]
    n_tokens: Annotated[int, Meta(ge=1, le=126)]
    move_names: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=32_767)]
    part: Count | None = None
    """The number of the part; None in schema 1."""
    previous: Name | None = None
    """SHA-256 of the part before it; empty for the first, None in schema 1."""
    seal: Name | None = None
    """Checksum over the rest; None in schema 1."""
    game: Declaration | None = None
    """What the game declared; None before schema 3."""


class Resume(Struct):
    """One resume of a run, as noted in config.json."""

    episode: Count
    changed: dict[Name, list[Setting | dict[Name, Option]]]
    command: Text = ""
    started: Text = ""
    versions: dict[Name, Name] = {}
    machine: Text = ""
    git: Text | None = None


class RunFile(Struct, forbid_unknown_fields=True):
    """config.json."""

    config: dict[Name, Setting | dict[Name, Option]]
    version: Annotated[int, Meta(ge=1)] = 1
    command: Text = ""
    started: Text = ""
    versions: dict[Name, Name] = {}
    machine: Text = ""
    git: Text | None = None
    resumes: list[Resume] = []


class LogEnd(Struct, forbid_unknown_fields=True):
    """Where the log ended when a checkpoint was written; see `emcomm.dialogues.LogPosition`."""

    parts: Count
    rows: Count
    episodes: Count
    digest: Name


class Events(Struct, forbid_unknown_fields=True):
    """What went wrong in a run without ending it."""

    workers_died: Count = 0
    resumes: Count = 0


class Counts(Struct, forbid_unknown_fields=True):
    """The running figures of a training; see `emcomm.progress.Course`."""

    agent_steps: Count
    updates: Count
    staleness_sum: Annotated[int, Meta(ge=-(2**62), le=2**62)]
    largest_staleness: Count
    episodes_to_95: Count | None
    wall_s: Seconds


class CheckpointFacts(Struct, forbid_unknown_fields=True):
    """The metadata of a checkpoint."""

    format: Annotated[int, Meta(ge=2, le=2)]
    version: Count
    refused: Count
    episodes: Count
    log: LogEnd
    workers_started: Count
    events: Events
    course: Counts
    state: dict[Name, Any]
    """The plain values of the workers' states; their arrays are tensors."""
    seal: Name
    """Checksum over all tensors and the rest."""


class PlayFigures(Struct, forbid_unknown_fields=True):
    """What a number of games amounts to; see `emcomm.evaluation.Figures`."""

    games: Count
    success: Share | None
    success_low: Share | None
    success_high: Share | None
    mean_rounds: Annotated[float, Meta(ge=0)]
    cut: Share
    silent: Share
    returns: list[float] = []
    return_low: float | None = None
    return_high: float | None = None
    score: float | None = None
    joint_moves: Count | None = None
    mean_return: float | None = None
    held_out_games: Count | None = None
    held_out_success: Share | None = None


class EvaluationFigures(Struct, forbid_unknown_fields=True):
    """The frozen policy's figures, and the log behind them."""

    sampled: PlayFigures
    greedy_moves: PlayFigures


class Summary(Struct):
    """summary.json."""

    episodes: Count
    updates: Count
    agent_steps: Count
    episodes_to_95: Count | None
    staleness_mean: float
    staleness_max: Count
    wall_s: Seconds
    interrupted: bool
    workers_died: Count = 0
    gradients_refused: Count = 0
    resumes: Count = 0
    joint_moves: Count | None = None
    command: Text = ""
    evaluation: EvaluationFigures | None = None
    evaluation_log: LogEnd | None = None
    evaluation_seed: Count | None = None
