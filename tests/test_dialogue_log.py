"""The dialogue log: what goes in comes out, whole parts only, numbers without gaps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.tables import table_of
from emcomm.dialogues import (
    SCHEMA,
    DialogueTable,
    DialogueWriter,
    EpisodeCollector,
    concatenate,
    facts_of,
    from_arrow,
    iterate,
    next_episode,
    read_part,
    to_arrow,
)
from emcomm.errors import BadInput
from envs.crossing import CrossingGame
from envs.negotiation import SILENT, Negotiation, TalkRules


def played(steps: int, games: int = 8, **options: object) -> DialogueTable:
    """Whole episodes of random play."""
    rng = np.random.default_rng(3)
    negotiation = Negotiation(CrossingGame(games, rng), TalkRules(**options), rng)  # type: ignore[arg-type]
    collector = EpisodeCollector(games, worker=4)
    negotiation.reset()
    for _ in range(steps):
        mask = negotiation.mask()
        step = negotiation.step((rng.random(mask.shape) * mask).argmax(2))
        collector.add(step.dialogues, policy_version=9)
        negotiation.reset(step.over)
    table = collector.take()
    assert table is not None
    return table


def same(one: DialogueTable, other: DialogueTable) -> None:
    for name, column in one.__dict__.items():
        np.testing.assert_array_equal(column, getattr(other, name), err_msg=name)


@pytest.mark.parametrize("options", [{}, {"speaking": "sequential", "order": "round"}, {"channel": "off"}])
def test_what_goes_in_comes_out(tmp_path: Path, options: dict[str, str]) -> None:
    table = played(60, **options)
    writer = DialogueWriter(tmp_path, 5, ("main", "detour"), part_rows=10)
    writer.add(table)
    writer.add(table)
    writer.close()
    back = concatenate(iterate(tmp_path, pytest.fail))
    assert (back.episode == np.arange(2 * len(table))).all()
    same(table, DialogueTable(**{**back[: len(table)].__dict__, "episode": table.episode}))
    assert (table.worker == 4).all()
    assert (table.policy_version == 9).all()


def test_a_row_reads_as_in_the_talk(tmp_path: Path) -> None:
    """The second dialogue of the talk's table: 3 0 · 1 5 · 5 5, success."""
    rng = np.random.default_rng(0)
    negotiation = Negotiation(CrossingGame(1, rng), TalkRules(), rng)
    collector = EpisodeCollector(1, worker=0)
    negotiation.reset()
    for actions in ([3, 0], [1, 5], [5, 5], [6, 7]):
        collector.add(negotiation.step(np.array([actions])).dialogues, policy_version=0)
    writer = DialogueWriter(tmp_path, 5, ("main", "detour"))
    writer.add(collector.take())  # type: ignore[arg-type]
    writer.close()
    [part] = tmp_path.iterdir()
    assert pq.read_table(part).schema.equals(SCHEMA)
    assert pq.read_table(part).to_pylist() == [
        {
            "episode": 0, "negotiation": 0, "worker": 0, "policy_version": 0,
            "symbols": [[3, 0], [1, 5], [5, 5]], "speakers": None, "moves": [0, 1], "rewards": [1.0, 1.0],
            "outcome": "success", "cut": False, "n_rounds": 3, "private": None,
        }
    ]  # fmt: skip
    assert facts_of(part) == (2, 5, ("main", "detour"))
    assert read_part(part).n_tokens_said(5).tolist() == [[2, 1]]


def test_tokens_are_counted_per_dialogue_and_agent() -> None:
    table = table_of([[(3, SILENT), (1, 5), (5, 5)], [], [(2, 4)]])
    assert table.n_tokens_said(5).tolist() == [[2, 0], [0, 0], [1, 1]]
    assert table[1].n_tokens_said(5).tolist() == [[0, 0]]


def test_moves_of_an_older_log_are_read(tmp_path: Path) -> None:
    table = played(20)
    arrow = to_arrow(table)
    older = arrow.set_column(SCHEMA.get_field_index("moves"), "moves", arrow["moves"].cast(pa.list_(pa.int8())))
    back = from_arrow(older)
    assert back.moves.dtype == np.int16
    same(back, table)


def test_a_newer_log_says_so(tmp_path: Path) -> None:
    facts = {"schema_version": 99, "vocabulary": ["a", "b"]}
    pq.write_table(pa.table({}).replace_schema_metadata({"emcomm": json.dumps(facts)}), tmp_path / "part.parquet")
    with pytest.raises(BadInput, match="newer emcomm"):
        facts_of(tmp_path / "part.parquet")


def test_a_second_writer_goes_on_counting(tmp_path: Path) -> None:
    table = played(40)
    for first in (0, len(table), 2 * len(table)):
        assert next_episode(tmp_path) == first
        writer = DialogueWriter(tmp_path, 5, ("main", "detour"))
        assert writer.next_episode == first
        writer.add(table)
        writer.close()
    assert len(list(tmp_path.iterdir())) == 3
    assert (concatenate(iterate(tmp_path, pytest.fail)).episode == np.arange(3 * len(table))).all()


def test_a_half_written_part_is_never_seen(tmp_path: Path) -> None:
    writer = DialogueWriter(tmp_path, 5, ("main", "detour"))
    writer.add(played(20))
    writer.close()
    (tmp_path / "part-000001.tmp").write_bytes(b"PAR1 half of a part")
    assert len(list(iterate(tmp_path, pytest.fail))) == 1
    DialogueWriter(tmp_path, 5, ("main", "detour")).close()
    assert [p.name for p in tmp_path.iterdir()] == ["part-000000.parquet"]


def test_a_damaged_part_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    writer = DialogueWriter(tmp_path, 5, ("main", "detour"), part_rows=1)
    for _ in range(3):
        writer.add(played(20))
    writer.close()
    second = tmp_path / "part-000001.parquet"
    second.write_bytes(second.read_bytes()[:-20])
    problems: list[BadInput] = []
    assert len(list(iterate(tmp_path, problems.append))) == 2
    [problem] = problems
    assert "part-000001.parquet" in str(problem)


def test_episodes_of_several_negotiations_stay_together() -> None:
    """Two games; the first has three decisions, the second one: its two episodes end before the first's."""
    from envs.negotiation import Dialogues

    collector = EpisodeCollector(2, worker=0)

    def decided(games: list[int], last: list[bool]) -> Dialogues:
        count = len(games)
        return Dialogues(
            np.array(games), np.ones(count, np.int64), np.array([[g, g] for g in games], np.int8),
            np.zeros((0, 2), np.int8), np.zeros((count, 2), np.int8), np.zeros((count, 2), np.float32),
            np.ones(count, np.bool_), np.zeros(count, np.bool_), np.zeros((count, 2, 0), np.float32), np.array(last),
        )  # fmt: skip

    collector.add(decided([0, 1], [False, True]), 0)
    first = collector.take()
    assert first is not None
    assert (first.episode.tolist(), first.symbols[:, 0].tolist()) == ([0], [1])
    assert collector.take() is None
    collector.add(decided([0, 1], [False, True]), 1)
    collector.add(decided([0], [True]), 2)
    second = collector.take()
    assert second is not None
    assert second.episode.tolist() == [1, 1, 0, 1]
    assert second.negotiation.tolist() == [0, 1, 0, 2]
    assert second.symbols[:, 0].tolist() == [0, 0, 1, 0]
    assert second.policy_version.tolist() == [0, 1, 1, 2]
