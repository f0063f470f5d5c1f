"""The leakage guard: who must not stand on both sides of a split, and who does."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from intima.contracts.dataset import Dataset, SimilarPair, StoredCase
from intima.errors import ErrorPlace, Invalid

EXTERNAL_POINTER = "/external_dataset"
MOST_PLACES = 50
"""Pairs that one refusal names."""


@dataclass(frozen=True, slots=True)
class Division:
    """Two sets of cases that must share nothing."""

    name: str
    """In words: "fold 2 of kfold3"."""
    pointer: str
    """The field of the spec that asks for it."""
    train: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """Two cases that belong on one side."""

    a: str
    b: str
    reason: str


@dataclass(frozen=True, slots=True)
class Leak:
    """Two linked cases on the two sides of at least one division."""

    link: Link
    pointer: str
    division: str
    """The first division it was seen in."""
    divisions: int

    @property
    def sentence(self) -> str:
        """Say what leaks where."""
        more = f" and {self.divisions - 1} more" if self.divisions > 1 else ""
        link = self.link
        return f"{link.a!r} and {link.b!r} are on both sides of {self.division}{more}: {link.reason}."


def find_leaks(divisions: Iterable[Division], *, dataset: Dataset) -> tuple[Leak, ...]:
    """Return the linked cases that are divided, each once per field of the spec.

    Linked are cases of one subject, cases of one block under different subjects, and cases of different subjects whose
    images show the same tissue.
    """
    alike, groups = _alike(dataset), _groups(dataset)
    found: dict[tuple[Link, str], tuple[str, int]] = {}
    for division in divisions:
        for link in _divided(division, alike, groups):
            first, count = found.get((link, division.pointer), (division.name, 0))
            found[link, division.pointer] = first, count + 1
    return tuple(Leak(link, pointer, first, count) for (link, pointer), (first, count) in found.items())


@dataclass(frozen=True, slots=True)
class External:
    """A second dataset and what its images share with those of the first."""

    dataset: Dataset
    similar: tuple[SimilarPair, ...] = ()
    """Pairs of a case of the first (a) and one of the second (b)."""


def external_leaks(dataset: Dataset, external: External) -> tuple[Leak, ...]:
    """Return what the external dataset shares with the one that is trained on: subjects, blocks, files, tissue."""
    second = external.dataset
    links = [Link(p.a, p.b, likeness_reason(p)) for p in external.similar]
    links += _shared(dataset, second, lambda c: c.subject, "subject")
    links += _shared(dataset, second, lambda c: c.block, "block")
    links += _shared(dataset, second, lambda c: c.image_sha256, "the same file")
    where = f"the training dataset {dataset.id} and the external dataset {second.id}"
    return tuple(Leak(link, EXTERNAL_POINTER, where, 1) for link in links)


def refuse_uncompared(dataset: Dataset) -> None:
    """Raise Invalid "not_compared" where nobody knows whether two subjects' images show the same tissue."""
    if dataset.similarity is None:
        raise not_compared(dataset, pointer="/dataset")


def not_compared(dataset: Dataset, *, pointer: str) -> Invalid:
    """Return the problem of a dataset whose images were never compared."""
    return Invalid(
        f"Dataset {dataset.id} was stored before images were compared: the leakage guard cannot see shared tissue.",
        code="not_compared",
        hint="Upload the same zip again: it keeps its id and gains the comparison. Without an external dataset, "
        "allow_leakage may state why that is not needed.",
        pointer=pointer,
    )


def _shared(one: Dataset, other: Dataset, part: Callable[[StoredCase], str | None], what: str) -> list[Link]:
    """Link the first case of each dataset with this part in common."""
    first, second = ({part(c): c.case for c in reversed(d.cases)} for d in (one, other))
    common = sorted(value for value in first.keys() & second.keys() if value is not None)
    return [Link(first[v], second[v], what if " " in what else f"both are of {what} {v!r}") for v in common]


def refuse_leaks(leaks: Sequence[Leak]) -> None:
    """Raise Invalid "leakage" with every pair named where there are leaks."""
    if not leaks:
        return
    places = [ErrorPlace(leak.pointer, leak.sentence, _HINT) for leak in leaks[:MOST_PLACES]]
    raise Invalid(
        f"{len(leaks)} pair(s) of cases share a subject, a block or tissue across a split, so scores would be too good:"
        f" {leaks[0].sentence}",
        code="leakage",
        hint=_HINT,
        pointer=leaks[0].pointer,
        places=places,
    )


_HINT = (
    "Give what belongs together one subject, and blocks of different subjects different names, or remove one of the "
    "two, or state why it is no leak in allow_leakage; that is then recorded in every result."
)


def _alike(dataset: Dataset) -> tuple[Link, ...]:
    pairs = () if dataset.similarity is None else dataset.similarity.pairs
    return tuple(Link(p.a, p.b, likeness_reason(p)) for p in pairs)


def likeness_reason(pair: SimilarPair) -> str:
    """Say what two similar images share."""
    return f"their images show the same tissue ({pair.kind}, score {pair.score:.2f}, overlap {pair.share:.0%})"


def _groups(dataset: Dataset) -> dict[str, frozenset[str]]:
    """Return the cases that belong on one side, by the reason; blocks only where two subjects name one."""
    groups: dict[str, set[str]] = {}
    owners: dict[str, set[str]] = {}
    for case in dataset.cases:
        groups.setdefault(f"both are of subject {case.subject!r}", set()).add(case.case)
        if case.block is not None:
            reason = f"both are of block {case.block!r}, under two subjects"
            groups.setdefault(reason, set()).add(case.case)
            owners.setdefault(reason, set()).add(case.subject)
    return {r: frozenset(c) for r, c in groups.items() if len(owners.get(r, "..")) > 1 and len(c) > 1}


def _divided(division: Division, alike: Sequence[Link], groups: Mapping[str, frozenset[str]]) -> Iterator[Link]:
    train, test = set(division.train), set(division.test)
    yield from (k for k in alike if (k.a in train and k.b in test) or (k.a in test and k.b in train))
    for reason, cases in groups.items():
        if cases & train and cases & test:
            a, b = sorted((min(cases & train), min(cases & test)))
            yield Link(a, b, reason)
