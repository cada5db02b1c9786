"""Protocol machines as graphs: networkx, GraphML and DOT."""

from __future__ import annotations

import io
import json
from pathlib import Path

import networkx as nx
import numpy as np

from analysis.automata.protocol_machine import ProtocolMachine
from analysis.data.writing import replacing
from emcomm.printable import printable

SHOWN = 6
"""Rounds named on an edge; of the others only the number is told."""


def graph(machine: ProtocolMachine, minimum_share: float = 0.0) -> nx.DiGraph:
    """States as nodes, rounds as edges; states visited less often than `minimum_share` are left out.

    Nodes carry `label`, `visits`, `share`, `yields` (probability of yielding there) and `says` (the likeliest action);
    edges `label` ("own other" of the rounds that lead along it) and `rounds` (how many those are).
    """
    visits = machine.visits.astype(float)
    share = visits / visits.sum() if visits.sum() else np.full(len(machine), 1 / len(machine))
    shown = (share >= minimum_share) | (np.arange(len(machine)) == machine.automaton.initial)
    names = [*map(str, range(machine.n_tokens)), "EOT", *map(printable, machine.move_names)]
    symbols = [*names[: machine.n_tokens + 1], "-"]
    yields = machine.yields()
    drawn = nx.DiGraph(name=printable(machine.name), initial=machine.automaton.initial)
    for state in np.flatnonzero(shown).tolist():
        drawn.add_node(
            state,
            label=printable(machine.automaton.labels[state]),
            visits=float(visits[state]),
            share=float(share[state]),
            yields=float(yields[state]),
            says=names[int(machine.emission[state].argmax())],
        )
        targets = machine.automaton.transition[state]
        for target in np.unique(targets).tolist():
            if shown[target]:
                pairs = [f"{symbols[own]} {symbols[other]}" for own, other in np.argwhere(targets == target)]
                more = f" +{len(pairs) - SHOWN}" if len(pairs) > SHOWN else ""
                drawn.add_edge(state, target, label=", ".join(pairs[:SHOWN]) + more, rounds=len(pairs))
    return drawn


def save_graphml(machine: ProtocolMachine, path: Path) -> None:
    """Write the whole machine as GraphML; raises OSError."""
    whole = io.BytesIO()
    nx.write_graphml(graph(machine), whole)
    with replacing(path) as unfinished:
        unfinished.write_bytes(whole.getvalue())


def dot(machine: ProtocolMachine, minimum_share: float = 0.0) -> str:
    """The machine in Graphviz' language; states that yield are drawn twice."""
    drawn = graph(machine, minimum_share)
    lines = [f"digraph {_quoted(printable(machine.name))} {{", "  rankdir=LR;"]
    for state, facts in drawn.nodes(data=True):
        shape = "doublecircle" if facts["yields"] > 0.5 else "circle"
        bold = " penwidth=2" if state == machine.automaton.initial else ""
        lines.append(f"  {state} [label={_quoted(facts['label'])} shape={shape}{bold}];")
    lines += [f"  {a} -> {b} [label={_quoted(facts['label'])}];" for a, b, facts in drawn.edges(data=True)]
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
