"""The same network with another channel: what of its success is content?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

from emcomm.config import Config
from emcomm.evaluation import evaluate
from emcomm.networks.policy import Policy
from emcomm.statistics import NO_MEAN, Mean, Rate
from envs.channels import CHANNELS


@dataclass(frozen=True)
class Control:
    """The same network with another channel."""

    channel: str
    success: Rate | None
    """None where the game declares no success."""
    mean_rounds: float
    cut: float
    """Share of talks cut at `max_rounds`."""
    as_trained: bool = False
    """Whether it is the channel that the network was trained with."""
    mean_return: float = nan
    """Over agents and episodes, without the cost of talking (reward)."""
    score: float = nan
    """Mean score of the last joint moves."""
    returned: Mean = NO_MEAN
    """The mean return with its 95 % interval."""

    @property
    def meaning(self) -> str:
        """What the channel does, for the reader."""
        says = CHANNELS[self.channel].description if self.channel in CHANNELS else "a channel outside emcomm"
        return says + (" (as trained)" if self.as_trained else "")


def channel_controls(
    policy: Policy, config: Config, games: int = 5_000, channels: Sequence[str] = tuple(CHANNELS)
) -> tuple[Control, ...]:
    """Success with each channel. That with `open` minus that with `constant` or `shuffled` is what the content does.

    The network has not been trained with the other channels: `oracle` is an upper bound only for one that has.

    Parameters
    ----------
    policy : Policy
        The frozen network.
    config : Config
        Of its run.
    games : int
        Games for each channel.
    channels : sequence of str
        Names of the registry, or `module:Name`.

    Returns
    -------
    tuple of Control
        `channel`, `success` with its interval, `mean_rounds`, `cut` (share of talks), `as_trained`, `mean_return`,
        `score`, `returned` (the mean return with its interval), `meaning`.

    Examples
    --------
    `{c.channel: c.success for c in analysis.channel_controls(policy, config, 1_000, ("open", "shuffled"))}`
    """
    controls = []
    for channel in channels:
        changed = dataclasses.replace(config, rules=dataclasses.replace(config.rules, channel=channel))
        figures = evaluate(policy, changed, games).figures
        own = channel == config.rules.channel
        controls.append(
            Control(
                channel, figures.success, figures.mean_rounds, figures.cut, own, figures.mean_return, figures.score,
                figures.returned,
            )
        )  # fmt: skip
    return tuple(controls)
