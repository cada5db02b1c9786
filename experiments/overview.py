"""The picture at the top of the README, from one run: `python -m experiments.overview logs/RUN`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import seaborn as sns
import tyro
from matplotlib import pyplot as plt

from analysis.data.runs import load
from emcomm.cli import parse, run_command
from emcomm.play import scenes
from envs.pictures import draw
from experiments.measures import evaluation_of, whole


@dataclass(frozen=True)
class OverviewOptions:
    """Draw the course of a training beside one of its dialogues."""

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    out: Path = Path("experiments/results/overview/overview.png")
    """The picture to write."""


def main() -> int:
    """The command line."""
    options = parse(OverviewOptions, sys.argv[1:], "experiments.overview")
    run = load(options.run)
    log = whole(run, run.training())
    success, rounds = log.success, log.n_rounds
    edges = np.unique(np.geomspace(500, len(success), 60).astype(int))
    bins = list(zip(np.concatenate([[0], edges[:-1]]), edges, strict=True))
    played = evaluation_of(run)
    typical = np.flatnonzero(played.success & (played.n_rounds == int(np.median(played.n_rounds))))[0]
    [scene] = scenes(played[int(typical)], run.declaration(), run.config.rules.n_tokens)
    sns.set_theme(style="ticks", context="talk")
    figure, (course, picture) = plt.subplots(1, 2, figsize=(17, 5.2), width_ratios=[1, 1.15], layout="constrained")
    course.plot(edges, [100 * success[a:b].mean() for a, b in bins], color="#1f77b4", lw=3)
    course.set(xscale="log", xlabel="training episodes", ylim=(30, 102))
    course.set_ylabel("success (%)", color="#1f77b4")
    course.axhline(50, color="grey", ls=":", lw=1.5)
    course.text(edges[-1], 51, "best without talk", color="grey", fontsize=13, ha="right")
    length = course.twinx()
    length.plot(edges, [rounds[a:b].mean() for a, b in bins], color="#d9822b", lw=3)
    length.set_ylabel("rounds of talk", color="#d9822b")
    length.set_ylim(0, None)
    picture.imshow(draw(scene))
    picture.axis("off")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out, dpi=80)
    print(f"drawn from {options.run} (seed {run.config.seed}): {options.out}")
    return 0


if __name__ == "__main__":
    run_command(main)
