"""What goes wrong while real processes train: they die, are interrupted, run out of disk, compute NaN."""

from __future__ import annotations

import itertools
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import ray
from safetensors.numpy import load_file

from emcomm.a3c import Contribution, Learner, OnRay
from emcomm.checkpoints import read_checkpoint
from emcomm.cluster import Cluster
from emcomm.config import Config
from emcomm.dialogues import DialogueTable, DialogueWriter, read_part
from emcomm.errors import Fault
from emcomm.runs import Run
from tests.processes import Running

ROOT = Path(__file__).resolve().parent.parent


def _title(process: psutil.Process) -> str:
    """What a process calls itself; empty for one that has just ended."""
    try:
        return next(iter(process.cmdline()), "")
    except psutil.NoSuchProcess:
        return ""


class Training(Running):
    """`python -m emcomm.train` under way, in a process group of its own."""

    def __init__(self, folder: Path, *args: object, **options: object) -> None:
        self.run = folder / "run"
        command = [sys.executable, "-m", "emcomm.train", "--log-dir", str(folder), "--run-name", "run", *map(str, args)]
        path = os.pathsep.join([str(folder), str(ROOT)])
        super().__init__(command, folder / "said", env={**os.environ, "PYTHONPATH": path}, **options)

    def wait_for_updates(self) -> None:
        """Until a checkpoint lies there that has seen updates, and dialogues."""
        self.wait_for(lambda: len(self.checkpoints()) > 2 and list(self.run.glob("dialogues/part-*.parquet")))

    def checkpoints(self) -> list[Path]:
        return sorted(self.run.glob("checkpoints/*.safetensors"))

    def code(self, seconds: float = 120) -> int:
        return self.process.wait(seconds)

    def summary(self) -> dict:
        return json.loads((self.run / "summary.json").read_text())

    def tree(self) -> list[psutil.Process]:
        driver = psutil.Process(self.process.pid)
        return [driver, *driver.children(recursive=True)]

    def workers(self) -> list[psutil.Process]:
        return [p for p in self.tree() if _title(p).startswith("ray::_RayProcess")]


@contextmanager
def training(folder: Path, *args: object, **options: object) -> Iterator[Training]:
    started = Training(folder, *args, **options)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            os.killpg(started.process.pid, signal.SIGKILL)
            started.process.wait()


def last_line(text: str) -> str:
    return text.splitlines()[-1]


# -- workers on Ray ----------------------------------------------------------------------------------------------------


def test_a_killed_worker_is_replaced_and_an_interrupted_run_goes_on(whole_log, emcomm, tmp_path) -> None:
    with training(
        tmp_path, "--workers", 4, "--workers-per-process", 2, "--episodes", 10**6, "--games", 64, "--max-rounds", 8,
        "--checkpoint-every", 1, "--evaluation-games", 100,
    ) as run:  # fmt: skip
        run.wait_for_updates()
        run.wait_for(lambda: len(run.workers()) == 2)
        everyone = run.tree()
        ports = {c.laddr.ip for p in everyone for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN}
        run.workers()[0].kill()
        run.wait_for(lambda: "died and is being replaced" in run.said)
        died = int(re.findall(r"being replaced \((\d) workers so far\)", run.said)[-1])
        assert died in (1, 2)  # as many as had joined in that process
        run.wait_for(lambda: len(run.workers()) == 2)
        everyone += [p for p in run.tree() if p not in everyone]
        os.killpg(run.process.pid, signal.SIGINT)
        assert run.code() == 130, run.said
        assert ports
        assert ports <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
        gone, alive = psutil.wait_procs(everyone, timeout=10)
        assert not alive
        assert len(gone) > 6
        assert last_line(run.said).endswith(f"continue with: python -m emcomm.train --resume {run.run}")
        summary = run.summary()
        assert (summary["interrupted"], summary["workers_died"]) == (True, died)
        assert 0 < summary["staleness_mean"] <= summary["staleness_max"]
        log = whole_log(run.run / "dialogues")
        assert len(log) == summary["episodes"] > 0
        assert {0, 1} <= set(log.worker) <= {0, 1, 2, 3}
        assert read_checkpoint(run.checkpoints()[-1]).facts["workers_started"] in range(2 + died, 5 + died)
        more = summary["episodes"] + 5000
        done = emcomm("train", "--resume", run.run, "--workers", 2, "--episodes", more)
        assert done.returncode == 0, done.stderr
        assert f"workers that died and were replaced: {died}; resumes: 1" in done.stdout
        assert len(whole_log(run.run / "dialogues")) == more
        assert (run.summary()["interrupted"], run.summary()["episodes"]) == (False, more)


BROKEN = """
from envs.crossing import CrossingGame

class Broken(CrossingGame):
    def __init__(self, n_games, rng):
        super().__init__(n_games, rng)
        if n_games > 1:
            open("/nowhere/map")
"""


def test_a_worker_that_cannot_start_ends_the_training(tmp_path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    with training(tmp_path, "--workers", 2, "--env", "broken:Broken") as run:
        assert run.code(60) == 1
        assert "No such file or directory: '/nowhere/map'" in last_line(run.said)
        assert "writing to" not in run.said


REFUSING = """
from emcomm.errors import BadInput
from envs.crossing import CrossingGame

class Refusing(CrossingGame):
    def __init__(self, n_games, rng):
        super().__init__(n_games, rng)
        if n_games > 1:
            raise BadInput("this game is played alone")
"""


def test_what_a_worker_refuses_is_one_line(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # nobody listens there, and nobody asked to join
    (tmp_path / "refusing.py").write_text(REFUSING)
    with training(tmp_path, "--workers", 1, "--env", "refusing:Refusing") as run:
        assert run.code(60) == 2, run.said
        assert last_line(run.said).endswith("(this game is played alone)")
        assert "Traceback" not in run.said


def test_a_cluster_that_cannot_be_reached(call, tmp_path) -> None:
    done = call("train", "--workers", 2, "--ray-address", "127.0.0.1:1", "--log-dir", tmp_path / "logs")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("emcomm: Ray cannot be reached at 127.0.0.1:1: ")
    assert not (tmp_path / "logs").exists()


class Deadly:
    """Stands for Ray, on a machine where every worker ends with `error`."""

    exceptions = ray.exceptions
    calling = staticmethod(nullcontext)
    node_for = staticmethod(lambda taken: None)

    def __init__(self, error: Exception) -> None:
        self.error = error

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def remote(self, *_: object, **__: object) -> Deadly:
        return self

    def __call__(self, *_: object) -> Deadly:
        return self

    def __getattr__(self, _: str) -> Deadly:  # actor.build.remote(…)
        return Deadly(self.error)

    def wait(self, under_way: list[Deadly], num_returns: int, timeout: float) -> tuple[list[Deadly], list[Deadly]]:
        return under_way[:num_returns], under_way[num_returns:]

    def get(self, _: Deadly, timeout: float) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        ray.exceptions.OutOfMemoryError("killed by the memory monitor"),
        ray.exceptions.NodeDiedError("the node is gone"),
        ray.exceptions.WorkerCrashedError(),
        ray.exceptions.ActorUnschedulableError("no room"),
        ray.exceptions.RayActorError(),
    ],
)
def test_every_death_counts_whatever_ray_calls_it(error: Exception) -> None:
    died: list[int] = []
    workers = OnRay(Config(workers=2, device="cpu"), 0, Deadly(error), died.extend)
    with pytest.raises(Fault, match="workers die as soon as they start"):
        next(workers.contributions(lambda: None))  # type: ignore[arg-type, return-value]
    assert len(died) == 6
    assert set(died) == {0, 1}


class Stopping:
    """Stands for Ray and its clock, where the n-th worker stops after `after[n]` contributions."""

    exceptions = ray.exceptions

    def __init__(self, after: dict[int, int]) -> None:
        self.after, self.now, self._made = after, 0.0, 0

    def monotonic(self) -> float:
        return self.now

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 4.0}

    def check(self) -> None:
        """It is well."""

    def remote(self, *_: object, **__: object) -> Callable[[type], SimpleNamespace]:
        return lambda _: SimpleNamespace(remote=self._make)

    def _make(self) -> SimpleNamespace:
        number, self._made = self._made, self._made + 1
        done = itertools.count()

        def call(answers: Callable[[], bool]) -> SimpleNamespace:
            return SimpleNamespace(remote=lambda *_: (number, object(), answers()))

        return SimpleNamespace(
            build=call(lambda: True),
            contribute=call(lambda: next(done) < self.after.get(number, 10**9)),
            pulse=SimpleNamespace(options=lambda **_: call(lambda: False)),
        )

    def wait(self, asked: list[tuple], num_returns: int, timeout: float) -> tuple[list[tuple], list[tuple]]:
        answered = [each for each in asked if each[2]][:num_returns]
        self.now += 0.1 if answered else timeout
        return answered, []

    def get(self, reference: tuple, timeout: float) -> Contribution:
        return Contribution(np.ones(1), 0, None, reference[0], 0.0, 0.0)

    def kill(self, actor: object, no_restart: bool) -> None:
        """Nothing is left of it."""


@pytest.mark.parametrize("after", [{0: 3}, {0: 3, 1: 3}])
def test_a_stalled_worker_is_replaced_though_the_others_wait_for_a_save(after, monkeypatch) -> None:
    """A save is due every half second. Where all have stalled, Ray is to blame."""
    machine, died, saved = Stopping(after), [], [0.0]
    monkeypatch.setattr("emcomm.a3c.time", machine)
    cluster = SimpleNamespace(ray=machine, node_for=lambda taken: None, check=machine.check, calling=nullcontext)
    workers = OnRay(Config(workers=2, device="cpu"), 0, cluster, died.extend)
    numbers = []
    with pytest.raises(Fault, match="no worker on Ray has made progress") if len(after) == 2 else nullcontext():
        for contribution in workers.contributions(lambda: (), lambda: machine.now - saved[-1] > 0.5):
            if contribution is None:
                saved.append(machine.now)
            else:
                numbers.append(contribution.agent_steps)
            if 2 in numbers:
                break
    assert died == ([] if len(after) == 2 else [0])
    assert 45 < machine.now < 70


def test_workers_never_become_more_than_there_are(monkeypatch) -> None:
    machine = Stopping({})
    monkeypatch.setattr("emcomm.a3c.time", machine)
    monkeypatch.setattr("emcomm.a3c.DOUBLE_EVERY", 0.001)
    cluster = SimpleNamespace(ray=machine, node_for=lambda taken: None, check=machine.check, calling=nullcontext)
    workers = OnRay(Config(workers=8, device="cpu"), 0, cluster, print)
    assert all(machine.now < 3 for _ in itertools.islice(workers.contributions(lambda: ()), 20))
    assert workers.started == 8


def test_a_broken_ray_is_noticed_while_contributions_still_come(monkeypatch) -> None:
    """Workers and driver talk to each other without its servers, until Ray ends the driver before it could save."""
    machine = Stopping({})
    monkeypatch.setattr("emcomm.a3c.time", machine)

    def check() -> None:
        if machine.now > 5:
            raise Fault("Ray has broken down")

    cluster = SimpleNamespace(ray=machine, node_for=lambda taken: None, check=check, calling=nullcontext)
    workers = OnRay(Config(workers=2, device="cpu"), 0, cluster, print)
    with pytest.raises(Fault, match="Ray has broken down"):
        all(machine.now < 6.5 for _ in workers.contributions(lambda: ()))


def test_a_server_that_is_dying_is_named() -> None:
    """Its connections break a moment before it stops listening."""
    cluster, asked = object.__new__(Cluster), []

    def check() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise Fault("Ray has broken down: its raylet on this machine has died")

    cluster.ray, cluster.check = ray, check
    with pytest.raises(Fault, match="its raylet on this machine"), cluster.calling():
        raise OSError("End of file")


def test_a_call_of_ray_that_breaks_off_is_one_line(monkeypatch) -> None:
    """As where a raylet dies while the driver waits; what a worker raised, and a time-out, stay what they are."""
    monkeypatch.setattr("emcomm.cluster._DYING_S", 0)
    cluster = object.__new__(Cluster)
    cluster.ray, cluster.check = ray, lambda: None
    with pytest.raises(Fault, match="Ray has broken down: Broken pipe"), cluster.calling():
        raise OSError("Broken pipe")
    with pytest.raises(ray.exceptions.GetTimeoutError), cluster.calling():
        raise ray.exceptions.GetTimeoutError("it took too long")


# -- the driver --------------------------------------------------------------------------------------------------------


def test_a_killed_driver_is_resumed(whole_log, emcomm, tmp_path) -> None:
    with training(
        tmp_path, "--workers", 0, "--episodes", 40_000, "--max-rounds", 8, "--evaluation-games", 100,
        "--checkpoint-every", 0.5,
    ) as run:  # fmt: skip
        run.wait_for_updates()
        run.process.kill()
        assert run.code() == -signal.SIGKILL
        for unfinished in ("dialogues/part-000099.tmp", "checkpoints/12.safetensors1.tmp", "summary.json1.tmp"):
            (run.run / unfinished).write_bytes(b"half a file")
        (run.run / "evaluation.tmp").mkdir()
        (run.run / "evaluation.tmp" / "part-000000.parquet").write_bytes(b"of an evaluation")
        before = sum(len(read_part(part)) for part in run.run.glob("dialogues/part-*.parquet"))
        checkpoint = read_checkpoint(run.checkpoints()[-1])
        assert checkpoint.facts["version"] > 0
        done = emcomm("train", "--resume", run.run)
        assert done.returncode == 0, done.stderr
        assert "resumes: 1" in done.stdout
        assert not list(run.run.rglob("*.tmp"))
        log = whole_log(run.run / "dialogues")
        assert len(log) == 40_000
        assert log.policy_version[before] == checkpoint.facts["version"]
        summary = run.summary()
        assert summary["updates"] > checkpoint.facts["version"]
        assert summary["agent_steps"] == 2 * 16 * 128 * summary["updates"]
        assert summary["evaluation"]["sampled"]["success"] > 0.8


def test_a_resumed_training_goes_on_with_the_weights_of_the_checkpoint(small_run, tmp_path, call) -> None:
    run = tmp_path / "copy"
    shutil.copytree(small_run, run)
    first = json.loads((run / "config.json").read_text())
    done = call("train", "--resume", run, "--episodes", 3001, "--evaluation-games", 50)
    assert done.code == 0, done.err
    saved = json.loads((run / "config.json").read_text())
    assert {k: saved[k] for k in first if k != "config"} == {k: first[k] for k in first if k != "config"}
    [resume] = saved["resumes"]
    assert resume["changed"] == {"episodes": [3000, 3001], "evaluation_games": [500, 50]}
    assert resume["episode"] == 3000
    assert {"command", "versions", "git"} <= resume.keys()
    before, after = (Run.open(folder).newest().facts["course"]["wall_s"] for folder in (small_run, run))
    assert 0 < before < after
    assert json.loads((run / "summary.json").read_text())["wall_s"] > after
    old, new = (Run.open(folder).newest() for folder in (small_run, run))
    assert old.facts["version"] + 1 == new.facts["version"]
    # the learning rate is near 0 at the end of a training, so one more update hardly changes the weights
    assert abs(old.tensors["policy.actor.weight"] - new.tensors["policy.actor.weight"]).max() < 1e-4
    evaluation = [read_part(p) for p in (run / "evaluation").glob("*.parquet")]
    assert sum(map(len, evaluation)) == 50, "the old policy's evaluation is still there"
    assert Run.open(run).config.episodes == 3001


def test_an_evaluation_that_is_interrupted_leaves_none(small_run, tmp_path, call, monkeypatch) -> None:
    """Not that of the policy before the resume either."""
    run = tmp_path / "copy"
    shutil.copytree(small_run, run)

    def half(*_: object, **__: object) -> Iterator[DialogueTable]:
        yield read_part(small_run / "evaluation" / "part-000000.parquet")
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr("emcomm.evaluation.play", half)
        assert call("train", "--resume", run, "--episodes", 3001).code == 130
    assert not (run / "evaluation").exists()
    assert call("train", "--resume", run, "--evaluation-games", 50).code == 0
    assert sum(len(read_part(part)) for part in (run / "evaluation").iterdir()) == 50
    assert not list(run.glob("*.tmp"))


def test_an_interrupt_in_one_process(whole_log, emcomm, tmp_path) -> None:
    with training(tmp_path, "--workers", 0, "--max-rounds", 8) as run:
        run.wait_for(lambda: " episodes  success " in run.said)
        os.killpg(run.process.pid, signal.SIGINT)
        assert run.code(20) == 130
        assert last_line(run.said).endswith(f"continue with: python -m emcomm.train --resume {run.run}")
        assert "Traceback" not in run.said
        episodes = run.summary()["episodes"]
        assert run.summary()["interrupted"]
        assert len(whole_log(run.run / "dialogues")) == episodes
        assert read_checkpoint(run.checkpoints()[-1]).facts["episodes"] == episodes
        done = emcomm("train", "--resume", run.run, "--episodes", episodes + 100, "--evaluation-games", 50)
        assert done.returncode == 0, done.stderr
        assert len(whole_log(run.run / "dialogues")) == episodes + 100


# -- the disk ----------------------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_folders_that_cannot_be_written(call, small_run, tmp_path) -> None:
    before = contents(small_run)
    (tmp_path / "file").write_text("mine")
    for args, message in (
        (["--log-dir", tmp_path / "file"], f"the log folder {tmp_path / 'file'} cannot be made"),
        (["--log-dir", tmp_path / "file" / "logs"], f"the log folder {tmp_path / 'file' / 'logs'} is not writable"),
        (["--log-dir", "/proc/logs"], "the log folder /proc/logs is not writable"),
        (["--log-dir", small_run.parent, "--run-name", "small"], f"the run {small_run} exists"),
    ):
        done = call("train", "--workers", 0, *args)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert done.err.startswith(f"emcomm: {message}")
    assert contents(small_run) == before
    assert (tmp_path / "file").read_text() == "mine"


def test_pictures_that_cannot_be_written(call, small_run, tmp_path) -> None:
    (tmp_path / "game-1.png").mkdir()
    for folder in ("/proc/pictures", tmp_path):
        done = call("play", small_run, "--pictures", folder)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert done.err.startswith("emcomm: the pictures cannot be written: ")
        assert str(folder) in done.err


def test_two_processes_never_write_into_one_run(emcomm, small_run) -> None:
    before = contents(small_run)
    with Run.open(small_run).lock():
        done = emcomm("train", "--resume", small_run, "--episodes", 4000)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"emcomm: another process is writing into {small_run}\n"
    assert contents(small_run) == before


def check_stopped_by_disk(code: int, said: str, run: Path) -> None:
    """One clear line; what lies there is whole."""
    assert code == 1, said
    assert last_line(said).startswith("emcomm: writing to ")
    assert "Traceback" not in said
    for checkpoint in sorted(run.glob("checkpoints/*")):
        assert read_checkpoint(checkpoint).facts["version"] >= 0


def test_a_full_disk(whole_log, tmp_path) -> None:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount a small disk (unshare -rm)")
    script = f"""
        mkdir small && mount -t tmpfs -o size=700k tmpfs small
        {sys.executable} -m emcomm.train --workers 0 --checkpoint-every 0.5 --log-dir small --run-name run 2>&1
        code=$?; cp -r small/run kept
        cat /dev/zero > small/rest 2> /dev/null
        {sys.executable} -m emcomm.train --resume small/run > again 2>&1; echo $? >> again; exit $code"""
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    check_stopped_by_disk(done.returncode, done.stdout, tmp_path / "kept")
    assert "No space left on device" in last_line(done.stdout)
    assert len(whole_log(tmp_path / "kept" / "dialogues")) > 0
    *again, code = (tmp_path / "again").read_text().splitlines()
    check_stopped_by_disk(int(code), "\n".join(again), tmp_path / "kept")


def test_a_part_that_cannot_be_written(tmp_path) -> None:
    """Files end at 140 kB: enough for a checkpoint, not for a part of 131 072 dialogues."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (140_000, 140_000))

    with training(
        tmp_path, "--workers", 0, "--channel", "off", "--games", 512, "--checkpoint-every", 60, preexec_fn=limit
    ) as run:
        check_stopped_by_disk(run.code(60), run.said, run.run)
        assert not list((run.run / "dialogues").iterdir())
        assert "File too large" in last_line(run.said)


def test_no_part_follows_one_that_failed(small_run, tmp_path, monkeypatch) -> None:
    """Otherwise the log would have a gap; what fits is on disk, and the error is told again and again."""
    table = read_part(small_run / "dialogues" / "part-000000.parquet")[:10]
    writer = DialogueWriter(tmp_path, 5, ("main", "detour"))
    writer.add(table)
    writer.flush()
    with monkeypatch.context() as full:
        full.setattr("pyarrow.parquet.write_table", lambda *_, **__: 1 / 0)
        writer.add(table)
        with pytest.raises(ZeroDivisionError):
            writer.flush()
    writer.add(table)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            writer.flush()
    assert [path.name for path in tmp_path.iterdir()] == ["part-000000.parquet"]
    assert writer.next_episode == 30


# -- checkpoints -------------------------------------------------------------------------------------------------------


def test_a_checkpoint_that_cannot_be_used(small_run, call, tmp_path) -> None:
    run = tmp_path / "copy"
    shutil.copytree(small_run, run)
    newest = sorted((run / "checkpoints").iterdir())[-1]
    config = run / "config.json"

    def truncated() -> None:
        newest.write_bytes(newest.read_bytes()[:-1000])

    def wider() -> None:
        config.write_text(config.read_text().replace('"hidden_size": 64', '"hidden_size": 65'))

    def nonsense() -> None:
        config.write_text(config.read_text()[:-100])

    def gone() -> None:
        shutil.rmtree(run / "checkpoints")

    for damage, message, args in (
        (None, "does not fit: hidden_size is 64 there, not 32", ("--hidden-size", 32)),
        (None, "does not fit: rules is", ("--n-tokens", 3)),
        (None, "does not fit: seed is 0 there, not 1", ("--seed", 1)),
        (None, "--preset and --resume exclude each other", ("--preset", "terse")),
        (None, "--log-dir and --resume exclude each other", ("--log-dir", "logs")),
        (None, "--run-name and --resume exclude each other", ("--run-name", "other")),
        (truncated, f"the checkpoint {newest} is damaged", ()),
        (wider, f"the checkpoint in {run} does not fit its configuration", ()),
        (nonsense, f"{config} is damaged", ()),
        (gone, f"{run} has no checkpoint", ()),
    ):
        shutil.rmtree(run)
        shutil.copytree(small_run, run)
        if damage:
            damage()
        before = contents(run)
        done = call("train", "--resume", run, *args)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), message
        assert message in done.err
        assert contents(run) == before


# -- numbers -----------------------------------------------------------------------------------------------------------

NAN = """
import numpy as np
from envs.crossing import CrossingGame

class Faulty(CrossingGame):
    def __init__(self, n_games, rng):
        super().__init__(n_games, rng)
        self._rng = rng

    def play(self, moves, which):
        outcome = super().play(moves, which)
        outcome.rewards[self._rng.random(len(moves)) < 0.01] = np.nan
        return outcome
"""


def test_a_nan_reward_never_reaches_the_weights(whole_log, tmp_path) -> None:
    (tmp_path / "faulty.py").write_text(NAN)
    with training(
        tmp_path, "--workers", 0, "--env", "faulty:Faulty", "--episodes", 3000, "--games", 16, "--max-rounds", 4,
        "--evaluation-games", 50,
    ) as run:  # fmt: skip
        assert run.code() == 0, run.said
        summary = run.summary()
        assert summary["gradients_refused"] > 5
        assert summary["updates"] > 5
        assert f"gradients refused: {summary['gradients_refused']}" in run.said
        assert len(whole_log(run.run / "dialogues")) == 3000
        tensors = load_file(run.checkpoints()[-1])  # the mean return is truly unknown, and so kept
        assert all(np.isfinite(tensor).all() for name, tensor in tensors.items() if not name.startswith("state."))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_the_learner_refuses_what_is_not_finite(bad: float) -> None:
    learner = Learner(Config(device="cpu"))
    weights = learner.assignment(0).weights
    gradient = np.ones_like(weights)
    gradient[3] = bad
    assert learner.apply(Contribution(gradient, 0, None, 0, 0.0, 0.0), 0) == 0
    assert (learner.refused, learner.version) == (1, 0)
    np.testing.assert_array_equal(learner.assignment(0).weights, weights)
    assert learner.apply(Contribution(np.ones_like(weights), 0, None, 0, 0.0, 0.0), 0) == 0
    assert (learner.refused, learner.version) == (1, 1)
    assert (learner.assignment(0).weights < weights).all()
    assert learner.apply(Contribution(np.ones_like(weights), 0, None, 0, 0.0, 0.0), 0) == 1
