"""What `python -m emcomm.sweep` does: it trains what is missing, says how far it is, and compares the conditions."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from analysis.data.runs import LoadedRun, load
from analysis.data.writing import claimed, replacing
from analysis.metrics.seed_aggregation import SeedSummary, forms_above, mean_over_seeds, seeds_of
from analysis.report.pipeline import QUICK
from analysis.report.run_comparison import Group, compare
from analysis.report.write import check_folder, write_report
from emcomm import batch, files
from emcomm.analysing import study_all
from emcomm.batch import State, Wanted
from emcomm.cluster import require_reachable
from emcomm.config import Config, named_code, naming_of
from emcomm.errors import BadInput, Fault
from emcomm.printable import printable
from emcomm.runs import Run, command_line, locked, provenance
from emcomm.schemas import PlayFigures, Summary
from emcomm.signals import Stopped
from emcomm.sweep import Plan
from emcomm.terminal import print_line
from emcomm.worlds import declaration, make_algorithm, make_negotiation, make_policy, place

WIDE = 160
"""Characters of a line where nobody's screen limits it."""
MOST_LINES = 40
"""Conditions of which a line is printed."""
QUIET = 30.0
"""Where no run has ended for so long, a line says that they go on (seconds)."""


class Planned(NamedTuple):
    """One run of a sweep."""

    condition: str
    wanted: Wanted

    @property
    def title(self) -> str:
        """What it is called on the screen."""
        return ", ".join(filter(None, (self.condition, f"seed {self.wanted.config.seed}")))


def sweep(plan: Plan, address: str | None) -> int:
    """Train what is missing, on the cluster at `address` or a local one, and compare; the exit code."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    log_dir = plan.options.log_dir
    _require_possible(plan, address)
    runs = _runs(plan)
    states = [batch.state_of(run.wanted) for run in runs]
    report = _report_folder(log_dir)
    if plan.options.report_runs:
        check_folder(report, [run.wanted.folder for run in runs])
    _print_plan(console, plan, Counter(zip((run.condition for run in runs), states, strict=True)), address)
    if plan.options.plan:
        console.print("nothing was started: leave out --plan to train")
        return 0
    if address is not None:
        require_reachable(address)
    _make_folder(log_dir)
    todo = [run for run, state in zip(runs, states, strict=True) if state != "done"]
    with locked(log_dir / ".lock", f"another sweep is writing into {log_dir}"):
        _note(plan)
        try:
            failed = _train_all(console, todo, len(runs), address)
        except KeyboardInterrupt as stopped:
            there = sum(batch.state_of(run.wanted) == "done" for run in runs)
            with contextlib.suppress(OSError):  # the terminal may be gone
                console.print(f"interrupted with {there} of {len(runs)} runs done; the same command goes on")
            return stopped.code if isinstance(stopped, Stopped) else 130
        broken = {run.wanted.folder for run, _ in failed}
        done = [run for run in runs if run.wanted.folder not in broken]
        if done:
            _conclude(console, plan, done, report)
    if failed:
        for run, problem in failed[:MOST_LINES]:
            print_line(console, f"failed: {run.title}: {problem} (more in {_trace_file(run)})")
        more = f" ({len(failed) - MOST_LINES} more than are named)" if len(failed) > MOST_LINES else ""
        raise Fault(f"{len(failed)} of {len(runs)} runs failed{more}; the same command tries them again")
    return 0


def _runs(plan: Plan) -> list[Planned]:
    """Seed after seed, so that an interrupted sweep has some of every condition."""
    slugs, log_dir = plan.slugs, plan.options.log_dir.resolve()
    return [
        Planned(condition, Wanted(log_dir / plan.folder_name(slugs[condition], seed), plan.config(condition, seed)))
        for seed in plan.seeds
        for condition in plan.conditions
    ]


def _report_folder(log_dir: Path) -> Path:
    whole = log_dir.resolve()
    return (log_dir.parent if log_dir.name else whole.parent) / f"{whole.name}-report"


def _require_possible(plan: Plan, address: str | None) -> None:
    """Raise BadInput for a condition that cannot be trained, before anything lies on disk."""
    count = len(plan.conditions) * len(plan.seeds)
    for condition, config in plan.conditions.items():
        try:
            make_algorithm(config)
            make_negotiation(config, 1, np.random.SeedSequence(0), training=True)
            if address is None:
                place(config, min(count, os.cpu_count() or 1))
            make_policy(config)
        except BadInput as error:
            raise BadInput(f"{condition}: {error}" if condition else str(error)) from error


def _make_folder(log_dir: Path) -> None:
    try:
        files.make_folder(log_dir)
    except FileExistsError as error:
        raise BadInput(f"the log folder {log_dir} cannot be made: a file stands in its way") from error
    except OSError as error:
        raise BadInput(f"the log folder {log_dir} is not writable: {files.reason(error)}") from error


def _note(plan: Plan) -> None:
    """Write what was asked for into sweep.json."""
    conditions = {name: config.to_json() for name, config in plan.conditions.items()}
    asked = {**provenance(), "seeds": plan.seeds, "varied": plan.varied, "conditions": conditions}
    try:
        files.write_json(plan.options.log_dir / "sweep.json", asked)
    except OSError as error:
        raise Fault(f"writing to {plan.options.log_dir} failed: {files.reason(error)}") from error


# -- training ----------------------------------------------------------------------------------------------------------


def _print_plan(console: Console, plan: Plan, states: Counter[tuple[str, State]], address: str | None) -> None:
    """The conditions, and how many of their runs are in which state."""
    count, seeds, cores = len(plan.conditions), len(plan.seeds), len(os.sched_getaffinity(0))
    where = f"on the Ray cluster at {address}" if address else f"on {cores} core{'s' * (cores > 1)} of this machine"
    print_line(
        console,
        f"{count} condition{'s' * (count > 1)} × {seeds} seed{'s' * (seeds > 1)} = {count * seeds} "
        f"run{'s' * (count * seeds > 1)} in {plan.options.log_dir}, {where}",
    )
    print_line(console, _shared(plan))
    table = Table("condition", "there", "to go on with", "to train", box=None, padding=(0, 2, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    for condition in list(plan.conditions)[:MOST_LINES]:
        name = escape(printable(condition or "all", 100))
        table.add_row(name, *(str(states[condition, state]) for state in get_args(State)))
    if count > 1:
        totals = (sum(states[c, state] for c in plan.conditions) for state in get_args(State))
        table.add_row("[bold]all[/]", *(f"[bold]{total}[/]" for total in totals))
    console.print(table)
    if count > MOST_LINES:
        console.print(f"and {count - MOST_LINES} conditions more")


def _shared(plan: Plan) -> str:
    """What is the same in all conditions, as far as one wants to see it at once."""
    configs = list(plan.conditions.values())

    def said(values: list[str]) -> str:
        return values[0] if len(set(values)) == 1 else "several"

    return (
        f"game {said([c.env for c in configs])}, channel {said([c.rules.channel for c in configs])}, "
        f"{said([f'{c.episodes:,}' for c in configs])} episodes and "
        f"{said([f'{c.evaluation_games:,}' for c in configs])} games of evaluation in each run"
    )


def _train_all(console: Console, todo: Sequence[Planned], total: int, address: str | None) -> list[tuple[Planned, str]]:
    """Train; returns the runs that failed, and why."""
    failed: list[tuple[Planned, str]] = []
    if not todo:
        return failed
    planned = {run.wanted.folder: run for run in todo}
    with _Line(console, [run.wanted.config for run in todo], total) as line:
        for news in batch.make([run.wanted for run in todo], address, line.note):
            line.heard(news)
            if not news.ended:
                continue
            run = planned[news.wanted.folder]
            if news.problem is not None:
                failed.append((run, news.problem))
                _write(_trace_file(run), f"{news.problem}\n\n{news.trace}\n")
                line.say(run, f"failed: {news.problem}")
            else:
                files.remove(_trace_file(run))
                figures = _summary(run)[1]
                line.say(run, f"{_outcome(figures)}, {figures.mean_rounds:.2f} rounds")
    return failed


def _trace_file(run: Planned) -> Path:
    """Where the whole story of a failure lies."""
    return run.wanted.folder.parent / f"{run.wanted.folder.name}.failed.txt"


def _write(path: Path, text: str) -> None:
    try:
        files.write(path, text)
    except OSError as error:
        raise Fault(f"writing {path} failed: {files.reason(error)}") from error


class _Line:
    """How far a sweep is: a live line on a terminal, and a line for each run that ends."""

    def __init__(self, console: Console, todo: Sequence[Config], total: int) -> None:
        self._console, self._left, self._total = console, len(todo), total
        self._episodes, self._ended = sum(config.episodes for config in todo), total - len(todo)
        self._first: dict[Path, int] = {}
        self._now: dict[Path, int] = {}
        self._under_way: set[Path] = set()
        self._begun = self._said = time.monotonic()
        self._bar = Progress(TextColumn("{task.fields[line]}"), BarColumn(), console=console, refresh_per_second=2)
        self._task = self._bar.add_task("", total=self._episodes, line="starting Ray")

    def __enter__(self) -> _Line:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._bar.stop()

    def heard(self, news: batch.Progress) -> None:
        """Take in what a run says."""
        folder = news.wanted.folder
        if news.episodes:
            self._first.setdefault(folder, news.episodes)
        self._now[folder] = news.wanted.config.episodes if news.ended else news.episodes
        self._under_way.add(folder)
        if news.ended:
            self._under_way.discard(folder)
            self._ended += 1
        line = f"{self._ended} of {self._total} runs, {len(self._under_way)} under way, {self._time_left()}"
        if self._console.is_terminal:
            self._bar.update(self._task, completed=sum(self._now.values()), line=line)
        elif time.monotonic() - self._said > QUIET and not news.ended:
            self.note(line)

    def say(self, run: Planned, text: str) -> None:
        """A run has ended."""
        self.note(f"{self._ended:>4}/{self._total}  {run.title}: {text}  ({self._time_left()})")

    def note(self, line: str) -> None:
        """Something that a person should know."""
        self._said = time.monotonic()
        with contextlib.suppress(OSError):  # whoever watched has gone: no reason to stop
            print_line(self._console, line)

    def _time_left(self) -> str:
        played = sum(self._now.values()) - sum(self._first.get(folder, 0) for folder in self._now)
        if not played:
            return "no time known yet"
        seconds = (self._episodes - sum(self._now.values())) * (time.monotonic() - self._begun) / played
        return f"{seconds:.0f} s left" if seconds < 100 else f"{seconds / 60:,.0f} min left"


# -- concluding --------------------------------------------------------------------------------------------------------


def _conclude(console: Console, plan: Plan, done: Sequence[Planned], report: Path) -> None:
    """The table, the report, and where everything lies."""
    log_dir = plan.options.log_dir
    rows = pd.DataFrame([_row(run) for run in done])
    try:
        with replacing(log_dir / "sweep.csv") as unfinished:
            rows.to_csv(unfinished, index=False, float_format="%.6g")
    except OSError as error:
        raise Fault(f"writing to {log_dir} failed: {files.reason(error)}") from error
    groups = _groups(plan, rows)
    console.print()
    _print_table(console, groups)
    page = None
    if plan.options.report_runs:
        page = _write_report(console, plan, done, groups, report)
    where = shlex.quote(str(log_dir))
    console.print()
    table = shlex.quote(str(log_dir / "sweep.csv"))
    print_line(console, f"runs: {len(done)} folders in {where}; their figures: {table}")
    if page is not None:
        print_line(console, f"report: {page}")
    example = shlex.quote(str(log_dir / done[0].wanted.folder.name)) + naming_of(done[0].wanted.config)
    then = "open the report in a browser; " if page is not None else ""
    print_line(console, f"next: {then}python -m emcomm.analyze {example} looks closely at one run")
    print_line(console, "more seeds or conditions: the same command with them; what is there is not trained again")


def _summary(run: Planned) -> tuple[Summary, PlayFigures]:
    """The final figures of a run, and those of its frozen policy."""
    config, folder = run.wanted.config, run.wanted.folder
    summary = Run.open(folder, config.env, named_code(config)).summary()
    if summary is None or summary.evaluation is None:
        raise Fault(f"{folder} has no final figures; the same command trains it again")
    return summary, summary.evaluation.sampled


def _mean_return(figures: PlayFigures) -> float:
    return sum(figures.returns) / len(figures.returns) if figures.returns else float("nan")


def _outcome(figures: PlayFigures) -> str:
    """Success or, in a game that declares none, the mean return."""
    if figures.success is None:
        return f"mean return {_mean_return(figures):.3f}"
    return f"success {100 * figures.success:.2f} %"


def _row(run: Planned) -> dict[str, str | int | float | None]:
    """The figures of a run, for people and for pandas."""
    config, folder = run.wanted.config, run.wanted.folder
    summary, figures = _summary(run)
    return {
        "condition": run.condition, "seed": config.seed, "success": figures.success, "return": _mean_return(figures),
        "score": figures.score, "rounds": figures.mean_rounds, "cut": figures.cut, "silent": figures.silent,
        "games": figures.games, "episodes": summary.episodes, "episodes_to_95": summary.episodes_to_95,
        "wall_s": summary.wall_s, "run": folder.name,
    }  # fmt: skip


def _groups(plan: Plan, rows: pd.DataFrame) -> tuple[Group, ...]:
    """The conditions over their seeds."""
    return tuple(
        Group(
            str(condition),
            len(own),
            _success_over_seeds(own, plan.conditions[str(condition)]),
            mean_over_seeds(own["return"]),
            mean_over_seeds(own.rounds, bounds=(0, plan.conditions[str(condition)].rules.max_rounds or inf)),
        )
        for condition, own in rows.groupby("condition", sort=False)
    )


def _success_over_seeds(rows: pd.DataFrame, config: Config) -> SeedSummary | None:
    """None where the game declares no success."""
    return None if rows.success.isna().any() else seeds_of(rows, formed_above=forms_above(declaration(config)))


def _print_table(console: Console, groups: Sequence[Group]) -> None:
    """One line for each condition."""
    table = Table("condition", "runs", "success [95 % over seeds]", "return", "rounds", "formed")
    table.box, table.padding = None, (0, 2, 0, 0)
    for group in groups[:MOST_LINES]:
        success = group.seeds.sentence if group.seeds is not None else "–"  # where the game declares none
        table.add_row(
            escape(printable(group.settings or "all", 100)), str(group.runs), success, group.returns.text(3),
            group.rounds.text() if group.rounds else "–", group.formed or "–",
        )  # fmt: skip
    console.print(table)
    if len(groups) > MOST_LINES:
        console.print(f"and {len(groups) - MOST_LINES} conditions more, in sweep.csv")


def _write_report(
    console: Console, plan: Plan, done: Sequence[Planned], groups: tuple[Group, ...], report: Path
) -> Path:
    """The report: the conditions over all their runs, and pages of some of the runs."""
    shown = _shown(done, plan.options.report_runs)
    configs = {run.wanted.folder: run.wanted.config for run in shown}

    def opened(folder: Path) -> LoadedRun:
        config = configs[folder]
        return load(folder, config.env, named_code(config))

    with claimed(report):
        console.print()
        print_line(console, f"studying {len(shown)} of {len(done)} runs for the report")
        studied = study_all(list(configs), QUICK, console, opened)
        comparison = compare(studied)
        if comparison is not None:
            comparison.groups = groups
            if len(shown) < len(done):
                comparison.problems.insert(0, f"{len(shown)} of {len(done)} runs are studied here (--report-runs)")
        return write_report(report, studied, comparison, command_line())


def _shown(done: Sequence[Planned], most: int) -> list[Planned]:
    """The first seeds of every condition, so that there are at most so many, and one of each at least."""
    conditions = len({run.condition for run in done})
    each = max(1, most // conditions)
    taken: Counter[str] = Counter()
    shown = []
    for run in done:
        taken[run.condition] += 1
        if taken[run.condition] <= each:
            shown.append(run)
    return sorted(shown, key=lambda run: [*dict.fromkeys(r.condition for r in done)].index(run.condition))
