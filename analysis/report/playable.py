"""The frozen network as data that the page can run: its weights, the rules of talk, and the machine of its rule.

The page knows no rules of its own beyond how a round ends: what is legal in which phase and which joint moves succeed
are read off `Negotiation` and the game here. Axes: `A` action, `H` hidden unit, `I` input, `K` symbol kind, `S` state.
"""

from __future__ import annotations

import base64
import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.automata.protocol_machine import ProtocolMachine
from analysis.data.decisions import NotApplicable
from analysis.report.measure import NETWORK, ONE_NETWORK, PLAYABLE
from emcomm.errors import BadInput
from emcomm.networks.policy import Policy
from emcomm.networks.torsos import Gru
from emcomm.printable import printable
from envs.crossing import CrossingGame
from envs.negotiation import ACT, LONGEST_UNBOUNDED_TALK, PHASES, Negotiation, TalkRules

if TYPE_CHECKING:
    from analysis.report.findings import Findings

MOST_BYTES = 1_000_000
"""Numbers of one kind, weights or transitions, that a page may carry (bytes)."""
LOGARITHM = 4_000
"""Steps in which the logarithm of a probability is packed: 0.025 % of it each."""


def playable(findings: Findings) -> dict[str, Any]:
    """The network of a run with its rules and the machine of the rule that was named, for the page.

    Where the page cannot play it: `{"absent": why}`.
    """
    study = findings.study
    if study is None:
        return {"absent": "nothing could be read"}
    try:
        for need in (NETWORK, PLAYABLE, ONE_NETWORK):
            if why := need.missing(study):
                raise NotApplicable(why)
        if type(study.make_game(1, np.random.default_rng(0))) is not CrossingGame:
            raise NotApplicable(f"the page can play the crossing, and this is {printable(findings.run.env_name, 100)}")
        assert study.trained is not None
        packed: dict[str, Any] = {
            "rules": packed_rules(study.trained.config.rules),
            "network": packed_network(study.trained.policy),
        }
    except (NotApplicable, BadInput) as error:
        return {"absent": " ".join(str(error).split())}
    explanation = findings.explanation
    machine = explanation.machine if explanation else None
    packed["machine"] = None
    packed["rule"] = explanation.best.method if explanation and explanation.best else ""
    if machine is not None:
        with contextlib.suppress(NotApplicable):  # one that is too large: the network plays without it
            packed["machine"] = packed_machine(machine)
    return packed


def packed_rules(rules: TalkRules) -> dict[str, Any]:
    """The talk of the crossing: where it starts, what is legal in each phase, and which joint moves succeed.

    Raises NotApplicable for a talk that the page does not hold.
    """
    for name, wanted in (("speaking", "simultaneous"), ("closing", "mutual"), ("channel", "open")):
        if (value := getattr(rules, name)) != wanted:
            raise NotApplicable(f"the page can play with {name} {wanted}, and this run has {value}")
    rng = np.random.default_rng(0)
    talk = Negotiation(CrossingGame(1, rng), rules, rng)
    talk.reset()
    start, legal = int(talk.phase[0]), [[0] * talk.n_actions for _ in PHASES]
    for symbol in (0, rules.eot, None):
        legal[int(talk.phase[0])] = talk.mask()[0, 0].astype(int).tolist()
        if talk.phase[0] != ACT and symbol is not None:
            talk.step(np.full((1, 2), symbol))
    moves = np.stack(np.meshgrid([0, 1], [0, 1], indexing="ij"), axis=-1).reshape(-1, 2)
    return {
        "nTokens": rules.n_tokens,
        "maxRounds": rules.max_rounds or LONGEST_UNBOUNDED_TALK,
        "window": rules.visible_rounds,
        "start": start,
        "legal": legal,
        "succeeds": CrossingGame.succeeds(moves, np.zeros((4, 2, 0), np.float32)).reshape(2, 2).astype(int).tolist(),
    }


def packed_network(policy: Policy) -> dict[str, Any]:
    """The weights of one recurrent network, one after the other as little-endian float32 in base64.

    In this order: input to gates `[I, 3H]`, memory to gates `[3H, H]`, their biases `[3H]` and `[3H]`, actor `[A, H]`
    and its bias `[A]`; the gates are reset, update, new. Raises NotApplicable for another torso.
    """
    if type(policy) is not Policy:
        raise NotApplicable("several networks play, and the page runs one")
    if type(policy.torso) is not Gru:
        torso = printable(type(policy.torso).__name__.lower(), 60)
        raise NotApplicable(f"the page can run the torso gru, and this network has {torso}")
    sizes, cell = policy.sizes, policy.torso.cell
    if sizes.n_features != len(PHASES) or sizes.n_agents != 2:
        raise NotApplicable("the network sees more than the phase and the talk")
    parts: list[torch.Tensor] = [
        cell.weight_ih.T, cell.weight_hh, cell.bias_ih, cell.bias_hh, policy.actor.weight, policy.actor.bias,
    ]  # fmt: skip
    weights = np.concatenate([part.detach().cpu().numpy().ravel() for part in parts]).astype("<f4")
    return {
        "inputs": sizes.n_inputs, "hidden": sizes.hidden_size, "actions": sizes.n_actions, "window": sizes.window,
        "features": sizes.n_features, "kinds": sizes.n_symbols + 1, "weights": _base64(weights),
    }  # fmt: skip


def packed_machine(machine: ProtocolMachine) -> dict[str, Any]:
    """A machine, its clock apart: `B` states without the clock and `C` times instead of all their pairs.

    Names of the states `[B]`; transitions `[B, K, K]` and the row of each pair `[B, C]` as uint16; and the emissions
    `[S, A]` as uint16, -4000 times their logarithms; all in base64. Raises NotApplicable for one that is too large.
    """
    labels, base, time = _without_clock(machine)
    if len(machine) > 65_535:
        raise NotApplicable(f"its machine has {len(machine)} states, too many for a page")
    kinds = machine.automaton.transition.shape[1]
    transition = np.zeros((len(labels), kinds, kinds), "<u2")
    transition[base] = base[machine.automaton.transition]
    row = np.zeros((len(labels), int(time.max()) + 1), "<u2")
    row[base, time] = np.arange(len(machine))
    surprise = np.round(-LOGARITHM * np.log(np.maximum(machine.emission, 1e-9))).clip(0, 65_535)
    return {
        "labels": [printable(label, 60) for label in labels],
        "initial": int(base[machine.automaton.initial]),
        "kinds": kinds,
        "times": row.shape[1],
        "actions": surprise.shape[1],
        "logarithm": LOGARITHM,
        "transition": _base64(transition),
        "row": _base64(row),
        "surprise": _base64(surprise.astype("<u2")),
    }


def _without_clock(machine: ProtocolMachine) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """The names of the states without the clock (`Automaton.with_clock`), and for each state which of them, and when.

    A machine without a clock is always at time 0.
    """
    automaton = machine.automaton
    parts = [label.rpartition(" @") for label in automaton.labels]
    if all(time.isdigit() for _, _, time in parts):
        labels = list(dict.fromkeys(name for name, _, _ in parts))
        number = {name: i for i, name in enumerate(labels)}
        base, time = (np.array(v) for v in ([number[n] for n, _, _ in parts], [int(t) for _, _, t in parts]))
        once = np.zeros((len(labels), automaton.transition.shape[1], automaton.transition.shape[2]), np.int64)
        once[base] = base[automaton.transition]
        pairs = np.unique(np.stack([base, time]), axis=1).shape[1]
        if np.array_equal(once[base], base[automaton.transition]) and pairs == len(base):
            return labels, base, time
    return list(automaton.labels), np.arange(len(automaton)), np.zeros(len(automaton), np.int64)


def _base64(values: NDArray[Any]) -> str:
    if values.nbytes > MOST_BYTES:
        raise NotApplicable(f"its weights take {values.nbytes / 1e6:.0f} MB, too many for a page")
    return base64.b64encode(values.tobytes()).decode("ascii")
