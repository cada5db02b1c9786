"""PPO of Tianshou 2: every agent of every environment is a row of one vector environment, illegal actions masked.

    python tests/clients/tianshou_ppo.py --channel open
    python tests/clients/tianshou_ppo.py --channel shuffled

Tianshou's own `PettingZooEnv` plays one agent after the other and ends an episode at the last one's step, so that of
two who move at once the first never sees its reward. Here a `Row` is a worker for one agent, and a game steps when all
of its rows have sent their actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import common
import numpy as np
import torch
from gymnasium.spaces import Discrete
from tianshou.algorithm import PPO
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Batch, Collector, VectorReplayBuffer
from tianshou.env import BaseVectorEnv
from tianshou.env.worker import EnvWorker
from tianshou.trainer import OnPolicyTrainerParams
from tianshou.utils.net.common import MLP, AbstractDiscreteActor
from torch import Tensor, nn

ENVS, UNROLL = 32, 32
"""Environments that play at once, and steps of each behind one update."""


class Table:
    """One game, and what its agents have sent."""

    def __init__(self, channel: str, seed: int) -> None:
        self.env = common.make(channel)
        self.seen, _ = self.env.reset(seed=seed)
        self.sent: dict[str, int] = {}
        self.told: dict[str, Any] = {}

    def send(self, agent: str, action: int | None) -> None:
        """An action; None asks for a new game, which all agents do, since all end at once."""
        self.told = {}
        if action is not None:
            self.sent[agent] = int(action)

    def recv(self, agent: str) -> Any:
        """What one agent is told, once all have sent."""
        if not self.told and self.sent:
            self.seen, gains, ended, cut, _ = self.env.step(self.sent)
            self.told = {a: (self._row(a), gains[a], ended[a], cut[a], {}) for a in self.sent}
            self.sent = {}
        elif not self.told:
            if not self.env.agents:
                self.seen, _ = self.env.reset()
            self.told = {a: (self._row(a), {}) for a in self.env.agents}
        return self.told[agent]

    def _row(self, agent: str) -> dict[str, np.ndarray]:
        seen = self.seen[agent]
        return {"obs": seen["observation"], "mask": seen["action_mask"].astype(np.bool_)}


class Row(EnvWorker):
    """The worker of one agent."""

    def __init__(self, table: Table, agent: str) -> None:
        self._table, self._agent = table, agent
        super().__init__(lambda: None)

    def send(self, action: np.ndarray | None, **kwargs: Any) -> None:
        self._table.send(self._agent, None if action is None else int(action))

    def recv(self) -> Any:
        return self._table.recv(self._agent)

    def reset(self, **kwargs: Any) -> Any:
        self.send(None)
        return self.recv()

    def get_env_attr(self, key: str) -> Any:
        return self._table.env.action_space(self._agent) if key == "action_space" else getattr(self._table.env, key)

    def set_env_attr(self, key: str, value: Any) -> None:
        setattr(self._table.env, key, value)

    def render(self, **kwargs: Any) -> Any:
        return self._table.env.render()

    def close_env(self) -> None:
        self._table.env.close()


def rows(channel: str, seed: int) -> BaseVectorEnv:
    """The agents of `ENVS` games."""
    tables = [Table(channel, seed + i) for i in range(ENVS)]
    pairs = [(table, agent) for table in tables for agent in table.env.possible_agents]
    return BaseVectorEnv([lambda p=pair: p for pair in pairs], lambda make: Row(*make()))  # type: ignore[misc]


class MaskedActor(AbstractDiscreteActor):
    """Logits of the actions, of which the mask leaves the legal ones."""

    def __init__(self, body: nn.Module, actions: int) -> None:
        super().__init__(actions)
        self.body = body

    def get_preprocess_net(self) -> Any:
        return self.body

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> tuple[Tensor, Any]:
        return torch.where(torch.as_tensor(obs.mask), self.body(torch.as_tensor(obs.obs)), -1e9), state


class Critic(nn.Module):
    """The expected return."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, obs: Any) -> Tensor:
        return self.body(torch.as_tensor(obs.obs))


def main() -> None:
    """Train, then test."""
    args = common.arguments(45_000, __doc__)
    torch.set_num_threads(1)
    np.random.seed(args.seed)  # noqa: NPY002  # Tianshou shuffles its minibatches with it
    torch.manual_seed(args.seed)
    env = common.make(args.channel, mask_in="infos")
    features, actions = env.observation_space("train_0").shape[0], int(env.action_space("train_0").n)
    policy = DiscreteActorPolicy(actor=MaskedActor(body(features, actions), actions), action_space=Discrete(actions))
    algorithm: PPO = PPO(
        policy=policy, critic=Critic(body(features, 1)), optim=AdamOptimizerFactory(lr=2.5e-3), max_grad_norm=0.5,
    )  # fmt: skip
    many = rows(args.channel, args.seed)
    per_update = UNROLL * len(many)
    algorithm.run_training(
        OnPolicyTrainerParams(
            training_collector=Collector(algorithm, many, VectorReplayBuffer(per_update, len(many))),
            max_epochs=1,
            epoch_num_steps=2 * args.steps,
            collection_step_num_env_steps=per_update,
            update_step_num_repetitions=4,
            batch_size=512,
            show_progress=False,
            verbose=False,
        )
    )

    def act(observations: Mapping[str, Any]) -> Mapping[str, int]:
        seen, mask = common.stacked(observations)
        with torch.no_grad():
            chosen = policy(Batch(obs=Batch(obs=seen, mask=mask.astype(np.bool_)), info={})).act
        return dict(zip(observations, chosen.tolist(), strict=True))

    common.tell("Tianshou PPO", act, args)


def body(inputs: int, outputs: int) -> nn.Module:
    """Two layers."""
    return MLP(input_dim=inputs, output_dim=outputs, hidden_sizes=(64, 64), activation=nn.Tanh)


if __name__ == "__main__":
    main()
