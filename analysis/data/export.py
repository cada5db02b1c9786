"""Dialogues and tables for other tools: a corpus in the layout of ELCC, and CSV.

ELCC, the Emergent Language Corpus Collection (Boldt and Mortensen 2024, arXiv 2407.04158), keeps

    <system>/metadata.yml                           what the system is
    <system>/data/<variant>/corpus.jsonl            one dialogue a line, as a flat list of integers
    <system>/data/<variant>/corpus.structured.jsonl the same with its structure
    <system>/data/<variant>/metadata.json           what the corpus is

A flat dialogue reads round by round, and within a round in the order of speaking (agent 0 first where all speak at
once). EOT is the integer `n_tokens`; a cell in which nothing was said is left out of the flat list and -1 in the
structured one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from analysis.data.runs import LOGS, LoadedRun
from analysis.data.writing import file_name, replacing, write_whole
from emcomm.config import Config
from emcomm.dialogues import DialogueTable
from emcomm.errors import BadInput
from envs.negotiation import SILENT

SYSTEM: dict[str, dict[str, Any]] = {
    "origin": {"paper": "https://arxiv.org/abs/2004.13439"},
    "system": {
        "game_type": "negotiation",
        "game_subtype": "symmetry breaking before simultaneous moves",
        "data_source": "synthetic",
        "observation_type": "the dialogue so far",
        "observation_continuous": False,
        "multi_step": True,
        "symmetric_agents": True,
        "multi_utterance": True,
        "more_than_2_agents": False,
    },
}
"""What metadata.yml says of the crossing."""


def about_game(run: LoadedRun) -> dict[str, dict[str, Any]]:
    """What metadata.yml says of any other game: what it declares, its rules of talk, and nothing that is not known."""
    game, rules = run.declaration(), (run.settings or {}).get("rules") or {}
    system: dict[str, Any] = {
        **({"game_title": run.env_name} if run.env_name else {}),
        "data_source": "synthetic",
        "symmetric_agents": len(game.roles) == 1,
        "more_than_2_agents": game.n_agents > 2,
    }
    if "max_rounds" in rules:
        system["multi_utterance"] = rules["max_rounds"] != 1
    return {"system": system}


def export_corpus(
    run: LoadedRun,
    folder: str | Path,
    log: str = "evaluation",
    system: str | None = None,
    about: Mapping[str, Mapping[str, Any]] | None = None,
    variant: str | None = None,
) -> Path:
    """Write the dialogues of one log of a run as a corpus; returns the folder of the variant.

    `variant` is its name, by default the run's: two of one name in one folder replace each other.
    `log` is "evaluation" or "dialogues" (training). Raises BadInput where it has no dialogues, or where `folder` lies
    in the run's own data, OSError where they cannot be written. Dialogues are streamed: memory does not grow with the
    log.

    Parameters
    ----------
    run : LoadedRun
        The run.
    folder : str or Path
        Where the corpora of one or more runs lie.
    log, system, about, variant
        Which dialogues, and what the corpus is called and says of itself. By default the crossing is "emcomm", another
        game has its own name, and `about` is what is known of it.

    Returns
    -------
    Path
        The folder of the variant, with `data/corpus.jsonl` and its metadata.

    Examples
    --------
    `analysis.export_corpus(analysis.load("logs/RUN"), "corpus")`
    """
    if log not in LOGS:
        raise BadInput(f"log must be one of {', '.join(LOGS)}, not {log!r}")
    is_crossing = run.env_name == Config.env
    if system is None:
        system = "emcomm" if is_crossing else re.sub(r"[^\w.-]", "-", run.env_name or "").lstrip(".") or "emcomm"
    if about is None:
        about = SYSTEM if is_crossing else about_game(run)
    target = Path(folder) / file_name(system) / "data" / file_name(variant or run.name)
    _keep_out(target, run)
    if run.facts is None or not run.parts[log]:
        raise BadInput(f"{run.path} has no dialogues in {log}/ that can be read")
    target.mkdir(parents=True, exist_ok=True)
    write_whole(target.parent.parent / "metadata.yml", _yaml(about))
    tables = run.evaluation() if log == "evaluation" else run.training()
    flat, structured = target / "corpus.jsonl", target / "corpus.structured.jsonl"
    with (
        replacing(flat) as new_flat,
        replacing(structured) as new_structured,
        new_flat.open("w") as flat_file,
        new_structured.open("w") as structured_file,
    ):
        counts = write_corpus(tables, flat_file, structured_file)
    facts = {
        "run": run.name,
        "log": log,
        **counts,
        "n_tokens": run.facts.n_tokens,
        "eot": run.facts.n_tokens,
        "silent": SILENT,
        "move_names": list(run.facts.move_names),
        "order": "round by round, within a round in the order of speaking",
        "config": run.settings,
    }
    write_whole(target / "metadata.json", json.dumps(facts, indent=2) + "\n")
    return target


def write_corpus(tables: Iterable[DialogueTable], flat: TextIO, structured: TextIO) -> dict[str, int]:
    """Write dialogues as lines of JSON, flat and structured; returns how many dialogues and symbols.

    `success` is null where the game declares none.

    >>> import io
    >>> from analysis.data.dialogue_text import table_of
    >>> flat, structured = io.StringIO(), io.StringIO()
    >>> write_corpus([table_of([[(4, -1), (5, 5)]])], flat, structured)
    {'dialogues': 1, 'symbols': 3}
    >>> flat.getvalue().strip(), structured.getvalue().strip()
    ('[4, 5, 5]', '{"rounds": [[4, -1], [5, 5]], "moves": [1, 0], "success": true, "cut": false}')
    """
    dialogues = symbols = 0
    for table in tables:
        as_said = np.take_along_axis(table.symbols, table.speakers, 1) if len(table.speakers) else table.symbols
        spoken = (as_said != SILENT).sum(axis=1)
        ends = np.concatenate([[0], np.cumsum(spoken)])[table.starts].tolist()
        words = as_said[as_said != SILENT].tolist()
        rounds, starts = table.symbols.tolist(), table.starts.tolist()
        judged = table.success.tolist() if table.judged else [None] * len(table)
        facts = zip(table.moves.tolist(), judged, table.cut.tolist(), strict=True)
        for i, (moves, success, cut) in enumerate(facts):
            flat.write(f"{words[ends[i] : ends[i + 1]]}\n")
            record = {"rounds": rounds[starts[i] : starts[i + 1]], "moves": moves, "success": success, "cut": cut}
            structured.write(json.dumps(record) + "\n")
        dialogues += len(table)
        symbols += len(words)
    return {"dialogues": dialogues, "symbols": symbols}


def write_tables(folder: str | Path, tables: Mapping[str, pd.DataFrame]) -> list[Path]:
    """Write each table as `<name>.csv` into `folder`, which is made where it is missing; returns the files.

    Parameters
    ----------
    folder : str or Path
        Where the files lie.
    tables : mapping of str to DataFrame
        Name of the file, without its ending, and the table.

    Returns
    -------
    list of Path
        The files, in the order of the tables.

    Examples
    --------
    `analysis.write_tables("tables", analysis.study(run).tables())`
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, table in tables.items():
        if Path(name).name != name:
            raise BadInput(f"a table's name is a file name, not {name!r}")
        written.append(folder / f"{name}.csv")
        with replacing(written[-1]) as unfinished:
            table.to_csv(unfinished, index=False, errors="backslashreplace")
    return written


def _keep_out(target: Path, run: LoadedRun) -> None:
    own = [(run.path / part).resolve() for part in (*LOGS, "checkpoints", "tensorboard")]
    if any(target.resolve().is_relative_to(folder) for folder in own):
        raise BadInput(f"{target} lies in the run's own data: choose another folder")


def _yaml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Sections of plain values; a value in JSON is one in YAML too."""
    lines = []
    for name, values in sections.items():
        lines.append(f"{name}:")
        lines += [f"  {key}: {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"
