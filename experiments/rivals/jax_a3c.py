"""A rival for speed: the same A3C on the same crossing, one compiled JAX program that does nothing else.

One network, one channel, one torso; no log, no controls, no resume. `experiments.throughput --against jax` measures the
learner beside it, and tests/test_jax_rival.py shows that it learns. Axes: `B` game, `N` = 2 agents, `A` action.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax, random

from emcomm.config import Config

OPEN, TALK, ACT = 0, 1, 2
Weights = dict[str, jax.Array]


class Games(NamedTuple):
    """Crossings in progress."""

    phase: jax.Array  # [B]
    n_rounds: jax.Array  # [B]
    heard: jax.Array  # [B, N] the last round; the symbol after EOT where nothing was said
    memory: jax.Array  # [B, N, H]


def fresh_games(config: Config) -> Games:
    """Crossings in which nothing has happened yet."""
    nothing, silent = jnp.zeros(config.games, int), jnp.full((config.games, 2), config.rules.eot + 1)
    return Games(nothing, nothing, silent, jnp.zeros((config.games, 2, config.hidden_size)))


def fresh_weights(config: Config, key: jax.Array) -> Weights:
    """As `emcomm.networks.policy.Policy` draws them."""
    h, inputs, actions = config.hidden_size, 3 + 2 * (config.rules.eot + 2), config.rules.eot + 3
    keys, bound = random.split(key, 6), h**-0.5
    shapes = {"x": (inputs, 3 * h), "bias_x": (3 * h,), "h": (h, 3 * h), "bias_h": (3 * h,), "critic": (h,)}
    drawn = {n: random.uniform(keys[i], s, minval=-bound, maxval=bound) for i, (n, s) in enumerate(shapes.items())}
    actor = jax.nn.initializers.orthogonal(3.0)(keys[5], (h, actions))
    return {**drawn, "actor": actor, "bias_actor": jnp.zeros(actions), "bias_critic": jnp.zeros(())}


def remember(w: Weights, games: Games, n_symbols: int) -> jax.Array:
    """`[B, N, H]` the memory after what is seen: phase, own symbol, the other's."""
    phase = jnp.broadcast_to(jax.nn.one_hot(games.phase, 3)[:, None], (len(games.phase), 2, 3))
    said = jax.nn.one_hot(games.heard, n_symbols + 1)
    seen, h = jnp.concatenate([phase, said, said[:, ::-1]], axis=2), games.memory
    (r_x, z_x, n_x), (r_h, z_h, n_h) = (
        jnp.split(g, 3, axis=2) for g in (seen @ w["x"] + w["bias_x"], h @ w["h"] + w["bias_h"])
    )
    z, n = jax.nn.sigmoid(z_x + z_h), jnp.tanh(n_x + jax.nn.sigmoid(r_x + r_h) * n_h)
    return n + z * (h - n)


def play(games: Games, memory: jax.Array, action: jax.Array, config: Config) -> tuple[Games, jax.Array, jax.Array]:
    """The games after the joint `action` `[B, N]`, rewards `[B]`, and which are over `[B]`; those start anew."""
    eot = config.rules.eot
    said = jnp.where(action <= eot, action, eot + 1)
    talks = (action <= eot).any(1)
    n_rounds = games.n_rounds + talks
    closed = (said == eot).all(1) | (n_rounds == config.rules.max_rounds)
    phase = jnp.where(talks, jnp.where(closed, ACT, TALK), OPEN)
    reward = jnp.where(talks, 0.0, jnp.where(action[:, 0] != action[:, 1], 1.0, -1.0))
    silent = jnp.full_like(said, eot + 1)
    after = Games(
        phase, jnp.where(talks, n_rounds, 0), jnp.where(talks[:, None], said, silent),
        jnp.where(talks[:, None, None], memory, 0.0),
    )  # fmt: skip
    return after, reward, ~talks


def loss(w: Weights, games: Games, key: jax.Array, bonus: jax.Array, config: Config) -> tuple[jax.Array, Any]:
    """A3C's loss over an unroll; beside it the games after it, episodes ended, and how many were successes."""
    eot = config.rules.eot
    is_symbol = jnp.arange(eot + 3) <= eot
    legal = jnp.stack([jnp.ones_like(is_symbol), is_symbol, ~is_symbol])

    def step(games: Games, key: jax.Array) -> tuple[Games, tuple[jax.Array, ...]]:
        memory = remember(w, games, eot + 1)
        logits = jnp.where(legal[games.phase][:, None], memory @ w["actor"] + w["bias_actor"], -1e9)
        log_probs = jax.nn.log_softmax(logits)
        action = random.categorical(key, logits)
        log_prob = jnp.take_along_axis(log_probs, action[..., None], 2)[..., 0]
        entropy = -(jnp.exp(log_probs) * log_probs).sum(2)
        after, reward, over = play(games, memory, action, config)
        return after, (memory @ w["critic"] + w["bias_critic"], log_prob, entropy, reward[:, None], over[:, None])

    games, (value, log_prob, entropy, reward, over) = lax.scan(step, games, random.split(key, config.unroll))
    last = remember(w, games, eot + 1) @ w["critic"] + w["bias_critic"]
    value_tp1 = lax.stop_gradient(jnp.concatenate([value[1:], last[None]]))

    def backwards(following: jax.Array, at: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        reward_t, over_t, value_t = at
        mixed = (1 - config.trace) * value_t + config.trace * following
        target = reward_t + config.discount * (1 - over_t) * mixed
        return target, target

    _, target = lax.scan(backwards, value_tp1[-1], (reward, over, value_tp1), reverse=True)
    advantage = target - value
    total = (
        -(log_prob * lax.stop_gradient(advantage)).mean()
        + config.value_weight * (advantage**2).mean() / 2
        - bonus * entropy.mean()
    )
    return total, (games, over.sum(), (reward > 0).sum())


class Learner(NamedTuple):
    """All that changes."""

    weights: Weights
    mean_square: Weights
    games: Games
    key: jax.Array
    updates: jax.Array
    episodes: jax.Array


def update(learner: Learner, _: None, config: Config) -> tuple[Learner, tuple[jax.Array, jax.Array]]:
    """One unroll of all games and one step of the shared RMSProp; beside it episodes ended, and successes."""
    w, mean_square, games, key, updates, episodes = learner
    key, own = random.split(key)
    bonus = config.entropy_bonus * jnp.maximum(0.0, 1 - episodes / (config.entropy_until * config.episodes))
    gradient, (games, ended, won) = jax.grad(loss, has_aux=True)(w, games, own, bonus, config)
    norm = jnp.sqrt(sum((g**2).sum() for g in gradient.values()))
    gradient = jax.tree.map(lambda g: g * jnp.minimum(1.0, config.max_grad_norm / (norm + 1e-6)), gradient)
    mean_square = jax.tree.map(lambda m, g: 0.999 * m + 0.001 * g**2, mean_square, gradient)
    rate = config.learning_rate * jnp.maximum(0.0, 1 - episodes / config.episodes)
    start = 1 - 0.999 ** (updates + 1)
    w = jax.tree.map(lambda w, g, m: w - rate * g / (jnp.sqrt(m / start) + 1e-5), w, gradient, mean_square)
    return Learner(w, mean_square, games, key, updates + 1, episodes + ended), (ended, won)


def learner_of(config: Config) -> Learner:
    """A learner before its first update."""
    key, own = random.split(random.key(config.seed))
    weights = fresh_weights(config, own)
    zero = jnp.zeros((), int)
    return Learner(weights, jax.tree.map(jnp.zeros_like, weights), fresh_games(config), key, zero, zero)


UPDATES = 100
"""Updates in one call of the compiled program."""


def compiled(config: Config) -> Any:
    """The program: a learner in; after `UPDATES` updates the learner, and `[UPDATES]` episodes ended and successes."""
    return jax.jit(lambda learner: lax.scan(partial(update, config=config), learner, None, UPDATES))


def rate(config: Config, seconds: float) -> float:
    """Agent-steps per second, without the compilation."""
    learner, learn = learner_of(config), compiled(config)
    learner, _ = jax.block_until_ready(learn(learner))
    calls, begun = 0, time.monotonic()
    while time.monotonic() - begun < seconds:
        learner, _ = jax.block_until_ready(learn(learner))
        calls += 1
    return calls * UPDATES * config.unroll * config.games * 2 / (time.monotonic() - begun)
