"""A measure: one thing found out about a run, with its table, figure, caption and line in the terminal.

A measure of your own is one object: name it `python -m emcomm.analyze logs/ --measure my_module:MEASURE`, or add it to
`analysis.report.measures.MEASURES`. Pipeline, report, terminal, CSV and JSON walk that list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from analysis.data.decisions import NO_SUCCESS
from analysis.data.runs import NO_POLICY
from envs.game import Kind

if TYPE_CHECKING:
    from analysis.report.study import Study


class Need(NamedTuple):
    """What a measure needs of a run."""

    missing: Callable[[Study], str | None]
    """Why a run lacks it; None where it has it."""


class Line(NamedTuple):
    """A line of the terminal's table."""

    name: str
    figure: str
    remark: str = ""


@dataclass(frozen=True)
class Measure:
    """One thing found out about a run."""

    name: str
    """In JSON, and of its table where it has one; lower case."""
    compute: Callable[[Study], Any]
    """The result; plain values, named tuples and data frames go into JSON as they are. Raise `NotApplicable` where a
    run turns out to lack what is needed."""
    title: str = ""
    caption: str = ""
    """One sentence on how to read the figure. Words in braces are replaced by the game's own: {agent}, {agents},
    {failure}, {goal}, {yields}, {stays}; and {eot}, the number of EOT."""
    chapter: str = "more"
    """Key of `analysis.report.chapters.CHAPTERS`."""
    needs: tuple[Need, ...] = ()
    tables: Callable[[Any], Mapping[str, pd.DataFrame]] | None = None
    """The tables behind it, by name. By default a result that is a data frame is the table."""
    figure: Callable[[Any, Study], str | None] | None = None
    """An SVG element; see `analysis.report.svg`."""
    remark: Callable[[Any, Study], str] | None = None
    """More of the caption, made from the result."""
    line: Callable[[Any, Study], Line | None] | None = None
    """What the terminal says of it, and the report among its key figures."""
    rows: int = 0
    """Rows of its first table that the report shows unfolded; 0 for none."""
    wide: bool = False
    """Whether its card takes the whole width: for a table of many columns."""
    in_json: bool = True
    """Whether the result itself goes into JSON, beside its tables."""

    def __post_init__(self) -> None:
        if not self.name or not self.name.replace("_", "").isalnum() or self.name != self.name.lower():
            raise ValueError(f"the name of a measure is of small letters, digits and _, not {self.name!r}")
        if not callable(self.compute):
            raise ValueError(f"compute of the measure {self.name!r} must be a function of a study")

    @property
    def heading(self) -> str:
        """Its title, made from the name where it has none."""
        return self.title or self.name.replace("_", " ").capitalize()

    def missing(self, study: Study) -> str | None:
        """Why it does not apply to a run; None where it does."""
        return next((why for need in self.needs if (why := need.missing(study))), None)

    def tables_of(self, result: Any) -> dict[str, pd.DataFrame]:
        """The tables behind the result."""
        if self.tables is not None:
            return dict(self.tables(result))
        return {self.name: result} if isinstance(result, pd.DataFrame) else {}


# -- needs -------------------------------------------------------------------------------------------------------------

DIALOGUES = Need(lambda study: None if study.sample is not None else "there are no dialogues that can be read")
TRAINING = Need(lambda study: None if study.training_sample is not None else "there is no log of training")
JUDGED = Need(lambda study: None if study.judged else NO_SUCCESS)


def _no_network(study: Study) -> str | None:
    if study.trained is not None:
        return None
    noted = next((line for line in study.run.problems if line.startswith(NO_POLICY)), None)
    if noted and (study.run.path / "checkpoints").is_dir():
        return f"the network is left out: {noted.removeprefix(NO_POLICY)}"
    return "there is no network beside the log"


NETWORK = Need(_no_network)


def _one_network(study: Study) -> str | None:
    from emcomm.networks.policy import Population

    several = study.trained is not None and isinstance(study.trained.policy, Population)
    return "several networks play each other, and this takes one" if several else None


ONE_NETWORK = Need(_one_network)
PLAYABLE = Need(lambda study: study.unplayable)
SIMULTANEOUS = Need(
    lambda study: "agents speak one after the other" if study.rules and study.rules.speaking == "sequential" else None
)


def decision(kind: Kind) -> Need:
    """That the game declares a decision of a kind."""
    return Need(
        lambda study: None if study.game.decision(kind) else f"the game declares no decision of the kind {kind!r}"
    )


WHO_YIELDS = decision("yields")
ATTRIBUTES = Need(
    lambda study: (
        None if study.game.attributes else "the game declares no attributes: no agent knows anything by itself"
    )
)
