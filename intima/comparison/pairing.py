"""Pair two contenders by subject, or say why they cannot be paired."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from intima.arrays import FloatVector
from intima.comparison.scores import SubjectScores
from intima.comparison.words import listed
from intima.errors import Invalid


@dataclass(frozen=True, slots=True)
class Paired:
    """Two contenders on the same subjects."""

    a: SubjectScores
    b: SubjectScores
    subjects: tuple[str, ...]
    a_values: FloatVector
    b_values: FloatVector

    @property
    def differences(self) -> FloatVector:
        """Paired differences a - b, one per subject."""
        return self.a_values - self.b_values

    def shared(self, key: str) -> object | None:
        """Return what both sides' provenance says under a key; None where they differ or one says nothing."""
        found = self.a.provenance.get(key), self.b.provenance.get(key)
        return found[0] if found[0] == found[1] else None


def pair(a: SubjectScores, b: SubjectScores) -> Paired:
    """Pair two contenders by subject, in a's order.

    Raises:
        Invalid: different datasets or protocols, a subject that only one side has, or fewer than two subjects.
    """
    _refuse_other_dataset(a.provenance, b.provenance)
    _refuse_other_protocol(a.protocol, b.protocol)
    _refuse_missing(a, "a", b, "b")
    _refuse_missing(b, "b", a, "a")
    subjects = tuple(a.by_subject)
    if len(subjects) < 2:
        raise Invalid(
            f"Got {len(subjects)} paired subject{'' if len(subjects) == 1 else 's'}; need at least 2.",
            code="too_few_subjects",
            hint="Sections of one subject do not count as subjects.",
            pointer="/a/subjects",
        )
    return Paired(a, b, subjects, _values(a, subjects), _values(b, subjects))


def _values(scores: SubjectScores, subjects: tuple[str, ...]) -> FloatVector:
    return np.array([scores.by_subject[s] for s in subjects], dtype=np.float64)


def _refuse_missing(mine: SubjectScores, side: str, theirs: SubjectScores, other: str) -> None:
    missing = sorted(set(theirs.by_subject) - set(mine.by_subject))
    if missing:
        raise Invalid(
            f"No score of {side} on {len(missing)} of the subjects of {other}: {listed(missing)}.",
            code="unpaired",
            hint="Score them, or remove them from both sides; a comparison needs the same subjects.",
            pointer=f"/{side}/subjects",
        )


def _refuse_other_dataset(a: Mapping[str, object], b: Mapping[str, object]) -> None:
    versions = a.get("dataset_version"), b.get("dataset_version")
    if None not in versions and versions[0] != versions[1]:
        raise Invalid(
            f"a was scored on dataset version {versions[0]}, b on {versions[1]}.",
            code="unpaired",
            hint="Subjects of different datasets are not the same subjects, even under the same name.",
            pointer="/b",
        )


def _refuse_other_protocol(a: str | None, b: str | None) -> None:
    if a and b and a != b:
        raise Invalid(
            f"a was scored under {a}, b under {b}.",
            code="unpaired",
            hint="Compare both under one protocol.",
            pointer="/protocol",
        )
