"""The corpus in the layout of ELCC, and CSV."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.data.dialogue_text import table_of
from analysis.data.export import write_corpus
from emcomm.config import Config
from emcomm.dialogues import DialogueTable, DialogueWriter
from emcomm.errors import BadInput
from envs.game import Declaration


@pytest.fixture
def run(tmp_path: Path) -> analysis.LoadedRun:
    writer = DialogueWriter(tmp_path / "run" / "evaluation", 5, ("main", "detour"))
    writer.add(table_of([[(4, 2), (5, 5)], [(3, -1), (1, 5), (5, 5)], []], moves=[(1, 0), (0, 0), (0, 1)]))
    writer.close()
    return analysis.load(tmp_path / "run")


def test_a_corpus_as_elcc_keeps_it(run: analysis.LoadedRun, tmp_path: Path) -> None:
    target = analysis.export_corpus(replace(run, settings={"env": Config.env}), tmp_path / "elcc")
    assert target == tmp_path / "elcc" / "emcomm" / "data" / "run"
    lines = (target / "corpus.jsonl").read_text().splitlines()
    assert lines == ["[4, 2, 5, 5]", "[3, 1, 5, 5, 5]", "[]"]
    structured = [json.loads(line) for line in (target / "corpus.structured.jsonl").read_text().splitlines()]
    assert structured[1] == {"rounds": [[3, -1], [1, 5], [5, 5]], "moves": [0, 0], "success": False, "cut": False}
    facts = json.loads((target / "metadata.json").read_text())
    assert (facts["dialogues"], facts["symbols"], facts["eot"]) == (3, 9, 5)
    system = (tmp_path / "elcc" / "emcomm" / "metadata.yml").read_text()
    assert 'system:\n  game_type: "negotiation"\n' in system
    assert "  symmetric_agents: true\n" in system


def test_another_game_says_nothing_of_the_crossing(run: analysis.LoadedRun, tmp_path: Path) -> None:
    roles = Declaration(
        ("ann", "bob", "eve"), ("main", "detour"), ("sender", "receiver"), (0, 1, 1), tokens=(5, 5, 5)
    )  # fmt: skip
    assert run.facts is not None
    settings = {"env": "emcomm/signalling-v1", "rules": {"max_rounds": 1}}
    other = replace(run, settings=settings, facts=run.facts._replace(game=roles))
    analysis.export_corpus(replace(run, settings={"env": Config.env}), tmp_path / "elcc")
    target = analysis.export_corpus(other, tmp_path / "elcc")
    assert target == tmp_path / "elcc" / "emcomm-signalling-v1" / "data" / "run"
    about = (tmp_path / "elcc" / "emcomm-signalling-v1" / "metadata.yml").read_text()
    assert about == (
        'system:\n  game_title: "emcomm/signalling-v1"\n  data_source: "synthetic"\n  symmetric_agents: false\n'
        "  more_than_2_agents: true\n  multi_utterance: false\n"
    )
    assert "arxiv" in (tmp_path / "elcc" / "emcomm" / "metadata.yml").read_text()


@pytest.mark.parametrize("name", ["..", "../../evil", "/etc", ".", None])
def test_a_game_of_any_name_stays_in_the_folder(run: analysis.LoadedRun, tmp_path: Path, name: str | None) -> None:
    settings = {"env": name} if name else {}
    target = analysis.export_corpus(replace(run, settings=settings), tmp_path / "elcc")
    assert target.resolve().parent.parent.parent == (tmp_path / "elcc").resolve()


def test_the_order_of_speaking_is_the_order_of_the_corpus() -> None:
    table = table_of([[(1, 2), (3, 4)]])
    turned = DialogueTable(**{**table.__dict__, "speakers": np.array([[1, 0], [0, 1]], np.int8)})
    flat = io.StringIO()
    write_corpus([turned], flat, io.StringIO())
    assert json.loads(flat.getvalue()) == [2, 1, 3, 4]


def test_nothing_is_written_into_the_runs_own_data(run: analysis.LoadedRun) -> None:
    for own in ("evaluation", "dialogues", "checkpoints/deeper"):
        with pytest.raises(BadInput, match="the run's own data"):
            analysis.export_corpus(run, run.path / own)


def test_a_log_without_dialogues_is_no_corpus(run: analysis.LoadedRun, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no dialogues in dialogues/"):
        analysis.export_corpus(run, tmp_path / "elcc", log="dialogues")
    with pytest.raises(BadInput, match="must be one of"):
        analysis.export_corpus(run, tmp_path / "elcc", log="letters")
    assert not (tmp_path / "elcc").exists()


def test_tables_as_csv(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, float("nan")]})
    written = analysis.write_tables(tmp_path / "csv", {"first": frame, "second": frame})
    assert [path.name for path in written] == ["first.csv", "second.csv"]
    assert written[0].read_text() == "a,b\n1,0.5\n2,\n"
    with pytest.raises(BadInput, match="file name"):
        analysis.write_tables(tmp_path, {"../first": frame})
