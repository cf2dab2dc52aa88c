"""The zoo's memory: what each model did, recorded once per seed and kept as files."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from pytest_dlcheck import Recipe
from pytest_dlcheck.check import Check, Evidence, registry
from pytest_dlcheck.plan import ALWAYS, needs
from pytest_dlcheck.run.experiments import all_experiments
from pytest_dlcheck.run.probes import all_probes
from pytest_dlcheck.run.trial_runner import Request, run_trial
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Verdict

FOLDER = Path(__file__).parent / "recorded"
TIMEOUT = 300


def everything() -> frozenset[str]:
    """All that can be recorded, so that a new check can be judged on old traces."""
    channels = frozenset().union(*(probe.channels for probe in all_probes()))
    asked = frozenset().union(*(needs(check) for check in registry().values()))
    return ALWAYS | channels | asked | {experiment.fact for experiment in all_experiments()}


class NotRecordedError(LookupError):
    """A trial is wanted that was not recorded."""


@dataclass
class Animal:
    """One model under one seed.

    Attributes:
        name: the recipe's.
        factory: builds it; None where only recorded traces may be used.
        terms: its steps and seed.
    """

    name: str
    factory: Callable[[], Recipe] | None
    terms: Terms

    def trace(self, trial: Trial, wanted: frozenset[str]) -> Trace:
        """The trace of a trial: as recorded, else it is run and recorded.

        Raises:
            NotRecordedError: it was not recorded and may not be run.
        """
        file = FOLDER / self.name / f"{re.sub('[^a-z0-9]+', '_', str(trial))}.json.gz"
        if file.exists():
            stored = json.loads(gzip.decompress(file.read_bytes()))
            if self.factory is None or wanted <= set(stored["wanted"]):
                return Trace.from_json(stored["trace"])
        if self.factory is None:
            raise NotRecordedError(str(trial))
        torch.set_num_threads(1)
        trace = run_trial(self.factory, Request(trial, everything(), TIMEOUT))
        stored = {"wanted": sorted(everything()), "trace": trace.to_json()}
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(f".{os.getpid()}")
        draft.write_bytes(gzip.compress(json.dumps(stored).encode(), mtime=0))
        draft.replace(file)
        return trace

    def verdict(self, check: Check) -> Verdict:
        """The check's verdict, after its second look if it wants one."""
        try:
            asked = [self.trace(trial, needs(check)) for trial in check.trials(self.terms)]
            evidence = Evidence(tuple(asked))
            verdict = check.judge(evidence)
            further = [self.trace(t, needs(check)) for t in check.look_again(verdict, evidence)]
        except NotRecordedError as error:
            return check.inconclusive(f"not recorded: {error}")
        return check.judge(Evidence((*asked, *further))) if further else verdict

    def verdicts(self) -> list[Verdict]:
        """The verdicts of all checks."""
        judges = [check for check in registry().values() if check.family not in {"loop", "gate"}]
        return [self.verdict(check) for check in judges]
