"""What `python -m emcomm.analyze` writes and prints: on a full disk, beside another analysis, with hostile names."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from analysis.agents.synthetic_protocols import planted_dialogues
from analysis.data.dialogue_text import table_of
from analysis.data.writing import claimed
from analysis.report.measures import MEASURES
from emcomm.analysing import _print_end
from emcomm.analyze import AnalyzeOptions
from emcomm.cli import print_dialogues
from emcomm.dialogues import DialogueWriter
from emcomm.terminal import print_table
from envs.game import plain_declaration

ROOT = Path(__file__).resolve().parent.parent
Call = Callable[..., Any]
UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff]")


def make_run(path: Path, moves: tuple[str, str] = ("main", "detour"), dialogues: int = 40, **config: Any) -> Path:
    writer = DialogueWriter(path / "evaluation", 5, moves)
    writer.add(planted_dialogues("vote", 0, dialogues))
    writer.close()
    whole = {"env": "emcomm/crossing-v1", "rules": {"n_tokens": 5, "window": 1}, **config}
    (path / "config.json").write_text(json.dumps({"version": 1, "config": whole}))
    return path


@pytest.fixture
def few_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of where a report is written and not of what is in it."""
    few = {name: MEASURES[name] for name in ("tokens", "success", "failures")}
    monkeypatch.setattr("analysis.report.pipeline.MEASURES", few)


def refused(said: Any, *words: str) -> None:
    """One line, exit code 2, and nothing was analysed."""
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1), said
    for word in words:
        assert word in said.err


# -- a full disk -------------------------------------------------------------------------------------------------------

FULL_DISK = """
import contextlib, io, subprocess, sys
from pathlib import Path
import analysis.report.write
from emcomm import analysing, analyze
from emcomm.cli import run_command

logs, disk = sys.argv[1], Path(sys.argv[2])
disk.mkdir()

def once(function):
    known = []
    return lambda *args: known[0] if known else known.append(function(*args)) or known[0]

analysing.study_all = once(analysing.study_all)
analysing.compare = once(analysing.compare)
analysis.report.write.render = once(analysis.report.write.render)

def mount(*options):
    subprocess.run(["mount", "-o", ",".join(options), "-t", "tmpfs", "tmpfs", disk], check=True)

def analyse():
    sys.argv = ["analyze", logs, "--quick", "--csv", "--machines", "--corpus", "--out", str(disk / "out")]
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            run_command(analyze.main)
        except SystemExit as leaving:
            code = leaving.code
    names = sorted(str(path.relative_to(disk)) for path in disk.rglob("*"))
    return int(code or 0), said.getvalue(), [name for name in names if ".tmp" in name], len(names)

mount("size=64m")
print(analyse())
total = sum(path.stat().st_size // 4096 + 1 for path in disk.rglob("*"))
count = sum(1 for path in disk.rglob("*"))
subprocess.run(["umount", disk], check=True)
limits = [f"nr_inodes={n}" for n in range(1, count + 1, 4)] + [f"size={4 * n}k" for n in range(1, total, total // 4)]
for limit in limits:
    mount(limit)
    print((limit, *analyse()))
    subprocess.run(["mount", "-o", "remount,nr_inodes=1000,size=64m", disk], check=True)
    print(analyse())
    subprocess.run(["umount", disk], check=True)
"""


def test_a_disk_that_fills_up_at_any_file(tmp_path: Path) -> None:
    """No room for the n-th file or block: one line and exit code 1; then, with room, the same command works."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount a small disk (unshare -rm)")
    make_run(tmp_path / "logs" / "a", dialogues=60)
    make_run(tmp_path / "logs" / "b", dialogues=60, seed=1)
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, "-c", FULL_DISK, tmp_path / "logs", tmp_path / "small"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, *rest = [eval(line) for line in done.stdout.splitlines()]
    assert first[:3] == (0, "", [])
    failed = 0
    for (limit, code, said, left, _), again in zip(rest[::2], rest[1::2], strict=True):
        assert again == first, limit
        if code == 0:
            continue
        failed += 1
        assert (code, said.count("\n"), left) == (1, 1, []), (limit, said)
        assert re.match("emcomm: cannot write .*small.*: No space left on device", said), said
        assert "free some space" in said
    assert failed > 8


def test_output_that_cannot_be_written() -> None:
    command = "from emcomm.cli import run_command; run_command(lambda: print('x' * 100_000))"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", command], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith("emcomm: the output cannot be written: No space left on device")


# -- beside another analysis -------------------------------------------------------------------------------------------


def test_two_analyses_never_write_into_one_folder(call: Call, tmp_path: Path, few_measures: None) -> None:
    run = make_run(tmp_path / "run")
    with claimed(tmp_path / "run-report"):
        refused(call("analyze", run, "--quick"), "another analysis is writing into", "run-report")
        refused(call("analyze", run, "--quick"), "another analysis is writing into", "run-report")
    assert not (tmp_path / "run-report").exists()
    assert call("analyze", run, "--quick").code == 0


def test_what_a_killed_analysis_left_is_removed(call: Call, tmp_path: Path, few_measures: None) -> None:
    run, out = make_run(tmp_path / "run"), tmp_path / "run-report"
    (out / "tables").mkdir(parents=True)
    for left in (out / ".report.html.tmp", out / ".emcomm-a1b2c3.tmp"):
        left.write_text("<!doctype ht")
    refused(call("analyze", run, "--quick"), "no report of emcomm")  # tables/ may be somebody's
    (out / "tables").rmdir()
    assert call("analyze", run, "--quick").code == 0
    (out / "tables").mkdir()
    (out / "tables" / ".emcomm-a1b2c3.tmp").write_text("half")
    assert call("analyze", run, "--quick").code == 0
    assert [path.name for path in out.rglob("*")].count("report.html") == 1
    assert not list(out.rglob("*.tmp"))


# -- where the report cannot go ----------------------------------------------------------------------------------------


def test_an_out_that_is_no_folder(call: Call, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for out, words in (
        ("pipe", "is no folder"),
        ("file", "is a file"),
        ("nowhere", "is a link to nowhere"),
        ("loop", "is a link to nowhere"),
        ("n" * 300, "File name too long"),
        ("/proc/report", "No such file or directory"),
    ):
        refused(call("analyze", run, "--quick", "--out", tmp_path / out), words, "choose another --out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "loop", "nowhere", "pipe", "run"]


def test_a_file_where_a_folder_of_the_report_should_be(call: Call, tmp_path: Path, few_measures: None) -> None:
    run = make_run(tmp_path / "run")
    assert call("analyze", run, "--quick").code == 0
    (tmp_path / "run-report" / "tables").write_text("mine")
    said = call("analyze", run, "--quick", "--csv")
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert f"cannot write {tmp_path / 'run-report' / 'tables'}" in said.err
    assert "choose another --out" in said.err
    assert (tmp_path / "run-report" / "tables").read_text() == "mine"


# -- names -------------------------------------------------------------------------------------------------------------


def test_names_that_are_no_utf8(call: Call, tmp_path: Path) -> None:
    """A run with such a name is passed over; a folder with such a name is fine for a report."""
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/logs/run-\xff"))
    make_run(tmp_path / "logs" / "good")
    make_run(tmp_path / "logs" / "plain").rename(strange)
    said = call("analyze", strange, "--quick")
    assert said.code == 2
    assert said.err.splitlines() == [
        f"emcomm: {tmp_path}/logs/run-\\xff was passed over: its name is no UTF-8; rename the folder"
    ]
    assert UNSEEN.search(said.out) is None
    out = os.fsdecode(os.fsencode(tmp_path) + b"/out-\xff")
    said = call("analyze", tmp_path / "logs", "--quick", "--csv", "--machines", "--corpus", "--out", out)
    assert said.code == 0, said.err
    assert "run-\\xff was passed over" in said.out
    assert UNSEEN.search(said.out) is None
    assert "run-\\xff" in (Path(out) / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "moves"),
    [
        ("run\x1b[2J\x1b]0;title\x07\nfake: line\u202e[bold]", ("a\x1b[31m$\\frac{$", "\u202eb\x00[red]")),
        ("r" * 255, ("m" * 200, "n" * 200)),
    ],
    ids=["control characters", "endless"],
)
def test_names_cannot_command_the_terminal(call: Call, tmp_path: Path, name: str, moves: tuple[str, str]) -> None:
    logs = make_run(tmp_path / "logs" / name, moves, dialogues=400, env="e" * 200).parent
    make_run(logs / "other")
    said = call("analyze", logs, "--quick", "--csv", "--machines", "--corpus", "--out", tmp_path / "out")
    assert said.code == 0, said.err
    assert UNSEEN.search(said.out) is None
    assert len(said.out) < 20_000
    assert len(list((tmp_path / "out" / "machines").iterdir())) == 3
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert UNSEEN.search(page) is None
    assert len(page) < 1_000_000
    console = Console(file=io.StringIO(), record=True, width=200)
    print_dialogues(console, table_of([[(4, 2), (5, 5)]]), plain_declaration(2, moves), 5)
    assert UNSEEN.search(console.export_text()) is None


@pytest.mark.parametrize(("rounds", "names"), [([(4, 2), (5, 5)], True), ([(4, 2)], False)])
def test_eot_is_explained_where_it_is_said(rounds: list, names: bool) -> None:
    """A talk of a fixed number of rounds has none."""
    console = Console(file=io.StringIO(), width=100)
    print_dialogues(console, table_of([rounds]), plain_declaration(2, ("a", "b")), 5)
    assert ("5 = EOT" in console.file.getvalue()) == names  # type: ignore[attr-defined]


def test_a_joint_move_before_the_last_one_is_no_failure() -> None:
    table = table_of([[(4, 2)], [(4, 2)]], moves=[(0, 0), (0, 0)])
    table = replace(table, episode=np.zeros(2, int), negotiation=np.arange(2, dtype=np.int32))
    console = Console(file=io.StringIO(), width=100)
    print_dialogues(console, table, plain_declaration(2, ("a", "b")), 5)
    assert re.findall(r"goes on|failure", console.file.getvalue()) == ["goes on", "failure"]  # type: ignore[attr-defined]


def test_a_table_is_printed_whole_where_no_terminal_is() -> None:
    frame = pd.DataFrame({f"a long name {i}": [0.123 + i, 100.456] for i in range(14)})
    for options in ({"width": 80}, {"width": 80, "force_terminal": True, "no_color": True}):
        console = Console(file=io.StringIO(), **options)  # type: ignore[arg-type]
        print_table(console, "numbers", frame)
        assert "…" not in console.file.getvalue()  # type: ignore[attr-defined]
    console = Console(file=io.StringIO(), width=80)
    print_table(console, "numbers", frame)
    assert "12.1" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("logs", "quick", "says"),
    [
        (("logs/a", "logs/b"), False, "EMCOMM_LOGS=logs jupyter lab"),
        (("one/a", "two/b"), False, "in a browser\n"),
        (("logs/a",), False, "EMCOMM_LOGS=logs/a jupyter lab"),
        (("logs/a", "logs/b"), True, "emcomm.analyze logs/a logs/b --env my:Game --code my:Torso"),
    ],
)
def test_what_to_run_next_can_be_pasted(logs: tuple[str, ...], quick: bool, says: str) -> None:
    console = Console(file=io.StringIO(), width=200)
    options = AnalyzeOptions(tuple(map(Path, logs)), quick=quick, env="my:Game", code=("my:Torso",))
    _print_end(console, options, Path("report/report.html"), {})
    assert says in console.file.getvalue()  # type: ignore[attr-defined]


def test_an_error_line_is_one_line_and_plain(call: Call, tmp_path: Path) -> None:
    said = call("analyze", tmp_path / "no\x1b[2J\rsuch\x9brun")
    assert said.err == f"emcomm: there is no folder {tmp_path}/no\\x1b[2J such\\x9brun\n"
