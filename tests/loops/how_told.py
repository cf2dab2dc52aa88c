"""How what is wrong with a loop was told: by a failure's own words, as advice, or not at all."""

from __future__ import annotations

import torch

from pytest_dlcheck import watch
from pytest_dlcheck.verdict import Outcome


def watched(loop, **given):
    torch.manual_seed(0)
    with watch(loop.__name__) as run:
        loop(**given)
    return run


def failures(run):
    bad = {Outcome.FAILED, Outcome.ERRORED}
    return [f.verdict.because for f in run.findings if f.verdict.outcome in bad]


def told(run, words):
    """Whether a failure's own words name it, whether advice does, and what was said instead."""
    causes = [f.verdict for f in run.failures if not f.because_of][:1]
    said = [
        f"{v.check}: {v.because} {v.cause} {[f'{s.site} {s.finding}' for s in v.suspects]}"
        for v in causes
    ]
    advised = [advice for verdict in run.verdicts for advice in verdict.advice]
    named, hinted = (
        any(word in sentence.lower() for word in words for sentence in each) for each in (said, advised)
    )
    return "failed" if named else "advised" if hinted and not causes else "missed", said or advised
