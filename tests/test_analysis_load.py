"""A run on disk, whole or damaged, as the analysis meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import analysis
from analysis.data.dialogue_text import table_of
from analysis.metrics.success import SuccessTally
from analysis.metrics.token_statistics import TokenTally
from emcomm import dialogues
from emcomm.dialogues import DialogueTable, DialogueWriter
from emcomm.errors import BadInput

DIALOGUE = [(4, 2), (5, 5)]
MOVES = ("main", "detour")


def write(folder: Path, table: DialogueTable, n_tokens: int = 5, part_rows: int = 131_072, times: int = 1) -> None:
    writer = DialogueWriter(folder, n_tokens, MOVES, part_rows)
    for _ in range(times):
        writer.add(table)
    writer.close()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of three parts of training, 4 dialogues each, and 4 dialogues of evaluation."""
    path = tmp_path / "run"
    write(path / "dialogues", table_of([DIALOGUE] * 4), part_rows=4, times=3)
    write(path / "evaluation", table_of([DIALOGUE] * 4))
    (path / "config.json").write_text(json.dumps({"version": 1, "config": {"rules": {"n_tokens": 5}}}))
    return path


def lengths(tables: object) -> list[int]:
    return [len(table) for table in tables]  # type: ignore[attr-defined]


def figures(run: analysis.LoadedRun) -> tuple[int, int]:
    """Dialogues and successes of training, through both tallies."""
    success, tokens = SuccessTally(), TokenTally(5, MOVES)
    for table in run.training():
        success.add(table)
        tokens.add(table)
    assert tokens.result().dialogues.dialogues == success.result().overall.trials
    return success.result().overall.trials, success.result().overall.successes


def test_a_whole_run(run: Path) -> None:
    loaded = analysis.load(run)
    assert loaded.name == "run"
    assert loaded.facts == (4, 5, MOVES, None)
    added_since = {
        "policies": "shared", "algorithm": "a3c", "move_entropy_floor": 0.0, "game_options": {},
        "token_gradient": False, "token_entropy": 1.0,
    }  # fmt: skip
    assert loaded.settings == {"rules": {"n_tokens": 5, "closing": "mutual"}, **added_since}
    assert lengths(loaded.training()) == [4, 4, 4]
    assert lengths(loaded.evaluation()) == [4]
    assert (loaded.count(), loaded.count("evaluation")) == (12, 4)
    assert loaded.problems == []


def test_importing_the_analysis_needs_neither_torch_nor_ray() -> None:
    code = "import sys, analysis; print('torch' in sys.modules, 'ray' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]


def test_nothing_is_written(run: Path) -> None:
    def state() -> dict[str, tuple[int, int]]:
        return {str(p): (p.stat().st_mtime_ns, p.stat().st_size if p.is_file() else 0) for p in run.rglob("*")}

    before = state()
    loaded = analysis.load(run)
    figures(loaded)
    loaded.sample(3)
    loaded.checkpoint()
    assert state() == before


def test_no_config_is_noted_and_the_dialogues_are_still_read(run: Path) -> None:
    (run / "config.json").unlink()
    loaded = analysis.load(run)
    assert loaded.settings is None
    assert loaded.problems == [f"{run} has no config.json"]
    assert figures(loaded) == (12, 12)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"config": 3}', "\x00"])
def test_a_damaged_config_is_noted(run: Path, text: str) -> None:
    (run / "config.json").write_text(text)
    loaded = analysis.load(run)
    assert loaded.settings is None
    assert len(loaded.problems) == 1
    assert "config.json is damaged" in loaded.problems[0]


@pytest.mark.parametrize("keep", [0, 3, 100, 0.5, 0.9])
def test_a_truncated_part_is_passed_over(run: Path, keep: float) -> None:
    part = run / "dialogues" / "part-000001.parquet"
    whole = part.read_bytes()
    part.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else int(keep)])
    loaded = analysis.load(run)
    assert figures(loaded) == (8, 8)
    assert len(loaded.problems) == 1
    assert "part-000001.parquet is damaged" in loaded.problems[0]
    assert "\n" not in loaded.problems[0]


def test_every_damage_inside_a_part_is_survived(run: Path) -> None:
    part = run / "dialogues" / "part-000001.parquet"
    whole = part.read_bytes()
    for at in range(0, len(whole), 97):
        part.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        dialogues_read, _ = figures(analysis.load(run))
        assert dialogues_read >= 8


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("n_rounds", [2, 2, 2, 9], "n_rounds and symbols do not agree"),
        ("symbols", [[[6, 2], [5, 5]]] * 4, "symbols outside 0 to 5"),
        ("symbols", [[[-2, 2], [5, 5]]] * 4, "symbols outside 0 to 5"),
        ("moves", [[0, 2]] * 4, "moves outside 0 to 1"),
        ("episode", [0, None, 2, 3], "is damaged"),
        ("cut", [True, None, False, False], "empty cells"),
    ],
)
def test_columns_that_contradict_each_other(run: Path, column: str, value: list[object], says: str) -> None:
    part = run / "dialogues" / "part-000001.parquet"
    table = pq.read_table(part)
    position = table.schema.get_field_index(column)
    field = table.schema.field(position)
    pq.write_table(table.set_column(position, field, dialogues.pa.array(value, field.type)), part)
    loaded = analysis.load(run)
    assert figures(loaded) == (8, 8)
    assert len(loaded.problems) == 1
    assert says in loaded.problems[0]


def test_a_newer_schema_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(dialogues, "SCHEMA_VERSION", 99)
        write(run / "dialogues", table_of([DIALOGUE] * 2))
    loaded = analysis.load(run)
    assert figures(loaded) == (12, 12)
    assert len(loaded.problems) == 1
    assert "newer emcomm (schema 99" in loaded.problems[0]


def test_parts_with_another_number_of_tokens_are_passed_over(run: Path) -> None:
    write(run / "dialogues", table_of([[(8, 1), (9, 9)]] * 2), n_tokens=9)
    loaded = analysis.load(run)
    assert loaded.facts is not None
    assert loaded.facts.n_tokens == 5
    assert figures(loaded) == (12, 12)
    assert len(loaded.problems) == 1
    assert "has 9 tokens" in loaded.problems[0]


def test_parts_with_another_number_of_agents_are_passed_over(run: Path) -> None:
    write(run / "dialogues", table_of([[(1, 2, 3), (5, 5, 5)]] * 2))
    loaded = analysis.load(run)
    assert figures(loaded) == (12, 12)
    assert loaded.problems == [
        f"{run / 'dialogues' / 'part-000003.parquet'} has 3 agents, the dialogues before it 2; passed over"
    ]


def test_the_configuration_decides_between_two_parts(tmp_path: Path) -> None:
    write(tmp_path / "dialogues", table_of([DIALOGUE]), n_tokens=5)
    write(tmp_path / "dialogues", table_of([[(7, 7)]]), n_tokens=7)
    (tmp_path / "config.json").write_text('{"config": {"rules": {"n_tokens": 7}}}')
    loaded = analysis.load(tmp_path)
    assert loaded.facts is not None
    assert loaded.facts.n_tokens == 7


@pytest.mark.parametrize("emptied", ["parts", "folder", "rows"])
def test_a_run_without_dialogues(run: Path, emptied: str) -> None:
    for part in run.rglob("part-*.parquet"):
        part.unlink()
    if emptied == "rows":
        write(run / "dialogues", table_of([DIALOGUE]))
        part = run / "dialogues" / "part-000000.parquet"
        pq.write_table(pq.read_table(part)[:0], part)
    if emptied == "folder":
        (run / "dialogues").rmdir()
    loaded = analysis.load(run)
    assert figures(loaded) == (0, 0)
    assert loaded.sample(10) is None
    assert any("holds no dialogues" in problem for problem in loaded.problems)


def test_what_is_no_run_is_said(tmp_path: Path, run: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("nothing")
    for path, says in [
        (tmp_path / "missing", "there is no"),
        (tmp_path / "empty", "is empty"),
        (tmp_path / "other", "there is no run in"),
        (run / "dialogues", "give the run folder above it"),
    ]:
        for refuse in (analysis.load, analysis.find_runs):
            with pytest.raises(BadInput, match=says):
                refuse(path)


def test_runs_are_found_at_and_below_a_folder(tmp_path: Path, run: Path) -> None:
    second = tmp_path / "deeper" / "second"
    write(second / "evaluation", table_of([DIALOGUE]))
    (tmp_path / ".hidden" / "dialogues").mkdir(parents=True)
    assert analysis.find_runs(tmp_path) == [second, run]
    assert analysis.find_runs(run) == [run]


def test_a_sample_is_drawn_evenly_from_the_evaluation(tmp_path: Path) -> None:
    write(tmp_path / "evaluation", table_of([DIALOGUE] * 500), part_rows=500, times=4)
    sample = analysis.load(tmp_path).sample(400)
    assert sample is not None
    assert len(set(sample.episode.tolist())) == 400
    assert (np.diff(sample.episode) > 0).all()
    quarters = np.bincount(sample.episode // 500)  # 100 expected, standard deviation 7.75
    assert (abs(quarters - 100) < 4 * 7.75).all()


def test_the_last_readable_part_of_training_stands_in(run: Path) -> None:
    (run / "evaluation" / "part-000000.parquet").unlink()
    (run / "dialogues" / "part-000002.parquet").write_bytes(b"")
    loaded = analysis.load(run)
    sample = loaded.sample(2)
    assert sample is not None
    assert len(sample) == 2
    assert sample.episode.min() >= 4
    assert sample.episode.max() < 8
    assert "has no evaluation: the last part of training stands in" in loaded.problems[-1]


def test_a_missing_or_damaged_checkpoint_is_one_line(tmp_path: Path) -> None:
    from emcomm.checkpoints import Checkpoint
    from emcomm.config import Config
    from emcomm.runs import Run
    from emcomm.worlds import make_policy

    config = Config(hidden_size=8)
    made = Run.create(tmp_path, "run", config)
    loaded = analysis.load(made.path)
    assert loaded.checkpoint() is None
    assert "has no checkpoint" in loaded.problems[-1]
    weights = {f"policy.{name}": value for name, value in make_policy(config).state_dict().items()}
    made.save(Checkpoint(weights, {"version": 7}))
    found = loaded.checkpoint()
    assert found is not None
    assert found.version == 7
    assert not found.policy.training
    made.checkpoints()[-1].write_bytes(b"torn")
    assert loaded.checkpoint() is None
    assert "damaged" in loaded.problems[-1]
    assert "\n" not in loaded.problems[-1]
