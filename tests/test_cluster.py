"""Ray's own processes die, cannot start, are asked by strangers, or lose their driver."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from emcomm import cluster
from emcomm.cluster import Cluster
from emcomm.signals import Stopped

ROOT = Path(__file__).resolve().parent.parent

DRIVER = """
import os, sys, threading, time
from emcomm import cluster
from emcomm.cli import run_command

class Worker:
    def compute(self):
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            pass
        return bytes(200_000)

def main():
    {before}
    with cluster.start_ray(*sys.argv[1:]) as here:
        actor = here.ray.remote(num_cpus=0)(Worker)
        workers = [actor.remote() for _ in range(2)]
        here.ray.get([worker.compute.remote() for worker in workers])
        print("ready", here._home and here._home.folder, flush=True)
        {then}

def compute(here, actor, workers):
    under_way = [worker.compute.remote() for worker in workers]
    while True:
        here.check()
        with here.calling():
            done, under_way = here.ray.wait(under_way, num_returns=1, timeout=1)
            for each in done:
                try:
                    here.ray.get(each, timeout=10)
                except here.ray.exceptions.RayError:
                    workers[:1] = [actor.remote()]
                workers.append(workers.pop(0))
                under_way.append(workers[-1].compute.remote())

run_command(main)
"""
COMPUTE = "compute(here, actor, workers)"


class Driver:
    """A script that uses `start_ray`, in a process group of its own, and all processes seen under it."""

    def __init__(self, folder: Path, *args: str, before: str = "pass", then: str = COMPUTE, **more: str) -> None:
        (folder / "driver.py").write_text(DRIVER.format(before=before, then=then))
        self._out, self._err = folder / "out", folder / "err"
        self.home = folder / "home"
        self.home.mkdir()
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(self.home), **more}
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, folder / "driver.py", *args],
                stdout=out, stderr=err, start_new_session=True, env=environment,
            )  # fmt: skip
        self.everyone: set[psutil.Process] = set()

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def folder(self) -> Path:
        """That of the local cluster."""
        return Path(self.out.split()[1])

    def look(self) -> set[psutil.Process]:
        self.everyone |= set(psutil.Process(self.process.pid).children(recursive=True))
        return self.everyone

    def named(self, *names: str) -> list[psutil.Process]:
        return [p for p in self.look() if any(name in " ".join(command_of(p)[:3]) for name in names)]

    def wait_until_ready(self) -> None:
        wait_for(lambda: "ready" in self.out or self.process.poll() is not None, 120)
        assert self.process.poll() is None, self.err
        self.look()

    def code(self, seconds: float = 60) -> int:
        return self.process.wait(seconds)

    def check_that_nothing_stays(self) -> None:
        _, alive = psutil.wait_procs(self.everyone, timeout=15)
        assert not alive
        wait_for(lambda: not self.folder.exists(), 15)
        assert not list(self.home.iterdir()), "nothing of a local cluster belongs into the home folder"


@contextmanager
def driver(folder: Path, *args: str, **more: str) -> Iterator[Driver]:
    started = Driver(folder, *args, **more)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
            started.process.wait()


def command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


# -- deaths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("victim", "said"),
    [
        ("raylet/raylet", "its raylet on this machine has died, and with it the workers"),
        ("gcs/gcs_server", "its central server (GCS) has died"),
        ("ray::DashboardAgent", "its raylet on this machine has died, and with it the workers"),
    ],
)
def test_a_death_that_ray_does_not_survive_is_one_line(victim: str, said: str, tmp_path: Path) -> None:
    with driver(tmp_path) as run:
        run.wait_until_ready()
        [process] = run.named(victim)
        process.kill()
        assert run.code() == 1
        assert run.err == f"emcomm: Ray has broken down: {said}\n"
        run.check_that_nothing_stays()


def test_deaths_that_do_not_matter(tmp_path: Path) -> None:
    then = "threading.Timer(8, lambda: os.kill(os.getpid(), 2)).start(); " + COMPUTE
    with driver(tmp_path, then=then) as run:
        run.wait_until_ready()
        for process in run.named("log_monitor.py", "monitor.py", "dashboard.py"):
            process.kill()
        assert run.code() == 130, run.err
        run.check_that_nothing_stays()


def test_a_driver_that_is_stuck_in_ray_is_ended(tmp_path: Path) -> None:
    with driver(tmp_path, before="cluster._STUCK_S = 2", then="time.sleep(1000)") as run:
        run.wait_until_ready()
        run.named("raylet/raylet")[0].kill()
        assert run.code() == 1
        assert run.err == (
            "emcomm: Ray has broken down: its raylet on this machine has died, and with it the workers\n"
        )
        run.check_that_nothing_stays()


@pytest.mark.parametrize("signals", [[signal.SIGKILL], [signal.SIGINT], [signal.SIGTERM]])
def test_nothing_outlives_a_driver(signals: list[signal.Signals], tmp_path: Path) -> None:
    with driver(tmp_path) as run:
        run.wait_until_ready()
        assert (run.folder / "token").stat().st_mode & 0o777 == 0o600
        assert run.folder.stat().st_mode & 0o777 == 0o700
        assert len(run.everyone) > 6
        for each in signals:
            (os.kill if each == signal.SIGKILL else os.killpg)(run.process.pid, each)
        run.code()
        assert "Traceback" not in run.err
        run.check_that_nothing_stays()


# -- starting ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_raylet_that_cannot_start_is_one_line(tmp_path: Path) -> None:
    before = "import ray; ray._private.services.RAYLET_EXECUTABLE = '/bin/false'"
    with driver(tmp_path, before=before) as run:
        wait_for(lambda: run.look(), 60)
        assert run.code() == 1
        assert run.err.startswith("emcomm: a local Ray cannot be started: ")
        assert run.err.count("\n") == 1
        assert not psutil.wait_procs(run.everyone, timeout=15)[1]


GCS_DIES = """
cluster._STUCK_S = 2
    def kill(): # as soon as it listens
        while not (gcs := [p for p in psutil.Process().children() if "gcs_server" in " ".join(p.cmdline())]):
            time.sleep(0.01)
        [folder] = [arg.partition("=")[2] for arg in gcs[0].cmdline() if arg.startswith("--log_dir=")]
        while not list(Path(folder).parent.glob("gcs_server_port_*")):
            time.sleep(0.01)
        gcs[0].kill()
    import psutil
    from pathlib import Path
    threading.Thread(target=kill, daemon=True).start()
"""


@pytest.mark.slow
def test_a_gcs_that_dies_while_ray_starts_is_one_line(tmp_path: Path) -> None:
    """Ray itself would end the driver after a minute, with a paragraph."""
    with driver(tmp_path, before=GCS_DIES.strip()) as run:
        assert run.code(90) == 1
        assert run.err == "emcomm: a local Ray cannot be started: its central server (GCS) has died\n"
        assert run.out == ""


def test_a_folder_for_temporary_files_with_a_long_path(tmp_path: Path) -> None:
    """A Unix socket has a path of at most 107 bytes."""
    long = tmp_path / ("long" * 20)
    long.mkdir()
    with driver(tmp_path, then="pass", TMPDIR=str(long)) as run:
        assert run.code(120) == 0, run.err
        assert not run.folder.exists()
        assert not list(long.iterdir())


# -- who may use it ----------------------------------------------------------------------------------------------------

STRANGER = """
import sys, ray
ray.init(sys.argv[1], logging_level="CRITICAL", log_to_driver=False)
print(ray.get(ray.remote(lambda: 6 * 7).remote()))
"""


def test_only_who_knows_the_secret_may_use_a_local_cluster(tmp_path: Path) -> None:
    then = "print(here.ray.get_runtime_context().gcs_address, flush=True); time.sleep(1000)"
    with driver(tmp_path, then=then) as run:
        run.wait_until_ready()
        wait_for(lambda: len(run.out.split()) == 3, 10)
        address, secret = run.out.split()[2], (run.folder / "token").read_text()
        assert not any(secret in " ".join(command_of(p)) for p in run.everyone)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        others = [
            subprocess.Popen(
                [sys.executable, "-c", STRANGER, address], env={**environment, "HOME": str(tmp_path), **more},
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )
            for more in (
                {},
                {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
                {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secret},
            )
        ]  # fmt: skip
        knows = others.pop()
        assert knows.communicate(timeout=60)[0] == "42\n"
        time.sleep(3)  # more than enough for the others too, if they could
        for stranger in others:
            stranger.kill()
            assert stranger.communicate()[0] == ""


TWICE = """
for attempt in range(2):
        with cluster.start_ray() as first:
            assert first.ray.get(first.ray.remote(lambda: os.environ["RAY_AUTH_MODE"]).remote()) == "token"
        assert os.environ["RAY_AUTH_TOKEN"] == "of another cluster"
        assert not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"} & set(os.environ)
        first.close()
    sys.exit(0)
"""


def test_each_local_cluster_has_a_secret_of_its_own(tmp_path: Path) -> None:
    environment = {"RAY_AUTH_TOKEN": "of another cluster", "RAY_AUTH_MODE": ""}
    before = "del os.environ['RAY_AUTH_MODE']\n    " + TWICE.strip()
    with driver(tmp_path, before=before, **environment) as run:
        assert run.code(120) == 0, run.err
        assert run.err == ""


# -- a cluster that was joined -----------------------------------------------------------------------------------------


MACHINES = """
import os, sys, time
from ray.cluster_utils import Cluster
os.makedirs("/tmp/ray", exist_ok=True)  # it notes its address there, whatever its folder
common = {"num_cpus": 1, "object_store_memory": 10**8, "include_dashboard": False, "include_log_monitor": False}
there = Cluster(True, head_node_args={**common, "node_ip_address": "127.0.0.1", "temp_dir": sys.argv[1]})
there.add_node(**common, node_ip_address="127.0.0.2")
print(there.address, flush=True)
sys.stdin.read()
"""


class Machines:
    """Two machines on the loopback address, which one process has started."""

    def __init__(self, folder: Path) -> None:
        self.secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64}
        self._process = subprocess.Popen(
            [sys.executable, "-c", MACHINES, folder],
            env={**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", **self.secret},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
        )  # fmt: skip

    def address(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def named(self, name: str, ip: str = "") -> list[psutil.Process]:
        """The servers called `name`, of the machine `ip` alone where one is given."""
        everyone = psutil.Process(self._process.pid).children(recursive=True)
        its_own = {f"--node{sign}ip{sign}address={ip}" for sign in "-_"}
        return [p for p in everyone if name in " ".join(command_of(p)[:3]) and (not ip or its_own & set(command_of(p)))]

    def end(self) -> None:
        for process in [*psutil.Process(self._process.pid).children(recursive=True), self._process]:
            process.kill()
        self._process.communicate()


@pytest.fixture
def machines() -> Iterator[Machines]:
    folder = Path(tempfile.mkdtemp(prefix="two-", dir="/tmp"))
    there = Machines(folder)
    try:
        yield there
    finally:
        there.end()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_joined_cluster_stays_and_only_the_workers_leave(machines: Machines, tmp_path: Path) -> None:
    with driver(tmp_path, machines.address(), **machines.secret) as run:
        run.wait_until_ready()
        assert machines.named("ray::Worker")
        os.killpg(run.process.pid, signal.SIGINT)
        assert run.code() == 130, run.err
        wait_for(lambda: not machines.named("ray::Worker"), 15)
        assert len(machines.named("raylet/raylet")) == 2
        assert machines.named("gcs/gcs_server")
        assert not list(run.home.iterdir())


@pytest.mark.parametrize(("victim", "said"), [("raylet/raylet", "its raylet on"), ("gcs/gcs_server", "its central")])
def test_a_death_in_a_joined_cluster_is_one_line(victim: str, said: str, machines: Machines, tmp_path: Path) -> None:
    before = "cluster._GCS_PATIENCE_S = 3"
    with driver(tmp_path, machines.address(), before=before, **machines.secret) as run:
        run.wait_until_ready()
        machines.named(victim, "127.0.0.1")[0].kill()
        assert run.code() == 1
        assert run.err.startswith(f"emcomm: Ray has broken down: {said}")
        assert run.err.count("\n") == 1


def test_processes_live_where_the_cores_are() -> None:
    """In proportion, on nodes that are alive, and none on a head without cores."""
    nodes = [
        {"NodeID": name, "Alive": alive, "Resources": {"CPU": cores} if cores else {}}
        for name, alive, cores in (("head", True, 0), ("large", True, 16), ("small", True, 8), ("dead", False, 64))
    ]
    there = object.__new__(Cluster)
    there.ray, there._home = SimpleNamespace(nodes=lambda: nodes), None
    taken: Counter[str | None] = Counter()
    for _ in range(24):
        taken[there.node_for(taken)] += 1
    assert taken == {"large": 16, "small": 8}
    there.ray = SimpleNamespace(nodes=lambda: nodes[1:2])
    assert there.node_for(Counter()) is None  # there is no choice


@pytest.mark.parametrize("stopped", [False, True])
def test_a_signal_while_ray_starts_is_a_stop_like_any_other(monkeypatch: pytest.MonkeyPatch, stopped: bool) -> None:
    def init(**_: object) -> None:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))  # as Ray does
        if stopped:
            os.kill(os.getpid(), signal.SIGTERM)

    ray = SimpleNamespace(init=init, shutdown=lambda: None, _private=SimpleNamespace(
        worker=SimpleNamespace(_global_node=None)))  # fmt: skip
    monkeypatch.setattr(cluster, "_Home", lambda _: SimpleNamespace(
        rays="/tmp", folder="/tmp", gcs_while_starting=lambda: None, close=lambda: None))  # fmt: skip
    monkeypatch.setattr(cluster.janitor, "kill", lambda _: None)
    before = signal.getsignal(signal.SIGTERM)
    if stopped:
        with pytest.raises(Stopped, match="SIGTERM"):
            cluster._start_local(ray)
    else:
        cluster._start_local(ray).close()
    assert signal.getsignal(signal.SIGTERM) == before
