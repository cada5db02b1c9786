"""The protocol of a batched game: reset some, observe all, play moves; and what a game declares of itself.

A game is the rules *without* talk; `envs.negotiation` puts the talk around it. Many games are stepped at once,
as arrays whose axes are `B` (game), `N` (agent), `M` (move), `F` (feature) and `P` (attribute).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Ints = NDArray[np.integer]
Floats = NDArray[np.float32]

MOST_MOVES = int(np.iinfo(np.int16).max)
"""More moves than the record of them can count are refused."""


class Outcome(NamedTuple):
    """What the joint moves of `D` games brought."""

    rewards: Floats
    """`[D, N]` reward of the move, without any cost of talking."""
    success: Bools | None
    """`[D]` whether the joint move did what the game asks for; None where the game declares no success."""
    terminated: Bools
    """`[D, N]` the agent has reached an end of the game."""
    truncated: Bools
    """`[D, N]` the agent was stopped by a limit outside the game."""
    score: Floats | None = None
    """`[D]` how well, where the game has degrees of success; None where it has not."""
    left: Bools | None = None
    """`[D, N]` the agent leaves, though it may come back as another: nothing that follows is to its credit."""


class Game(Protocol):
    """`B` games of `N` agents, stepped at once. Constructed as `Game(n_games, rng, **options)`.

    The options are the game's own settings (`--game-options name=value`): numbers, strings, booleans or None, each with
    a type and a default. The constructor raises BadOption for a value with which the game cannot be played.

    Beside what stands below, a game may declare any of these; where it does not, the default holds.

    - `agent_names`: tuple of `N` names (`agent_0`, `agent_1`, …).
    - `roles`: for each role the indices of its agents, `{"sender": (0,), "receiver": (1,)}`. Agents of one role are
      exchangeable (all of one role). Where there are several, an agent sees its own, one-hot after the features.
    - `tokens`: for each role how many tokens its agents have, `{"sender": 3}` (all, `n_tokens`).
    - `move_parts`: for each move the choices that it is made of, one for each part, -1 for none: `((0, 0), (0, 1),
      (1, 0), (1, 1), (-1, -1))`. The logit of a move is then the sum of those of its choices, so that where all
      combinations are legal the parts are chosen independently (each move is a choice of its own).
    - `talk`: its own defaults for options of `TalkRules`, `{"opening": "talk", "max_rounds": 1}` (the crossing's).
    - `attributes`: tuple of `Attribute`, the private facts behind `private()`, in its order (none).
    - `decisions`: tuple of `Decision`, what a dialogue can be asked about (the joint move).
    - `words`: the game's own `Words` for agents and outcomes.
    - `may_speak()`: `[B, N]` who may speak in this negotiation (all that are active).
    - `hears()`: `[B, N, N]` whether agent i hears agent j (all hear all). Each group ends its talk by itself.
    - `unseen_speakers`: with it, whether nobody sees who says what it hears (else each has a column for the episode).
    - `held_out(private)`: `[D]` whether what the agents know `[D, N, P]` was kept from training. Such a game has an
      option `meanings`, what it draws: `all` (its default), `training` (set where a policy is trained) or `held_out`.
    - `has_success`: whether it says what success is (True). Where it is False, `Outcome.success` is None, the log has
      no outcome, and the mean return takes the place of the success rate.
    - `most_at_once`: how many games an evaluation plays at once, where each takes memory of its own (any number).
    - `succeeds(moves, private)`: `[D]` whether the joint moves `[D, N]` do what the game asks for, where agents know
      `private` `[D, N, P]`; for games in which nothing else matters. With it, failures can be told apart.

    A run that goes on after an interruption needs the games in progress. By default all arrays among the attributes of
    a game are saved, its numbers, strings and generators too (`envs.saving`). A game that holds something else says how
    it is saved: `state() -> dict[str, np.ndarray]`, and `restore(state)`.
    """

    n_games: int
    n_agents: int
    move_names: tuple[str, ...]
    """The `M` regular actions."""
    feature_bounds: tuple[Floats, Floats]
    """`[F]`, `[F]`: the lowest and highest value of each feature."""

    def reset(self, which: Bools) -> None:
        """Start anew the games marked in `which` `[B]`."""

    def observe(self) -> Floats:
        """`[B, N, F]` features; swapping two agents of one role swaps their rows and changes nothing else."""

    def private(self) -> Floats:
        """`[B, N, P]` what only that agent knows (a part of its features); `P` may be 0.

        Where the game declares attributes these are their values, counted from 0; -1 for an agent that has none.
        """

    def legal_moves(self) -> Bools:
        """`[B, N, M]`; every agent has at least one."""

    def active(self) -> Bools:
        """`[B, N]` agents that take part now. The others neither talk nor move, and hear nothing.

        They may come later; whoever comes back begins anew, and remembers nothing.
        """

    def play(self, moves: Ints, which: Ints) -> Outcome:
        """Play `moves` `[D, N]` in the `D` games with indices `which`; the others stand still.

        The move of an agent that is not active is -1.
        """


# -- what a game declares ----------------------------------------------------------------------------------------------

Kind = Literal["yields", "joint move", "move", "attribute"]


class Attribute(NamedTuple):
    """A discrete private fact of an agent."""

    name: str
    n_values: int
    """Its values are 0 … n_values - 1."""
    values: tuple[str, ...] = ()
    """Names of the values, for the reader; none: their numbers."""

    def text(self, value: int) -> str:
        """A value for the reader.

        >>> Attribute("colour", 2, ("red", "blue")).text(1), Attribute("delay", 5).text(3), Attribute("hat", 1).text(-1)
        ('colour blue', 'delay 3', 'no hat')
        """
        if value < 0:
            return f"no {self.name}"
        return f"{self.name} {self.values[value] if value < len(self.values) else value}"


class Decision(NamedTuple):
    """What a dialogue can be asked about; a measure names the kind that it needs."""

    name: str
    """For the reader: "who yields"."""
    kind: Kind = "joint move"
    """yields: which of two exchangeable agents takes `move`, the last one, where exactly one does. joint move: all
    moves together. move: the move of `agent`. attribute: the value of `attribute` of `agent`."""
    agent: int | None = None
    move: str | None = None
    attribute: str | None = None


@dataclass(frozen=True)
class Words:
    """The game's own words, for people; the log always says success or failure."""

    agent: str = "agent"
    success: str = "success"
    failure: str = "failure"
    goal: str = ""
    """One sentence on when the agents succeed."""

    @property
    def agents(self) -> str:
        """More than one agent."""
        return f"{self.agent}s"


class BadOption(ValueError):
    """A value of a game's own option with which it cannot be played: names the option, and what would be right."""


class BadEnvironment(ValueError):
    """An environment of another package that cannot be played here: says why, and what would be right."""


class BadGame(ValueError):
    """A game whose declarations contradict each other or its arrays."""


@dataclass(frozen=True)
class Declaration:
    """What a game says of itself, with defaults filled in; plain values, so that a log can carry it.

    `declared(game)` makes and checks it.
    """

    agent_names: tuple[str, ...]
    move_names: tuple[str, ...]
    roles: tuple[str, ...]
    """The different roles."""
    role_of: tuple[int, ...]
    """`[N]` the index of each agent's role."""
    attributes: tuple[Attribute, ...] = ()
    decisions: tuple[Decision, ...] = ()
    words: Words = Words()
    tokens: tuple[int | None, ...] = ()
    """`[N]` tokens that an agent has; None: all."""
    has_success: bool = True
    """Whether the game says what success is."""

    @property
    def n_agents(self) -> int:
        """`N`"""
        return len(self.agent_names)

    def decision(self, kind: Kind) -> Decision | None:
        """The first decision of a kind."""
        return next((d for d in self.decisions if d.kind == kind), None)

    def knows(self, private: Floats) -> tuple[str, ...]:
        """For each agent what it alone knows, in words: `private` `[N, P]` as the attributes say; empty without any."""
        if not self.attributes:
            return ()
        return tuple(
            ", ".join(f"{a.name} {value:g}" for a, value in zip(self.attributes, own, strict=True) if value >= 0)
            for own in private.tolist()
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        plain = asdict(self)
        return {**plain, "attributes": [*map(list, self.attributes)], "decisions": [*map(list, self.decisions)]}


def plain_declaration(n_agents: int, move_names: Sequence[str]) -> Declaration:
    """The declaration of a game that declares nothing."""
    names = tuple(f"agent_{i}" for i in range(n_agents))
    return Declaration(
        names, tuple(move_names), ("agent",), (0,) * n_agents, decisions=(Decision("the joint move"),),
        tokens=(None,) * n_agents,
    )  # fmt: skip


def declared(game: Game) -> Declaration:
    """What `game` declares; raises BadGame, which names what is wrong and what would be right."""
    n_agents, moves = game.n_agents, tuple(game.move_names)
    if not moves or len(set(moves)) < len(moves):
        raise BadGame(f"move_names must be different names, at least one, not {moves}")
    if len(moves) > MOST_MOVES:
        raise BadGame(f"there are {len(moves):,} moves: at most {MOST_MOVES:,} fit into a log")
    names = tuple(map(str, getattr(game, "agent_names", None) or plain_declaration(n_agents, moves).agent_names))
    if len(names) != n_agents or len(set(names)) < n_agents:
        raise BadGame(f"agent_names must be {n_agents} different names, one for each agent, not {names}")
    roles, role_of = _roles(getattr(game, "roles", None), n_agents)
    attributes = _attributes(getattr(game, "attributes", ()))
    declaration = Declaration(
        names, moves, roles, role_of, attributes, (), _words(getattr(game, "words", None)),
        _tokens(getattr(game, "tokens", None), roles, role_of),
    )  # fmt: skip
    has_success = getattr(game, "has_success", True)
    if not isinstance(has_success, bool | np.bool_):
        raise BadGame(f"has_success must be True or False, not {has_success!r}")
    decisions = tuple(_decision(d, declaration) for d in getattr(game, "decisions", ()))
    fallback = plain_declaration(n_agents, moves).decisions
    more = {"decisions": decisions or fallback, "has_success": bool(has_success)}
    return Declaration(**{**vars(declaration), **more})


def parts_of_moves(game: Game) -> tuple[tuple[int, ...], ...]:
    """What a game's moves are made of, `M` × parts; empty where it does not say. Raises BadGame where it is wrong."""
    moves = len(game.move_names)
    try:
        parts = np.array(getattr(game, "move_parts", ()))
    except ValueError:  # rows of different lengths
        parts = np.zeros(1)
    if parts.shape == (0,):
        return ()
    if parts.ndim != 2 or len(parts) != moves or parts.dtype.kind not in "iu" or parts.min(initial=0) < -1:
        raise BadGame(f"move_parts must be {moves} rows, one for each move, all of one length, of numbers from -1 up")
    made = [tuple(row) for row in parts.tolist()]
    apart = [row for row in made if max(row, default=-1) >= 0]
    if len(set(apart)) < len(apart):
        raise BadGame(f"move_parts: two moves are made of the same choices, {max(apart, key=apart.count)}")
    return tuple(made)


def _roles(roles: Any, n_agents: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    if roles is None:
        return ("agent",), (0,) * n_agents
    if not isinstance(roles, Mapping) or not roles:
        raise BadGame(f'roles must name the agents of each role, {{"sender": (0,), "receiver": (1,)}}, not {roles!r}')
    role_of: list[int | None] = [None] * n_agents
    for index, (role, agents) in enumerate(roles.items()):
        if not len(agents):
            raise BadGame(f"the role {role!r} has no agents: name at least one, or leave it out")
        for agent in agents:
            if not 0 <= agent < n_agents:
                raise BadGame(f"the role {role!r} names agent {agent}: the agents are 0 to {n_agents - 1}")
            if role_of[agent] is not None:
                raise BadGame(f"agent {agent} is in two roles: each agent has one")
            role_of[agent] = index
    if None in role_of:
        raise BadGame(f"agent {role_of.index(None)} is in no role: each agent has one")
    return tuple(map(str, roles)), tuple(index for index in role_of if index is not None)


def _attributes(declared: Any) -> tuple[Attribute, ...]:
    attributes = []
    for given in declared:
        try:
            attribute = Attribute(*given)
        except TypeError:
            raise BadGame(f'an attribute is a name and a number of values, ("delay", 5), not {given!r}') from None
        if isinstance(attribute.n_values, bool) or not isinstance(attribute.n_values, int) or attribute.n_values < 1:
            raise BadGame(f"the attribute {attribute.name!r} must have at least 1 value, not {attribute.n_values!r}")
        if attribute.values and (isinstance(attribute.values, str) or len(attribute.values) != attribute.n_values):
            raise BadGame(
                f"the attribute {attribute.name!r} names {len(attribute.values)} values, and has {attribute.n_values}: "
                "give one name for each, or none"
            )
        attribute = attribute._replace(values=tuple(map(str, attribute.values)))
        if len(set(attribute.values)) < len(attribute.values):
            raise BadGame(
                f"the attribute {attribute.name!r} has two values of one name, {', '.join(attribute.values)}: give "
                "each a name of its own"
            )
        attributes.append(attribute)
    names = [a.name for a in attributes]
    for name in names:
        if names.count(name) > 1:
            raise BadGame(f"there are two attributes {name!r}: give one of them another name")
    return tuple(attributes)


def _words(words: Any) -> Words:
    if words is not None and not isinstance(words, Words):
        raise BadGame(f"words must be envs.Words, not {type(words).__name__}")
    return words or Words()


def _tokens(tokens: Any, roles: tuple[str, ...], role_of: tuple[int, ...]) -> tuple[int | None, ...]:
    for role, count in (tokens or {}).items():
        if role not in roles:
            raise BadGame(f"tokens names the role {role!r}: the roles are {', '.join(roles)}")
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise BadGame(f"the role {role!r} must have a number of tokens from 0 up, not {count!r}")
    return tuple((tokens or {}).get(roles[index]) for index in role_of)


def _decision(decision: Any, game: Declaration) -> Decision:
    """The decision; raises BadGame where it names what the game does not have."""
    if not isinstance(decision, Decision):
        raise BadGame(f"decisions must be envs.Decision, not {decision!r}")
    says = f"the decision {decision.name!r}"
    if decision.kind not in get_args(Kind):
        raise BadGame(f"{says} is of no known kind: {', '.join(get_args(Kind))}")
    if decision.kind in ("move", "attribute") and decision.agent is None:
        raise BadGame(f"{says} names no agent: say which, from 0 to {game.n_agents - 1}")
    if decision.agent is not None and not 0 <= decision.agent < game.n_agents:
        raise BadGame(f"{says} names agent {decision.agent}: the agents are 0 to {game.n_agents - 1}")
    if decision.kind == "attribute" and decision.attribute not in [a.name for a in game.attributes]:
        raise BadGame(f"{says} names no attribute of the game, but {decision.attribute!r}")
    if decision.kind == "yields":
        decision = decision._replace(move=game.move_names[-1]) if decision.move is None else decision
        if decision.move not in game.move_names:
            raise BadGame(f"{says} must name the move of the one that yields: {', '.join(game.move_names)}")
        if game.n_agents != 2 or len(game.roles) > 1 or len(game.move_names) != 2:
            raise BadGame(f"{says} is of the kind 'yields', which is for two agents of one role with two moves")
        if decision.move != game.move_names[-1]:
            raise BadGame(f"{says}: put the move of the one that yields last, {decision.move!r} after the other")
    return decision


def require_in_range(private: Floats, declaration: Declaration) -> None:
    """Raise BadGame where `private` `[B, N, P]` is not what the attributes of a game say."""
    if not declaration.attributes:
        return
    if private.shape[2] != len(declaration.attributes):
        raise BadGame(
            f"private() has {private.shape[2]} columns, and there are {len(declaration.attributes)} attributes: "
            "one column for each, in their order"
        )
    for p, (name, n_values, _) in enumerate(declaration.attributes):
        values = private[..., p]
        wrong = (values < -1) | (values >= n_values) | (values != np.floor(values))
        if wrong.any():
            agent = int(np.argwhere(wrong)[0][1])
            raise BadGame(
                f"the attribute {name!r} of agent {agent} is {values[wrong][0]:g}: its values are 0 to {n_values - 1}, "
                "or -1 for an agent that has none"
            )
