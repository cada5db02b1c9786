"""How dialogues run through a protocol machine: a graph of its states with the traffic between them (networkx)."""

from __future__ import annotations

import networkx as nx
import numpy as np

from analysis.automata.protocol_machine import ProtocolMachine
from emcomm.dialogues import DialogueTable

CLOCKED = " @"
"""Separates the label of a state from the round that it belongs to."""


def flow(machine: ProtocolMachine, table: DialogueTable, most: int = 17) -> nx.DiGraph:
    """States (without the clock) and moves between them in the dialogues of `table`, both trains' views counted.

    Nodes have `visits` (share of the time) and `yields` (probability of yielding, NaN where no talk ends); edges have
    `share` (of the moves) and `said` (the commonest rounds, own symbol first). The `most` busiest states are kept.
    """
    names = [label.rpartition(CLOCKED)[0] or label for label in machine.automaton.labels]
    labels = sorted(set(names), key=names.index)
    group = np.array([labels.index(name) for name in names])
    symbols = table.padded(max(int(table.n_rounds.max(initial=0)), 1)).astype(np.int64)
    views = np.concatenate([symbols, symbols[..., ::-1]])
    n_rounds, moves = np.tile(table.n_rounds, 2), table.moves.T.ravel()
    states = group[machine.automaton.run(views, n_rounds)]
    there = np.arange(states.shape[1] - 1) < n_rounds[:, None]
    visits = np.bincount(states[:, :-1][there], minlength=len(labels)).astype(float)
    final = states[np.arange(len(states)), n_rounds]
    ended = np.bincount(final, minlength=len(labels))
    yields = np.bincount(final, weights=moves == moves.max(initial=1), minlength=len(labels))
    kept = [s for s in np.argsort(-(visits + ended), kind="stable")[:most].tolist() if visits[s] + ended[s]]
    graph = nx.DiGraph(initial=labels[group[machine.automaton.initial]])
    for s in sorted(kept):
        share = float((visits[s] + ended[s]) / (visits.sum() + ended.sum()))
        graph.add_node(labels[s], visits=share, yields=float(yields[s] / ended[s]) if ended[s] else float("nan"))
    pairs = states[:, :-1][there] * len(labels) + states[:, 1:][there]
    said = views[there]
    for code, count in zip(*np.unique(pairs, return_counts=True), strict=True):
        source, target = divmod(int(code), len(labels))
        if source in kept and target in kept:
            rounds = said[pairs == code]
            common, times = np.unique(rounds, axis=0, return_counts=True)
            top = common[np.argsort(-times)[:3]].tolist()
            graph.add_edge(labels[source], labels[target], share=float(count / len(pairs)), said=top)
    return graph
