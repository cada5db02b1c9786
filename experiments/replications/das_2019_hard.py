"""The traffic junction of IC3Net and TarMAC, hard: up to twenty cars, four roads with two lanes each, 80 steps."""

from __future__ import annotations

from experiments.replication import Published
from experiments.replications.das_2019 import SILENT, TALK, Junction
from experiments.running import main

EXPERIMENT = Junction(
    "hard",
    8_000,  # with others beside it, an hour of two cores
    0.971,
    "74.1 % without talk and 97.1 % with two rounds (TarMAC).",
    (
        Published(SILENT, "episodes without a collision", "74.1 %", "quoted for TarMAC, hard", "success"),
        Published(TALK, "episodes without a collision", "97.1 %", "quoted for TarMAC, hard", "success", "100 %"),
    ),
).replication()

if __name__ == "__main__":
    main(__file__)
