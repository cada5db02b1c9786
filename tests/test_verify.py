"""Is a run whole? `python -m emcomm.verify` and what the other commands make of one that is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from emcomm.dialogues import DialogueWriter, end_of, read_part
from emcomm.verification import check_log, check_run

Damage = Callable[[Path], object]


@pytest.fixture
def run(small_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_run, tmp_path / "run"))


def parts(run: Path) -> list[Path]:
    return sorted((run / "dialogues").glob("part-*"))


def test_a_whole_run(run, call) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = call("verify", run)
    assert (done.code, done.err) == (0, "")
    assert "3,000 dialogues of 3,000 episodes" in " ".join(done.out.replace("│", " ").split())
    assert "it follows the log exactly" in done.out
    assert "it fits log and evaluation" in done.out
    assert done.out.endswith("run is whole\n")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def in_the_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def another_log(run: Path) -> None:
    """The same parts, written again: whole in themselves, with other checksums."""
    tables = [read_part(part) for part in parts(run)]
    shutil.rmtree(run / "dialogues")
    writer = DialogueWriter(run / "dialogues", 5, ("main", "detour"))
    for table in reversed(tables):
        writer.add(table[: len(table) // 2])
    writer.close()


def change(name: str, **entries: object) -> Damage:
    def damage(run: Path) -> None:
        saved = json.loads((run / name).read_text())
        (run / name).write_text(json.dumps({**saved, **entries}))

    return damage


DAMAGES: dict[str, tuple[Damage, str]] = {
    "a bit of a part": (lambda run: in_the_middle(parts(run)[0]), "part-000000.parquet is damaged"),
    "a bit of the evaluation": (
        lambda run: in_the_middle(run / "evaluation" / "part-000000.parquet"), "part-000000.parquet is damaged",
    ),
    "a bit of a checkpoint": (
        lambda run: in_the_middle(sorted((run / "checkpoints").iterdir())[-1]), ".safetensors is damaged",
    ),
    "no part": (lambda run: parts(run)[-1].unlink(), "the newest checkpoint follows 3,000 episodes"),
    "another log": (another_log, "the newest checkpoint follows 3,000 episodes"),
    "no checkpoint": (lambda run: shutil.rmtree(run / "checkpoints"), "has no checkpoint"),
    "another summary": (change("summary.json", episodes=2999), "the summary counts 2,999 episodes, the log 3,000"),
    "another policy": (change("summary.json", updates=1), "was played by other weights than the last ones"),
    "a false resume": (
        change("config.json", resumes=[{"episode": 17, "changed": {}}]), "resume 1 went on after episode 17",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_a_run_that_is_not_whole(run, call, name) -> None:
    damage, message = DAMAGES[name]
    damage(run)
    done = call("verify", run)
    assert done.code == 1
    assert message in done.out
    assert "run is not whole: " in done.out
    assert done.err == ""


def test_a_resume_that_a_later_one_has_undone_is_no_fault(run) -> None:
    """Its checkpoint fitted no more, as after a power cut: the later one went on from an earlier episode."""
    change("config.json", resumes=[{"episode": 17, "changed": {}}, {"episode": 0, "changed": {}}])(run)
    assert not check_run(run).problems


def test_every_part_names_the_one_before_it(tmp_path, small_run) -> None:
    """A part in the middle that was written anew is seen, and one that is missing."""
    table = read_part(parts(small_run)[0])[:10]

    def write(folder: Path, seed: int) -> list[Path]:
        writer = DialogueWriter(folder, 5, ("main", "detour"), part_rows=1)
        for k in range(3):
            writer.add(table if k != 1 else table[seed : seed + 10])
        writer.close()
        assert end_of(folder).parts == 3
        return sorted(folder.iterdir())

    first, second = write(tmp_path / "a", 0), write(tmp_path / "b", 0)
    assert not check_log(tmp_path / "a").problems
    shutil.copy(second[2], first[0])
    [problem] = check_log(tmp_path / "a").problems[:1]
    assert problem.endswith("part-000000.parquet does not follow the part before it: one of the two was changed")
    second[1].unlink()
    assert check_log(tmp_path / "b").problems == [f"{second[1]} is missing"]


def test_the_analysis_checks_the_log_first(run, call) -> None:
    another_log(run)
    shutil.copy(parts(run)[0], run / "dialogues" / "part-000001.parquet")
    done = call("analyze", run, "--quick", "--out", run.parent / "report")
    assert done.code == 0
    assert "part-000001.parquet does not follow the part before it" in done.out.replace("\n", "")


def test_what_is_no_run_is_one_line(call, tmp_path) -> None:
    for wrong, message in ((tmp_path, "it has no config.json"), (tmp_path / "x", "there is no run folder")):
        done = call("verify", wrong)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert message in done.err


def test_a_run_that_was_killed_and_not_resumed_says_so(run) -> None:
    (run / "summary.json").unlink()
    shutil.rmtree(run / "evaluation")
    for later in sorted((run / "checkpoints").iterdir())[1:]:
        later.unlink()
    found = check_run(run)
    assert not found.problems
    assert any("3,000 dialogues lie behind the newest checkpoint" in note for note in found.notes)
