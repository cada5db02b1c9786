"""How an experiment runs: conditions × seeds through Ray, each run a folder like any other.

A run is trained once, whatever experiment asks for it: its folder is named after its settings. What was interrupted
goes on from its last checkpoint when the same command is given again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import json
import math
import os
import pkgutil
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from rich.console import Console

import experiments
from analysis.agents.optimal_pair import Optimum, optimum
from analysis.data.runs import LoadedRun
from analysis.data.runs import load as load_run
from emcomm.batch import Wanted, make, state_of
from emcomm.cli import parse, run_command
from emcomm.config import Config, named_code
from emcomm.errors import BadInput, Fault
from emcomm.worlds import network_rules
from envs import GAMES
from experiments.experiment import Experiment, Results
from experiments.writing import write

RESULTS = Path(experiments.__file__).parent / "results"
"""Where the committed results lie, one folder for each experiment."""


@dataclass(frozen=True)
class RunOptions:
    """Run an experiment; what is already there is not computed again.

    Examples: python -m experiments collapse · python -m experiments collapse --quick ·
    python -m experiments my_module · python -m experiments path/to/mine.py
    """

    quick: bool = False
    """A small version that shows that everything works. Its results are no evidence and are kept apart."""
    again: bool = False
    """Measure the trained runs again."""
    reconclude: bool = False
    """Conclude anew from the figures in runs.csv of the results; nothing is trained or measured."""
    log_dir: Path = Path("logs/experiments")
    """Folder for the runs."""
    out: Path = RESULTS
    """Folder for the results; with --quick, or of an experiment outside emcomm, they lie in the log folder."""
    address: str | None = None
    """Ray cluster to join (address, or auto); by default a local one is started and stopped."""


_ID = re.compile(r"(replications\.)?[A-Za-z]\w*")


class Job(NamedTuple):
    """One run of an experiment."""

    experiment: str
    condition: str
    config: Config
    folder: Path
    quick: bool

    @property
    def measured(self) -> Path:
        """The file of what was measured on it."""
        return self.folder / "measured" / f"{self.experiment}.json"


# -- finding experiments -----------------------------------------------------------------------------------------------


def names(package: ModuleType = experiments) -> list[str]:
    """The ids of all experiments of a package, in the order in which they are best read."""
    modules = [module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("__")]
    names = [name for name in modules if hasattr(importlib.import_module(f"{package.__name__}.{name}"), "EXPERIMENT")]
    order = {name: place for place, name in enumerate(experiments.READING_ORDER)}
    return sorted(names, key=lambda name: order.get(name, len(order)))


def load(name: str) -> Experiment:
    """The experiment with this id, or that of a module outside; raises BadInput where there is none."""
    try:
        experiment = importlib.import_module(f"experiments.{name}" if _is_own(name) else name).EXPERIMENT
    except (ImportError, AttributeError, SyntaxError, ValueError) as error:
        raise BadInput(
            f"there is no experiment {name!r} ({error}): give one of {', '.join(names())}, or a module or file of "
            f"your own"
        ) from error
    if not isinstance(experiment, Experiment):
        raise BadInput(f"EXPERIMENT in {name} must be an experiments.experiment.Experiment")
    return experiment


def module_of(said: str) -> str:
    """What was named on the command line -> the name of its module: of a file `path/to/mine.py` it is `mine`.

    The file's folder then comes first on Python's path, so that processes on Ray find the module as well. Raises
    BadInput where there is no such file, or Python would find another module under its name.
    """
    path = Path(said)
    if path.suffix != ".py" and os.sep not in said:
        return said
    if path.suffix != ".py":
        raise BadInput(f"an experiment is a module or a file such as path/to/mine.py, not {said}")
    if not path.is_file():
        raise BadInput(f"there is no file {said}")
    if not path.stem.isidentifier() or _is_own(path.stem):
        why = "is the name of an experiment of emcomm" if path.stem.isidentifier() else "is no name for a module"
        raise BadInput(f"{path.stem} {why}: rename {said}")
    sys.path.insert(0, str(path.resolve().parent))
    importlib.invalidate_caches()
    found = importlib.util.find_spec(path.stem)
    if found is None or found.origin is None or Path(found.origin).resolve() != path.resolve():
        sys.path.pop(0)
        raise BadInput(f"Python knows another module {path.stem}: rename {said}")
    return path.stem


def _is_own(name: str) -> bool:
    """Whether an id is of an experiment or a replication (`replications.NAME`) here, and not of a module outside."""
    return importlib.util.find_spec(f"experiments.{name}") is not None if _ID.fullmatch(name) else False


def jobs(name: str, log_dir: Path, quick: bool = False) -> list[Job]:
    """All runs of an experiment, seed after seed, so that an interrupted one has some of everything."""
    experiment = load(name)
    listed = []
    for seed in range(min(experiment.seeds, 2) if quick else experiment.seeds):
        for condition, config in experiment.conditions.items():
            own = dataclasses.replace(smaller(config) if quick else config, seed=seed)
            listed.append(Job(name, condition, own, log_dir / _folder(own), quick))
    return listed


def smaller(config: Config) -> Config:
    """Settings for a run of a second or two."""
    return dataclasses.replace(
        config,
        episodes=min(config.episodes, 1_000),
        evaluation_games=300,
        games=32,
        workers=min(config.workers, 1),
    )


def _folder(config: Config) -> str:
    """A name that two configurations share only if they are the same but for what cannot change the result."""
    settings = _changed({**_settled(config).to_json(), "checkpoint_every": None}, _settled(Config(workers=0)).to_json())
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:10]
    return f"{digest}-seed{config.seed}"


def _settled(config: Config) -> Config:
    """The settings as the first versions had them: a game's first id, and as many rounds as the networks read."""
    first = {present: former for former, present in GAMES.replaced.items()}
    return dataclasses.replace(config, env=first.get(config.env, config.env), rules=network_rules(config))


def _changed(settings: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    """The settings that are not at their defaults: a setting that is added later changes no name."""
    return {
        name: _changed(value, default[name]) if isinstance(value, dict) else value
        for name, value in settings.items()
        if name not in default or value != default[name]
    }


# -- running -----------------------------------------------------------------------------------------------------------


def main(file: str) -> None:
    """The command line of the experiment in `file`."""
    name = Path(file).stem
    run_command(lambda: run(name, parse(RunOptions, sys.argv[1:], f"experiments.{name}"), Console(highlight=False)))


def run(name: str, options: RunOptions, console: Console) -> int:
    """Train and measure what is missing, conclude, and write the results."""
    if options.reconclude:
        return _reconclude(name, options, console)
    experiment, todo = load(name), jobs(name, options.log_dir, options.quick)
    console.print(f"{name}: {experiment.question}", soft_wrap=True, markup=False)
    try:
        options.log_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"the log folder {options.log_dir} cannot be made: {error.strerror}") from error
    for job in todo:
        state_of(Wanted(job.folder, job.config))  # refuses a folder of other settings, as after a change of defaults
    if options.again:
        for job in todo:
            job.measured.unlink(missing_ok=True)
    try:
        failed = _do_all([job for job in todo if not job.measured.exists()], len(todo), console, options.address)
    except KeyboardInterrupt:
        there = sum(job.measured.exists() for job in todo)
        console.print(f"interrupted with {there} of {len(todo)} runs done; the same command goes on", soft_wrap=True)
        return 130
    if failed:
        raise Fault(f"{failed} of {len(todo)} runs of {name} failed; the same command tries them again")
    results = collect(todo)._replace(simulated=_simulated(name, options, console))
    console.print("concluding")
    conclusion = experiment.conclude(results)
    outside = not _is_own(name) and options.out == RESULTS
    below = "quick" if options.quick else "results"
    folder = (options.log_dir / below if options.quick or outside else options.out) / _path(name)
    write(folder, name, experiment, conclusion, results)
    console.print(f"\n{conclusion.headline}", soft_wrap=True, markup=False, style="bold")
    console.print(f"results: {folder}/README.md", soft_wrap=True, markup=False)
    if options.quick:
        console.print("a quick version: no evidence; for the real one leave out --quick")
    else:
        console.print("next: python -m experiments lists them all with what they found")
    return 0


def _path(name: str) -> str:
    """The folder of results below that of all.

    >>> _path("memory"), _path("replications.lewis_1969"), _path("my.module")
    ('memory', 'replications/lewis_1969', 'my.module')
    """
    return name.replace(".", "/") if _ID.fullmatch(name) else name


def _reconclude(name: str, options: RunOptions, console: Console) -> int:
    """Conclude from the rows that an earlier conclusion left."""
    experiment, folder = load(name), options.out / _path(name)
    try:
        rows = pd.read_csv(folder / "runs.csv")
    except (OSError, ValueError) as error:
        raise BadInput(f"there are no figures to conclude from: {folder / 'runs.csv'} ({error})") from error
    simulated = _with_lists(pd.read_csv(folder / "simulated.csv")) if (folder / "simulated.csv").exists() else None
    rows = _with_lists(rows)
    missing = set(experiment.conditions) ^ set(rows.condition)
    if missing:
        raise BadInput(
            f"{folder / 'runs.csv'} is of other conditions than {name} has now ({', '.join(sorted(missing))}): run it"
        )
    results = Results(rows, {}, False, simulated)
    try:
        conclusion = experiment.conclude(results)
    except (KeyError, AttributeError) as error:
        raise BadInput(f"{name} concludes from more than runs.csv holds ({error}): run it") from error
    write(folder, name, experiment, conclusion, results)
    console.print(f"results: {folder}/README.md, concluded anew", soft_wrap=True, markup=False)
    return 0


def _with_lists(rows: pd.DataFrame) -> pd.DataFrame:
    """A table read from a file, with the lists in it."""
    return rows.map(lambda cell: json.loads(cell) if isinstance(cell, str) and cell.startswith("[") else cell)


def _simulated(name: str, options: RunOptions, console: Console) -> pd.DataFrame | None:
    """What the simulations of an experiment bring; each is kept once it is done."""
    rows = []
    for title, simulate in load(name).simulations.items():
        digest = hashlib.sha256(f"{name} {title} {options.quick}".encode()).hexdigest()[:10]
        kept = options.log_dir / "simulated" / f"{digest}.json"
        if options.again or not kept.exists():
            console.print(f"simulating {title}", soft_wrap=True, markup=False)
            kept.parent.mkdir(exist_ok=True)
            unfinished = kept.with_suffix(".tmp")
            unfinished.write_text(json.dumps(simulate(options.quick)))
            unfinished.replace(kept)
        rows.append({"simulation": title, **json.loads(kept.read_text())})
    return pd.DataFrame(rows) if rows else None


def _do_all(todo: list[Job], total: int, console: Console, address: str | None) -> int:
    """Do every job (`emcomm.batch`). How many failed."""

    def note(text: str) -> None:
        console.print(text, soft_wrap=True, markup=False)

    failed, begun = 0, time.monotonic()
    done_before = total - len(todo)
    for count, (job, problem) in enumerate(_outcomes(todo, address, note), 1):
        failed += problem is not None
        per_job = (time.monotonic() - begun) / count
        left = f"{(len(todo) - count) * per_job / 60:.1f} min left"
        told = problem or _told(job)
        console.print(
            f"{done_before + count:>4}/{total}  {job.condition}, seed {job.config.seed}: {told}  ({left})",
            soft_wrap=True, markup=False,
        )  # fmt: skip
    return failed


def _told(job: Job) -> str:
    sampled = json.loads((job.folder / "summary.json").read_text())["evaluation"]["sampled"]
    if sampled["success"] is None:  # the game declares none
        return f"mean return {np.mean(sampled['returns']):.3f} in {sampled['mean_rounds']:.2f} rounds"
    return f"{100 * sampled['success']:.2f} % in {sampled['mean_rounds']:.2f} rounds"


def _outcomes(todo: list[Job], address: str | None, note: Callable[[str], None]) -> Iterator[tuple[Job, str | None]]:
    """Jobs as they end, and what went wrong. Runs that two conditions share are trained once, by the first of them."""
    shared: dict[Path, list[Job]] = {}
    for job in todo:
        shared.setdefault(job.folder.resolve(), []).append(job)
    wanted = [Wanted(folder, group[0].config, partial(_measure, group)) for folder, group in shared.items()]
    for news in make(wanted, address, note):
        if news.ended:
            yield from ((job, news.problem) for job in shared[news.wanted.folder])


def _measure(group: list[Job], folder: Path) -> None:
    """Measure a trained run, which lies in `folder` here; in the process that has trained it."""
    for job in (job._replace(folder=folder) for job in group):
        figures = load(job.experiment).measure(_opened(job), job.quick)
        job.measured.parent.mkdir(exist_ok=True)
        unfinished = job.measured.with_suffix(".tmp")
        unfinished.write_text(json.dumps(figures))
        unfinished.replace(job.measured)


def _opened(job: Job) -> LoadedRun:
    """A run for reading. The experiment names its game and its code, and so does the one who runs it."""
    return load_run(job.folder, job.config.env, named_code(job.config))


# -- collecting --------------------------------------------------------------------------------------------------------


def collect(done: list[Job]) -> Results:
    """The figures of all runs, side by side."""
    rows, runs = [], {}
    for job in done:
        summary = json.loads((job.folder / "summary.json").read_text())
        sampled, greedy = summary["evaluation"]["sampled"], summary["evaluation"]["greedy_moves"]
        best = best_possible(job.config)
        rows.append({
            "condition": job.condition, "seed": job.config.seed, "episodes": summary["episodes"],
            "games": sampled["games"], "success": _known(sampled["success"]), "greedy_moves": _known(greedy["success"]),
            "rounds": sampled["mean_rounds"], "cut": sampled["cut"], "silent": sampled["silent"],
            "score": sampled.get("score"), "return": np.mean(sampled.get("returns") or math.nan),
            "episodes_to_95": summary["episodes_to_95"], "staleness": summary["staleness_mean"],
            "staleness_max": summary["staleness_max"],
            "best_success": best.success if best else math.nan, "best_rounds": best.rounds if best else math.nan,
            "round_cost": job.config.rules.round_cost, "best_reward": best.reward if best else math.nan,
            "wall_s": summary["wall_s"], "run": job.folder.name, "git": _revision(job.folder),
            **json.loads(job.measured.read_text()),
        })  # fmt: skip
        runs[job.condition, job.config.seed] = _opened(job)
    return Results(pd.DataFrame(rows), runs, done[0].quick)


def _known(share: float | None) -> float:
    return math.nan if share is None else share


def _revision(folder: Path) -> str | None:
    return json.loads((folder / "config.json").read_text())["git"]


def best_possible(config: Config) -> Optimum | None:
    """What identical agents can reach at best; None where the theory does not reach."""
    rules = config.rules
    same = (Config.env, "emcomm/crossing-priority-v1")  # delays cost no round more: analysis.agents.priority_pair
    if config.env not in same or rules.closing != "mutual":
        return None
    if rules.channel == "off" or config.torso == "none":  # nothing tells the agents apart when they move
        return Optimum(0.5, 0.0, 0.0, np.zeros((0, rules.n_tokens + 3)))
    if rules.channel != "open" or rules.speaking != "simultaneous" or config.torso != "gru" or config.population > 1:
        return None
    return optimum(rules.n_tokens, rules.max_rounds, rules.opening, rules.round_cost)
