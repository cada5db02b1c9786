"""From dialogue logs (and, where one is at hand, a policy) to findings.

The names below are the public ones; each is imported when it is first used, so that reading logs needs no torch.

>>> import analysis
>>> analysis.load("logs/no-such-run")
Traceback (most recent call last):
    ...
emcomm.errors.BadInput: there is no run folder logs/no-such-run
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.agents.certified_distance import certified_distance as certified_distance
    from analysis.agents.cross_play import cross_play as cross_play
    from analysis.agents.dialogue_tree import DialogueTree as DialogueTree
    from analysis.agents.dialogue_tree import prove as prove
    from analysis.agents.players import play_games as play_games
    from analysis.agents.policy_player import PolicyPlayer as PolicyPlayer
    from analysis.automata.protocol_machine import ProtocolMachine as ProtocolMachine
    from analysis.causal.audit import audit as audit
    from analysis.causal.channel_controls import channel_controls as channel_controls
    from analysis.causal.dialogue_edits import edits as edits
    from analysis.causal.influence import influence as influence
    from analysis.causal.influence import positive_signalling as positive_signalling
    from analysis.causal.interchange import interchange as interchange
    from analysis.causal.listening import listening as listening
    from analysis.causal.role_leaks import role_leaks as role_leaks
    from analysis.data.decisions import NotApplicable as NotApplicable
    from analysis.data.export import export_corpus as export_corpus
    from analysis.data.export import write_tables as write_tables
    from analysis.data.runs import LoadedRun as LoadedRun
    from analysis.data.runs import find_runs as find_runs
    from analysis.data.runs import load as load
    from analysis.data.utterances import utterances as utterances
    from analysis.explanation.verdict import explain as explain
    from analysis.metrics.decision_information import decision_bits as decision_bits
    from analysis.metrics.disentanglement import bosdis as bosdis
    from analysis.metrics.disentanglement import posdis as posdis
    from analysis.metrics.failure_modes import failure_kinds as failure_kinds
    from analysis.metrics.form_meaning import dictionary as dictionary
    from analysis.metrics.lexicon import lexicon as lexicon
    from analysis.metrics.mutual_information import decision_information as decision_information
    from analysis.metrics.seed_aggregation import over_seeds as over_seeds
    from analysis.metrics.success import SuccessTally as SuccessTally
    from analysis.metrics.token_statistics import TokenTally as TokenTally
    from analysis.metrics.topographic_similarity import topographic_similarity as topographic_similarity
    from analysis.report.findings import Findings as Findings
    from analysis.report.measure import Measure as Measure
    from analysis.report.pipeline import study as study
    from analysis.report.run_comparison import compare as compare
    from analysis.report.study import QUICK as QUICK
    from analysis.report.study import Study as Study
    from analysis.report.write import write_report as write_report

_ROOMS = {
    "analysis.agents.certified_distance": ("certified_distance",),
    "analysis.agents.cross_play": ("cross_play",),
    "analysis.agents.dialogue_tree": ("DialogueTree", "prove"),
    "analysis.agents.players": ("play_games",),
    "analysis.agents.policy_player": ("PolicyPlayer",),
    "analysis.automata.protocol_machine": ("ProtocolMachine",),
    "analysis.causal.audit": ("audit",),
    "analysis.causal.channel_controls": ("channel_controls",),
    "analysis.causal.dialogue_edits": ("edits",),
    "analysis.causal.influence": ("influence", "positive_signalling"),
    "analysis.causal.interchange": ("interchange",),
    "analysis.causal.listening": ("listening",),
    "analysis.causal.role_leaks": ("role_leaks",),
    "analysis.data.decisions": ("NotApplicable",),
    "analysis.data.export": ("export_corpus", "write_tables"),
    "analysis.data.runs": ("LoadedRun", "find_runs", "load"),
    "analysis.data.utterances": ("utterances",),
    "analysis.explanation.verdict": ("explain",),
    "analysis.metrics.decision_information": ("decision_bits",),
    "analysis.metrics.disentanglement": ("bosdis", "posdis"),
    "analysis.metrics.failure_modes": ("failure_kinds",),
    "analysis.metrics.form_meaning": ("dictionary",),
    "analysis.metrics.lexicon": ("lexicon",),
    "analysis.metrics.mutual_information": ("decision_information",),
    "analysis.metrics.seed_aggregation": ("over_seeds",),
    "analysis.metrics.success": ("SuccessTally",),
    "analysis.metrics.token_statistics": ("TokenTally",),
    "analysis.metrics.topographic_similarity": ("topographic_similarity",),
    "analysis.report.findings": ("Findings",),
    "analysis.report.measure": ("Measure",),
    "analysis.report.pipeline": ("study",),
    "analysis.report.run_comparison": ("compare",),
    "analysis.report.study": ("QUICK", "Study"),
    "analysis.report.write": ("write_report",),
}
_HOME = {name: module for module, names in _ROOMS.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOME]
