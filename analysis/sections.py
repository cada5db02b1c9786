"""What a report says about one run: key figures, then chapters, each measure explained in one sentence."""

from __future__ import annotations

from analysis import figures
from analysis.cause_sections import causes_chapter, drift_chapter
from analysis.frames import explanation_frame
from analysis.markup import card, chapter, fact, shown, table, text
from analysis.study import Findings

VERDICTS = {
    "explained": "explained: it predicts, it holds on random dialogues, and it plays like the network",
    "describes": "described, not explained: it predicts, but not all tests of a cause were passed or possible",
    "none": "no rule found",
}


def run_section(found: Findings, number: int) -> str:
    """One run, from the sentence down to the tables."""
    verdict = found.explanation.verdict if found.explanation else "none"
    return (
        f'<article class=run id="run-{number}" data-run="{number}" aria-label="run {text(found.name)}">'
        f"<header class=hero><p class=eyebrow>run <b>{text(found.name)}</b> {_setting(found)}</p>"
        f"<h2>{text(found.sentence)}</h2>"
        f'<p class="verdict {verdict}">{VERDICTS[verdict]}</p></header>'
        f"{_problems(found)}<dl class=facts>{_facts(found)}</dl>"
        f"{_success(found)}{_mechanism(found)}{causes_chapter(found)}{_information(found)}{_tokens(found)}{drift_chapter(found)}</article>"
    )


def _setting(found: Findings) -> str:
    config = found.run.config or {}
    rules = config.get("rules") if isinstance(config.get("rules"), dict) else {}
    parts = [config.get("env"), f"channel {rules['channel']}" if rules and "channel" in rules else None]
    parts += [f"seed {config['seed']}" if "seed" in config else None]
    if found.training is not None:
        parts.append(f"{shown(found.training.overall.trials)} dialogues of training")
    return "".join(f" · {text(part)}" for part in parts if part)


def _problems(found: Findings) -> str:
    if not found.problems:
        return ""
    lines = "".join(f"<li>{text(line)}</li>" for line in found.problems)
    return (
        f"<aside class=problems aria-label='what could not be done'><h3>What was missing</h3><ul>{lines}</ul></aside>"
    )


def _facts(found: Findings) -> str:
    facts = []
    if found.success is not None:
        rate = found.success.overall
        facts.append(
            fact(
                shown(rate.value, share=True), "success",
                f"of {shown(rate.trials)} dialogues of the frozen policy; 95 % interval {100 * rate.low:.2f} to {100 * rate.high:.2f} %",
            )
        )  # fmt: skip
        facts.append(fact(f"{found.success.mean_rounds:.2f}", "rounds", "of talk on average, the closing one included"))
    if found.information is not None and found.information.trusted and len(found.information.bits):
        bits = found.information.bits
        facts.append(
            fact(f"{bits[0]:.2f} bit", "known after round 1", f"of the one bit “who yields”; {bits[-1]:.2f} in the end")
        )
    if found.tokens is not None and found.tokens.dialogues.dialogues:
        distinct = found.tokens.dialogues
        facts.append(
            fact(
                shown(distinct.distinct),
                "different dialogues",
                f"{shown(distinct.distinct_share, share=True)} of all that were held",
            )
        )
    if found.explanation is not None and found.explanation.best is not None:
        best = found.explanation.best
        if best.accuracy.trials:
            facts.append(
                fact(
                    shown(best.accuracy.value, share=True),
                    best.method,
                    "of the yielders in unseen dialogues named by this rule",
                )
            )
    return "".join(facts)


def _success(found: Findings) -> str:
    cards = []
    if found.training is not None:
        cards.append(
            card(
                "Course of training", figures.course(found.training),
                "Each point is a stretch of training; the band is the 95 % Wilson interval, and the dashed line is "
                "the best that identical trains reach without talk.",
                table(found.training.course_frame(), "Table: course of training"),
            )
        )  # fmt: skip
    if found.success is not None:
        cards.append(
            card(
                "Success by length", figures.by_rounds(found.success),
                "How often the trains part after dialogues of each length, with frozen weights.",
                table(found.success.to_frame(), "Table: success by length"),
            )
        )  # fmt: skip
        failed = found.success.failures_frame()
        cards.append(
            card(
                "Why it failed", figures.failures(found.success),
                "Every failure by the first cause that fits: a tie means that nothing had told the trains apart, a slip that "
                "the most probable moves would have been right, a misreading that even those were wrong.",
                table(failed, "Table: failures by kind"),
            )
        )  # fmt: skip
    return chapter("Do they succeed?", "Two trains part when one takes the main line and the other the detour.", cards)


def _mechanism(found: Findings) -> str:
    explanation = found.explanation
    if explanation is None or not explanation.competitors:
        return ""
    graph = figures.protocol_graph(explanation, found.excerpts[0].table if found.excerpts else None)
    cards = [
        card(
            "Explanations in competition", figures.explanations(explanation),
            "Each rule or machine is fitted on one half of the dialogues and scored on the other; a rule that merely "
            "correlates fails on random dialogues or when it has to play.",
            table(explanation_frame(explanation), "Table: explanations"),
        ),
        card(
            "Weights of the vote", figures.weights(explanation),
            "Each symbol that a train says adds its weight; the train with the larger sum yields, that is, takes the detour.",
        ),
        card(
            "The protocol as a machine", graph,
            "A circle is what a train remembers, seen from that train, and its size how often it is there; arrows are rounds "
            "of talk, thicker where more dialogues pass. Orange states yield, blue ones take the main line.",
        ),
    ]  # fmt: skip
    return chapter(
        "How does it work?", "Which rule turns a dialogue into a decision, and does it play like the network?", cards
    )


def _information(found: Findings) -> str:
    information = found.information
    if information is None:
        return ""
    if not information.trusted:
        return chapter(
            "When is it decided?", "",
            [f"<p class=refused>Not shown: {text(information.why)}.</p>"],
        )  # fmt: skip
    return chapter(
        "When is it decided?",
        "Who yields is one bit; these are the parts of it that the dialogue has given away by then.",
        [
            card(
                "Information by round", figures.bits_by_round(information),
                "A predictor guesses who yields in dialogues that it has not met; the bits are a lower bound on what the "
                "talk tells, and the dashed line is what it finds where there is nothing to find.",
                table(information.to_frame(), "Table: information by round"),
            )
        ],
    )  # fmt: skip


def _tokens(found: Findings) -> str:
    tokens = found.tokens
    if tokens is None:
        return ""
    frequent = tokens.dialogue_frame()
    cards = [
        card(
            "Symbols by role", figures.symbols_by_role(tokens),
            "How often those who then take each move say each symbol; a difference is a hint at meaning, not a proof.",
            table(tokens.frequency_frame(), "Table: frequencies"),
        ),
        card(
            "Symbols by round", figures.symbols_by_round(tokens),
            "Percent of the symbols said in each round; EOT closes a dialogue when both say it.",
            table(tokens.position_frame(), "Table: positions"),
        ),
        card(
            "Length of the dialogues", figures.lengths(tokens),
            "A dialogue ends when both trains say EOT in the same round, or when it is cut.",
            table(tokens.length_frame(), "Table: lengths"),
        ),
        card(
            "Rank and frequency", figures.rank_frequency(tokens),
            f"In natural languages the share falls as rank to the power -1 (Zipf's law); here the exponent is "
            f"{tokens.zipf['tokens'].exponent:.2f} and the largest gap to the law {tokens.zipf['tokens'].distance:.2f}.",
            table(tokens.rank_frame(), "Table: ranks") + table(tokens.entropy_frame(), "Table: entropies"),
        ),
        card(
            "Most frequent dialogues", None,
            "As in the talk's table: the symbols of train A and B in each round, rounds separated by a dot.",
            table(frequent, "Table: most frequent dialogues") if len(frequent) else "",
        ),
    ]  # fmt: skip
    return chapter("What do they say?", "The look of the language; it does not show what the talk does.", cards)
