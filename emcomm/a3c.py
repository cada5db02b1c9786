"""Asynchronous advantage actor-critic (Mnih et al. 2016), on Ray; read from top to bottom.

A `Worker` steps a batch of games with its own copy of the weights and computes a gradient. The `Learner` applies
gradients in the order in which they arrive, waiting for nobody, and fresh weights go back. Which network, and how a
trajectory becomes a gradient (`emcomm.algorithms`), neither of them knows. Between a gradient's
weights and its application others are applied: that number of updates is its staleness. It is kept small by a limit on
the gradients under way at once, so with more workers than cores the surplus waits for fresh weights instead of
computing with old ones. For the same reason a process for each core is enough, with several workers in it.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from emcomm.checkpoints import Checkpoint
from emcomm.cluster import Cluster
from emcomm.config import Config
from emcomm.dialogues import DialogueTable, EpisodeCollector
from emcomm.errors import BadInput, Fault
from emcomm.networks.policy import Policy
from emcomm.rollout import Rollout
from emcomm.worlds import choose_device, make_algorithm, make_negotiation, make_policy
from envs.game import BadEnvironment, BadGame
from envs.saving import fitting

State = dict[str, Any]
"""Nested dictionaries of arrays and plain values."""

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
    joint_moves: int = 0
    """Joint moves that were played, those of episodes under way included."""
    longest: int = 0
    """Joint moves of the longest episode under way."""
    return_so_far: float = 0.0
    """Of the episodes under way (mean over games and agents)."""


# -- the worker ------------------------------------------------------------------------------------------------------


class Worker:
    """Plays a batch of games and computes gradients."""

    def __init__(self, config: Config, index: int, seed: np.random.SeedSequence) -> None:
        self._config, device = config, choose_device(config.device)
        games_seed, action_seed = seed.spawn(2)
        self._policy, self._algorithm = make_policy(config, device), make_algorithm(config)
        self._negotiation = make_negotiation(config, config.games, games_seed, training=True)
        self._rng = np.random.default_rng(action_seed)
        self._rollout = Rollout(self._negotiation, self._rng, config.token_gradient)
        self._collector = EpisodeCollector(config.games, index)

    def contribute(self, assignment: Assignment) -> Contribution:
        """Play `unroll` steps of every game with the weights given; the gradient of the loss over them."""
        config, policy = self._config, self._policy
        vector_to_parameters(torch.from_numpy(np.array(assignment.weights)).to(policy.device), policy.parameters())
        self._negotiation.round_cost = assignment.round_cost
        played, again, finished = self._rollout.play(policy, config.unroll)
        gradient = self._algorithm(policy, played, again, config, assignment.entropy_bonus)
        for dialogues, players in finished:
            self._collector.add(dialogues, assignment.version, players)
        return Contribution(
            gradient.vector.cpu().numpy(), assignment.version, self._collector.take(), played.reward.numel(),
            gradient.entropy, gradient.value_error, sum(len(dialogues.game) for dialogues, _ in finished),
            *self._collector.under_way,
        )  # fmt: skip

    # -- saved between two contributions -----------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """Steps played so far; a sign of life."""
        return self._rollout.steps

    def state(self) -> State | None:
        """All that the next contributions depend on beside the weights; None where the game cannot be saved."""
        talk, memory = self._negotiation.state(), self._rollout.memory
        if talk is None:
            return None
        return {
            "talk": talk,
            "actions": self._rng.bit_generator.state,
            "memory": {} if memory is None else {"rows": memory.cpu().numpy()},
            "dealt": self._policy.dealt,
            "episodes": self._collector.state(),
        }

    def restore(self, state: State) -> None:
        """Go on from what `state` returned; raises BadInput where it does not fit."""
        try:
            self._negotiation.restore(state["talk"])
            self._rng.bit_generator.state = state["actions"]
            self._collector.restore(state["episodes"], self._negotiation.n_agents)
            fresh = self._policy.initial_memory(self._config.games * self._negotiation.n_agents)
            self._policy.dealt = int(state["dealt"]) % 2**31
            if state["memory"]:
                rows = fitting("the memory", state["memory"]["rows"], fresh.cpu().numpy(), -np.inf, np.inf)
                self._policy.require_memory(rows)
                self._rollout.memory = torch.from_numpy(rows).to(fresh.device)
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise BadInput(f"the games in progress of the checkpoint do not fit this run: {error}") from error


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

    def tensors(self) -> dict[str, torch.Tensor]:
        """Copies of the weights and the optimiser's state, as a checkpoint holds them."""
        tensors = {f"policy.{name}": tensor.clone() for name, tensor in self.current_policy().state_dict().items()}
        return {**tensors, "optimiser.mean_square": self._mean_square.clone()}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint whose weights have been loaded into `self.policy`."""
        self._weights = parameters_to_vector(self.policy.parameters()).detach().clone()
        mean_square = checkpoint.part("optimiser").get("mean_square")
        if mean_square is None or (mean_square.shape, mean_square.dtype) != (self._weights.shape, self._weights.dtype):
            raise BadInput("the optimiser's state in the checkpoint does not fit its weights")
        self._mean_square = mean_square
        self.version, self.refused = checkpoint.facts["version"], checkpoint.facts["refused"]


# -- where gradients come from ---------------------------------------------------------------------------------------


class InProcess:
    """One worker in this process: no Ray, and bit-for-bit repeatable.

    `started` counts the workers ever started in the run, so that no two share a seed; `states` holds the games in
    progress of a run that goes on, by the index of the worker.
    """

    def __init__(self, config: Config, started: int = 0, states: dict[str, State] | None = None) -> None:
        state = (states or {}).get("0")
        self.worker = Worker(config, 0, seed_of_worker(config, started))
        self.started = started
        if state is None:
            self.started += 1
        else:
            self.worker.restore(state)

    def contributions(
        self, fresh: Callable[[], Assignment], pause: Callable[[], bool] = lambda: False
    ) -> Iterator[Contribution | None]:
        """For ever: play with the weights that `fresh` gives. None when `pause` asks for a moment to save."""
        while True:
            yield None if pause() else self.worker.contribute(fresh())

    def states(self) -> dict[str, State]:
        """The games in progress, by the index of the worker; nothing where they cannot be saved."""
        state = self.worker.state()
        return {} if state is None else {"0": state}

    def close(self) -> None:
        """Nothing to stop."""


class _RayProcess:
    """A process with workers; each is built in `build`, so that an error there reaches the learner as it is."""

    def __init__(self) -> None:
        use_one_core()
        self._workers: dict[int, Worker] = {}

    def build(self, config: Config, index: int, seed: np.random.SeedSequence, state: State | None) -> None:
        worker = Worker(config, index, seed)
        if state is not None:
            worker.restore(state)
        self._workers[index] = worker

    def contribute(self, index: int, *assignment: Any) -> Contribution:
        return self._workers[index].contribute(Assignment(*assignment))

    def state(self, index: int) -> State | None:
        return self._workers[index].state()

    def pulse(self) -> int:
        return sum(worker.steps for worker in list(self._workers.values()))


@dataclass(eq=False)
class _Process:
    """A process on Ray, as the learner sees it."""

    actor: Any
    heard: float
    """When it last finished something, or played a step."""
    node: str | None = None
    """Where it was to live; None where there was no choice."""
    workers: list[int] = field(default_factory=list)
    computing: int = 0
    """Gradients that it computes, or that wait for it."""
    steps: int = -1
    """Those of its workers when it was last asked."""


class _Hand(NamedTuple):
    """A worker, and where it lives."""

    number: int
    process: _Process


class _Task(NamedTuple):
    """What a worker is doing."""

    hand: _Hand
    computes: bool
    """Whether it computes a contribution; otherwise it is being built."""
    begun: float


DOUBLE_EVERY = 96
"""In a new run the workers that take part double after so many updates. The games of a worker go on with what the
network remembered when the worker last had its turn. That is old where many take turns, and slows the first learning,
in which the weights change fast: with 32 workers from the start 95 % success comes after 12 000 to 20 000 episodes."""
LOOK_EVERY = 1.0
"""How often Ray and the workers are looked after (seconds)."""
QUIET = 5.0
"""A task that takes longer is looked after (seconds)."""
PATIENCE = 45.0
"""A worker that has played no step for so long is taken for dead (seconds)."""
START_PATIENCE = 180.0
"""The same for one that is being started: it may have to load its packages over a slow network (seconds)."""
SAVING_PATIENCE = 10.0
"""Whoever computes for longer than this when the others have paused is not waited for (seconds)."""


class OnRay:
    """Workers in processes on Ray: by default one process for each core, with as many workers as it takes.

    A process that dies or stalls is replaced, and its workers with it. `cluster` is what `start_ray` returned; `close`
    ends it. `started` counts the workers ever started in the run, so that no two share a seed; `on_death` is told the
    workers that were lost; `states` holds the games in progress of a run that goes on, by the index of the worker;
    `per_process` is the number of workers in each process, 0 for the default.
    """

    def __init__(
        self, config: Config, started: int, cluster: Cluster, on_death: Callable[[list[int]], None],
        states: dict[str, State] | None = None, per_process: int = 0,
    ) -> None:  # fmt: skip
        self._cluster, self._ray, self._config, self._on_death = cluster, cluster.ray, config, on_death
        self.started, self._states = started, dict(states or {})
        resources = self._ray.cluster_resources()
        self._cores = max(1, int(resources.get("CPU", 1)))
        self.processes = math.ceil(config.workers / (per_process or math.ceil(config.workers / self._cores)))
        """Processes that the workers live in."""
        gpus = 0.0
        device = choose_device(config.device)
        if device.type == "cuda" and device.index is None:  # Ray shares them out; one that is named is seen by all
            gpus = math.floor(1000 * resources.get("GPU", 0) / self.processes) / 1000
        self._actor: Any = self._ray.remote(
            num_cpus=0, num_gpus=gpus, max_restarts=0, concurrency_groups={"pulse": 1}, scheduling_strategy="SPREAD"
        )(_RayProcess)  # fmt: skip
        self._deaths_in_a_row = 0
        self._alive: list[_Process] = []
        self._absent = deque(range(config.workers))
        """Workers that live nowhere yet."""
        self._welcome: float = config.workers if started else min(self.processes, self._cores)
        """Workers that may take part by now."""
        self._idle: deque[_Hand] = deque()
        """Workers that wait for weights; who has waited longest comes first."""
        self._under_way: dict[Any, _Task] = {}
        """A Ray reference -> what it stands for."""
        self._looked = time.monotonic()
        self._contributed = time.monotonic()
        """When the last contribution arrived."""

    def contributions(
        self, fresh: Callable[[], Assignment], pause: Callable[[], bool] = lambda: False
    ) -> Iterator[Contribution | None]:
        """Contributions in the order of arrival, for ever. Workers join one after another.

        After each one the caller applies it; `fresh` then gives the weights for the worker that has waited longest in
        the process with least to do. Once `pause` asks for it no more weights are given out, and when nobody computes
        any more, None is yielded: the moment to save. Raises Fault where Ray itself is gone or nobody makes progress.
        """
        limit = self._config.in_flight or min(self.processes, self._cores)
        paused_at: float | None = None
        while True:
            self._start_absent()
            paused_at = (paused_at or time.monotonic()) if pause() else None
            while self._idle and self._computing < limit and paused_at is None:
                self._assign(fresh())
            waited = paused_at is not None and time.monotonic() - paused_at > SAVING_PATIENCE
            if paused_at is not None and (not self._computing or waited):
                paused_at = None
                yield None
                continue
            done = self._next()
            task = self._under_way.pop(done) if done is not None else None
            if task is None:
                continue
            process = task.hand.process
            process.computing -= task.computes
            try:
                with self._cluster.calling():
                    contribution = self._ray.get(done, timeout=PATIENCE)
            except self._ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, (BadInput, Fault, BadGame, BadEnvironment)):
                    raise error.cause from None
                raise error.as_instanceof_cause() from None
            except self._ray.exceptions.RayError:  # it, its node or its machine's memory
                self._lose(process)
                continue
            process.heard = time.monotonic()
            self._idle.append(task.hand)
            if task.computes:
                self._deaths_in_a_row, self._contributed = 0, time.monotonic()
                self._welcome = min(self._welcome * 2 ** (1 / DOUBLE_EVERY), self._config.workers)
                yield contribution

    @property
    def _computing(self) -> int:
        return sum(process.computing for process in self._alive)

    def _start_absent(self) -> None:
        while self._absent and len(self._under_way) - self._computing < self._cores:
            if self._config.workers - len(self._absent) >= int(self._welcome):
                break
            index = self._absent.popleft()
            state = self._states.pop(str(index), None)
            seed = seed_of_worker(self._config, self.started)
            self.started += state is None
            with self._cluster.calling():
                if len(self._alive) < self.processes:
                    node, actor = self._cluster.node_for(Counter(process.node for process in self._alive)), self._actor
                    if node is not None:
                        actor = actor.options(scheduling_strategy=self._cluster.on_node(node))
                    self._alive.append(_Process(actor.remote(), time.monotonic(), node))
                process = min(self._alive, key=lambda process: len(process.workers))
                process.workers.append(index)
                reference = process.actor.build.remote(self._config, index, seed, state)
            self._under_way[reference] = _Task(_Hand(index, process), False, time.monotonic())

    def _assign(self, assignment: Assignment) -> None:
        hand = min(self._idle, key=lambda hand: hand.process.computing)
        self._idle.remove(hand)
        with self._cluster.calling():
            reference = hand.process.actor.contribute.remote(hand.number, *assignment)
        hand.process.computing += 1
        self._under_way[reference] = _Task(hand, True, time.monotonic())

    # -- signs of life -----------------------------------------------------------------------------------------------

    def _next(self) -> Any | None:
        """What is done next, None where nothing is within a second; raises Fault where Ray is gone."""
        if time.monotonic() - self._looked > LOOK_EVERY:
            self._looked = time.monotonic()
            self._cluster.check()
            with self._cluster.calling():
                self._replace_stalled()
        if not self._under_way:
            return None
        with self._cluster.calling():
            done, _ = self._ray.wait(list(self._under_way), num_returns=1, timeout=1.0)
        return done[0] if done else None

    def _replace_stalled(self) -> None:
        """Give up processes that make no progress; raises Fault where none does."""
        now = time.monotonic()
        busy: dict[_Process, float] = {}
        for task in self._under_way.values():
            busy[task.hand.process] = min(task.begun, busy.get(task.hand.process, now))
        quiet = {p: since for p, begun in busy.items() if now - (since := max(begun, p.heard)) > QUIET}
        self._take_pulses([process for process in quiet if process.computing])
        stalled = []
        for process, since in quiet.items():
            patience = PATIENCE if process.computing else START_PATIENCE
            if now - max(since, process.heard) > patience:
                stalled.append(process)
        others_wait = now - self._contributed <= PATIENCE  # for a save, until these have finished
        if stalled and len(stalled) == len(busy) and not others_wait:
            raise Fault(f"no worker on Ray has made progress for {now - max(quiet[p] for p in stalled):.0f} s")
        for process in stalled:
            self._lose(process)

    def _take_pulses(self, processes: list[_Process]) -> None:
        pulses = {process.actor.pulse.options(concurrency_group="pulse").remote(): process for process in processes}
        answered, _ = self._ray.wait(list(pulses), num_returns=len(pulses), timeout=2.0) if pulses else ([], [])
        for pulse in answered:
            process = pulses[pulse]
            try:
                steps = self._ray.get(pulse, timeout=1)
            except self._ray.exceptions.RayError:
                continue
            if steps != process.steps:
                process.steps, process.heard = steps, time.monotonic()

    def _lose(self, process: _Process) -> None:
        """Give up a process; its workers will start anew in others."""
        with contextlib.suppress(Exception):  # it may be gone already
            self._ray.kill(process.actor, no_restart=True)
        self._alive.remove(process)
        self._idle = deque(hand for hand in self._idle if hand.process is not process)
        self._under_way = {ref: task for ref, task in self._under_way.items() if task.hand.process is not process}
        self._absent.extend(process.workers)
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row > 3 * self.processes:
            raise Fault(
                f"workers die as soon as they start ({self._deaths_in_a_row} in a row): is there enough memory?"
            )
        self._on_death(process.workers)

    # -- saving ------------------------------------------------------------------------------------------------------

    def states(self) -> dict[str, State]:
        """The games in progress of all workers that wait, by their index, and of those that have not started yet.

        A worker that computes, or whose game cannot be saved, is left out: its games would start anew.
        """
        states = dict(self._states)
        with self._cluster.calling():
            asked = {hand.process.actor.state.remote(hand.number): hand for hand in self._idle}
            answered, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=PATIENCE) if asked else ([], [])
            for reference in answered:
                with contextlib.suppress(self._ray.exceptions.RayError):  # its death is noticed when it is to compute
                    state = self._ray.get(reference, timeout=PATIENCE)
                    states.update({} if state is None else {str(asked[reference].number): state})
        return states

    def close(self) -> None:
        """Stop the workers, and the local cluster."""
        self._cluster.close()
