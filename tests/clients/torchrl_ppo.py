"""PPO of TorchRL: its PettingZoo wrapper, one network for all agents, a masked categorical policy.

    python tests/clients/torchrl_ppo.py --channel open
    python tests/clients/torchrl_ppo.py --channel shuffled

TorchRL puts agents named `train_0` and `train_1` into one group, `train`, and hands on `observation` and `action_mask`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import common
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import ExplorationType, PettingZooWrapper, SerialEnv, set_exploration_type
from torchrl.modules import MaskedCategorical, MultiAgentMLP, ProbabilisticActor
from torchrl.objectives import ClipPPOLoss, ValueEstimators

ENVS, UNROLL = 16, 32
"""Environments that play at once, and steps of each behind one update."""
EPOCHS, MINIBATCHES = 4, 4
GROUP = "train"
SEEN, MASK, LOGITS = (GROUP, "observation", "observation"), (GROUP, "action_mask"), (GROUP, "logits")
ACTION, LOG_PROB, VALUE = (GROUP, "action"), (GROUP, "sample_log_prob"), (GROUP, "state_value")


def network(inputs: int, outputs: int) -> MultiAgentMLP:
    """Two layers, the same weights for both agents; each sees only its own observation."""
    return MultiAgentMLP(
        n_agent_inputs=inputs, n_agent_outputs=outputs, n_agents=2, centralized=False, share_params=True, depth=2,
        num_cells=64, activation_class=nn.Tanh,
    )  # fmt: skip


def main() -> None:
    """Train, then test."""
    args = common.arguments(45_000, __doc__)
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    warnings.filterwarnings("ignore", message="PettingZoo in TorchRL")

    env = SerialEnv(ENVS, lambda: PettingZooWrapper(common.make(args.channel)))
    env.set_seed(args.seed)
    known = common.make(args.channel, mask_in="infos")
    features, actions = known.observation_space("train_0").shape[0], int(known.action_space("train_0").n)
    policy = ProbabilisticActor(
        TensorDictModule(network(features, actions), in_keys=[SEEN], out_keys=[LOGITS]),
        in_keys={"logits": LOGITS, "mask": MASK}, out_keys=[ACTION], distribution_class=MaskedCategorical,
        return_log_prob=True, log_prob_key=LOG_PROB,
    )  # fmt: skip
    critic = TensorDictModule(network(features, 1), in_keys=[SEEN], out_keys=[VALUE])
    loss = ClipPPOLoss(policy, critic, clip_epsilon=0.2, entropy_coeff=0.01, critic_coeff=0.5, normalize_advantage=True)
    loss.set_keys(
        reward=(GROUP, "reward"), action=ACTION, sample_log_prob=LOG_PROB, value=VALUE, done=(GROUP, "done"),
        terminated=(GROUP, "terminated"),
    )  # fmt: skip
    loss.make_value_estimator(ValueEstimators.GAE, gamma=0.99, lmbda=0.95)
    optimizer = torch.optim.Adam(loss.parameters(), 2.5e-3)

    for played in Collector(env, policy, frames_per_batch=ENVS * UNROLL, total_frames=args.steps):
        with torch.no_grad():
            loss.value_estimator(played)
        steps = played.reshape(-1)
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(steps)).chunk(MINIBATCHES):
                parts = loss(steps[rows])
                optimizer.zero_grad()
                (parts["loss_objective"] + parts["loss_critic"] + parts["loss_entropy"]).backward()
                nn.utils.clip_grad_norm_(loss.parameters(), 0.5)
                optimizer.step()

    def act(observations: Mapping[str, Any]) -> Mapping[str, int]:
        seen, mask = map(torch.from_numpy, common.stacked(observations))
        given = TensorDict({SEEN: seen[None], MASK: mask.bool()[None]}, batch_size=[1])
        with (
            torch.no_grad(),
            set_exploration_type(ExplorationType.RANDOM),
        ):  # outside the collector it would be the mode
            chosen = policy(given)[ACTION][0]
        return dict(zip(observations, chosen.tolist(), strict=True))

    common.tell("TorchRL PPO", act, args)


if __name__ == "__main__":
    main()
