"""Whether a run is whole: checksums, numbers, lineage, and a checkpoint that follows the log. Nothing is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emcomm.config import read_config, read_run_file
from emcomm.dialogues import (
    DialogueTable,
    LogPosition,
    digest_of,
    part_name,
    parts_of,
    read_facts,
    read_part,
    rows_of,
)
from emcomm.errors import BadInput
from emcomm.schemas import RunFile

if TYPE_CHECKING:
    from emcomm.runs import Run


@dataclass
class Checked:
    """What was found out about a run or one of its logs."""

    passed: list[tuple[str, str]] = field(default_factory=list)
    """What holds, and the figures of it."""
    problems: list[str] = field(default_factory=list)
    """What does not hold, one line each."""
    notes: list[str] = field(default_factory=list)
    """What cannot be told, or should be known, one line each."""


@dataclass
class LogCheck(Checked):
    """The same for one log."""

    end: LogPosition = field(default_factory=LogPosition)
    boundaries: set[int] = field(default_factory=lambda: {0})
    """The numbers of episodes after which a part ended."""
    versions: set[int] = field(default_factory=set)
    """First and last policy version in it."""


def check_log(folder: Path, deep: bool = True) -> LogCheck:
    """The parts of a log: each whole, none missing, each following the one before it.

    `deep` also reads every value; otherwise only checksums of files and metadata are looked at.
    """
    check = LogCheck()
    before, unsealed, infinite = "", 0, 0
    newest: dict[int, int] = {}
    try:
        parts = parts_of(folder)
    except BadInput as error:
        check.problems.append(str(error))
        return check
    for place, part in enumerate(parts):
        if part.name != part_name(place):
            check.problems.append(f"{folder / part_name(place)} is missing")
            return check
        try:
            facts, digest = read_facts(part), digest_of(part)
            rows, episodes = check.end.rows + rows_of(part), check.end.episodes
            if facts.previous is None:
                unsealed += 1
            elif (facts.part, facts.previous) != (place, before):
                check.problems.append(f"{part} does not follow the part before it: one of the two was changed")
            if deep:
                table = read_part(part)
                if not len(table):
                    raise BadInput(f"{part} holds no dialogue")
                episodes = _check_order(part, table, episodes, newest, check.problems)
                infinite += int((~np.isfinite(table.rewards).all(axis=1)).sum())
                check.versions |= {int(table.policy_version.min()), int(table.policy_version.max())}
        except BadInput as error:
            check.problems.append(str(error))
            return check
        before = digest
        check.end = LogPosition(place + 1, rows, episodes, digest)
        check.boundaries.add(episodes)
    if unsealed:
        check.notes.append(
            f"{unsealed} parts in {folder} are of an older schema without checksums: damage may go unseen"
        )
    if infinite:
        check.notes.append(f"{infinite:,} dialogues in {folder} have rewards that are not finite: the game gave them")
    return check


def _check_order(
    part: Path, table: DialogueTable, episodes: int, newest: dict[int, int], problems: list[str]
) -> int:  # fmt: skip
    """The number of episodes after `part`; notes where episodes or policy versions do not go on from those before."""
    if int(table.episode.min()) != episodes:
        problems.append(f"{part} begins with episode {int(table.episode.min()):,}, not with {episodes:,}")
    order = np.lexsort([table.policy_version, table.episode])
    last = order[np.append(np.diff(table.episode[order]) > 0, True)]  # of each episode, its newest version
    for worker in np.unique(table.worker[last]).tolist():
        versions = table.policy_version[last][table.worker[last] == worker]
        if (np.diff(versions) < 0).any() or versions[0] < newest.get(worker, 0):
            problems.append(f"{part}: the policy version of worker {worker} falls: two histories are mixed")
        newest[worker] = int(versions[-1])
    return int(table.episode.max()) + 1


def check_run(path: Path, env: str | None = None, code: Sequence[str] = ()) -> Checked:
    """Everything that a run folder says, held against everything else; raises BadInput where there is no run.

    Code outside emcomm is executed only if it is `env` or in `code`; without it, whether the weights fit is left open.
    """
    from emcomm.runs import Run

    saved = read_run_file(path)
    run, report = Run(path, read_config(path)), Checked()
    report.passed.append(("configuration", "complete"))
    log = check_log(run.dialogues)
    _take_over(report, log, "dialogues of training", f"{log.end.episodes:,} episodes")
    _check_lineage(report, saved, log)
    _check_checkpoints(report, run, log, env, code)
    _check_summary(report, run, log)
    for aside in (run.dialogues / "abandoned", path / "checkpoints" / "abandoned"):
        if aside.is_dir():
            report.notes.append(f"{len(list(aside.iterdir()))} files set aside by resumes lie in {aside}")
    return report


def _take_over(report: Checked, log: LogCheck, name: str, figures: str) -> None:
    report.problems += log.problems
    report.notes += log.notes
    if not log.problems:
        report.passed.append((name, f"{log.end.rows:,} dialogues of {figures} in {log.end.parts} parts, in order"))


def _check_lineage(report: Checked, saved: RunFile, log: LogCheck) -> None:
    """Every resume went on from the end of a part, but those that a later one from an earlier episode has undone."""
    for count, resume in enumerate(saved.resumes, 1):
        undone = any(later.episode < resume.episode for later in saved.resumes[count:])
        if resume.episode not in log.boundaries and not undone and not log.problems:
            report.problems.append(f"resume {count} went on after episode {resume.episode:,}, where no part ends")
    if saved.resumes:
        episodes = ", ".join(f"{resume.episode:,}" for resume in saved.resumes)
        report.passed.append(("resumes", f"{len(saved.resumes)}, after episodes {episodes}"))


def _check_checkpoints(report: Checked, run: Run, log: LogCheck, env: str | None, code: Sequence[str]) -> None:
    from emcomm.checkpoints import load_weights, read_checkpoint
    from emcomm.runs import Run
    from emcomm.worlds import make_policy

    try:
        for path in run.checkpoints():
            checkpoint = read_checkpoint(path)  # one at a time
        newest = run.newest().facts
    except BadInput as error:
        report.problems.append(str(error))
        return
    if "log" not in newest:
        report.notes.append("the checkpoints are of an older emcomm: whether they fit the log cannot be told")
    elif log.end == LogPosition(**newest["log"]):
        report.passed.append(("newest checkpoint", f"{newest['version']:,} updates; it follows the log exactly"))
    elif log.end.parts > newest["log"]["parts"]:
        beyond = log.end.rows - newest["log"]["rows"]
        report.notes.append(f"{beyond:,} dialogues lie behind the newest checkpoint: a resume sets them aside")
    else:
        report.problems.append(f"the newest checkpoint follows {newest['episodes']:,} episodes, the log has others")
    try:
        Run.open(run.path, env, code)
    except BadInput as error:
        report.notes.append(f"whether the weights fit was not looked at: {error}")
        return
    try:
        load_weights(make_policy(run.config), checkpoint.part("policy"), run.path)
    except BadInput as error:
        report.problems.append(str(error))


def _check_summary(report: Checked, run: Run, log: LogCheck) -> None:
    try:
        summary = run.summary()
    except BadInput as error:
        report.problems.append(str(error))
        return
    evaluation = check_log(run.evaluation)
    if evaluation.end.parts or evaluation.problems:
        _take_over(report, evaluation, "dialogues of the frozen policy", f"{evaluation.end.episodes:,} episodes")
    if summary is None:
        report.notes.append("there is no summary: the training has not come to its end")
        return
    if summary.episodes != log.end.episodes and not log.problems:
        report.problems.append(f"the summary counts {summary.episodes:,} episodes, the log {log.end.episodes:,}")
    if summary.interrupted or summary.evaluation is None:
        report.notes.append("the run was interrupted: python -m emcomm.train --resume goes on with it")
    elif summary.evaluation_log is not None and evaluation.end.digest != summary.evaluation_log.digest:
        report.problems.append(f"{run.evaluation} is not the evaluation that the summary tells of")
    elif evaluation.versions - {summary.updates}:
        report.problems.append(f"{run.evaluation} was played by other weights than the last ones")
    else:
        report.passed.append(("summary", "it fits log and evaluation"))
