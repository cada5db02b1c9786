"""Policies × games -> trajectories and finished dialogues."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from emcomm.networks.policy import Policy
from emcomm.token_gradient import TokenGradient
from envs.game import Ints
from envs.negotiation import Dialogues, Negotiation


class Trajectory(NamedTuple):
    """`T` steps of `B` games of `N` agents, with gradients to the policy that played them."""

    log_prob: Tensor
    """`[T, B, N]` of the action taken."""
    log_probs: Tensor
    """`[T, B, N, A]` of all actions; nearly -∞ for those that were illegal."""
    entropy: Tensor
    """`[T, B, N]` of the policy (nats)."""
    value: Tensor
    """`[T + 1, B, N]` the critic's estimate, the step after the last included, which carries no gradient."""
    reward: Tensor
    """`[T, B, N]`"""
    ended: Tensor
    """`[T, B, N]` 1 where the episode ended with the step, or the agent left; where a limit cut it short, nothing is
    expected after it."""
    choice: Tensor
    """`[T, B, N]` 1 where the agent had more than one legal action."""
    active: Tensor
    """`[T, B, N]` 1 where the agent took part in the game."""
    speech: Tensor
    """`[T, B, N]` 1 where all the agent's legal actions were symbols."""


class Rollout:
    """Plays a batch of games for ever, `T` steps at a time; memory and games go on from one call to the next.

    With `token_gradient` the gradients pass through the tokens to who said them, within a trajectory.
    """

    def __init__(self, negotiation: Negotiation, rng: np.random.Generator, token_gradient: bool = False) -> None:
        self.negotiation, self._rng, self._token_gradient = negotiation, rng, token_gradient
        self.memory: Tensor | None = None
        self.steps = 0
        """Steps played so far; a sign of life."""
        negotiation.reset()

    def play(
        self, policy: Policy, steps: int
    ) -> tuple[Trajectory, Callable[[], Trajectory], list[tuple[Dialogues, Ints | None]]]:
        """Play `steps` steps; games that end are started anew.

        Returns the trajectory; what evaluates the same observations and actions again, with the weights that the policy
        has then; and the finished dialogues with who of several networks played them (`Policy.players`).
        """
        negotiation = self.negotiation
        games, agents = negotiation.n_games, negotiation.n_agents
        memory = first = policy.initial_memory(games * agents) if self.memory is None else self.memory
        memories, actions, actives, rewards, endings, dialogues = [], [], [], [], [], []
        inputs: list[Tensor] = []
        masks: list[Tensor] = []
        starts: list[tuple[np.ndarray, Tensor] | None] = []
        races = draw_races((steps, games * agents, negotiation.n_actions), self._rng).to(policy.device)
        tokens = TokenGradient(policy) if self._token_gradient else None
        voices: list[Tensor] = []

        def remember(t: int, memory: Tensor, voices: list[Tensor]) -> Tensor:
            """`[R, S]` the memory after what is seen at step `t`; what is then said joins `voices`."""
            if tokens is None:
                return policy.remember(inputs[t], memory)
            memory = policy.remember(tokens.pass_into(inputs[t], t, voices), memory)
            voices.append(tokens.voice(policy, memory, masks[t], races[t]))
            return memory

        for t, race in enumerate(races):
            seen = negotiation.observe()
            inputs.append(policy.encode(seen))
            masks.append(torch.from_numpy(seen.mask).to(policy.device).view(games * agents, -1))
            if tokens is not None:
                tokens.see(seen.buffer, negotiation.date(t), negotiation.columns)
            memory = remember(t, memory, voices)  # [B·N, S]
            actives.append(negotiation.game.active().copy())
            action = sample(policy, memory, masks[-1], race)
            step = negotiation.step(action.view(games, agents).cpu().numpy())
            self.steps += 1
            memories.append(memory)
            actions.append(action)
            rewards.append(step.rewards)
            endings.append(step.terminated | step.truncated | step.left)
            if len(step.dialogues.game):
                dialogues.append((step.dialogues, players_of(policy, memory, step.dialogues, agents)))
            starts.append(None)
            if step.over.any():
                negotiation.reset(step.over)
                memory = policy.restart(memory, step.over)
            if step.gone.any():
                memory = policy.forget(memory, step.gone)
            if (anew := step.over[:, None] | step.gone).any():
                starts[-1] = (anew.ravel(), memory.detach())
        self.memory = memory.detach()
        following = policy.encode(negotiation.observe())

        def evaluated(memories: list[Tensor], memory: Tensor) -> Trajectory:
            with torch.no_grad():
                value_after = policy.value(policy.remember(following, memory))
            return self._evaluate(policy, memories, value_after, masks, actions, actives, rewards, endings)

        def again() -> Trajectory:
            memory, memories, voices = first, list[Tensor](), list[Tensor]()
            for t, start in enumerate(starts):
                memory = remember(t, memory, voices)
                memories.append(memory)
                if start is not None:  # begins as it did, with whoever plays it
                    anew, begun = start
                    memory = torch.where(torch.from_numpy(anew).to(begun.device)[:, None], begun, memory)
            return evaluated(memories, memory)

        return evaluated(memories, memory), again, dialogues

    def _evaluate(
        self, policy: Policy, memories: list[Tensor], value_after: Tensor, masks: list[Tensor], actions: list[Tensor],
        actives: list[np.ndarray], rewards: list[np.ndarray], endings: list[np.ndarray],
    ) -> Trajectory:  # fmt: skip
        """Actor and critic over all steps at once."""
        shape = (len(actions), self.negotiation.n_games, self.negotiation.n_agents)
        memory, mask, action = torch.stack(memories), torch.stack(masks), torch.stack(actions)
        log_probs = policy.log_probs(memory, mask)  # [T, R, A]
        log_prob = log_probs.gather(2, action[..., None]).view(shape)
        entropy = entropy_of(log_probs).view(shape)
        value = torch.cat([policy.value(memory), value_after[None]]).view(shape[0] + 1, *shape[1:])
        reward = torch.from_numpy(np.stack(rewards)).to(policy.device)
        ended = torch.from_numpy(np.stack(endings)).to(policy.device, torch.float32)
        choice = (mask.sum(2) > 1).float().view(shape)
        speech = (~mask[..., self.negotiation.rules.eot + 1 :].any(2)).float().view(shape)
        active = torch.from_numpy(np.stack(actives)).to(policy.device, torch.float32)
        return Trajectory(log_prob, log_probs.view(*shape, -1), entropy, value, reward, ended, choice, active, speech)


def entropy_of(log_probs: Tensor) -> Tensor:
    """`[...]` the entropy of each distribution in `log_probs` `[..., A]` (nats).

    >>> entropy_of(torch.tensor([[0.5, 0.5, 0.0], [0.25, 0.5, 0.25]]).log().clamp(min=-1e9))
    tensor([0.6931, 1.0397])
    """
    actions_first = log_probs.movedim(-1, 0)
    return -(torch.softmax(actions_first, 0) * actions_first).sum(0)  # exp is slow where it is 0


def players_of(policy: Policy, memory: Tensor, done: Dialogues, agents: int) -> Ints | None:
    """int16 `[D, N]` which of several networks held each dialogue; None where there is one."""
    players = policy.players(memory)
    return None if players is None else players.reshape(-1, agents)[done.game]


def draw_races(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    """Noise for `sample`, `[..., A]`: the logarithms of exponential waiting times."""
    waits = rng.standard_exponential(shape, dtype=np.float32)
    return torch.from_numpy(np.log(np.maximum(waits, np.finfo(np.float32).tiny)))


@torch.no_grad()
def sample(policy: Policy, memory: Tensor, mask: Tensor, race: Tensor, greedy_from: int | None = None) -> Tensor:
    """`[R]` actions drawn from the policy; from action `greedy_from` up, the most likely one instead.

    Each action waits an exponential time with rate π(a), and the first one is taken (the Gumbel-max trick).
    """
    logits = policy.logits(memory, mask)  # [R, A]
    action = (logits - race).argmax(-1)
    if greedy_from is None:
        return action
    best = logits[:, greedy_from:].argmax(-1) + greedy_from
    return torch.where(action >= greedy_from, best, action)
