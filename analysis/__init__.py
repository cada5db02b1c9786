"""From dialogue logs (and, where one is at hand, a policy) to findings.

>>> import analysis
>>> analysis.load("logs/no-such-run")
Traceback (most recent call last):
    ...
emcomm.errors.BadInput: there is no run folder logs/no-such-run
"""

from analysis.export import export_corpus, write_tables
from analysis.failures import failure_kinds
from analysis.information import decision_information
from analysis.loading import LoadedRun, find_runs, load
from analysis.seeds import over_seeds
from analysis.success import SuccessTally
from analysis.tokens import TokenTally

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
