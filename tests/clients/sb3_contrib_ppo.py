"""MaskablePPO of sb3-contrib, through SuperSuit: every agent of every environment is a row of one vector environment.

    python tests/clients/sb3_contrib_ppo.py --channel open
    python tests/clients/sb3_contrib_ppo.py --channel shuffled

With `mask_in="infos"` the observation is one vector, as SuperSuit's wrappers want it; `Masked` hands the masks on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import common
import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnvWrapper
from supersuit import concat_vec_envs_v1, pettingzoo_env_to_vec_env_v1
from supersuit.vector.sb3_vector_wrapper import SB3VecEnvWrapper

ENVS = 32
"""Environments that play at once."""


class Masked(VecEnvWrapper):
    """Answers when MaskablePPO asks for `action_masks`, from the infos of the last step."""

    def reset(self) -> np.ndarray:
        observations = self.venv.reset()
        self.masks = [info["action_mask"] for info in self.venv.reset_infos]
        return observations

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        observations, rewards, dones, infos = self.venv.step_wait()
        self.masks = [info["action_mask"] for info in infos]
        return observations, rewards, dones, infos

    def has_attr(self, attr_name: str) -> bool:
        return attr_name == "action_masks"

    def env_method(self, method_name: str, *args: Any, **kwargs: Any) -> list[np.ndarray]:
        assert method_name == "action_masks", method_name
        return self.masks


def vector_env(channel: str, seed: int) -> Masked:
    """`ENVS` copies of the game. Each gets a seed of its own: SuperSuit copies the environment with its generator."""
    rows = pettingzoo_env_to_vec_env_v1(common.make(channel, mask_in="infos"))
    rows = concat_vec_envs_v1(rows, ENVS, num_cpus=0, base_class="gymnasium")
    rows.reset(seed=seed)
    return Masked(SB3VecEnvWrapper(rows))


def main() -> None:
    """Train, then test."""
    args = common.arguments(45_000, __doc__)
    torch.set_num_threads(1)
    set_random_seed(args.seed)
    model = MaskablePPO(
        "MlpPolicy", vector_env(args.channel, args.seed), n_steps=32, batch_size=512, n_epochs=4, learning_rate=2.5e-3,
        ent_coef=0.01, device="cpu",
    )  # fmt: skip
    model.learn(2 * args.steps)  # it counts rows, of which a game has two

    def act(observations: Mapping[str, Any]) -> Mapping[str, int]:
        seen, mask = common.stacked(observations)
        chosen, _ = model.predict(seen, action_masks=mask.astype(np.bool_))
        return dict(zip(observations, chosen.tolist(), strict=True))

    common.tell("sb3-contrib MaskablePPO", act, args)


if __name__ == "__main__":
    main()
