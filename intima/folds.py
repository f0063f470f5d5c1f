"""Grouped splits: a subject is never on both sides."""

from collections.abc import Mapping

import numpy as np

from intima.contracts.benchmark import Split
from intima.errors import Invalid


def leave_one_out_splits(subject_of: Mapping[str, str]) -> list[Split]:
    """Return one split per subject: all its cases are the test set.

    Args:
        subject_of: subject by case name.

    Raises:
        Invalid: fewer than two subjects.
    """
    subjects = sorted(set(subject_of.values()))
    _need(subjects, 2, "leave-one-subject-out")
    return [_split(subject_of, "loocv", 0, fold, {subject}) for fold, subject in enumerate(subjects)]


def kfold_splits(subject_of: Mapping[str, str], *, k: int, repeats: int, seed: int) -> list[Split]:
    """Return ``repeats`` shuffled k-fold splits over subjects; fold sizes differ by one subject at most.

    Raises:
        Invalid: fewer subjects than folds.
    """
    subjects = sorted(set(subject_of.values()))
    _need(subjects, k, f"{k}-fold cross-validation")
    splits = []
    for repeat in range(repeats):
        order = np.random.default_rng([seed, repeat]).permutation(len(subjects))
        for fold in range(k):
            test = {subjects[i] for i in order[fold::k]}
            splits.append(_split(subject_of, f"kfold{k}", repeat, fold, test))
    return splits


def inner_split(
    subject_of: Mapping[str, str], *, cases: tuple[str, ...], seed: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split the cases of an outer training set into (fit, validation) by subject, about two to one.

    Raises:
        Invalid: fewer than two subjects among the cases.
    """
    subjects = sorted({subject_of[c] for c in cases})
    _need(subjects, 2, "the inner split of a search")
    order = np.random.default_rng([seed, 7]).permutation(len(subjects))
    held = {subjects[i] for i in order[: max(1, round(len(subjects) / 3))]}
    fit = tuple(c for c in cases if subject_of[c] not in held)
    return fit, tuple(c for c in cases if subject_of[c] in held)


def _split(subject_of: Mapping[str, str], protocol: str, repeat: int, fold: int, test: set[str]) -> Split:
    return Split(
        protocol=protocol,
        repeat=repeat,
        fold=fold,
        train=tuple(c for c in sorted(subject_of) if subject_of[c] not in test),
        test=tuple(c for c in sorted(subject_of) if subject_of[c] in test),
    )


def _need(subjects: list[str], count: int, purpose: str) -> None:
    if len(subjects) < count:
        raise Invalid(
            f"Got {len(subjects)} subjects; {purpose} needs at least {count}.",
            code="too_few_subjects",
            hint="Add subjects, or choose a protocol with fewer folds.",
            pointer="/protocols",
        )
