"""From dialogue logs (and, where one is at hand, a policy) to findings.

>>> import analysis
>>> analysis.load("logs/no-such-run")
Traceback (most recent call last):
    ...
emcomm.errors.BadInput: there is no run folder logs/no-such-run
"""

from analysis.data.export import export_corpus, write_tables
from analysis.data.runs import LoadedRun, find_runs, load
from analysis.metrics.failure_modes import failure_kinds
from analysis.metrics.mutual_information import decision_information
from analysis.metrics.seed_aggregation import over_seeds
from analysis.metrics.success import SuccessTally
from analysis.metrics.token_statistics import TokenTally

__all__ = [
    "LoadedRun",
    "SuccessTally",
    "TokenTally",
    "decision_information",
    "export_corpus",
    "failure_kinds",
    "find_runs",
    "load",
    "over_seeds",
    "write_tables",
]
