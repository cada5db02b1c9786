"""What a report says about one run: key figures, then chapters, each measure explained in a sentence or two."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from analysis.data.decisions import NO_SUCCESS
from analysis.data.dialogue_text import line
from analysis.data.utterances import speakers
from analysis.explanation.sentence import listed
from analysis.report import figures
from analysis.report.findings import Findings
from analysis.report.html import card, chapter, fact, shown, table, text
from analysis.report.measure import Line, Measure
from analysis.report.playable import playable
from analysis.report.study import Study
from emcomm.printable import printable
from envs.negotiation import TalkRules

VERDICTS = {
    "explained": "explained: it predicts, it holds on random dialogues, and it plays like the network",
    "describes": "described, not explained: it predicts, but not all tests of a cause were passed or possible",
    "none": "no rule found",
}
SEVERAL = "several rules are possible: this quick look does not tell them apart"
CHAPTERS = {
    "success": ("{succeed}", "{goal}"),
    "meaning": (
        "What does it mean?",
        'What the agents know and the others do not, and how the talk tells it. Whether it is heeded, "positive '
        'listening" and the controls of the channel say.',
    ),
    "mechanism": ("How does it work?", "Which rule turns a dialogue into a decision, and does it play alike?"),
    "causes": ("What does the talk cause?", "The talk is interfered with; only the audit of leaks reads the log."),
    "decision": ("When is it decided?", "How much has the dialogue told by each round, and how long does it go on?"),
    "tokens": ("What do they say?", "The look of the language; it does not show what the talk does."),
    "more": ("More", "Measures that were added."),
}
"""Key of a chapter -> its title and what it is about."""


def run_section(findings: Findings, number: int, whole: bool = True) -> str:
    """One run, from the sentence down to the tables; not `whole`, only the place where the page plays it."""
    if not whole:
        return f'<article class=run id="run-{number}" data-run="{number}"><div id="play-{number}"></div></article>'
    verdict = findings.explanation.verdict if findings.explanation else ""
    badge = SEVERAL if findings.explanation and findings.explanation.rivals else VERDICTS.get(verdict, "")
    says = f'<p class="verdict {verdict}">{badge}</p>' if badge else ""
    sentence = f"<p class=sentence>{text(findings.sentence)}</p>" if findings.sentence != findings.lead else ""
    chapters = list(_chapters(findings, number))
    return (
        f'<article class=run id="run-{number}" data-run="{number}" aria-label="run {text(findings.name)}">'
        f"<header class=hero><p class=eyebrow>run <b>{text(findings.name)}</b> {_setting(findings)}</p>"
        f"<h2>{text(findings.lead)}</h2>{sentence}{says}{_guide(findings)}</header>{_contents(chapters, number)}"
        f"{_problems(findings)}<dl class=facts>{''.join(_facts(findings))}</dl>"
        f'{_commonest(findings, number)}<div id="play-{number}"></div>'
        f"{''.join(html for _, _, html in chapters)}"
        f"{_absent(findings)}</article>"
    )


def _setting(findings: Findings) -> str:
    run = findings.run
    parts = [run.env_name]
    if run.settings is not None:
        parts.append(f"channel {run.channel}")
    if run.seed is not None:
        parts.append(f"seed {run.seed}")
    if findings.training is not None:
        training = findings.training
        several = f" with {shown(training.dialogues)} joint moves" if training.dialogues > training.episodes else ""
        parts.append(f"{shown(training.episodes)} games of training{several}")
    return "".join(f" · {text(part)}" for part in parts if part)


def _problems(findings: Findings) -> str:
    if not findings.problems:
        return ""
    lines = "".join(f"<li>{text(line)}</li>" for line in findings.problems)
    return f"<aside class=problems><h3>What was missing</h3><ul>{lines}</ul></aside>"


def _absent(findings: Findings) -> str:
    """What does not apply, each measure once with the reason."""
    lines = "".join(f"<li>{text(says)}</li>" for says in not_shown(findings))
    return f"<aside class=absent><h3>Not shown here</h3><ul>{lines}</ul></aside>" if lines else ""


def not_shown(findings: Findings) -> list[str]:
    """The measures that do not apply, those with one reason in one line."""
    by_reason: dict[str, list[str]] = {}
    headings = {measure.name: measure.heading for measure in findings.measures}
    for name, why in findings.absent.items():
        by_reason.setdefault(why, []).append(headings[name])
    return [f"{', '.join(names)}: {why}" for why, names in by_reason.items()]


def key_lines(findings: Findings) -> Iterator[Line]:
    """The key figures of a run, from the measures that have one."""
    for measure in findings.measures:
        if measure.line is not None and measure.name in findings.results and findings.study is not None:
            line = measure.line(findings.results[measure.name], findings.study)
            if line is not None:
                yield line


def _facts(findings: Findings) -> list[str]:
    return [fact(line.figure, line.name, line.remark) for line in key_lines(findings)]


def words_of(study: Study) -> dict[str, str]:
    """What the words in braces of a caption stand for."""
    words, moves = study.game.words, study.facts.move_names
    return {
        "agent": printable(words.agent, 100),
        "agents": printable(words.agents, 100),
        "failure": printable(words.failure, 100),
        "goal": printable(words.goal, 400)
        or ("Success is what the game says it is." if study.judged else f"{NO_SUCCESS.capitalize()}: see the return."),
        "succeed": "Do they succeed?" if study.judged else "What do they gain?",
        "eot": str(study.facts.n_tokens),
        "yields": printable(moves[-1], 100),
        "stays": printable(moves[0], 100),
    }


def _guide(findings: Findings) -> str:
    """What the game is, how they talk, and how to read the page."""
    if findings.study is None:
        return ""
    words = words_of(findings.study)
    asked = "whether they succeed" if findings.study.judged else "what they gain"
    play = "" if "absent" in playable(findings) else "a game against the network, "
    says = (
        f"{words['goal']} {_how_they_talk(findings.study, words['agents'])} Below are what they say, {play}"
        f"and chapter by chapter {asked}, by which rule, and what the talk causes: each figure says how "
        "to read it and has its numbers under it, and what does not apply is named at the end with the reason."
    )
    return f"<p class=guide>{text(says)}</p>"


def _how_they_talk(study: Study, agents: str) -> str:
    """Who says what in a round, and what ends the talk: a sentence."""
    rules = study.rules or TalkRules(n_tokens=study.facts.n_tokens)
    speaks = np.ones((1, study.game.n_agents), np.bool_) if study.sample is None else study.sample.speaks
    if rules.channel == "off" or not speaks.any():
        return f"The {agents} move without a talk."
    eot, in_turn = "" if rules.closing == "fixed" else ", or EOT", rules.speaking == "sequential"
    ends = {
        "mutual": "the talk ends when all who speak say EOT in the same round",
        "any": "one EOT ends the talk",
        "fixed": "the talk lasts " + ("one round" if rules.max_rounds == 1 else f"{rules.max_rounds or 'many'} rounds"),
    }
    given = np.array([rules.n_tokens if tokens is None else tokens for tokens in study.game.tokens])
    own = np.where(speaks.any(axis=0), given, 0).tolist()
    turns = "one after the other" if in_turn else "all at once"
    if len({*own}) == 1:
        who = "everyone" if speaks.all() else "whoever may speak"
        nothing = ", which means nothing at first" if own[0] == 1 else " that mean nothing at first"
        says = f"{who} says, {turns}, {_one_of(own[0])}{nothing}{eot}"
    else:
        by_role = [(name, [own[agent] for agent in agents]) for name, agents in speakers(study.game, each_agent=False)]
        several = sum(count > 0 for count in own) > 1
        only = study.game.words.agent if len(by_role) == 1 else None
        said = listed([_role_says(only or name, tokens) for name, tokens in by_role if any(tokens)])
        says = f"{said}{f', {turns}' * several}{eot}; tokens mean nothing at first"
    talk = "talk" if rules.opening == "talk" else "may talk"
    return f"Before they move, the {agents} {talk}: in each round {says}; {ends[rules.closing]}."


def _role_says(name: str, tokens: list[int]) -> str:
    """What the agents of a role say in a round, by the tokens of each."""
    who = "the" if len(tokens) == 1 else "each"
    allowed = "" if all(tokens) else " that may speak"
    return f"{who} {printable(name, 100)}{allowed} says {_one_of(max(tokens))}"


def _one_of(tokens: int) -> str:
    return "its only token" if tokens == 1 else f"one of {tokens} tokens"


def _contents(chapters: list[tuple[str, str, str]], number: int) -> str:
    """Links to everything in the article."""
    links = [(f"said-{number}", "Dialogues"), ("play", "Play it")]
    links += [(f"run-{number}-{key}", title) for key, title, _ in chapters]
    links += [("browser", "Read them all")]
    listed = "".join(f'<a href="#{target}">{text(title)}</a>' for target, title in links)
    return f'<nav class=contents aria-label="chapters">{listed}</nav>'


MOST_COMMON = 8
"""Dialogues in the table at the top."""


def _commonest(findings: Findings, number: int) -> str:
    """The commonest dialogues, near the top of the page: one row for a dialogue and its mirror image."""
    if findings.tokens is None or findings.study is None or not findings.tokens.twins.frequent:
        return ""
    tally, words = findings.tokens.twins, words_of(findings.study)
    eot = findings.study.facts.n_tokens
    rows = [
        {"dialogue": line(f.symbols, eot), "share": f.uses / tally.dialogues}
        | ({} if f.successes is None else {"success": f.successes / f.uses})
        for f in tally.frequent[:MOST_COMMON]
    ]
    says = (
        f"The commonest dialogues of the frozen network: what each {words['agent']} says, round by round, with a dot "
        "between the rounds."
    ) + (" A dialogue and its mirror image are one row." if findings.tokens.joins_twins else "")
    body = table(pd.DataFrame(rows), "The commonest dialogues", MOST_COMMON)
    return (
        f'<section class=chapter id="said-{number}"><h3>What they say to each other</h3>'
        f"<p class=says>{text(says)}</p><div class='card said'>{body}</div></section>"
    )


def _chapters(findings: Findings, number: int) -> Iterator[tuple[str, str, str]]:
    """Key, title and HTML of each chapter that has anything in it."""
    if findings.study is None:
        return
    words = words_of(findings.study)
    for key, (title, says) in CHAPTERS.items():
        cards = [
            _card(measure, findings, findings.study, words) for measure in findings.measures if _place(measure) == key
        ]
        title = title.format(**words)
        if html := chapter(title, says.format(**words), cards, f"run-{number}-{key}"):
            yield key, title, html


def _place(measure: Measure) -> str:
    return measure.chapter if measure.chapter in CHAPTERS or not measure.chapter else "more"


def card_of(measure: Measure, findings: Findings) -> str:
    """One measure as a card; empty where it has nothing to show."""
    return _card(measure, findings, findings.study, words_of(findings.study)) if findings.study else ""


def _card(measure: Measure, findings: Findings, study: Study, words: dict[str, str]) -> str:
    """One measure; nothing where it has neither a figure, nor a table, nor a remark."""
    if measure.name not in findings.results:
        return ""
    result = findings.results[measure.name]
    figure = measure.figure(result, study) if measure.figure else None
    remark = measure.remark(result, study) if measure.remark else ""
    frames = {name: frame for name, frame in measure.tables_of(result).items() if len(frame)}
    numbers = "".join(
        table(frame, f"Table: {name.replace('_', ' ')}", measure.rows if not i else 0)
        for i, (name, frame) in enumerate(frames.items())
    )
    caption = measure.caption
    for word, value in words.items():
        caption = caption.replace("{" + word + "}", value)
    return card(measure.heading, figure, " ".join(filter(None, (caption, remark))), numbers, bool(remark), measure.wide)


def comparison_section(comparison: object) -> str:
    """Several runs beside each other; empty for one."""
    from analysis.report.run_comparison import Comparison

    if not isinstance(comparison, Comparison):
        return ""
    says = "".join(f"<p class=says>{text(group.sentence)}.</p>" for group in comparison.groups)
    if any(group.rounds for group in comparison.groups):  # a sweep knows more than a sentence holds
        caption = "The conditions, with 95 % intervals over their seeds"
        says = table(comparison.groups_frame(), caption, unfolded=len(comparison.groups))
    sentences = "".join(
        f'<li><button type="button" class="link" data-run="{i}">{text(name)}</button> {text(sentence)}</li>'
        for i, (name, sentence) in enumerate(zip(comparison.names, comparison.sentences, strict=True))
    )
    tables = comparison.tables()
    prediction = ""
    if comparison.prediction is not None and comparison.prediction.correlation == comparison.prediction.correlation:
        prediction = (
            f" Over {comparison.prediction.pairs} pairs the likeness of the vote weights predicts it with "
            f"r = {comparison.prediction.correlation:.2f}."
        )
    cards = [
        card(
            "Who can play whom",
            figures.matrix(comparison.played.rates, comparison.played.names, "second seat", "first seat", "Cross-play")
            if comparison.played
            else None,
            "Success in percent of every network with every other, rows in the first seat. A private language succeeds "
            f"on the diagonal only.{prediction}",
            table(tables["crossplay"], "Table: cross-play") if comparison.played else "",
        ),
        card(
            "How alike the protocols are",
            figures.alikeness(comparison.alike, comparison.played.names)
            if comparison.alike is not None and comparison.played is not None
            else None,
            "Cosine of the weights that the best-fitting vote gives to the symbols: 1 for the same convention, -1 for "
            "the opposite one.",
            table(tables["alike"], "Table: likeness") if "alike" in tables else "",
        ),
        card(
            "How differently they decide",
            figures.matrix(comparison.distances, comparison.played.names, "", "", "Distance between the protocols")
            if comparison.distances is not None and comparison.played is not None
            else None,
            "Distance between two protocols: in how many views of a dialogue, in percent, their likelier moves differ. "
            "The dialogues are those of all these runs; opposite conventions reach 100.",
            table(tables["distances"], "Table: distances") if "distances" in tables else "",
        ),
    ]
    notes = "".join(f"<li>{text(line)}</li>" for line in comparison.problems)
    aside = f"<aside class=problems><h3>What was missing</h3><ul>{notes}</ul></aside>" if notes else ""
    return (
        "<section class='chapter comparison' aria-label='comparison of the runs'><h3>The runs beside each other</h3>"
        f"{says}<ul class=sentences>{sentences}</ul>{aside}"
        f"<div class=cards>{''.join(cards)}</div></section>"
    )
