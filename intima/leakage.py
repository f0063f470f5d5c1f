"""The leakage guard: who must not stand on both sides of a split, and who does."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from intima.arrays import Json
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


LinkKind = Literal["subject", "block", "same_file", "near_duplicate", "overlap"]


@dataclass(frozen=True, slots=True)
class Link:
    """Two cases that belong on one side."""

    a: str
    b: str
    reason: str
    kind: LinkKind
    alike: SimilarPair | None = None
    """Where their images were found to show the same tissue."""


@dataclass(frozen=True, slots=True)
class Leak:
    """Two linked cases on the two sides of at least one division."""

    link: Link
    pointer: str
    division: str
    """The first division it was seen in."""
    divisions: int
    b_dataset: str | None = None
    """The dataset of b where it is another than that of a."""

    @property
    def pair(self) -> Json:
        """Return the two cases for programs: what links them, and how their images lie where that is known."""
        alike = self.link.alike
        place = None if alike is None else alike.model_dump(mode="json", exclude={"a", "b", "kind"})
        pair: Json = {"a": self.link.a, "b": self.link.b, "kind": self.link.kind, "alike": place}
        return pair | {"b_dataset": self.b_dataset}

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
    links = [_likeness(p) for p in external.similar]
    links += _shared(dataset, second, lambda c: c.subject, "subject")
    links += _shared(dataset, second, lambda c: c.block, "block")
    links += _shared(dataset, second, lambda c: c.image_sha256, "same_file")
    where = f"the training dataset {dataset.id} and the external dataset {second.id}"
    return tuple(Leak(link, EXTERNAL_POINTER, where, 1, second.id) for link in links)


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


def _shared(one: Dataset, other: Dataset, part: Callable[[StoredCase], str | None], kind: LinkKind) -> list[Link]:
    """Link the first case of each dataset with this part in common."""
    first, second = ({part(c): c.case for c in reversed(d.cases)} for d in (one, other))
    common = sorted(value for value in first.keys() & second.keys() if value is not None)
    reasons = {v: "the same file" if kind == "same_file" else f"both are of {kind} {v!r}" for v in common}
    return [Link(first[v], second[v], reasons[v], kind) for v in common]


def refuse_leaks(leaks: Sequence[Leak]) -> None:
    """Raise Invalid "leakage" with every pair named where there are leaks."""
    if not leaks:
        return
    places = [ErrorPlace(leak.pointer, leak.sentence, _HINT, {"pair": leak.pair}) for leak in leaks[:MOST_PLACES]]
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
    return tuple(_likeness(p) for p in pairs)


def _likeness(pair: SimilarPair) -> Link:
    return Link(pair.a, pair.b, likeness_reason(pair), pair.kind, pair)


def likeness_reason(pair: SimilarPair) -> str:
    """Say what two similar images share."""
    return f"their images show the same tissue ({pair.kind}, score {pair.score:.2f}, overlap {pair.share:.0%})"


_Groups = Mapping[tuple[LinkKind, str], frozenset[str]]


def _groups(dataset: Dataset) -> _Groups:
    """Return the cases that belong on one side, by the reason; blocks only where two subjects name one."""
    groups: dict[tuple[LinkKind, str], set[str]] = {}
    owners: dict[tuple[LinkKind, str], set[str]] = {}
    for case in dataset.cases:
        groups.setdefault(("subject", f"both are of subject {case.subject!r}"), set()).add(case.case)
        if case.block is not None:
            reason: tuple[LinkKind, str] = ("block", f"both are of block {case.block!r}, under two subjects")
            groups.setdefault(reason, set()).add(case.case)
            owners.setdefault(reason, set()).add(case.subject)
    return {r: frozenset(c) for r, c in groups.items() if len(owners.get(r, "..")) > 1 and len(c) > 1}


def _divided(division: Division, alike: Sequence[Link], groups: _Groups) -> Iterator[Link]:
    train, test = set(division.train), set(division.test)
    yield from (k for k in alike if (k.a in train and k.b in test) or (k.a in test and k.b in train))
    for (kind, reason), cases in groups.items():
        if cases & train and cases & test:
            a, b = sorted((min(cases & train), min(cases & test)))
            yield Link(a, b, reason, kind)
