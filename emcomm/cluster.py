"""Ray itself: started, watched, ended.

Ray is several servers on each machine. Two of them the driver cannot do without: the raylet of its own machine, which
starts workers, and the GCS, which knows all machines. Where one of them dies, Ray waits: for ever without a raylet, and
for a minute without a GCS, after which it ends the driver on the spot. So the driver asks now and
then (`Cluster.check`).

A local cluster lives in a folder of its own, asks everybody for a secret that lies there, and is cleared away by a
process that outlives the driver (`emcomm.janitor`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from emcomm import janitor
from emcomm.errors import BadInput, Fault
from emcomm.shipping import runtime_env
from emcomm.signals import Stopped

Address = str | tuple[str, int]
"""Where a server listens: the path of a Unix socket, or host and port."""

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # a local cluster listens on the loopback address only
    "RAY_worker_niceness": "0",  # 15 by default: other work on the machine would come first
    "RAY_maximum_startup_concurrency": "1024",  # OnRay itself starts workers a few at a time
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a worker without a GPU share may still see the GPU
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # its paragraphs would mix with the progress line
    # What workers send stays out of the shared object store. What a raylet takes there into its death, Ray marks as
    # lost in that same store, and where it is gone ends the driver on the spot, without a line or a checkpoint.
    "RAY_max_direct_call_object_size": str(64 * 2**20),
    "RAY_task_rpc_inlined_bytes_limit": str(2**30),
    "RAY_task_events_report_interval_ms": "0",  # no record of every task: the GCS would keep 100 000 of them
}
_GCS_PATIENCE_S = 30
"""How long the GCS of a joined cluster may be away: it can be restarted, and Ray itself waits for a minute."""
_DYING_S = 2
"""How long a server that has died may still seem to be there."""
_STUCK_S = 20
"""How long after a breakdown the driver may take to write what it has, and to close."""


class Cluster:
    """Ray under way, as its driver sees it.

    `ray` is the module; `current` is the one under way in this process. `check` raises a Fault where Ray no longer
    works; `close` ends a local cluster, and leaves one that was joined. A driver that is stuck in Ray, and so cannot do
    either, is ended 20 s after the breakdown, with the same line and exit code 1.
    """

    current: ClassVar[Cluster | None] = None

    def __init__(self, ray: Any, home: _Home | None) -> None:
        self.ray, self._home = ray, home
        Cluster.current = self
        self._gcs_answered = time.monotonic()
        self._closed = threading.Event()
        threading.Thread(target=self._end_if_stuck, name="emcomm-cluster", daemon=True).start()

    @property
    def is_local(self) -> bool:
        """Whether it is this machine's alone, started for this driver."""
        return self._home is not None

    def check(self) -> None:
        """Raises Fault where the raylet of this machine or the GCS is gone. Below a millisecond; meant for each second.

        It asks the system and not Ray, which would hang.
        """
        if problem := self._problem():
            raise Fault(problem)

    def node_for(self, taken: Counter[str | None]) -> str | None:
        """The node on which one more process should live, where `taken` counts those that live on each: in proportion
        to the cores. None where there is no choice."""
        if self.is_local:
            return None
        cores = {node["NodeID"]: node["Resources"].get("CPU", 0) for node in self.ray.nodes() if node["Alive"]}
        able = [node for node, count in cores.items() if count]
        return max(able, key=lambda node: cores[node] / (taken[node] + 1)) if len(cores) > 1 and able else None

    def on_node(self, node: str) -> Any:
        """The scheduling strategy of Ray for `node` and no other, for the raylet there would often pass it on.

        Where the node is gone, what was to live there dies, and is replaced.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(node, soft=False)

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        """Inside, Ray is called: where a server dies in the middle of it, the OSError of Ray becomes a Fault."""
        try:
            yield
        except (OSError, SystemError) as error:
            if isinstance(error, self.ray.exceptions.RayError):  # a time-out, or what a worker has raised
                raise
            self._name_the_dead()
            raise Fault(f"Ray has broken down: {_one_line(error)}") from error

    def _name_the_dead(self) -> None:
        """Raises Fault with the server that is gone: one that dies lets go of what it held piece by piece, so that a
        connection can break a moment before it is seen to be dead."""
        self.check()
        for _ in range(_DYING_S * 10):
            time.sleep(0.1)
            self.check()

    def _problem(self) -> str | None:
        node = self.ray._private.worker._global_node
        if node is None:  # not up yet, or shut down
            gcs = self._home.gcs_while_starting() if self._home else None
            return "a local Ray cannot be started: its central server (GCS) has died" if not _listens(gcs) else None
        if self._home:
            dead = {kind for kind, _ in node.dead_processes()}
        else:
            dead = {"raylet"} if not _listens(node.raylet_socket_name) else set()
            dead |= {"gcs_server"} if self._is_silent(_host_and_port(node.gcs_address)) else set()
        if "raylet" in dead:
            return "Ray has broken down: its raylet on this machine has died, and with it the workers"
        if "gcs_server" in dead:
            return "Ray has broken down: its central server (GCS) has died"
        return None

    def _is_silent(self, gcs: Address) -> bool:
        """Whether a GCS has not answered for long. It is asked each second: each question costs it some memory."""
        now = time.monotonic()
        if now - self._gcs_answered > 1 and _listens(gcs):
            self._gcs_answered = now
        return now - self._gcs_answered > _GCS_PATIENCE_S

    def _end_if_stuck(self) -> None:
        broken_since = None
        while not self._closed.wait(1):
            problem, now = self._problem(), time.monotonic()
            broken_since = (broken_since or now) if problem else None
            if broken_since and now - broken_since > _STUCK_S:
                os.write(_stderr(), f"emcomm: {problem}\n".encode())
                os._exit(1)

    def close(self) -> None:
        """End what this driver has on the cluster: a local one with all its processes and files. Repeatable."""
        if self._closed.is_set():
            return
        if self._home and self._problem():
            janitor.kill(self._home.folder)  # Ray would wait for answers
        self.ray.shutdown()
        self._closed.set()
        Cluster.current = None
        if self._home:
            self._home.close()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start_ray(address: str | None = None) -> Cluster:
    """Join the cluster at `address`, or start a local one without dashboard or statistics.

    To the nodes of a cluster that is joined the code travels (`emcomm.shipping`).

    Raises BadInput where the cluster cannot be reached, Fault where a local one cannot be started.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray

    # Ray prints a paragraph for every worker that dies; who uses it says so in one line.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None
    return _join(ray, address) if address else _start_local(ray)


def require_reachable(address: str) -> None:
    """Raise BadInput where no cluster listens at `address`; nothing is joined."""
    import ray

    try:
        _check_that_it_listens(ray, address)
    except (OSError, ValueError, RuntimeError) as error:
        raise BadInput(f"Ray cannot be reached at {address}: {_one_line(error)}") from error


def _join(ray: Any, address: str) -> Cluster:
    try:
        _check_that_it_listens(ray, address)
        with _without_stderr(), _keeping_sigterm(), runtime_env() as code:
            ray.init(address=address, runtime_env=code, logging_level=logging.CRITICAL, log_to_driver=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise BadInput(f"Ray cannot be reached at {address}: {_one_line(error)}") from error
    return Cluster(ray, None)


def _check_that_it_listens(ray: Any, address: str) -> None:
    """Raises OSError where nobody does: Ray itself would try for minutes."""
    cluster = None if "://" in address else ray._private.services.canonicalize_bootstrap_address(address)
    if cluster:  # `auto` may find none, which Ray refuses by itself
        socket.create_connection(_host_and_port(cluster), timeout=10).close()


def _start_local(ray: Any) -> Cluster:
    try:
        home = _Home(ray)
    except OSError as error:
        raise Fault(f"a local Ray cannot be started: {error}") from error
    cluster = Cluster(ray, home)
    try:
        with _without_stderr(), _keeping_sigterm():
            ray.init(
                address="local",  # else Ray would join what RAY_ADDRESS or the last `ray start` on this machine names
                num_cpus=len(os.sched_getaffinity(0)),
                include_dashboard=False,
                object_store_memory=256 * 2**20,
                logging_level=logging.CRITICAL,
                log_to_driver=False,
                _temp_dir=str(home.rays),
            )
    except BaseException as error:
        cluster.close()
        if isinstance(error, Exception):
            raise Fault(f"a local Ray cannot be started: {_one_line(error)}") from error
        raise
    return cluster


@contextlib.contextmanager
def _keeping_sigterm() -> Iterator[None]:
    """Ray puts a handler of its own on SIGTERM, which exits: here that is a stop like any other, and afterwards the
    handler is the old one again."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as left:
        raise Stopped(signal.SIGTERM) from left
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


class _Home:
    """The folder of a local cluster, the secret in it, and the janitor that clears both away."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self.folder = Path(tempfile.mkdtemp(prefix="emcomm-", dir=_short_folder()))  # for this user only, and
        self.rays = self.folder / "r"  # for this one Ray sets the rights: everybody may write there
        token = janitor.token_file(self.folder)
        token.touch(0o600)
        token.write_text(secrets.token_hex(32))
        self._janitor = subprocess.Popen(
            [sys.executable, "-I", "-S", janitor.__file__, self.folder], env={}, cwd="/", start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._before = _use_token(
            ray, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_AUTH_TOKEN": None}
        )

    def gcs_while_starting(self) -> Address | None:
        """Where the GCS listens, as soon as it does."""
        for file in self.rays.glob("session_latest/gcs_server_port_*"):
            with contextlib.suppress(OSError, ValueError):
                return "127.0.0.1", int(file.read_text())
        return None

    def close(self) -> None:
        """Kill what is left of the cluster, and remove its files."""
        assert self._janitor.stdin is not None
        self._janitor.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._janitor.wait(15)
        janitor.clear(self.folder)  # if somebody has killed the janitor
        _use_token(self._ray, self._before)


def _short_folder() -> str:
    """Where a socket of Ray in a folder still has a path of at most 107 bytes, as the system asks."""
    usual = tempfile.gettempdir()
    return usual if len(os.fsencode(usual)) <= 25 else "/tmp"


def _use_token(ray: Any, settings: dict[str, str | None]) -> dict[str, str | None]:
    """Set environment variables (None removes one), and have Ray read them; returns what they were."""
    before = {name: os.environ.get(name) for name in settings}
    for name, value in settings.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    ray._raylet.Config.initialize("")
    ray._raylet.AuthenticationTokenLoader.instance().reset_cache()
    return before


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _listens(address: Address | None) -> bool:
    """Whether a server is there. One that is only busy is, and one that has no address yet may be."""
    try:
        if address is None:
            return True
        if isinstance(address, str):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(address)
        else:
            socket.create_connection(address, timeout=1).close()
    except BlockingIOError:  # its queue is full
        return True
    except OSError:
        return False
    return True


def _one_line(error: BaseException) -> str:
    """Its message without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


_stderr_copies: list[int] = []


def _stderr() -> int:
    """The file descriptor of the standard error stream, also within `_without_stderr`."""
    return _stderr_copies[-1] if _stderr_copies else 2


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Nothing reaches the standard error stream meanwhile: errors come as exceptions, and Ray's C++ prints besides."""
    copy, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    _stderr_copies.append(copy)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(copy, 2)
        _stderr_copies.remove(copy)
        os.close(copy)
        os.close(nowhere)
