"""A comparison: two contenders' scores in, a verdict out."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from intima.contracts._base import Contract

MOST_SCORES = 10_000
"""Most scores of one side; more subjects than this need no statistics of tiny samples."""

MOST_SPLIT = 1_000_000
"""Most subjects of a training or test set, and most splits."""

LONGEST_PROTOCOL = 220
"""Characters: "split3-" and the name of a split."""

Subject = Annotated[str, Field(max_length=200)]
VerdictName = Literal["equivalent", "better_a", "better_b", "different_but_negligible", "inconclusive"]


class Contender(Contract):
    """One side: a published model, a model of a benchmark, or raw scores with their subjects."""

    model: str | None = None
    """name[@version|alias] of a published model."""
    benchmark: str | None = None
    """Benchmark id, with ``architecture`` naming the contender inside it."""
    architecture: str | None = None
    scores: tuple[float, ...] | None = Field(default=None, max_length=MOST_SCORES)
    subjects: tuple[Subject, ...] | None = Field(default=None, max_length=MOST_SCORES)
    """One per score; several scores of one subject (sections, repeats, seeds) are averaged first."""
    label: str | None = Field(default=None, max_length=200)
    """Name of raw scores in the answer; null: "a" or "b"."""

    @model_validator(mode="after")
    def _one_source(self) -> "Contender":
        sources = [self.model is not None, self.benchmark is not None, self.scores is not None]
        if sum(sources) != 1:
            raise ValueError("Give exactly one of model, benchmark (with architecture) or scores (with subjects).")
        if self.benchmark is not None and self.architecture is None:
            raise ValueError("A contender by benchmark also needs architecture.")
        if self.scores is not None and (self.subjects is None or len(self.subjects) != len(self.scores)):
            raise ValueError("Give one subject for each score.")
        return self


class Margin(Contract):
    """The largest difference that does not matter."""

    value: float = Field(ge=1e-6, le=1e9)
    """In units of the metric; scores are compared to six decimals."""
    basis: Literal["stated", "inter_observer", "endpoint"] = "stated"


class Dependence(Contract):
    """How training sets overlap, for the Nadeau-Bengio correction."""

    protocol: str = Field(max_length=LONGEST_PROTOCOL)
    n_train: int = Field(ge=1, le=MOST_SPLIT)
    n_test: int = Field(ge=1, le=MOST_SPLIT)
    splits: int | None = Field(default=None, ge=2, le=MOST_SPLIT)
    """Number of train/test splits of one repeat; null: (n_train + n_test) / n_test."""


class ComparisonRequest(Contract):
    """Body of POST /v1/comparisons."""

    a: Contender
    b: Contender
    metric: str = Field(default="dice", max_length=200)
    class_: str = Field(default="macro", alias="class", max_length=200)
    protocol: str | None = Field(default=None, max_length=LONGEST_PROTOCOL)
    """Needed when a benchmark has more than one, e.g. "loocv"."""
    margin: Margin | None = None
    """Required unless a plan fixes it."""
    alpha: float = Field(default=0.05, ge=1e-6, lt=0.5)
    plan: str | None = None
    """Id or hash of a locked plan: it fixes what it states, and only under it a verdict can be confirmatory."""
    dependence: Dependence | None = None
    """Null: derived from the protocol of a benchmark; raw scores count as independent, and the answer says so."""
    higher_is_better: bool | None = None
    """Null: what the metric says; unknown metrics count as better when higher."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Of posterior draws, and where resampling cannot be exact (more than 10 subjects; 15 for sign flips)."""

    @property
    def agreed_margin(self) -> Margin:
        """The margin, once that of a plan was put into the request."""
        assert self.margin is not None
        return self.margin


class Difference(Contract):
    """Mean paired difference a - b in units of the metric."""

    estimate: float
    ci90: tuple[float, float] | None
    """Decides equivalence where alpha is 0.05. Null where all differences are equal: no spread, no interval."""
    ci95: tuple[float, float] | None
    """Decides difference where alpha is 0.05."""
    method: str
    coverage_at_n: float | None
    """Simulated coverage of the nominal 95 % interval at this number of subjects; null where not simulated."""


class EffectSize(Contract):
    """A standardised effect; null where the spread is zero.

    Its interval takes subjects as independent: it is not corrected for overlapping training sets. No interval knows of
    failures that these subjects do not show; by simulation that of the rank-biserial covers .91 to .93 where effects
    are large, and those by noncentral t take differences for normal (docs/statistics.md).
    """

    name: str
    value: float | None
    ci95: tuple[float, float] | None
    method: str | None
    """Of the interval; null where there is none."""


class RopeProbabilities(Contract):
    """Posterior probabilities of the three regions that the margin makes; they sum to one."""

    better_b: float
    negligible: float
    better_a: float


class SensitivityVerdict(Contract):
    """The verdict another method would give."""

    method: str
    p_equivalence: float | None
    """Null for methods that give probabilities."""
    p_difference: float | None
    probabilities: RopeProbabilities | None = None
    """Of Bayesian methods; a verdict needs 1 - alpha of them."""
    verdict: VerdictName


class NonInferiority(Contract):
    """Whether one side is shown to be worse than the other by less than the margin: one of the two tests of TOST."""

    p_a: float
    """One-sided p of "a is worse than b by the margin or more"."""
    p_b: float
    a: bool
    """Whether a is shown to be not inferior to b."""
    b: bool


class DependenceNote(Contract):
    """What was corrected and by how much."""

    protocol: str | None
    correction: str
    standard_error_factor: float


class Choice(Contract):
    """Which of the two to use, where the verdict allows to say so."""

    model: Literal["a", "b", "either"]
    rule: str
    reason: str


class SubjectScore(Contract):
    """Scores of one subject, sections averaged first."""

    subject: str
    a: float
    b: float
    difference: float


class PlanStanding(Contract):
    """What a verdict under a plan may call itself, and why."""

    id: str
    sha256: str
    locked_at: str
    use: int
    """Number of this comparison in the plan's trail; the same scores compared again are the same use."""
    confirmatory: bool
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    """What the service cannot know or did not correct."""


class Verdict(Contract):
    """Answer of POST /v1/comparisons."""

    models: tuple[str, str]
    metric: str
    class_: str = Field(alias="class")
    unit: Literal["subject"] = "subject"
    n_units: int
    margin: dict[str, object]
    """value, basis, plan_sha256 (null: no locked plan)."""
    alpha: float
    """The 1 - 2 alpha interval decides equivalence, the 1 - alpha interval difference."""
    difference: Difference
    """What decides: corrected for overlapping training sets where the dependence is known."""
    naive_difference: Difference | None
    """The uncorrected interval; null where nothing was corrected."""
    effect_sizes: tuple[EffectSize, ...]
    non_inferiority: NonInferiority | None
    """By the deciding test; null where all differences are equal."""
    verdict: VerdictName
    no_winner: bool
    exploratory: bool
    """False only under a locked plan and where ``plan.confirmatory`` says why."""
    units_needed_for_80_percent_power: int | None
    """Subjects for 80 % power of the equivalence test at this margin if the true difference is zero;
    null when the observed spread is zero, or when a million would not do."""
    dependence: DependenceNote
    sensitivity: tuple[SensitivityVerdict, ...]
    worst_case: SubjectScore
    """The subject with the largest absolute difference."""
    failure_rate_upper_bound: float
    """With 0 failures seen in n subjects, the true rate may still be this high: 1 - 0.05^(1/n)."""
    choose: Choice | None
    sentence: str
    subjects: tuple[SubjectScore, ...]
    warnings: tuple[str, ...]
    plan: PlanStanding | None = None
    """Null without a plan."""
    provenance: dict[str, object]
