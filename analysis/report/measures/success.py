"""Do they succeed, what do they gain, how did they come to it, and why do they fail?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.data.decisions import NotApplicable, stretches
from analysis.explanation.vote_drift import DriftPoint, drift, vote_weights
from analysis.metrics.resampling import interval_of_means
from analysis.metrics.success import SuccessReport
from analysis.report import figures
from analysis.report.html import shown
from analysis.report.measure import DIALOGUES, JUDGED, TRAINING, WHO_YIELDS, Line, Measure
from analysis.report.study import Study
from analysis.report.tables import drift_frame
from emcomm.printable import printable
from emcomm.statistics import Mean
from envs.game import Floats


def _line(result: SuccessReport, study: Study) -> Line | None:
    rate = result.overall
    interval = f"[{100 * rate.low:.2f}, {100 * rate.high:.2f}]"
    return Line("success", shown(rate.value, share=True), f"{interval} of {counted(result)}")


def counted(result: SuccessReport) -> str:
    """How many games, and joint moves where there are more."""
    several = f" ({result.dialogues:,} joint moves)" if result.dialogues > result.episodes else ""
    return f"{result.episodes:,} game{'s' * (result.episodes != 1)}{several}"


SUCCESS = Measure("success", lambda study: study.success, chapter="", needs=(DIALOGUES, JUDGED), line=_line)


class Returns(NamedTuple):
    """What the agents gained with the frozen policy: rewards of an episode, without the cost of talking."""

    mean: Mean
    """Over episodes and agents, with its 95 % interval over episodes."""
    by_agent: dict[str, float]
    episodes: int
    joint_moves: int


def _returns(study: Study) -> Returns:
    report = study.success
    names = map(printable, study.game.agent_names)
    return Returns(report.returned, dict(zip(names, report.returns, strict=True)), report.episodes, report.dialogues)


def _return_line(result: Returns, study: Study) -> Line:
    figure, _, interval = str(result.mean).partition(" ")
    each, game = "", study.game
    if len(game.roles) > 1:
        gained = np.array([*result.by_agent.values()])
        of_role = {role: gained[np.array(game.role_of) == i].mean() for i, role in enumerate(game.roles)}
        each = "; " + ", ".join(f"{printable(role, 60)} {value:.3f}" for role, value in of_role.items())
    elif len(result.by_agent) <= 4 and np.ptp([*result.by_agent.values()]) > 1e-6:
        each = "; " + ", ".join(f"{name} {value:.3f}" for name, value in result.by_agent.items())
    return Line("mean return", figure, f"{interval} of {counted(study.success)}{each}")


RETURN = Measure("mean_return", _returns, chapter="", needs=(DIALOGUES,), line=_return_line)

TRAINING_COURSE = Measure(
    "training",
    lambda study: study.training,
    "Course of training",
    "Each point is a stretch of training, the band its 95 % interval: Wilson's for success, a normal one for the mean "
    "return of an episode.",
    chapter="success",
    needs=(TRAINING,),
    tables=lambda result: {"course": result.course_frame()},
    figure=lambda result, study: figures.course(result, _without_talk(study)),
    remark=lambda result, study: _without_talk_says(study),
)


def _without_talk(study: Study) -> float | None:
    """The best that can be reached without talk, where it is known: two exchangeable agents that must differ."""
    return 0.5 if study.game.decision("yields") and study.joint.must_differ else None


def _without_talk_says(study: Study) -> str:
    best = f"The dashed line is the best that identical {study.game.words.agents} reach without talk."
    return best if _without_talk(study) else ""


class Score(NamedTuple):
    """The graded success of the frozen policy."""

    mean: float
    low: float
    high: float
    episodes: int


def _score(study: Study) -> Score:
    assert study.sample is not None
    if not study.sample.scored:
        raise NotApplicable("the game has no score")
    last = study.sample.last
    score = study.sample.score[last].astype(np.float64)
    if study.judged and np.array_equal(score, study.sample.success[last]):
        raise NotApplicable("the game has no degrees of success")
    (low,), (high,) = interval_of_means(score[:, None], np.random.default_rng(0))
    return Score(float(score.mean()), float(low), float(high), len(score))


SCORE = Measure(
    "score",
    _score,
    chapter="",
    needs=(DIALOGUES,),
    line=lambda result, study: Line(
        "score", f"{result.mean:.3f}", f"[{result.low:.3f}, {result.high:.3f}] mean of {result.episodes:,} episodes"
    ),
)


def of_joint_moves(success: SuccessReport) -> str:
    """What success means where an episode has several dialogues."""
    if success.dialogues == success.episodes:
        return ""
    return "A game has several dialogues: success is that of the joint move after a dialogue, not of the whole game."


BY_LENGTH = Measure(
    "success_by_length",
    lambda study: study.success,
    "Success by length",
    "How often the {agents} succeed after dialogues of each length, with frozen weights. {goal}",
    chapter="success",
    needs=(DIALOGUES, JUDGED),
    tables=lambda result: {"success": result.to_frame()},
    figure=lambda result, study: figures.by_rounds(result),
    remark=lambda result, study: of_joint_moves(result),
    in_json=False,
)

FAILURES = Measure(
    "failures",
    lambda study: study.success,
    "Why it failed",
    "Every game that ended so ({failure}), by the first cause that fits its last dialogue. Tie: nothing had told the "
    "{agents} apart. Slip of sampling: the most probable moves would have been right. Misreading: even those were "
    "wrong.",
    chapter="success",
    needs=(DIALOGUES, JUDGED),
    tables=lambda result: {"failures": result.failures_frame()},
    figure=lambda result, study: figures.failures(result),
    in_json=False,
)


def _vote(study: Study) -> Floats:
    assert study.sample is not None
    return vote_weights(study.sample, study.facts.n_tokens)


def _drift(study: Study) -> tuple[DriftPoint, ...]:
    assert study.training_sample is not None
    return drift(stretches(study.training_sample), study.facts.n_tokens, 5_000)


VOTE = Measure(
    "vote",
    _vote,
    chapter="",
    needs=(DIALOGUES, WHO_YIELDS),
)

DRIFT = Measure(
    "drift",
    _drift,
    "Drift of the protocol",
    "Training in stretches, each twice as long as the one before. How often a vote fitted on a stretch names who "
    "yields there, and how often it decides the last dialogues as the final vote does.",
    chapter="success",
    needs=(TRAINING, DIALOGUES, JUDGED, WHO_YIELDS),
    tables=lambda result: {"drift": drift_frame(result)} if result else {},
    figure=lambda result, study: figures.drift(result),
)
