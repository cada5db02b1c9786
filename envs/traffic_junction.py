"""The traffic junction: cars that see little cross each other's ways, and brake or go.

The levels are those of IC3Net (Singh, Jain and Sukhbaatar 2019, appendix, and its public environment), without the
curriculum: cars arrive at the rate at which that ends. TarMAC (Das et al. 2019) uses the same game.

Axes: `B` game, `N` car, `K` route, `L` cell of a route, `E` entry, `C` road cell, `D` games in question.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np

from envs.game import Attribute, BadOption, Bools, Decision, Floats, Ints, Outcome, Words

GO, BRAKE = 0, 1

LevelName = Literal["easy", "medium", "hard"]


class Level(NamedTuple):
    """A published size of the game."""

    size: int
    """Of the square grid (cells)."""
    lanes: tuple[int, ...]
    """Rows and columns that are roads; with two lanes the first goes left or down, the second right or up."""
    one_way: bool
    """One lane each, down and right."""
    cars: int
    """The most at a time."""
    steps: int
    rate: float
    """Probability that a car arrives at an entry in a step."""


LEVELS: dict[LevelName, Level] = {
    "easy": Level(7, (3,), True, 5, 20, 0.3),
    "medium": Level(14, (6, 7), False, 10, 40, 0.2),
    "hard": Level(18, (4, 5, 12, 13), False, 20, 80, 0.05),
}


class Roads(NamedTuple):
    """The routes of a level."""

    cells: Ints
    """`[C, 2]` row and column of each road cell."""
    path: Ints
    """`[K, L]` the road cells of each route; the last one is repeated."""
    length: Ints
    """`[K]` cells of each route."""
    first: Ints
    """`[E]` the first route of each entry; all entries have equally many."""


@lru_cache(maxsize=8)
def roads(name: LevelName) -> Roads:
    """The roads of a level: from each entry straight on or round a corner at the first two junctions, then straight.

    >>> [len(roads(name).length) for name in LEVELS], [len(roads(name).cells) for name in LEVELS]
    ([2, 12, 56], [13, 52, 128])
    """
    level = LEVELS[name]
    entries = [(vertical, lane) for vertical in (True, False) for lane in level.lanes]
    paths = [[_path(way, level) for way in _ways([entry], level)] for entry in entries]
    flat = [path for of_entry in paths for path in of_entry]
    cells = sorted({cell for path in flat for cell in path})
    number = {cell: c for c, cell in enumerate(cells)}
    longest = max(map(len, flat))
    path = np.array([[number[cell] for cell in path + path[-1:] * (longest - len(path))] for path in flat])
    return Roads(
        np.array(cells), path, np.array([*map(len, flat)]), np.arange(len(entries)) * (len(flat) // len(entries))
    )


_Lane = tuple[bool, int]
"""Whether it is vertical, and its column or row."""


def _along(lane: _Lane, level: Level) -> list[tuple[int, int]]:
    """The cells of a lane in the direction of travel."""
    vertical, index = lane
    second = level.lanes.index(index) % 2
    ahead = range(level.size) if level.one_way or vertical != bool(second) else range(level.size - 1, -1, -1)
    return [(i, index) if vertical else (index, i) for i in ahead]


def _crossing(one: _Lane, other: _Lane) -> tuple[int, int]:
    return (other[1], one[1]) if one[0] else (one[1], other[1])


def _road(lane: _Lane, level: Level) -> tuple[bool, int]:
    """The two lanes of a road have one number."""
    return lane[0], level.lanes.index(lane[1]) // 2


def _ways(lanes: list[_Lane], level: Level, junctions: int = 0, start: int = 0) -> list[list[_Lane]]:
    """All sequences of lanes, given the first ones, from place `start` of the last, after so many junctions."""
    if level.one_way or junctions == 2:
        return [lanes]
    along = _along(lanes[-1], level)
    across = [(not lanes[-1][0], lane) for lane in level.lanes]
    passed = {_road(lane, level) for lane in lanes}
    ahead = [(along.index(_crossing(lanes[-1], lane)), lane) for lane in across if _road(lane, level) not in passed]
    ahead = sorted(entry for entry in ahead if entry[0] > start)
    if not ahead:
        return [lanes]
    ways = _ways(lanes, level, junctions + 1, ahead[1][0])
    for _, lane in ahead[:2]:
        at = _along(lane, level).index(_crossing(lanes[-1], lane))
        ways += _ways([*lanes, lane], level, junctions + 1, at)
    return ways


def _path(lanes: list[_Lane], level: Level) -> list[tuple[int, int]]:
    """The cells along a sequence of lanes."""
    path: list[tuple[int, int]] = []
    start = 0
    for lane, following in zip(lanes, [*lanes[1:], None], strict=True):
        along = _along(lane, level)
        end = len(along) if following is None else along.index(_crossing(lane, following))
        path += along[start:end]
        start = 0 if following is None else _along(following, level).index(_crossing(lane, following))
    return path


class TrafficJunctionGame:
    """`n_games` junctions; an episode has a fixed number of steps.

    ### Moves

    `go` one cell along the route, or `brake`. Nothing is forbidden; cars in one cell have collided, and go on.

    ### What a car sees

    Whether it braked in the step before; its route, its row and its column (0 to 1); its road cell, one-hot; and the
    other cars in each cell up to `vision` cells away, its own included. A car is one of at most N places that are taken
    again when it has left, after a step without a car; while there is no car in it, a place neither talks nor moves.

    ### Rewards

    A tenth of the published ones: -0.001 for each step since its arrival, in each step, and -1 in each step in which
    another car is in its cell. Success: no collision in the whole episode; score: the share of cars without one.

    ### Arguments

    `level`: easy (7 × 7 cells, one-way, 5 cars, 20 steps, arrivals 0.3), medium (14 × 14, 10 cars, 40 steps, 0.2), hard
    (18 × 18, 20 cars, 80 steps, 0.05). `vision` 0 to 3 (cells). `rate`: probability of an arrival, for each entry and
    step; 0: that of the level. Raises BadOption for what is out of range.

    Chosen here: an episode starts with at least one car, where the published one starts with none, and the place of a
    car that leaves stays empty for a step, so that nothing of it passes to the next one. In the step of its arrival a
    car is charged nothing, since it had no choice; a collision there counts like any other.

    Version history: v1, as `envs.NegotiationEnv`; v0.
    """

    move_names: tuple[str, ...] = ("go", "brake")
    decisions = (Decision("the joint move"),)
    talk: ClassVar[dict[str, Any]] = {"n_tokens": 16, "max_rounds": 2, "opening": "talk"}
    words = Words("car", "no collision", "collision", "The cars succeed when no two are ever in the same cell.")

    def __init__(
        self, n_games: int, rng: np.random.Generator, level: LevelName = "easy", vision: int = 0, rate: float = 0.0
    ) -> None:
        if level not in LEVELS:
            raise BadOption(f"level must be one of {', '.join(get_args(LevelName))}, not {level!r}")
        if isinstance(vision, bool) or not isinstance(vision, (int, np.integer)) or not 0 <= vision <= 3:
            raise BadOption(f"vision must be from 0 to 3 cells, not {vision!r}")
        if not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
            raise BadOption(f"rate must be a probability from 0 to 1, not {rate!r}")
        size, self.steps = LEVELS[level].size, LEVELS[level].steps
        self.n_games, self.n_agents, self._rng = n_games, LEVELS[level].cars, rng
        self.vision, self.rate = int(vision), float(rate) or LEVELS[level].rate
        self.agent_names = tuple(f"car_{i}" for i in range(self.n_agents))
        self._cells, self._path, self._length, self._first = (array.copy() for array in roads(level))
        self._size = size
        n_routes, n_cells, sights = len(self._length), len(self._cells), (2 * self.vision + 1) ** 2
        self.attributes = (Attribute("place", n_cells), Attribute("route", n_routes))
        high = np.array([1] * (4 + n_cells) + [self.n_agents - 1] * sights, np.float32)
        self.feature_bounds: tuple[Floats, Floats] = (np.zeros_like(high), high)
        shape = (n_games, self.n_agents)
        self.time = np.zeros(n_games, np.int64)
        self.cars = np.zeros(shape, np.bool_)
        """`[B, N]` whether there is a car."""
        self.vacated = np.zeros(shape, np.bool_)
        """`[B, N]` places that a car left in the last step; no other comes there at once."""
        self.route, self.at, self.wait = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self.braked, self.crashed = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        self.came, self.hit = np.zeros(n_games, np.int64), np.zeros(n_games, np.int64)
        """`[B]` cars that have come so far, and of these, that have collided."""
        self._next_route = np.full((n_games, len(self._first)), -1)
        """`[B, E]` the route of the car that arrives next at each entry; -1: none. Chance is dealt before the moves."""
        self._order = np.zeros(shape)
        """`[B, N]` which free place is taken first: the one with the highest number."""
        self._features = np.zeros((*shape, len(high)), np.float32)
        self._every_move = np.ones((*shape, 2), np.bool_)

    def reset(self, which: Bools) -> None:
        games = np.flatnonzero(which)
        self.cars[games] = False
        self.time[games], self.came[games], self.hit[games] = 0, 0, 0
        for array in (self.vacated, self.route, self.at, self.wait, self.braked, self.crashed):
            array[games] = 0
        self._deal(games)
        self._arrive(games)
        empty = games[~self.cars[games].any(axis=1)]
        self._enter(empty, self._first[self._rng.integers(len(self._first), size=len(empty))])
        self._deal(games)
        self._look(games)

    def observe(self) -> Floats:
        return self._features

    def private(self) -> Floats:
        known = np.stack([self._path[self.route, self.at], self.route], axis=2)
        return np.where(self.cars[..., None], known, -1).astype(np.float32)

    def legal_moves(self) -> Bools:
        return self._every_move

    def active(self) -> Bools:
        return self.cars

    def play(self, moves: Ints, which: Ints) -> Outcome:
        on = self.cars[which]
        self.time[which] += 1
        self.wait[which] += on
        goes = on & (moves == GO)
        self.braked[which] = on & ~goes
        at = self.at[which] + goes
        left = at == self._length[self.route[which]]
        self.at[which] = np.where(left, 0, at)
        stays = on & ~left
        self.cars[which], self.vacated[which] = stays, left
        self.wait[which] *= ~left
        self.crashed[which] &= ~left
        self._arrive(which)
        self._deal(which)
        collides = self._collides(which)
        rewards = np.where(stays, -0.001 * self.wait[which] - collides, 0).astype(np.float32)
        self.hit[which] += (collides & ~self.crashed[which]).sum(axis=1)
        self.crashed[which] |= collides
        self._look(which)
        ended = np.repeat(self.time[which, None] == self.steps, self.n_agents, axis=1)
        score = (1 - self.hit[which] / self.came[which]).astype(np.float32)
        return Outcome(rewards, self.hit[which] == 0, np.zeros_like(ended), ended, score, left)

    def _deal(self, which: Ints) -> None:
        """Draw who arrives next."""
        shape = (len(which), len(self._first))
        route = self._first + self._rng.integers(len(self._length) // len(self._first), size=shape)
        self._next_route[which] = np.where(self._rng.random(shape) < self.rate, route, -1)
        self._order[which] = self._rng.random((len(which), self.n_agents))

    def _arrive(self, which: Ints) -> None:
        """The cars drawn enter, one entry after the other, while there is a free place."""
        for route in self._next_route[which].T:
            comes = (route >= 0) & ~(self.cars | self.vacated)[which].all(axis=1)
            self._enter(which[comes], route[comes])

    def _enter(self, games: Ints, route: Ints) -> None:
        """One car in each of `games`, in a free place."""
        place = np.where((self.cars | self.vacated)[games], -1, self._order[games]).argmax(axis=1)
        self.cars[games, place], self.route[games, place] = True, route
        for array in (self.at, self.wait, self.braked, self.crashed):
            array[games, place] = 0
        self.came[games] += 1

    def _collides(self, which: Ints) -> Bools:
        """`[D, N]` whether another car is in the cell of a car."""
        cars, cell = self.cars[which], self._path[self.route[which], self.at[which]]
        key = np.arange(len(which))[:, None] * len(self._cells) + cell
        there = np.bincount(key[cars], minlength=len(which) * len(self._cells))
        return cars & (there[key] > 1)

    def _look(self, which: Ints) -> None:
        """What the cars of the games `which` see; it changes only with the moves."""
        cars, cell = self.cars[which], self._path[self.route[which], self.at[which]]
        place = self._cells[cell] / (self._size - 1)
        n_cells, seen = len(self._cells), np.zeros((*cars.shape, self._features.shape[2]), np.float32)
        seen[..., 0] = self.braked[which]
        seen[..., 1] = self.route[which] / (len(self._length) - 1)
        seen[..., 2:4] = place
        np.put_along_axis(seen, 4 + cell[..., None], 1, 2)
        seen[..., 4 + n_cells :] = self._sights(cars, cell)
        seen *= cars[..., None]
        self._features[which] = seen

    def _sights(self, cars: Bools, cell: Ints) -> Ints:
        """`[D, N, (2 vision + 1)²]` the other cars in the cells around each car, row by row."""
        v = self.vision
        grid = np.zeros((len(cars), self._size + 2 * v, self._size + 2 * v), np.int64)
        game, car = np.nonzero(cars)
        row, column = (self._cells[cell] + v).transpose(2, 0, 1)
        np.add.at(grid, (game, row[game, car], column[game, car]), 1)
        around = np.arange(-v, v + 1)
        rows, columns = row[..., None, None] + around[:, None], column[..., None, None] + around
        counts = grid[np.arange(len(cars))[:, None, None, None], rows, columns]
        counts[..., v, v] -= 1
        return counts.reshape(*cars.shape, (2 * v + 1) ** 2)
