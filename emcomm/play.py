"""Watch the agents of a run talk, or take the place of one.

`python -m emcomm.play RUN --games 3 --pictures FOLDER`, and `python -m emcomm.play RUN --seat 1`.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from rich.console import Console

from emcomm.cli import parse, run_command
from emcomm.errors import BadInput
from emcomm.runs import Run
from envs.game import Declaration
from envs.rendering import Scene, text

if TYPE_CHECKING:
    from emcomm.config import Config
    from emcomm.dialogues import DialogueTable
    from emcomm.networks.policy import Policy


@dataclass(frozen=True)
class PlayOptions:
    """Let the agents of a run play a few games, and show each as text, or also as a picture; or play one of them.

    Examples: python -m emcomm.play logs/RUN · python -m emcomm.play logs/RUN --seat 1 --hints
    """

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    games: int = 3
    """Games to show, at most 10; of a game with several joint moves, so many of these (games)."""
    pictures: Path | None = None
    """Folder for one PNG per game."""
    seat: int | None = None
    """Play this agent yourself, from the keyboard: its number, from 0 (default: only watch)."""
    hints: bool = False
    """With --seat: say what the network would do in your place."""
    seed: int | None = None
    """With --seat: what fixes the games; default: other games each time."""
    env: str | None = None
    """The game, where the run was trained on one outside emcomm (module:Name): only what is named here is executed."""
    code: tuple[str, ...] = ()
    """Channels, torsos and algorithms outside emcomm that the run uses (module:Name); nothing else is executed."""


def scenes(table: DialogueTable, game: Declaration, n_tokens: int) -> list[Scene]:
    """Each dialogue as it stood at its end, ready to be drawn."""
    return [
        Scene(
            game.agent_names, game.move_names, n_tokens, "ACT", words=game.words,
            symbols=tuple(map(tuple, one.symbols.tolist())), order=tuple(map(tuple, one.speakers.tolist())),
            moves=tuple(one.moves[0].tolist()), rewards=tuple(one.rewards[0].tolist()),
            success=bool(one.success[0]) if one.judged else None, cut=bool(one.cut[0]),
            knows=game.knows(one.private[0]),
        )
        for one in (table[d] for d in range(len(table)))
    ]  # fmt: skip


def _save_pictures(shown: list[Scene], folder: Path | None) -> None:
    """One PNG for each game, where a folder was named."""
    if folder is None:
        return
    from PIL import Image

    from envs.pictures import draw

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, scene in enumerate(shown, 1):
            Image.fromarray(draw(scene)).save(folder / f"game-{number}.png")
    except OSError as error:
        raise BadInput(f"the pictures cannot be written: {error}") from error


def main() -> int:
    """The command line."""
    options = parse(PlayOptions, sys.argv[1:], "emcomm.play")
    if not 1 <= options.games <= 10:
        raise BadInput(f"--games must be from 1 to 10, not {options.games}")
    run = Run.open(options.run, options.env, options.code)

    from emcomm.evaluation import evaluate
    from emcomm.worlds import declaration, load_policy

    policy, _ = load_policy(run)
    console = Console(highlight=False)
    game = declaration(run.config)
    if options.seat is not None and not 0 <= options.seat < game.n_agents:
        raise BadInput(
            f"--seat must be from 0 to {game.n_agents - 1}, the agents of {run.config.env}, not {options.seat}"
        )
    shown: list[Scene] = []
    if options.seat is None:
        watched = evaluate(policy, run.config, 200).shown[: options.games]
        shown = scenes(watched, game, run.config.rules.n_tokens)
        _save_pictures(shown, options.pictures)  # what cannot be written is said before anything else
    finished = [0]
    for scene in shown or _played(policy, run.config, options, console, finished):
        console.print(text(scene), end="\n\n", markup=False, soft_wrap=True)
        if options.seat is not None:
            shown.append(scene)
    if options.seat is not None:
        console.print(_tally(shown, finished[0], game, options.seat), markup=False, soft_wrap=True)
        _save_pictures(shown, options.pictures)
    if options.pictures is not None:
        console.print(f"{len(shown)} pictures lie in {options.pictures}", soft_wrap=True)
    return 0


def _tally(shown: list[Scene], games: int, game: Declaration, seat: int) -> str:
    """What a person has reached in so many whole games: successes, or where the game declares none what was gained."""
    many = len(shown)
    count = f"{many} game{'s' * (many != 1)}"
    if games < many:  # games with several joint moves, or one that was left
        count = f"{many} joint move{'s' * (many != 1)} ({games} whole game{'s' * (games != 1)})"
    if not game.has_success:
        return f"{count}, {sum(scene.rewards[seat] for scene in shown):+g} for you"
    won = sum(bool(scene.success) for scene in shown)
    return f"{count}, {won} × {game.words.success}"


def _played(
    policy: Policy, config: Config, options: PlayOptions, console: Console, finished: list[int]
) -> Iterator[Scene]:
    """The joint moves that a person plays a part in; they end politely where nobody answers any more.

    `finished` counts the whole games.
    """
    from emcomm.seat import Seat

    def ask(prompt: str) -> str:
        console.print(prompt, end="", markup=False, soft_wrap=True)
        given = sys.stdin.readline()
        if not given:
            console.print()
            raise EOFError
        return given

    def say(words: str) -> None:
        console.print(words, markup=False, soft_wrap=True)

    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    seat = Seat(policy, config, options.seat or 0, ask, say, options.seed, options.hints)
    with suppress(EOFError):
        for scene in islice(seat.games(), options.games):
            finished[0] = seat.finished
            yield scene


def run() -> None:
    """The console script."""
    run_command(main)


if __name__ == "__main__":
    run()
