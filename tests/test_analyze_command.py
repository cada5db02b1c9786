"""`python -m emcomm.analyze` on whole and on broken logs: exit codes, a clear line each, nothing written into a run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.agents.players import play_games
from analysis.agents.policy_player import PolicyPlayer
from analysis.agents.synthetic_protocols import planted_dialogues
from analysis.data.dialogue_text import table_of
from analysis.data.runs import LoadedRun
from analysis.metrics.mutual_information import Information
from analysis.report.findings import Findings
from analysis.report.measures.decision import INFORMATION
from analysis.report.run_comparison import distinct_names
from emcomm import dialogues
from emcomm.checkpoints import Checkpoint
from emcomm.config import Config
from emcomm.dialogues import DialogueTable, DialogueWriter
from emcomm.runs import Run
from emcomm.worlds import make_policy
from envs.negotiation import TalkRules

MOVES = ("main", "detour")
Call = Callable[..., Any]


def write(folder: Path, table: DialogueTable, n_tokens: int = 5) -> None:
    writer = DialogueWriter(folder, n_tokens, MOVES)
    writer.add(table)
    writer.close()


def make_run(path: Path, table: DialogueTable) -> Path:
    write(path / "evaluation", table)
    rules = {"n_tokens": 5, "window": 1}
    (path / "config.json").write_text(
        json.dumps({"version": 1, "config": {"env": "emcomm/crossing-v0", "rules": rules}})
    )
    return path


def strict(text: str) -> Any:
    """JSON as other languages read it: NaN is no number."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


def content(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


def one_line(said: Any, *words: str) -> None:
    assert said.code == 2, said
    assert said.out == "" or said.out.startswith("analysing ")
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("emcomm: ")
    for word in words:
        assert word in said.err


@pytest.fixture(scope="module")
def vote() -> DialogueTable:
    return planted_dialogues("vote", seed=1, dialogues=1500)


# -- what cannot be analysed -------------------------------------------------------------------------------------------


def test_no_such_folder(call: Call, tmp_path: Path) -> None:
    one_line(call("analyze", tmp_path / "nowhere"), "nowhere", "no folder")


def test_an_empty_folder(call: Call, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    one_line(call("analyze", tmp_path / "logs"), "logs is empty")


def test_a_folder_without_runs(call: Call, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    one_line(call("analyze", tmp_path), "no run", "config.json")


def test_a_file(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("nothing")
    one_line(call("analyze", tmp_path / "file"), "file")


def test_the_parts_instead_of_the_run(call: Call, tmp_path: Path) -> None:
    make_run(tmp_path / "run", table_of([[(4, 2), (5, 5)]]))
    one_line(call("analyze", tmp_path / "run" / "evaluation"), "give the run folder above it")


def test_a_run_without_dialogues(call: Call, tmp_path: Path) -> None:
    (tmp_path / "run" / "dialogues").mkdir(parents=True)
    one_line(call("analyze", tmp_path / "run"), "run", "no dialogues")
    assert not (tmp_path / "run-report").exists()


def test_only_damaged_parts(call: Call, tmp_path: Path) -> None:
    (tmp_path / "run" / "dialogues").mkdir(parents=True)
    (tmp_path / "run" / "dialogues" / "part-000000.parquet").write_bytes(b"PAR1 nothing")
    one_line(call("analyze", tmp_path / "run"), "run")


def test_an_unknown_flag(call: Call, tmp_path: Path) -> None:
    assert call("analyze", tmp_path, "--fast").code == 2


# -- where the report goes ---------------------------------------------------------------------------------------------


def test_the_report_is_kept_out_of_runs(call: Call, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", table_of([[(4, 2), (5, 5)]]))
    before = content(run)
    one_line(call("analyze", run, "--out", run / "report"), "nothing is written into a run")
    assert content(run) == before


def test_only_a_report_is_replaced(call: Call, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", table_of([[(4, 2), (5, 5)]]))
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "report.html").write_text("<p>somebody's own</p>")
    one_line(call("analyze", run, "--out", theirs), "theirs", "--out")
    assert (theirs / "report.html").read_text() == "<p>somebody's own</p>"
    assert call("analyze", run, "--quick").code == 0
    assert call("analyze", run, "--quick").code == 0  # ours, so it may be made again
    assert (tmp_path / "run-report" / "report.html").is_file()


def test_a_file_in_the_way(call: Call, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", table_of([[(4, 2), (5, 5)]]))
    (tmp_path / "out").write_text("a file")
    one_line(call("analyze", run, "--out", tmp_path / "out"), "is a file")
    one_line(call("analyze", run, "--out", tmp_path / "out" / "deeper"), "out")


# -- thin data ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "table",
    [
        table_of([[(4, 2), (5, 5)]]),
        table_of([[(4, 2), (5, 5)], [(1, 1), (5, 5)]] * 50, moves=[(1, 1), (0, 0)] * 50),
        table_of([[]] * 60, moves=[(0, 1), (1, 1)] * 30),
        table_of([[(-1, 3), (5, 5)]] * 40),
    ],
    ids=["one dialogue", "only failures", "only silent games", "a cell in which nothing was said"],
)
def test_thin_data_gives_a_report(call: Call, tmp_path: Path, table: DialogueTable) -> None:
    run = make_run(tmp_path / "run", table)
    before = content(run)
    said = call("analyze", run, "--quick", "--json")
    assert said.code == 0, said.err
    found = strict(said.out)
    assert found["runs"][0]["success"]["overall"]["trials"] == len(table)
    assert found["comparison"] is None
    assert "nan" not in Path(found["report"]).read_text().lower().replace("nanosecond", "")[:20_000]
    assert content(run) == before


def test_no_checkpoint_and_no_config(call: Call, tmp_path: Path, vote: DialogueTable) -> None:
    write(tmp_path / "run" / "evaluation", vote)
    said = call("analyze", tmp_path / "run", "--quick")
    assert said.code == 0, said.err
    assert "no config.json" in said.out
    assert "The trains vote" in said.out
    assert "only describes" in said.out


@pytest.mark.parametrize(
    ("known_at", "words"),
    [([0, 5], "1 round until known (median)"), ([5, 1, 4], "2 rounds until known (median)"),
     ([5, 0], "never known for sure")],
)  # fmt: skip
def test_when_the_decision_is_known(known_at: list[int], words: str) -> None:
    bits, none = np.array([0.5]), np.zeros(1)
    information = Information(5, bits, bits, bits, none, none, np.array(known_at), (), True, "")
    line = INFORMATION.line(information, None)  # type: ignore[misc, arg-type]
    assert line == ("bits on who yields", "0.50", f"0.50 after round 1, {words}")


# -- runs of which a part is broken ------------------------------------------------------------------------------------


@pytest.fixture
def folder_of_runs(tmp_path: Path, vote: DialogueTable, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A good run; one with a truncated part, one of a newer schema and one of 7 tokens; one without dialogues."""
    logs = tmp_path / "logs"
    make_run(logs / "good", vote)
    broken = make_run(logs / "broken", vote[:600])
    write(broken / "evaluation", vote[:600])
    part = broken / "evaluation" / "part-000001.parquet"
    part.write_bytes(part.read_bytes()[:-200])
    write(logs / "other" / "evaluation", vote[:10], n_tokens=7)
    shutil.move(logs / "other" / "evaluation" / "part-000000.parquet", broken / "evaluation" / "part-000002.parquet")
    shutil.rmtree(logs / "other")
    monkeypatch.setattr(dialogues, "SCHEMA_VERSION", 99)
    write(logs / "newer" / "evaluation", vote[:10])
    monkeypatch.undo()
    shutil.move(logs / "newer" / "evaluation" / "part-000000.parquet", broken / "evaluation" / "part-000003.parquet")
    shutil.rmtree(logs / "newer")
    (logs / "hollow" / "dialogues").mkdir(parents=True)
    return logs


def test_the_rest_is_still_analysed(call: Call, folder_of_runs: Path) -> None:
    before = content(folder_of_runs)
    said = call("analyze", folder_of_runs, "--quick", "--csv", "--machines", "--corpus")
    assert said.code == 0, said.err
    notes = [line for line in said.out.splitlines() if line.startswith("note:")]
    for words in (
        ("part-000001", "damaged"),
        ("part-000002", "7 tokens"),
        ("part-000003", "newer"),
        ("hollow", "no dialogues"),
    ):
        assert sum(all(word in line for word in words) for line in notes) == 1, (words, notes)
    assert "cross-play" in said.out
    assert content(folder_of_runs) == before
    out = folder_of_runs.parent / "logs-report"
    assert (out / "tables" / "good" / "explanations.csv").read_text().startswith("method,")
    assert (out / "tables" / "crossplay.csv").is_file()
    assert (out / "machines" / "good.json").is_file()
    assert (out / "corpus" / "emcomm" / "data" / "good" / "corpus.jsonl").is_file()
    assert len((out / "corpus" / "emcomm" / "data" / "good" / "corpus.jsonl").read_text().splitlines()) == 1500


def test_a_real_run(call: Call, small_run: Path, tmp_path: Path) -> None:
    before = content(small_run)
    said = call("analyze", small_run, "--quick", "--json", "--out", tmp_path / "report")
    assert said.code == 0, said.err
    run = strict(said.out)["runs"][0]
    assert run["problems"] == []
    assert run["success"]["overall"]["trials"] == 500
    assert run["training"]["overall"]["trials"] == 3000
    assert {c["channel"] for c in run["causes"]["controls"]} >= {"open", "shuffled", "constant", "self"}
    assert run["tables"]["drift"]
    assert run["sentence"]
    assert content(small_run) == before


def test_runs_of_one_name_and_different_windows(call: Call, tmp_path: Path) -> None:
    """Both play each other, in sight of what each was trained with, and both are written."""
    for window in (1, 4):
        config = Config(rules=TalkRules(window=window, max_rounds=6), hidden_size=8)
        policy = make_policy(config)
        run = Run.create(tmp_path / "logs" / f"window{window}", "run", config)
        weights = {f"policy.{name}": value for name, value in policy.state_dict().items()}
        run.save(Checkpoint(weights, {"version": 0}))
        players = (PolicyPlayer(policy), PolicyPlayer(policy))
        write(run.path / "evaluation", play_games(players, config.rules, 100 * window))
    said = call("analyze", tmp_path / "logs", "--quick", "--corpus", "--csv")
    assert said.code == 0, said.err
    out = tmp_path / "logs-report"
    assert (out / "tables" / "crossplay.csv").read_text().splitlines()[0] == "run,1-run,2-run"
    corpora = [out / "corpus" / "emcomm" / "data" / name / "corpus.jsonl" for name in ("1-run", "2-run")]
    assert [len(corpus.read_text().splitlines()) for corpus in corpora] == [100, 400]
    for window in (1, 4):
        assert f"\nwindow {window}, 1 run: " in said.out


def test_names_stay_apart() -> None:
    runs = [Findings(LoadedRun(Path(name), None, None, [], {}), []) for name in ("a/run", "b/run", "1-run")]
    assert len(set(distinct_names(runs))) == 3
    assert distinct_names(runs[1:]) == ["run", "1-run"]


def test_only_what_was_written_is_announced(call: Call, tmp_path: Path, vote: DialogueTable) -> None:
    write(tmp_path / "run" / "dialogues", vote[:30])
    said = call("analyze", tmp_path / "run", "--quick", "--corpus", "--csv")
    assert said.code == 0, said.err
    assert "\ncorpus: nothing to write\n" in said.out
    assert f"\ntables: {tmp_path / 'run-report' / 'tables'}\n" in said.out
    assert not (tmp_path / "run-report" / "corpus").exists()


def test_a_damaged_checkpoint(call: Call, small_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(small_run, run)
    newest = sorted((run / "checkpoints").glob("*.safetensors"))[-1]
    newest.write_bytes(newest.read_bytes()[:100])
    said = call("analyze", run, "--quick")
    assert said.code == 0, said.err
    assert [line for line in said.out.splitlines() if "note:" in line and "checkpoint" in line and "damaged" in line]
