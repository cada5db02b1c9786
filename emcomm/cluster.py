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
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from emcomm import janitor
from emcomm.errors import BadInput, Fault

Address = str | tuple[str, int]
"""Where a server listens: the path of a Unix socket, or host and port."""

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # a local cluster listens on the loopback address only
    "RAY_worker_niceness": "0",  # 15 by default: other work on the machine would come first
    "RAY_maximum_startup_concurrency": "1024",  # OnRay itself starts workers a few at a time
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a worker without a GPU share may still see the GPU
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # its paragraphs would mix with the progress line
    "RAY_task_events_report_interval_ms": "0",  # no record of every task: the GCS would keep 100 000 of them
}
_GCS_PATIENCE_S = 30
"""How long the GCS of a joined cluster may be away: it can be restarted, and Ray itself waits for a minute."""


class Cluster:
    """Ray under way, as its driver sees it.

    `ray` is the module. `check` raises a Fault where Ray no longer works; `close` ends a local cluster, and leaves one
    that was joined.
    """

    def __init__(self, ray: Any, home: _Home | None) -> None:
        self.ray, self._home = ray, home
        self._raylet, self._gcs = _servers(ray)
        self._gcs_answered = time.monotonic()
        self._broken = False

    def check(self) -> None:
        """Raises Fault where the raylet of this machine or the GCS is gone. A millisecond; meant for each second.

        It asks the sockets and not Ray, which would hang. A raylet also ends when an agent of its own is killed.
        """
        if self._raylet is not None and not _listens(self._raylet):
            self._fail("the raylet of this machine has died, and with it the workers")
        if _listens(self._gcs):
            self._gcs_answered = time.monotonic()
        elif self._home or time.monotonic() - self._gcs_answered > _GCS_PATIENCE_S:
            self._fail("its central server (GCS) has died")

    def _fail(self, what: str) -> None:
        self._broken = True
        raise Fault(f"Ray has broken down: {what}")

    def close(self) -> None:
        """End what this driver has on the cluster: a local one with all its processes and files. Repeatable."""
        if self._home and self._broken:
            janitor.kill(self._home.folder)  # Ray would wait for answers
        self.ray.shutdown()
        if self._home:
            self._home.close()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start_ray(address: str | None = None) -> Cluster:
    """Join the cluster at `address`, or start a local one without dashboard or statistics.

    Raises BadInput where the cluster cannot be reached, Fault where a local one cannot be started.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray

    # Ray prints a paragraph for every worker that dies; who uses it says so in one line.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None
    return _join(ray, address) if address else _start_local(ray)


def _join(ray: Any, address: str) -> Cluster:
    try:
        _check_that_it_listens(ray, address)
        ray.init(address=address, logging_level=logging.CRITICAL, log_to_driver=False)
        return Cluster(ray, None)
    except (OSError, ValueError, RuntimeError) as error:
        raise BadInput(f"Ray cannot be reached at {address}: {_one_line(error)}") from error


def _check_that_it_listens(ray: Any, address: str) -> None:
    """Raises OSError where nobody does: Ray itself would try for minutes."""
    found = None if "://" in address else ray._private.services.canonicalize_bootstrap_address(address)
    if found:  # `auto` may find none, which Ray refuses by itself
        socket.create_connection(_host_and_port(found), timeout=10).close()


def _start_local(ray: Any) -> Cluster:
    home = None
    try:
        home = _Home(ray)
        ray.init(
            address="local",  # without it Ray would join what RAY_ADDRESS or the last `ray start` on this machine names
            num_cpus=os.cpu_count(),
            include_dashboard=False,
            object_store_memory=256 * 2**20,
            logging_level=logging.CRITICAL,
            log_to_driver=False,
            _temp_dir=str(home.folder),
        )
        return Cluster(ray, home)
    except BaseException as error:
        with contextlib.suppress(Exception):
            ray.shutdown()
        if home is not None:
            home.close()
        if isinstance(error, Exception):
            raise Fault(f"a local Ray cannot be started: {_one_line(error)}") from error
        raise


class _Home:
    """The folder of a local cluster, the secret in it, and the janitor that clears both away."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self.folder = Path(tempfile.mkdtemp(prefix="emcomm-", dir=_short_folder()))  # for this user only
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
    return usual if len(os.fsencode(usual)) <= 27 else "/tmp"


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


def _servers(ray: Any) -> tuple[Address | None, Address]:
    """Where the raylet of this driver and the GCS listen."""
    node = ray._private.worker._global_node
    return node.raylet_socket_name, _host_and_port(node.gcs_address)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _listens(address: Address) -> bool:
    """Whether a server is there. One that is only busy is."""
    try:
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
