"""Check splits that come from outside against their dataset, and write those of a benchmark out again."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from intima.contracts.benchmark import Split
from intima.contracts.dataset import Dataset
from intima.contracts.splits import SplitRow, SplitUpload, StoredSplits
from intima.errors import Invalid


@dataclass(frozen=True, slots=True)
class _Placed:
    """One uploaded split and where it stands in the body."""

    row: SplitRow
    at: str


def check_splits(upload: SplitUpload, *, dataset: Dataset, splits_id: str, sha256: str) -> StoredSplits:
    """Return uploaded splits with all they leave out filled in.

    Raises:
        Invalid: an unknown case or subject, a case or a subject on both sides of a split, a case tested twice in one
            repeat, an empty side. The pointer names the place.
    """
    placed = _placed(upload, dataset)
    for one in placed:
        _check_sides(one, dataset)
    _refuse_tested_twice(placed)
    rows = [one.row for one in placed]
    protocol = _protocol(upload.name, rows, dataset)
    numbered: Counter[tuple[int, int | None]] = Counter()
    splits = []
    for row in rows:
        fold = numbered[row.repeat, row.seed] if row.fold is None else row.fold
        numbered[row.repeat, row.seed] += 1
        splits.append(_split(row, protocol, fold))
    _refuse_one_number(splits)
    return StoredSplits(
        id=splits_id,
        sha256=sha256,
        dataset=dataset.id,
        name=upload.name,
        protocol=protocol,
        splits=tuple(splits),
        warnings=tuple(_warnings(rows, dataset)),
    )


def export_splits(name: str, splits: Sequence[Split]) -> SplitUpload:
    """Return splits in the form in which they can be imported."""
    rows = [SplitRow(repeat=s.repeat, fold=s.fold, seed=s.seed, train=s.train, test=s.test) for s in splits]
    return SplitUpload(name=name, splits=tuple(rows))


def _placed(upload: SplitUpload, dataset: Dataset) -> list[_Placed]:
    if upload.splits is not None:
        return [_Placed(row, f"/splits/{i}") for i, row in enumerate(upload.splits)]
    if upload.folds is not None:
        return [
            _Placed(_against_the_rest(f, dataset, f"/folds/{i}"), f"/folds/{i}") for i, f in enumerate(upload.folds)
        ]
    if upload.subjects is not None:
        return list(_by_subject(upload.subjects, dataset))
    return [_Placed(SplitRow(train=upload.train or (), test=upload.test or ()), "")]


def _against_the_rest(test: Sequence[str], dataset: Dataset, at: str) -> SplitRow:
    held = set(test)
    train = tuple(c.case for c in dataset.cases if c.case not in held)
    if not train:
        raise Invalid("The fold tests every case; nothing is left to train on.", code="empty_side", pointer=at)
    return SplitRow(train=train, test=tuple(test))


def _by_subject(fold_of: dict[str, int], dataset: Dataset) -> Iterator[_Placed]:
    unknown = sorted(set(fold_of) - set(dataset.subjects))
    if unknown:
        raise Invalid(
            f"The dataset has no subject {unknown[0]!r}; it has {', '.join(dataset.subjects[:10])}.",
            code="unknown_subject",
            pointer=f"/subjects/{_escaped(unknown[0])}",
        )
    for fold in sorted(set(fold_of.values())):
        test = tuple(c.case for c in dataset.cases if fold_of.get(c.subject) == fold)
        row = _against_the_rest(test, dataset, "/subjects").model_copy(update={"fold": fold})
        yield _Placed(row, "/subjects")


def _check_sides(placed: _Placed, dataset: Dataset) -> None:
    subject_of = {c.case: c.subject for c in dataset.cases}
    for side, cases in (("train", placed.row.train), ("test", placed.row.test)):
        _refuse_unknown(cases, subject_of, _side_at(placed, side))
        _refuse_twice(cases, _side_at(placed, side))
    both = sorted(set(placed.row.train) & set(placed.row.test))
    if both:
        raise Invalid(
            f"Case {both[0]!r} is on both sides of a split.", code="case_on_both_sides", pointer=placed.at or "/test"
        )
    shared = sorted({subject_of[c] for c in placed.row.train} & {subject_of[c] for c in placed.row.test})
    if shared:
        raise Invalid(
            f"Subject {shared[0]!r} has cases on both sides of a split"
            + (f", and so have {len(shared) - 1} more." if len(shared) > 1 else "."),
            code="leakage",
            hint="Put all cases of a subject on one side: images of one animal are alike, and scores become too good.",
            pointer=placed.at or "/test",
        )


def _side_at(placed: _Placed, side: str) -> str:
    """Return where the cases of one side stand: in the short forms there is one list for the test side."""
    return f"{placed.at}/{side}" if placed.at in {""} or placed.at.startswith("/splits") else placed.at


def _refuse_unknown(cases: Sequence[str], known: dict[str, str], at: str) -> None:
    for position, case in enumerate(cases):
        if case not in known:
            raise Invalid(
                f"The dataset has no case {case!r}.",
                code="unknown_case",
                hint="Cases are the image paths of the manifest: GET /v1/datasets/{id} lists them.",
                pointer=f"{at}/{position}",
            )


def _refuse_twice(cases: Sequence[str], at: str) -> None:
    double = [case for case, count in Counter(cases).items() if count > 1]
    if double:
        raise Invalid(f"Case {double[0]!r} is named twice.", code="case_twice", pointer=at)


def _refuse_tested_twice(placed: Sequence[_Placed]) -> None:
    seen: set[tuple[int, int | None, str]] = set()
    for one in placed:
        for case in one.row.test:
            key = (one.row.repeat, one.row.seed, case)
            if key in seen:
                raise Invalid(
                    f"Case {case!r} is tested twice in repeat {one.row.repeat}.",
                    code="tested_twice",
                    hint="Test a case once per repeat; give a second round of folds another repeat number.",
                    pointer=one.at or "/test",
                )
            seen.add(key)


def _refuse_one_number(splits: Sequence[Split]) -> None:
    numbers = Counter((s.repeat, s.seed, s.fold) for s in splits)
    double = [number for number, count in numbers.items() if count > 1]
    if double:
        repeat, _, fold = double[0]
        raise Invalid(f"Fold {fold} of repeat {repeat} is given twice.", code="fold_twice", pointer="/splits")


def _protocol(name: str, rows: Sequence[SplitRow], dataset: Dataset) -> str:
    """Say in the name in how many folds every case is tested once: the correction for dependence needs it."""
    everything = {c.case for c in dataset.cases}
    counts = set()
    for key in {(r.repeat, r.seed) for r in rows}:
        mine = [r for r in rows if (r.repeat, r.seed) == key]
        whole = all(set(r.train) | set(r.test) == everything for r in mine)
        tested = {c for r in mine for c in r.test}
        counts.add(len(mine) if whole and tested == everything else 0)
    folds = counts.pop() if len(counts) == 1 else 0
    return f"split{folds}-{name}" if folds > 1 else f"split-{name}"


def _split(row: SplitRow, protocol: str, fold: int) -> Split:
    return Split(
        protocol=protocol,
        repeat=row.repeat,
        fold=fold,
        train=tuple(sorted(row.train)),
        test=tuple(sorted(row.test)),
        seed=row.seed,
    )


def _warnings(rows: Sequence[SplitRow], dataset: Dataset) -> Iterator[str]:
    tested = {c for r in rows for c in r.test}
    never = [c.case for c in dataset.cases if c.case not in tested]
    if never:
        yield f"{len(never)} of {len(dataset.cases)} cases are tested in no fold, {never[0]!r} among them: no scores."
    idle = sum(len(r.train) + len(r.test) < len(dataset.cases) for r in rows)
    if idle:
        yield f"{idle} of {len(rows)} splits leave cases out on both sides."
    repeats = Counter((r.repeat, r.seed, c) for r in rows for c in r.test)
    uneven = {c for c in tested if sum(key[2] == c for key in repeats) < len({(r.repeat, r.seed) for r in rows})}
    if uneven:
        yield f"{len(uneven)} cases are not tested in every repeat."


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")
