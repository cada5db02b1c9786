"""How many bits about any decision the dialogue carries after each round: a joint move, one agent's, an attribute.

For any predictor q of the answer Y from the dialogue X so far, I(X; Y) >= H(Y) + E[log2 q(Y | X)]: scored on dialogues
that it has not met, it is a lower bound that no bias can push above the truth. The predictor mixes a logistic
regression and extremely randomised trees over what each agent said; the mixture, shrunk towards the shares of the
answers, is chosen on dialogues of its own.

Who takes part and who may speak is seen, not said: silence would tell it, and with it much of a joint move. So it is
given to the predictor, and entropies are those given it. Who yields has a sharper measure
(`analysis.metrics.mutual_information`), which knows that exchangeable agents mirror each other.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.data.decisions import NotApplicable
from analysis.data.utterances import numbered
from analysis.metrics.entropy import entropy
from analysis.metrics.resampling import interval_of_means
from emcomm.dialogues import DialogueTable
from envs.channels import SILENT
from envs.game import Decision, Declaration, Ints

Reals = NDArray[np.float64]

FEWEST = 300
"""Fewer dialogues in which the same agents take part and speak are not enough to say anything."""
ROUNDS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Rounds after which the bits are taken."""
FIRST = 4
"""Rounds of which each symbol is shown to the predictor by itself; of all others the counts."""
MOST_ANSWERS = 16
"""Answers beyond the commonest ones count as one."""
RECOVERED, FALSE_BITS = 0.8, 0.05
"""Share of the bits of a planted rule that must be found, and bits by which noise may be off."""


class Bits(NamedTuple):
    """Bits about one decision."""

    decision: str
    entropy: float
    """Of the answer, given who takes part (bits): no dialogue can tell more."""
    rounds: tuple[int, ...]
    bits: tuple[float, ...]
    """Lower bound after each of `rounds`."""
    low: tuple[float, ...]
    """Lower end of the 95 % bootstrap interval."""
    high: tuple[float, ...]
    null: float
    """The largest of the same at the end with permuted answers (bits)."""
    dialogues: int
    answers: int
    """Different answers; all beyond the `MOST_ANSWERS` commonest are one for the predictor."""
    trusted: bool
    """Whether planted answers were found on these dialogues, and nothing in noise."""
    why: str


def answers(table: DialogueTable, decision: Decision, game: Declaration) -> Ints:
    """`[D]` the answer to a decision as a number; -1 where the dialogue has none."""
    if decision.kind == "attribute":
        names = [attribute.name for attribute in game.attributes]
        if table.private.shape[2] != len(names):
            raise NotApplicable("the log does not hold the attributes")
        return table.private[:, decision.agent or 0, names.index(decision.attribute or "")].astype(np.int64)
    if decision.kind == "move":
        return table.moves[:, decision.agent or 0].astype(np.int64)
    code = np.zeros(len(table), np.int64)
    for agent in range(table.moves.shape[1]):
        code = code * (len(game.move_names) + 1) + table.moves[:, agent] + 1
    return code


def decision_bits(
    table: DialogueTable, decision: Decision, game: Declaration, n_tokens: int, dialogues: int = 4_000, nulls: int = 19,
    seed: int = 0,
) -> Bits:  # fmt: skip
    """Bits about one decision after each round of talk, in dialogues with talk.

    Raises NotApplicable where there are too few dialogues, nothing to decide, or no talk.

    Parameters
    ----------
    table : DialogueTable
        Dialogues of one frozen policy.
    decision : Decision
        What is asked: one of the game's.
    game : Declaration
        What the game declares.
    n_tokens, dialogues, nulls, seed : int
        Free tokens, dialogues used at most, permutations, and what fixes the randomness.

    Returns
    -------
    Bits
        `decision`, `entropy`, `rounds`, `bits`, `low`, `high`, `null`, `dialogues`, `answers`, `trusted`, `why`.

    Examples
    --------
    `analysis.decision_bits(run.sample(4_000), run.declaration().decisions[0], run.declaration(), 5).bits`
    """
    rng = np.random.default_rng(seed)
    answer = answers(table, decision, game)
    party = _party(table)
    decided = np.flatnonzero((answer >= 0) & (table.n_rounds > 0))
    chosen = np.sort(rng.permutation(decided)[:dialogues])
    chosen = chosen[np.bincount(party[chosen], minlength=int(party.max(initial=0)) + 1)[party[chosen]] >= FEWEST]
    if not len(chosen):
        raise NotApplicable(f"there are no {FEWEST} dialogues with talk in which the same agents take part")
    table, party = table[chosen], numbered(party[chosen, None])[1]
    every = numbered(answer[chosen, None])[1]
    answer = _few(every)
    longest = int(np.quantile(table.n_rounds, 0.99))
    if not _entropy(answer, party):
        given = " for those who take part" if party.any() else ""
        raise NotApplicable(f"{decision.name} is always the same{given}")
    rounds = (*(r for r in ROUNDS if r < longest), min(longest, ROUNDS[-1]))
    fold = rng.permutation(len(table)) % 3
    scores = np.stack([_scores(_inputs(table, party, r, n_tokens), answer, party, fold, seed) for r in rounds])
    low, high = interval_of_means(scores.T, rng)
    last = _inputs(table, party, rounds[-1], n_tokens)
    null = max(float(_scores(last, _permuted(answer, party, rng), party, fold, seed).mean()) for _ in range(nulls))
    why = _complaint(table, last, party, fold, int(answer.max()) + 1, rng, seed)
    return Bits(
        decision.name, _entropy(every, party), rounds, tuple(scores.mean(axis=1).tolist()), tuple(low.tolist()),
        tuple(high.tolist()), null, len(table), int(every.max()) + 1, not why, why,
    )  # fmt: skip


def _party(table: DialogueTable) -> Ints:
    """`[D]` numbers of who takes part and who may speak."""
    return numbered(np.concatenate([table.moves < 0, table.speaks], axis=1))[1]


def _permuted(answer: Ints, party: Ints, rng: np.random.Generator) -> Ints:
    """The answers, permuted among the dialogues of the same agents."""
    order = np.lexsort([rng.random(len(answer)), party])
    permuted = np.empty_like(answer)
    permuted[np.argsort(party, kind="stable")] = answer[order]
    return permuted


def to_frame(decisions: tuple[Bits, ...]) -> pd.DataFrame:
    """One row per decision and round: decision, round, bits, low, high, entropy, null, dialogues, answers."""
    rows = [
        (one.decision, r, b, low, high, one.entropy, one.null, one.dialogues, one.answers)
        for one in decisions
        for r, b, low, high in zip(one.rounds, one.bits, one.low, one.high, strict=True)
    ]
    names = ["decision", "round", "bits", "low_bits", "high_bits", "entropy_bits", "null_bits", "dialogues", "answers"]
    return pd.DataFrame(rows, columns=names)


def _few(answer: Ints) -> Ints:
    """The answers as 0, 1, …, the commonest first; all beyond `MOST_ANSWERS` are one."""
    _, which, counts = np.unique(answer, return_inverse=True, return_counts=True)
    rank = np.argsort(np.argsort(-counts, kind="stable"))
    return np.minimum(rank[which.reshape(-1)], MOST_ANSWERS)


def _entropy(answer: Ints, party: Ints) -> float:
    """Of the answer, given who takes part (bits)."""
    together = np.bincount(party * (int(answer.max()) + 1) + answer)
    return max(entropy(together).plug_in - entropy(np.bincount(party)).plug_in, 0.0)


def _inputs(table: DialogueTable, party: Ints, rounds: int, n_tokens: int) -> Reals:
    """`[D, I]` what each agent said up to a round: the first rounds symbol by symbol, and counts; and who is there."""
    said = table.padded(rounds)  # [D, R, N]
    one_hot = np.eye(n_tokens + 2)[said]  # the last column for SILENT
    first = one_hot[:, :FIRST].reshape(len(table), -1)
    there = np.eye(int(party.max()) + 1)[party][:, 1:]
    return np.concatenate([first, one_hot.sum(axis=1).reshape(len(table), -1), there], axis=1)


def _scores(inputs: Reals, answer: Ints, party: Ints, fold: Ints, seed: int) -> Reals:
    """`[D]` H(Y) + log2 q(Y | X) of each dialogue, from a predictor that has not met it."""
    out = np.zeros(len(answer))
    for k in range(3):
        fitting, choosing, scored = (fold == (k + i) % 3 for i in range(3))
        out[scored] = np.log2(_predicted(inputs, answer, party, fitting, choosing, scored, seed))
    return _entropy(answer, party) + out


def _predicted(
    inputs: Reals, answer: Ints, party: Ints, fitting: Ints, choosing: Ints, scored: Ints, seed: int
) -> Reals:
    """The probability of the answer in each scored dialogue."""
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.linear_model import LogisticRegression

    n_answers = int(answer.max()) + 1
    prior = (np.bincount(answer[fitting], minlength=n_answers) + 1) / (fitting.sum() + n_answers)
    given = np.bincount(party[fitting] * n_answers + answer[fitting], minlength=(int(party.max()) + 1) * n_answers)
    given = given.reshape(-1, n_answers)
    shares = (given + prior) / (given.sum(axis=1, keepdims=True) + 1)
    models = (
        LogisticRegression(C=1.0, max_iter=60),
        ExtraTreesClassifier(30, min_samples_leaf=2, random_state=seed),
    )
    right: dict[str, list[Reals]] = {
        name: [shares[party[which], answer[which]]] for name, which in (("choosing", choosing), ("scored", scored))
    }
    for model in models if len(np.unique(answer[fitting])) > 1 else ():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(inputs[fitting], answer[fitting])
        for name, which in (("choosing", choosing), ("scored", scored)):
            full = np.zeros((int(which.sum()), n_answers))
            full[:, model.classes_] = model.predict_proba(inputs[which])
            right[name].append(full[np.arange(len(full)), answer[which]])
    weights = _mixtures(len(right["scored"]))
    quality = np.log2(np.maximum(weights @ np.stack(right["choosing"]), 1e-12)).mean(axis=1)
    return np.maximum(weights[quality.argmax()] @ np.stack(right["scored"]), 1e-12)


def _mixtures(count: int) -> Reals:
    """`[m, count]` weights to mix with; the prior, which comes first, always has some."""
    steps = np.linspace(0, 1, 11)
    if count == 1:
        return np.ones((1, 1))
    return np.array([(s, (1 - s) * t, (1 - s) * (1 - t)) for s in (0.002, 0.01, *steps[1:]) for t in steps])


def _complaint(
    table: DialogueTable, inputs: Reals, party: Ints, fold: Ints, n_answers: int, rng: np.random.Generator, seed: int
) -> str:
    """What the method misses on planted answers to these dialogues; empty where it finds all."""
    first = np.where(table.n_rounds > 0, table.padded(1)[:, 0].T, SILENT) + 1  # [N, D]
    speaker = int(np.argmax([len(np.unique(row)) for row in first]))
    planted = {"the first symbol": first[speaker] % n_answers, "coin tosses": rng.integers(n_answers, size=len(table))}
    for name, answer in planted.items():
        answer = _few(answer)
        if not _entropy(answer, party):
            continue
        bits = float(_scores(inputs, answer, party, fold, seed).mean())
        true = _entropy(answer, party) if name == "the first symbol" else 0.0
        if bits < RECOVERED * true - FALSE_BITS or bits > true + FALSE_BITS:
            return f"it finds {bits:.2f} of {true:.2f} bits in {name}, planted on these {len(table)} dialogues"
    return ""
