"""Splits that come from outside: as they are uploaded, and as they are stored."""

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from intima.contracts._base import Contract
from intima.contracts.benchmark import Seed, Split
from intima.contracts.dataset import Name, Sha256

SplitName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,49}$")]
Cases = Annotated[tuple[Name, ...], Field(min_length=1, max_length=10_000)]
FoldNumber = Annotated[int, Field(ge=0, le=9_999)]


class SplitRow(Contract):
    """One train/test split by case name."""

    repeat: int = Field(default=0, ge=0, le=9_999)
    fold: FoldNumber | None = None
    """Null: numbered in order within its repeat."""
    seed: Seed | None = None
    """Where it is given, the split is used for this seed of a benchmark only; null: for every seed."""
    train: Cases
    test: Cases


class SplitUpload(Contract):
    """Body of POST /v1/datasets/{id}/splits: exactly one of folds, subjects, splits, or train with test."""

    name: SplitName
    """Tables call the protocol "split-" or "splitK-" and this name."""
    folds: tuple[Cases, ...] | None = Field(default=None, min_length=1, max_length=1_000)
    """Test cases of each fold; all others are its training set."""
    subjects: dict[Name, FoldNumber] | None = Field(default=None, min_length=1)
    """The fold in which each subject is tested; a subject that is left out is always trained on."""
    splits: tuple[SplitRow, ...] | None = Field(default=None, min_length=1, max_length=10_000)
    """What GET /v1/benchmarks/{id}/splits exports."""
    train: Cases | None = None
    test: Cases | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "SplitUpload":
        forms = [self.folds is not None, self.subjects is not None, self.splits is not None, self.test is not None]
        if sum(forms) != 1 or (self.train is None) != (self.test is None):
            raise ValueError("Give exactly one of: folds; subjects; splits; train together with test.")
        return self


class StoredSplits(Contract):
    """Imported splits of one dataset, checked and immutable."""

    id: str
    sha256: Sha256
    """Of dataset version, name and splits."""
    dataset: str
    name: SplitName
    protocol: str
    """What tables call it: "splitK-name" where every case is tested once in K folds, else "split-name"."""
    splits: tuple[Split, ...]
    warnings: tuple[str, ...]
