"""Training and evaluation from the command line."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from rich.console import Console
from safetensors.numpy import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from emcomm.a3c import Contribution, Worker
from emcomm.config import Config
from emcomm.dialogues import read_part
from emcomm.errors import BadInput
from emcomm.evaluation import Tally, play
from emcomm.progress import Course, LiveLine
from emcomm.runs import Run, provenance
from emcomm.train import TrainOptions, default_name, options_from
from emcomm.worlds import make_policy, place
from envs.crossing import CrossingGame
from envs.negotiation import Negotiation, TalkRules

ROOT = Path(__file__).resolve().parent.parent
SMALL = ("--workers", 0, "--episodes", 3000, "--games", 32, "--evaluation-games", 500, "--max-rounds", 8)
"""The settings of `small_run`."""


def last_weights(run: Path) -> dict[str, np.ndarray]:
    return load_file(sorted((run / "checkpoints").iterdir())[-1])


# -- what a run leaves -------------------------------------------------------------------------------------------------


def test_one_seed_fixes_a_run(small_run, emcomm, call, whole_log, tmp_path) -> None:
    """Another process makes the same dialogues and weights, bit for bit; another seed does not."""
    again = emcomm("train", *SMALL, "--log-dir", tmp_path, "--run-name", "again")
    other = call("train", *SMALL, "--log-dir", tmp_path, "--run-name", "other", "--seed", 1)
    assert (again.returncode, other.code) == (0, 0)
    for folder in ("dialogues", "evaluation"):
        first, second = (whole_log(run / folder) for run in (small_run, tmp_path / "again"))
        for field in dataclasses.fields(first):
            np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name), field.name)
        assert not np.array_equal(first.moves, whole_log(tmp_path / "other" / folder).moves)
    first, second, third = map(last_weights, (small_run, tmp_path / "again", tmp_path / "other"))
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(first["policy.actor.weight"], third["policy.actor.weight"])


def test_a_run_holds_what_was_asked_for(small_run, whole_log) -> None:
    log = whole_log(small_run / "dialogues")
    assert log.episode.tolist() == list(range(3000))
    assert (np.diff(log.policy_version) >= 0).all()
    evaluation = whole_log(small_run / "evaluation")
    assert np.unique(evaluation.episode).tolist() == list(range(500))
    assert set(evaluation.policy_version) == {json.loads((small_run / "summary.json").read_text())["updates"]}
    assert list((small_run / "tensorboard").glob("events*"))


def test_the_summary_has_figures_with_intervals_and_the_command(small_run, whole_log) -> None:
    summary = json.loads((small_run / "summary.json").read_text())
    assert summary["episodes"] == 3000
    assert summary["command"].startswith("python -m emcomm.train --workers 0 --episodes 3000 --games 32")
    successes = int(whole_log(small_run / "evaluation").success.sum())
    sampled = summary["evaluation"]["sampled"]
    assert (sampled["games"], sampled["success"]) == (500, successes / 500)
    for figures in summary["evaluation"].values():
        assert 0 <= figures["success_low"] < figures["success"] < figures["success_high"] <= 1


def test_the_configuration_repeats_the_run(small_run) -> None:
    assert Run.open(small_run).config == Config(
        rules=TalkRules(max_rounds=8), workers=0, episodes=3000, games=32, evaluation_games=500
    )
    odd = Config(rules=TalkRules(n_tokens=3, max_rounds=None, channel="noisy", noise=0.3), seed=7, device="cpu")
    assert Config.from_json(json.loads(json.dumps(odd.to_json()))) == odd
    saved = json.loads((small_run / "config.json").read_text())
    assert {"torch", "numpy", "python"} <= saved["versions"].keys()


def test_the_revision_is_that_of_emcomm(tmp_path, monkeypatch) -> None:
    """Not that of a repository in whose `.venv` it happens to be installed."""
    package = tmp_path / ".venv" / "emcomm"
    package.mkdir(parents=True)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@y", "-C", str(tmp_path)]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "another project"]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setattr("emcomm.runs.__file__", str(package / "runs.py"))
    assert provenance()["git"] is None
    monkeypatch.setattr("emcomm.runs.__file__", str(tmp_path / "emcomm" / "runs.py"))
    revision = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert provenance()["git"] == revision


def test_unbounded_talks_from_the_command_line(call, tmp_path) -> None:
    done = call(
        "train", "--workers", 0, "--max-rounds", None, "--episodes", 100, "--games", 16, "--evaluation-games", 20,
        "--log-dir", tmp_path, "--run-name", "run",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert Run.open(tmp_path / "run").config.rules.max_rounds is None
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["evaluation"]["sampled"]["cut"] == 0


def test_a_curve_can_be_read_back(small_run) -> None:
    events = EventAccumulator(str(small_run / "tensorboard"))
    events.Reload()
    rate, *_ = events.Scalars("learning rate")
    assert 0 < rate.step <= 3000
    assert rate.value == pytest.approx(3e-3 * (1 - rate.step / 3000))
    assert {"success rate", "mean rounds", "staleness (updates)"} <= set(events.Tags()["scalars"])


def test_what_a_terminal_shows(small_run) -> None:
    table = read_part(small_run / "dialogues" / "part-000000.parquet")[:200]
    course = Course(0, {})
    course.add(Contribution(np.zeros(1), 0, table, 0, 0.0, 0.0), 0, 200)
    terminal = Console(force_terminal=True, highlight=False, width=150, file=io.StringIO())
    line = LiveLine(terminal, 0, 400)
    line.show(course)
    line.note("worker 1 died")
    line.close()
    said = terminal.file.getvalue()
    shown = f"200 episodes  success {100 * table.success.mean():6.2f} %  {table.n_rounds.mean():5.2f} rounds"
    assert "worker 1 died" in said
    *_, last = (text for text in said.split("\r") if "episodes" in text)
    assert shown in last
    assert "left" in last


def test_the_end_of_a_training_on_the_console(call, whole_log, tmp_path) -> None:
    run = tmp_path / "the run"
    done = call(
        "train", "--workers", 0, "--episodes", 301, "--games", 16, "--evaluation-games", 50, "--max-rounds", 4,
        "--log-dir", tmp_path, "--run-name", run.name,
    )  # fmt: skip
    assert done.code == 0
    assert len(whole_log(run / "dialogues")) == 301, "the last gradient came with more episodes than were asked for"
    assert "10 dialogues (5 = EOT; each round: train_0, train_1)" in done.out
    assert len(re.findall(r"│ (main|detour), (main|detour) +│ (success|crash) +│", done.out)) == 10
    assert re.search(r"sampled +│ \d+\.\d\d % \[\d+\.\d\d, \d+\.\d\d\]", done.out)
    *_, last = done.out.splitlines()
    assert last == f"the run lies in '{run}'; next: python -m emcomm.analyze '{run}'"


def test_two_trains_learn_to_part_and_only_by_talking(call, tmp_path) -> None:
    for name, channel in (("talk", "open"), ("mute", "off")):
        done = call(
            "train", "--workers", 0, "--episodes", 15_000, "--max-rounds", 8, "--evaluation-games", 2000,
            "--channel", channel, "--log-dir", tmp_path, "--run-name", name,
        )  # fmt: skip
        assert done.code == 0
    talk, mute = (json.loads((tmp_path / n / "summary.json").read_text()) for n in ("talk", "mute"))
    assert talk["evaluation"]["sampled"]["success"] > 0.8
    assert 1000 <= talk["episodes_to_95"] <= 15_000
    assert mute["evaluation"]["sampled"]["success_low"] < 0.5 < mute["evaluation"]["sampled"]["success_high"]
    assert mute["episodes_to_95"] is None


# -- evaluation --------------------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_evaluation_repeats_the_figures_and_writes_nothing(small_run, call) -> None:
    before = contents(small_run)
    done = call("evaluate", small_run, "--json")
    assert done.code == 0
    assert json.loads(done.out) == json.loads((small_run / "summary.json").read_text())["evaluation"]
    assert contents(small_run) == before


def test_evaluation_with_another_channel(small_run, call) -> None:
    def sampled(*options: object) -> dict[str, float]:
        done = call("evaluate", small_run, "--evaluation-games", 400, "--json", *options)
        assert done.code == 0
        return json.loads(done.out)["sampled"]

    assert (off := sampled("--channel", "off"))["games"] == 400
    assert off["success_low"] < 0.5 < off["success_high"]
    assert (off["silent"], off["mean_rounds"]) == (1, 0)
    assert sampled("--channel", "oracle") != sampled("--channel", "shuffled")
    shown = call("evaluate", small_run, "--channel", "self", "--evaluation-games", 20)
    assert f"{small_run},channelself,3,000episodes" in "".join(shown.out.split())
    assert "10 dialogues (5 = EOT; each round: train_0, train_1)" in shown.out


def test_evaluation_needs_a_run_that_fits(small_run, call, tmp_path) -> None:
    for args, message in (
        ([], "name a run"),
        (["--channel", "shuffled"], "Missing from python -m emcomm.evaluate: PATH The run's folder."),
        (["x" * 300], f"{'x' * 300}/config.json cannot be read: File name too long"),
        ([small_run, "--episodes", 3], "Unrecognized options: --episodes"),
        ([small_run, "--torso", "window"], "Unrecognized options: --torso"),
        ([small_run, "--evaluation-games", 0], "--evaluation-games must be at least 1, not 0"),
        ([tmp_path / "nothing"], f"there is no run folder {tmp_path / 'nothing'}"),
        ([tmp_path], f"{tmp_path} is not a run: it has no config.json"),
        ([small_run, "--n-tokens", 3], f"the checkpoint in {small_run} does not fit its configuration"),
    ):
        done = call("evaluate", *args)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(f"emcomm: {message}")


def test_a_single_episode_has_a_return_and_no_interval(call, tmp_path) -> None:
    one = ("--workers", 0, "--episodes", 1, "--games", 1, "--evaluation-games", 1, "--log-dir", tmp_path)
    done = call("train", *one, "--run-name", "one")
    assert done.code == 0, done.err
    assert re.search(r"return of the last 1 -?1\.000 \[–, –\]", done.out)
    summary = json.loads((tmp_path / "one" / "summary.json").read_text())
    sampled = summary["evaluation"]["sampled"]
    assert summary["recent_return_low"] is sampled["return_low"] is sampled["return_high"] is None
    assert abs(summary["recent_return"]) == abs(sampled["mean_return"]) == 1
    assert "mean return" in call("train", "--resume", tmp_path / "one").out


def test_a_network_reads_as_many_rounds_as_in_its_training_however_long_the_talk_is_now(call, tmp_path) -> None:
    small = ("--workers", 0, "--episodes", 100, "--games", 16, "--evaluation-games", 20, "--torso", "window")
    for rounds, others in ((3, 12), (12, 3)):
        run = tmp_path / str(rounds)
        assert call("train", *small, "--max-rounds", rounds, "--log-dir", tmp_path, "--run-name", run.name).code == 0
        done = call("evaluate", run, "--max-rounds", others, "--evaluation-games", 200, "--json")
        assert done.code == 0, done.err
        assert json.loads(done.out)["sampled"]["mean_rounds"] > 0


def test_the_help_of_evaluate_shows_the_settings_of_the_run(small_run, call) -> None:
    plain = call("evaluate", "--help")
    assert plain.code == 0
    assert "--channel" in plain.out
    assert "--workers" not in plain.out
    assert "(default: 500)" in call("evaluate", "--channel", "off", small_run, "--help").out


def test_ten_dialogues_are_drawn_from_all(small_run) -> None:
    """Ten draws from ten equal parts hold 6.5 of the parts on average."""
    table = read_part(small_run / "dialogues" / "part-000000.parquet")[:100]
    tally = Tally()
    for part in range(10):
        tally.add(dataclasses.replace(table, worker=np.full(100, part)))
    shown = tally.shown()
    assert len(shown) == 10
    assert len(set(shown.worker)) > 4


LENGTHS = """
import numpy as np
from envs.crossing import CrossingGame
from envs.game import Outcome

class Lengths(CrossingGame):
    '''Half of all episodes are one decision long, the others thirty; each agent knows which.'''
    feature_bounds = (np.ones(1, np.float32), np.full(1, 30, np.float32))

    def __init__(self, n_games, rng):
        super().__init__(n_games, rng)
        self.move_names = ("wait", "go")
        self._rng, self._length, self._played = rng, np.ones(n_games), np.zeros(n_games)

    def reset(self, which):
        self._length[which] = self._rng.choice([1, 30], which.sum())
        self._played[which] = 0

    def observe(self):
        return np.repeat(self._length, 2).reshape(-1, 2, 1).astype(np.float32)

    private = observe

    def play(self, moves, which):
        self._played[which] += 1
        ended = (self._played == self._length)[which][:, None].repeat(2, axis=1)
        return super().play(moves, which)._replace(terminated=ended)
"""


def test_evaluation_counts_the_first_games_to_start(tmp_path, monkeypatch) -> None:
    """Of the first 200 games of this kind to end, with 100 at once, nine in ten are short."""
    (tmp_path / "lengths.py").write_text(LENGTHS)
    monkeypatch.syspath_prepend(tmp_path)
    config = Config(env="lengths:Lengths", rules=TalkRules(channel="off", window=1))
    tables = list(play(make_policy(config), config, 200, batch=100))
    short = np.concatenate([t.private[t.negotiation == 0, 0, 0] == 1 for t in tables])
    assert len(short) == 200
    assert 0.4 < short.mean() < 0.6  # 0.5 with a standard deviation of 0.035


def test_a_game_of_ones_own(emcomm, whole_log, tmp_path) -> None:
    (tmp_path / "lengths.py").write_text(LENGTHS)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = emcomm(
        "train", "--env", "lengths:Lengths", "--workers", 0, "--episodes", 200, "--games", 16, "--max-rounds", 2,
        "--evaluation-games", 20, "--log-dir", tmp_path, "--run-name", "own", env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "│ wait" in done.stdout
    log = whole_log(tmp_path / "own" / "dialogues")
    assert log.episode.max() == 199
    for episode in (0, 100, 199):
        one = log[log.episode == episode]
        assert one.negotiation.tolist() == list(range(len(one)))
        assert set(one.private.ravel()) == {len(one)} < {1, 30}
    assert set(np.bincount(log.episode)) == {1, 30}


# -- settings ----------------------------------------------------------------------------------------------------------


def test_presets() -> None:
    assert options_from([]).config == Config()
    assert options_from(["--preset", "silent"]).config.rules.channel == "off"
    terse = options_from(["--preset", "terse", "--n-tokens", "2"]).config.rules
    assert (terse.round_cost, terse.n_tokens, terse.channel) == (0.05, 2, "open")


def test_help_shows_every_setting_with_its_default(call) -> None:
    done = call("train", "--help")
    assert done.code == 0
    entries = {
        entry.split()[0].rstrip(","): re.sub(r"[\s│─╮╯╰╭]+", " ", entry)
        for entry in re.split(r"(?m)^(?:│ |  )--", done.out)[1:]
    }
    names = [f.name for c in (Config, TalkRules, TrainOptions) for f in dataclasses.fields(c)]
    for name in set(names) - {"rules", "config"}:
        entry = entries[name.replace("_", "-")]
        assert "(default:" in entry
        assert len(entry.partition("(default:")[0].split()) > 4, f"{name} has no help"
    assert entries["round-cost"].endswith("for each round of talk (reward). (default: 0.0) ")
    for depends, on in {
        "order": "--speaking sequential",
        "noise": "--channel noisy",
        "cost-until": "--round-cost",
    }.items():
        assert f"With {on}: " in entries[depends]


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["--bogus", 3], "--bogus"),
        (["--workers", -1], "--workers must not be negative, not -1"),
        (["--games", 0], "--games must be at least 1, not 0"),
        (["--round-cost", -1], "--round-cost must be a number from 0 up, not -1.0"),
        (["--channel", "nonsense"], "--channel must be one of open, off"),
        (["--channel", "shufled"], "; did you mean shuffled?"),
        (["--epsiodes", 5, "--wokers", 3], "; did you mean --episodes or --workers?"),
        (["--episodes", "1.5e0"], "'1.5e0' is no whole number"),
        (["--games", "1e9"], "--games must be at most 1,048,576, not 1,000,000,000"),
        (["--n-tokens", 0], "--n-tokens must be from 1 to 126, not 0"),
        (["--learning-rate", "nan"], "--learning-rate must be above 0, not nan"),
        (["--max-rounds", "x"], "--max-rounds"),
        (["--preset", "nonsense"], "--preset"),
        (["--preset"], "--preset"),
        (["--env", "nowhere"], "unknown env 'nowhere'"),
        (["--env", "os:path"], "unknown env 'os:path'"),
        (["--env", "os:getcwd"], "os:getcwd cannot be built as a game like envs.game.Game"),
        (["--env", "collections:UserString"], "collections:UserString cannot be built as a game"),
        (["--seed", 2**63], "--seed must be below 2**63"),
        (["--learning-rate", "inf"], "--learning-rate must be finite, not inf"),
        (["--device", "toaster"], "the device 'toaster' cannot be used here"),
        (["--resume", "nowhere"], "there is no run folder nowhere"),
        (["--resume", "."], "is not a run: it has no config.json"),
        (["--ray-address", "auto"], "--ray-address and --workers 0 exclude each other"),
        (["--run-name", "a/b"], "a run name is one folder name, not 'a/b'"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(args, named, call, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("train", "--workers", 0, *args)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("emcomm: ")
    assert named in done.err
    assert not list(tmp_path.iterdir())


def test_a_game_that_is_no_python_is_refused_in_one_line(call, tmp_path, monkeypatch) -> None:
    (tmp_path / "half_a_game.py").write_text("class Game(")
    monkeypatch.syspath_prepend(tmp_path)
    done = call("train", "--workers", 0, "--env", "half_a_game:Game", "--log-dir", tmp_path / "logs")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "unknown env 'half_a_game:Game'" in done.err
    assert not (tmp_path / "logs").exists()


def test_a_device_that_is_not_there(emcomm, tmp_path) -> None:
    blind = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = emcomm("train", "--workers", 0, "--device", "cuda", "--log-dir", tmp_path / "logs", env=blind)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "the device 'cuda' cannot be used here" in done.stderr
    assert not (tmp_path / "logs").exists()


def test_a_folder_that_shadows_a_room_is_named(tmp_path) -> None:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").touch()
    done = subprocess.run(
        [sys.executable, "-c", "import emcomm"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    *_, error = done.stderr.splitlines()
    assert error.startswith("ImportError")
    assert str(ROOT / "envs") in error
    assert str((tmp_path / "envs").resolve()) in error


# -- memory ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_memory_does_not_grow_with_the_episodes(tmp_path) -> None:
    """A dialogue without talk takes about 100 bytes in memory: kept, 300 000 of them would be 30 MB."""
    command = [
        sys.executable, "-m", "emcomm.train", "--workers", "0", "--channel", "off", "--episodes", "600000",
        "--checkpoint-every", "0.5", "--evaluation-games", "100", "--log-dir", str(tmp_path), "--run-name", "long",
    ]  # fmt: skip
    seen: list[tuple[int, float]] = []  # parts in the log, MB resident
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            parts = len(list((tmp_path / "long").glob("dialogues/part-*.parquet")))
            with contextlib.suppress(psutil.NoSuchProcess):
                seen.append((parts, psutil.Process(process.pid).memory_info().rss / 2**20))
            time.sleep(0.05)
    assert process.returncode == 0
    last = seen[-1][0]
    assert last > 5
    early = max(memory for parts, memory in seen if parts <= 0.4 * last)
    late = max(memory for parts, memory in seen if last > parts > 0.9 * last)
    assert late - early < 15


def test_two_trainings_without_names_in_the_same_second_both_run(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("time.strftime", lambda *_: "20260101-000000")
    names = [Run.create(tmp_path, default_name(Config()), Config(), another=True).path.name for _ in range(3)]
    assert names == [f"crossing-v1-seed0-20260101-000000{ending}" for ending in ("", "-2", "-3")]
    assert not list(tmp_path.glob(".*"))


def test_what_does_not_fit_into_the_memory_is_refused(call, tmp_path) -> None:
    memory = "GiB in 1 processes, and here are"
    for wrong, message in (
        (["--games", 10**9], "--games must be at most 1,048,576, not 1,000,000,000"),
        (["--games", 10**6, "--hidden-size", 4096], memory),
        (["--hidden-size", 10**5], "--population times hidden_size² must be at most 16777216"),
        (["--games", 10**5, "--unroll", 10**4], "--games times unroll must be at most 16777216, not 1000000000"),
        (["--games", 2**14, "--unroll", 2**10, "--hidden-size", 4096], memory),
    ):
        done = call("train", "--workers", 0, "--log-dir", tmp_path, *wrong)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert message in done.err
        assert not list(tmp_path.iterdir())


def a_gpu(monkeypatch, free: int, fault: str = "") -> None:
    """As if there were one, with so much memory free (bytes), which cannot be used where there is a fault."""

    def zeros(*shape, device=None, of=torch.zeros, **options):
        if fault and torch.device(device or "cpu").type == "cuda":
            raise torch.AcceleratorError(fault)
        return of(*shape, **options)  # on the CPU

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda index: (free // 2, 2**40))
    monkeypatch.setattr("torch.zeros", zeros)


def test_auto_is_a_gpu_that_can_be_used_and_is_large_enough(monkeypatch) -> None:
    config = Config(workers=8)
    a_gpu(monkeypatch, 9 * 2**30)
    assert place(config, 8) == ("cuda", None)
    assert place(dataclasses.replace(config, device="cpu"), 8) == ("cpu", None)
    a_gpu(monkeypatch, 4 * 2**30)
    too_small = "in 8 processes, and here are 4 free on the GPU"
    device, note = place(config, 8)
    assert device == "cpu"
    assert note is not None
    assert re.fullmatch(f"on the CPU, although there is a GPU: --games .* need about 8 GiB {too_small}", note)
    with pytest.raises(BadInput, match=too_small):
        place(dataclasses.replace(config, device="cuda"), 8)
    with pytest.raises(BadInput, match="in 3 processes, and here are 2 free on the GPU"):
        place(dataclasses.replace(config, device="cuda:1"), 3)


def test_a_gpu_that_is_full_is_left_aside_and_said(monkeypatch, call, tmp_path) -> None:
    a_gpu(monkeypatch, 2**40, "CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation'")
    full = "the device 'cuda' cannot be used here (CUDA error: out of memory): try --device cpu or auto"
    short = ["--workers", 0, "--episodes", 300, "--evaluation-games", 20, "--log-dir", tmp_path, "--run-name"]
    refused = call("train", *short, "asked", "--device", "cuda")
    assert (refused.code, refused.err) == (2, f"emcomm: {full}\n")
    assert not list(tmp_path.iterdir())
    done = call("train", *short, "auto")
    assert done.code == 0
    assert done.out.startswith(f"on the CPU, although there is a GPU: {full}\n")
    assert json.loads((tmp_path / "auto" / "summary.json").read_text())["device"] == "cpu"


def test_a_gpu_that_fills_up_is_one_line_and_nothing_is_lost(monkeypatch, call, whole_log, tmp_path) -> None:
    contribute, calls = Worker.contribute, iter(range(10**6))

    def until_it_is_full(self, assignment):
        if next(calls) == 30:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 490.00 MiB. GPU 0 has 139 GiB")
        return contribute(self, assignment)

    monkeypatch.setattr(Worker, "contribute", until_it_is_full)
    short = ["--workers", 0, "--episodes", 6000, "--evaluation-games", 20, "--games", 32, "--max-rounds", 3]
    stopped = call("train", *short, "--log-dir", tmp_path, "--run-name", "run")
    assert (stopped.code, stopped.err) == (
        1, "emcomm: the GPU is full (CUDA out of memory): try fewer --games, a shorter --unroll, or --device cpu\n",
    )  # fmt: skip
    played = len(whole_log(tmp_path / "run" / "dialogues").episode)
    assert played > 100
    assert call("train", "--resume", tmp_path / "run").code == 0
    assert len(whole_log(tmp_path / "run" / "dialogues").episode) >= 6000


def test_agents_who_never_end_the_talk_are_cut_also_where_nothing_else_cuts_them() -> None:
    rng = np.random.default_rng(0)
    negotiation = Negotiation(CrossingGame(3, rng), TalkRules(max_rounds=None), rng)
    negotiation.reset()
    for _ in range(4096):
        assert not negotiation.cut.any()
        negotiation.step(np.zeros((3, 2), np.int64))
    assert negotiation.cut.all()
    dialogues = negotiation.step(np.full((3, 2), 6)).dialogues
    assert dialogues.n_rounds.tolist() == [4096] * 3
    assert dialogues.cut.all()


# -- a floor on the entropy of the moves -------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["a3c", "ppo", "reinforce"])
def test_a_floor_holds_the_moves_open(algorithm: str, call, whole_log, tmp_path) -> None:
    """In a game that always rewards move 0, a network without a floor makes that move alone."""
    shares = {}
    for floor in (0.0, 0.6):
        said = call(
            "train", "--workers", 0, "--episodes", 12_000, "--games", 32, "--unroll", 2,
            "--evaluation-games", 500, "--channel", "off",
            "--env", "tests.games:First", "--algorithm", algorithm, "--move-entropy-floor", floor,
            "--log-dir", tmp_path, "--run-name", f"{floor}",
        )  # fmt: skip
        assert said.code == 0, said.err
        shares[floor] = (whole_log(tmp_path / f"{floor}" / "evaluation").moves == 0).mean()
    assert shares[0.0] > 0.95
    assert 0.55 < shares[0.6] < 0.85  # at 0.71 the entropy is 0.6 nats


def test_a_floor_above_all_entropy_is_refused(call, tmp_path) -> None:
    said = call("train", "--workers", 0, "--move-entropy-floor", 0.7, "--log-dir", tmp_path)
    assert said.code == 2
    assert "--move-entropy-floor must be at most 0.693, the entropy of the 2 moves" in said.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--algorithm", "reinforce", "--trace", 1), "--algorithm reinforce has no critic: leave out trace and"),
        (
            ("--env", "emcomm/task-and-talk-v1", "--game-options", "retry=0.5", "meanings=training"),
            "a policy is trained on the training meanings: leave out meanings",
        ),
    ],
)
def test_what_cannot_be_trained_leaves_no_folder(flags: tuple, says: str, call, tmp_path) -> None:
    said = call("train", "--workers", 0, "--log-dir", tmp_path, *flags)
    assert said.code == 2
    assert says in said.err
    assert not list(tmp_path.iterdir())
