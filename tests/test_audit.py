"""`emcomm.audit`: every planted fault is found, and sound systems raise no alarm."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Dict, Discrete, MultiDiscrete, Tuple

from analysis.causal.audit import Arena, Audit, Check, audit, decide
from analysis.causal.audit.interface import declared_parts, find_interface
from analysis.causal.audit.playing import changed, flat, other_action
from analysis.causal.audit.subjects import declared_by, named_environment, named_team, of_runs
from emcomm.errors import BadInput
from envs import GAMES, parallel_env
from tests import audited

Call = Callable[..., Any]
GAMES_EACH = 40
ROOT = Path(__file__).parent
GOLDEN = ROOT / "golden" / "run"

FAULTS = {
    # a planted fault: environment, policy, and the check that must name it
    "disconnected": ("Disconnected", "honest", "what is said reaches another"),
    "echo": ("Echo", "honest", "what is said reaches another"),
    "one of two is not heard": ("HalfDeaf", "honest", "what is said reaches another"),
    "role by order": ("Order", "chance", "the role is not told by the order"),
    "role by reward": ("Reward", "honest", "the role is not told by rewards"),
    "role by mask": ("Mask", "chance", "the role is not told by the action mask"),
    "role by padding": ("Padding", "honest", "the role is not told by padding"),
    "role by observation": ("Position", "honest", "the role is not told by the rest"),
    "messages after the decision": ("Late", "silent", "messages come before the decision"),
    "seed ignored": ("OwnLuck", "honest", "the seed fixes an episode"),
    "seed ignored, global generator": ("GlobalLuck", "honest", "the seed fixes an episode"),
    "stale messages": ("Stale", "honest", "nothing stays of an episode before"),
    "environments share a state": ("Shared", "honest", "environments share no state"),
    "move in sight": ("Peek", "chance", "no move is seen before one's own"),
    "policy ignores its seed": ("Duet", "unseeded", "policies follow their seed"),
    "policies share a state": ("Duet", "Telepath", "policies know only what they see"),
    "probabilities in the buffer": ("Probabilities", "thinking", "what is heard follows from the actions"),
    "distributions as messages": ("Distributions", "gives_distributions", "what is heard follows from the actions"),
}
QUICK = ("role by padding", "stale messages", "policies share a state")
SOUND = {
    "honest": ("Duet", "honest"),
    "silent": ("Duet", "silent"),
    "deaf": ("Duet", "deaf"),
    "chance": ("Duet", "chance"),
    "global generator": ("Duet", "global_chance"),
    "memory": ("Duet", "Remembers"),
    "two policies": ("Duet", "honest,deaf"),
    "four in a ring": ("Quartet", "honest"),
    "one way": ("OneWay", "honest"),
    "two-part actions": ("Parts", "listless"),
    "noisy": ("NoisyLine", "Remembers"),
    "arrays written again": ("Sloppy", "honest"),
}
OURS: dict[str, tuple[str, dict[str, Any]]] = {
    "crossing": ("emcomm/crossing-v1", {}),
    "no talk": ("emcomm/crossing-v1", {"channel": "off"}),
    "noise": ("emcomm/crossing-v1", {"channel": "noisy", "max_rounds": 6}),
    "late words": ("emcomm/crossing-v1", {"channel": "delayed", "max_rounds": 6}),
    "names of tokens": ("emcomm/crossing-v1", {"channel": "relabelled", "max_rounds": 6}),
    "order drawn each round": (
        "emcomm/crossing-v1", {"speaking": "sequential", "order": "round", "max_rounds": 6, "opening": "talk"}
    ),
    **{name: (name, {}) for name in GAMES if name not in ("emcomm/crossing-v1", "emcomm/traffic-junction-v1")},
}  # fmt: skip


def slow_unless(names: Any, quick: tuple[str, ...]) -> list[Any]:
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


def audited_by(env: str, *policies: str, games: int = GAMES_EACH, **options: Any) -> Audit:
    arena = Arena(getattr(audited, env))
    teams = {p: ",".join(f"tests.audited:{part}" for part in p.split(",")) for p in policies}
    return audit(arena, {p: named_team(names, arena.agents) for p, names in teams.items()}, games=games, **options)


def verdicts(found: Audit) -> dict[str, str]:
    return {row.check: row.verdict for row in found.rows}


@pytest.mark.parametrize("fault", slow_unless(FAULTS, QUICK))
def test_a_planted_fault_is_found(fault: str) -> None:
    env, policy, check = FAULTS[fault]
    named = [row.check for row in audited_by(env, policy).faults]
    assert any(name.startswith(check) for name in named), named


@pytest.mark.parametrize("system", slow_unless(SOUND, ("silent",)))
def test_a_sound_system_raises_no_alarm(system: str) -> None:
    assert audited_by(*SOUND[system]).faults == ()


@pytest.mark.slow
@pytest.mark.parametrize("system", OURS)
def test_a_game_of_ours_raises_no_alarm(system: str) -> None:
    name, options = OURS[system]
    arena = Arena(partial(parallel_env, GAMES[name], **options), steps=60)
    own = declared_by(arena)
    found = audit(arena, {"chance": named_team("tests.audited:chance", arena.agents)}, games=GAMES_EACH,
                  says=own.says, hears=own.hears, roles=own.roles, turns=own.turns)  # fmt: skip
    assert found.faults == ()


@pytest.mark.slow
@pytest.mark.parametrize("channel", ["constant", "shuffled", "self"])
def test_a_control_is_found_to_be_one(channel: str) -> None:
    arena = Arena(partial(parallel_env, GAMES["emcomm/crossing-v1"], channel=channel, max_rounds=6))
    own = declared_by(arena)
    found = audit(arena, games=GAMES_EACH, says=own.says, hears=own.hears, roles=own.roles, turns=own.turns)
    assert verdicts(found)["what is said reaches another"] == "FAULT"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("name", "policies"),
    [
        ("mpe2.simple_reference_v3:parallel_env", "tests.audited:any_action"),
        ("mpe2.simple_speaker_listener_v4:parallel_env", "tests.audited:any_of_three,tests.audited:any_action"),
    ],
)
def test_a_foreign_environment_raises_no_alarm(name: str, policies: str) -> None:
    arena = named_environment(name, 200)
    found = audit(arena, {"any": named_team(policies, arena.agents)}, games=60)
    assert found.faults == ()
    assert verdicts(found)["what is said reaches another"] == "ok"
    if "listener" in name:  # the last three of what the listener sees are the speaker's words
        assert "observation[8:11]" in found.message_part


# -- what it answers ---------------------------------------------------------------------------------------------------


def test_who_talks_is_heard_and_matters_and_who_is_deaf_does_not_listen() -> None:
    found = verdicts(audited_by("Duet", "honest", "deaf"))
    for team, heard in (("honest", "yes"), ("deaf", "no")):
        assert found[f"{team}: words vary"] == "yes"
        assert found[f"{team}: words tell what their speaker knows"] == "yes"
        assert found[f"{team}: what is heard changes what is done"] == heard
        assert found[f"{team}: return changes with messages of other episodes"] == heard


@pytest.mark.slow
def test_strangers_do_not_understand_each_other() -> None:
    rows = {row.check: row for row in audited_by("Duet", "honest", "contrary", games=60).rows}
    strangers = rows["return changes: honest with contrary"]
    assert strangers.verdict == "yes"
    assert strangers.evidence.startswith(
        "1.000 [1.000, 1.000] with themselves, -1.000 [-1.000, -1.000] with each other"
    )


def test_the_message_part_is_where_it_is() -> None:
    arena = Arena(audited.OneWay)
    found = find_interface(arena, 40, 0, [("sender",), ("receiver",)])
    assert found.described() == "sender: nothing; receiver: observation[2:5]"
    talk = {frozenset((e.before, e.after)) for e in found.talk if e.heard}
    moves = {frozenset((e.before, e.after)) for e in found.moves}
    assert talk <= {frozenset(pair) for pair in ((0, 1), (0, 2), (1, 2))}
    assert moves == {frozenset((3, 4))}


def test_a_part_may_be_declared() -> None:
    names = {"a": ["x[0]", "x[1]", "y.z[0]"], "b": ["x[0]"]}
    assert declared_parts(names, ["x[1:]", "y"])["a"].tolist() == [False, True, True]
    assert declared_parts(names, ["x[0]"])["b"].tolist() == [True]
    with pytest.raises(BadInput, match=r"no observation has such a part; there are x, y\.z"):
        declared_parts(names, ["w"])


def test_verdicts_are_corrected_for_their_number() -> None:
    rows = decide([Check("?", str(i), "", p) for i, p in enumerate((0.0005, 0.04, 0.9, 0.0, 1.0, None))])
    assert [row.p_value for row in rows] == [0.0015, 0.08, 0.9, 0.0, 1.0, None]
    assert [row.verdict for row in rows] == ["ok", "ok", "ok", "FAULT", "ok", "not tested"]


def test_an_observation_is_changed_in_its_own_types() -> None:
    seen = {"a": np.zeros((2, 1), np.int8), "b": (3, np.float32(1)), "action_mask": np.ones(2, np.int8)}
    new = changed(seen, flat(seen) + 1)
    assert new["a"].tolist() == [[1], [1]]
    assert new["a"].dtype == np.int8
    assert new["b"] == (4, 2.0)
    assert new["action_mask"].tolist() == [1, 1]


def test_another_action_differs_in_one_part() -> None:
    rng = np.random.default_rng(0)
    assert other_action(Discrete(3, start=5), np.array([True, False, True]), 5, rng) == 7
    assert other_action(Discrete(1), None, 0, rng) is None
    assert (other_action(MultiDiscrete([2, 3]), None, np.array([1, 1]), rng) != [1, 1]).sum() == 1
    both = Tuple([Discrete(2), Dict(a=Discrete(2))])
    one = other_action(both, None, (0, {"a": 0}), rng)
    assert one in ((1, {"a": 0}), (0, {"a": 1}))


# -- the command line --------------------------------------------------------------------------------------------------


def test_a_table_or_json_and_an_exit_code(call: Call) -> None:
    told = call("audit", "tests.audited:Disconnected", "--games", 40, "--json")
    assert told.code == 1
    found = json.loads(told.out)
    assert not found["sound"]
    row = next(row for row in found["rows"] if row["verdict"] == "FAULT")
    assert row["check"] == "what is said reaches another"
    assert "nobody else ever saw another thing" in row["evidence"]
    told = call("audit", "tests.audited:Duet", "--games", 40)
    assert told.code == 0, told.out
    assert "sound: no fault was found" in told.out
    assert "Does anything else give the" in told.out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["nowhere"], "unknown environment 'nowhere': name a run's folder, module:Name, or one of emcomm/crossing-v1"),
        (["nowhere:Env"], "unknown environment 'nowhere:Env'"),
        (["tests.audited:TOKENS"], "tests.audited:TOKENS must be a ParallelEnv or make one, and is a int"),
        (["tests.audited:honest"], "the environment cannot be made: TypeError"),
        (["tests.audited:Duet", "--policies", "tests.audited:TOKENS"], "it must be a function of an observation"),
        (["tests.audited:Duet", "--policies", ",".join(["tests.audited:honest"] * 3)],
         "names 3 policies, and there are 2 agents"),
        (["tests.audited:Duet", "--policies", "tests.audited:listless"], "an episode failed in listless"),
        (["tests.audited:Duet", "--says", "a-b"], "give actions as numbers and ranges, 0-5,9"),
        (["tests.audited:Duet", "--hears", "word"], "no observation has such a part; there are observation"),
        (["tests.audited:Duet", "--roles", "one"], "--roles names 1 roles, and there are 2 agents"),
        (["tests.audited:Duet", "--games", "3"], "games must be from 40 to 100 000, not 3"),
        (["tests.audited:Duet", "tests.audited:Echo"], "name one environment, or runs' folders"),
        ([str(GOLDEN), "--hears", "buffer"], "--hears is for environments: of a run it is known"),
        ([str(ROOT)], "is not a run: it has no config.json"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(call: Call, args: list[str], says: str) -> None:
    told = call("audit", *args)
    assert told.code == 2, told.out
    assert says in told.err
    assert told.err.count("\n") == 1


@pytest.mark.parametrize("first", ["gru", "window"])
def test_networks_that_read_different_numbers_of_rounds_meet(call: Call, tmp_path: Path, first: str) -> None:
    small = ("--workers", 0, "--episodes", 40, "--games", 8, "--evaluation-games", 10, "--hidden-size", 8)
    for torso in ("gru", "window"):
        trained = call("train", *small, "--torso", torso, "--log-dir", tmp_path, "--run-name", torso)
        assert trained.code == 0, trained.err
    paths = sorted((tmp_path / "gru", tmp_path / "window"), key=lambda path: path.name != first)
    subject = of_runs(paths, (), None, (), 60)
    assert [policy.sizes.window for policy, _ in subject.runs.values()] == ([1, 8] if first == "gru" else [8, 1])
    for team in subject.teams.values():
        assert subject.arena.play(team, 0).ended


@pytest.mark.slow
def test_a_run_is_audited(call: Call) -> None:
    told = call("audit", GOLDEN, "--games", 60, "--json")
    assert told.code == 0, told.err
    found = {row["check"]: row for row in json.loads(told.out)["rows"]}
    assert found["success changes with channel shuffled"]["verdict"] == "yes"
    assert found["what is heard changes what is done"]["verdict"] == "yes"
    assert found["words tell what their speaker knows"]["verdict"] == "no"  # nobody knows anything at first
