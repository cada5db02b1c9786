"""The pins of constraints.txt: one exact version of every package, for each Python that is promised."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from analysis.automata.machine_files import MOST_BYTES

ROOT = Path(__file__).parent.parent
PINS = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
ROOMS = ("envs", "emcomm", "analysis", "experiments")
INSTALLED = {canonicalize_name(d.metadata["Name"]): d for d in distributions()}


def pins_on(python: str) -> list[Requirement]:
    environment = {"python_version": python.rpartition(".")[0], "python_full_version": python}
    return [pin for pin in PINS if pin.marker is None or pin.marker.evaluate(environment)]


def brought_by(name: str, extra: str) -> set[str]:
    """The packages that installing `name[extra]` here brings."""
    found: set[str] = set()
    waiting = [(name, extra)]
    while waiting:
        package, extra = waiting.pop()
        for requirement in map(Requirement, requires(package) or []):
            needed = canonicalize_name(requirement.name)
            if needed not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": extra})):
                found.add(needed)
                waiting.append((needed, ""))
    return found


@pytest.mark.parametrize("python", ["3.10.0", "3.11.0", "3.12.0", "3.13.0"])
def test_a_package_has_one_version_and_it_is_made_for_the_python(python: str) -> None:
    pins = {canonicalize_name(pin.name): str(pin.specifier) for pin in pins_on(python)}
    assert len(pins) == len(pins_on(python))
    for name, version in pins.items():
        assert version.startswith("==")
        if name in INSTALLED and version == f"=={INSTALLED[name].version}":
            made_for = INSTALLED[name].metadata["Requires-Python"] or ""
            assert SpecifierSet(made_for).contains(python), f"{name}{version} needs Python {made_for}"


def test_everything_that_is_installed_is_pinned() -> None:
    pinned = {canonicalize_name(pin.name) for pin in pins_on(platform.python_version())}
    brought = {name for name in brought_by("emcomm", "test") if not name.startswith(("nvidia", "cuda", "triton"))}
    assert brought - pinned == set()  # what torch brings for a GPU, it pins itself


def test_the_check_of_each_python_names_one_that_is_missing() -> None:
    """Before anything is installed."""
    done = subprocess.run(
        [ROOT / ".ci" / "pythons"],
        env={**os.environ, "PYTHONS": "python3.0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "there is no python3.0" in done.stderr


def test_what_is_trusted_is_written_down() -> None:
    """The limits and rules that SECURITY.md names are those of the code."""
    said = " ".join((ROOT / "SECURITY.md").read_text().split())
    assert f"at most {MOST_BYTES // 2**20} MB" in said
    for words in ("No pickle is read", "Content-Security-Policy", "no telemetry", "private advisory", "no hashes"):
        assert words in said
    pickles = [path for room in ROOMS for path in (ROOT / room).rglob("*.py") if "pickle" in path.read_text()]
    assert pickles == []
