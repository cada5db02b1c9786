"""What does the talk cause? Interventions on the network; only the audit of leaks reads the log."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.causal.influence import Influence
from analysis.causal.listening import Listening
from analysis.causal.listening import to_frame as listening_frame
from analysis.causal.role_leaks import Leak, role_leaks
from analysis.causal.summary import Causes
from analysis.report import figures
from analysis.report.html import shown
from analysis.report.measure import DIALOGUES, NETWORK, PLAYABLE, WHO_YIELDS, Line, Measure
from analysis.report.study import Study
from envs.channels import CHANNELS


def _tables(name: str) -> Any:
    """The tables of `Causes` that one result is behind."""
    return lambda result: Causes(**{name: result}).tables()


def _controls(study: Study) -> Any:
    from analysis.causal.channel_controls import channel_controls

    assert study.trained is not None
    policy, config = study.trained.policy, study.trained.config
    own = () if config.rules.channel in CHANNELS else (config.rules.channel,)
    return channel_controls(policy, config, _games(study), (*own, *CHANNELS))


FEWEST_GAMES = 500


def _games(study: Study) -> int:
    """How many games each control plays: fewer where a game has many joint moves, but never fewer than 500."""
    moves = study.success.dialogues / max(study.success.episodes, 1)
    return max(min(FEWEST_GAMES, study.depth.games), round(study.depth.games / moves)) if moves else study.depth.games


def _control_line(result: Any, study: Study) -> Line | None:
    control = next((c for c in result if c.channel == "shuffled"), None)
    if control is None:
        return None
    if control.success is None:
        figure, _, interval = str(control.returned).partition(" ")
        return Line("shuffled channel", figure, f"{interval} mean return with messages of other games")
    says = f"success with messages of other games; mean return {control.returned}"
    return Line("shuffled channel", shown(control.success.value, share=True), says)


def _control_figure(result: Any) -> str | None:
    named = {c.channel + (" (as trained)" if c.as_trained else ""): c for c in result}
    if any(c.success is None for c in result):
        return figures.means({name: c.returned for name, c in named.items()})
    return figures.rates({name: c.success for name, c in named.items()})


CONTROLS = Measure(
    "controls",
    _controls,
    "Controls of the channel",
    "The same network plays while its channel is changed. What it loses with messages of other games (shuffled) is "
    "what the content does.",
    chapter="causes",
    needs=(NETWORK, PLAYABLE),
    tables=lambda result: Causes(controls=result).tables(),
    figure=lambda result, study: _control_figure(result),
    remark=lambda result, study: (
        "" if study.run.channel == "oracle" else "Not retrained, so oracle is no upper bound here."
    ),
    line=_control_line,
    in_json=False,  # among the causes
)


def _edits(study: Study) -> Any:
    from analysis.causal.dialogue_edits import edits

    assert study.trained is not None
    return edits(study.trained.policy, study.trained.config.rules, study.spoken, situation=study.situation)


EDITS = Measure(
    "edits",
    _edits,
    "Edits of the dialogue",
    "A finished dialogue is edited and replayed to the network; counted are dialogues that the edit changes, and moves "
    "of {agents} with a choice. If swapping the symbols of two {agents} reverses the decision, it depends on who said "
    "what. If shuffling the rounds changes nothing, their order does not matter.",
    chapter="causes",
    needs=(DIALOGUES, NETWORK),
    tables=_tables("edits"),
    figure=lambda result, study: figures.rates(
        {e.name: e.changed for e in result}, "likelier move changes,\nwith 95 % interval"
    ),
    in_json=False,  # among the causes
)


def _influence(study: Study) -> Any:
    from analysis.causal.influence import influence

    assert study.trained is not None
    return influence(study.trained.policy, study.trained.config.rules, study.spoken, situation=study.situation)


def _influence_says(result: Influence, study: Study) -> str:
    if result.on_next != result.on_next:
        return "Nobody hears anything that could be another: there is nothing to replace."
    agent = study.game.words.agent
    next_action = (
        f"Had one {agent} said something else in one round, the next action of the others would shift by "
        f"{result.on_next:.3f} bits"
    )
    if result.on_move != result.on_move:
        return f"{next_action} on average. None of them has a choice of moves in these dialogues."
    return (
        f"{next_action} and their move by {result.on_move:.3f} bits on average "
        f"({shown(result.shift_of_move, share=True)} of the probability). For a network that hears 0 whatever is said, "
        f"the same measure gives {abs(result.null):.3f}."
    )


INFLUENCE = Measure(
    "influence",
    _influence,
    "Influence",
    "How much one symbol changes what the other says or does next: the symbol is replaced, and nothing else (Jaques et "
    "al. 2019). Each replacement weighs as likely as its speaker is to say it: of one that is sure of what it says "
    "this is near 0, however much it is heeded.",
    chapter="causes",
    needs=(DIALOGUES, NETWORK),
    tables=_tables("influence"),
    remark=_influence_says,
    in_json=False,  # among the causes
)


def _signalling(study: Study) -> Any:
    from analysis.causal.influence import positive_signalling

    assert study.trained is not None
    return positive_signalling(study.trained.policy, study.trained.config.rules, study.spoken, study.situation)


SIGNALLING = Measure(
    "signalling",
    _signalling,
    "Positive signalling",
    "Bits of what each {agent} says that depend on what it sees of the game and of the talk so far, its own words too, "
    "round by round (Lowe et al. 2019). The null is the same network made blind and deaf.",
    chapter="causes",
    needs=(DIALOGUES, NETWORK),
    tables=_tables("signalling"),
    in_json=False,  # among the causes
)


def _listening(study: Study) -> tuple[Listening, ...]:
    from analysis.causal.listening import listening

    assert study.trained is not None
    return listening(study.trained.policy, study.trained.config.rules, study.spoken, study.situation)


LISTENING = Measure(
    "listening",
    _listening,
    "Positive listening",
    "How far the talk decides a move, all else equal: each hearer moves again after the talk of other dialogues "
    "(causal influence of communication; Lowe et al. 2019). The null is the same network made deaf.",
    chapter="causes",
    needs=(DIALOGUES, NETWORK),
    tables=lambda result: {"listening": listening_frame(result)},
    remark=lambda result, study: " ".join(
        f"Of the {one.hearer}'s move the talk decides more than this: too few foreign talks were put to it."
        for one in result
        if not one.enough
    ),
    line=lambda result, study: Line(
        "bits heeded",
        f"{result[0].bits:.2f}",
        ("at least, " * (not result[0].enough)) + f"of the {result[0].hearer}'s move, decided by what it hears",
    ),
    rows=8,
    wide=True,
)


def _leaks(study: Study) -> tuple[Leak, ...]:
    assert study.sample is not None
    sample = study.sample.drawn(study.depth.dialogues, np.random.default_rng(1))
    return role_leaks(sample, study.facts.n_tokens, study.run.channel)


def _leak_line(result: tuple[Leak, ...], study: Study) -> Line | None:
    if not result:
        return None
    names = ", ".join(leak.source for leak in result if leak.leaks)
    return Line("role leaks", names or "none", "what tells who yields besides the content")


def _end_says(result: tuple[Leak, ...], study: Study) -> str:
    """Whether EOT is content or a leak."""
    channel = CHANNELS.get(study.run.channel)
    if channel is None:
        return f"Whether EOT is heard over {study.run.channel} is not known here."
    if not channel.talk:
        return ""
    if any(leak.source == "end" for leak in result):
        return "Here no content is heard, but who says EOT and finds the talk going on knows that the other did not."
    return "Who says EOT is heard here: it is content."


LEAKS = Measure(
    "leaks",
    _leaks,
    "Is the role given away?",
    "Nothing but the content should tell who yields. Each other source is scored on held-out dialogues; the tick marks "
    "what chance reaches (97.5 %).",
    chapter="causes",
    needs=(DIALOGUES, WHO_YIELDS),
    tables=_tables("leaks"),
    figure=lambda result, study: figures.leaks(result),
    remark=_end_says,
    line=_leak_line,
    in_json=False,  # among the causes
)
