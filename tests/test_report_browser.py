"""The report in a real browser: headless Chromium shows it, filters it, steps through it, by mouse and by keyboard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import analysis
from analysis.agents.synthetic_protocols import planted_dialogues
from analysis.data.dialogue_text import table_of
from analysis.report.findings import Findings
from analysis.report.notebook import browse
from analysis.report.pipeline import QUICK, study
from analysis.report.write import write_report
from emcomm.dialogues import DialogueWriter
from envs import declared
from envs.game import plain_declaration
from tests.games import Signal

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def found(small_run: Path) -> Findings:
    return study(analysis.load(small_run), QUICK)


@pytest.fixture(scope="module")
def report(found: Findings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(tmp_path_factory.mktemp("report") / "out", [found])


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Opened:
    """The report in a window, with whatever went wrong in it."""

    def __init__(self, browser: Any, path: Path, width: int = 1280, dark: bool = False) -> None:
        scheme = "dark" if dark else "light"
        self.context = browser.new_context(
            viewport={"width": width, "height": 850}, color_scheme=scheme, reduced_motion="reduce"
        )
        self.page = self.context.new_page()
        self.page.add_init_script(
            "window.refused = [];"
            "document.addEventListener('securitypolicyviolation', (e) => window.refused.push(e.violatedDirective))"
        )
        self.trouble: list[str] = []
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("console", lambda said: said.type == "error" and self.trouble.append(said.text))
        self.page.on("request", lambda request: request.url.startswith("file:") or self.trouble.append(request.url))
        self.page.goto(path.as_uri())

    def refused(self) -> list[str]:
        """The rules of the page's own policy that something in it broke."""
        return self.page.evaluate("window.refused")

    def count(self) -> int:
        return int(self.page.inner_text("#count").split(" ")[0].replace("\u202f", ""))

    def fill(self, name: str, value: str) -> int:
        self.page.fill(f"#filters [name={name}]", value)
        return self.count()


@pytest.fixture
def opened(chromium: Any, report: Path) -> Iterator[Opened]:
    window = Opened(chromium, report)
    yield window
    assert window.trouble == []
    assert window.refused() == []
    window.context.close()


def test_it_opens(opened: Opened) -> None:
    assert opened.page.locator("article.run h2").inner_text()
    assert opened.page.locator("figure svg").count() >= 8
    assert opened.count() == 500


def test_filters_change_the_list(opened: Opened) -> None:
    page, form = opened.page, "#filters"
    by_outcome = []
    for outcome in ("success", "failure"):
        page.select_option(f"{form} [name=outcome]", outcome)
        by_outcome.append(opened.count())
    assert sum(by_outcome) == 500
    assert min(by_outcome) > 0
    page.click("#clear")
    page.wait_for_function("document.getElementById('count').textContent.startsWith('500')")
    short, long = opened.fill("most", "3"), 0
    page.fill(f"{form} [name=most]", "")
    long = opened.fill("least", "4")
    assert short + long == 500
    page.click("#clear")
    page.wait_for_function("document.getElementById('count').textContent.startsWith('500')")
    page.select_option(f"{form} [name=log]", label="training")
    assert 0 < opened.count() <= 500


def test_patterns(opened: Opened) -> None:
    """Against counts made in Python from the same dialogues."""
    talks = opened.page.evaluate(
        "(() => { const log = DATA.runs[0].logs[0]; opened(log, DATA.runs[0]);"
        " return log.lengths.map((_, i) => dialogue(log, i).symbols); })()"
    )
    opened.page.uncheck("#filters [name=mirrored]")
    assert opened.fill("pattern", "4 2") == sum([4, 2] in talk for talk in talks)
    assert opened.fill("pattern", "^4 .") == sum(bool(talk) and talk[0][0] == 4 for talk in talks)
    assert opened.fill("pattern", "[0 1] . · E E $") == sum(
        len(talk) > 1 and talk[-2][0] in (0, 1) and talk[-1] == [5, 5] for talk in talks
    )
    assert opened.fill("pattern", "3 … 2") == sum(
        any(3 in a and any(2 in b for b in talk[i + 1 :]) for i, a in enumerate(talk)) for talk in talks
    )
    alone = opened.fill("pattern", "4 2")
    opened.page.check("#filters [name=mirrored]")
    assert opened.count() == sum([4, 2] in talk or [2, 4] in talk for talk in talks) >= alone
    opened.page.fill("#filters [name=pattern]", "9 9")
    assert "cannot be read" in opened.page.inner_text("#count")


def test_a_click_shows_a_dialogue_step_by_step(opened: Opened) -> None:
    page = opened.page
    opened.fill("least", "3")
    page.locator(".row").nth(1).click()
    rounds = int(page.locator(".row[aria-selected=true] .size").inner_text().split()[0])
    assert page.locator("#transcript tbody tr[data-step]").count() == rounds + 2  # before the talk, rounds, moves
    assert page.inner_text("#step") == "the moves"
    page.click("#first")
    assert page.inner_text("#step") == "before the talk"
    page.click("#forward")
    assert page.inner_text("#step") == f"round 1 of {rounds}"
    assert "hears" in page.inner_text("#trains")
    assert page.locator("#trains .meter").count() == 2
    assert page.locator("#scene svg").get_attribute("aria-label").startswith("round 1")
    page.locator("#transcript tr[data-step]").last.click()
    assert page.inner_text("#step") == "the moves"


def test_the_keyboard_is_enough(opened: Opened) -> None:
    page = opened.page
    page.locator("#clear").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "list"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Home")
    for key, chosen in (("ArrowDown", 1), ("ArrowDown", 2), ("ArrowUp", 1), ("End", 499), ("Home", 0)):
        page.keyboard.press(key)
        assert page.get_attribute("#list", "aria-activedescendant") == f"row-{chosen}"
        assert page.locator(f"#row-{chosen}").get_attribute("aria-selected") == "true"
    opened.fill("least", "2")
    page.locator("#list").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "stage"
    for key, step in (
        ("Home", "before the talk"),
        ("ArrowRight", "round 1"),
        ("ArrowRight", "round 2"),
        ("End", "the moves"),
    ):
        page.keyboard.press(key)
        assert page.inner_text("#step").startswith(step)


@pytest.mark.parametrize("dark", [False, True])
def test_dark_and_light_are_legible(chromium: Any, report: Path, dark: bool) -> None:
    """Contrast of text, captions and the words in figures against the card that they stand on (WCAG AA)."""
    window = Opened(chromium, report, dark=dark)
    ratios = window.page.evaluate(
        """() => {
          const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map((v) => {
            v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
          const back = light(getComputedStyle(document.querySelector('.card')).backgroundColor);
          const one = (selector, property) => [...document.querySelectorAll(selector)].map((e) => {
            const front = light(getComputedStyle(e)[property]);
            return (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05); });
          return { text: one('.card h4', 'color'), caption: one('figcaption', 'color'),
            figure: one('.card svg text', 'fill') };
        }"""
    )
    for what, found in ratios.items():
        assert found, what
        assert min(found) > 4.5, what
    window.context.close()


def test_a_phone_does_not_scroll_sideways(chromium: Any, report: Path) -> None:
    window = Opened(chromium, report, width=390)
    assert window.page.evaluate("document.documentElement.scrollWidth") == 390
    window.page.locator(".row").nth(2).click()
    assert window.page.locator("#stage").bounding_box()["width"] <= 390
    window.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert window.page.evaluate("document.documentElement.scrollWidth") == 390
    assert window.trouble == []
    window.context.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_clipped(chromium: Any, report: Path, width: int) -> None:
    """No text ends outside its box, and no table that stands open has to be pushed sideways."""
    window = Opened(chromium, report, width=width)
    window.page.check("#play-hints")
    clipped = window.page.evaluate(
        """() => [...document.querySelectorAll('main *')]
          .filter((e) => e.clientWidth && !e.closest('svg, .list, select, details:not([open])'))
          .filter((e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== 'visible')
          .map((e) => `${e.tagName}.${e.className}: ${e.innerText.slice(0, 80)}`)"""
    )
    assert clipped == []
    assert window.trouble == []
    window.context.close()


def test_the_top_says_what_it_is_about(opened: Opened) -> None:
    """A short sentence, three on how to read, links that lead somewhere, and dialogues with EOT by name."""
    page = opened.page
    assert len(page.inner_text("article.run h2").split()) <= 25
    assert page.inner_text(".guide").count(". ") == 2
    assert "5 tokens" in page.inner_text(".guide")
    targets = page.evaluate("[...document.querySelectorAll('.contents a')].map((a) => a.getAttribute('href').slice(1))")
    assert len(targets) >= 7
    assert page.evaluate("(ids) => ids.filter((id) => !document.getElementById(id))", targets) == []
    assert page.locator(".said tbody tr").count() == 8
    assert "EOT EOT" in page.inner_text(".said")
    tops = [page.locator(place).first.bounding_box()["y"] for place in ("h2", ".said", "#play", ".cards")]
    assert tops == sorted(tops)


def test_eot_is_written_alike_and_a_success_is_open(opened: Opened) -> None:
    page = opened.page
    assert page.inner_text("#outcome").startswith("success")
    assert "EOT" in page.locator(".row[aria-selected=true] .score").inner_text()
    assert "EOT" in page.inner_text("#transcript")
    assert opened.fill("pattern", "EOT EOT $") == opened.fill("pattern", "E E $") == opened.fill("pattern", "5 5 $") > 0


def test_a_link_opens_one_dialogue(chromium: Any, report: Path, opened: Opened) -> None:
    opened.page.select_option("#filters [name=log]", label="training")
    opened.page.locator(".row").nth(3).click()
    episode, link = opened.page.inner_text("#which"), opened.page.get_attribute("#link", "href")
    window = Opened(chromium, report)
    assert window.page.inner_text("#which") != episode
    window.page.evaluate("(link) => { location.hash = link; }", link)
    window.page.wait_for_function("(text) => document.getElementById('which').textContent === text", arg=episode)
    window.page.goto(f"{report.as_uri()}{link}")
    window.page.reload()
    assert window.page.inner_text("#which") == episode
    window.page.goto(f"{report.as_uri()}#dialogue-0-0-99999999")
    window.page.reload()
    assert window.page.inner_text("#outcome").startswith("success")
    assert window.trouble == []
    window.context.close()


def test_a_notebook_has_the_browser_and_the_game_in_it(chromium: Any, found: Findings) -> None:
    """In a frame of the notebook's page, which may run the report's script and nothing else."""
    window = Opened(chromium, Path("/dev/null"))
    window.page.set_content(browse(found).html)
    frame = window.page.frame_locator("iframe")
    assert frame.locator("#count").inner_text().startswith("500")
    frame.locator(".row").nth(2).click()
    frame.locator("#play-hands button[data-action='2']").click()
    assert frame.locator("#play-talk tbody tr td").first.inner_text() == "2"
    assert not frame.locator(".top").is_visible()
    assert window.trouble == []
    window.context.close()


# -- playing -----------------------------------------------------------------------------------------------------------


def test_a_reader_plays_against_the_network(opened: Opened) -> None:
    page = opened.page
    assert page.locator("#play-hands button:enabled").count() == 8  # five tokens, EOT, two moves
    page.click("#play-hands button[data-action='2']")
    said = page.locator("#play-talk tbody tr").first.locator("td")
    assert said.first.inner_text() == "2"
    assert said.nth(1).inner_text() in {"0", "1", "2", "3", "4", "EOT", "–"}
    assert page.locator("#play-hands button:disabled").count() == 2, "moves wait for the end of the talk"
    for _ in range(40):
        if page.locator("#play-hands button:has-text('main'):enabled").count():
            break
        page.locator("#playground").press("e")
    page.locator("#playground").press("m")
    assert "took main" in page.inner_text("#play-told")
    assert "so far: " in page.inner_text("#play-tally")
    assert page.locator("#play-hands button:enabled").count() == 0
    page.click("#play-new")
    assert page.inner_text("#play-talk tbody") == "Nothing said yet."


def test_a_hint_shows_what_the_network_would_do(opened: Opened) -> None:
    page = opened.page
    assert page.locator("#play-hint").is_hidden()
    page.check("#play-hints")
    rows = page.locator("#play-hint tr").all_inner_texts()
    assert [row.split()[0] for row in rows] == ["0", "1", "2", "3", "4", "EOT", "main", "detour"]
    page.select_option("#play-mode", "1")
    page.click("#play-hands button[data-action='5']")
    assert page.locator("#play-talk tbody tr td").nth(1).inner_text() == "EOT"
    assert "In your place the network would" in page.inner_text("#play-hint")


def test_two_networks_play_step_by_step(opened: Opened) -> None:
    page = opened.page
    page.select_option("#play-mode", "networks")
    page.click("#play-step")
    for _ in range(50):  # both may have moved at once
        if page.inner_text("#play-told") == "":
            break
        page.click("#play-new")
        page.click("#play-step")
    assert page.locator("#play-talk tbody tr").count() == 1
    page.click("#play-end")
    assert "network (A) took" in page.inner_text("#play-told")
    modes = page.locator("#play-mode option").all_inner_texts()
    assert ("the network and its machine" in modes) == page.evaluate("play.machine !== null")


# -- what may run in it ------------------------------------------------------------------------------------------------

HOSTILE = "<img src=x onerror=window.hacked=1><script>window.hacked=1<" + "/script>"


def test_names_from_a_run_are_never_run(chromium: Any, tmp_path: Path) -> None:
    """The name of a run and those of its moves come from files."""
    run = tmp_path / HOSTILE.replace("/", "\N{DIVISION SLASH}")
    writer = DialogueWriter(run / "evaluation", 5, (f"a{HOSTILE}", f"b'\"$^{{{HOSTILE}"))
    writer.add(planted_dialogues("vote", 0, 200))
    writer.close()
    window = Opened(chromium, write_report(tmp_path / "out", [study(analysis.load(run), QUICK)]))
    assert window.count() == 200
    window.page.locator(".row").nth(1).click()
    window.page.click("#first")
    assert "takes <img" not in window.page.inner_text("#trains")
    window.page.click("#last")
    assert "<img src=x onerror" in window.page.inner_text("#trains")
    assert window.page.evaluate("window.hacked") is None
    assert window.page.inner_text("#play-says") == "Not here: there is no network beside the log."
    assert window.page.locator("#playground").is_hidden()
    assert (window.refused(), window.trouble) == ([], [])
    window.context.close()


def test_the_browser_shows_who_knew_what_and_the_report_a_lexicon(chromium: Any, tmp_path: Path) -> None:
    """A sender that says the number of its colour; the receiver knows nothing of its own."""
    game = declared(Signal(1, np.random.default_rng(0)))
    colour = np.random.default_rng(0).integers(3, size=60)
    spoken = [[*[(int(c), -1)] * int(c < 2), (2, -1)] for c in colour]
    private = np.stack([colour, np.full(60, -1)], axis=1)[..., None].astype(np.float32)
    table = table_of(spoken, moves=[(0, int(c)) for c in colour])
    writer = DialogueWriter(tmp_path / "run" / "evaluation", 2, game.move_names, game=game)
    writer.add(replace(table, private=private, success=np.ones(60, np.bool_), speaks=np.tile([True, False], (60, 1))))
    writer.close()
    found = study(analysis.load(tmp_path / "run"), replace(QUICK, nulls=1))
    window = Opened(chromium, write_report(tmp_path / "out", [found]))
    page = window.page
    for row in (0, 1, 2):
        page.locator(".row").nth(row).click()
        knows = [line.inner_text() for line in page.locator("#trains .knows").all()]
        assert knows == [f"knows colour {game.move_names[colour[row]]}", "knows nothing of its own"]
    assert page.locator("#trains h5").all_inner_texts() == ["A: sender", "B: receiver"]
    rows = [r.inner_text().split("\t")[1:3] for r in page.locator(".wide tbody").first.locator("tr").all()]
    assert rows == [["colour red", "0 · EOT"], ["colour green", "1 · EOT"], ["colour blue", "EOT"]]
    assert (window.trouble, window.refused()) == ([], [])
    window.context.close()


def test_the_browser_makes_up_no_outcome_where_the_game_declares_none(chromium: Any, tmp_path: Path) -> None:
    """Two joint moves in each game; what they brought stands where the outcome would."""
    game = replace(plain_declaration(2, ("go", "wait")), has_success=False)
    table = table_of([[(1, 0), (2, 2)]] * 40, moves=[(0, 1)] * 40)
    nothing: dict[str, Any] = {"success": np.zeros(0, np.bool_), "score": np.zeros(0, np.float32)}
    rewards = np.tile(np.array([[0.5, -0.25]], np.float32), (40, 1))
    games = {"episode": np.arange(40) // 2, "negotiation": np.arange(40) % 2, "rewards": rewards}
    writer = DialogueWriter(tmp_path / "run" / "evaluation", 2, game.move_names, game=game)
    writer.add(replace(table, **games, **nothing))
    writer.close()
    found = study(analysis.load(tmp_path / "run"), replace(QUICK, nulls=1))
    window = Opened(chromium, write_report(tmp_path / "out", [found]))
    page = window.page
    page.locator(".row").nth(1).click()
    assert page.locator("#which").inner_text() == "Episode 0, joint move 2"
    assert page.locator("#outcome").inner_text() == "mean reward +0.125 · 2 rounds"
    assert page.locator(".row .mark").first.inner_text() == "·"
    hidden = page.locator('select[name="outcome"] option').evaluate_all("all => all.map((one) => one.hidden)")
    assert hidden == [False, True, True, False]
    assert "0.250" in page.locator("dl.facts").inner_text()
    assert "of 20 games (40 joint moves)" in page.locator("dl.facts").inner_text()
    assert (window.trouble, window.refused()) == ([], [])
    window.context.close()


INTRUDERS = {
    "<script>window.hacked = 1</script>": "script-src-elem",
    "<script src='data:text/javascript,window.hacked = 1'></script>": "script-src-elem",
    "<svg onload='window.hacked = 1'></svg>": "script-src-attr",
    "<img src='data:image/png;base64,x' onerror='window.hacked = 1'>": "script-src-attr",
    "<img src='file:///nowhere.png'>": "img-src",
    "<iframe src='data:text/html,x'></iframe>": "frame-src",
    "<object data='data:text/html,x'></object>": "object-src",
    "<link rel=stylesheet href='file:///nowhere.css'>": "style-src-elem",
    "<base href='https://example.invalid/'>": "base-uri",
}
"""What somebody could put into a report, and the rule that refuses it."""


@pytest.mark.parametrize("intruder", INTRUDERS)
def test_what_is_put_into_a_report_does_not_run(chromium: Any, report: Path, tmp_path: Path, intruder: str) -> None:
    page = report.read_text(encoding="utf-8")
    changed = tmp_path / "report.html"
    changed.write_text(page.replace("</main>", f"{intruder}</main>"), encoding="utf-8")
    window = Opened(chromium, changed)
    window.page.wait_for_timeout(100)
    assert window.page.evaluate("window.hacked") is None
    assert window.refused() == [INTRUDERS[intruder]]
    assert window.count() == 500, "the page itself still works"
    window.context.close()


def test_nothing_can_be_sent_from_a_report(chromium: Any, report: Path) -> None:
    window = Opened(chromium, report)
    ways = {
        "fetch('http://127.0.0.1:9/')": "connect-src",
        "new WebSocket('ws://127.0.0.1:9/')": "connect-src",
        "new Worker('data:text/javascript,1')": "worker-src",
        "(() => { const form = document.createElement('form'); form.action = 'http://127.0.0.1:9/';"
        " document.body.append(form); form.submit(); })()": "form-action",
    }
    for way, rule in ways.items():
        before = len(window.refused())
        window.page.evaluate(f"try {{ Promise.resolve({way}).catch(() => 0) }} catch {{}}")
        window.page.wait_for_timeout(100)
        assert window.refused()[before:] == [rule], way
    window.context.close()
