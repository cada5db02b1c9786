"""PPO on one page, after CleanRL's ppo.py: one network for all agents, illegal actions masked.

    python tests/clients/cleanrl_ppo.py --channel open
    python tests/clients/cleanrl_ppo.py --channel shuffled

Schulman et al. 2017, arXiv 1707.06347; Huang et al. 2022, "The 37 Implementation Details of PPO".
Axes: `T` step, `R` row (environment × agent), `F` feature, `A` action.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import common
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

ENVS = 32
"""Environments that play at once."""
UNROLL = 32
"""`T`: steps of each behind one update."""
EPOCHS, MINIBATCHES = 4, 4
LEARNING_RATE = 2.5e-3
"""Step size at the start; it falls linearly to 0."""
DISCOUNT, TRACE = 0.99, 0.95
"""γ, and λ of the generalised advantages."""
CLIP, ENTROPY, VALUE = 0.2, 0.01, 0.5
"""Range of the probability ratio; weights of the entropy and of the critic's error."""
MAX_GRAD_NORM = 0.5


def layer(inputs: int, outputs: int, gain: float) -> nn.Linear:
    """Orthogonal weights, no bias."""
    linear = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(linear.weight, gain)
    nn.init.zeros_(linear.bias)
    return linear


class Agent(nn.Module):
    """Actor and critic; all agents share it."""

    def __init__(self, features: int, actions: int) -> None:
        super().__init__()
        body = [layer(features, 64, 2**0.5), nn.Tanh(), layer(64, 64, 2**0.5), nn.Tanh()]
        self.body = nn.Sequential(*body)
        self.actor = layer(64, actions, 1.0)  # a usual 0.01 stays undecided for longer: leanings feed each other
        self.critic = layer(64, 1, 1.0)

    def forward(self, seen: Tensor, mask: Tensor) -> tuple[Categorical, Tensor]:
        """The policy over legal actions, and the value, for `[..., F]` and `[..., A]`."""
        hidden = self.body(seen)
        logits = torch.where(mask, self.actor(hidden), -1e9)
        return Categorical(logits=logits), self.critic(hidden).squeeze(-1)


class Games:
    """Environments side by side, each started anew when it ends; rows are environments × agents."""

    def __init__(self, count: int, channel: str, seed: int) -> None:
        self.envs = [common.make(channel) for _ in range(count)]
        self.seen = [env.reset(seed=seed + i)[0] for i, env in enumerate(self.envs)]

    def observe(self) -> tuple[Tensor, Tensor]:
        """`[R, F]` and `[R, A]`"""
        seen, mask = (np.concatenate(parts) for parts in zip(*map(common.stacked, self.seen), strict=True))
        return torch.from_numpy(seen), torch.from_numpy(mask).bool()

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """`[R]` the rewards, and whether the episode ended."""
        rows, rewards, over = iter(actions.tolist()), [], []
        for i, env in enumerate(self.envs):
            agents = list(env.agents)
            self.seen[i], gains, *_ = env.step({agent: next(rows) for agent in agents})
            rewards += [gains[agent] for agent in agents]
            over += [not env.agents] * len(agents)
            if not env.agents:
                self.seen[i], _ = env.reset()
        return torch.tensor(rewards), torch.tensor(over).float()


def advantages(reward: Tensor, value: Tensor, over: Tensor, last_value: Tensor) -> Tensor:
    """`[T, R]` generalised advantage estimates (Schulman et al. 2016, eq. 16), of `[T, R]` each and `[R]`."""
    found, ahead, following = torch.zeros_like(reward), torch.zeros_like(last_value), last_value
    for t in reversed(range(len(reward))):
        error = reward[t] + DISCOUNT * following * (1 - over[t]) - value[t]
        ahead = error + DISCOUNT * TRACE * (1 - over[t]) * ahead
        found[t], following = ahead, value[t]
    return found


def main() -> None:
    """Train, then test."""
    args = common.arguments(45_000, __doc__)
    torch.manual_seed(args.seed)
    games = Games(ENVS, args.channel, args.seed)
    seen, mask = games.observe()
    agent = Agent(seen.shape[1], mask.shape[1])
    optimizer = torch.optim.Adam(agent.parameters(), LEARNING_RATE, eps=1e-5)
    updates = args.steps // (ENVS * UNROLL)
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - update / updates)
        kept: list[tuple[Tensor, ...]] = []
        for _ in range(UNROLL):
            with torch.no_grad():
                policy, value = agent(seen, mask)
                action = policy.sample()
            reward, over = games.step(action)
            kept.append((seen, mask, action, policy.log_prob(action), value, reward, over))
            seen, mask = games.observe()
        with torch.no_grad():
            last_value = agent(seen, mask)[1]
        _, _, _, _, value_t, reward_t, over_t = (torch.stack(part) for part in zip(*kept, strict=True))
        advantage_t = advantages(reward_t, value_t, over_t, last_value)
        batch = [torch.cat([k[i] for k in kept]) for i in range(4)]
        learn(agent, optimizer, batch, advantage_t.flatten(), (advantage_t + value_t).flatten())

    def act(observations: Mapping[str, Any]) -> Mapping[str, int]:
        own, legal = map(torch.from_numpy, common.stacked(observations))
        with torch.no_grad():
            chosen = agent(own, legal.bool())[0].sample()
        return dict(zip(observations, chosen.tolist(), strict=True))

    common.tell("CleanRL-style PPO", act, args)


def learn(agent: Agent, optimizer: torch.optim.Optimizer, batch: list[Tensor], gain: Tensor, returns: Tensor) -> None:
    """Some epochs of the clipped objective over the rows of one rollout."""
    seen, mask, action, old_log_prob = batch
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(gain)).chunk(MINIBATCHES):
            policy, value = agent(seen[rows], mask[rows])
            ratio = (policy.log_prob(action[rows]) - old_log_prob[rows]).exp()
            advantage = (gain[rows] - gain[rows].mean()) / (gain[rows].std() + 1e-8)
            surrogate = torch.min(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage).mean()
            critic = (value - returns[rows]).pow(2).mean() / 2
            loss = VALUE * critic - surrogate - ENTROPY * policy.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), MAX_GRAD_NORM)
            optimizer.step()


if __name__ == "__main__":
    main()
