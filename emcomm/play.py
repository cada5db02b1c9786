"""Watch the agents of a run talk: `python -m emcomm.play RUN --games 3 --pictures FOLDER`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
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
    from emcomm.dialogues import DialogueTable


@dataclass(frozen=True)
class PlayOptions:
    """Let the agents of a run play a few games, and show each as text, or also as a picture."""

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    games: int = 3
    """Games to show, at most 10 (games)."""
    pictures: Path | None = None
    """Folder for one PNG per game."""
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
            success=bool(one.success[0]), cut=bool(one.cut[0]), knows=game.knows(one.private[0]),
        )
        for one in (table[d] for d in range(len(table)))
    ]  # fmt: skip


def main() -> int:
    """The command line."""
    options = parse(PlayOptions, sys.argv[1:], "emcomm.play")
    if not 1 <= options.games <= 10:
        raise BadInput(f"--games must be from 1 to 10, not {options.games}")
    run = Run.open(options.run, options.env, options.code)

    from PIL import Image

    from emcomm.evaluation import evaluate
    from emcomm.worlds import declaration, load_policy
    from envs.pictures import draw

    policy, _ = load_policy(run)
    console = Console(highlight=False)
    table = evaluate(policy, run.config, 200).shown
    shown = scenes(table[: options.games], declaration(run.config), run.config.rules.n_tokens)
    if options.pictures is not None:
        try:
            options.pictures.mkdir(parents=True, exist_ok=True)
            for number, scene in enumerate(shown, 1):
                Image.fromarray(draw(scene)).save(options.pictures / f"game-{number}.png")
        except OSError as error:
            raise BadInput(f"the pictures cannot be written: {error}") from error
    for scene in shown:
        console.print(text(scene), end="\n\n")
    if options.pictures is not None:
        console.print(f"{len(shown)} pictures lie in {options.pictures}", soft_wrap=True)
    return 0


def run() -> None:
    """The console script."""
    run_command(main)


if __name__ == "__main__":
    run()
