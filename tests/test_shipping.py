"""The code that travels to the nodes of a cluster is enough there, and no more than it must be."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from emcomm import runs, shipping


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with a module, one beside it that is imported late, a package with data, and results."""
    folder = tmp_path / "own"
    (folder / "railway" / "data").mkdir(parents=True)
    (folder / "logs").mkdir()
    (folder / "my_game_of_points.py").write_text("import railway\n\ndef late():\n    import my_late_module\n")
    (folder / "my_late_module.py").write_text("")
    (folder / "railway" / "__init__.py").write_text("")
    (folder / "railway" / "data" / "map.txt").write_text("one track")
    (folder / "railway" / ".secret").write_text("no")
    monkeypatch.syspath_prepend(folder)
    for name in ("railway", "my_game_of_points", "my_late_module"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.import_module("my_game_of_points")
    return folder


def test_what_travels_is_enough(own: Path, tmp_path: Path) -> None:
    """Another process finds everything there, although nothing else of it is on its path."""
    check = "import my_game_of_points as game, emcomm, envs, analysis, experiments; game.late(); print(emcomm.__file__)"
    with shipping.runtime_env() as travels:
        folder = Path(travels["working_dir"])
        assert (folder / "railway" / "data" / "map.txt").read_text() == "one track"
        names = {path.name for path in folder.rglob("*")}
        assert not names & {".secret", "__pycache__", "logs", ".git"}
        assert not (folder / "experiments" / "results").exists()
        assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 10 * 2**20
        done = subprocess.run(
            [sys.executable, "-c", check], cwd=tmp_path, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(folder)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert Path(done.stdout.strip()).is_relative_to(folder)
    assert not folder.exists()


def test_what_is_installed_does_not_travel(own: Path) -> None:
    code = shipping.own_code()
    assert {"envs", "emcomm", "analysis", "experiments", "railway", "my_game_of_points.py"} <= set(code)
    for name in ("numpy", "torch", "ray", "json", "os.py", "pytest"):
        assert name not in code


def test_the_revision_travels_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node has no checkout to ask."""
    with shipping.runtime_env() as travels:
        assert (travels["env_vars"][runs.REVISION] or None) == runs.git_revision()
    monkeypatch.setenv(runs.REVISION, "abc")
    assert runs.provenance()["git"] == "abc"
    monkeypatch.setenv(runs.REVISION, "")
    assert runs.provenance()["git"] is None
