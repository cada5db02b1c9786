"""What an extension costs: each is made in a module outside emcomm, and what a user sees is looked at."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emcomm.algorithms import ALGORITHMS
from emcomm.errors import BadInput
from emcomm.networks.torsos import TORSOS
from envs import CHANNELS, GAMES, Unknown
from envs.registry import Registry
from experiments.running import load

MODULE = '''
import numpy as np
import torch
from analysis import Measure
from analysis.report.measure import DIALOGUES, Line
from analysis.report.svg import canvas, svg
from emcomm.algorithms.a3c import a3c
from emcomm.networks.torsos import Torso
from envs import Channel, Words
from tests.games import SameMove
import pandas as pd


class Ships(SameMove):
    words = Words("ship", success="met", failure="missed", goal="The ships meet when they take the same colour.")


class Loud(Channel):
    name = "loud"
    description = "token 1 is heard instead of token 0"

    def hear(self, own, others, at):
        return np.where(others == 0, 1, others).astype(np.int8)


class Sum(Torso):
    """The memory is a running sum."""

    def __init__(self, sizes):
        super().__init__(sizes)
        self.inputs = torch.nn.Linear(sizes.n_inputs, sizes.hidden_size)

    def forward(self, inputs, memory):
        return torch.tanh(memory + self.inputs(inputs))


def twice(policy, played, again, config, entropy_bonus):
    found = a3c(policy, played, again, config, entropy_bonus)
    return found._replace(vector=2 * found.vector)


def doubled(study):
    table = study.sample
    return pd.DataFrame({"rounds": [int(table.n_rounds.sum())], "dialogues": [len(table)]})


def picture(found, study):
    with canvas(3, 2) as figure:
        figure.subplots().plot([0, 1], [0, 1])
        return svg(figure, "all rounds")


ROUNDS = Measure(
    "all_rounds", doubled, "Rounds of all dialogues", "How much the {agents} talk.", needs=(DIALOGUES,), figure=picture,
    line=lambda found, study: Line("all rounds", str(found["rounds"][0])),
)
BROKEN = Measure("broken", lambda study: 1 / 0, "A broken measure")
'''

EXPERIMENT = """
import dataclasses
import pandas as pd
from matplotlib.figure import Figure
from experiments.experiment import SHORT, Conclusion, Experiment

def conclude(results):
    table = pd.DataFrame({"runs": [len(results.rows)]})
    return Conclusion("Two.", "2 runs", "It was counted.", "Nothing else.", table, Figure())

EXPERIMENT = Experiment(question="How many?", expected="Two.", conditions={"one": SHORT}, conclude=conclude)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outside")
    (folder / "mine.py").write_text(MODULE)
    (folder / "counted.py").write_text(EXPERIMENT)
    (folder / "half.py").write_text("def (")
    return folder


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def python(place: Path) -> Run:
    def run(*args: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        root = Path(__file__).parent.parent
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), str(root), os.environ.get("PYTHONPATH", "")])}
        command = [sys.executable, "-m", *map(str, args)]
        done = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


Call = Callable[..., Any]


@pytest.fixture
def here(call: Call, place: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """A command line of emcomm called in this process, as if it were started in `place`."""
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(place)
    return call


SMALL = (
    "--workers",
    0,
    "--episodes",
    600,
    "--games",
    16,
    "--evaluation-games",
    400,
    "--hidden-size",
    16,
    "--max-rounds",
    5,
)
OWN = ("--env", "mine:Ships", "--channel", "mine:Loud", "--torso", "mine:Sum", "--algorithm", "mine:twice")


@pytest.fixture(scope="module")
def run(python: Run, place: Path) -> Path:
    """A run that uses one of each."""
    done = python("emcomm.train", *SMALL, *OWN, "--run-name", "own")
    assert "channel mine:Loud" in done.stdout
    assert "missed" in done.stdout or "met" in done.stdout  # the game's own words
    return place / "logs" / "own"


NAMED = ("--env", "mine:Ships", "--code", "mine:Loud", "mine:Sum", "mine:twice")


def test_a_game_a_channel_a_torso_and_an_algorithm_train_and_play_again(run: Path, here: Call) -> None:
    config = json.loads((run / "config.json").read_text())["config"]
    assert (config["torso"], config["algorithm"], config["rules"]["channel"]) == ("mine:Sum", "mine:twice", "mine:Loud")
    for command, says in (
        (("evaluate", run, *NAMED, "--evaluation-games", 50), "success"),
        (("play", run, *NAMED, "--games", 1), "outcome: "),
        (("verify", run, *NAMED), "is whole"),
        (("train", "--resume", run, *NAMED, "--episodes", 800), "800 episodes"),
    ):
        said = here(*command)
        assert said.code == 0, said.err
        assert says in said.out


@pytest.mark.parametrize("name", ["mine:Loud", "mine:Sum", "mine:twice"])
def test_nothing_that_a_run_folder_names_is_executed_unasked(run: Path, here: Call, name: str) -> None:
    others = [code for code in NAMED[3:] if code != name]
    done = here("play", run, "--env", "mine:Ships", "--code", *others)
    assert done.code == 2
    assert f"uses {name}, which is code outside emcomm" in done.err
    assert f"--code {name}" in done.err


def test_an_analysis_executes_no_channel_unasked(python: Run, place: Path) -> None:
    """Not even where the game is ours, the network cannot be opened, and only machines would play."""
    run, golden = place / "logs" / "borrowed", Path(__file__).parent / "golden" / "run"
    shutil.copytree(golden, run)
    (place / "trap.py").write_text("from pathlib import Path\nPath('EXECUTED').touch()\nfrom mine import Loud\n")
    config = json.loads((run / "config.json").read_text())
    config["config"]["rules"]["channel"] = "trap:Loud"
    (run / "config.json").write_text(json.dumps(config))
    done = python("emcomm.analyze", run, "--quick")
    assert not (place / "EXECUTED").exists()
    assert "--code trap:Loud" in done.stdout
    assert "The protocol as a machine" in done.stdout  # among what is not shown
    page = (place / "logs" / "borrowed-report" / "report.html").read_text()
    assert "Whether EOT is heard over trap:Loud is not known here." in page


def test_a_measure_is_in_terminal_report_csv_and_json(run: Path, python: Run, here: Call, place: Path) -> None:
    measures = ("--measure", "mine:ROUNDS", "mine:BROKEN")
    done = python("emcomm.analyze", run, "--quick", *NAMED, *measures, "--csv", "--tables", "all_rounds", "controls")
    assert "all rounds" in done.stdout
    assert "table all_rounds" in done.stdout
    assert "the measure broken failed: ZeroDivisionError: division by zero" in done.stdout
    assert "mine:Loud" in done.stdout  # among the controls
    page = (place / "logs" / "own-report" / "report.html").read_text()
    assert "Rounds of all dialogues" in page
    assert "How much the ships talk." in page
    assert "The ships meet when they take the same colour." in page
    for word in ("train A", "trains", "crash", "detour", "main line"):
        assert word not in re.sub(r"<[^>]+>", " ", page.partition("<main>")[2].partition("<script")[0]), word
    assert (place / "logs" / "own-report" / "tables" / "own" / "all_rounds.csv").exists()
    found = json.loads(here("analyze", run, "--quick", *NAMED, *measures, "--json").out)["runs"][0]
    assert found["all_rounds"][0]["dialogues"] == found["tables"]["all_rounds"][0]["dialogues"] == 400
    assert "with messages of other games" in found["sentence"]
    assert found["absent"]["explanation"].startswith("the game declares no decision")
    assert found["success"]["overall"]["trials"] == 400


def test_an_experiment_is_a_module(python: Run, place: Path) -> None:
    done = python("experiments", "counted", "--quick")
    assert "It was counted." in done.stdout
    assert (place / "logs" / "experiments" / "quick" / "counted" / "README.md").exists()


def test_help_lists_what_is_registered(python: Run) -> None:
    text = " ".join(python("emcomm.train", "--help").stdout.split())
    for registry in (CHANNELS, TORSOS, ALGORITHMS):
        for name in registry:
            assert name in text, name
    assert "module:Name" in text


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("train", *SMALL, "--torso", "gruu"), "unknown torso 'gruu'"),
        (("train", *SMALL, "--torso", "mine:nothing"), "has no attribute 'nothing'"),
        (("train", *SMALL, "--torso", "mine:Loud"), "unknown torso 'mine:Loud' (it must subclass"),
        (("train", *SMALL, "--channel", "tin"), "channel must be one of open, off"),
        (("train", *SMALL, "--channel", "half:Channel"), "unknown channel 'half:Channel' (SyntaxError"),
        (("train", *SMALL, "--env", "nowhere:Game"), "No module named 'nowhere'"),
        (("train", *SMALL, "--algorithm", "ppoo"), "unknown algorithm 'ppoo'"),
        (("train", *SMALL, "--policies", "separate", "--population", "2"), "goes with policies shared"),
        (("analyze", "logs", "--measure", "mine:Sum"), "unknown measure 'mine:Sum' (it must be"),
    ],
)
def test_what_is_not_there_is_one_line(here: Call, args: tuple, says: str, run: Path) -> None:
    done = here(*args)
    assert done.code == 2
    assert says in done.err
    assert done.err.count("\n") == 1


def test_an_experiment_that_is_not_there_is_named() -> None:
    with pytest.raises(BadInput, match="there is no experiment 'nothing_like_it'"):
        load("nothing_like_it")


def test_an_entry_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="the env 'x' is registered twice"):
        Registry("env", [("x", 1), ("x", 2)])
    with pytest.raises(Unknown, match="unknown env 'y'"):
        GAMES.find("y")
