"""Two nodes of a Ray cluster on one machine, at 127.0.0.1 and 127.0.0.2, of which the second shares no disk.

It lives in a mount namespace of its own, where emcomm, its logs and the head's files are hidden behind empty folders.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import urlparse

import psutil

ROOT = Path(__file__).resolve().parent.parent
UNSHARE = ["unshare", "--user", "--map-root-user", "--mount"]
START = """
import sys, time
from ray._private.node import Node
from ray._private.parameter import RayParams
from ray._private.state import GlobalState
from ray._raylet import GcsClientOptions

ip, cores, folder, address = sys.argv[1:]
ours = {"temp_dir": folder} if address == "head" else {"gcs_address": address, "redis_address": address}
node = Node(
    RayParams(node_ip_address=ip, num_cpus=int(cores), num_gpus=0, object_store_memory=10**8, include_dashboard=False,
              include_log_monitor=False, min_worker_port=0, max_worker_port=0, node_manager_port=0, **ours),
    head=address == "head", shutdown_at_exit=True, spawn_reaper=False,
)
state = GlobalState()
state._initialize_global_state(GcsClientOptions.create(
    node.gcs_address, None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=False
))
while ip not in {there["NodeManagerAddress"] for there in state.node_table() if there["Alive"]}:
    time.sleep(0.1)
print(node.gcs_address, flush=True)
sys.stdin.read()
"""
"""`ray start`, which would allow no second node where Ray's servers listen on the loopback addresses only."""


def can_hide() -> bool:
    """Whether this machine lets us give a process a file system of its own."""
    command = [*UNSHARE, "mount", "-t", "tmpfs", "none", "/mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(command, capture_output=True).returncode == 0


def homes_of_emcomm() -> set[Path]:
    """Where Python may find emcomm on this machine: this checkout, and the one that is installed."""
    origin = distribution("emcomm").read_text("direct_url.json")
    path = Path(urlparse(json.loads(origin)["url"]).path) if origin else ROOT
    return {ROOT, path}


class Node:
    """A raylet with its processes; `address` is where its cluster is reached."""

    def __init__(self, command: Sequence[object], environment: dict[str, str], cwd: Path) -> None:
        self._process = subprocess.Popen(
            list(map(str, command)), env=environment, cwd=cwd, start_new_session=True, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()
        assert self.address, "the node has not started"

    def processes(self) -> list[psutil.Process]:
        """All that were started under it, and it."""
        first = psutil.Process(self._process.pid)
        return [first, *first.children(recursive=True)]

    def kill(self) -> None:
        """As where a machine loses its power."""
        if self._process.poll() is None:
            everyone = self.processes()
            for process in everyone:
                process.suspend()  # so that nobody says farewell
            for process in everyone:
                process.kill()
            self._process.communicate()


class Nodes:
    """The cluster: `address`, and the `environment` of whoever joins it."""

    def __init__(self, folder: Path, hidden: Sequence[Path], cores: int) -> None:
        self._folder, self._rays = folder, folder / "ray"
        plain = {k: v for k, v in os.environ.items() if not k.startswith("RAY_") and k != "PYTHONPATH"}
        self.environment = {
            **plain, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        self._hidden = [*hidden, self._rays]
        self._started = [
            Node([sys.executable, "-c", START, "127.0.0.1", cores, self._rays, "head"], self.environment, folder)
        ]
        self.address = self._started[0].address

    def add(self) -> Node:
        """One more node, of one core, which shares no disk with the head."""
        hide = " && ".join(f"mount -t tmpfs none '{path}'" for path in self._hidden)
        ip = f"127.0.0.{1 + len(self._started)}"
        start = [sys.executable, "-c", START, ip, 1, self._rays, self.address]
        command = [*UNSHARE, "sh", "-c", f'{hide} && cd / && exec "$@"', "sh", *start]
        self._started.append(Node(command, self.environment, self._folder))
        return self._started[-1]

    def end(self) -> None:
        """Kill what is left of it."""
        for node in reversed(self._started):
            node.kill()


@contextmanager
def cluster(hidden: Sequence[Path], cores: int) -> Iterator[Nodes]:
    """A head node with so many cores; further nodes see neither emcomm nor the folders `hidden`."""
    folder = Path(tempfile.mkdtemp(prefix="nodes-", dir="/tmp"))
    try:
        nodes = Nodes(folder, [*homes_of_emcomm(), *hidden], cores)
        try:
            yield nodes
        finally:
            nodes.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
