"""The worlds: games, the talk around them, and their registration with PettingZoo.

After `import envs`, `pettingzoo.make("parallel", "emcomm/crossing-v1", n_tokens=3)` makes an environment, and so does
`"aec"`. Without that import PettingZoo says `Namespace 'emcomm' not found in registry`: it looks for no plugins. A new
game is one file and one line in `GAMES`.
"""

from collections.abc import Callable

from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.env_registry.registration import aec_registry, parallel_registry, register

from envs.channels import CHANNELS, Channel
from envs.crossing import CrossingGame
from envs.crossing_priority import CrossingPriorityGame
from envs.foreign import NegotiableEnv, ParallelGame, negotiable
from envs.game import (
    Attribute,
    BadEnvironment,
    BadGame,
    BadOption,
    Decision,
    Declaration,
    Game,
    Outcome,
    Words,
    declared,
)
from envs.item_split import ItemSplitGame
from envs.line import LineGame
from envs.matrix import MatrixGame
from envs.negotiation import SILENT, GameOver, IllegalAction, Negotiation, TalkRules
from envs.parallel import NegotiationEnv, View, env, parallel_env
from envs.registry import Registry, Unknown
from envs.rendering import Scene
from envs.signalling import SignallingGame
from envs.switch_riddle import SwitchRiddleGame
from envs.task_and_talk import TaskAndTalkGame
from envs.traffic_junction import TrafficJunctionGame

NO_GAME = "it must be a class like envs.game.Game, or make a PettingZoo environment, as module:parallel_env does"

GAMES: Registry[Callable[..., Game]] = Registry(
    "env",
    [
        ("emcomm/crossing-v1", CrossingGame),
        ("emcomm/crossing-priority-v1", CrossingPriorityGame),
        ("emcomm/signalling-v1", SignallingGame),
        ("emcomm/task-and-talk-v1", TaskAndTalkGame),
        ("emcomm/switch-riddle-v1", SwitchRiddleGame),
        ("emcomm/matrix-v1", MatrixGame),
        ("emcomm/item-split-v1", ItemSplitGame),
        ("emcomm/line-v1", LineGame),
        ("emcomm/traffic-junction-v1", TrafficJunctionGame),
    ],
    lambda thing: None if callable(thing) or isinstance(thing, ParallelEnv | AECEnv) else NO_GAME,
    replaced={
        f"emcomm/{name}-v0": f"emcomm/{name}-v1"
        for name in (
            "crossing", "crossing-priority", "signalling", "task-and-talk", "switch-riddle", "matrix", "item-split",
            "line", "traffic-junction",
        )
    },
    why="its observation holds the talk too, which in v0 lay beside it in buffer; the rules of the game are the same, "
    "and runs of v0 can be read and resumed",
)  # fmt: skip
"""Every registered game; called as `GAMES[env_id](n_games, rng, **options)`."""

for _id, _game in GAMES.items():
    if _id not in parallel_registry:  # importing twice is no new registration
        register("parallel", _id, "envs.parallel:parallel_env", kwargs={"game": _game})
    if _id not in aec_registry:
        register("aec", _id, "envs.parallel:env", kwargs={"game": _game})

for _id in GAMES.replaced:
    for _kind, _registry in (("parallel", parallel_registry), ("aec", aec_registry)):
        if _id not in _registry:
            register(_kind, _id, "envs.parallel:deprecated", kwargs={"message": GAMES.replacement(_id)})

__all__ = [
    "CHANNELS",
    "GAMES",
    "SILENT",
    "Attribute",
    "BadEnvironment",
    "BadGame",
    "BadOption",
    "Channel",
    "CrossingGame",
    "CrossingPriorityGame",
    "Decision",
    "Declaration",
    "Game",
    "GameOver",
    "IllegalAction",
    "ItemSplitGame",
    "LineGame",
    "MatrixGame",
    "NegotiableEnv",
    "Negotiation",
    "NegotiationEnv",
    "Outcome",
    "ParallelGame",
    "Scene",
    "SignallingGame",
    "SwitchRiddleGame",
    "TalkRules",
    "TaskAndTalkGame",
    "TrafficJunctionGame",
    "Unknown",
    "View",
    "Words",
    "declared",
    "env",
    "negotiable",
    "parallel_env",
]
