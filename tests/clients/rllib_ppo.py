"""PPO of RLlib (new API stack): its PettingZoo wrapper, one module for all agents, illegal actions masked.

    python tests/clients/rllib_ppo.py --channel open
    python tests/clients/rllib_ppo.py --channel shuffled

RLlib's check of an environment takes actions without a mask, which `illegal="penalise"` allows. Its masking module
reads `observations` where PettingZoo has `observation`: `Renamed` is all that lies between them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

os.environ |= {"RAY_DISABLE_IMPORT_WARNING": "1", "PYTHONWARNINGS": "ignore", "RAY_USAGE_STATS_ENABLED": "0"}

import common
import numpy as np
import ray
import torch
from gymnasium.spaces import Dict
from pettingzoo.utils import BaseParallelWrapper
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
from ray.rllib.examples.rl_modules.classes.action_masking_rlm import ActionMaskingTorchRLModule
from ray.tune.registry import register_env

PER_UPDATE = 1_024
"""Steps of a game behind one update."""
SHARED = "shared"


class Renamed(BaseParallelWrapper[str, Any, int]):
    """`observation` under the name that RLlib's masking module expects, and the mask as float32."""

    def observation_space(self, agent: str) -> Dict:
        space = self.env.observation_space(agent)
        assert isinstance(space, Dict)
        return Dict({"observations": space["observation"], "action_mask": space["action_mask"]})

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        seen, infos = self.env.reset(seed=seed, options=options)
        return renamed(seen), infos

    def step(self, actions: dict[str, int]) -> Any:
        seen, *rest = self.env.step(actions)
        return renamed(seen), *rest


def renamed(seen: Mapping[str, Any]) -> dict[str, Any]:
    """The observations of all agents under the other name."""
    return {a: {"observations": s["observation"], "action_mask": s["action_mask"]} for a, s in seen.items()}


def game(channel: str) -> ParallelPettingZooEnv:
    """The game as RLlib takes it."""
    return ParallelPettingZooEnv(Renamed(common.make(channel, illegal="penalise")))


def main() -> None:
    """Train, then test."""
    args = common.arguments(45_000, __doc__)
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
        object_store_memory=200 * 2**20, _node_ip_address="127.0.0.1",
    )  # fmt: skip
    register_env("crossing", lambda config: game(args.channel))
    module = RLModuleSpec(
        module_class=ActionMaskingTorchRLModule,
        model_config=DefaultModelConfig(fcnet_hiddens=[64, 64], fcnet_activation="tanh"),
    )
    config = (
        PPOConfig()
        .environment("crossing")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=16)
        .multi_agent(policies={SHARED}, policy_mapping_fn=lambda agent, episode, **kwargs: SHARED)
        .rl_module(rl_module_spec=MultiRLModuleSpec(rl_module_specs={SHARED: module}))
        .training(
            lr=2.5e-3, gamma=0.99, lambda_=0.95, clip_param=0.2, entropy_coeff=0.01, vf_loss_coeff=0.5, grad_clip=0.5,
            use_kl_loss=False, train_batch_size_per_learner=PER_UPDATE, minibatch_size=256, num_epochs=4,
        )
        .debugging(seed=args.seed, log_level="ERROR")
    )  # fmt: skip
    algorithm = config.build_algo()
    for _ in range(args.steps // PER_UPDATE):
        algorithm.train()
    learned = algorithm.get_module(SHARED)
    distribution = learned.get_exploration_action_dist_cls()

    def act(observations: Mapping[str, Any]) -> Mapping[str, int]:
        seen, mask = common.stacked(observations)
        given = {"observations": torch.from_numpy(seen), "action_mask": torch.from_numpy(mask.astype(np.float32))}
        with torch.no_grad():
            logits = learned.forward_exploration({Columns.OBS: given})[Columns.ACTION_DIST_INPUTS]
        return dict(zip(observations, distribution.from_logits(logits).sample().tolist(), strict=True))

    try:
        common.tell("RLlib PPO", act, args)
    finally:
        algorithm.stop()
        ray.shutdown()


if __name__ == "__main__":
    main()
