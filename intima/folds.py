"""Grouped splits: a subject is never on both sides."""

from collections.abc import Mapping, Sequence
from zlib import crc32

import numpy as np

from intima.contracts.benchmark import BenchmarkSpec, KFold, LeaveOneOut, Protocol, Seeds, Split
from intima.contracts.dataset import Dataset
from intima.contracts.splits import StoredSplits
from intima.errors import Invalid

EXTERNAL = "external"
"""The protocol name of scores on the external dataset."""


def outer_splits(
    spec: BenchmarkSpec, *, dataset: Dataset, imported: Mapping[str, StoredSplits]
) -> dict[int, tuple[Split, ...]]:
    """Return the outer splits of all protocols by seed of the spec.

    Args:
        spec: the benchmark.
        dataset: the dataset it names.
        imported: the imported splits it names, by id.

    Raises:
        Invalid: fewer subjects than a protocol needs, two protocols of one name, a seed twice, or imported splits of
            another dataset or without one of the seeds.
    """
    if len(set(spec.seeds)) < len(spec.seeds):
        raise Invalid(f"Got the seeds {list(spec.seeds)}; need each once.", code="seed_twice", pointer="/seeds")
    _refuse_one_name([_protocol_name(p, imported) for p in spec.protocols])
    return {
        seed: tuple(
            split
            for position, protocol in enumerate(spec.protocols)
            for split in _protocol_splits(protocol, dataset, imported, seeds_of(spec, seed), f"/protocols/{position}")
        )
        for seed in spec.seeds
    }


def seeds_of(spec: BenchmarkSpec, seed: int) -> Seeds:
    """Return what one seed of a spec stands for: parts that do not vary keep the first seed."""
    first = spec.seeds[0]
    return Seeds(
        split=seed if "split" in spec.seeds_vary else first,
        init=seed if "init" in spec.seeds_vary else first,
        augmentation=seed if "augmentation" in spec.seeds_vary else first,
    )


def _protocol_name(protocol: Protocol, imported: Mapping[str, StoredSplits]) -> str:
    if isinstance(protocol, LeaveOneOut):
        return "loocv"
    return (
        kfold_name(protocol.k, protocol.repeats) if isinstance(protocol, KFold) else imported[protocol.split].protocol
    )


def kfold_name(k: int, repeats: int) -> str:
    """Return what tables call a k-fold protocol.

    >>> kfold_name(3, 1), kfold_name(3, 5)
    ('kfold3', 'kfold3x5')
    """
    return f"kfold{k}" if repeats == 1 else f"kfold{k}x{repeats}"


def _refuse_one_name(names: Sequence[str]) -> None:
    for position, name in enumerate(names):
        if name in names[:position]:
            raise Invalid(
                f"Got two protocols that tables would both call {name!r}.",
                code="protocol_twice",
                hint="Ask for more repeats of one protocol, or import splits under another name.",
                pointer=f"/protocols/{position}",
            )


def _protocol_splits(
    protocol: Protocol, dataset: Dataset, imported: Mapping[str, StoredSplits], seeds: Seeds, at: str
) -> Sequence[Split]:
    groups = {c.case: c.subject for c in dataset.cases}
    if isinstance(protocol, LeaveOneOut):
        return leave_one_out_splits(groups)
    if isinstance(protocol, KFold):
        return kfold_splits(groups, k=protocol.k, repeats=protocol.repeats, seed=seeds.split)
    return _splits_of_seed(imported[protocol.split], dataset, seeds, at)


def _splits_of_seed(stored: StoredSplits, dataset: Dataset, seeds: Seeds, at: str) -> Sequence[Split]:
    if stored.dataset != dataset.id:
        raise Invalid(
            f"The splits {stored.id} are of dataset {stored.dataset}, not of {dataset.id}.",
            code="split_of_another_dataset",
            hint="Import the splits for this dataset: POST /v1/datasets/{id}/splits.",
            pointer=f"{at}/split",
        )
    found = [s for s in stored.splits if s.seed in {None, seeds.split}]
    if not found:
        drawn = sorted({s.seed for s in stored.splits if s.seed is not None})
        raise Invalid(
            f"The splits {stored.id} hold none for seed {seeds.split}; theirs are {drawn}.",
            code="split_without_seed",
            hint="Use those seeds, or import the splits without the field seed, for every seed.",
            pointer=f"{at}/split",
        )
    return found


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
            drawn = _split(subject_of, kfold_name(k, repeats), repeat, fold, test)
            splits.append(drawn.model_copy(update={"seed": seed}))
    return splits


def inner_split(
    subject_of: Mapping[str, str], *, cases: tuple[str, ...], seed: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split the cases of an outer training set into (fit, validation) by subject, about two to one.

    Which subjects validate follows from the seed and from the training set: were it the seed alone, all folds of a
    leave-one-out would tune on nearly the same three subjects, and the ease of these would shift every inner score.

    Raises:
        Invalid: fewer than two subjects among the cases.
    """
    subjects = sorted({subject_of[c] for c in cases})
    _need(subjects, 2, "the inner split of a search")
    order = np.random.default_rng([seed, crc32("\n".join(subjects).encode())]).permutation(len(subjects))
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
