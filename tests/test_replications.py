"""The replications: one file each, their verdicts, and what is committed of them."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

import experiments.replications
from analysis.agents.urn_learners import UrnLearners
from emcomm.algorithms.reinforce import reinforce
from emcomm.cluster import start_ray
from emcomm.config import Config
from emcomm.errors import BadInput
from emcomm.networks.policy import Policy
from emcomm.networks.torsos import Sizes
from emcomm.rollout import Rollout
from emcomm.worlds import make_algorithm, make_negotiation, make_policy
from envs.negotiation import Observation
from envs.task_and_talk import TaskAndTalkGame
from experiments.__main__ import result_of
from experiments.experiment import Results
from experiments.replication import Paper, Published, Verdict
from experiments.replications import kottur_2017
from experiments.replications.__main__ import main, names, replication, section
from experiments.replications.kottur_2017 import (
    LOOK,
    MEMORYLESS,
    OVERCOMPLETE,
    VALUES,
    Forgetful,
    Likeliest,
    at_the_stop,
    likeliest,
)
from experiments.running import RESULTS, RunOptions, jobs, run

FOLDER = Path(experiments.replications.__path__[0])
COMMITTED = [name for name in names() if result_of(f"replications/{name}")]


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    with start_ray() as cluster:
        yield cluster.ray


def test_a_replication_is_one_file_and_no_list_names_it() -> None:
    files = {path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("__")}
    assert set(names()) == files
    for text in (FOLDER / "__init__.py", FOLDER / "__main__.py", FOLDER.parent / "replication.py"):
        assert not any(name in text.read_text() for name in files)


@pytest.mark.parametrize("name", names())
def test_it_says_what_is_replicated(name: str) -> None:
    found = replication(name)
    assert str(found.paper.year) in name
    assert found.seeds >= 5
    assert found.published
    for figure in found.published:
        assert figure.place
        assert callable(figure.ours) or figure.condition in found.conditions


def test_published_figures_stand_beside_ours() -> None:
    rows = pd.DataFrame({"condition": ["a"] * 5 + ["b"] * 5, "success": [0.8, 0.82, 0.81, 0.8, 0.82, *[0.1] * 5]})
    results = Results(rows, {}, False)
    assert Published("a", "success", "80 %", "Table 1", "success").beside(results) == "81.0 % [79.8, 82.2]"
    assert Published("b", "lengths", "–", "claim only", lambda r: f"{len(r.rows)} runs").beside(results) == "10 runs"
    assert str(Paper("A et al.", 2020, "On B", "https://c.org")) == "A et al. 2020, [On B](https://c.org)"


def test_the_list_and_unknown_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["replications", "--log-dir", str(tmp_path)])
    monkeypatch.setenv("COLUMNS", "200")
    assert main() == 0
    said = capsys.readouterr().out
    assert all(name in said for name in names())
    with pytest.raises(BadInput, match=r"there is no replication 'barrett': give one of .*barrett_2006"):
        replication("barrett")


def test_a_quick_version_makes_everything_but_evidence(ray: None, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime for path in RESULTS.rglob("*")}
    with Path(os.devnull).open("w") as nowhere:
        console = Console(file=nowhere, record=True, width=200)
        assert run("replications.barrett_2006", RunOptions(quick=True, log_dir=tmp_path), console) == 0
    assert "no evidence" in console.export_text()
    folder = tmp_path / "quick" / "replications" / "barrett_2006"
    result = json.loads((folder / "result.json").read_text())
    assert result["quick"] is True
    assert result["verdict"] in get_args(get_type_hints(Verdict)["word"])
    assert len(result["published"]) == len(replication("barrett_2006").published)
    assert len(pd.read_csv(folder / "simulated.csv")) == len(replication("barrett_2006").simulations)
    assert "Verdict: **" in (folder / "README.md").read_text()
    assert before == {path: path.stat().st_mtime for path in RESULTS.rglob("*")}


# -- verdicts of planted results ---------------------------------------------------------------------------------------


def planted_results(columns: dict[str, dict[str, float]], noise: float = 1e-3) -> Results:
    """Five seeds, alike but for a little noise: condition -> column -> value."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "condition": condition,
            "seed": s,
            "episodes": 12_000,
            **{c: v + rng.normal() * noise for c, v in values.items()},
        }
        for condition, values in columns.items()
        for s in range(5)
    ]
    return Results(pd.DataFrame(rows), {}, False)


def planted(columns: dict[str, dict[str, float]], name: str) -> str:
    """The verdict on five such seeds."""
    return replication(name).judge(planted_results(columns)).word


TABLE_1 = (0.256, 0.385, 0.744), (0.795, 0.884, 0.949)


def vocabularies(both: tuple, one: tuple) -> dict[str, dict[str, float]]:
    """Planted shares of the three vocabularies on unseen objects."""
    names = replication("kottur_2017").conditions
    return {
        name: {"seen_both": 1.0, "stop_both": two, "stop_one": least}
        for name, two, least in zip(names, both, one, strict=True)
    }


@pytest.mark.parametrize(
    ("both", "one", "verdict", "says"),
    [
        (*TABLE_1, "reproduced", "All six shares"),
        ((0.36, 0.3, 0.7), TABLE_1[1], "partly", "many words generalise better, unlike"),
        ((0.05, 0.1, 0.99), (0.5, 0.6, 0.99), "partly", "at least one right, overcomplete"),
        (TABLE_1[0], (0.795, 0.7, 0.949), "partly", "Table 1: at least one right, attribute-value"),
        ((0.256, 0.73, 0.744), TABLE_1[1], "not", "is not beyond chance"),
        ((0.74, 0.38, 0.26), (0.95, 0.88, 0.8), "not", "is not beyond chance"),
    ],
)
def test_few_words_must_generalise_better(both: tuple, one: tuple, verdict: str, says: str) -> None:
    found = replication("kottur_2017").judge(planted_results(vocabularies(both, one), 0.02))
    assert found.word == verdict
    assert says in found.reason


def test_what_seeds_leave_open_is_not_reproduced() -> None:
    """The shares of Table 1 in the mean of seeds that differ by more: near, and not ahead beyond chance."""
    rows = planted_results(vocabularies(*TABLE_1), 0.01).rows
    rows.loc[rows.condition == MEMORYLESS, "stop_both"] = [0.1, 1.0, 0.8, 0.9, 0.92]
    found = replication("kottur_2017").judge(Results(rows, {}, False))
    assert found.word == "partly"
    assert "is not beyond chance. All six shares" in found.reason
    rows.loc[rows.condition == VALUES, "stop_both"] = [0.0, 0.6, 0.4, 0.5, 0.45]  # seed by seed they are 0.4 ahead
    rows.loc[rows.condition == OVERCOMPLETE, "stop_both"] = [0.0, 0.4, 0.3, 0.3, 0.28]
    assert replication("kottur_2017").judge(Results(rows, {}, False)).word == "reproduced"


@pytest.mark.parametrize(("lost", "verdict"), [(1, "reproduced"), (2, "reproduced"), (3, "not"), (5, "not")])
def test_seeds_that_have_not_learned_are_said(lost: int, verdict: str) -> None:
    rows = planted_results(vocabularies(*TABLE_1), 0.01).rows
    rows.loc[rows.index[rows.condition == MEMORYLESS][:lost], ["stop_both", "stop_one"]] = None
    found = replication("kottur_2017").judge(Results(rows, {}, False))
    assert found.word == verdict
    assert f"learned by only {5 - lost} of 5 seeds with memoryless A (3, 4); the paper" in found.reason


@pytest.mark.parametrize(
    ("both", "answer"),
    [
        (TABLE_1[0], "few words and no memory make it generalise"),
        ((np.nan, 0.3, 0.2), "Not decided"),
        ((0.51, 0.51, 0.5), "few words without memory do not generalise better"),
        ((0.3, 0.5, 0.512), "not of both others beyond chance"),
    ],
)
def test_the_answer_is_that_of_the_figures(both: tuple, answer: str) -> None:
    columns = vocabularies(both, TABLE_1[1])
    others = {"unseen_both": 0.3, "unseen_one": 0.8, "under_shuffled": 0.06, "under_constant": 0.06}
    columns = {name: {**own, **others, "stop_episodes": own["stop_both"] * 1e6} for name, own in columns.items()}
    conclusion = replication("kottur_2017").conclude(planted_results(columns, 0.01))
    assert answer in conclusion.answer
    assert "nan" not in f"{conclusion.headline}{conclusion.findings}{conclusion.table}"


def test_the_paper_stops_where_all_games_of_training_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted look: the third time all is right."""
    config = dataclasses.replace(replication("kottur_2017").conditions[MEMORYLESS], games=8, hidden_size=8)
    looked: list[Policy] = []

    def planted_look(policy: Policy, config: Config) -> Likeliest:
        looked.append(policy)
        return Likeliest(len(looked) == 3, 0.5, 0.9)

    monkeypatch.setattr(kottur_2017, "likeliest", planted_look)
    assert at_the_stop(config) == Likeliest(True, 0.5, 0.9, 3 * LOOK * 8)
    looked.clear()
    assert at_the_stop(dataclasses.replace(config, episodes=2 * LOOK * 8)) is None


def test_the_likeliest_answers_are_those_of_every_game() -> None:
    """The protocol that the paper hopes for is right everywhere; with a value confused, not where that is asked for."""
    config = replication("kottur_2017").conditions[MEMORYLESS]
    assert likeliest(Hoped(), config) == Likeliest(True, 1.0, 1.0)  # type: ignore[arg-type]
    confused = likeliest(Hoped(confuses=3), config)  # type: ignore[arg-type]
    assert not confused.all_seen
    assert confused.both < 0.8 < confused.one


class Hoped:
    """Q-bot asks for an attribute by its token, A-bot says the value; the value `confuses` is said as 0.

    Row 2 g + agent is of game g, with object g // 6 and task g % 6. It remembers what it heard, `[R, steps]`.
    """

    def __init__(self, confuses: int = -1) -> None:
        game = TaskAndTalkGame(1, np.random.default_rng(0))
        objects, tasks = np.divmod(np.arange(384), 6)
        self.values, self.asked = game.objects.values[objects].copy(), game.tasks[tasks]
        self.values[self.values == confuses] = 0

    device = torch.device("cpu")

    def initial_memory(self, rows: int) -> torch.Tensor:
        return torch.zeros(rows, 0)

    def encode(self, seen: Observation) -> torch.Tensor:
        return torch.from_numpy(seen.buffer[:, :, -1, 1].reshape(-1, 1))

    def remember(self, inputs: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        return torch.cat([memory, inputs], dim=1)

    def logits(self, memory: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        step, heard = memory.shape[1] - 1, memory.numpy().astype(int)
        wanted = np.zeros((384, 2), int)
        if step in (0, 2):
            wanted[:, 0] = self.asked[:, step // 2]
        elif step == 4:
            wanted[:, 0] = 5 + 4 * heard[::2, 2] + heard[::2, 4]
        else:
            wanted[:, 1] = self.values[np.arange(384), heard[1::2, -1]]
        scores = torch.nn.functional.one_hot(torch.from_numpy(wanted.reshape(-1)), mask.shape[1]).float()
        return torch.where(mask, scores, -1e9)


def test_the_gradient_is_summed_and_cut() -> None:
    config = dataclasses.replace(replication("kottur_2017").conditions[MEMORYLESS], games=64)
    policy, seed = make_policy(config), np.random.SeedSequence(0)
    negotiation = make_negotiation(config, 64, seed, training=True)
    played, again, _ = Rollout(negotiation, np.random.default_rng(0)).play(policy, config.unroll)
    cut = make_algorithm(config)(policy, played, again, config, 0.0).vector
    played, again, _ = Rollout(make_negotiation(config, 64, seed, training=True), np.random.default_rng(0)).play(
        policy, config.unroll
    )
    plain = reinforce(policy, played, again, config, 0.0).vector
    summed = plain.numpy() * 100 * 64 * 5  # two questions, two answers and the pair
    np.testing.assert_allclose(cut.numpy(), np.clip(summed, -5, 5), rtol=1e-5)
    assert (np.abs(summed) > 5).any()
    assert (np.abs(summed) < 5).any()


def test_an_answerer_that_forgets_answers_the_newest_question_alone() -> None:
    torch.manual_seed(0)
    torso, inputs = Forgetful(Sizes(4, 2, 1, 3, 5, 8)), torch.randn(3, 12)
    torch.testing.assert_close(torso(inputs, torch.randn(3, 8)), torso.cell(inputs, torch.zeros(3, 8)))


@pytest.mark.parametrize(
    ("few", "many", "success", "verdict"),
    [
        ((-0.6, 0.7), (0.0, 0.0), (0.99, 0.99), "reproduced"),
        ((0.0, 0.0), (-0.6, 0.7), (0.99, 0.99), "reproduced"),
        ((-0.6, 0.7), (0.0, 0.0), (0.5, 0.99), "not"),
        ((-0.6, 0.7), (0.0, 0.0), (0.99, 0.5), "reproduced"),
        ((-0.6, 0.1), (0.0, 0.0), (0.99, 0.99), "reproduced"),
        ((-0.6, -0.5), (0.0, 0.0), (0.99, 0.99), "partly"),
        ((-0.6, -0.5), (0.1, 0.7), (0.99, 0.99), "partly"),
        ((0.4, 0.7), (0.0, 0.0), (0.99, 0.99), "partly"),
        ((0.4, -0.7), (0.0, 0.0), (0.99, 0.99), "not"),
        ((-0.6, 0.7), (-0.6, 0.7), (0.5, 0.5), "not"),
    ],
)
def test_a_price_must_reverse_the_lengths(few: tuple, many: tuple, success: tuple, verdict: str) -> None:
    columns = {
        condition: {
            "correlation": value, "under_open": learned, "under_constant": 0.4, "told": 8 * learned,
            "length_of_type": 4.0,
        }
        for condition, value, learned in zip(
            replication("chaabouni_2019").conditions, (*few, *many), np.repeat(success, 2), strict=True
        )
    }  # fmt: skip
    assert planted(columns, "chaabouni_2019") == verdict


@pytest.mark.parametrize(
    ("other_code", "paper", "verdict"),
    [(0.0, 0.0, "reproduced"), (0.04, -0.04, "reproduced"), (0.15, 0.0, "partly"), (0.0, 0.15, "partly")],
)
def test_pooling_must_be_as_frequent_as_published(other_code: float, paper: float, verdict: str) -> None:
    found = replication("barrett_2006")
    figures = [p for p in found.published if p.condition.startswith("urns, ")]
    simulated = pd.DataFrame({
        "simulation": [p.condition.removeprefix("urns, ") for p in figures],
        "pairs": 1_000,
        "suboptimal": [
            10 * float(p.figure.removesuffix(" %")) + 1_000 * (paper if "Barrett" in p.place else other_code)
            for p in figures
        ],
        "spread": [[5, *[0] * 38, 995]] * len(figures),
    })  # fmt: skip
    judged = found.judge(Results(pd.DataFrame(), {}, False, simulated))
    assert judged.word == verdict
    assert ("0.5 % succeed in less than 80 %" in judged.reason) == (other_code != 0)
    four = simulated.simulation.str.startswith("n = 4, 100k")
    only = simulated.assign(suboptimal=simulated.suboptimal + np.where(four & (other_code == 0), 100, 0))
    assert "Two states" not in found.judge(Results(pd.DataFrame(), {}, False, only)).reason or other_code != 0
    falling = simulated.assign(suboptimal=simulated.suboptimal.to_numpy()[::-1])
    assert found.judge(Results(pd.DataFrame(), {}, False, falling)).word == "not"


# -- what is committed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMITTED)
def test_committed_results_are_the_full_version(name: str) -> None:
    folder = RESULTS / "replications" / name
    found, runs = json.loads((folder / "result.json").read_text()), pd.read_csv(folder / "runs.csv")
    assert found["quick"] is False
    assert not any(revision.endswith("-dirty") for revision in (found["git"], *found["trained_at"]))
    assert set(runs.git) == set(found["trained_at"])
    assert len(runs) == found["runs"] == len(jobs(f"replications.{name}", Path("logs")))
    page = (folder / "README.md").read_text()
    assert f"Verdict: **{found['verdict']}**. {found['reason']}" in page
    assert found["headline"] in page
    assert found["command"] in page


@pytest.mark.parametrize("name", COMMITTED)
def test_committed_results_follow_from_their_runs(name: str, tmp_path: Path) -> None:
    """Concluded anew from runs.csv, verdict and figures are those of the page."""
    then = json.loads((RESULTS / "replications" / name / "result.json").read_text())
    below = tmp_path / "replications" / name
    below.mkdir(parents=True)
    for table in (RESULTS / "replications" / name).glob("*.csv"):
        (below / table.name).write_text(table.read_text())
    assert run(f"replications.{name}", RunOptions(reconclude=True, out=tmp_path), Console(quiet=True)) == 0
    now = json.loads((below / "result.json").read_text())
    for fact in ("verdict", "reason", "headline", "published"):
        assert now[fact] == then[fact]


def test_the_readme_says_what_was_found() -> None:
    if COMMITTED:
        assert section().strip() in (RESULTS / "replications" / "README.md").read_text()


# -- urns --------------------------------------------------------------------------------------------------------------


def test_urns_add_one_ball_for_each_success_and_none_for_a_failure() -> None:
    pairs = UrnLearners(50, 3, np.random.default_rng(0))
    assert pairs.success() == pytest.approx(1 / 3)
    pairs.play(400)
    added = pairs.signals.sum(axis=(1, 2)) - 9
    assert (added == pairs.acts.sum(axis=(1, 2)) - 9).all()
    assert (added >= 100).all()
    assert (added <= 400).all()
    assert (pairs.signals >= 1).all()
    assert pairs.success().mean() > 0.5


def test_urns_draw_in_proportion_to_their_balls() -> None:
    """Two states, of which one urn holds 9 balls to 1: the first success rate follows."""
    pairs = UrnLearners(20_000, 2, np.random.default_rng(1))
    pairs.signals[:] = [[9, 1], [1, 9]]
    pairs.acts[:] = [[9, 1], [1, 9]]
    assert pairs.success() == pytest.approx(0.9**2 + 0.1**2)
    pairs.play(1)
    assert (pairs.signals.sum(axis=(1, 2)) - 20).mean() == pytest.approx(0.82, abs=0.01)
