"""Scores of a contender by subject, and what is known about them."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from intima.contracts.comparison import Contender, Dependence
from intima.errors import Invalid, NotFound
from intima.metrics import METRICS
from intima.statistics.equivalence import TrainingOverlap
from intima.statistics.samples import as_scores
from intima.subjects import mean_by_subject

FIRST_SCORES_AT = "first_scores_at"
"""Key of provenance: when the first score of a contender came to exist, RFC 3339 in UTC; absent: nobody knows."""

CONTENDER = "contender"
"""Key of provenance: benchmark id and name of the contender inside it."""

_COUNT = "([2-9]|[1-9][0-9]{1,2})"
_FOLDS = re.compile(rf"kfold{_COUNT}(?:x[1-9][0-9]*)?|split{_COUNT}-.+")
_OF_THE_REQUEST = {"/protocol", "/metric", "/class"}
"""Pointers to fields that both sides of a comparison share."""


@dataclass(frozen=True, slots=True)
class SubjectScores:
    """One contender's scores, several rows of one subject (sections, repeats, seeds) already averaged."""

    label: str
    by_subject: Mapping[str, float]
    protocol: str | None = None
    overlap: TrainingOverlap | None = None
    provenance: Mapping[str, object] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def contender(self) -> str:
        """What the label stands for, whatever name it was called by: "benchmark id/contender", or a label itself."""
        return str(self.provenance.get(CONTENDER) or self.label)

    @property
    def sha256(self) -> str:
        """Hash of the subjects and their scores, independent of their order."""
        return hashlib.sha256(json.dumps(sorted(self.by_subject.items())).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Selection:
    """Which scores of a contender are compared."""

    metric: str
    class_name: str
    protocol: str | None
    """None: the only one there is."""


class FetchScores(Protocol):
    """Turn a contender that is named by model or benchmark into scores."""

    def __call__(self, contender: Contender, selection: Selection) -> SubjectScores:
        """Return the scores. Raises NotFound or Invalid with a pointer below the contender."""
        ...


def scores_of(contender: Contender, side: str, selection: Selection, *, fetch: FetchScores) -> SubjectScores:
    """Return the scores of one side of a comparison; ``side`` is "a" or "b".

    Raises:
        Invalid, NotFound: with a JSON pointer below the side.
    """
    try:
        if contender.scores is not None:
            return raw_scores(contender, default_label=side)
        return fetch(contender, selection)
    except (Invalid, NotFound) as error:
        pointer = error.pointer if error.pointer in _OF_THE_REQUEST else f"/{side}{error.pointer}"
        raise type(error)(error.message, code=error.code, hint=error.hint, pointer=pointer) from error


def raw_scores(contender: Contender, *, default_label: str) -> SubjectScores:
    """Return the scores that stand in the request, averaged within subjects."""
    values = as_scores(contender.scores or ())
    subjects = contender.subjects or ()
    means = mean_by_subject(zip(subjects, values.tolist(), strict=True))
    notes: dict[str, object] = {"source": "request", "rows": len(subjects)}
    if len(means) < len(subjects):
        notes["averaged"] = f"{len(subjects)} scores averaged within {len(means)} subjects"
    return SubjectScores(contender.label or default_label, means, provenance=notes)


def overlap_of_protocol(protocol: str, subjects: int) -> TrainingOverlap | None:
    """Return how training sets overlap under a protocol name; None for other names than those below.

    loocv; kfoldK and kfoldKxR (R repeats); splitK-NAME (imported, every case tested once in K folds).

    Repeats are averaged within subjects first, so they do not add splits.
    """
    if protocol == "loocv" and subjects >= 2:
        return TrainingOverlap(subjects, 1 / (subjects - 1))
    if match := _FOLDS.fullmatch(protocol):
        k = int(match[1] or match[2])
        return TrainingOverlap(k, 1 / (k - 1))
    return None


def stated_overlap(dependence: Dependence) -> TrainingOverlap:
    """Return the overlap a request states."""
    splits = dependence.splits or max(2, round((dependence.n_train + dependence.n_test) / dependence.n_test))
    return TrainingOverlap(splits, dependence.n_test / dependence.n_train)


def start_warning(scores: Iterable[SubjectScores]) -> tuple[str, ...]:
    """Return a warning where contenders started from different kinds of encoder weights, none where all are alike."""
    known = [(s.label, str(s.provenance["encoder_weights"])) for s in scores if s.provenance.get("encoder_weights")]
    if len({kind for _, kind in known}) < 2:
        return ()
    listed = ", ".join(f"{label} from {kind}" for label, kind in known)
    return (f"The encoders started from different weights, which may explain a difference: {listed}.",)


def higher_is_better(metric: str, stated: bool | None) -> tuple[bool, tuple[str, ...]]:
    """Return the direction of a metric, with a warning where it had to be assumed.

    Raises:
        Invalid: a signed error has no better side, and none was stated.
    """
    if stated is not None:
        return stated, ()
    known = METRICS.get(metric)
    if known is None:
        return True, (f"Intima does not know the metric {metric!r}; a higher value was taken to be better.",)
    if known.larger_is_better is None:
        raise Invalid(
            f"{metric} is a signed error: neither more nor less of it is better.",
            hint="Compare another metric, or state higher_is_better.",
            pointer="/higher_is_better",
        )
    return known.larger_is_better, ()
