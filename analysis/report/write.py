"""The report of an analysis: one self-contained HTML file, with figures, tables and a dialogue browser."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from analysis.data.writing import UNFINISHED, cannot_write, write_whole
from analysis.report.browser_data import ALPHABET, LEVELS, Excerpt, pack
from analysis.report.chapters import comparison_section, run_section
from analysis.report.findings import Findings
from analysis.report.html import embedded, text
from analysis.report.playable import playable
from analysis.report.run_comparison import distinct_names
from emcomm.config import Config
from emcomm.errors import BadInput
from emcomm.printable import printable
from envs.game import Words, plain_declaration

NAME = "report.html"
GENERATOR = "emcomm.analyze"
"""Written into every report: only what bears it is ever replaced."""
SCRIPTS = ("pattern.js", "scene.js", "game.js", "browser.js", "play.js", "start.js")


def write_report(folder: str | Path, studied: Sequence[Findings], comparison: Any = None, made_by: str = "") -> Path:
    """Write `report.html` into `folder`, which is made where it is missing; returns the file.

    `made_by` is the command behind it, shown at the foot. Raises BadInput where the folder cannot be used
    (`check_folder`), Fault where it cannot be written; the report that was there is then unchanged.

    Parameters
    ----------
    folder : str or Path
        Of the report.
    studied : sequence of Findings
        Of `study`, one for each run.
    comparison : Comparison, optional
        Of `compare`.
    made_by : str
        The command behind it.

    Returns
    -------
    Path
        The file.

    Examples
    --------
    `analysis.write_report("report", [analysis.study(run)])`
    """
    folder = Path(folder)
    check_folder(folder, [findings.run.path for findings in studied])
    page = render(studied, comparison, made_by)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / NAME, page)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return folder / NAME


def check_folder(folder: Path, runs: Sequence[Path] = ()) -> None:
    """Raise BadInput where `folder` holds something else than a report of ours, or lies in a run."""
    whole = Path(os.path.realpath(folder))
    for run in runs:
        if whole.is_relative_to(os.path.realpath(run)):
            raise BadInput(f"{folder} lies in the run {run}: choose another --out, nothing is written into a run")
    try:
        if folder.is_symlink() and not folder.exists():
            raise BadInput(f"{folder} is a link to nowhere: choose another --out")
        above = next(parent for parent in (folder, *whole.parents) if parent.exists())
        if not above.is_dir():
            raise BadInput(f"{above} is {'a file' if above.is_file() else 'no folder'}: choose another --out")
        if folder.exists() and not _is_ours(folder):
            raise BadInput(f"{folder} exists and is no report of emcomm: choose another --out")
    except OSError as error:
        raise BadInput(f"{folder} cannot be used: {error.strerror}; choose another --out") from error


def _is_ours(folder: Path) -> bool:
    """Whether a folder holds a report of ours, or nothing but what a killed analysis left."""
    report = folder / NAME
    if report.is_file():
        with report.open("rb") as file:
            return f'content="{GENERATOR}"'.encode() in file.read(2000)
    return not any(not any(map(path.match, UNFINISHED)) for path in folder.iterdir())


def render(studied: Sequence[Findings], comparison: Any = None, made_by: str = "", whole: bool = True) -> str:
    """The page as text; not `whole`, it has the game and the dialogues alone."""
    page = files("analysis.report") / "page"
    names = distinct_names(studied)
    buttons = "".join(
        f'<button type="button" data-run="{i}" aria-pressed="{str(i == 0).lower()}">{text(name)}</button>'
        for i, name in enumerate(names)
    )
    data = {"alphabet": ALPHABET, "levels": LEVELS, "runs": [_packed(findings) for findings in studied]}
    script = "\n".join((page / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return Template((page / "report.html").read_text(encoding="utf-8")).substitute(
        generator=GENERATOR,
        policy=policy(script),
        title=text(f"emcomm: {', '.join(names)}"),
        style=(page / "report.css").read_text(encoding="utf-8"),
        runs=buttons,
        comparison=comparison_section(comparison),
        parts="all" if whole else "dialogues",
        sections="".join(run_section(findings, i, whole) for i, findings in enumerate(studied)),
        footer=f"<p>Made by emcomm{f' with <code>{text(made_by)}</code>' if made_by else ''}.</p>",
        data=embedded(data),
        script=script,
    )


def policy(script: str) -> str:
    """The Content-Security-Policy of the page: it runs `script`, and nothing else, and fetches and sends nothing.

    Styles may stand anywhere, for the figures have them in attributes.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _packed(findings: Findings) -> dict[str, Any]:
    facts, config = findings.run.facts, findings.run.settings or {}
    rules, game = config.get("rules"), findings.study.game if findings.study else None
    words = game.words if game else Words()
    attributes = game.attributes if game else ()
    return {
        "name": printable(findings.name),
        "nTokens": facts.n_tokens if facts else 0,
        "moves": [printable(name, 200) for name in facts.move_names] if facts else [],
        "agents": findings.excerpts[0].table.moves.shape[1] if findings.excerpts else 2,
        "agent": printable(game.words.agent, 60) if game else "agent",
        "named": bool(game and game.agent_names != plain_declaration(game.n_agents, ()).agent_names),
        "names": [printable(name, 60) for name in game.agent_names] if game else [],
        "outcomes": [printable(word, 60) for word in (words.failure, words.success)],
        "onTrack": config.get("env") == Config.env,
        "channel": rules.get("channel", "open") if isinstance(rules, dict) else "open",
        "attributes": [
            {"name": printable(a.name, 60), "values": [printable(v, 60) for v in a.values]} for a in attributes
        ],
        "play": playable(findings),
        "logs": [pack(part, _logged(part, len(attributes))) for part in findings.excerpts if len(part.table)],
    }


def _logged(part: Excerpt, attributes: int) -> int:
    """How many attributes the dialogues hold: all that are declared, or none."""
    return attributes if part.table.private.shape[2] == attributes else 0
