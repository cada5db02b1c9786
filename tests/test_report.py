"""The report as a file: self-contained, escaped, small, without NaN; and what is packed into it."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import analysis
from analysis.agents.synthetic_protocols import planted_dialogues
from analysis.data.decisions import stretches
from analysis.data.dialogue_text import table_of
from analysis.report.browser_data import ALPHABET, decided_by_log, excerpt, pack, within
from analysis.report.chapters import _how_they_talk
from analysis.report.findings import Findings
from analysis.report.pipeline import QUICK, study
from analysis.report.run_comparison import compare
from analysis.report.study import Study
from analysis.report.write import render, write_report
from emcomm.config import Config
from emcomm.dialogues import DialogueTable, DialogueWriter, LogFacts
from emcomm.errors import BadInput
from emcomm.worlds import make_negotiation
from envs.game import plain_declaration
from envs.negotiation import TalkRules

FACTS = LogFacts(1, 5, ("main", "detour"))
NASTY = "</script><img src=x onerror=alert(1)>\"'&"


def make_run(path: Path, table: DialogueTable, **config: Any) -> Path:
    writer = DialogueWriter(path / "evaluation", 5, FACTS.move_names)
    writer.add(table)
    writer.close()
    (path / "config.json").write_text(json.dumps({"version": 1, "config": {"rules": {"n_tokens": 5}, **config}}))
    return path


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    folder = tmp_path_factory.mktemp("logs")
    table = planted_dialogues("first difference", seed=3, dialogues=1200)
    return study(analysis.load(make_run(folder / "run <b> & co", table, env=NASTY)), QUICK)


@pytest.fixture(scope="module")
def page(found: Findings) -> str:
    return render([found], made_by=f"python {NASTY}")


class Links(HTMLParser):
    """Collects every address that a browser would follow by itself, and every element."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.elements: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
                self.addresses.append(value or "")


def test_nothing_is_fetched(page: str) -> None:
    links = Links()
    links.feed(page)
    assert links.addresses, "the page links to its own parts"
    assert [address for address in links.addresses if not address.startswith("#")] == []
    assert not re.findall(r"url\(\s*['\"]?(?!#)", page)
    assert "@import" not in page
    assert "fetch(" not in page
    assert not {"img", "iframe", "link", "object", "embed"} & set(links.elements)


def test_the_page_says_what_it_may_do(page: str) -> None:
    """The policy stands before anything that it rules, and names the one script by its hash."""
    said = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">', page)
    assert len(said) == 1
    rules = dict(rule.split(" ", 1) for rule in said[0].split("; "))
    script = re.findall(r"<script>(.*?)</script>", page, re.S)[-1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules.pop("script-src") == f"'sha256-{digest}'"
    assert rules.pop("style-src") == "'unsafe-inline'"
    assert rules.pop("img-src") == "data:"
    assert rules == {"default-src": "'none'", "base-uri": "'none'", "form-action": "'none'"}
    assert page.index("Content-Security-Policy") < min(map(page.index, ("<style", "<title", "<script")))
    assert not re.findall(r"<[^>]+\son[a-z]+\s*=", page.replace(script, ""))


def test_words_from_files_are_escaped(page: str) -> None:
    assert "onerror=alert(1)>" not in page
    assert "run &lt;b&gt; &amp; co" in page
    assert page.count("</script>") == 2


def test_the_sentence_comes_first(page: str, found: Findings) -> None:
    assert found.sentence.startswith("The first difference decides")
    assert page.index("The first difference decides") < page.index("<svg role")


def test_the_fits_to_zipfs_law_are_shown(page: str, found: Findings) -> None:
    fits = found.tables()["zipf"]
    assert list(fits.columns) == ["of", "exponent", "distance", "p_value", "ranks"]
    assert list(fits.of) == ["tokens", "bigrams", "trigrams"]
    assert "Table: zipf" in page


def test_causes_are_looked_for_in_dialogues_drawn_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log begins with the dialogues that were over first."""
    table = planted_dialogues("vote", 0, 1000)
    run = make_run(tmp_path / "run", table[np.argsort(table.n_rounds, kind="stable")])
    seen: list[DialogueTable] = []
    monkeypatch.setattr("analysis.report.measures.causes.role_leaks", lambda sample, *rest: seen.append(sample) or ())
    study(analysis.load(run), dataclasses.replace(QUICK, dialogues=200, shown=1000, nulls=1, games=50))
    assert len(seen[0]) == 200
    assert seen[0].n_rounds.mean() > 0.8 * table.n_rounds.mean()


def test_every_figure_has_words_for_those_who_cannot_see(page: str) -> None:
    figures = re.findall(r'<svg role="img" aria-label="([^"]+)"', page)
    assert len(figures) >= 6
    assert len(re.findall(r"<figure ", page)) == len(re.findall(r"<figcaption>[^<]{20,}", page))


def test_the_audit_says_whether_the_end_is_content(found: Findings, tmp_path: Path) -> None:
    assert "Who says EOT is heard here" in render([found])
    rules = {"n_tokens": 5, "channel": "constant"}
    table = planted_dialogues("noise", seed=0, dialogues=200)
    deaf = study(analysis.load(make_run(tmp_path / "deaf", table, rules=rules)), QUICK)
    assert "end" in {leak.source for leak in deaf.causes.leaks}
    assert "finds the talk going on" in render([deaf])


def test_figures_take_their_colours_from_the_page(page: str) -> None:
    drawn = "".join(re.findall(r'<svg role="img".*?</svg>', page, re.S))
    assert "var(--first)" in drawn
    assert not set(re.findall(r"#[0-9a-f]{6}", drawn)) - {"#ffffff"}


def data_of(page: str) -> dict[str, Any]:
    packed = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert packed
    return json.loads(packed[1], parse_constant=lambda name: pytest.fail(f"{name} in the page"))


def test_the_dialogues_are_in_the_page(page: str, found: Findings) -> None:
    log = data_of(page)["runs"][0]["logs"][0]
    assert log["of"] == 1200
    assert len(log["lengths"]) == len(found.excerpts[0].table) == 1200
    assert len(log["talk"]) == 2 * sum(log["lengths"])
    assert len(log["moves"]) == 4800  # two signs for each of two agents


def test_packing_by_hand() -> None:
    table = table_of([[(4, -1), (5, 5)], []], moves=[(1, 0), (0, 0)], cut=[True, False])
    packed = pack(excerpt("by hand", 7, table, FACTS, None, 100, plain_declaration(2, ("main", "detour"))))
    assert (packed["talk"], packed["lengths"]) == ("5066", [2, 0])  # a symbol is its place in the alphabet, less one
    assert (packed["moves"], packed["success"], packed["cut"]) == ("02010101", "10", "10")
    assert (packed["of"], packed["yielding"]) == (7, "")
    assert len(set(ALPHABET)) == 128


def test_the_browser_keeps_within_its_budget() -> None:
    table = table_of([[(1, 2)] * 9 + [(5, 5)]] * 50)
    assert len(within(table, 220)) == 10  # a dialogue takes 11 × 2 cells
    assert len(within(table, 10**6)) == 50


def test_when_the_log_tells_who_yields() -> None:
    """The larger of two first tokens yields: known after round 1, whatever follows; ties never are."""
    rng = np.random.default_rng(0)
    firsts = rng.integers(5, size=(900, 2))
    talk = [[pair, (3, 3), (5, 5)] for pair in firsts.tolist()]
    moves = [
        (1, 0) if a > b or (a == b and coin) else (0, 1)
        for (a, b), coin in zip(firsts, rng.random(900) < 0.5, strict=True)
    ]
    decided = decided_by_log(table_of(talk, moves=moves), FACTS)
    tied = firsts[:, 0] == firsts[:, 1]
    assert (decided[~tied] == 1).all()
    assert (decided[tied] == -1).all()


def test_stretches_double() -> None:
    lengths = [len(part) for part in stretches(table_of([[(1, 2), (5, 5)]] * 1000), fewest=100)]
    assert lengths == [125, 125, 250, 500]


def test_a_report_replaces_only_a_report(found: Findings, tmp_path: Path) -> None:
    first = write_report(tmp_path / "a", [found])
    assert first.stat().st_size < 2_000_000
    assert write_report(tmp_path / "a", [found]) == first
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["report.html"]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.tex").write_text("mine")
    with pytest.raises(BadInput, match="no report of emcomm"):
        write_report(tmp_path / "b", [found])
    with pytest.raises(BadInput, match="lies in the run"):
        write_report(found.run.path / "report", [found])


def test_runs_beside_each_other(found: Findings, tmp_path: Path) -> None:
    """Two machines extracted from opposite conventions: each succeeds with itself and crashes with the other."""
    table = planted_dialogues("first difference", seed=3, dialogues=1200)
    opposite = DialogueTable(**{**table.__dict__, "moves": 1 - table.moves})
    other = study(analysis.load(make_run(tmp_path / "opposite", opposite, env=NASTY)), QUICK)
    both = compare([found, other], games=500)
    assert both is not None
    assert both.played is not None
    rates = both.played.rates
    assert rates.diagonal().min() > 0.9
    assert max(rates[0, 1], rates[1, 0]) < 0.1
    assert both.alike is not None
    assert both.alike[0, 1] < -0.9
    assert both.distances is not None
    assert both.distances.diagonal().tolist() == [0, 0]
    assert both.distances[0, 1] > 0.9
    assert list(both.tables()) == ["crossplay", "alike", "distances"]
    page = render([found, other], both)
    assert "The runs beside each other" in page
    assert "How differently they decide" in page
    assert [run["name"] for run in data_of(page)["runs"]] == ["run <b> & co", "opposite"]


def configured(found: Findings, name: str, **config: Any) -> Findings:
    run = dataclasses.replace(found.run, path=found.run.path.parent / name, settings=config)
    return dataclasses.replace(found, run=run, study=Study(run, QUICK))


def test_each_configuration_has_its_line(found: Findings) -> None:
    """Two seeds with the open channel, one of them twice, and one run without talk: three runs in two groups."""
    talk, off = ({"n_tokens": 5, "channel": channel} for channel in ("open", "off"))
    runs = [
        configured(found, name, rules=rules, seed=seed)
        for name, rules, seed in [("a", talk, 0), ("b", talk, 1), ("again", talk, 1), ("silent", off, 0)]
    ]
    both = compare(runs, games=200)
    assert both is not None
    assert [group.sentence.split(":")[0] for group in both.groups] == ["channel open, 2 runs", "channel off, 1 run"]
    assert [line for line in both.problems if "again" in line and line.endswith("counted once")]
    assert both.played is not None
    assert both.played.names == ("a", "b")
    page = render(runs, both)
    for group in both.groups:
        assert f"<p class=says>{group.sentence}.</p>" in page


def test_one_run_has_nothing_beside_it(found: Findings) -> None:
    assert compare([found]) is None


@pytest.mark.parametrize(
    ("env", "rules", "speaks", "says"),
    [
        (
            "crossing", {}, [[1, 1]],
            "Before they move, the trains may talk: in each round everyone says, all at once, one of 5 tokens that "
            "mean nothing at first, or EOT; the talk ends when all who speak say EOT in the same round.",
        ),
        (
            "crossing", {"n_tokens": 1, "closing": "any", "speaking": "sequential"}, [[0, 1], [1, 1]],
            "Before they move, the trains may talk: in each round whoever may speak says, one after the other, its "
            "only token, which means nothing at first, or EOT; one EOT ends the talk.",
        ),
        ("crossing", {"channel": "off"}, [[1, 1]], "The trains move without a talk."),
        ("crossing", {}, [[0, 0]], "The trains move without a talk."),
        (
            "line", {"n_tokens": 5}, [[0, 1, 1, 0], [0, 1, 0, 0]],
            "Before they move, the trains may talk: in each round each train that may speak says one of 5 tokens, all "
            "at once, or EOT; tokens mean nothing at first; the talk ends when all who speak say EOT in the same "
            "round.",
        ),
        (
            "signalling", {"closing": "fixed", "max_rounds": 1, "opening": "talk"}, [[1, 0], [1, 0]],
            "Before they move, the players talk: in each round the sender says one of 5 tokens; tokens mean nothing at "
            "first; the talk lasts one round.",
        ),
        (
            "task-and-talk", {"closing": "fixed", "max_rounds": 2, "opening": "talk", "speaking": "sequential"},
            [[1, 1]],
            "Before they move, the bots talk: in each round the questioner says one of 3 tokens and the answerer says "
            "one of 4 tokens, one after the other; tokens mean nothing at first; the talk lasts 2 rounds.",
        ),
    ],
)  # fmt: skip
def test_the_guide_says_who_says_what(env: str, rules: dict, speaks: list[list[int]], says: str) -> None:
    """It once said of every game that all speak, of all tokens and of EOT."""
    config = Config(env=f"emcomm/{env}-v1", rules=TalkRules(**rules))
    game = make_negotiation(config, 1, np.random.SeedSequence(0)).declaration
    sample = SimpleNamespace(speaks=np.array(speaks, np.bool_))
    study: Any = SimpleNamespace(rules=config.rules, game=game, facts=LogFacts(1, 5, game.move_names), sample=sample)
    assert _how_they_talk(study, game.words.agents) == says
