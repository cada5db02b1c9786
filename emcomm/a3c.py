"""Asynchronous advantage actor-critic (Mnih et al. 2016), on Ray; read from top to bottom.

A `Worker` steps a batch of games with its own copy of the weights and computes a gradient. The `Learner` applies
gradients in the order in which they arrive, waiting for nobody, and fresh weights go back. Between a gradient's
weights and its application others are applied: that number of updates is its staleness. It is kept small by a limit on
the gradients under way at once, so with more workers than cores the surplus waits for fresh weights instead of
computing with old ones.
"""

from __future__ import annotations

import ctypes
import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from emcomm import losses
from emcomm.config import Config
from emcomm.dialogues import DialogueTable, EpisodeCollector
from emcomm.errors import BadInput, Fault
from emcomm.policy import Policy
from emcomm.rollout import Rollout
from emcomm.runs import Checkpoint
from emcomm.worlds import choose_device, make_negotiation, make_policy

# -- what travels ----------------------------------------------------------------------------------------------------


class Assignment(NamedTuple):
    """What the learner sends to a worker."""

    weights: np.ndarray
    """float32 `[P]`, all weights in one vector."""
    version: int
    """Updates that these weights have seen."""
    entropy_bonus: float
    round_cost: float


class Contribution(NamedTuple):
    """What a worker sends to the learner."""

    gradient: np.ndarray
    """float32 `[P]`, the gradient of the loss in one vector."""
    version: int
    """Updates that the weights behind it had seen."""
    dialogues: DialogueTable | None
    """The episodes that ended meanwhile."""
    agent_steps: int
    entropy: float
    """Of the policy where there was a choice (nats)."""
    value_error: float


# -- the worker ------------------------------------------------------------------------------------------------------


class Worker:
    """Plays a batch of games and computes gradients."""

    def __init__(self, config: Config, index: int, seed: np.random.SeedSequence) -> None:
        self._config, device = config, choose_device(config.device)
        games_seed, action_seed = seed.spawn(2)
        self._policy = make_policy(config, device)
        self._negotiation = make_negotiation(config, config.games, games_seed)
        self._rng = np.random.default_rng(action_seed)
        self._rollout = Rollout(self._negotiation, self._rng)
        self._collector = EpisodeCollector(config.games, index)

    def contribute(self, assignment: Assignment) -> Contribution:
        """Play `unroll` steps of every game with the weights given; the gradient of the loss over them."""
        config, policy = self._config, self._policy
        vector_to_parameters(torch.from_numpy(np.array(assignment.weights)).to(policy.device), policy.parameters())
        self._negotiation.round_cost = assignment.round_cost
        played, finished = self._rollout.play(policy, config.unroll)
        value_t, value_tp1 = played.value[:-1], played.value[1:].detach()
        target_t = losses.returns(played.reward, played.ended, value_tp1, config.discount, config.trace)
        entropy = losses.weighted_mean(played.entropy, played.choice)
        value_error = losses.value_error(value_t, target_t, played.active)
        policy.zero_grad()
        loss = (
            losses.policy_gradient(played.log_prob, target_t - value_t, played.choice)
            + config.value_weight * value_error
            - assignment.entropy_bonus * entropy
        )
        loss.backward()
        gradient = parameters_to_vector(
            p.grad if p.grad is not None else torch.zeros_like(p) for p in policy.parameters()
        )
        for dialogues in finished:
            self._collector.add(dialogues, assignment.version)
        return Contribution(
            gradient.cpu().numpy(), assignment.version, self._collector.take(), played.reward.numel(),
            entropy.item(), value_error.item(),
        )  # fmt: skip

    @property
    def random_state(self) -> dict[str, Any]:
        """The states of the generators behind the actions and the games, as plain values."""
        return {"actions": self._rng.bit_generator.state, "games": self._negotiation.random_state}

    @random_state.setter
    def random_state(self, state: dict[str, Any]) -> None:
        self._rng.bit_generator.state = state["actions"]
        self._negotiation.random_state = state["games"]


def seed_of_worker(config: Config, number: int) -> np.random.SeedSequence:
    """The seed of the `number`-th worker that the run has started, replacements and resumes counted."""
    return np.random.SeedSequence(config.seed, spawn_key=(number,))


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from malloc.h


def use_one_core() -> None:
    """Settle this process for many small operations: one thread, no slow arithmetic on denormal numbers, and memory
    that is kept for the next update instead of being given back to the system after each (else a fifth of the time)."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc only
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**30)


# -- the learner -----------------------------------------------------------------------------------------------------


class Learner:
    """Owns the weights, and applies gradients in the order in which they arrive."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.policy = make_policy(config, torch.device("cpu"))
        self._weights = parameters_to_vector(self.policy.parameters()).detach().clone()
        self._mean_square = torch.zeros_like(self._weights)
        self.version = 0
        self.refused = 0
        """Gradients that were not finite numbers, and so were not applied."""

    def assignment(self, episodes: int) -> Assignment:
        """Fresh weights for a worker, after `episodes` episodes of training."""
        config = self.config
        return Assignment(
            self._weights.numpy().copy(),
            self.version,
            config.entropy_bonus_at(episodes),
            config.round_cost_at(episodes),
        )

    def apply(self, contribution: Contribution, episodes: int) -> int:
        """One update with a gradient; returns its staleness (updates). A gradient with a NaN is refused and counted."""
        staleness = self.version - contribution.version
        if not np.isfinite(contribution.gradient).all():
            self.refused += 1
            return staleness
        gradient = torch.from_numpy(np.array(contribution.gradient))
        gradient *= min(1.0, self.config.max_grad_norm / (gradient.norm().item() + 1e-6))
        self._descend(gradient, self.config.learning_rate_at(episodes))
        self.version += 1
        return staleness

    def _descend(self, gradient: torch.Tensor, learning_rate: float) -> None:
        """A3C's shared RMSProp, with Adam's correction for the start of the running mean.

        Without momentum: it would add its delay to that of the staleness, and the votes of the agents would oscillate.
        """
        decay = 0.999
        self._mean_square.mul_(decay).addcmul_(gradient, gradient, value=1 - decay)
        root = (self._mean_square / (1 - decay ** (self.version + 1))).sqrt_()
        self._weights.addcdiv_(gradient, root.add_(1e-5), value=-learning_rate)

    def current_policy(self) -> Policy:
        """The policy with the present weights."""
        vector_to_parameters(self._weights, self.policy.parameters())
        return self.policy

    def checkpoint(self) -> Checkpoint:
        """Weights, optimiser and counters."""
        tensors = {f"policy.{name}": tensor.clone() for name, tensor in self.current_policy().state_dict().items()}
        tensors["optimiser.mean_square"] = self._mean_square.clone()
        return Checkpoint(tensors, {"version": self.version, "refused": self.refused})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint whose weights have been loaded into `self.policy`."""
        self._weights = parameters_to_vector(self.policy.parameters()).detach().clone()
        mean_square = checkpoint.part("optimiser")["mean_square"]
        if mean_square.shape != self._weights.shape:
            raise BadInput("the optimiser's state in the checkpoint does not fit its weights")
        self._mean_square = mean_square
        self.version, self.refused = checkpoint.facts["version"], checkpoint.facts["refused"]


# -- where gradients come from ---------------------------------------------------------------------------------------


class InProcess:
    """One worker in this process: no Ray, and bit-for-bit repeatable."""

    def __init__(self, config: Config) -> None:
        self.worker = Worker(config, 0, seed_of_worker(config, 0))
        self.started = 1

    def contributions(self, fresh: Callable[[], Assignment]) -> Iterator[Contribution]:
        """For ever: play with the weights that `fresh` gives."""
        while True:
            yield self.worker.contribute(fresh())

    def close(self) -> None:
        """Nothing to stop."""


class _RayWorker:
    """A worker in a process of its own; built in `build`, so that an error there reaches the learner as it is."""

    def build(self, config: Config, index: int, seed: np.random.SeedSequence) -> None:
        use_one_core()
        self._worker = Worker(config, index, seed)

    def contribute(self, *assignment: Any) -> Contribution:
        return self._worker.contribute(Assignment(*assignment))


class OnRay:
    """Workers as Ray actors; more of them than cores is normal. A worker that dies is replaced.

    `ray` is the module, of a cluster that `emcomm.cluster` has started; `close` ends it. `started` counts the workers
    ever started in the run, so that no two share a seed.
    """

    def __init__(self, config: Config, started: int, ray: Any, on_death: Callable[[int], None]) -> None:
        self._ray, self._config, self._on_death = ray, config, on_death
        self.started = started
        resources = ray.cluster_resources()
        self._cores = max(1, int(resources.get("CPU", 1)))
        gpus = 0.0
        if choose_device(config.device).type == "cuda":
            gpus = math.floor(1000 * resources.get("GPU", 0) / config.workers) / 1000
        self._actor: Any = ray.remote(num_cpus=0, num_gpus=gpus, max_restarts=0)(_RayWorker)
        self._deaths_in_a_row = 0

    def contributions(self, fresh: Callable[[], Assignment]) -> Iterator[Contribution]:
        """Contributions in the order of arrival, for ever. Workers join as they come up, a few at a time.

        After each one the caller applies it; `fresh` then gives the weights for the worker that has waited longest.
        """
        limit = self._config.in_flight or self._cores + 1
        absent = deque(range(self._config.workers))
        idle: deque[tuple[int, Any]] = deque()
        under_way: dict[Any, tuple[int, Any, bool]] = {}  # a Ray reference -> its worker, and whether it computes
        starting = computing = 0
        while True:
            while absent and starting < self._cores:
                under_way.update([self._start(absent.popleft())])
                starting += 1
            while idle and computing < limit:
                index, actor = idle.popleft()
                under_way[actor.contribute.remote(*fresh())] = (index, actor, True)
                computing += 1
            (done,), _ = self._ray.wait(list(under_way), num_returns=1)
            index, actor, computed = under_way.pop(done)
            computing, starting = computing - computed, starting - (not computed)
            try:
                contribution = self._ray.get(done)
            except self._ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, (BadInput, Fault)):
                    raise error.cause from None
                raise error.as_instanceof_cause() from None
            except self._ray.exceptions.RayError:  # it, its node or its machine's memory
                self._note_death(index)
                absent.append(index)
                continue
            idle.append((index, actor))
            if computed:
                self._deaths_in_a_row = 0
                yield contribution

    def _start(self, index: int) -> tuple[Any, tuple[int, Any, bool]]:
        actor = self._actor.remote()
        seed = seed_of_worker(self._config, self.started)
        self.started += 1
        return actor.build.remote(self._config, index, seed), (index, actor, False)

    def _note_death(self, index: int) -> None:
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row > 3 * self._config.workers:
            raise Fault(
                f"workers die as soon as they start ({self._deaths_in_a_row} in a row): is there enough memory?"
            )
        self._on_death(index)

    def close(self) -> None:
        """Stop the workers, and the local cluster."""
        self._ray.shutdown()
