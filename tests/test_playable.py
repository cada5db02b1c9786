"""What the page plays with: the network in JavaScript decides as torch does, and its talk is that of `Negotiation`."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import analysis
from analysis.agents.synthetic_protocols import plant
from analysis.automata.protocol_machine import ProtocolMachine
from analysis.data.decisions import NotApplicable
from analysis.report.findings import Findings
from analysis.report.playable import packed_machine, packed_network, packed_rules, playable
from analysis.report.study import QUICK, Study
from emcomm.config import Config
from emcomm.networks.policy import Policy
from emcomm.rollout import draw_races, sample
from emcomm.runs import Run
from emcomm.worlds import load_policy, make_policy
from envs.crossing import CrossingGame
from envs.negotiation import Negotiation, TalkRules
from tests.test_report_browser import CHROMIUM, FLAGS

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

PLAY_ALL = """([rules, packed, races, lengths]) => {
  const network = new Network(packed), all = unpacked(races, Float32Array), actions = packed.actions;
  let at = 0;
  const next = () => { const race = all.slice(at, at + actions); at += actions; return race; };
  return JSON.stringify(lengths.map(() => {
    let talk = newTalk(rules);
    const seats = [0, 1].map((seat) => new NetworkSeat(rules, network, seat)), taken = [], likely = [];
    while (!talk.moves) {
      seats.forEach((seat) => seat.see(talk));
      taken.push(seats.map((seat) => drawn(seat.odds, next())));
      likely.push(seats.map((seat) => likeliest(seat.odds)));
      talk = afterActions(rules, talk, taken[taken.length - 1]);
    }
    return { taken, likely, ...talk };
  }));
}"""


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """An empty page with the rules and the network in it."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.add_script_tag(content=(files("analysis.report") / "page" / "game.js").read_text(encoding="utf-8"))
        yield page
        browser.close()


class Game(NamedTuple):
    """One game that Python has played."""

    races: list[np.ndarray]
    """Each step, `[N, A]`."""
    taken: list[list[int]]
    likely: list[list[int]]
    symbols: list[list[int]]
    moves: list[int]
    success: bool
    cut: bool


@torch.no_grad()
def played(policy: Policy, rules: TalkRules, games: int, seed: int = 0) -> list[Game]:
    """Games of the network against itself through `Negotiation`, with all random numbers that were drawn."""
    rng = np.random.default_rng(seed)
    negotiation = Negotiation(CrossingGame(games, rng), rules, rng)
    negotiation.reset()
    memory = policy.initial_memory(2 * games)
    courses: list[tuple[list[Any], list[Any], list[Any]]] = [([], [], []) for _ in range(games)]
    done: dict[int, Game] = {}
    while len(done) < games:
        seen = negotiation.observe()
        memory = policy.remember(policy.encode(seen), memory)
        mask = torch.from_numpy(seen.mask).view(2 * games, -1)
        race = draw_races((2 * games, negotiation.n_actions), rng)
        taken = sample(policy, memory, mask, race).view(games, 2).numpy()
        likely = policy.logits(memory, mask).argmax(-1).view(games, 2).numpy()
        for game in set(range(games)) - set(done):
            courses[game][0].append(race.view(games, 2, -1)[game].numpy())
            courses[game][1].append(taken[game])
            courses[game][2].append(likely[game])
        step = negotiation.step(taken)
        ends = np.cumsum(step.dialogues.n_rounds)
        for d, game in enumerate(step.dialogues.game.tolist()):
            if game not in done:
                symbols = step.dialogues.symbols[ends[d] - step.dialogues.n_rounds[d] : ends[d]]
                races, all_taken, all_likely = courses[game]
                done[game] = Game(
                    races, np.stack(all_taken).tolist(), np.stack(all_likely).tolist(), symbols.tolist(),
                    step.dialogues.moves[d].tolist(), bool(step.dialogues.success[d]), bool(step.dialogues.cut[d]),
                )  # fmt: skip
        negotiation.reset(step.over)
        memory = policy.restart(memory, step.over)
    return [done[game] for game in range(games)]


def same_in_the_page(page: Any, policy: Policy, rules: TalkRules, games: int) -> int:
    """Plays the same games in the page, and returns in how many decisions both agreed: all of them."""
    by_python = played(policy, rules, games)
    races = np.concatenate([race.ravel() for game in by_python for race in game.races]).astype("<f4")
    lengths = [len(game.taken) for game in by_python]
    arguments = [packed_rules(rules), packed_network(policy), base64.b64encode(races.tobytes()).decode(), lengths]
    by_page = json.loads(page.evaluate(PLAY_ALL, arguments))
    for python, javascript in zip(by_python, by_page, strict=True):
        for name in ("taken", "likely", "symbols", "moves", "success", "cut"):
            assert javascript[name] == getattr(python, name), name
    return 2 * sum(lengths)


GOLDEN = Path(__file__).parent / "golden" / "run"
RULES = [
    TalkRules(window=1),
    TalkRules(n_tokens=2, max_rounds=3, opening="talk", window=4),
    TalkRules(n_tokens=12, max_rounds=1, window=1),
    TalkRules(n_tokens=1, max_rounds=None, window=2),
]


@pytest.mark.parametrize("rules", RULES, ids=lambda rules: f"{rules.n_tokens} tokens, {rules.max_rounds} rounds")
def test_the_page_talks_as_the_rule_book_does(page: Any, rules: TalkRules) -> None:
    """Untrained networks: every symbol and move comes up, talks are cut, and some trains move while the others talk."""
    policy = make_policy(Config(rules=rules, hidden_size=16, seed=3))
    assert same_in_the_page(page, policy, rules, 200) > 400


def test_a_trained_network_decides_as_in_torch(page: Any) -> None:
    policy, _ = load_policy(Run.open(GOLDEN))
    assert same_in_the_page(page, policy, Run.open(GOLDEN).config.rules, 750) > 10_000


@pytest.mark.slow
def test_a_hundred_thousand_decisions_are_those_of_torch(page: Any, small_run: Path) -> None:
    run = Run.open(small_run)
    policy, _ = load_policy(run)
    assert same_in_the_page(page, policy, run.config.rules, 20_000) > 100_000


MACHINES: list[ProtocolMachine] = [plant("vote", 0, 5), plant("last difference", 1, 5)]


@pytest.mark.parametrize("clock", [1, 4])
@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_a_machine_in_the_page_is_in_the_same_state(page: Any, machine: ProtocolMachine, clock: int) -> None:
    rng = np.random.default_rng(0)
    timed = machine.automaton.with_clock(clock)
    emission = rng.dirichlet(np.ones(machine.emission.shape[1]), len(timed))
    machine = replace(machine, automaton=timed, emission=emission, visits=np.ones(len(timed), np.float32))
    talks = rng.integers(0, 6, (50, 7, 2))
    states = timed.run(talks, np.full(50, 7))
    found = page.evaluate(
        """([rules, packed, talks]) => talks.map((symbols) => {
          const seat = new MachineSeat(rules, new Machine(packed), 0);
          return symbols.map((_, t) => {
            seat.see({ phase: TALK, symbols: symbols.slice(0, t) });
            return { label: seat.label, yields: seat.yields, shares: shares(seat.all) };
          });
        })""",
        [packed_rules(TalkRules()), packed_machine(machine), talks.tolist()],
    )
    for d, states_of_one in enumerate(states.tolist()):
        for state, seen in zip(states_of_one, found[d], strict=False):
            assert seen["label"] == timed.labels[state].split(" @")[0]
            assert seen["yields"] == pytest.approx(machine.yields()[state], abs=1e-3)
            np.testing.assert_allclose(seen["shares"], machine.emission[state], rtol=2e-3, atol=1e-5)


# -- what the page cannot play -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"channel": "shuffled"}, "with channel open, and this run has shuffled"),
        ({"speaking": "sequential"}, "with speaking simultaneous"),
        ({"closing": "any"}, "with closing mutual"),
    ],
)
def test_other_talk_is_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(NotApplicable, match=says):
        packed_rules(TalkRules(**changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"torso": "lstm"}, "this network has lstm"),
        ({"population": 2}, "several networks play"),
        ({"hidden_size": 512}, "its weights take 3 MB"),
        ({"env": "emcomm/crossing-priority-v1"}, "sees more than the phase and the talk"),
    ],
)
def test_other_networks_are_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(NotApplicable, match=says):
        packed_network(make_policy(Config(**changes)))


def test_a_run_says_why_it_cannot_be_played(tmp_path: Path) -> None:
    """A log without a network; with one there are the weights, and no machine where no rule was looked for."""

    def opened(path: Path) -> dict[str, Any]:
        run = analysis.load(path)
        return playable(Findings(run, [], study=Study(run, QUICK)))

    assert set(opened(GOLDEN)) == {"rules", "network", "machine", "rule"}
    shutil.copytree(GOLDEN / "evaluation", tmp_path / "run" / "evaluation")
    assert opened(tmp_path / "run") == {"absent": "there is no network beside the log"}


def test_a_network_whose_code_nobody_named_says_so(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace('"emcomm/crossing-v0"', '"my.games:Chess"'))
    run = analysis.load(tmp_path / "run")
    absent = playable(Findings(run, [], study=Study(run, QUICK)))["absent"]
    assert absent.startswith("the network is left out: ")
    assert absent.endswith("is run only if you name it: --env my.games:Chess")
