"""Text and windows for a negotiation: a renderer reads, it knows no rules and is never called inside a step.

Everything is drawn from a `Scene`, plain data, so that a live environment, a logged dialogue and a player at the
keyboard are shown alike. The pictures themselves are painted in `envs.pictures`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from envs.channels import SILENT
from envs.game import Words

RenderMode = Literal["ansi", "rgb_array", "human"]
RENDER_MODES: tuple[str, ...] = get_args(RenderMode)

Picture = NDArray[np.uint8]
"""`[height, width, 3]` red, green, blue."""


@dataclass(frozen=True)
class Scene:
    """One negotiation as it stands, or as it ended. Outer tuples are over rounds, inner ones over agents."""

    agent_names: tuple[str, ...]
    move_names: tuple[str, ...]
    n_tokens: int = 5
    """Symbols below it are tokens, the symbol `n_tokens` is EOT."""
    phase: str = "OPEN"
    """OPEN, TALK or ACT."""
    symbols: tuple[tuple[int, ...], ...] = ()
    """What was said, round after round; SILENT (-1) where nothing was."""
    order: tuple[tuple[int, ...], ...] = ()
    """For each round the agents in the order in which they spoke; empty where all spoke at once."""
    moves: tuple[int, ...] = ()
    """The joint move, -1 for an agent that takes no part any more; empty until it is made."""
    rewards: tuple[float, ...] = ()
    """The game's rewards for the joint move, without the cost of talking."""
    success: bool | None = None
    """Whether the joint move did what the game asks for; None until it is made, or where the game does not say."""
    cut: bool = False
    """The talk ran into its limit of rounds."""
    words: Words = field(default_factory=Words)
    """The game's own."""
    knows: tuple[str, ...] = ()
    """What each agent alone knows, "delay 3"; empty where the game has no attributes."""

    def __str__(self) -> str:
        return text(self)

    @property
    def on_track(self) -> bool:
        """Two agents choosing between the main line and a detour: drawn as trains."""
        return self.move_names == ("main", "detour") and len(self.agent_names) == 2

    @property
    def outcome(self) -> str:
        """Success or failure in the game's own words; empty until the moves are made.

        Where the game declares no success: what all have gained together.
        """
        if self.success is None:
            return f"{sum(self.rewards):+g} in all" if self.rewards else ""
        return self.words.success if self.success else self.words.failure

    def move_name(self, agent: int) -> str:
        """What an agent did; `-` if it takes no part any more."""
        return self.move_names[self.moves[agent]] if self.moves[agent] >= 0 else "-"


def text(scene: Scene) -> str:
    """The dialogue as a table: one row per timestep, one column per agent, the symbol `n_tokens` being EOT.

    >>> trains, moves = ("train_0", "train_1"), ("main", "detour")
    >>> print(text(Scene(trains, moves, symbols=((4, 2), (5, 5)), moves=(0, 1), rewards=(1, 1), success=True)))
    timestep  train_0  train_1
           1        4        2
           2        5        5
        move     main   detour
      reward       +1       +1
    outcome: success
    """
    agents = range(len(scene.agent_names))
    rows = [("timestep", *scene.agent_names)]
    if any(scene.knows):
        rows.append(("knows", *(known or "-" for known in scene.knows)))
    said_from = len(rows)
    rows += [
        (str(t), *("-" if said == SILENT else str(said) for said in round_))
        for t, round_ in enumerate(scene.symbols, start=1)
    ]
    if scene.moves:
        rows.append(("move", *map(scene.move_name, agents)))
        rows.append(("reward", *(f"{reward:+g}" for reward in scene.rewards)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    for t, order in enumerate(scene.order, start=said_from):
        lines[t] += "  spoke: " + ", ".join(scene.agent_names[agent] for agent in order)
    if scene.cut:
        lines.append(f"the talk was cut after {rounds(len(scene.symbols))}")
    lines.append(f"outcome: {scene.outcome}" if scene.outcome else f"phase: {scene.phase}")
    return "\n".join(lines)


def rounds(count: int) -> str:
    """`1 round`, `2 rounds`: the number with its unit."""
    return f"{count} round" if count == 1 else f"{count} rounds"


class Window:
    """A window on the screen that shows one picture after another.

    Raises RuntimeError where there is no screen.
    """

    def __init__(self) -> None:
        self._image: Any = None

    def show(self, picture: Picture) -> None:
        """Replace what the window shows; opens it first, if need be."""
        import matplotlib.pyplot as plt

        if self._image is None or not plt.fignum_exists(self._image.figure.number):
            self._image = self._open(picture)
        self._image.set_data(picture)
        plt.pause(0.001)  # lets the window draw itself

    def _open(self, picture: Picture) -> Any:
        import matplotlib.pyplot as plt

        no_screen = "render_mode 'human' needs a screen and there is none: use 'rgb_array' or 'ansi'"
        height, width, _ = picture.shape
        try:
            figure = plt.figure("emcomm", figsize=(width / 100, height / 100))
        except Exception as error:  # each toolkit has its own way to say that it found no display
            raise RuntimeError(no_screen) from error
        if plt.get_backend().lower() == "agg":  # what matplotlib falls back to without a display
            plt.close(figure)
            raise RuntimeError(no_screen)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        plt.show(block=False)
        return axes.imshow(picture)

    def close(self) -> None:
        """Close the window, if it is open."""
        if self._image is not None:
            import matplotlib.pyplot as plt

            plt.close(self._image.figure)
            self._image = None
