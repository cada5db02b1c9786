"""What a report says about causes: interventions on the network, leaks, and the course of the protocol."""

from __future__ import annotations

from analysis.causal.influence import Influence
from analysis.causal.role_leaks import WITHOUT_CONTENT
from analysis.report import figures
from analysis.report.findings import Findings
from analysis.report.html import card, chapter, shown, table, text
from analysis.report.tables import drift_frame
from envs.negotiation import Channel


def causes_chapter(found: Findings) -> str:
    """Interventions and the leak audit."""
    causes, tables = found.causes, found.causes.tables()
    numbers = {name: table(frame, f"Table: {name}") for name, frame in tables.items()}
    controls = {causes.meaning(c.channel): c.success for c in causes.controls}
    edited = {e.name: e.changed for e in causes.edits}
    cards = [
        card(
            "Controls of the channel",
            figures.rates(controls, reference=0.5),
            "The same network plays while its channel is tampered with; what it loses when it hears another dialogue "
            "is what the content does. It knows only the channel it was trained with: a told role need not help it.",
            numbers.get("controls", ""),
        ),
        card(
            "Edits of the dialogue",
            figures.rates(edited, "likelier move changes, with 95 % interval"),
            "A finished dialogue is edited and fed to the network. If swapping own and other's symbols turns each "
            "decision, it lies in who said what; if rounds can be shuffled, it does not matter when.",
            numbers.get("edits", ""),
        ),
        card(
            "Is the role given away?",
            figures.leaks(causes.leaks),
            "Nothing but the content should tell who yields. Each other source is scored on unseen dialogues; the tick "
            "marks what chance reaches (97.5 %)." + _told_by_the_end(causes.channel),
            numbers.get("leaks", ""),
        ),
    ]
    if causes.influence is not None and causes.influence.on_move == causes.influence.on_move:
        more = numbers.get("influence", "") + numbers.get("signalling", "")
        cards.append(card("Influence and signalling", None, _influence(causes.influence), more))
    return chapter(
        "What does the talk cause?", "The talk is interfered with; only the audit of leaks reads the log.", cards
    )


def _told_by_the_end(channel: Channel) -> str:
    """Whether EOT is content or a leak."""
    if channel in WITHOUT_CONTENT:
        return " Here no content is heard, but who says EOT and finds the talk going on knows that the other did not."
    return "" if channel == "off" else " Who says EOT is heard here: it is content."


def _influence(found: Influence) -> str:
    return (
        "Had a train said something else in one round, the other's next action would shift by "
        f"{found.on_next:.3f} bits and its move by {found.on_move:.3f} bits on average "
        f"({shown(found.shift_of_move, share=True)} of the probability). For a hearer that hears 0 whatever is said, "
        f"the same measure gives {abs(found.null):.3f}."
    )


def growth_card(found: Findings) -> str:
    """How many states the decision needs."""
    tables = found.causes.tables()
    return card(
        "States that the decision needs",
        figures.growth(found.causes.growth),
        "KV asks the network about dialogues up to a length and learns the smallest automaton that answers alike; "
        "states that grow with the length are the sign of a counter.",
        table(tables["growth"], "Table: states by length") if "growth" in tables else "",
    )


def drift_card(found: Findings) -> str:
    """How the protocol came about."""
    return card(
        "Drift of the protocol",
        figures.drift(found.drift),
        "In each stretch of training, twice as long as the one before: how often its own vote names the yielder, and "
        "in how many of the last dialogues it decides as the last vote does.",
        table(drift_frame(found.drift), "Table: drift") if found.drift else "",
    )


def comparison_section(found: object) -> str:
    """Several runs beside each other; empty for one."""
    from analysis.report.run_comparison import Comparison

    if not isinstance(found, Comparison):
        return ""
    says = "".join(f"<p class=says>{text(group.sentence)}.</p>" for group in found.groups)
    sentences = "".join(
        f'<li><button type="button" class="link" data-run="{i}">{text(name)}</button> {text(sentence)}</li>'
        for i, (name, sentence) in enumerate(zip(found.names, found.sentences, strict=True))
    )
    tables = found.tables()
    prediction = ""
    if found.prediction is not None and found.prediction.correlation == found.prediction.correlation:
        prediction = (
            f" Over {found.prediction.pairs} pairs the likeness of the vote weights predicts it with "
            f"r = {found.prediction.correlation:.2f}."
        )
    cards = [
        card(
            "Who can play whom",
            figures.matrix(found.played.rates, found.played.names, "second seat", "first seat", "Cross-play")
            if found.played
            else None,
            "Success in percent of every network with every other, rows in the first seat. A private language succeeds "
            f"on the diagonal only.{prediction}",
            table(tables["crossplay"], "Table: cross-play") if found.played else "",
        ),
        card(
            "How alike the protocols are",
            figures.alikeness(found.alike, found.played.names)
            if found.alike is not None and found.played is not None
            else None,
            "Cosine of the weights that the best-fitting vote gives to the symbols: 1 for the same convention, -1 for "
            "the opposite one.",
            table(tables["alike"], "Table: likeness") if "alike" in tables else "",
        ),
        card(
            "How differently they decide",
            figures.matrix(found.distances, found.played.names, "", "", "Distance between the protocols")
            if found.distances is not None and found.played is not None
            else None,
            "Distance between two protocols: in how many views of a dialogue, in percent, their likelier moves differ. "
            "The dialogues are those of all these runs; opposite conventions reach 100.",
            table(tables["distances"], "Table: distances") if "distances" in tables else "",
        ),
    ]
    notes = "".join(f"<li>{text(line)}</li>" for line in found.problems)
    aside = f"<aside class=problems><h3>What was missing</h3><ul>{notes}</ul></aside>" if notes else ""
    return (
        "<section class='chapter comparison' aria-label='comparison of the runs'><h3>The runs beside each other</h3>"
        f"{says}<ul class=sentences>{sentences}</ul>{aside}"
        f"<div class=cards>{''.join(cards)}</div></section>"
    )
