"""The gradient through tokens: who hears teaches who spoke.

In play everybody says and hears whole tokens. In training each token that is heard stands for `token + y - sg(y)`: its
value is the token's, and its gradient is that of `y`, the softmax of the logits and of the noise with which the token
was drawn (`sg` stops gradients; where a trajectory is evaluated again, the logits are the later ones). So the loss of
the hearer also moves what the speaker says, besides the reward.

Sources: Foerster et al. 2016, "Learning to communicate with deep multi-agent reinforcement learning" (DIAL); Jang, Gu
and Poole 2017, "Categorical reparameterization with Gumbel-softmax" (its straight-through estimator, temperature 1).

Axes: `R` row (game × agent), `B` game, `N` agent, `W` window of rounds, `K` symbol, EOT included.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from emcomm.networks.policy import Policy
from envs.channels import SILENT
from envs.game import Ints


class TokenGradient:
    """Who heard what from whom in one trajectory, over a channel on which all hear what was said."""

    def __init__(self, policy: Policy) -> None:
        self._sizes, self._sees_talk = policy.sizes, policy.torso.sees_talk
        self._heard: list[tuple[Tensor, Tensor]] = []
        """Of each step: `[B, N, W, N]` the row of all voices so far that stands in each cell of the buffers, and
        float32 1 where one does."""

    def see(self, buffer: Ints, dates: Ints, columns: Ints) -> None:
        """Note what is seen before the next step: `Observation.buffer`, `Negotiation.date` and `columns`."""
        games, agents = columns.shape[:2]
        window = self._sizes.window
        speaker = columns[:, :, None] + agents * np.arange(games)[:, None, None, None]
        when = dates[:, :, -window:]
        heard = (when >= 0) & (buffer[:, :, -window:] != SILENT) & self._sees_talk
        heard[..., 0] = False  # the own column: what others do teaches, not what one hears oneself say
        voice = np.where(heard, when * games * agents + speaker, 0)
        self._heard.append((torch.from_numpy(voice), torch.from_numpy(heard.astype(np.float32))))

    def voice(self, policy: Policy, memory: Tensor, mask: Tensor, race: Tensor) -> Tensor:
        """`[R, K]` zeros with the gradient of the softmax of the logits and the noise in `race` (see `sample`)."""
        soft = torch.softmax(policy.logits(memory, mask) - race, dim=-1)[:, : self._sizes.n_symbols]
        return soft - soft.detach()

    def pass_into(self, inputs: Tensor, step: int, voices: list[Tensor]) -> Tensor:
        """`[R, I]` the inputs of `step`, unchanged, with gradients to the `voices` of the steps before it."""
        row, heard = (x.to(inputs.device) for x in self._heard[step])
        if not voices or not heard.any():
            return inputs
        said = torch.cat(voices)[row] * heard[..., None]
        rounds = torch.nn.functional.pad(said, (0, 1)).reshape(len(inputs), -1)  # in each cell silence comes last
        return inputs + torch.nn.functional.pad(rounds, (inputs.shape[1] - rounds.shape[1], 0))
