"""Is your channel real? `python -m emcomm.audit ENVIRONMENT --policies module:Name`, or `python -m emcomm.audit RUN`.

Nothing is trained and nothing is written. The environment is a PettingZoo ParallelEnv: `module:Name` of something that
makes one when it is called (`mpe2.simple_reference_v3:parallel_env`), or a game of emcomm (`emcomm/crossing-v1`). A
policy is `module:Name` of a function `policy(observation) -> action` or `policy(observation, rng) -> action`, where
`rng` is a numpy generator, or of a class: one instance for each agent, which is called so; its `reset(seed)` is called
when an episode starts, and without it a new instance is made. A run is played by the network of its newest checkpoint.
Only what is named on the command line is executed.

## What is looked at

Episodes are played again with one thing changed, by the same seeds: whatever then differs is its effect.

- *Is it repeatable?* A seed fixes an episode, in a new environment, in one that has been used (stale messages), and
  beside another one (shared state).
- *Is there a channel?* Single actions are changed. Two actions are *talk* if nobody's reward and end depend on which of
  them was taken, whatever the others do; what another agent sees of it is the message part of its observation. Is it
  seen by anyone else, is it no echo, does it come before a decision that pays, and is nobody's move seen by another
  that has still to make its own (games of one joint move)?
- *Does anything else give the role away?* All play at random, which treats agents of one role alike; a tree then tries
  to tell them apart by the order of speaking, the mask, rewards, padding, and the rest of what they see. Agents of one
  role: equal spaces, and names that differ in their numbers, or `--roles`.
- *Do the agents play fair?* Policies follow their seed; alone and shown the same they act the same (no shared memory);
  and the same actions without policies are heard as the same (nothing but actions is passed on, no probabilities).
- *Is anything said, is it heard, does it matter?* Not faults, but answers. Words vary; they change when what their
  speaker knows is exchanged (positive signalling); a policy acts otherwise with other words in its ear (positive
  listening); the return changes with the messages of other episodes, and with none; a run also plays the registered
  controls of the channel.
- *Is it private?* Where several policies are named: cross-play.

## What is printed

A row for each check: verdict, evidence, and a p-value corrected for the number of tests (Holm). FAULT is given where it
is at most 0.001; 0 stands for two replays that differ, which is proof. Agents that are silent, deaf, or bad are no
fault. Exit code: 0 sound, 1 a fault, 2 bad input.

What an environment passes in `infos` is not looked at, except an action mask. A check of a channel made by a control
(`constant`, `shuffled`) finds what the control does.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emcomm import require_room
from emcomm.cli import parse, run_command
from emcomm.errors import BadInput
from emcomm.printable import printable

if TYPE_CHECKING:
    from analysis.causal.audit import Audit
    from analysis.causal.audit.subjects import Subject

MOST_GAMES, FEWEST_GAMES = 200, 40
SECONDS = 75.0
"""Time for which the number of games is chosen, where none is given (s)."""


@dataclass(frozen=True)
class AuditOptions:
    """Is anything said, is it heard, does it matter, does anything else give the role away? Nothing is trained.

    A PettingZoo ParallelEnv and policies by name, or runs. Each episode is played again with one thing changed: an
    action, what a policy hears or knows, what was played before. Whatever then differs is its effect.

    FAULT: the seed is ignored, messages stay from the last episode, environments or policies share a state, the channel
    is disconnected or an echo, messages come too late, a move is seen before one's own, probabilities are heard, or the
    role is told by order, mask, rewards, padding or anything else. yes and no: whether the talk is used. p-values are
    corrected for the number of tests, and faults named from 0.001 down; 0: two replays differ, which is proof.

    A policy is a function policy(observation) or policy(observation, rng), or a class of which each agent gets an
    instance; its reset(seed) starts an episode (without it, a new instance is made). Agents of one role (equal spaces,
    names that differ in their numbers) should not be told apart: --roles says otherwise.

    Exit code: 0 sound, 1 a fault was found, 2 bad input.

    Examples: python -m emcomm.audit mpe2.simple_reference_v3:parallel_env --policies my_module:policy ·
    python -m emcomm.audit my_module:make_env --policies my_module:Speaker,my_module:Listener my_module:Other ·
    python -m emcomm.audit logs/RUN
    """

    what: tyro.conf.Positional[tuple[str, ...]]
    """The environment (module:Name, or a game of emcomm), or runs' folders: several play each other."""
    policies: tuple[str, ...] = ()
    """Who plays: module:Name for all agents, or one for each agent with commas between; several are played together."""
    says: str | None = None
    """Which actions are symbols, for Discrete actions (0-5,9). Default: found by intervention."""
    hears: tuple[str, ...] = ()
    """Which part of an observation carries messages (comm, observation[3:8]). Default: found by intervention."""
    roles: tuple[str, ...] = ()
    """A role for each agent, in the order of possible_agents (sender receiver): agents of one should be alike."""
    turns: bool = False
    """Agents move in turn, and may see what was done: that is no fault."""
    games: int | None = None
    """Episodes for each check (games). Default: 200, or as many as fit into about a minute, at least 40."""
    steps: int = 200
    """Steps after which an episode is left (steps)."""
    seed: int = 0
    """Fixes all that is drawn."""
    json: bool = False
    """Print the table as JSON."""
    env: str | None = None
    """The game, where runs were trained on one outside emcomm (module:Name): only what is named here is executed."""
    code: tuple[str, ...] = ()
    """Channels, torsos and algorithms outside emcomm that the runs use (module:Name); nothing else is executed."""

    def __post_init__(self) -> None:
        if not self.what:
            raise ValueError("name an environment (module:Name) or a run's folder")
        if self.games is not None and not FEWEST_GAMES <= self.games <= 100_000:
            raise ValueError(f"games must be from {FEWEST_GAMES} to 100 000, not {self.games}")
        if not 1 <= self.steps <= 100_000:
            raise ValueError(f"steps must be from 1 to 100 000, not {self.steps}")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed must be from 0 to {2**31 - 1}, not {self.seed}")


def main() -> int:
    """The command line."""
    options = parse(AuditOptions, sys.argv[1:], "emcomm.audit")
    require_room("analysis")

    import torch

    from analysis.causal.audit import audit
    from analysis.causal.audit.subjects import checks_of_runs

    torch.set_num_threads(1)
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)  # the console script, too, finds modules of the folder that it is called in
    console = Console(highlight=False, stderr=options.json)
    subject = _subject(options)
    games = options.games or _affordable(subject)
    with console.status("") as status:

        def doing(text: str) -> None:
            status.update(escape(printable(text)))

        more = checks_of_runs(subject, doing)
        found = audit(
            subject.arena, subject.teams, games=games, seed=options.seed, says=subject.says, hears=subject.hears,
            roles=subject.roles, turns=subject.turns, more=more, doing=doing,
        )  # fmt: skip
    if options.json:
        rows = [row.to_json() for row in found.rows]
        print(json.dumps({"sound": found.sound, "games": games, "message_part": found.message_part, "rows": rows},
                         indent=2, allow_nan=False))  # fmt: skip
    else:
        _print(console, found, " ".join(options.what))
    return 0 if found.sound else 1


def _subject(options: AuditOptions) -> Subject:
    """What is named; raises BadInput where it is nothing."""
    from analysis.causal.audit.subjects import of_environment, of_runs

    paths = [Path(name) for name in options.what]
    if all(path.exists() for path in paths):
        for flag, given in (("--says", options.says), ("--hears", options.hears), ("--roles", options.roles)):
            if given:
                raise BadInput(f"{flag} is for environments: of a run it is known")
        return of_runs(paths, options.policies, options.env, options.code, options.steps)
    if len(paths) > 1:
        missing = next(str(path) for path in paths if not path.exists())
        raise BadInput(f"name one environment, or runs' folders: there is no folder {missing}")
    return of_environment(options.what[0], options.policies, options.says, options.hears, options.roles, options.steps)


def _affordable(subject: Subject) -> int:
    """As many games as about a minute allows, from 40 to 200."""

    def timed(play: object) -> float:
        assert callable(play)
        start = time.perf_counter()
        for seed in range(3):
            play(seed)
        return (time.perf_counter() - start) / 3

    cost = 7 * timed(subject.arena.random)
    for team in subject.teams.values():
        cost += 7 * timed(lambda seed, team=team: subject.arena.play(team, seed))
    return int(min(MOST_GAMES, max(FEWEST_GAMES, SECONDS / max(cost, 1e-9))))


def _print(console: Console, found: Audit, name: str) -> None:
    """The table, and what it amounts to."""
    table = Table("check", "verdict", "evidence", "p", title=escape(printable(f"{name}, {found.games} games")))
    table.title_justify = "left"
    question = ""
    for row in found.rows:
        if row.question != question:
            question = row.question
            table.add_section()
            table.add_row(f"[bold]{escape(question)}[/]", "", "", "")
        colour = {"FAULT": "bold red", "yes": "green", "no": "yellow", "not tested": "dim"}.get(row.verdict, "")
        verdict = f"[{colour}]{row.verdict}[/]" if colour else row.verdict
        p = "" if row.p_value is None else f"{row.p_value:.2g}"
        table.add_row(escape(printable(row.check, 120)), verdict, escape(printable(row.evidence, 400)), p)
    console.print(table)
    faults = [row.check for row in found.faults]
    said = f"{len(faults)} faults" if len(faults) > 1 else "1 fault" if faults else "sound: no fault was found"
    console.print(said + (f"; what is missing: {'; '.join(map(escape, faults))}" if faults else ""), soft_wrap=True)


def run() -> None:
    """The console script."""
    run_command(main)


if __name__ == "__main__":
    run()
