"""A locked analysis plan: what is compared and how, frozen under a hash before scores are opened."""

from typing import Annotated

from pydantic import Field, model_validator

from intima.contracts._base import Contract
from intima.contracts.comparison import LONGEST_PROTOCOL, Dependence, Margin, VerdictName

MOST_EXCLUSIONS = 1_000
Words = Annotated[str, Field(min_length=1, max_length=500)]


class Exclusion(Contract):
    """A subject that is left out, whatever its scores will be."""

    subject: Words
    reason: Words


class PlanRequest(Contract):
    """Body of POST /v1/plans. Every field is part of the hash, so the same plan locked twice is one plan."""

    title: str = Field(default="", max_length=500, examples=["U-Net against SegFormer, nine mice"])
    """What the plan is called."""
    models: tuple[Words, Words] | None = None
    """Names of a and b as the verdict will call them: architecture, model or label; null: any two."""
    metric: str = Field(default="dice", max_length=200)
    """Which score is compared."""
    class_: str = Field(default="macro", alias="class", max_length=200)
    """Of one class, or "macro": the mean over foreground classes."""
    protocol: str | None = Field(default=None, max_length=LONGEST_PROTOCOL, examples=["loocv"])
    """Under which protocol; null where the scores have one only."""
    margin: Margin
    """How large a difference would still not matter; fixed before scores are opened."""
    alpha: float = Field(default=0.05, ge=1e-6, lt=0.5)
    """Probability of claiming equivalence wrongly."""
    dependence: Dependence | None = None
    """How scores hang together; null: as their protocol says."""
    higher_is_better: bool | None = None
    """Null: as the metric says."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Of everything that is drawn."""
    exclusions: tuple[Exclusion, ...] = Field(default=(), max_length=MOST_EXCLUSIONS)
    """Subjects that are left out, each with its reason."""

    @model_validator(mode="after")
    def _no_contradiction(self) -> "PlanRequest":
        if len({e.subject for e in self.exclusions}) < len(self.exclusions):
            raise ValueError("A subject is excluded twice.")
        if self.models is not None and self.models[0] == self.models[1]:
            raise ValueError("A plan compares two different models.")
        return self


class PlanRef(Contract):
    """Names a plan."""

    plan: str = Field(max_length=200)
    """Id or hash."""


class PlanUse(Contract):
    """One comparison under a plan. Uses are only ever added; each carries the hash of the one before it."""

    number: int
    """From 1."""
    at: str
    models: tuple[str, str]
    contenders: tuple[str, str]
    """What the names stood for: "benchmark id/contender", or the label of raw scores."""
    score_sha256s: tuple[str, str]
    verdict: VerdictName
    confirmatory: bool
    reasons: tuple[str, ...]
    """Why it is exploratory; empty where it is confirmatory."""
    previous_sha256: str
    """Of the use before it; of the first: the hash of the plan's hash and the time it was locked."""
    sha256: str
    """Of all the fields above."""


class Plan(Contract):
    """A locked plan with the trail of its uses."""

    id: str
    sha256: str
    """Of the canonical JSON of ``content``."""
    locked_at: str
    content: PlanRequest
    uses: tuple[PlanUse, ...]
