"""Everything that can be found out about one run: `study(load("logs/run"))` walks the list of measures.

A measure that does not apply is named in `Findings.absent`, with the reason; one that fails leaves a line in
`Findings.problems`; the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from analysis.data.decisions import NotApplicable
from analysis.data.runs import LoadedRun
from analysis.report.browser_data import Excerpt, excerpt
from analysis.report.findings import Findings
from analysis.report.measure import Measure
from analysis.report.measures import MEASURES
from analysis.report.study import FULL, QUICK, Depth, Study
from emcomm.dialogues import concatenate
from emcomm.errors import BadInput

__all__ = ["FULL", "QUICK", "Depth", "study"]

Say = Callable[[str], None]
"""Told what is being done."""


def study(
    run: LoadedRun, depth: Depth = FULL, say: Say = lambda text: None, measures: Sequence[Measure] = ()
) -> Findings:
    """Find out everything about one run; `measures` are taken beside those of the registry.

    Parameters
    ----------
    run : LoadedRun
        Of `load`.
    depth : Depth
        How much work it may be: `FULL`, or `QUICK` for a first look.
    say : callable
        Told what is being done.
    measures : sequence of Measure
        More measures than those of the registry.

    Returns
    -------
    Findings
        `results` by the names of the measures; `absent`, those that do not apply and why; `problems`; `sentence`;
        `tables()` and `to_json()`; `excerpts`, dialogues for the browser; `seconds`, what each measure took.

    Examples
    --------
    `analysis.study(analysis.load("logs/RUN"), analysis.QUICK).sentence`
    """
    if run.facts is None:
        return Findings(run, run.problems)
    seen = Study(run, depth, say)
    findings = Findings(run, [], results=seen.results, measures=(*MEASURES.values(), *measures), study=seen)
    seen.measures.update({measure.name: measure for measure in findings.measures})
    if len(seen.measures) < len(findings.measures):
        raise BadInput(f"two measures have one name: {', '.join(m.name for m in measures)}; give them others")
    with _noting(findings, "checking the log"):
        run.check()
    with _one_thread():
        for measure in findings.measures:
            say(measure.heading)
            begun = time.perf_counter()
            _take(measure, seen, findings)
            findings.seconds[measure.name] = time.perf_counter() - begun
        with _noting(findings, "choosing dialogues to show"):
            findings.excerpts = tuple(_excerpts(seen))
    findings.problems = [*run.problems, *(line for line in findings.problems if line not in run.problems)]
    return findings


def _take(measure: Measure, seen: Study, findings: Findings) -> None:
    """Compute one measure; whatever it raises, the rest goes on."""
    try:
        if why := measure.missing(seen):
            findings.absent[measure.name] = why
        elif measure.name not in seen.results:
            seen.results[measure.name] = measure.compute(seen)
    except NotApplicable as error:
        findings.absent[measure.name] = " ".join(str(error).split())
    except Exception as error:  # a measure may be anybody's code
        says = f"{type(error).__name__}: {error}" if not isinstance(error, BadInput) else str(error)
        findings.problems.append(f"{findings.run.path}: the measure {measure.name} failed: {' '.join(says.split())}")


@contextmanager
def _noting(findings: Findings, title: str) -> Iterator[None]:
    try:
        yield
    except (NotApplicable, BadInput) as error:
        findings.problems.append(f"{findings.run.path}: {title}: {' '.join(str(error).split())}")


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for arithmetic: on networks this small, several wait for each other (up to eight times as long)."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def _excerpts(seen: Study) -> Iterator[Excerpt]:
    """Dialogues for the browser."""
    depth, facts = seen.depth, seen.facts
    if seen.sample is not None:
        even, failed = seen.sample.drawn(depth.shown, np.random.default_rng(1)), seen.failures
        both = concatenate([failed, even[even.success]]) if len(failed) and even.judged else even
        both = both[np.lexsort([both.negotiation, both.episode])]
        title = "frozen policy" if seen.run.parts["evaluation"] else "end of training"
        yield excerpt(title, seen.success.dialogues, both, facts, seen.trained, depth.budget, seen.game)
    if seen.training is not None and seen.training_sample is not None:
        course = seen.training_sample.drawn(depth.training_shown, np.random.default_rng(1))
        yield excerpt("training", seen.training.dialogues, course, facts, None, depth.budget // 2, seen.game)
