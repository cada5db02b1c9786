"""What the README says is true: its commands run, its files exist."""

from __future__ import annotations

import io
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.running import names

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SMALL = {
    "emcomm.train": "--workers 0 --episodes 300 --games 16 --evaluation-games 200 --log-dir LOGS",
    "emcomm.evaluate": "--evaluation-games 200",
    "emcomm.analyze": "--quick --out OUT",
    "emcomm.play": "",
    "emcomm.sweep": "--episodes 300 --games 16 --evaluation-games 100 --report-runs 0 --log-dir LOGS --plan",
    "emcomm.verify": "",
    "emcomm.prove": "--seconds 0.5",
    "emcomm.audit": "--games 40",
    "experiments": "",
    "experiments.overview": "--out OUT/overview.png",
    "experiments.replications": "",
    "experiments.planted_recovery": "--variants 1 --dialogues 500 --foreign-seeds 0",
    "experiments.throughput": "--seconds 0.5 --worker-counts 0 --games 16",
}
"""Flags that make each command small."""
COMMANDS = sorted(set(re.findall(r"python -m [^`\n#]+", README)))
ONE_EXPERIMENT = re.compile(r"python -m experiments \w+")
RUNNABLE = [c for c in COMMANDS if c.split()[2] in SMALL and "my_module" not in c and not ONE_EXPERIMENT.match(c)]


def test_every_command_of_ours_is_tried() -> None:
    """Here, or as a quick version in test_experiments.py."""
    experiments = {f"experiments.{name}" for name in names()}
    assert {c.split()[2] for c in COMMANDS} <= {*SMALL, *experiments}


@pytest.mark.parametrize("command", RUNNABLE)
def test_command_runs(
    command: str, small_run: Path, tmp_path: Path, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = tmp_path / "logs"
    shutil.copytree(small_run, logs / "RUN")
    module, *args = shlex.split(command)[2:]
    replaced = {"LOGS": str(tmp_path / "made"), "OUT": str(tmp_path / "out")}
    small = [re.sub("LOGS|OUT", lambda m: replaced[m[0]], a) for a in shlex.split(SMALL[module])]
    if "--resume" in args:
        small = ["--workers", "0", "--episodes", "3300", "--evaluation-games", "200"]
    if module.startswith("emcomm."):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.stdin", io.StringIO())  # nobody answers
        said = call(module.removeprefix("emcomm."), *args, *small)
        assert said.code == 0, said.err
        return
    done = subprocess.run(
        [sys.executable, "-m", module, *args, *small], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_python_examples_run(small_run: Path, tmp_path: Path) -> None:
    shutil.copytree(small_run, tmp_path / "logs" / "RUN")
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr


def test_links_and_pictures_exist() -> None:
    linked = re.findall(r"\]\(((?!http)[^)#]+)\)", README)
    assert linked
    for target in linked:
        assert (ROOT / target.replace("\\_", "_")).exists(), target


def test_it_opens_with_the_two_commands() -> None:
    install, test = [line.strip() for line in README.splitlines() if line.startswith("    pip install")][:2]
    assert install == "pip install -c constraints.txt -e . && python -m emcomm.train --workers 32"
    assert test == 'pip install -c constraints.txt -e ".[test]" && pytest'
    assert test.removesuffix(" && pytest") in (ROOT / ".ci/run").read_text()
