"""Find out what the talk does: `python -m emcomm.analyze logs/` writes a report and says the main things here.

It takes one run or a folder of runs. Nothing is written into them; the report lies beside the folder that was given.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from analysis.automata.graphs import dot, save_graphml
from analysis.data.export import export_corpus, write_tables
from analysis.data.runs import LoadedRun, find_runs, load
from analysis.data.writing import cannot_write, claimed, file_name, write_whole
from analysis.report.findings import Findings
from analysis.report.html import shown
from analysis.report.pipeline import FULL, QUICK, Depth, study
from analysis.report.run_comparison import Comparison, compare, distinct_names
from analysis.report.write import check_folder, write_report
from emcomm.cli import parse, run_command
from emcomm.errors import BadInput
from emcomm.printable import printable
from emcomm.runs import command_line

MOST_NOTES = 20
"""Notes of one run that are printed; the report has them all."""


@dataclass(frozen=True)
class AnalyzeOptions:
    """Find out what the talk does, from the logs and, where a checkpoint lies beside them, from the network."""

    logs: tyro.conf.Positional[Path]
    """A run's folder, or a folder of runs."""
    out: Path | None = None
    """Folder of the report. Default: beside LOGS, with -report after its name. Only a report is ever replaced."""
    json: bool = False
    """Print the findings as JSON instead of tables."""
    csv: bool = False
    """Write the table behind every figure as CSV, into tables/ of the report's folder."""
    machines: bool = False
    """Write the extracted machines as JSON, DOT and GraphML, into machines/ of the report's folder."""
    corpus: bool = False
    """Write the dialogues of the frozen policy in the layout of ELCC, into corpus/ of the report's folder."""
    env: str | None = None
    """A game outside emcomm (module:Name) on which runs were trained: only what is named here is executed."""
    quick: bool = False
    """Fewer dialogues, games and permutations: a first look, with wider intervals."""


def main() -> int:
    """The command line."""
    options = parse(AnalyzeOptions, sys.argv[1:], "emcomm.analyze")
    console = Console(highlight=False, stderr=options.json)
    paths = find_runs(options.logs)
    out = options.out or _beside(options.logs)
    check_folder(out, paths)
    torch.set_num_threads(1)  # networks this small: two threads took up to eight times as long on two busy cores
    with claimed(out):
        findings = _study_all(paths, QUICK if options.quick else FULL, console, options.env)
        with _doing(console) as say:
            say("comparing the runs" if len(findings) > 1 else "writing the report")
            comparison = compare(findings)
            report = write_report(out, findings, comparison, command_line())
            written = _write_more(options, out, findings, comparison)
    if options.json:
        both = {"runs": [f.to_json() for f in findings], "comparison": comparison and comparison.to_json()}
        print(json.dumps({**both, "report": str(report)}, indent=2, allow_nan=False))
        return 0
    for found in findings:
        _print_run(console, found)
    if comparison is not None:
        _print_comparison(console, comparison)
    _print_end(console, options, report, written)
    return 0


def _beside(logs: Path) -> Path:
    whole = logs.resolve()
    return (logs.parent if logs.name else whole.parent) / f"{whole.name}-report"


# -- working -----------------------------------------------------------------------------------------------------------


def _study_all(paths: Sequence[Path], depth: Depth, console: Console, env: str | None) -> list[Findings]:
    """Study every run; raises BadInput where none of them has a dialogue."""
    depth = dataclasses.replace(
        depth,
        shown=max(depth.shown // len(paths), 1_000),
        training_shown=max(depth.training_shown // len(paths), 200),
        budget=max(depth.budget // len(paths), 40_000),
    )
    findings = []
    for i, path in enumerate(paths, 1):
        which = f"{path} ({i} of {len(paths)})" if len(paths) > 1 else str(path)
        if not console.is_terminal:
            _say(console, f"analysing {which}")
        with _doing(console, which) as say:
            findings.append(study(load(path, env), depth, say) if _is_utf8(path) else _unread(path))
    if all(found.success is None and found.training is None for found in findings):
        raise BadInput(next(iter(findings[0].problems[-1:]), f"{paths[0]} holds no dialogues"))
    return findings


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
    options: AnalyzeOptions, out: Path, findings: list[Findings], comparison: Comparison | None
) -> dict[str, int]:
    """Tables, machines and corpora, where they were asked for; returns for how many runs there were some."""
    named = dict(zip(map(file_name, distinct_names(findings)), findings, strict=True))
    written = {}
    try:
        if options.csv:
            written["tables"] = sum(bool(write_tables(out / "tables" / k, f.tables())) for k, f in named.items())
            if comparison is not None:
                write_tables(out / "tables", comparison.tables())
        if options.machines:
            written["machines"] = sum(_write_machine(found, out / "machines", name) for name, found in named.items())
        if options.corpus:
            frozen = {name: found.run for name, found in named.items() if found.run.parts.get("evaluation")}
            for name, run in frozen.items():
                export_corpus(run, out / "corpus", variant=name)
            written["corpus"] = len(frozen)
    except OSError as error:
        raise cannot_write(out, error) from error
    return written


def _write_machine(found: Findings, folder: Path, name: str) -> bool:
    """Write the machine of a run; returns whether it has one."""
    machine = found.explanation.machine if found.explanation else None
    if machine is None:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    machine.save(folder / f"{name}.json")
    write_whole(folder / f"{name}.dot", dot(machine))
    save_graphml(machine, folder / f"{name}.graphml")
    return True


# -- saying ------------------------------------------------------------------------------------------------------------


def _say(console: Console, words: object) -> None:
    """A line of words from anywhere."""
    console.print(printable(words), soft_wrap=True, markup=False)


def _notes(console: Console, problems: Sequence[str]) -> None:
    """What was missing, the first of it in full."""
    for problem in problems[:MOST_NOTES]:
        console.print(f"[yellow]note:[/] {escape(printable(problem))}", soft_wrap=True)
    if len(problems) > MOST_NOTES:
        console.print(f"[yellow]note:[/] {len(problems) - MOST_NOTES:,} more, in the report", soft_wrap=True)


def _print_run(console: Console, found: Findings) -> None:
    """The table of one run, its sentence, and what was missing."""
    table = Table(
        "", "figure", "", title=escape(printable(found.run.path)), title_justify="left", box=None, padding=(0, 2, 0, 0)
    )
    table.columns[1].justify = "right"
    for name, figure, remark in _lines(found):
        table.add_row(name, f"[bold]{escape(printable(figure))}[/]", f"[dim]{escape(printable(remark))}[/]")
    console.print()
    console.print(table)
    console.print(Padding(f"[bold green]{escape(printable(found.sentence))}[/]", (1, 0, 0, 0)))
    _notes(console, found.problems)


def _lines(found: Findings) -> list[tuple[str, str, str]]:
    """Name, figure and remark of what matters most."""
    lines = []
    if found.success is not None:
        rate = found.success.overall
        lines.append(
            (
                "success",
                shown(rate.value, share=True),
                f"[{100 * rate.low:.2f}, {100 * rate.high:.2f}] of {rate.trials:,} dialogues",
            )
        )
        lines.append(("rounds", f"{found.success.mean_rounds:.2f}", f"{shown(found.success.cut.trials)} talks cut"))
    controls = {c.channel: c for c in found.causes.controls}
    if "shuffled" in controls:
        lines.append(
            (
                "with foreign content",
                shown(controls["shuffled"].success.value, share=True),
                "the same network, hearing another dialogue",
            )
        )
    if found.information is not None and found.information.trusted and len(found.information.bits):
        bits, median = found.information.bits, found.information.median_known_at
        rounds = "1 round" if median == 1 else f"{median:g} rounds"
        known = "never known for sure" if math.isnan(median) else f"{rounds} until known (median)"
        lines.append(("bits on who yields", f"{bits[-1]:.2f}", f"{bits[0]:.2f} after round 1, {known}"))
    if found.tokens is not None and found.tokens.dialogues.dialogues:
        distinct = found.tokens.dialogues
        lines.append(
            ("different dialogues", shown(distinct.distinct), f"{shown(distinct.distinct_share, share=True)} of all")
        )
    best = found.explanation.best if found.explanation else None
    if best is not None and best.accuracy.trials:
        random = f", {shown(best.random.value, share=True)} on random dialogues" if best.random else ""
        lines.append(
            (f"rule: {best.method}", shown(best.accuracy.value, share=True), f"of unseen yielders named{random}")
        )
    leaks = [leak.source for leak in found.causes.leaks if leak.leaks]
    if found.causes.leaks:
        lines.append(("role leaks", ", ".join(leaks) or "none", "told by other things than the content"))
    return lines


def _print_comparison(console: Console, found: Comparison) -> None:
    """What the runs amount to together."""
    console.print()
    for group in found.groups:
        _say(console, group.sentence)
    if found.played is not None:
        others, selves = found.others, found.played.rates.diagonal()
        console.print(f"cross-play: {100 * others:.1f} % with others, {100 * selves.mean():.1f} % with themselves")
    _notes(console, found.problems)


def _print_end(console: Console, options: AnalyzeOptions, report: Path, written: dict[str, int]) -> None:
    """Where things lie, and what to do next."""
    console.print()
    _say(console, f"report: {report}")
    for name, count in written.items():
        where = report.parent / name if count else "nothing to write"
        _say(console, f"{name}: {where}")
    logs = shlex.quote(str(options.logs))
    advice = (
        f"python -m emcomm.analyze {logs}" if options.quick else f"EMCOMM_LOGS={logs} jupyter lab analysis/notebooks"
    )
    _say(console, f"next: open the report in a browser; {advice}")


if __name__ == "__main__":
    run_command(main)
