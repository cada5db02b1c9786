"""The clients in tests/clients, as far as they need no packages of their own: `.ci/clients` runs them all."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
CLIENTS = ROOT / "tests" / "clients"
PAGE = (ROOT / "docs" / "train_with_your_own_tool.md").read_text()
TOOLS = sorted(path.stem.removesuffix("_ppo") for path in CLIENTS.glob("*_ppo.py"))


def test_the_page_shows_what_the_programs_do() -> None:
    blocks = re.findall(r"```python\n# tests/clients/(\w+)_ppo\.py\n(.*?)```", PAGE, re.DOTALL)
    assert sorted(name for name, _ in blocks) == TOOLS
    for name, block in blocks:
        lines = [line.strip() for line in (CLIENTS / f"{name}_ppo.py").read_text().splitlines()]
        assert [line for line in block.splitlines() if line.strip() not in lines] == []


def test_the_page_names_figures_of_every_tool() -> None:
    rows = re.findall(r"^\| \[(\w+)_ppo\.py\].*\|$", PAGE, re.MULTILINE)
    assert sorted(rows) == TOOLS


def test_the_first_lines_of_the_page_run() -> None:
    first = re.search(r"```python\n(import envs.*?)```", PAGE, re.DOTALL)
    assert first is not None
    names: dict[str, object] = {}
    exec(first[1], names)
    assert names["observations"]["train_0"]["observation"].shape == (3 + 2 * 2 * 7,)  # type: ignore[index]


def test_the_script_runs_every_client_and_refuses_others() -> None:
    script = (ROOT / ".ci" / "clients").read_text()
    named = re.search(r"^tools=\((.*)\)$", script, re.MULTILINE)
    assert named is not None
    assert sorted(named[1].split()) == TOOLS
    done = subprocess.run([ROOT / ".ci" / "clients", "keras"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f".ci/clients: there is no keras: the tools are {named[1]}\n"


def test_what_the_clients_need_is_pinned() -> None:
    lines = (CLIENTS / "constraints.txt").read_text().splitlines()
    pins = {canonicalize_name(pin.name): pin.specifier for pin in map(Requirement, lines[1:])}
    project = (ROOT / "pyproject.toml").read_text()
    wanted = re.search(r"^clients = \[(.*?)^\]", project, re.DOTALL | re.MULTILINE)
    assert wanted is not None
    for line in re.findall(r'"(.*?)"', wanted[1]):
        needed = Requirement(line)
        [pin] = pins[canonicalize_name(needed.name)]
        assert (pin.operator, needed.specifier.contains(pin.version)) == ("==", True)


def test_ours_trains_and_says_what_it_has_reached() -> None:
    done = subprocess.run(
        [sys.executable, CLIENTS / "cleanrl_ppo.py", "--steps", "2048", "--games", "40", "--at-least", "1"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert re.fullmatch(
        r"CleanRL-style PPO, channel open, seed 0: success \d+\.\d\d % \[.*\] in 40 games, "
        r"after 682 games of training in \d+ s\n",
        done.stdout,
    )
    assert (done.returncode, done.stderr) == (1, "CleanRL-style PPO: success must be from 100 % to 100 %\n")
