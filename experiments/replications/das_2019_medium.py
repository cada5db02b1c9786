"""The traffic junction of IC3Net and TarMAC, medium: up to ten cars on roads with two lanes, 40 steps.

Only a figure of IC3Net's is at hand for this level.
"""

from __future__ import annotations

from experiments.replication import Paper, Published
from experiments.replications.das_2019 import TALK, Junction
from experiments.running import main

EXPERIMENT = Junction(
    "medium",
    80_000,  # with others beside it, 1.8 hours of two cores
    0.868,  # 89.3 less the deviation that stands beside it, 2.5
    "89.3 % with talk (IC3Net).",
    (Published(TALK, "episodes without a collision", "89.3 %", "IC3Net, medium, from memory", "success", "100 %"),),
    Paper(
        "Singh et al.",
        2019,
        "Learning when to communicate at scale in multiagent cooperative and competitive tasks",
        "https://arxiv.org/abs/1812.09755",
    ),
).replication()

if __name__ == "__main__":
    main(__file__)
