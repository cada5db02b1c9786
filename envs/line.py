"""The line: trains in both directions share a single track with sidings, each with a timetable that it alone knows.

A network of nodes (blocks of track, and stations) and edges, as arrays; a train has a route through it and, step by
step, goes on to the next node or waits. A node has room for a limited number of trains: a block for one, a siding for
`tracks`. Trains that would crowd a node, or meet on an edge, all stay where they are: the interlocking takes no sides.
Two trains that face each other on the open line can never go on: a deadlock, and the episode ends.

Axes: `B` game, `N` train, `V` node, `E` edge, `S` section, `K` route, `R` node of a route, `D` games in question.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.game import Attribute, BadOption, Bools, Decision, Floats, Ints, Outcome, Words
from envs.saving import fitting

GO, WAIT = 0, 1


class Network(NamedTuple):
    """Nodes, edges and routes; nothing in it is a matter of chance."""

    capacity: Ints
    """`[V]` trains that a node has room for."""
    station: Bools
    """`[V]` whether trains can pass each other there; the other nodes are blocks of the open line."""
    edges: Ints
    """`[E, 2]` the nodes that an edge joins."""
    section: Ints
    """`[E]` the section that an edge belongs to: all edges from one station to the next."""
    routes: Ints
    """`[K, R]` the nodes of each route; the last one is repeated."""
    length: Ints
    """`[K]` moves of each route."""


def line(sidings: int, blocks: int, tracks: int, room: int) -> Network:
    """A station at each end with `room`, and `sidings` between them, `blocks` of open line from one to the next.

    Two routes: there, and back.

    >>> line(1, 2, 2, 4).capacity.tolist()
    [4, 1, 1, 2, 1, 1, 4]
    """
    between = [2 if tracks < 2 else tracks] + [1] * blocks
    capacity = np.array([room] + [1] * blocks + between * sidings + [room])
    nodes = np.arange(len(capacity))
    edges = np.stack([nodes[:-1], nodes[1:]], axis=1)
    station = capacity > 1
    section = np.arange(len(edges)) // (blocks + 1)
    return Network(capacity, station, edges, section, np.stack([nodes, nodes[::-1]]), np.full(2, len(edges)))


class Timetables(NamedTuple):
    """Timetables of `D` games."""

    route: Ints
    """`[D, N]`"""
    departs: Ints
    """`[D, N]` step from which the train stands at its first station."""
    due: Ints
    """`[D, N]` step by which it must have arrived."""
    plan: Ints
    """`[D, N, R]` the step of each move in a plan that brings all trains in time."""


class LineGame:
    """`n_games` lines with `trains` trains each; an episode ends when all have arrived or are late, or in a deadlock.

    ### Moves

    `go` to the next node of the route, or `wait`. Going is legal where the node ahead has room. Where more trains go to
    a node than it has room for, or two meet on an edge, none of them moves.

    ### What a train sees

    Only signals, and its own timetable; nothing says which train it is, where, or in which direction it goes. It stands
    at a station; the node ahead has room; an oncoming train is in the section ahead, or one that goes its way; trains
    that want the same section: those that wait at its far end, that approach it, and on this side (shares of all
    trains); the free share of the next station; the reserve, one-hot in steps, the last place for as many or more; none
    where it is late.

    ### Private

    The reserve: how many steps the train can lose and still be in time. The timetable is that of a plan (`plan`) with
    random priorities, with `margin` more; some trains have time for more.

    ### Talk

    Trains that want the same section and are at most `sight` moves from it are a conflict group: they alone may speak,
    and hear each other.

    ### Rewards

    Half of it is a train's own, half the mean over all trains. +1 for an arrival in time, -1 where a train has become
    late, and for every train that stands in a deadlock. Who has arrived, or has not departed yet, gets nothing, not
    even its half of the mean. Success: no train is late or in a deadlock, so that at the end all have arrived in time;
    score: the share that has.

    ### Arguments

    `trains` 2 to 8; `sidings` (stations between the ends); `blocks` of open line between two stations; `tracks` of a
    siding, at least 2; `headway`: steps between departures from one end; `margin`: reserve beyond the plan (steps);
    `sight` (moves). Raises BadOption for what is out of range.

    Version history: v1, as `envs.NegotiationEnv`; v0.
    """

    move_names: tuple[str, ...] = ("go", "wait")
    attributes = (Attribute("reserve", 8, (*map(str, range(7)), "7 or more")),)
    decisions = (Decision("the joint move"),)
    talk: ClassVar[dict[str, Any]] = {"n_tokens": 8, "max_rounds": 4, "opening": "talk"}
    words = Words("train", failure="late or in a deadlock", goal="The trains succeed when all of them arrive in time.")

    def __init__(
        self, n_games: int, rng: np.random.Generator, trains: int = 4, sidings: int = 2, blocks: int = 2,
        tracks: int = 3, headway: int = 4, margin: int = 1, sight: int = 1,
    ) -> None:  # fmt: skip
        for name, value, low, high in (
            ("trains", trains, 2, 8), ("sidings", sidings, 0, 16), ("blocks", blocks, 1, 16), ("tracks", tracks, 2, 8),
            ("headway", headway, 1, 64), ("margin", margin, 0, 64), ("sight", sight, 0, blocks),
        ):  # fmt: skip
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
                raise BadOption(f"{name} must be a whole number from {low} to {high}, not {value!r}")
        self.n_games, self.n_agents, self._rng = n_games, int(trains), rng
        self.agent_names = tuple(f"train_{i}" for i in range(trains))
        self.headway, self.margin, self.sight = headway, margin, sight
        self.network = line(sidings, blocks, tracks, trains)
        self._tables = _tables(self.network)
        self.passing = blocks + 1
        """What it costs to let a train pass (steps)."""
        n_features = 8 + self.attributes[0].n_values
        self.feature_bounds: tuple[Floats, Floats] = (np.zeros(n_features, np.float32), np.ones(n_features, np.float32))
        shape, hops = (n_games, trains), self.network.routes.shape[1]
        self.time = np.zeros(n_games, np.int64)
        self.route, self.at = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self.departs, self.due = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self.plan = np.zeros((*shape, hops), np.int64)
        """`[B, N, R]` the step of each move in a plan that brings all in time; no train sees it."""
        self.arrived, self.late = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        self._features = np.zeros((*shape, n_features), np.float32)
        self._legal = np.ones((*shape, 2), np.bool_)
        self._active, self._speaks = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        self._group = np.zeros((*shape, trains), np.bool_)
        self._stock: list[np.ndarray] = []
        self._next = self._stocked = 0

    # -- the game ----------------------------------------------------------------------------------------------------

    def reset(self, which: Bools) -> None:
        games = np.flatnonzero(which)
        if not len(games):
            return
        self.route[games], self.departs[games], self.due[games], self.plan[games] = self._draw(len(games))
        self.time[games], self.at[games], self.arrived[games], self.late[games] = 0, 0, False, False
        self._look(games)

    def observe(self) -> Floats:
        return self._features

    def private(self) -> Floats:
        known = np.minimum(self.reserve(), self.attributes[0].n_values - 1)
        return np.where(self._active, np.maximum(known, -1), -1)[..., None].astype(np.float32)

    def legal_moves(self) -> Bools:
        return self._legal

    def active(self) -> Bools:
        return self._active

    def may_speak(self) -> Bools:
        return self._speaks

    def hears(self) -> Bools:
        return self._group

    def reserve(self) -> Ints:
        """`[B, N]` the steps that a train can lose and still arrive in time; below 0 it is late."""
        begun = np.maximum(self.time[:, None], self.departs)
        return self.due - begun - (self.network.length[self.route] - self.at)

    def play(self, moves: Ints, which: Ints) -> Outcome:
        on, before = self._active[which], self.late[which]
        goes = self._may_go(moves, which)
        self.at[which] += goes
        self.time[which] += 1
        arrives = goes & (self.at[which] == self.network.length[self.route[which]])
        self.arrived[which] |= arrives
        out = self.arrived[which]
        self.late[which] |= (self.reserve()[which] < 0) & ~out
        late = self.late[which]
        here = (self.departs[which] <= self.time[which][:, None]) & ~out
        stuck = self._stuck(which, here)
        own = (arrives & ~late).astype(np.float32) - (late & ~before) - stuck
        rewards = ((own + own.mean(axis=1, keepdims=True)) / 2).astype(np.float32)
        done: Bools = out & ~late
        over: Bools = np.any(stuck, axis=1) | np.all(late | out, axis=1)
        self._look(which)
        ended = np.repeat(over[:, None], self.n_agents, axis=1)
        score = done.mean(axis=1, dtype=np.float32)
        return Outcome(rewards * on, ~np.any(late | stuck, axis=1), ended, np.zeros_like(ended), score, arrives)

    def _may_go(self, moves: Ints, which: Ints) -> Bools:
        """`[D, N]` who moves: none of those that would crowd a node, or meet on an edge."""
        hop = self.route[which], self.at[which]
        wants = self._active[which] & (moves == GO)
        target, edge, forward = self._tables.ahead[hop], self._tables.edge[hop], self._tables.forward[hop]
        one_node = target[:, :, None] == target[:, None]
        crowd = (one_node & wants[:, None]).sum(axis=2)
        opposite = (edge[:, :, None] == edge[:, None]) & (forward[:, :, None] != forward[:, None])
        meets = (opposite & wants[:, None]).any(axis=2)
        return wants & (crowd <= self._room(which, target)) & ~meets

    def _room(self, which: Ints, node: Ints, on: Bools | None = None) -> Ints:
        """`[D, N]` free places of each `node` `[D, N]`."""
        on = self._active[which] if on is None else on
        there = self.network.routes[self.route[which], self.at[which]]
        occupied = ((node[:, :, None] == there[:, None]) & on[:, None]).sum(axis=2)
        return self.network.capacity[node] - occupied

    def _stuck(self, which: Ints, on: Bools) -> Bools:
        """`[D, N]` trains that can never move again, whatever is done: the node ahead is full of such trains."""
        hop = self.route[which], self.at[which]
        here, ahead = self.network.routes[hop], self._tables.ahead[hop]
        movable = ~on | (self._room(which, ahead, on) > 0)
        if movable.all():
            return ~movable
        waits_for = (ahead[:, :, None] == here[:, None]) & on[:, None]
        for _ in range(self.n_agents):
            more = movable | (waits_for & movable[:, None]).any(axis=2)
            if (more == movable).all():
                break
            movable = more
        return ~movable

    def _look(self, which: Ints) -> None:
        """What the trains see of the games `which`, who may go and who may speak; it changes only with the moves."""
        net, tables, agents = self.network, self._tables, self.n_agents
        hop = self.route[which], self.at[which]
        on = (self.departs[which] <= self.time[which][:, None]) & ~self.arrived[which]
        self._active[which] = on
        here = net.routes[hop]
        wanted, way, distance = tables.wanted[hop], tables.way[hop], tables.distance[hop]
        inside, forward = tables.inside[here], tables.forward[hop]
        pair = on[:, :, None] & on[:, None] & ~np.eye(agents, dtype=np.bool_)
        claims = on & (wanted >= 0) & (distance <= self.sight)
        rival = pair & (wanted[:, :, None] == wanted[:, None]) & claims[:, :, None] & claims[:, None]
        against = way[:, :, None] != way[:, None]
        ahead = pair & (wanted[:, :, None] == inside[:, None]) & (inside >= 0)[:, None]
        oncoming = (ahead & (way[:, :, None] != forward[:, None])).any(axis=2)
        share = 1 / max(agents - 1, 1)
        reserve = self.reserve()[which]
        room = self._room(which, tables.ahead[hop])
        most = self.attributes[0].n_values - 1
        steps = np.where(reserve < 0, most + 1, np.minimum(reserve, most))
        seen = [
            net.station[here], room > 0, oncoming, (ahead & (way[:, :, None] == forward[:, None])).any(axis=2),
            (rival & against & (distance == 0)[:, None]).sum(axis=2) * share,
            (rival & against & (distance > 0)[:, None]).sum(axis=2) * share,
            (rival & ~against).sum(axis=2) * share,
            np.maximum(self._room(which, tables.station[hop]), 0) / net.capacity[tables.station[hop]],
        ]  # fmt: skip
        features = np.concatenate([np.stack(seen, axis=2), np.eye(most + 2)[steps][..., :-1]], axis=2)
        self._features[which] = np.where(on[..., None], features, 0)
        self._legal[which, :, GO] = (room > 0) | ~on
        some_may = (rival & ~oncoming[:, None]).any(axis=2) | ~oncoming
        self._speaks[which] = rival.any(axis=2) & some_may
        self._group[which] = rival

    # -- timetables --------------------------------------------------------------------------------------------------

    def _draw(self, games: int) -> Timetables:
        """Timetables for so many games, from a stock that is made in one go."""
        parts: list[Timetables] = []
        while games:
            if self._next == self._stocked:
                self._stock, self._next = [*self._made(max(64, min(4 * self.n_games, 1024)))], 0
                self._stocked = len(self._stock[0])
            take = min(games, self._stocked - self._next)
            parts.append(Timetables(*(column[self._next : self._next + take] for column in self._stock)))
            self._next, games = self._next + take, games - take
        return Timetables(*map(np.concatenate, zip(*parts, strict=True)))

    def _made(self, games: int) -> Timetables:
        rng, agents = self._rng, self.n_agents
        number = rng.permuted(np.tile(np.arange(agents), (games, 1)), axis=1)
        route = (number + rng.integers(2, size=(games, 1))) % 2
        departs = number // 2 * self.headway + rng.integers(2, size=(games, agents))
        departs -= departs.min(axis=1, keepdims=True)
        order = rng.permuted(np.tile(np.arange(agents), (games, 1)), axis=1)
        plan = planned(self.network, route, departs, order)
        length = self.network.length[route]
        arrival = np.take_along_axis(plan, length[..., None] - 1, 2)[..., 0] + 1
        spare = rng.integers(3, size=(games, agents)) * self.passing
        due = np.maximum(arrival, departs + length + spare) + self.margin
        return Timetables(route, departs, due, plan)

    # -- saving ------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """The games in progress, and the timetables in stock."""
        stock = dict(zip(Timetables._fields, self._stock, strict=False))
        kept = {name: getattr(self, name).copy() for name in _STATE}
        return {**kept, "next": np.array(self._next), **{f"stock {name}": array for name, array in stock.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned; raises ValueError where it does not fit."""
        limits = {"route": 1, "at": self.network.routes.shape[1] - 1}
        kept = {name: fitting(name, state[name], getattr(self, name), 0, limits.get(name, 2**40)) for name in _STATE}
        names = [f"stock {name}" for name in Timetables._fields]
        stock: list[np.ndarray] = []
        if names[0] in state:
            like = [self.route, self.departs, self.due, self.plan]
            stock = [
                fitting(name, state[name], present, 0, 1 if "route" in name else 2**40, 0)
                for name, present in zip(names, like, strict=True)
            ]
        size = len(stock[0]) if stock else 0
        if any(len(column) != size for column in stock):
            raise ValueError("the timetables in stock are not equally many")
        self._next = int(fitting("next", state["next"], np.array(self._next), 0, size))
        self._stock, self._stocked = stock, size
        vars(self).update(kept)
        self._look(np.arange(self.n_games))


_STATE = ("time", "route", "at", "departs", "due", "plan", "arrived", "late")


class _Tables(NamedTuple):
    """What lies ahead at each node of each route, `[K, R]`; of the last node nothing does."""

    ahead: Ints
    """The next node; at the end of the route the last one."""
    edge: Ints
    """Of the next move."""
    forward: Bools
    """Whether the next move goes along its edge as that is written."""
    wanted: Ints
    """The next section to enter; -1 where there is none."""
    way: Bools
    """`forward` in that section."""
    distance: Ints
    """Moves until it is entered."""
    station: Ints
    """The station at the end of the section that is entered next, or of the one that the train is in."""
    inside: Ints
    """`[V]` the section that a block belongs to; -1 for a station."""


def _tables(net: Network) -> _Tables:
    count, length = net.routes.shape
    number = {(int(a), int(b)): e for e, (a, b) in enumerate(net.edges)}
    shape = (count, length)
    edge, forward = np.full(shape, -1), np.zeros(shape, np.bool_)
    for k, r in np.ndindex(count, length - 1):
        step = (int(net.routes[k, r]), int(net.routes[k, r + 1]))
        if r < net.length[k]:
            forward[k, r] = step in number
            edge[k, r] = number[step if step in number else step[::-1]]
    wanted, way, distance = np.full(shape, -1), np.zeros(shape, np.bool_), np.zeros(shape, np.int64)
    station = net.routes[np.arange(count), net.length][:, None].repeat(length, axis=1)
    for k, r in np.ndindex(shape):
        stops = [s for s in range(r, net.length[k] + 1) if net.station[net.routes[k, s]]]
        start = stops[0] if stops else net.length[k]
        if start < net.length[k]:
            wanted[k, r], way[k, r], distance[k, r] = net.section[edge[k, start]], forward[k, start], start - r
            station[k, r] = net.routes[k, stops[1]]
    inside = np.full(len(net.capacity), -1)
    for e, (a, b) in enumerate(net.edges):
        inside[[v for v in (a, b) if not net.station[v]]] = net.section[e]
    ahead = np.concatenate([net.routes[:, 1:], net.routes[:, -1:]], axis=1)
    return _Tables(ahead, edge, forward, wanted, way, distance, station, inside)


# -- references --------------------------------------------------------------------------------------------------------


def planned(net: Network, route: Ints, departs: Ints, order: Ints) -> Ints:
    """`[D, N, R]` the step of each move in a plan with full knowledge: trains in `order` `[D, N]`, each as early as
    those before it allow (cooperative search in space and time, Silver 2005). It cannot fail to find one: at a
    terminus a train can wait until the line is clear.

    >>> planned(line(0, 1, 2, 2), np.array([[0, 1]]), np.array([[0, 0]]), np.array([[1, 0]]))[0].tolist()
    [[2, 3, 0], [0, 1, 0]]
    """
    games, agents = route.shape
    hops, tables, every = net.routes.shape[1], _tables(net), np.arange(games)
    steps = int(departs.max()) + agents * hops + 1
    load = np.zeros((steps, games, len(net.capacity)), np.int64)
    used = np.zeros((steps, games, len(net.edges), 2), np.bool_)
    plan = np.zeros((games, agents, hops), np.int64)
    for train in order.T:
        ways, start = route[every, train], departs[every, train]
        nodes, length = net.routes[ways], net.length[ways]
        edges, back = tables.edge[ways], 1 - tables.forward[ways].astype(np.int64)
        capacity, row = net.capacity[nodes], every[:, None]
        reach = np.zeros((games, hops), np.bool_)
        stays, moves = [], []
        arrival = np.zeros(games, np.int64)
        for t in range(steps):
            reach[:, 0] |= start <= t
            free = load[t][row, nodes] < capacity
            stay = reach & free
            move = stay[:, :-1] & free[:, 1:] & ~used[t][row, edges[:, :-1], 1 - back[:, :-1]]
            stays.append(stay)
            moves.append(move)
            reach = stay.copy()
            reach[:, 1:] |= move
            arrival[(arrival == 0) & reach[every, length]] = t + 1
            if arrival.all():
                break
        assert arrival.all(), "a plan has not come to its end"
        at = length.copy()
        for t in range(int(arrival.max()) - 1, -1, -1):  # backwards; whoever can wait does so early
            going = (t < arrival) & (at > 0)
            comes = going & moves[t][every, np.maximum(at - 1, 0)]
            plan[every[comes], train[comes], at[comes] - 1] = t
            present = (t < arrival) & (t >= start)
            load[t][every[comes], nodes[every[comes], at[comes]]] += 1
            at = at - comes
            load[t][every[present], nodes[every[present], at[present]]] += 1
            used[t][every[comes], edges[every[comes], at[comes]], back[every[comes], at[comes]]] = True
    return plan


Reference = Callable[[LineGame, np.random.Generator], Ints]
"""The joint moves `[B, N]` of whoever knows the whole game."""


def random_moves(game: LineGame, rng: np.random.Generator) -> Ints:
    """Any legal move."""
    chance = np.where(game.legal_moves(), rng.random((game.n_games, game.n_agents, 2)), -1)
    return chance.argmax(axis=2)


def first_come(game: LineGame, rng: np.random.Generator) -> Ints:
    """In a conflict group whoever is nearest to the section goes first, ties by lot."""
    distance = game._tables.distance[game.route, game.at]
    return _one_first(game, distance + rng.random(distance.shape))


def least_reserve(game: LineGame, rng: np.random.Generator) -> Ints:
    """In a conflict group the train with the least reserve goes first, ties by number: what a group can do that says
    its reserves, and parts where they are equal."""
    return _one_first(game, game.reserve() + np.arange(game.n_agents) / game.n_agents)


def _one_first(game: LineGame, rank: NDArray[np.float64]) -> Ints:
    """The joint moves `[B, N]` where the lowest `rank` `[B, N]` of each group has the section, and whoever goes its way
    follows. Nobody enters a section with an oncoming train in it, or before a station that is full."""
    hop, tables = (game.route, game.at), game._tables
    way, waits_beside = tables.way[hop], (tables.distance[hop] == 0)[:, None]
    before = game.hears() & (rank[:, None] < rank[..., None])
    yields = (before & ((way[:, None] != way[..., None]) | waits_beside)).any(axis=2)
    at_station, room, oncoming, free = game.observe()[..., [0, 1, 2, 7]].transpose(2, 0, 1) > 0
    return np.where(~room | (at_station & (oncoming | yields | ~free)), WAIT, GO)


def planner(game: LineGame, rng: np.random.Generator) -> Ints:
    """The moves of the plan behind the timetable: all trains arrive in time."""
    step = np.take_along_axis(game.plan, np.minimum(game.at, game.plan.shape[2] - 1)[..., None], 2)[..., 0]
    return np.where(step == game.time[:, None], GO, WAIT)


def evaluate(game: LineGame, decide: Reference, rng: np.random.Generator) -> tuple[float, float]:
    """The share of `game.n_games` fresh games that succeed, and of trains that arrive in time, without any talk."""
    game.reset(np.ones(game.n_games, np.bool_))
    going, success, score = np.arange(game.n_games), np.zeros(game.n_games), np.zeros(game.n_games)
    while len(going):
        outcome = game.play(np.where(game.active(), decide(game, rng), -1)[going], going)
        assert outcome.success is not None
        success[going], score[going] = outcome.success, outcome.score
        going = going[~outcome.terminated.all(axis=1)]
    return float(success.mean()), float(score.mean())
