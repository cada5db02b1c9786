"""Sweeps: what the flags mean, one command from plan to report, and what is left after an interruption."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from emcomm import batch, mirror
from emcomm.batch import Mark, Wanted, state_of
from emcomm.cluster import start_ray
from emcomm.config import Config
from emcomm.dialogues import concatenate, read_part
from emcomm.errors import BadInput, Fault
from emcomm.runs import Run
from emcomm.signals import STOPPING, Stopped, raise_stopped
from emcomm.sweep import Plan, plan_of, seeds_of
from emcomm.sweeping import Planned, _shown
from emcomm.verification import check_run
from envs.negotiation import TalkRules

SMALL = (
    "--episodes", "300", "--games", "16", "--evaluation-games", "200", "--hidden-size", "16", "--max-rounds", "4",
)  # fmt: skip

# -- flags -------------------------------------------------------------------------------------------------------------


def test_conditions_are_all_combinations() -> None:
    plan = plan_of(["--seeds", "0-2", "--set", "channel=open,off", "--set", "n_tokens=1,3", "--episodes", "1e3"])
    assert list(plan.conditions) == [
        "channel=open, n-tokens=1", "channel=open, n-tokens=3", "channel=off, n-tokens=1", "channel=off, n-tokens=3",
    ]  # fmt: skip
    config = plan.config("channel=off, n-tokens=3", 2)
    assert config == Config(episodes=1000, workers=0, device="cpu", seed=2, rules=TalkRules(channel="off", n_tokens=3))
    assert plan.slugs["channel=off, n-tokens=3"] == "channel=off,n-tokens=3"


def test_without_a_setting_there_is_one_condition() -> None:
    plan = plan_of(["--seeds", "7"])
    assert list(plan.conditions) == [""]
    assert plan.folder_name(plan.slugs[""], 7) == "seed7"


@pytest.mark.parametrize(
    ("args", "differ"),
    [
        ("--set preset=talk,terse", {"entropy_bonus": [0.01, 0.02], "cost_until": [0.0, 0.1]}),
        ('--policies separate --set torso="gru,window",lstm', {"torso": ["gru,window", "lstm"]}),
        (
            "--env emcomm/signalling-v1 --game-options n_values=4 --set game-options.n_attributes=1,2",
            {"game_options": [{"n_values": 4, "n_attributes": 1}, {"n_values": 4, "n_attributes": 2}]},
        ),
        ("--set max-rounds=4,None --set workers=0", {}),
        ("--workers 2 --set learning-rate=1e-3,3e-3", {"workers": [2, 2], "learning_rate": [1e-3, 3e-3]}),
        ("--set token-gradient=true,off", {"token_gradient": [True, False]}),
        ("--preset terse --set entropy-bonus=0,0.1", {"entropy_bonus": [0.0, 0.1], "cost_until": [0.1, 0.1]}),
    ],
)
def test_any_flag_of_the_training_can_vary(args: str, differ: dict[str, list]) -> None:
    configs = list(plan_of(args.replace('"', '"').split()).conditions.values())
    assert len(configs) == 2
    for name, values in differ.items():
        assert [getattr(config, name) for config in configs] == values


def test_a_game_brings_its_own_talk() -> None:
    """As with --env of emcomm.train."""
    first, second = plan_of(["--set", "env=emcomm/crossing-v1,emcomm/signalling-v1"]).conditions.values()
    assert first.rules != second.rules


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ("--set chanel=open,off", "--set chanel: there is no such setting; did you mean channel?"),
        ("--set channel=open,of", "not 'of'; did you mean off?"),
        ("--set noise=0.1,2", "--noise is a probability from 0 to 1, not 2"),
        ("--set noise=-1", "--noise is a probability from 0 to 1, not -1"),
        ("--set n-tokens=1,", "one of the values is empty"),
        ("--set n-tokens=", "there is no value"),
        ("--set n-tokens", "write NAME=V1,V2"),
        ("--set n-tokens=1,two", "--n-tokens"),
        ("--set n-tokens=5,5e0", "n-tokens=5 and n-tokens=5e0 are the same condition: leave one of them out"),
        ("--set n-tokens=1 --set n_tokens=2", "n-tokens is set twice: give all its values in one --set"),
        ("--n-tokens 3 --set n-tokens=1,2", "n-tokens is set twice: for all conditions, and by"),
        ("--set token-gradient=true,maybe", "token-gradient is true or false, not maybe"),
        ("--set token-gradient=true,yes", "are the same condition"),
        ("--set seed=1,2", "seeds are no condition: give --seeds"),
        ("--seed 3", "a sweep has --seeds"),
        ("--set game-options=1", "--set game-options.NAME=V1,V2"),
        ("--set log-dir=a,b", "there is no such setting"),
        ("--set rules.channel=open", "there is no such setting"),
        ("--seeds 3-1", "--seeds 3-1 ends before it begins: write 1-3"),
        ("--seeds 0,1,0-2", "names the seed 0 twice"),
        ("--seeds a-b", "--seeds must be like 0-9, or 0,3,5, or 7"),
        ("--seeds=", "--seeds must be like"),
        ("--seeds 0-99999999", "a sweep has at most 100,000 runs"),
        ("--seeds 0-9999 --set n-tokens=1,2,3,4,5,6,7,8,9,10,11", "these are 110,000 runs"),
        ("--seeds 9999999999999999999", "seed must be below"),
        ("--report-runs -1", "--report-runs must not be negative"),
        ("--sed 3", "did you mean --seed"),
    ],
)
def test_what_is_wrong_is_one_line(args: str, says: str, call: Callable, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("sweep", *args.split())
    assert done.code == 2
    assert says in done.err
    assert done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ("--set torso=gru,gruu", "torso=gruu: unknown torso 'gruu'"),
        ("--env nowhere:Game", "No module named 'nowhere'"),
        ("--token-gradient --set channel=open,shuffled", "channel=shuffled: --token-gradient trains on a channel that"),
        ("--set game-options.colour=1,2", "game-options.colour=1: emcomm/crossing-v1 has no option 'colour'"),
    ],
)
def test_a_condition_that_cannot_be_trained_is_refused_before_anything_starts(
    args: str, says: str, call: Callable, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("sweep", *args.split())
    assert (done.code, done.out) == (2, "")
    assert says in done.err
    assert not list(tmp_path.iterdir())


def test_flags_are_read_without_torch_and_ray() -> None:
    """Which take seconds to import."""
    code = "import sys; import emcomm.sweep; print({'torch', 'ray', 'pandas', 'analysis'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def test_seeds() -> None:
    assert seeds_of("0-3,7, 9-10") == (0, 1, 2, 3, 7, 9, 10)
    for text in ("", ",", "1,,2", "-1", "1-", "²", "0x3"):
        with pytest.raises(BadInput, match="--seeds must be like"):
            seeds_of(text)


def test_names_of_folders_are_safe_and_differ() -> None:
    plan = Plan(
        {"env=a/b": Config(), "env=a:b": Config(), "channel=open": Config(), f"torso={'x' * 200}": Config()},
        (0,), {}, None,  # type: ignore[arg-type]
    )  # fmt: skip
    slugs = list(plan.slugs.values())
    assert len({*slugs}) == 4
    assert slugs[2] == "channel=open"
    assert all("/" not in slug and len(slug) < 100 for slug in slugs)


def test_the_report_shows_as_many_seeds_of_each_condition_as_fit() -> None:
    done = [
        Planned(name, Wanted(Path(f"{name}{seed}"), Config(seed=seed))) for seed in range(5) for name in ("a", "b", "c")
    ]
    shown = [(run.condition, run.wanted.config.seed) for run in _shown(done, 8)]
    assert shown == [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("c", 0), ("c", 1)]
    assert len(_shown(done, 1)) == 3


# -- from the plan to the report ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    with start_ray():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweep")


SWEEP = ("--seeds", "0-1", "--set", "channel=open,off", *SMALL)


@pytest.fixture
def swept(ray: None, folder: Path, call: Callable, monkeypatch: pytest.MonkeyPatch) -> Callable:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return lambda *args: call("sweep", *SWEEP, *args)


def test_a_plan_starts_nothing(swept: Callable, folder: Path) -> None:
    done = swept("--plan", "--log-dir", "elsewhere")
    assert done.code == 0
    assert "2 conditions × 2 seeds = 4 runs in elsewhere" in done.out
    assert "nothing was started" in done.out
    assert not (folder / "elsewhere").exists()


def test_one_command_trains_compares_and_says_where_everything_lies(swept: Callable, folder: Path) -> None:
    done = swept("--report-runs", "2")
    assert done.code == 0, done.err
    for line in ("   4/4  ", "channel=off   2     ", "runs: 4 folders in logs/sweep", "next: open the report"):
        assert line in done.out
    rows = pd.read_csv(folder / "logs" / "sweep" / "sweep.csv")
    assert list(zip(rows.condition, rows.seed, strict=True)) == [
        ("channel=open", 0), ("channel=off", 0), ("channel=open", 1), ("channel=off", 1),
    ]  # fmt: skip
    for row in rows.itertuples():
        run = folder / "logs" / "sweep" / row.run
        assert check_run(run).problems == []
        assert json.loads((run / "summary.json").read_text())["evaluation"]["sampled"]["success"] == row.success
        assert row.rounds == 0 if row.condition == "channel=off" else row.rounds > 0
    page = (folder / "logs" / "sweep-report" / "report.html").read_text()
    assert "The conditions, with 95 % intervals over their seeds" in page
    assert "<td>channel=off</td><td class=n>2</td>" in page
    assert "2 of 4 runs are studied here (--report-runs)" in page
    asked = json.loads((folder / "logs" / "sweep" / "sweep.json").read_text())
    assert asked["seeds"] == [0, 1]
    assert asked["varied"] == {"channel": ["open", "off"]}


def test_a_run_is_that_of_the_trainer(swept: Callable, folder: Path, call: Callable) -> None:
    assert swept("--report-runs", "0").code == 0
    trained = call(
        "train", *SMALL, "--workers", 0, "--device", "cpu", "--seed", 1, "--log-dir", "alone", "--run-name", 1
    )
    assert trained.code == 0
    there, alone = (folder / "logs/sweep/channel=open-seed1", folder / "alone" / "1")
    assert Run.open(there).config == Run.open(alone).config
    for log in ("dialogues", "evaluation"):
        assert talks(there / log) == talks(alone / log)


def talks(log: Path) -> list[tuple]:
    table = concatenate(read_part(part) for part in sorted(log.glob("part-*.parquet")))
    return [(*table.symbols.ravel().tolist(), *table.moves.ravel().tolist(), *table.episode.tolist())]


def test_what_is_there_is_not_trained_again(swept: Callable, folder: Path) -> None:
    assert swept("--report-runs", "0").code == 0
    before = {path: path.stat().st_mtime_ns for path in folder.glob("logs/sweep/*/*.json")}
    again = swept("--report-runs", "0", "--seeds", "0-2")
    assert again.code == 0
    assert next(line for line in again.out.splitlines() if "/6  " in line).startswith("   5/6  ")
    assert before == {path: path.stat().st_mtime_ns for path in before}
    other = swept("--report-runs", "0", "--learning-rate", "0.1")
    assert other.code == 2
    assert "was trained with other settings (learning_rate is 0.003 there, not 0.1)" in other.err


def test_a_cluster_that_cannot_be_reached_leaves_nothing(
    call: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for how in ("flag", "variable"):
        monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1" if how == "variable" else "")
        done = call("sweep", *SMALL, *(("--address", "127.0.0.1:1") if how == "flag" else ()))
        assert done.code == 2
        assert done.err.startswith("emcomm: Ray cannot be reached at 127.0.0.1:1: ")
        assert done.err.count("\n") == 1
        assert not list(tmp_path.iterdir())


BROKEN = """
import os
from envs.crossing import CrossingGame

class Broken(CrossingGame):
    def __init__(self, n_games, rng, fails: bool | str = False):
        super().__init__(n_games, rng)
        self.fails = fails

    def play(self, moves, which):
        if self.fails == "dies":
            os._exit(1)
        if self.fails:
            raise RuntimeError("the points are frozen")
        return super().play(moves, which)
"""


def test_a_run_that_fails_is_named_and_the_others_go_on(
    ray: None, call: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    args = (*SMALL, "--env", "broken:Broken", "--seeds", "0", "--report-runs", "0")
    done = call("sweep", *args, "--set", "game-options.fails=true,false")
    assert done.code == 1
    assert done.err == "emcomm: 1 of 2 runs failed; the same command tries them again\n"
    assert "failed: game-options.fails=true, seed 0: RuntimeError: the points are frozen" in done.out
    trace = (tmp_path / "logs/sweep/game-options.fails=true-seed0.failed.txt").read_text()
    assert "in play" in trace
    assert len(pd.read_csv(tmp_path / "logs" / "sweep" / "sweep.csv")) == 1
    (tmp_path / "logs/sweep/game-options.fails=true-seed0.failed.txt").unlink()
    died = call("sweep", *args, "--set", "game-options.fails=dies,false")
    assert died.out.count("its process or node has died; it goes on from its last checkpoint") == batch.TRIES - 1
    assert f"failed: game-options.fails=dies, seed 0: {batch.TRIES} processes died under it" in died.out
    again = call("sweep", *args, "--set", "game-options.fails=true,false")
    assert (again.code, again.out.count("/2  ")) == (1, 1)


def test_two_sweeps_do_not_write_into_one_folder(swept: Callable, folder: Path) -> None:
    from emcomm.runs import locked

    (folder / "logs" / "sweep").mkdir(parents=True, exist_ok=True)
    with locked(folder / "logs" / "sweep" / ".lock", "somebody"):
        done = swept("--seeds", "0-3")
    assert (done.code, done.err) == (2, "emcomm: another sweep is writing into logs/sweep\n")


# -- interruptions -----------------------------------------------------------------------------------------------------


@contextmanager
def under_way(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A sweep of two runs that would take long, of which both have begun."""
    command = [
        sys.executable, "-m", "emcomm.sweep", "--seeds", "0-1", "--episodes", "3e4", "--games", "64", "--max-rounds",
        "4", "--evaluation-games", "100", "--hidden-size", "16", "--checkpoint-every", "0.2", "--report-runs", "0",
        "--log-dir", str(folder),
    ]  # fmt: skip
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    end = time.monotonic() + 120
    while not all(len(list((folder / f"seed{seed}" / "checkpoints").glob("*"))) > 2 for seed in (0, 1)):
        assert started.poll() is None, started.communicate()
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    try:
        yield started
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
            started.communicate()


@pytest.mark.parametrize("how", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGKILL])
def test_an_interrupted_sweep_goes_on(how: signal.Signals, tmp_path: Path) -> None:
    """After a signal from the terminal nothing is lost; a killed one goes on from the last checkpoints."""
    logs = tmp_path / "logs"
    with under_way(logs) as sweep:
        if how == signal.SIGINT:
            os.kill(sweep.pid, how)
        else:
            sweep.kill()
        out, err = sweep.communicate(timeout=60)
        assert sweep.returncode == (130 if how == signal.SIGINT else -9), err
    if how == signal.SIGINT:
        assert re.search(r"interrupted with [01] of 2 runs done; the same command goes on", out)
        assert "Traceback" not in err
    reached = {}
    for seed in (0, 1):
        run = Run.open(logs / f"seed{seed}")
        if run.summary() is not None and not run.summary().interrupted:  # it was at its end
            continue
        here = run.continuation()
        assert here.checkpoint is not None
        if how == signal.SIGINT:
            assert here.beyond == ()
            assert set(here.checkpoint.state["workers"]) == {"0"}  # its games go on where they were
        reached[seed] = here.position
    command = "--seeds 0-1 --episodes 3e4 --games 64 --max-rounds 4 --evaluation-games 100 --hidden-size 16"
    done = subprocess.run(
        [sys.executable, "-m", "emcomm.sweep", *command.split(), "--checkpoint-every", "0.2", "--report-runs", "0",
         "--log-dir", logs],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert reached
    assert re.search(rf"all +{2 - len(reached)} +{len(reached)} +0", done.stdout)
    for seed, position in reached.items():
        summary = json.loads((logs / f"seed{seed}" / "summary.json").read_text())
        assert (summary["episodes"], summary["resumes"]) == (30_000, 1)
        [resume] = json.loads((logs / f"seed{seed}" / "config.json").read_text())["resumes"]
        if how == signal.SIGINT:
            assert resume["episode"] == position.episodes > 0
        else:  # the processes of a killed driver may write for a moment longer
            assert resume["episode"] >= position.episodes > 0
        assert check_run(logs / f"seed{seed}").problems == []


# -- a node that does not see the driver's disk ------------------------------------------------------------------------

CONFIG = Config(
    workers=0, device="cpu", episodes=4_000, games=16, evaluation_games=100, hidden_size=16, checkpoint_every=0.05,
    rules=TalkRules(window=1, max_rounds=4),
)  # fmt: skip


def test_a_run_made_elsewhere_comes_back_and_can_be_resumed_at_any_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task is called as a plain generator; it believes that its node has a disk of its own."""
    import ray

    monkeypatch.setattr(ray, "get", lambda reference: reference)
    monkeypatch.setattr(batch, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(sys, "argv", ["python", "-m", "emcomm.sweep"])
    wanted = Wanted(tmp_path / "here" / "run", CONFIG)
    nowhere = Mark(tmp_path / "not there", "secret")

    def made() -> Iterator[batch._News]:
        sent = [mirror.content_of(wanted.folder)] if wanted.folder.exists() else []
        return batch._made(wanted, nowhere, sent, "python -m emcomm.sweep", [])

    states = set()
    for count, news in enumerate(made()):
        for piece in news.pieces:
            mirror.receive(wanted.folder, piece)
            if "begun" in states or state_of(wanted) != "absent":  # until a checkpoint is there, it is made anew
                Run.open(wanted.folder).continuation()  # raises where no checkpoint fits the log
        states.add(state_of(wanted))
        if count > 3 and state_of(wanted) == "begun":
            break  # its node is lost
    position = Run.open(wanted.folder).continuation().position
    [asks] = batch._made(wanted, nowhere, None, "python -m emcomm.sweep", [])
    assert asks.lacks_the_run
    for news in made():
        for piece in news.pieces:
            mirror.receive(wanted.folder, piece)
    assert state_of(wanted) == "done"
    assert check_run(wanted.folder).problems == []
    [resume] = json.loads((wanted.folder / "config.json").read_text())["resumes"]
    assert resume["episode"] == position.episodes
    assert not list(Path(wanted.folder).rglob("*.tmp"))
    alone = Wanted(tmp_path / "alone" / "run", CONFIG)
    list(batch._made(alone, None, None, "python -m emcomm.sweep", []))
    for log in ("dialogues", "evaluation"):
        assert talks(wanted.folder / log) == talks(alone.folder / log)


def test_a_task_that_ray_closes_leaves_no_training_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray raises an interrupt in the task's own code, or between two of its reports: there it closes the generator."""
    monkeypatch.setattr(batch, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(sys, "argv", ["python", "-m", "emcomm.sweep"])
    wanted = Wanted(tmp_path / "run", dataclasses.replace(CONFIG, episodes=100_000))
    made = batch._made(wanted, None, None, "python -m emcomm.sweep", [])
    while next(made).episodes == 0:
        pass
    made.close()
    assert state_of(wanted) == "begun"
    summary = json.loads((wanted.folder / "summary.json").read_text())
    assert summary["interrupted"]
    assert 0 < summary["episodes"] < 100_000
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("training")]


def test_after_a_stop_nothing_is_begun(tmp_path: Path) -> None:
    wanted = Wanted(tmp_path / "run", dataclasses.replace(CONFIG, episodes=300), after=pytest.fail)
    watch = batch._Watch()
    batch._train(wanted._replace(after=None), wanted.folder, watch)
    watch.ask_to_stop()
    with pytest.raises(KeyboardInterrupt):
        batch._train(wanted, wanted.folder, watch)


def test_a_mirror_brings_what_is_new_and_takes_away_what_is_gone(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    (there / "tensorboard").mkdir(parents=True)
    (there / "checkpoints").mkdir()
    (there / "old").write_text("old")
    mirrored = mirror.Mirror(there)
    assert mirrored.news() == []
    (there / "checkpoints" / "1").write_bytes(b"one")
    (there / "tensorboard" / "events").write_bytes(b"abc")
    (there / "part.tmp").write_text("unfinished")
    (there / ".lock").touch()
    news = mirrored.news()
    assert [piece.path for piece in news] == ["tensorboard/events", "checkpoints/1"]  # the checkpoint comes last
    for piece in news:
        mirror.receive(here, piece)
    with (there / "tensorboard" / "events").open("ab") as file:
        file.write(b"def")
    (there / "checkpoints" / "1").unlink()
    (there / "old").unlink()
    [more, *gone] = mirrored.news()
    assert more == mirror.Piece("tensorboard/events", b"def", 3)
    assert {piece.path for piece in gone} == {"checkpoints/1", "old"}
    for piece in (more, *gone):
        mirror.receive(here, piece)
    assert (here / "tensorboard" / "events").read_bytes() == b"abcdef"
    assert not (here / "checkpoints" / "1").exists()


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", ""])
def test_nothing_is_written_outside_the_run(path: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="which lies outside"):
        mirror.receive(tmp_path / "run", mirror.Piece(path, b"x"))
    assert not (tmp_path / "x").exists()


def test_other_settings_are_named(tmp_path: Path) -> None:
    Run.create(tmp_path, "run", CONFIG)
    assert state_of(Wanted(tmp_path / "run", dataclasses.replace(CONFIG, checkpoint_every=7.0))) == "absent"
    other = dataclasses.replace(CONFIG, rules=dataclasses.replace(CONFIG.rules, n_tokens=2))
    with pytest.raises(BadInput, match=r"other settings \(n_tokens is 5 there, not 2\)"):
        state_of(Wanted(tmp_path / "run", other))


def test_a_run_whose_settings_changed_on_its_way_is_no_run_of_the_sweep(tmp_path: Path) -> None:
    """`emcomm.train --resume RUN --episodes …` makes it another one than a training from the start would."""
    run, longer = Run.create(tmp_path, "run", CONFIG), dataclasses.replace(CONFIG, episodes=2 * CONFIG.episodes)
    Run(run.path, dataclasses.replace(CONFIG, checkpoint_every=3.0)).note_resume(50)
    assert state_of(Wanted(run.path, CONFIG)) == "absent"  # not even a checkpoint
    Run(run.path, longer).note_resume(100)
    with pytest.raises(BadInput, match=r"other settings up to episode 100 \(episodes was changed by --resume\)"):
        state_of(Wanted(run.path, longer))


def test_a_signal_that_gets_lost_inside_ray_is_obeyed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def ready(self: batch._Batch) -> list[Any]:
        """Python ignores what is raised in a destructor."""
        asked.append(1)
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        self._under_way.clear()
        return []

    monkeypatch.setattr(batch._Batch, "_ready", ready)
    with stopping_signals(), pytest.raises(Stopped, match="SIGTERM"):
        list(made_without_ray(tmp_path, monkeypatch))
    assert asked == [1]


def made_without_ray(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[batch.Progress, None, None]:
    """One run is made by a driver whose tasks are never started."""
    monkeypatch.setattr(batch._Batch, "_start", lambda self, wanted: self._under_way.update({wanted.folder: wanted}))
    cluster: Any = SimpleNamespace(ray=SimpleNamespace(remote=lambda **_: lambda task: task), is_local=True)
    yield from batch._Batch(cluster, print).make([Wanted(folder / "run", CONFIG)])


@contextmanager
def stopping_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in STOPPING}
    raise_stopped()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_who_breaks_off_lets_the_tasks_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = []
    monkeypatch.setattr(batch._Batch, "_ready", lambda self: [*self._under_way])
    monkeypatch.setattr(batch._Batch, "_heard", lambda self, stream: batch.Progress(self._under_way[stream], 1))
    monkeypatch.setattr(batch._Batch, "_let_them_save", lambda self: saved.append(1))
    with stopping_signals():
        made = made_without_ray(tmp_path, monkeypatch)
        next(made)
        with pytest.raises(Stopped):  # between two reports a signal is raised where the caller is
            signal.raise_signal(signal.SIGINT)
        made.close()
    assert saved == [1]


def test_a_task_whose_end_ray_never_tells_does_not_keep_the_others_from_saving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def says(name: str) -> Iterator[batch._News]:
        yield batch._News(1, [mirror.Piece(name, b"saved")])
        if name == "first":
            threading.Event().wait()  # as `next` of a stream of Ray that was cancelled sometimes does

    ray = SimpleNamespace(
        remote=lambda **_: lambda task: task, cancel=lambda stream: None, get=lambda news: news,
        exceptions=SimpleNamespace(RayError=ZeroDivisionError),
    )  # fmt: skip
    monkeypatch.setattr(batch, "SAVING_PATIENCE", 0.5)
    monkeypatch.setattr(batch, "LOOK_EVERY", 0.1)
    cluster: Any = SimpleNamespace(ray=ray, is_local=True, check=lambda: None, calling=contextlib.nullcontext)
    runs = batch._Batch(cluster, print)
    runs._under_way = {says(name): Wanted(tmp_path, CONFIG) for name in ("first", "second")}
    runs._let_them_save()
    assert {path.name for path in tmp_path.iterdir()} == {"first", "second"}

    def full(folder: Path, piece: mirror.Piece) -> None:
        raise OSError(28, "No space left on device")

    def dead() -> None:
        raise Fault("Ray has broken down")

    runs._under_way = {says("first"): Wanted(tmp_path, CONFIG)}
    cluster.check = dead
    with pytest.raises(Fault, match="broken down"):
        runs._let_them_save()
    cluster.check = lambda: None
    monkeypatch.setattr(mirror, "receive", full)
    runs._under_way = {says("third"): Wanted(tmp_path, CONFIG)}
    with pytest.raises(Fault, match="No space left"):
        runs._let_them_save()


# -- runs with workers of their own ------------------------------------------------------------------------------------


class Killed:
    """Ends the process that receives it, as a lack of memory does: nothing more is said."""

    def __reduce__(self) -> tuple[Callable, tuple[int]]:
        return os._exit, (9,)


def test_a_process_that_is_killed_has_failed_and_the_others_go_on(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, workers=1)
    wanted = [Wanted(tmp_path / name, config, Killed()) for name in ("first", "second")]  # type: ignore[arg-type]
    ends = list(batch.make(wanted))
    assert [end.problem for end in ends] == ["it ended with exit code 9"] * 2
    assert all(end.ended and end.episodes == 0 for end in ends)


@pytest.mark.slow
def test_runs_with_workers_are_made_one_by_one(emcomm: Callable, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    args = (*SMALL, "--env", "broken:Broken", "--seeds", 0, "--workers", 2, "--report-runs", 0)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = emcomm("sweep", *args, "--set", "game-options.fails=true,false", cwd=tmp_path, env=environment)
    assert done.returncode == 1
    assert "failed: game-options.fails=true, seed 0: RuntimeError: the points are frozen (more in" in done.stdout
    made = tmp_path / "logs" / "sweep" / "game-options.fails=false-seed0"
    config = json.loads((made / "config.json").read_text())
    assert config["config"]["workers"] == 2
    assert config["command"].startswith("python -m emcomm.sweep --episodes 300")
    assert json.loads((made / "summary.json").read_text())["evaluation"]
