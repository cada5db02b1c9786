"""A run's dialogues, and its policy where one is at hand, as an analysis meets them: nothing is ever written.

What cannot be read is passed over and noted, one line each, in `LoadedRun.problems`. Dialogues are streamed part by
part, so memory does not grow with the log; torch is imported by `LoadedRun.checkpoint` alone.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emcomm.config import read_config, read_run_file, require_named, upgraded
from emcomm.dialogues import DialogueTable, LogFacts, concatenate, facts_of, parts_of, read_part, rows_of
from emcomm.errors import BadInput
from emcomm.files import no_folder
from emcomm.verification import check_log
from envs import GAMES
from envs.crossing import CrossingGame
from envs.game import BadGame, Declaration, Game, declared, plain_declaration
from envs.negotiation import TalkRules

if TYPE_CHECKING:
    from emcomm.config import Config
    from emcomm.networks.policy import Policy

LOGS = ("dialogues", "evaluation")
PARTS = "part-*.parquet"


class TrainedPolicy(NamedTuple):
    """The network behind the dialogues."""

    policy: Policy
    """In evaluation mode, on the CPU."""
    config: Config
    version: int
    """Updates that the weights had seen."""


NO_POLICY = "no policy: "
"""How the note begins that says why a run has no network."""


@dataclass
class LoadedRun:
    """One run on disk, opened for reading."""

    path: Path
    settings: dict[str, Any] | None
    """The `config` of config.json as plain values, complete or not, an older one as it reads today; None where it
    cannot be read."""
    facts: LogFacts | None
    """Number of tokens and names of the moves; None where no part can be read."""
    problems: list[str]
    """What was missing, damaged or passed over: one line each, longer after more has been read."""
    parts: dict[str, list[Path]] = field(repr=False)
    """The readable parts of each log, in order."""
    env: str | None = None
    """A game outside emcomm that the user has named: no other code is executed."""
    code: Sequence[str] = ()
    """Channels, torsos and algorithms outside emcomm that the user has named."""
    _n_agents: int | None = field(default=None, repr=False)  # of the first dialogues that were read

    @property
    def name(self) -> str:
        """The name of the run folder."""
        return self.path.resolve().name

    def training(self) -> Iterator[DialogueTable]:
        """The dialogues of training, part by part, in the order in which they reached the learner."""
        return self._stream("dialogues")

    def evaluation(self) -> Iterator[DialogueTable]:
        """The dialogues of the frozen policy, part by part."""
        return self._stream("evaluation")

    def sample(self, n: int, seed: int = 0) -> DialogueTable | None:
        """At most `n` dialogues of the frozen policy, drawn evenly over its log; None where no dialogue can be read.

        Where there is no evaluation, the last part of training stands in; that is noted, for it mixes policies.
        """
        table = _draw(self.evaluation(), n, np.random.default_rng(seed))
        if table is not None:
            return table
        for part in reversed(self.parts["dialogues"]):
            last = self._read(part)
            if last is not None and len(last):
                low, high = last.policy_version.min(), last.policy_version.max()
                self._note(
                    f"{self.path} has no evaluation: the last part of training stands in, {len(last)} dialogues of "
                    f"policy versions {low} to {high}"
                )
                return _draw(iter([last]), n, np.random.default_rng(seed))
        return None

    def checkpoint(self) -> TrainedPolicy | None:
        """The newest policy; None, and a noted problem, where it is missing, damaged or cannot be built."""
        from emcomm.runs import Run
        from emcomm.worlds import load_policy

        try:
            run = Run.open(self.path, self.env, self.code)
            policy, saved = load_policy(run, version=self._version())
        except (BadInput, OSError, ValueError, TypeError) as error:
            self._note(f"{NO_POLICY}{error}")
            return None
        rules = replace(run.config.rules, window=policy.sizes.window)
        return TrainedPolicy(policy, replace(run.config, rules=rules), int(saved.facts.get("version", 0)))

    def _version(self) -> int | None:
        """The updates that the policy of the evaluation had seen, which a training that goes on leaves behind."""
        first = next(self.evaluation(), None)
        return None if first is None else int(first.policy_version[0])

    def game(self) -> Callable[[int, np.random.Generator], Game]:
        """The game of the run; raises BadInput where it is unknown, or code outside emcomm that nobody has named.

        Where its moves are those of the crossing, it is taken for that, which is noted.
        """
        from emcomm.games import game_class

        env = self.env_name or "no game"
        if env not in GAMES and env != self.env:
            advice = f"{env} is no game of emcomm; where it is code of yours, name it: --env {shlex.quote(env)}"
            if self.facts is None or self.facts.move_names != CrossingGame.move_names:
                raise BadInput(advice)
            if self.env_name is not None:
                self._note(f"{self.path}: {advice}; taken for the crossing, whose moves it has")
            return CrossingGame
        options = (self.settings or {}).get("game_options")
        return game_class(env, options if isinstance(options, dict) else None)

    @property
    def config(self) -> Config:
        """The configuration; raises BadInput where config.json is missing, damaged or incomplete."""
        return read_config(self.path)

    @property
    def env_name(self) -> str | None:
        """The game by name; None where it is not known."""
        name = (self.settings or {}).get("env")
        return name if isinstance(name, str) else None

    @property
    def seed(self) -> int | None:
        """What fixed the run; None where it is not known."""
        seed = (self.settings or {}).get("seed")
        return seed if isinstance(seed, int) else None

    @property
    def channel(self) -> str:
        """The name of the channel over which the dialogues were held; open where it is not known."""
        rules = (self.settings or {}).get("rules")
        return str(rules.get("channel", "open")) if isinstance(rules, dict) else "open"

    def rules(self) -> TalkRules | None:
        """The rules of talk; None where they are not known. Raises BadInput for a channel that nobody has named."""
        require_named(self.path, self.channel, self.code)
        try:
            return TalkRules(**(self.settings or {})["rules"])
        except (KeyError, TypeError, ValueError):
            return None

    def declaration(self) -> Declaration:
        """What the game declares: as the log has it, or else as the game itself says; by default nothing."""
        if self.facts is not None and self.facts.game is not None:
            return self.facts.game
        agents = self._n_agents or next((t.moves.shape[1] for log in LOGS for t in self._stream(log)), 2)
        try:
            game = declared(self.game()(1, np.random.default_rng(0)))
        except (BadInput, BadGame, TypeError, AttributeError):
            game = None
        moves = self.facts.move_names if self.facts is not None else ("move",)
        if game is None or game.move_names != moves or game.n_agents != agents:
            return plain_declaration(agents, moves)
        return game

    def check(self) -> None:
        """Note where a part is missing or was changed: the quick part of `python -m emcomm.verify`."""
        for log in LOGS:
            for problem in check_log(self.path / log, deep=False).problems:
                if not any(known.startswith(problem) for known in self.problems):
                    self._note(f"{problem} (see python -m emcomm.verify)")

    def count(self, log: str = "dialogues") -> int:
        """How many dialogues the readable parts of a log ("dialogues" or "evaluation") say they hold."""
        return sum(rows_of(part) for part in self.parts[log])

    def _stream(self, log: str) -> Iterator[DialogueTable]:
        for part in self.parts[log]:
            table = self._read(part)
            if table is not None and len(table):
                yield table

    def _read(self, part: Path) -> DialogueTable | None:
        try:
            table = read_part(part)
        except BadInput as error:
            self._note(f"{error}; passed over")
            return None
        agents = table.moves.shape[1]
        if len(table) and agents != (self._n_agents or agents):
            self._note(f"{part} has {agents} agents, the dialogues before it {self._n_agents}; passed over")
            return None
        self._n_agents = agents if len(table) else self._n_agents
        return table

    def _note(self, problem: str) -> None:
        line = " ".join(problem.split())
        if line not in self.problems:
            self.problems.append(line)


def load(path: str | Path, env: str | None = None, code: Sequence[str] = ()) -> LoadedRun:
    """Open one run folder for reading; raises BadInput where `path` is none.

    A folder without config.json can be analysed as long as it holds dialogues. A run folder is data: where its game is
    code outside emcomm, that is executed only if it is `env` (channels, torsos and algorithms: if they are in `code`),
    and otherwise only what needs no code can be found out.

    Parameters
    ----------
    path : str or Path
        The run's folder.
    env : str, optional
        The game, where it is code outside emcomm (`module:Name`).
    code : sequence of str
        Channels, torsos and algorithms outside emcomm that the run uses.

    Returns
    -------
    LoadedRun
        `path`; `settings`, plain values or None; `config`, the same typed, where it is complete; `facts`, what the log
        says of itself; `problems`, one line each; `parts`, the readable files of each log; `env` and `code` as given.

    Examples
    --------
    `analysis.load("logs/RUN").sample(1_000)` draws 1 000 dialogues of the frozen policy.
    """
    path = Path(path)
    if not path.is_dir():
        raise no_folder(path, "run folder")
    if not is_run(path):
        raise BadInput(_why_no_run(path))
    config, problem = _config(path)
    run = LoadedRun(path, config, None, [problem] if problem else [], {}, env, code)
    facts = {log: _facts(run, log) for log in LOGS}
    run.facts = _common({**facts["dialogues"], **facts["evaluation"]}, config)
    for log, of_part in facts.items():
        run.parts[log] = [part for part, fact in of_part.items() if _fits(run, part, fact)]
    if not any(map(run.count, LOGS)):
        run._note(f"{path} holds no dialogues that can be read")
    return run


def find_runs(folder: str | Path) -> list[Path]:
    """The run folders at or below `folder`, sorted; raises BadInput, saying why, where there is none.

    Parameters
    ----------
    folder : str or Path
        A run's folder, or one above several.

    Returns
    -------
    list of Path
        The run folders.

    Examples
    --------
    `[analysis.load(path) for path in analysis.find_runs("logs")]`
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise no_folder(folder, "folder")
    runs = list(_runs_below(folder))
    if not runs:
        raise BadInput(_why_no_run(folder))
    return runs


def is_run(path: Path) -> bool:
    """Whether a folder looks like a run: it has a config.json or a folder of dialogues."""
    return (path / "config.json").is_file() or any((path / log).is_dir() for log in LOGS)


def _runs_below(folder: Path) -> Iterator[Path]:
    waiting = [folder]
    while waiting:
        folder = waiting.pop()
        if is_run(folder):
            yield folder
            continue
        inside = [b for b in folder.iterdir() if b.is_dir() and not b.is_symlink() and not b.name.startswith(".")]
        waiting += sorted(inside, reverse=True)


def _why_no_run(folder: Path) -> str:
    if any(folder.glob(PARTS)):
        return f"{folder} holds the parts of one log: give the run folder above it"
    if not any(folder.iterdir()):
        return f"the folder {folder} is empty"
    return f"there is no run in {folder}: a run folder has a config.json, or dialogues in dialogues/ or evaluation/"


def _config(path: Path) -> tuple[dict[str, Any] | None, str | None]:
    """The configuration as plain values, and what is wrong with it."""
    if not os.path.lexists(path / "config.json"):
        return None, f"{path} has no config.json"
    try:
        saved = read_run_file(path)
        return upgraded(saved.config, saved.version), None
    except BadInput as error:
        return None, " ".join(str(error).split())


def _facts(run: LoadedRun, log: str) -> dict[Path, LogFacts]:
    """What each readable part of a log says of itself; the others are noted."""
    by_part: dict[Path, LogFacts] = {}
    try:
        parts = parts_of(run.path / log)
    except BadInput as error:
        run._note(f"{error}; passed over")
        parts = []
    for part in parts:
        try:
            facts = facts_of(part)
        except BadInput as error:
            run._note(f"{error}; passed over")
        else:
            by_part[part] = facts
    return by_part


def _common(facts: dict[Path, LogFacts], config: dict[str, Any] | None) -> LogFacts | None:
    """What most parts say; where they are even, what the configuration says."""
    if not facts:
        return None
    rules = (config or {}).get("rules")
    configured = rules.get("n_tokens") if isinstance(rules, dict) else None
    counts = Counter(facts.values())
    return max(counts, key=lambda f: (counts[f], f.n_tokens == configured))


def _fits(run: LoadedRun, part: Path, facts: LogFacts) -> bool:
    """Whether a part speaks the run's language; noted where it does not."""
    common = run.facts
    if common is None or facts[1:] == common[1:]:
        return True
    run._note(
        f"{part} has {facts.n_tokens} tokens and moves {', '.join(facts.move_names)}, most of the run "
        f"{common.n_tokens} and {', '.join(common.move_names)}; passed over"
    )
    return False


def _draw(tables: Iterator[DialogueTable], n: int, rng: np.random.Generator) -> DialogueTable | None:
    """`n` dialogues drawn evenly and without replacement from a stream, in its order; None where it has none.

    The first `n` would favour short talks, which end first.
    """
    kept: DialogueTable | None = None
    keys = np.zeros(0)
    for table in tables:
        drawn = rng.random(len(table))
        if table.negotiation.any():  # whole episodes, for what was said before belongs to it
            _, first, episode = np.unique(table.episode, return_index=True, return_inverse=True)
            drawn = drawn[first][episode.reshape(-1)]
        keys = np.concatenate([keys, drawn])
        if len(keys) <= n:
            kept = table if kept is None else concatenate([kept, table])
            continue
        chosen = np.flatnonzero(keys < np.partition(keys, n)[n])  # of an episode all or nothing
        keys = keys[chosen]
        held = 0 if kept is None else len(kept)
        new = table[chosen[chosen >= held] - held]
        kept = new if kept is None else concatenate([kept[chosen[chosen < held]], new])
    return kept
