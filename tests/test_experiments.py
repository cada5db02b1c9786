"""The experiments: each in its quick version, what happens after an interruption, and what is committed."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy.stats import ttest_rel

import analysis
from emcomm.cluster import start_ray
from emcomm.dialogues import concatenate
from emcomm.errors import BadInput, Fault
from emcomm.runs import Run
from experiments import READING_ORDER
from experiments.__main__ import main, result_of, section
from experiments.experiment import SHORT, Results, with_rules
from experiments.measures import course
from experiments.running import RESULTS, RunOptions, jobs, load, module_of, names, run
from experiments.writing import above_the_bound, by_condition, compared, mean_of, mean_of_pairs


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    with start_ray() as cluster:
        yield cluster.ray


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("experiments")


def quick(name: str, logs: Path) -> str:
    with Path(os.devnull).open("w") as nowhere:
        console = Console(file=nowhere, record=True, width=200)
        assert run(name, RunOptions(quick=True, log_dir=logs), console) == 0
    return console.export_text()


def test_all_are_found() -> None:
    assert names()[: len(READING_ORDER)] == list(READING_ORDER)


def test_the_experiment_of_the_readme_runs(
    ray: None, logs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [name] = re.findall(r"`python -m experiments (\w+)`", (Path(__file__).parent.parent / "README.md").read_text())
    monkeypatch.setattr(sys, "argv", ["experiments", name, "--quick", "--log-dir", str(logs)])
    assert main() == 0
    assert (logs / "quick" / name / "figure.png").exists()
    assert "a quick version: no evidence" in capsys.readouterr().out


@pytest.mark.slow  # in the gate, the README's one runs
@pytest.mark.parametrize("name", names())
def test_the_quick_version_makes_everything_but_evidence(name: str, ray: None, logs: Path) -> None:
    before = {path: path.stat().st_mtime for path in RESULTS.rglob("*")}
    told = quick(name, logs)
    folder = logs / "quick" / name
    page = (folder / "README.md").read_text()
    assert "A quick version" in page
    assert load(name).question in page
    assert json.loads((folder / "result.json").read_text())["quick"] is True
    assert (folder / "figure.png").stat().st_size > 10_000
    assert len(pd.read_csv(folder / "runs.csv")) == len(jobs(name, logs, quick=True))
    assert "no evidence" in told
    assert before == {path: path.stat().st_mtime for path in RESULTS.rglob("*")}


def test_what_is_done_is_not_done_again_and_what_is_missing_goes_on(ray: None, logs: Path) -> None:
    quick("communication_gain", logs)
    todo = jobs("communication_gain", logs, quick=True)
    kept = {job.folder: (job.folder / "summary.json").stat().st_mtime_ns for job in todo[1:]}
    checkpoints = sorted((todo[0].folder / "checkpoints").iterdir())
    before = json.loads((todo[0].folder / "summary.json").read_text())
    (todo[0].folder / "summary.json").unlink()
    todo[0].measured.unlink()
    told = quick("communication_gain", logs)
    assert told.count("min left") == 1
    after = json.loads((todo[0].folder / "summary.json").read_text())
    assert after["resumes"] == 1
    assert after["evaluation"] == before["evaluation"]
    assert set(checkpoints) <= set((todo[0].folder / "checkpoints").iterdir())
    assert kept == {job.folder: (job.folder / "summary.json").stat().st_mtime_ns for job in todo[1:]}


def test_a_training_joins_a_cluster_and_leaves_it_running(ray: Any, emcomm: Any, tmp_path: Path) -> None:
    """With one gradient under way at a time none is stale."""
    done = emcomm(
        "train", "--ray-address", ray.get_runtime_context().gcs_address, "--workers", 2, "--in-flight", 1,
        "--episodes", 2000, "--games", 16, "--max-rounds", 4, "--evaluation-games", 50,
        "--log-dir", tmp_path, "--run-name", "run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["episodes"] == 2000
    assert summary["staleness_max"] == 0
    assert ray.get(ray.remote(lambda: 7).remote()) == 7


def test_a_run_that_fails_leaves_the_others_alone(ray: None, tmp_path: Path) -> None:
    todo = jobs("communication_gain", tmp_path, quick=True)
    todo[0].folder.parent.mkdir(exist_ok=True)
    todo[0].folder.write_text("in the way")
    with pytest.raises(Fault, match="1 of 4 runs of communication_gain failed"):
        run("communication_gain", RunOptions(quick=True, log_dir=tmp_path), Console(quiet=True))
    assert [job.measured.exists() for job in todo] == [False, True, True, True]
    todo[0].folder.unlink()
    told = quick("communication_gain", tmp_path)
    assert told.count("min left") == 1


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "experiments.talk_length", "--quick", "--log-dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("*/measured/*.json")) and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert re.search(r"interrupted with \d+ of 56 runs done; the same command goes on", out)
    assert "Traceback" not in err


def test_bad_flags_are_named() -> None:
    command = [sys.executable, "-m", "experiments.memory", "--quik"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "--quik" in done.stderr
    assert "Traceback" not in done.stderr


def test_experiments_share_the_runs_that_they_have_in_common(tmp_path: Path) -> None:
    gain = {job.folder for job in jobs("communication_gain", tmp_path) if job.condition == "open"}
    assert gain == {job.folder for job in jobs("cross_play", tmp_path) if job.condition == "one network"}
    assert gain == {job.folder for job in jobs("what_happens", tmp_path) if job.condition == "no price"}
    assert len({job.folder for name in READING_ORDER for job in jobs(name, tmp_path)}) > 250


def test_a_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    """As after a change of defaults, which do not show in the name of the folder."""
    [first, *_] = jobs("memory", tmp_path, quick=True)
    Run.create(tmp_path, first.folder.name, dataclasses.replace(first.config, learning_rate=0.5))
    with pytest.raises(BadInput, match="trained with other settings"):
        run("memory", RunOptions(quick=True, log_dir=tmp_path), Console(quiet=True))


def test_seeds_are_enough_for_a_claim() -> None:
    for name in READING_ORDER:
        assert load(name).seeds >= (10 if name in ("communication_gain", "cross_play", "what_happens") else 5)


def test_the_course_adds_up_to_the_log(small_run: Path) -> None:
    opened = analysis.load(small_run)
    found = course(opened, points=7)
    table = concatenate(list(opened.training()))
    edges = found["course_episodes"]
    assert edges[0] == 0
    assert edges[-1] == opened.config.episodes
    for a, b, success, rounds in zip(
        edges[:-1], edges[1:], found["course_success"], found["course_rounds"], strict=True
    ):
        own = table[(table.episode >= a) & (table.episode < b)]
        assert success == pytest.approx(own.success.mean(), abs=1e-5)
        assert rounds == pytest.approx(own.n_rounds.mean(), abs=1e-4)


def test_success_above_the_optimum_is_reported_as_a_bug() -> None:
    rows = pd.DataFrame({
        "condition": ["fair", "fair", "impossible", "impossible"], "games": [10_000] * 4,
        "success": [0.5005, 0.4990, 0.53, 0.53], "rounds": [1.0] * 4, "round_cost": [0.0] * 4, "best_reward": [0.0] * 4,
    })  # fmt: skip
    assert "impossible" in above_the_bound(Results(rows, {}, False))
    assert "fair" not in above_the_bound(Results(rows, {}, False))
    assert "No condition" in above_the_bound(Results(rows[:2], {}, False))
    dear = rows.assign(round_cost=0.1)
    assert "No condition" in above_the_bound(Results(dear, {}, False))


def test_the_mean_of_seeds_leaves_out_what_is_missing() -> None:
    found = mean_of([1.0, None, 3.0, float("nan")])  # type: ignore[list-item]
    assert found.value == 2
    assert found.low == pytest.approx(2 - 12.706, abs=1e-3)  # Student's t, one degree of freedom
    assert found.high == pytest.approx(2 + 12.706, abs=1e-3)


def test_pairs_that_share_a_seed_are_drawn_together() -> None:
    """One odd seed among five moves eight of twenty cells: the interval must be as wide as that of the seeds."""
    matrix = np.full((5, 5), 0.5)
    matrix[0], matrix[:, 0] = 1.0, 1.0
    found = mean_of_pairs(matrix)
    assert found.value == pytest.approx(0.7)
    assert found.low == pytest.approx(0.5)
    assert found.high > 0.9
    assert np.isnan(mean_of_pairs(np.ones((1, 1))).value)


def test_a_setting_that_changes_the_result_changes_the_folder(tmp_path: Path) -> None:
    from experiments.running import _folder

    assert _folder(SHORT) == _folder(dataclasses.replace(SHORT, checkpoint_every=1.0))
    others = (
        with_rules(SHORT, n_tokens=3),
        dataclasses.replace(SHORT, population=2),
        dataclasses.replace(SHORT, seed=1),
    )
    assert len({_folder(config) for config in (SHORT, *others)}) == 4


OWN = """
import pandas as pd
from matplotlib.figure import Figure
from beside import QUESTION
from experiments.experiment import SHORT, Conclusion, Experiment

def conclude(results):
    table = pd.DataFrame({"runs": [len(results.rows)]})
    return Conclusion("Two.", "2 runs", f"{len(results.rows)} runs.", "Nothing else.", table, Figure())

def measure(run, quick):
    return {"asked": len(QUESTION)}

EXPERIMENT = Experiment(
    question=QUESTION, expected="Two.", conditions={"one": SHORT}, conclude=conclude, measure=measure
)
"""


def test_an_experiment_may_be_a_file_anywhere(
    ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my studies"
    folder.mkdir()
    (folder / "how_many.py").write_text(OWN)
    (folder / "beside.py").write_text('QUESTION = "How many?"\n')
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["experiments", "my studies/how_many.py", "--quick"])
    assert main() == 0
    assert "2 runs." in capsys.readouterr().out
    rows = pd.read_csv(tmp_path / "logs" / "experiments" / "quick" / "how_many" / "runs.csv")
    assert list(rows.asked) == [9, 9]


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("json.py", "Python knows another module json: rename"),
        ("memory.py", "memory is the name of an experiment of emcomm: rename"),
        ("two words.py", "two words is no name for a module: rename"),
        ("missing.py", "there is no file"),
    ],
)
def test_a_file_that_is_no_experiment_is_refused(file: str, says: str, tmp_path: Path) -> None:
    if file != "missing.py":
        (tmp_path / file).write_text(OWN)
    before = [*sys.path]
    with pytest.raises(BadInput, match=says):
        module_of(str(tmp_path / file))
    assert sys.path == before


# -- what is committed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", READING_ORDER)
def test_committed_results_are_the_full_version(name: str) -> None:
    found, runs = result_of(name), pd.read_csv(RESULTS / name / "runs.csv")
    assert found is not None
    assert found["quick"] is False
    assert not any(revision.endswith("-dirty") for revision in (found["git"], *found["trained_at"]))
    assert set(runs.git) == set(found["trained_at"])
    assert len(runs) == found["runs"] == len(jobs(name, Path("logs")))
    assert above_the_bound(Results(runs, {}, False)).startswith("No condition")
    page = (RESULTS / name / "README.md").read_text()
    assert found["headline"] in page
    assert found["command"] in page


def test_every_figure_of_a_network_is_of_that_network() -> None:
    """Rows of runs that were trained again once held the old success beside the new rule."""
    rows = pd.read_csv(RESULTS / "what_happens" / "runs.csv")
    chance = 5 * np.sqrt(rows.success * (1 - rows.success) / rows.games)
    assert (rows.success > rows.proof_low - chance).all()
    assert (rows.success < rows.proof_high + chance).all()
    assert (abs(rows.rounds - rows.network_rounds) < 0.1).all()  # 5 000 games more


def test_the_readme_says_what_was_found() -> None:
    readme = (RESULTS.parent.parent / "README.md").read_text()
    assert section().strip() in readme


# -- concluding anew ---------------------------------------------------------------------------------------------------


def test_an_experiment_is_concluded_anew_from_its_figures(tmp_path: Path) -> None:
    """From the committed runs.csv, without a run; the figures are those of the committed page."""
    shutil.copytree(RESULTS / "vocabulary_size", tmp_path / "vocabulary_size")
    console = Console(quiet=True)
    assert run("vocabulary_size", RunOptions(reconclude=True, out=tmp_path), console) == 0
    then, now = (json.loads((at / "vocabulary_size" / "result.json").read_text()) for at in (RESULTS, tmp_path))
    assert now["headline"] == then["headline"]
    assert now["trained_at"] == then["trained_at"]
    with pytest.raises(BadInput, match="there are no figures to conclude from"):
        run("memory", RunOptions(reconclude=True, out=tmp_path), console)
    shutil.copytree(RESULTS / "vocabulary_size", tmp_path / "talk_length")
    with pytest.raises(BadInput, match="of other conditions than talk_length has now"):
        run("talk_length", RunOptions(reconclude=True, out=tmp_path), console)


def test_conditions_are_compared_seed_by_seed_and_corrected_for_their_number() -> None:
    """The base has one seed that is worse for all: pairs see that the others are better by 1 point."""
    base = np.array([0.5, 0.9, 0.9, 0.91, 0.92])
    rng = np.random.default_rng(0)
    conditions = {"base": base, "better": base + 0.01 + rng.normal(size=5) * 1e-4, "same": base}
    conditions |= {f"noise {i}": base + rng.normal(size=5) * 1e-3 for i in range(4)}
    rows = pd.DataFrame(
        [{"condition": name, "seed": s, "success": x} for name, xs in conditions.items() for s, x in enumerate(xs)]
    )
    found = compared(rows, "base").set_index("condition")
    assert found.difference["better"].startswith("1.0")
    assert found.p["better"] < 1e-4
    assert found.p["same"] == 1
    plain = ttest_rel(conditions["noise 0"], base).pvalue
    assert found.p["noise 0"] >= plain
    assert (found.p.drop("better") > 0.05).all()


def test_a_game_without_a_success_is_compared_by_its_return() -> None:
    rows = pd.DataFrame({
        "condition": ["a", "a"], "seed": [0, 1], "success": [np.nan] * 2, "return": [1.0, 2.0], "rounds": [3.0, 3.0],
        "games": [10, 10], "best_success": [np.nan] * 2, "best_rounds": [np.nan] * 2,
    })  # fmt: skip
    table = by_condition(Results(rows, {}, False))
    assert table["return, mean [95 %]"].iloc[0].startswith("1.500 [")
    assert not any("success" in column for column in table.columns)
