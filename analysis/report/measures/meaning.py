"""What does it mean? What agents know privately, and how the talk tells it; all of it is read from the log."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from analysis.data.decisions import NotApplicable
from analysis.data.utterances import FEWEST, Utterances, that_know
from analysis.metrics import form_meaning, lexicon, speaker_consistency, symbol_information, told_capacity
from analysis.metrics.context_independence import independence_of
from analysis.metrics.disentanglement import disentanglement_of
from analysis.metrics.form_meaning import Dictionary, dictionary
from analysis.metrics.resampling import Estimate
from analysis.metrics.speaker_consistency import Consistency
from analysis.metrics.symbol_information import SymbolBits
from analysis.metrics.told_capacity import Capacity
from analysis.metrics.topographic_similarity import similarity_of
from analysis.metrics.unseen_meanings import KINDS, Generalisation, generalisation, what_is_new
from analysis.report import figures, meaning_figures
from analysis.report.html import shown
from analysis.report.measure import ATTRIBUTES, DIALOGUES, Line, Measure
from analysis.report.study import Study
from emcomm.dialogues import DialogueTable
from envs.channels import SILENT
from envs.game import Ints

KNOWN = (DIALOGUES, ATTRIBUTES)
"""What a measure of meaning needs."""

ONE_EACH = " Of an episode with several dialogues one is drawn."
"""What lasts the whole episode counts once."""

T = TypeVar("T")
Scores = dict[str, dict[str, Estimate]]
"""By speaker and name."""


class Lexicon(NamedTuple):
    """What is said for which meaning."""

    entries: tuple[lexicon.Entry, ...]
    rounds: tuple[lexicon.Cell, ...]


def _speakers(study: Study, attributes: int = 1) -> tuple[Utterances, ...]:
    return that_know(study.utterances, attributes)


def _of_each(study: Study, of: Callable[[Utterances], T], attributes: int = 1) -> dict[str, T]:
    """What a measure makes of each speaker that says enough, by name; raises NotApplicable where none does."""
    found, refused = {}, []
    for said in _speakers(study, attributes):
        try:
            found[said.speaker] = of(said)
        except NotApplicable as error:
            refused.append(error)
    if not found:
        raise refused[0]
    return found


def _left_out(study: Study, there: Collection[str], attributes: int = 1) -> list[str]:
    every = [said.speaker for said in _speakers(study, attributes)]
    return [f"The {name} is left out: it says too little for a figure." for name in every if name not in there]


def _notes(study: Study) -> list[str]:
    """What is said in rounds that are not looked at, and that several networks are taken as one speaker."""
    networks = (study.run.settings or {}).get("population", 1)
    pooled = [f"The languages of {networks} networks are taken as one."] if networks > 1 else []
    return pooled + [
        f"Of the {said.speaker}'s messages only the first {said.symbols.shape[1]} rounds are looked at: "
        f"{shown(said.longer, share=True)} go on."
        for said in _speakers(study)
        if said.longer
    ]


def _lexicon(study: Study) -> Lexicon:
    knowing = _speakers(study)
    return Lexicon(
        tuple(entry for said in knowing for entry in lexicon.lexicon(said)),
        tuple(cell for said in knowing for cell in lexicon.by_round(said)),
    )


def _lexicon_says(result: Lexicon, study: Study) -> str:
    lines = []
    for speaker in dict.fromkeys(entry.speaker for entry in result.entries):
        own = [entry for entry in result.entries if entry.speaker == speaker]
        uses = sum(entry.said.trials for entry in own)
        faithful = sum(entry.said.successes for entry in own) / uses
        messages = len({entry.message for entry in own})
        lines.append(
            f"Commonest messages of the {speaker}: {messages} different for "
            f"{'the commonest ' * (len(own) >= lexicon.MOST_ENTRIES)}{len(own)} meanings, said in "
            f"{shown(faithful, share=True)} of the dialogues."
        )
        if unsettled := sum(not entry.settled for entry in own):
            lines.append(
                f"For {unsettled} of the {len(own)} it is not settled which message is the commonest: there the shares "
                "are too high."
            )
    return " ".join([*lines, *_notes(study)])


LEXICON = Measure(
    "lexicon",
    _lexicon,
    "Lexicon",
    "What is said for which meaning. Figure: the commonest symbol of each round, the darker the more often it is said "
    "(a dash: the talk is over). Table: the commonest message of each meaning, how often it is said for it (with 95 % "
    "interval), the second commonest, and which share of all uses of that message this meaning has. The figure has "
    f"at most {meaning_figures.MOST_VALUES} rows and {meaning_figures.MOST_ROUNDS} rounds, the table the "
    f"{lexicon.MOST_ENTRIES} commonest meanings of a speaker."
    + ONE_EACH,
    chapter="meaning",
    needs=KNOWN,
    tables=lambda result: {
        "lexicon": lexicon.entry_frame(result.entries), "lexicon_by_round": lexicon.cell_frame(result.rounds),
    },
    figure=lambda result, study: meaning_figures.lexicon(result.rounds),
    remark=_lexicon_says,
    rows=24,
    wide=True,
    in_json=False,
)  # fmt: skip


def _symbols(study: Study) -> tuple[SymbolBits, ...]:
    found = tuple(
        bits for said in _speakers(study) for bits in symbol_information.symbol_information(said, nulls=_nulls(study))
    )
    if not found:
        raise NotApplicable("no round has symbols in enough dialogues")
    return found


def _nulls(study: Study) -> int:
    """Permutations that are cheap, since no network is asked: one more than decides at 5 and at 1 percent."""
    return 39 if study.depth.cautious else 99


SYMBOLS = Measure(
    "symbol_meaning",
    _symbols,
    "What each round tells",
    "Percent of each attribute that the symbol of one round tells: mutual information over the entropy of the "
    "attribute, less what chance would give: of noise about 0." + ONE_EACH,
    chapter="meaning",
    needs=KNOWN,
    tables=lambda result: {"symbol_meaning": symbol_information.to_frame(result)},
    figure=lambda result, study: meaning_figures.told_by_round(result),
    in_json=False,
)


def _capacity(study: Study) -> tuple[Capacity, ...]:
    every = study.utterances
    agents = int(sum(len(np.unique(said.agent[(said.symbols != SILENT).any(axis=1)])) for said in every))
    rules = study.rules
    longest = rules.max_rounds if rules else None
    silence, fixed = (rules.opening == "free", rules.closing == "fixed") if rules else (False, False)
    found = _of_each(study, lambda said: told_capacity.capacity(said, agents == 1, longest, silence, fixed))
    return tuple(found.values())


def _capacity_line(result: tuple[Capacity, ...], study: Study) -> Line:
    one = max(result, key=lambda c: c.of_meanings)
    says = f"of {one.of_meanings:.2f} that the {one.speaker} knows; its symbols could tell {one.of_symbols:.2f}"
    return Line("bits told", f"{max(one.told, 0):.2f}", says)


def _capacity_says(result: tuple[Capacity, ...], study: Study) -> str:
    lines = []
    for c in result:
        if not c.enough:
            lines.append(
                f"{c.utterances:,} dialogues are few for all that the {c.speaker} may know: its {c.of_meanings:.2f} "
                "bits are an estimate, and may be too low."
            )
        if c.of_symbols < c.of_meanings - 0.01:
            lines.append(
                f"In {c.rounds} round{'s' * (c.rounds != 1)} the {c.speaker} cannot tell all it knows: "
                f"{c.of_symbols:.2f} of {c.of_meanings:.2f} bits at most."
            )
        if c.least_rounds == c.least_rounds:
            lines.append(
                f"To tell everything takes the {c.speaker} {c.least_rounds:.2f} rounds on average at least; the talk "
                f"has {c.mean_rounds:.2f}."
            )
    return " ".join([*lines, *_left_out(study, [c.speaker for c in result]), *_notes(study)])


CAPACITY = Measure(
    "capacity",
    _capacity,
    "Bits told, and what could be told",
    "How much a whole message tells of what its speaker knows: a lower bound, from a predictor scored on others. "
    "Beside it the entropy of what is known, and log2 of the number of messages in the rounds used." + ONE_EACH,
    chapter="meaning",
    needs=KNOWN,
    tables=lambda result: {"capacity": told_capacity.to_frame(result)},
    figure=lambda result, study: meaning_figures.capacity(result),
    remark=_capacity_says,
    line=_capacity_line,
    in_json=False,
)


def _units(study: Study) -> tuple[Dictionary, ...]:
    return tuple(dictionary(said) for said in _speakers(study))


def _units_say(result: tuple[Dictionary, ...], study: Study) -> str:
    lines = []
    for d in result:
        if d.units:
            lines.append(
                f"Of the {d.speaker}, {len(d.units)} unit{'s' * (len(d.units) != 1)} explain "
                f"{shown(d.symbols.value, share=True)} of the tokens and express {shown(d.meanings.value, share=True)} "
                "of what is known."
            )
        else:
            lines.append(
                f"No string of the {d.speaker}'s symbols that was looked at has one meaning in half of its uses, and "
                "that beyond chance."
            )
        if not d.complete and min(d.symbols.value, d.meanings.value) < 1:
            lines.append(
                f"There may be more: looked at are up to {form_meaning.LONGEST} neighbouring symbols and up to "
                f"{form_meaning.TOGETHER} attributes together, and of very many the commonest."
            )
    return " ".join([*lines, *_notes(study)])


UNITS = Measure(
    "units",
    _units,
    "Form-meaning units",
    "Strings of symbols and what they mean (after Boldt and Mortensen 2025): the pair that shares most is taken out, "
    "and so on, until chance does as well. Share: how often the form has that meaning in held-out dialogues; share "
    "said so: how often the meaning is said by that form there." + ONE_EACH,
    chapter="meaning",
    needs=KNOWN,
    tables=lambda result: {
        "units": pd.concat([d.to_frame() for d in result], ignore_index=True),
        "coverage": pd.DataFrame(
            [(d.speaker, len(d.units), *_rate(d.symbols), *_rate(d.meanings), d.null_bits) for d in result],
            columns=[
                "speaker",
                "units",
                "share_of_tokens",
                "low",
                "high",
                "share_of_meanings",
                "share_of_meanings_low",
                "share_of_meanings_high",
                "null_bits",
            ],
        ),
    },
    remark=_units_say,
    rows=12,
    in_json=False,
)


def _rate(rate: Any) -> tuple[float, float, float]:
    return rate.value, rate.low, rate.high


def _scored(of: Callable[..., Mapping[str, Estimate]], attributes: int, alike: str) -> Callable[[Study], Scores]:
    """The scores of each speaker; where there are none, all is `alike`."""

    def compute(study: Study) -> Scores:
        thin = {"replicates": 60, "nulls": 39} if study.depth.cautious else {}
        scores = _of_each(study, lambda said: dict(of(said, **thin)), attributes)
        if all(np.isnan(one.value) for each in scores.values() for one in each.values()):
            raise NotApplicable(alike)
        return scores

    return compute


def _scores_say(attributes: int) -> Callable[[Scores, Study], str]:
    return lambda result, study: " ".join([*_left_out(study, result, attributes), *_notes(study)])


def _score_frame(name: str) -> Callable[[Scores], dict[str, pd.DataFrame]]:
    def tables(result: Scores) -> dict[str, pd.DataFrame]:
        rows = [(speaker, which, *one) for speaker, each in result.items() for which, one in each.items()]
        columns = ["speaker", "measure", "value", "lower", "upper", "null", "p_value"]
        return {name: pd.DataFrame(rows, columns=columns)}

    return tables


def _score_figure(result: Scores, study: Study) -> str | None:
    several = len(result) > 1
    return meaning_figures.estimates({
        f"{speaker}: {which}" if several else which: one
        for speaker, each in result.items()
        for which, one in each.items()
    })  # fmt: skip


SIMILARITY = Measure(
    "topographic_similarity",
    _scored(similarity_of, 2, "the commonest message is the same for all meanings"),
    "Topographic similarity",
    "Do like meanings have like messages? Spearman correlation of the share of attributes that differ and three "
    "distances of messages (Brighton and Kirby 2006). The tick is what messages given out at random reach (97.5 %)."
    + ONE_EACH,
    chapter="meaning",
    needs=KNOWN,
    tables=_score_frame("topographic_similarity"),
    figure=_score_figure,
    remark=_scores_say(2),
    in_json=False,
)
DISENTANGLEMENT = Measure(
    "disentanglement",
    _scored(disentanglement_of, 2, "all messages are alike"),
    "Disentanglement",
    "Does each position (posdis) or each token (bosdis) stand for one attribute? 1 where it does (Chaabouni et al. "
    "2020); less what chance adds where values are many for the dialogues." + ONE_EACH,
    chapter="meaning",
    needs=KNOWN,
    tables=_score_frame("disentanglement"),
    figure=_score_figure,
    remark=_scores_say(2),
    in_json=False,
)
INDEPENDENCE = Measure(
    "context_independence",
    _scored(
        lambda said, **options: {"context independence": independence_of(said, **options)}, 1, "nobody says a token"
    ),
    "Context independence",
    "Has each value of each attribute a token of its own, in whatever round? 1 where it has (Bogin et al. 2018). The "
    "tick is what permuted meanings reach (97.5 %); the interval of what does not pass it reaches down to 0."
    + ONE_EACH,
    chapter="meaning",
    needs=KNOWN,
    tables=_score_frame("context_independence"),
    figure=_score_figure,
    remark=_scores_say(1),
    in_json=False,
)


def _generalisation(study: Study) -> Generalisation:
    sample = study.sample
    assert sample is not None
    declared = None if study.unplayable else getattr(study.make_game(1, np.random.default_rng(0)), "held_out", None)
    kinds_of: Callable[[DialogueTable], Ints]
    if study.training_sample is not None:
        kinds_of = study.met.kinds
    elif declared is not None and sample.private.shape[2]:
        kind = KINDS.index("new combination" if len(study.game.attributes) > 1 else "new value")
        kinds_of = lambda table: np.where(declared(table.private), kind, 0)  # noqa: E731
    else:
        raise NotApplicable("there is no log of training to say which meanings are new")
    kinds = kinds_of(sample)
    if not kinds.any():
        raise NotApplicable("every meaning of the evaluation was met in training")
    return generalisation(sample, kinds, meaning=what_is_new(sample, kinds_of))


def _generalisation_line(result: Generalisation, study: Study) -> Line | None:
    new = result.by_kind[KINDS[1]]
    if not new.trials:
        return None
    met = shown(result.by_kind[KINDS[0]].value, share=True)
    return Line("new combinations", shown(new.value, share=True), f"success; {met} with meanings met in training")


def _generalisation_says(result: Generalisation, study: Study) -> str:
    difference, low, high = (100 * x for x in result.gap)
    if difference != difference:
        return ""
    new, met = result.meanings[KINDS[1]], result.meanings[KINDS[0]]
    return (
        f"New combinations cost {difference:.1f} points of success [{low:.1f}, {high:.1f}] ({new} of them, {met} "
        f"meanings met in training; p = {result.p_value:.3f} by permuting which are new)."
    )


GENERALISATION = Measure(
    "unseen_meanings",
    _generalisation,
    "Success with new combinations",
    "How often the agents succeed with combinations of attributes that training never showed them, and with "
    "the others, at the end of the episode. Intervals are over meanings: those of one meaning end alike.",
    chapter="meaning",
    needs=KNOWN,
    tables=lambda result: {"unseen_meanings": result.to_frame()},
    figure=lambda result, study: figures.rates(result.by_kind),
    remark=_generalisation_says,
    line=_generalisation_line,
    in_json=False,
)


def _consistency(study: Study) -> tuple[Consistency, ...]:
    fixed = study.rules is not None and study.rules.closing == "fixed"
    found = tuple(
        one
        for said in study.utterances
        for one in speaker_consistency.consistency(said, study.language, study.game, nulls=_nulls(study), fixed=fixed)
    )
    if not found:
        raise NotApplicable(f"no move varies after talk, or fewer than {FEWEST} dialogues have any")
    return found


CONSISTENCY = Measure(
    "consistency",
    _consistency,
    "Speaker consistency and coordination",
    "Bits that a symbol shares with its speaker's own move (speaker consistency) and with the move of another agent "
    "(coordination; Lowe et al. 2019, Jaques et al. 2019). Co-occurrence only: it can be high where nobody listens."
    + ONE_EACH,
    chapter="causes",
    needs=(DIALOGUES,),
    tables=lambda result: {"consistency": speaker_consistency.to_frame(result)},
    in_json=False,
)
