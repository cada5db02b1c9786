"""Train conditions × seeds and compare them: `python -m emcomm.sweep --seeds 0-9 --set channel=open,off`."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import difflib
import hashlib
import itertools
import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import tyro

from emcomm import require_room
from emcomm.cli import parse, run_command
from emcomm.config import PRESETS, Config
from emcomm.errors import BadInput
from emcomm.train import options_from
from envs.negotiation import TalkRules

MOST_RUNS = 100_000
"""Runs of one sweep; more would hardly be meant."""


@dataclass(frozen=True)
class SweepOptions:
    """Train every condition with every seed through Ray, and compare them: a table, and a report. What is there already
    is not trained again. Besides these flags there are those of emcomm.train, for all conditions.

    Examples: python -m emcomm.sweep --seeds 0-9 --set channel=open,off --set n-tokens=1,3,5 ·
    python -m emcomm.sweep --episodes 1e5 --seeds 0,1 --set torso=gru,lstm --plan ·
    python -m emcomm.sweep --env emcomm/signalling-v1 --set game-options.n_values=4,8
    """

    config: Config = field(default_factory=lambda: Config(workers=0, device="cpu"))
    vary: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(name="set", metavar="NAME=V1,V2")] = ()
    """A setting to vary: any flag of emcomm.train, or game-options.NAME. Several give all combinations. A value with a
    comma in it stands in double quotes."""
    seeds: str = "0-4"
    """Seeds of each condition, in the place of --seed: 0-9, or 0,3,5, or 7."""
    preset: Literal["talk", "terse", "silent"] = "talk"
    """Starting point for all other flags, as with emcomm.train."""
    log_dir: Path = Path("logs/sweep")
    """Folder of the runs. The report lies beside it, with -report after its name."""
    address: str | None = None
    """Ray cluster to join (address, or auto), by default that of the environment variable RAY_ADDRESS; without one, a
    local cluster is started and stopped."""
    report_runs: int = 12
    """Runs that the report studies, as many of each condition as fit, and at least one; 0: no report (runs)."""
    plan: bool = False
    """Say what would be trained, and stop."""


class Plan(NamedTuple):
    """What is to be trained."""

    conditions: dict[str, Config]
    """Name, such as `channel=off, n-tokens=3` -> settings."""
    seeds: tuple[int, ...]
    varied: dict[str, tuple[str, ...]]
    """The settings that vary, and their values as they were given."""
    options: SweepOptions

    def config(self, condition: str, seed: int) -> Config:
        """The settings of one run."""
        return dataclasses.replace(self.conditions[condition], seed=seed)

    @staticmethod
    def folder_name(slug: str, seed: int) -> str:
        """What its folder is called."""
        return "-".join(filter(None, (slug, f"seed{seed}")))

    @property
    def slugs(self) -> dict[str, str]:
        """The conditions as names of files; where two were alike, or one is long, a digest follows."""
        plain = {name: re.sub(r"[^\w.=,+-]+", "-", name.replace(", ", ",")) for name in self.conditions}
        digests = {name: hashlib.sha256(name.encode()).hexdigest()[:8] for name in plain}
        alike = [slug.lower() for slug in plain.values()]
        return {
            name: f"{slug[:80]}-{digests[name]}" if alike.count(slug.lower()) > 1 or len(slug) > 80 else slug
            for name, slug in plain.items()
        }


def plan_of(args: Sequence[str]) -> Plan:
    """The flags -> what is to be trained; raises BadInput, which names what cannot be."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("seeds", "log-dir", "address", "report-runs"):
        first.add_argument(f"--{flag}", f"--{flag.replace('-', '_')}", nargs="?")
    first.add_argument("--set", action="append", nargs="?")
    first.add_argument("--plan", action="store_true")
    first.add_argument("--no-plan", action="store_true")
    first.add_argument("--game-options", "--game_options", nargs="*", default=[], dest="game_options")
    own, base = first.parse_known_args(args)
    preset = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    preset.add_argument("--preset", nargs="?")
    start = PRESETS.get(preset.parse_known_args(base)[0].preset, Config())
    start = dataclasses.replace(start, workers=0, device="cpu")
    options = parse(SweepOptions, args, "emcomm.sweep", SweepOptions(start))
    if options.report_runs < 0:
        raise BadInput(f"--report-runs must not be negative, not {options.report_runs}")
    if _given("seed", base):
        raise BadInput("a sweep has --seeds, such as --seeds 0-9, in the place of --seed")
    varied = _varied(options.vary, base, own.game_options)
    seeds = seeds_of(options.seeds)
    count = len(seeds)
    for values in varied.values():
        count *= len(values)
    if count > MOST_RUNS:
        raise BadInput(f"these are {count:,} runs, and a sweep has at most {MOST_RUNS:,}: vary less at once")
    conditions: dict[str, Config] = {}
    for values in itertools.product(*varied.values()):
        chosen = dict(zip(varied, values, strict=True))
        name = ", ".join(f"{setting}={value}" for setting, value in chosen.items())
        config = _config([*base], own.game_options, chosen)
        for other, there in conditions.items():
            if there == config:
                raise BadInput(f"{other} and {name} are the same condition: leave one of them out")
        conditions[name] = config
    try:
        dataclasses.replace(next(iter(conditions.values())), seed=max(seeds))
    except ValueError as error:
        raise BadInput(f"--seeds: {error}") from error
    return Plan(conditions, seeds, varied, options)


def _config(base: list[str], game_options: list[str], chosen: dict[str, str]) -> Config:
    """The settings of a condition: the flags for all, and behind them what was chosen."""
    args = ["--workers", "0", "--device", "cpu", *base]
    for name, value in chosen.items():
        if name.startswith(GAME_OPTION):
            game_options = [*game_options, f"{name.removeprefix(GAME_OPTION)}={value}"]
        elif _is_switch(name):
            args.append(f"--{_switched(name, value)}{name}")
        else:
            args += [f"--{name}={value}"] if value.startswith("-") else [f"--{name}", value]
    return options_from([*args, *(["--game-options", *game_options] if game_options else [])]).config


def _is_switch(name: str) -> bool:
    return isinstance(getattr(Config, name.replace("-", "_"), None), bool)


def _switched(name: str, value: str) -> str:
    """What stands before the name of a flag that is on or off; raises BadInput for another value."""
    on = {"true": "", "on": "", "yes": "", "1": "", "false": "no-", "off": "no-", "no": "no-", "0": "no-"}
    if value.lower() not in on:
        raise BadInput(f"{name} is true or false, not {value}")
    return on[value.lower()]


# -- what varies -------------------------------------------------------------------------------------------------------

GAME_OPTION = "game-options."


def _varied(given: Sequence[str], base: Sequence[str], game_options: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """NAME=V1,V2 … -> values by name; raises BadInput for what is no setting, or set twice."""
    varied: dict[str, tuple[str, ...]] = {}
    for text in given:
        said, equals, values = text.partition("=")
        if not equals:
            raise BadInput(f"--set {text}: write NAME=V1,V2, such as --set n-tokens=1,3,5")
        name = _setting(said.strip())
        if name in varied:
            raise BadInput(f"{name} is set twice: give all its values in one --set {name}=V1,V2")
        option = name.removeprefix(GAME_OPTION) if name.startswith(GAME_OPTION) else None
        if _given(name, base) or (option and any(one.startswith(f"{option}=") for one in game_options)):
            raise BadInput(f"{name} is set twice: for all conditions, and by --set {text}")
        listed = next(csv.reader([values], skipinitialspace=True), [])
        if not listed or not all(value.strip() for value in listed):
            raise BadInput(f"--set {text}: {'there is no value' if len(listed) < 2 else 'one of the values is empty'}")
        varied[name] = tuple(value.strip() for value in listed)
    return varied


def _setting(said: str) -> str:
    """The flag that a name stands for, with dashes; raises BadInput where there is none."""
    stem, dot, option = said.partition(".")
    name = stem.replace("_", "-").lstrip("-")
    if name == "game-options":
        if not option.isidentifier():
            raise BadInput("a setting of the game is varied by its name: --set game-options.NAME=V1,V2")
        return GAME_OPTION + option
    if name in ("seed", "seeds"):
        raise BadInput("seeds are no condition: give --seeds, such as --seeds 0-9")
    fields = (*dataclasses.fields(Config), *dataclasses.fields(TalkRules))
    known = {f.name.replace("_", "-") for f in fields} - {"seed", "rules", "game-options"} | {"preset"}
    if name not in known or dot:
        near = difflib.get_close_matches(name, known, 1)
        advice = f"did you mean {near[0]}?" if near else "python -m emcomm.sweep --help lists them"
        raise BadInput(f"--set {said}: there is no such setting; {advice}")
    return name


def _given(name: str, args: Sequence[str]) -> bool:
    """Whether a flag is among the arguments."""
    flags = {f"--{name}", f"--{name.replace('-', '_')}"}
    return any(arg.partition("=")[0] in flags for arg in args)


def seeds_of(text: str) -> tuple[int, ...]:
    """Seeds as on the command line; raises BadInput for anything else.

    >>> seeds_of("0-3"), seeds_of("0,3,5"), seeds_of("7"), seeds_of("0-2,9")
    ((0, 1, 2, 3), (0, 3, 5), (7,), (0, 1, 2, 9))
    """
    seeds: list[int] = []
    for part in text.replace(" ", "").split(","):
        found = re.fullmatch(r"(\d{1,19})(?:-(\d{1,19}))?", part, re.ASCII)
        if found is None:
            raise BadInput(f"--seeds must be like 0-9, or 0,3,5, or 7, not {text!r}")
        low, high = int(found[1]), int(found[2] or found[1])
        if high < low:
            raise BadInput(f"--seeds {part} ends before it begins: write {high}-{low}")
        if high - low >= MOST_RUNS:
            raise BadInput(f"--seeds {part} are {high - low + 1:,} seeds, and a sweep has at most {MOST_RUNS:,} runs")
        seeds += range(low, high + 1)
    twice = next((seed for seed, count in Counter(seeds).items() if count > 1), None)
    if twice is not None:
        raise BadInput(f"--seeds {text} names the seed {twice} twice")
    return tuple(seeds)


def main() -> int:
    """The command line."""
    plan = plan_of(sys.argv[1:])
    require_room("analysis")

    from emcomm.sweeping import sweep  # seconds of imports, of which --help needs none

    return sweep(plan, plan.options.address or os.environ.get("RAY_ADDRESS") or None)


def run() -> None:
    """The console script."""
    run_command(main)


if __name__ == "__main__":
    run()
