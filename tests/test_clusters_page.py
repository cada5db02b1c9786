"""docs/clusters.md: its commands are commands, its files exist, and what it says of limits is what the code has."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emcomm import a3c, batch
from emcomm.cli import parse
from emcomm.sweep import plan_of
from emcomm.train import options_from
from experiments.running import RunOptions, load

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "clusters.md").read_text()
COMMANDS = re.findall(r"^    (\S.*)$", PAGE, re.MULTILINE)


def module_and_flags(command: str) -> tuple[str, list[str]]:
    """Of `python -m module flags`, or `docker run … emcomm module flags`."""
    words = shlex.split(command.replace("$PWD", "."))
    first = words.index("-m") if "-m" in words else words.index("emcomm")
    return words[first + 1], words[first + 2 :]


@pytest.mark.parametrize("command", [c for c in COMMANDS if "python -m" in c or "docker run" in c])
def test_a_command_is_understood(command: str) -> None:
    module, flags = module_and_flags(command)
    if module == "emcomm.sweep":
        assert plan_of(flags).conditions
    elif module == "emcomm.train":
        assert options_from(flags).config.workers
    else:
        assert module == "experiments"
        assert parse(RunOptions, flags[1:], "experiments") is not None
        if flags[0] not in ("my_module", "path/to/mine.py"):
            assert load(flags[0])


def test_the_first_command_makes_the_plan_that_the_page_says(
    call: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    done = call("sweep", *module_and_flags(COMMANDS[0])[1], "--plan")
    assert "6 conditions × 10 seeds = 60 runs in logs/sweep" in done.out
    assert "These are 6 conditions and 60 runs." in PAGE


def test_what_it_names_exists() -> None:
    targets = re.findall(r"\]\(((?!http)[^)#]+)\)", PAGE) + re.findall(r"`((?:experiments|tests)/\S+\.py)`", PAGE)
    assert len(targets) >= 3
    for target in targets:
        assert (ROOT / "docs" / target).exists() or (ROOT / target).exists(), target
    for file in re.findall(r"pytest -m slow (\S+?)[` ]", PAGE) + re.findall(r"sbatch (\S+\.sh)", PAGE):
        assert (ROOT / file).exists(), file
    stages = re.findall(r"^FROM \S+ AS (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert set(re.findall(r"--target (\S+)", PAGE)) <= set(stages)


def test_its_figures_are_those_of_the_code() -> None:
    assert f"after {a3c.PATIENCE:.0f} s" in PAGE
    assert batch.TRIES == 3
    assert "three processes or nodes die under one run" in PAGE
    assert batch.LOOK_EVERY == 1
    assert "a piece at a time, every second" in PAGE
