"""The role-leak audit: can who yields be told from everything but the content of the talk?

An honest channel between identical agents leaks nothing: agent 0 yields as often as agent 1, whoever speaks first and
however long they talk.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.data.decisions import Decisions, NotApplicable, decisions
from emcomm.dialogues import DialogueTable
from emcomm.statistics import Rate, rate
from envs.channels import CHANNELS, SILENT
from envs.game import Floats


def without_content(channel: str) -> bool:
    """Whether a channel lets no token be heard as it was said, though there is talk."""
    known = CHANNELS.get(channel)
    return known is not None and known.talk and not known.has_content


@dataclass(frozen=True)
class Leak:
    """How well one source tells who yields."""

    source: str
    accuracy: Rate
    """Held-out dialogues that parted, named right."""
    null: float
    """97.5 % point of the accuracy where who yields is exchanged at random."""

    @property
    def leaks(self) -> bool:
        """Whether the source tells more than chance: beyond the null, and by more than a point."""
        return self.accuracy.trials > 0 and self.accuracy.value > self.null and self.accuracy.low > 0.51


def role_leaks(
    table: DialogueTable, n_tokens: int, channel: str = "open", permutations: int = 40, seed: int = 0
) -> tuple[Leak, ...]:
    """One row per source, and one for all of them together; empty where no dialogue parted.

    Sources: `agent` (its index), `order` (who spoke first, and last; sequential speaking only), `length` (rounds, and
    whether they are odd), `opening` (who moved while the other began to talk), `end` (who said EOT and found the talk
    going on, hence knew that the other did not). The last is audited only over a `channel` without content: over the
    others EOT is heard, and so is content itself.

    Parameters
    ----------
    table : DialogueTable
        Dialogues of two agents.
    n_tokens : int
        Free tokens.
    channel : str
        Over which they were held.
    permutations, seed : int
        Of the null.

    Returns
    -------
    tuple of Leak
        `source`; `accuracy`, held-out yielders named right; `null`, what chance reaches (97.5 %); `leaks`, whether it
        tells more than chance.

    Examples
    --------
    `[leak.source for leak in analysis.role_leaks(run.sample(10_000), 5) if leak.leaks]`
    """
    rng = np.random.default_rng(seed)
    decided = decisions(table, n_tokens)
    parted = decided.parted
    if parted.sum() < 4:
        return ()
    yielded = decided.moves[parted, 0].astype(np.int64)
    sources = {name: values[parted] for name, values in _sources(table, decided, channel).items()}
    fitting = rng.permutation(len(yielded)) < len(yielded) // 2
    sources["all"] = np.concatenate(list(sources.values()), axis=1)
    return tuple(_audit(name, values, yielded, fitting, permutations, rng) for name, values in sources.items())


def _sources(table: DialogueTable, decided: Decisions, channel: str) -> dict[str, Floats]:
    """`[D, F]` of each source, from agent 0's point of view."""
    ones = np.ones((len(decided), 1), np.float32)
    opening = (decided.symbols[:, 0] == SILENT) & (decided.n_rounds > 0)[:, None]
    length = np.stack([decided.n_rounds, decided.n_rounds % 2, decided.n_rounds == 0], axis=1).astype(np.float32)
    sources = {"agent": ones, "length": length, "opening": opening.astype(np.float32)}
    if len(table.speakers):
        starts, talked = table.starts, table.n_rounds > 0
        first = np.zeros(len(table), np.float32)
        last = first.copy()
        first[talked] = table.speakers[starts[:-1][talked], 0]
        last[talked] = table.speakers[starts[1:][talked] - 1, -1]
        sources["order"] = np.stack([first, last], axis=1)
    if without_content(channel):
        sources["end"] = _end(decided)
    return sources


def _end(decided: Decisions) -> Floats:
    """`[D, 2]` who first said EOT alone (1 for agent 0, -1 for agent 1, 0 for nobody), and how much oftener than the
    other; in the closing round nobody finds the talk going on."""
    eot = decided.symbols == decided.n_tokens
    goes_on = np.arange(eot.shape[1]) < decided.n_rounds[:, None] - 1
    alone = (eot[..., 0].astype(np.float32) - eot[..., 1]) * goes_on
    first = np.take_along_axis(alone, (alone != 0).argmax(axis=1)[:, None], 1)
    return np.concatenate([first, alone.sum(axis=1, keepdims=True)], axis=1)


def _audit(
    name: str, features: Floats, yielded: np.ndarray, fitting: np.ndarray, permutations: int, rng: np.random.Generator
) -> Leak:
    trials = int((~fitting).sum())
    right = held_out_right(features, yielded, fitting)
    null = [
        held_out_right(features, np.where(rng.random(len(yielded)) < 0.5, yielded, 1 - yielded), fitting) / trials
        for _ in range(permutations)
    ]
    return Leak(name, rate(right, trials), float(np.quantile(null, 0.975)))


def held_out_right(features: Floats, yielded: np.ndarray, fitting: np.ndarray, leaf: int = 20) -> int:
    """Held-out dialogues that a small tree names right, whose leaves hold at least `leaf` of the others."""
    from sklearn.tree import DecisionTreeClassifier

    if not (~fitting).any():
        raise NotApplicable("no dialogue is left to score on")
    tree = DecisionTreeClassifier(max_depth=4, min_samples_leaf=leaf, random_state=0)
    predicted = tree.fit(features[fitting], yielded[fitting]).predict(features[~fitting])
    return int((predicted == yielded[~fitting]).sum())
