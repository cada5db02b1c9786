"""The dialogue log: what goes in comes out, whole parts only, numbers without gaps."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import analysis
from analysis.data.dialogue_text import table_of
from emcomm.dialogues import (
    SCHEMA,
    DialogueTable,
    DialogueWriter,
    EpisodeCollector,
    concatenate,
    facts_of,
    from_arrow,
    next_episode,
    parts_of,
    read_part,
    to_arrow,
)
from emcomm.errors import BadInput
from envs.crossing import CrossingGame
from envs.negotiation import SILENT, Dialogues, Negotiation, TalkRules


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
    back = concatenate([read_part(part) for part in parts_of(tmp_path)])
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
            "score": None, "players": None, "features": None, "legal": None, "speaks": None, "columns": None,
            "heard": None,
        }
    ]  # fmt: skip
    assert facts_of(part) == (4, 5, ("main", "detour"), None)
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
    assert (concatenate([read_part(part) for part in parts_of(tmp_path)]).episode == np.arange(3 * len(table))).all()


def test_a_half_written_part_is_never_seen(tmp_path: Path) -> None:
    writer = DialogueWriter(tmp_path, 5, ("main", "detour"))
    writer.add(played(20))
    writer.close()
    (tmp_path / "part-000001.tmp").write_bytes(b"PAR1 half of a part")
    assert len(parts_of(tmp_path)) == 1
    DialogueWriter(tmp_path, 5, ("main", "detour")).close()
    assert [p.name for p in tmp_path.iterdir()] == ["part-000000.parquet"]


def test_a_damaged_part_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    writer = DialogueWriter(tmp_path / "dialogues", 5, ("main", "detour"), part_rows=1)
    for _ in range(3):
        writer.add(played(20))
    writer.close()
    second = tmp_path / "dialogues" / "part-000001.parquet"
    second.write_bytes(second.read_bytes()[:-20])
    run = analysis.load(tmp_path)
    assert len(list(run.training())) == 2
    assert any("part-000001.parquet" in problem for problem in run.problems)


def decided(games: list[int], last: list[bool]) -> Dialogues:
    """What a step brings in which these games made their moves after one round, in which they said their number."""
    count = len(games)
    return Dialogues(
        np.array(games), np.ones(count, np.int64), np.array([[g, g] for g in games], np.int8),
        np.zeros((0, 2), np.int8), np.zeros((count, 2), np.int8), np.zeros((count, 2), np.float32),
        np.ones(count, np.bool_), np.zeros(count, np.bool_), np.zeros((count, 2, 0), np.float32), np.array(last),
    )  # fmt: skip


def test_episodes_of_several_negotiations_stay_together() -> None:
    """Two games; the first has three decisions, the second one: its two episodes end before the first's."""
    collector = EpisodeCollector(2, worker=0)
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


def test_only_the_first_episodes_to_start_are_kept() -> None:
    """Game 0 thinks for long; game 1 ends the episodes 1, 2 and 3 meanwhile, of which 3 is one too many."""
    collector = EpisodeCollector(2, worker=0, limit=3)
    for _ in range(3):
        collector.add(decided([1], [True]), 0)
        assert collector.complete is False
    collector.add(decided([0], [True]), 0)
    assert collector.complete is True
    collector.add(decided([0, 1], [True, True]), 0)  # play goes on after it
    table = collector.take()
    assert table is not None
    assert table.episode.tolist() == [0, 1, 2]  # in the order in which they ended
    assert table.symbols.tolist() == [[1, 1], [1, 1], [0, 0]]


def test_episodes_that_end_together_are_all_counted() -> None:
    collector = EpisodeCollector(2, worker=0, limit=2)
    collector.add(decided([0, 1], [True, True]), 0)
    assert collector.complete is True


def test_without_a_limit_there_is_always_more_to_come() -> None:
    collector = EpisodeCollector(1, worker=0)
    assert collector.complete is False
    collector.add(decided([0], [True]), 0)
    assert collector.complete is False


def test_what_was_taken_is_forgotten() -> None:
    """Memory does not grow with the log: whatever was played, nothing waits but the episode in progress."""
    sizes = []
    collector = EpisodeCollector(2, worker=0)
    for _ in range(4):
        collector.add(decided([0, 1], [True, True]), 0)
        assert collector.take() is not None
        collector.add(decided([0, 1], [False, True]), 0)
        assert collector.take() is not None
        sizes.append(len(pickle.dumps(collector)))
        collector.add(decided([0], [True]), 0)
        assert collector.take() is not None
    assert max(sizes) - min(sizes) < 20


def test_one_dialogue_of_a_table_is_a_table() -> None:
    table = table_of([[(1, 2), (5, 5)], [(3, 4)], []], moves=[(1, 0), (0, 1), (1, 1)])
    for which in (1, np.int64(1), [1], slice(1, 2), np.array([False, True, False])):
        one = table[which]  # type: ignore[index]
        assert len(one) == 1
        assert one.symbols.tolist() == [[3, 4]]
        assert one.moves.tolist() == [[0, 1]]
        assert one.episode.tolist() == [1]


def test_a_choice_of_dialogues_keeps_its_order_and_who_spoke() -> None:
    table = table_of([[(1, 2), (5, 5)], [], [(3, 4)]])
    table = DialogueTable(**{**table.__dict__, "speakers": np.array([[0, 1], [1, 0], [1, 0]], np.int8)})
    chosen = table[np.array([2, 0])]
    assert chosen.symbols.tolist() == [[3, 4], [1, 2], [5, 5]]
    assert chosen.speakers.tolist() == [[1, 0], [0, 1], [1, 0]]


def test_a_table_may_be_padded_or_cut_to_any_number_of_rounds() -> None:
    table = table_of([[(1, 2), (3, 4), (5, 5)], [], [(0, SILENT)]])
    assert table.padded(2).tolist() == [[[1, 2], [3, 4]], [[-1, -1], [-1, -1]], [[0, -1], [-1, -1]]]
    longer = table.padded(4)
    assert longer.dtype == np.int8
    assert longer[0].tolist() == [[1, 2], [3, 4], [5, 5], [-1, -1]]
    assert longer[2].tolist() == [[0, -1], [-1, -1], [-1, -1], [-1, -1]]


def test_dialogues_are_drawn_from_the_whole_log_each_once_and_in_order() -> None:
    table = table_of([[]] * 1000)
    drawn = table.drawn(400, np.random.default_rng(0)).episode
    assert len(drawn) == 400
    assert (np.diff(drawn) > 0).all()
    assert 150 < (drawn < 500).sum() < 250
    assert table.drawn(1000, np.random.default_rng(0)).episode.tolist() == list(range(1000))
    assert len(table.drawn(1001, np.random.default_rng(0))) == 1000


def test_what_only_an_agent_knew_comes_back() -> None:
    """Two dialogues of three agents with two private features each, the second without talk."""
    table = table_of([[(1, 2, 3), (5, 5, 5)], []], moves=[(2, 0, 1), (0, 0, -1)], cut=[True, False])
    private = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    table = DialogueTable(**{**table.__dict__, "private": private})
    arrow = to_arrow(table)
    assert arrow.schema.equals(SCHEMA)
    first, second = arrow.to_pylist()
    assert first["private"] == [[0, 1], [2, 3], [4, 5]]
    assert second["private"] == [[6, 7], [8, 9], [10, 11]]
    assert (first["symbols"], second["symbols"]) == ([[1, 2, 3], [5, 5, 5]], [])
    assert (first["moves"], second["moves"]) == ([2, 0, 1], [0, 0, -1])
    back = from_arrow(arrow)
    assert {type(column) for column in back.__dict__.values()} == {np.ndarray}
    assert back.private.tolist() == private.tolist()
    assert back.cut.tolist() == [True, False]
    same(back, table)


def test_a_log_without_dialogues_is_read_as_an_empty_table() -> None:
    back = from_arrow(to_arrow(table_of([])))
    assert len(back) == 0
    assert back.symbols.shape == back.moves.shape == back.rewards.shape == (0, 2)
    assert back.private.shape == (0, 2, 0)
