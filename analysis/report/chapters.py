"""What a report says about one run: key figures, then chapters, each measure explained in one sentence."""

from __future__ import annotations

from analysis.report import figures
from analysis.report.cause_chapters import causes_chapter, drift_card, growth_card
from analysis.report.findings import Findings
from analysis.report.html import card, chapter, fact, shown, table, text
from analysis.report.tables import explanation_frame, flow_frame

VERDICTS = {
    "explained": "explained: it predicts, it holds on random dialogues, and it plays like the network",
    "describes": "described, not explained: it predicts, but not all tests of a cause were passed or possible",
    "none": "no rule found",
}


def run_section(found: Findings, number: int) -> str:
    """One run, from the sentence down to the tables."""
    verdict = found.explanation.verdict if found.explanation else "none"
    chapters = (_success(found), _mechanism(found), causes_chapter(found), _decision(found), _tokens(found))
    return (
        f'<article class=run id="run-{number}" data-run="{number}" aria-label="run {text(found.name)}">'
        f"<header class=hero><p class=eyebrow>run <b>{text(found.name)}</b> {_setting(found)}</p>"
        f"<h2>{text(found.sentence)}</h2>"
        f'<p class="verdict {verdict}">{VERDICTS[verdict]}</p></header>'
        f"{_problems(found)}<dl class=facts>{''.join(_facts(found))}</dl>{''.join(chapters)}</article>"
    )


def _setting(found: Findings) -> str:
    config = found.run.config or {}
    rules = config.get("rules")
    parts = [config.get("env")]
    if isinstance(rules, dict) and "channel" in rules:
        parts.append(f"channel {rules['channel']}")
    if "seed" in config:
        parts.append(f"seed {config['seed']}")
    if found.training is not None:
        parts.append(f"{shown(found.training.overall.trials)} dialogues of training")
    return "".join(f" · {text(part)}" for part in parts if part)


def _problems(found: Findings) -> str:
    if not found.problems:
        return ""
    lines = "".join(f"<li>{text(line)}</li>" for line in found.problems)
    return f"<aside class=problems><h3>What was missing</h3><ul>{lines}</ul></aside>"


def _facts(found: Findings) -> list[str]:
    """The key figures."""
    facts = []
    if found.success is not None:
        rate = found.success.overall
        says = f"of {shown(rate.trials)} dialogues of the frozen policy, 95 % interval "
        says += f"{100 * rate.low:.2f} to {100 * rate.high:.2f} %"
        facts.append(fact(shown(rate.value, share=True), "success", says))
    foreign = next((c for c in found.causes.controls if c.channel == "shuffled"), None)
    if foreign is not None:
        facts.append(
            fact(shown(foreign.success.value, share=True), "without content", "when it hears another dialogue")
        )
    if found.success is not None:
        facts.append(fact(f"{found.success.mean_rounds:.2f}", "rounds", "of talk on average, the closing one included"))
    if found.information is not None and found.information.trusted and len(found.information.bits):
        bits = found.information.bits
        says = f"of the one bit “who yields” is told by round 1, {bits[-1]:.2f} by the end"
        facts.append(fact(f"{bits[0]:.2f} bit", "after round 1", says))
    if found.tokens is not None and found.tokens.dialogues.dialogues:
        distinct = found.tokens.dialogues
        says = f"{shown(distinct.distinct_share, share=True)} of all that were held"
        facts.append(fact(shown(distinct.distinct), "different dialogues", says))
    best = found.explanation.best if found.explanation else None
    if best is not None and best.accuracy.trials:
        says = "of the yielders in unseen dialogues are named by this rule"
        facts.append(fact(shown(best.accuracy.value, share=True), best.method, says))
    return facts


def crossing(found: Findings) -> bool:
    """Whether the game is that of the two trains."""
    return found.run.facts is not None and found.run.facts.move_names == ("main", "detour")


def _success(found: Findings) -> str:
    cards = []
    if found.training is not None:
        says = (
            "Each point is a stretch of training, the band its 95 % Wilson interval; the dashed line is the best that "
            "identical trains reach without talk."
        )
        numbers = table(found.training.course_frame(), "Table: course of training")
        cards.append(
            card("Course of training", figures.course(found.training, 0.5 if crossing(found) else None), says, numbers)
        )
    if found.success is not None:
        says = "How often the trains part after dialogues of each length, with frozen weights."
        numbers = table(found.success.to_frame(), "Table: success by length")
        cards.append(card("Success by length", figures.by_rounds(found.success), says, numbers))
        says = (
            "Every failure by the first cause that fits. A tie: nothing had told the trains apart. A slip: the most "
            "probable moves would have been right. A misreading: even those were wrong."
        )
        numbers = table(found.success.failures_frame(), "Table: failures by kind")
        cards.append(card("Why it failed", figures.failures(found.success), says, numbers))
    cards.append(drift_card(found))
    return chapter("Do they succeed?", "Trains part when one takes the main line and the other the detour.", cards)


def _mechanism(found: Findings) -> str:
    explanation = found.explanation
    if explanation is None or not explanation.competitors:
        return ""
    dialogues = found.excerpts[0].table if found.excerpts else None
    competition = (
        "Each rule or machine is fitted on one half of the dialogues and scored on the other; one that merely "
        "correlates fails on random dialogues, or when it has to play."
    )
    machine = (
        "A circle is what a train remembers, seen from that train, its size how often it is there; arrows are rounds "
        "of talk, thicker where more dialogues pass. Orange states yield, blue ones take the main line."
    )
    vote = "Each symbol that a train says adds its weight; the train with the larger sum yields: it takes the detour."
    traffic = flow_frame(explanation, dialogues)
    cards = [
        card(
            "Explanations in competition",
            figures.explanations(explanation),
            competition,
            table(explanation_frame(explanation), "Table: explanations"),
        ),
        card("Weights of the vote", figures.weights(explanation), vote),
        card(
            "The protocol as a machine",
            figures.protocol_graph(explanation, dialogues),
            machine,
            table(traffic, "Table: traffic between the states") if len(traffic) else "",
        ),
        growth_card(found),
    ]
    return chapter("How does it work?", "Which rule turns a dialogue into a decision, and does it play alike?", cards)


def _decision(found: Findings) -> str:
    information, tokens = found.information, found.tokens
    cards = []
    if information is not None and information.trusted:
        says = (
            "A predictor guesses who yields in dialogues that it has not met. The bits are a lower bound on what the "
            "talk tells; the dashed line is what it finds where there is nothing to find."
        )
        numbers = table(information.to_frame(), "Table: information by round")
        cards.append(card("Information by round", figures.bits_by_round(information), says, numbers))
    elif information is not None:
        cards.append(f"<p class=refused>Information by round is not shown: {text(information.why)}.</p>")
    if tokens is not None:
        says = "A dialogue ends when all say EOT in the same round, or when it is cut."
        numbers = table(tokens.length_frame(), "Table: lengths")
        cards.append(card("Length of the dialogues", figures.lengths(tokens), says, numbers))
    says = "Who yields is one bit: how much of it has the dialogue told by then, and how long do they go on?"
    return chapter("When is it decided?", says, cards)


def _tokens(found: Findings) -> str:
    tokens = found.tokens
    if tokens is None:
        return ""
    frequent, fit = tokens.dialogue_frame(), tokens.zipf["tokens"]
    by_role = "How often those who then take each move say each symbol: a hint at meaning, not a proof."
    by_round = "Percent of the symbols said in each round; EOT closes a dialogue when all say it at once."
    rank = (
        "In natural languages the share falls with the rank to the power -1 (Zipf's law); here the exponent is "
        f"{shown(fit.exponent)} and the largest gap to the fitted law {shown(fit.distance)}."
    )
    talk = "As in the talk's table: what each train says, round by round, a dot between the rounds."
    positions, roles = tokens.position_frame(), tokens.frequency_frame()
    numbers = (
        table(tokens.rank_frame(), "Table: ranks")
        + table(tokens.zipf_frame(), "Table: Zipf fits")
        + table(tokens.entropy_frame(), "Table: entropies (bits)")
    )
    cards = [
        card("Symbols by role", figures.symbols_by_role(tokens), by_role, table(roles, "Table: frequencies")),
        card("Symbols by round", figures.symbols_by_round(tokens), by_round, table(positions, "Table: positions")),
        card("Rank and frequency", figures.rank_frequency(tokens), rank, numbers),
        card("Most frequent dialogues", None, talk, table(frequent.head(12), "The twelve commonest", unfolded=True)),
    ]
    return chapter("What do they say?", "The look of the language; it does not show what the talk does.", cards)
