"""What `python -m emcomm.analyze` does: it studies the runs, writes the report, and says the main things."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd
import torch
from rich.console import Console
from rich.markup import escape

from analysis.automata.graphs import dot, save_graphml
from analysis.data.export import export_corpus, write_tables
from analysis.data.runs import LoadedRun, find_runs, load
from analysis.data.writing import cannot_write, claimed, file_name, write_whole
from analysis.report.findings import Findings
from analysis.report.measure import Measure
from analysis.report.measures import MEASURES
from analysis.report.pipeline import FULL, QUICK, Depth, study
from analysis.report.run_comparison import Comparison, compare, distinct_names
from analysis.report.write import check_folder, write_report
from emcomm.analyze import AnalyzeOptions
from emcomm.config import naming
from emcomm.errors import BadInput
from emcomm.printable import printable
from emcomm.runs import command_line
from emcomm.terminal import print_line, print_notes, print_run, print_table


def analyse(options: AnalyzeOptions) -> int:
    """Study the runs, write the report and say the main things; the exit code."""
    console = Console(highlight=False, stderr=options.json)
    measures = [MEASURES.find(name) for name in options.measure if name not in MEASURES]
    paths = list(dict.fromkeys(run for folder in options.logs for run in find_runs(folder)))
    out = options.out or _beside(*options.logs)
    check_folder(out, paths)
    torch.set_num_threads(1)  # networks this small: two threads took up to eight times as long on two busy cores
    with claimed(out):
        studied = study_all(
            paths,
            QUICK if options.quick else FULL,
            console,
            lambda path: load(path, options.env, options.code),
            measures,
        )
        with _doing(console) as say:
            say("comparing the runs" if len(studied) > 1 else "writing the report")
            comparison = compare(studied)
            report = write_report(out, studied, comparison, command_line())
            written = _write_more(options, out, studied, comparison)
    if options.json:
        both = {"runs": [f.to_json() for f in studied], "comparison": comparison and comparison.to_json()}
        print(json.dumps({**both, "report": str(report)}, indent=2, allow_nan=False))
        return 0
    for findings in studied:
        print_run(console, findings)
        for name in options.tables:
            print_table(console, name, _table(findings, name))
    if comparison is not None:
        _print_comparison(console, comparison)
    _print_end(console, options, report, written)
    return 0


def _beside(logs: Path, *more: Path) -> Path:
    whole, also = logs.resolve(), f"-and-{len(more)}-more" if more else ""
    return (logs.parent if logs.name else whole.parent) / f"{whole.name}{also}-report"


# -- working -----------------------------------------------------------------------------------------------------------


def study_all(
    paths: Sequence[Path],
    depth: Depth,
    console: Console,
    opened: Callable[[Path], LoadedRun],
    measures: Sequence[Measure] = (),
) -> list[Findings]:
    """Study every run, `opened` for reading; raises BadInput where none of them has a dialogue."""
    depth = dataclasses.replace(
        depth,
        shown=max(depth.shown // len(paths), 1_000),
        training_shown=max(depth.training_shown // len(paths), 200),
        budget=max(depth.budget // len(paths), 40_000),
    )
    studied = []
    for i, path in enumerate(paths, 1):
        which = f"{path} ({i} of {len(paths)})" if len(paths) > 1 else str(path)
        if not console.is_terminal:
            print_line(console, f"analysing {which}")
        with _doing(console, which) as say:
            if _is_utf8(path):
                studied.append(study(opened(path), depth, say, measures))
            else:
                studied.append(_unread(path))
    if all(not findings.played and findings.training is None for findings in studied):
        raise BadInput(next(iter(studied[0].problems[-1:]), f"{paths[0]} holds no dialogues"))
    return studied


def _is_utf8(path: Path) -> bool:
    """Whether the name can be handed to the reader of Parquet."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _unread(path: Path) -> Findings:
    problem = f"{path} was passed over: its name is no UTF-8; rename the folder"
    return Findings(LoadedRun(path, None, None, [problem], {}), [problem])


@contextlib.contextmanager
def _doing(console: Console, which: str = "") -> Iterator[Callable[[str], None]]:
    """Something to call with what is being done: a live line on a terminal, silence elsewhere."""
    if not console.is_terminal:
        yield lambda text: None
        return
    with console.status("") as status:
        yield lambda text: status.update(escape(printable(f"{which}: {text}" if which else text)))


def _write_more(
    options: AnalyzeOptions, out: Path, studied: list[Findings], comparison: Comparison | None
) -> dict[str, int]:
    """Tables, machines and corpora, where they were asked for; returns for how many runs there were some."""
    named = dict(zip(map(file_name, distinct_names(studied)), studied, strict=True))
    written = {}
    try:
        if options.csv:
            written["tables"] = sum(bool(write_tables(out / "tables" / k, f.tables())) for k, f in named.items())
            if comparison is not None:
                write_tables(out / "tables", comparison.tables())
        if options.machines:
            written["machines"] = sum(
                _write_machine(findings, out / "machines", name) for name, findings in named.items()
            )
        if options.corpus:
            frozen = {name: findings.run for name, findings in named.items() if findings.run.parts.get("evaluation")}
            for name, run in frozen.items():
                export_corpus(run, out / "corpus", variant=name)
            written["corpus"] = len(frozen)
    except OSError as error:
        raise cannot_write(out, error) from error
    return written


def _write_machine(findings: Findings, folder: Path, name: str) -> bool:
    """Write the machine of a run; returns whether it has one."""
    machine = findings.explanation.machine if findings.explanation else None
    if machine is None:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    machine.save(folder / f"{name}.json")
    write_whole(folder / f"{name}.dot", dot(machine))
    save_graphml(machine, folder / f"{name}.graphml")
    return True


# -- saying ------------------------------------------------------------------------------------------------------------


def _table(findings: Findings, name: str) -> pd.DataFrame:
    tables = findings.tables()
    if name not in tables:
        raise BadInput(f"{findings.run.path} has no table {name!r}: the tables are {', '.join(tables)}")
    return tables[name]


def _print_comparison(console: Console, comparison: Comparison) -> None:
    """What the runs amount to together."""
    console.print()
    for group in comparison.groups:
        print_line(console, group.sentence)
    if comparison.played is not None:
        others, selves = comparison.others, comparison.played.rates.diagonal()
        console.print(f"cross-play: {100 * others:.1f} % with others, {100 * selves.mean():.1f} % with themselves")
    print_notes(console, comparison.problems)


def _print_end(console: Console, options: AnalyzeOptions, report: Path, written: dict[str, int]) -> None:
    """Where things lie, and what to do next."""
    console.print()
    print_line(console, f"report: {report}")
    for name, count in written.items():
        where = report.parent / name if count else "nothing to write"
        print_line(console, f"{name}: {where}")
    logs, advice = shlex.join(map(str, options.logs)), ""
    folders = {Path(log) if len(options.logs) == 1 else Path(log).parent for log in options.logs}
    if options.quick:
        advice = f"; python -m emcomm.analyze {logs}{naming(options.env, options.code)}"
    elif len(folders) == 1:  # the notebooks read one run, or a folder of runs
        advice = f"; EMCOMM_LOGS={shlex.quote(str(folders.pop()))} jupyter lab analysis/notebooks"
    print_line(console, f"next: open the report in a browser{advice}")
