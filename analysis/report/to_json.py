"""Findings as plain values that every reader of JSON understands: no NaN, no arrays, no objects."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.automata.automaton import Automaton
from analysis.automata.protocol_machine import ProtocolMachine
from emcomm.statistics import Rate


def plain(value: Any) -> Any:
    """`value` as nested dictionaries, lists, strings and numbers; what is not a number becomes None.

    Of automata and machines only the size is told: they have files of their own. What the `repr` of a dataclass leaves
    out is left out here.

    >>> plain({"share": float("nan"), "counts": np.arange(2)})
    {'share': None, 'counts': [0, 1]}
    """
    if isinstance(value, (Automaton, ProtocolMachine)):
        return {"states": len(value)}
    if isinstance(value, Rate):
        return {"value": plain(value.value), "low": value.low, "high": value.high, "trials": value.trials}
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, (np.integer, np.bool_)):
        return value.item()
    if isinstance(value, pd.DataFrame):
        return [plain(row) for row in value.to_dict("records")]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value) if field.repr}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else repr(value)
