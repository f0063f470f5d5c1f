"""Rankings, intervals and power: requests and answers of the stats service beside comparisons."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from intima.contracts._base import Contract
from intima.contracts.comparison import LONGEST_PROTOCOL, MOST_SCORES, Margin
from intima.contracts.dataset import Name
from intima.contracts.job import JobError, JobState

MOST_MODELS = 100
MOST_RESAMPLED = 1_000
"""Most subjects of a ranking or a bootstrap interval."""

Row = Annotated[tuple[float, ...], Field(max_length=MOST_RESAMPLED)]
CostRule = Literal["flops", "peak_memory_bytes", "parameter_count", "cost"]
"""What a model is cheap by; "cost" is that of raw scores."""
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


class RankingRequest(Contract):
    """Body of POST /v1/rankings: a matrix of scores, or a benchmark."""

    scores: tuple[Row, ...] | None = Field(default=None, max_length=MOST_RESAMPLED)
    rows: Literal["subjects", "models"] = "subjects"
    """What one row of ``scores`` is."""
    models: tuple[Name, ...] | None = Field(default=None, max_length=MOST_MODELS)
    subjects: tuple[Name, ...] | None = None
    benchmark: str | None = None
    metric: str = Field(default="dice", max_length=200)
    class_: str = Field(default="macro", alias="class", max_length=200)
    protocol: str | None = Field(default=None, max_length=LONGEST_PROTOCOL)
    higher_is_better: bool | None = None
    """Null: what the metric says; unknown metrics count as better when higher."""
    alpha: float = Field(default=0.05, ge=1e-6, lt=0.5)
    seed: Seed = 0
    margin: Margin | None = None
    """With it the cheapest of the models equivalent to the best is chosen."""
    cheapest_by: CostRule = "flops"
    """Of a benchmark's published models: of one tile and all members of the ensemble."""
    costs: tuple[Annotated[float, Field(ge=0)], ...] | None = Field(default=None, max_length=MOST_MODELS)
    """Of raw scores, one per model, in any unit."""
    resamples: int = Field(default=10_000, ge=100, le=20_000)
    """Bootstrap resamples above 10 subjects; up to 10 all of them are enumerated."""

    @model_validator(mode="after")
    def _one_source(self) -> "RankingRequest":
        if (self.scores is None) == (self.benchmark is None):
            raise ValueError("Give exactly one of scores (with models and subjects) or benchmark.")
        if self.scores is not None and (self.models is None or self.subjects is None):
            raise ValueError("Scores need models and subjects.")
        if self.costs is not None and (self.models is None or len(self.costs) != len(self.models)):
            raise ValueError("Costs belong to raw scores: one for each of models.")
        return self


class RankedModel(Contract):
    """One model of a ranking."""

    model: str
    mean: float
    rank: float
    """Of the mean score, 1 = best, mid-ranks for ties."""
    average_rank: float
    """Mean of the ranks within subjects."""
    p_best: float
    """Share of bootstrap resamples in which its mean is the best."""
    rank_distribution: tuple[float, ...]
    """Share of resamples at rank 1, 2, ...; ties share their ranks evenly."""
    leave_one_out_ranks: tuple[float, float]
    """Lowest and highest rank of the mean when one subject is left out."""


class FriedmanResult(Contract):
    """Friedman's test of equal ranks with tie correction."""

    chi2: float
    degrees: int
    p: float
    iman_davenport_f: float | None
    """Null where all subjects agree on the order: F is infinite and p is exact."""
    iman_davenport_p: float
    permutation_p: float
    """By shuffles of ranks within subjects, 9,999 of up to 3,000 scores: valid at any number of subjects and models."""
    kendall_w: float


class NemenyiResult(Contract):
    """Critical difference of average ranks; shown because readers expect it, it decides nothing."""

    critical_difference: float
    groups: tuple[tuple[str, ...], ...]
    """Maximal sets of models that it cannot tell apart, best first."""


class RankedPair(Contract):
    """Two models of a ranking compared on their own."""

    a: str
    b: str
    difference: float
    """Mean of a - b."""
    ci95: tuple[float, float] | None
    """Paired t interval; null where all differences are equal."""
    p_difference: float
    """Sign flip, exact up to 15 subjects."""
    p_holm: float
    p_nemenyi: float


class Attainability(Contract):
    """Whether any data at all could be significant for this many subjects and pairs."""

    comparisons: int
    smallest_p: float
    """Smallest two-sided p of an exact test: 2 / 2^n."""
    attainable: bool
    subjects_needed: int
    sentence: str


class Stability(Contract):
    """How often the winner wins again, beside what models without any difference would show."""

    winner_frequency: float
    null_frequency: float
    """Mean winner frequency for as many exchangeable models and subjects."""
    null_p: float
    """Share of exchangeable data sets with at least this winner frequency."""
    leave_one_out_winner_changes: int
    """Subjects whose removal changes the winner."""
    exact: bool
    resamples: int


class RankAgreement(Contract):
    """Kendall's tau-b of two rankings by mean score, beside models that are shuffled within each subject."""

    between: Literal["protocols", "metrics", "seeds"]
    a: str
    b: str
    tau: float | None
    """Null where one of them ties all models."""
    null_mean: float
    """Mean tau without any difference between models: not zero where both rank the same subjects."""
    null_p: float
    """Share of shuffled data with at least this tau; 1 where tau is null."""


class RankRange(Contract):
    """Best and worst rank of a model's mean."""

    model: str
    lowest: float
    highest: float


class RankVolatility(Contract):
    """How ranks move over parts of a benchmark, beside models that are shuffled within each subject."""

    over: Literal["folds", "repeats", "seeds"]
    views: tuple[str, ...]
    """The folds, repeats or seeds."""
    models: tuple[RankRange, ...]
    mean_range: float
    """Mean over models of highest minus lowest rank."""
    null_mean_range: float
    null_p: float
    """Share of shuffled data whose ranks move as little or less."""


class ParadoxPair(Contract):
    """What the difference in Dice of two models is made of: the paradox of competence."""

    better: str
    """By Dice."""
    worse: str
    difference: float
    """Mean over subjects of the Dice of the better minus that of the worse."""
    forgiven: float
    """The same with the tolerant Dice, which takes borders as right that lie a little elsewhere."""
    forgiven_ci95: tuple[float, float] | None
    """Paired t, corrected where training sets overlap; null where it is the same on every subject."""
    reading: Literal["equal", "boundary", "substance"]
    """equal: Dice differs by less than .005. boundary: displaced borders explain half of the difference or more, so
    that it says little about competence. substance: the worse one misses or invents tissue."""


class EquivalentModel(Contract):
    """A model beside the one with the best mean."""

    model: str
    p_equivalence: float | None
    """TOST against the best; null for the best itself, and where all differences are equal."""
    equivalent: bool
    cost: float | None


class RankingChoice(Contract):
    """The cheapest of the models that are shown to be equivalent to the best."""

    best: str
    model: str | None
    """Null where no cost is known."""
    rule: CostRule
    margin: Margin
    alpha_each: float
    """alpha / (K - 1)"""
    models: tuple[EquivalentModel, ...]
    sentence: str


class Ranking(Contract):
    """Answer of POST /v1/rankings."""

    metric: str
    class_: str = Field(alias="class")
    unit: Literal["subject"] = "subject"
    n_units: int
    alpha: float
    models: tuple[RankedModel, ...]
    """Best mean first."""
    tiers: tuple[tuple[str, ...], ...]
    """Best first: whatever is not shown to be worse than the first of a tier (Holm; corrected where training sets
    overlap) belongs to it. Order within a tier is no rank."""
    winner: str | None
    """Only where the bootstrap frequency is at least 0.95, Friedman's test passes, there are five subjects or more, and
    its differences from the others vary."""
    friedman: FriedmanResult
    nemenyi: NemenyiResult
    pairs: tuple[RankedPair, ...]
    attainability: Attainability
    stability: Stability
    agreements: tuple[RankAgreement, ...]
    """With the rankings of other protocols and metrics of the benchmark, and between its seeds; none for raw scores."""
    volatility: tuple[RankVolatility, ...]
    paradox: tuple[ParadoxPair, ...]
    """For every pair of a ranking of a benchmark by Dice, largest difference first; empty where the benchmark is of a
    version that scored no tolerant Dice."""
    choice: RankingChoice | None
    """Null without a margin."""
    sentence: str
    warnings: tuple[str, ...]
    provenance: dict[str, object]


class IntervalRequest(Contract):
    """Body of POST /v1/intervals: an interval of the mean of scores or of paired differences."""

    scores: tuple[float, ...] = Field(max_length=MOST_SCORES)
    subjects: tuple[Name, ...] | None = None
    """One per score; several scores of one subject are averaged first. Null: one score per subject."""
    target: Literal["mean", "difference"] = "mean"
    """What the scores are: one model's scores, or differences between two models (decides coverage_at_n)."""
    method: Literal["t", "bootstrap_t", "percentile", "expanded_percentile", "bca"] | None = None
    """Null: bootstrap_t for a mean of 5 to 1,000 subjects, t otherwise."""
    confidence: float = Field(default=0.95, ge=0.5, le=0.9999)
    seed: Seed = 0


class IntervalAnswer(Contract):
    """Answer of POST /v1/intervals."""

    estimate: float
    low: float | None
    """Null where all scores are equal, or so many that a studentised limit is infinite."""
    high: float | None
    confidence: float
    method: str
    n_units: int
    coverage_at_n: float | None
    """Simulated coverage of the nominal 95 % interval at this number of subjects; null where not simulated."""
    exact: bool
    """True where no random numbers were used."""
    seed: int | None
    warnings: tuple[str, ...]


class PowerRequest(Contract):
    """Body of POST /v1/power: what n subjects can show, and how many are needed."""

    sd_difference: float = Field(ge=1e-6, le=1e9)
    """Standard deviation of the paired difference between subjects."""
    sd_measured_on: int | None = Field(default=None, ge=2, le=1_000_000)
    """Subjects of the pilot behind ``sd_difference``; gives its 95 % interval."""
    n: int = Field(ge=2, le=1_000_000)
    margin: float = Field(ge=1e-6, le=1e9)
    true_difference: float = Field(default=0.0, ge=-1e9, le=1e9)
    """Assumed true difference for the equivalence test."""
    detect: float | None = Field(default=None, ge=1e-6, le=1e9)
    """True difference the difference test should find; null: the margin."""
    protocol: str | None = None
    """"loocv" or "kfoldK" corrects for overlapping training sets; null: independent scores."""
    alpha: float = Field(default=0.05, ge=1e-6, lt=0.5)
    power: float = Field(default=0.8, ge=0.01, le=0.999)


class StabilityRequest(Contract):
    """Body of POST /v1/stability: at how many subjects does a ranking settle?"""

    gaps: tuple[float, ...] | None = Field(
        default=None, min_length=2, max_length=MOST_MODELS, examples=[[0.0, 0.01, 0.03, 0.05]]
    )
    """How far each model's mean lies below the best, in units of the score (0 to 1); the best has 0."""
    mean: float = Field(default=0.85, gt=0, lt=1)
    """Mean score of the best model."""
    sd: float = Field(default=0.08, ge=1e-4, le=0.5)
    """Standard deviation of one model's score over subjects."""
    sd_difference: float = Field(default=0.05, ge=1e-5, le=0.7)
    """Standard deviation of the paired difference between two models."""
    pilot: tuple[Row, ...] | None = Field(default=None, min_length=3, max_length=MOST_RESAMPLED)
    """Scores of a pilot, one row per subject: gaps, mean, sd and sd_difference are taken from it."""
    failure_rate: float = Field(default=0.0, ge=0, le=0.5)
    """Probability that a model fails on a subject, which leaves 20 to 60 % of its score; models fail independently."""
    numbers: tuple[Annotated[int, Field(ge=2, le=1_000)], ...] = Field(
        default=(5, 9, 15, 20, 30, 50, 100), min_length=1, max_length=20
    )
    """Numbers of subjects."""
    data_sets: int = Field(default=1_000, ge=100, le=8_000, multiple_of=2)
    """Simulated data sets per number of subjects."""
    seed: Seed = 0
    """The same seed gives the same answer."""

    @model_validator(mode="after")
    def _gaps_or_pilot(self) -> "StabilityRequest":
        if (self.gaps is None) == (self.pilot is None):
            raise ValueError("Give either gaps or a pilot.")
        return self


class SimulatedFigure(Contract):
    """A simulated figure with its 95 % Monte Carlo band."""

    value: float
    low: float
    high: float


class StabilityPoint(Contract):
    """What a ranking of n subjects is worth. Null where models share the best, or all, true means."""

    n: int
    best_first: SimulatedFigure | None
    """The truly best model has the best observed mean."""
    same_winner: SimulatedFigure
    """Two data sets of n subjects have the same winner."""
    tau_truth: SimulatedFigure | None
    """Kendall's tau with the true order."""
    tau_between: SimulatedFigure
    """Kendall's tau between two data sets."""
    whole_order: SimulatedFigure | None
    """All models stand in their true order."""
    winner_never_changes: SimulatedFigure
    """Leaving out any one subject keeps the winner."""
    winner_frequent: SimulatedFigure
    """The winner wins at least 95 % of bootstrap resamples."""
    winner_separated: SimulatedFigure
    """Nemenyi's test separates the winner from all others."""


class Criterion(Contract):
    """The smallest of the given numbers of subjects at which a figure is high enough."""

    figure: str
    threshold: float
    n: int | None
    """Null where none of them is."""


class StabilityAnswer(Contract):
    """Answer of POST /v1/stability."""

    models: int
    gaps: tuple[float, ...]
    mean: float
    sd: float
    sd_difference: float
    correlation: float
    """Between models over subjects, as sd and sd_difference imply it."""
    failure_rate: float
    points: tuple[StabilityPoint, ...]
    criteria: tuple[Criterion, ...]
    data_sets: int
    seed: int
    sentence: str
    warnings: tuple[str, ...]


class StabilityStudy(Contract):
    """Answer of GET /v1/stability/studies/{id}."""

    id: str
    job: str
    state: JobState
    error: JobError | None
    points: tuple[StabilityPoint, ...]
    """Those that are done, by number of subjects."""
    answer: StabilityAnswer | None
    """Null until all of them are."""


class SimulatedPower(Contract):
    """Power for scores distributed like Dice (Beta, mean .85, SD .08): at few subjects more than the spread counts."""

    equivalence: SimulatedFigure
    difference: SimulatedFigure


class PowerAnswer(Contract):
    """Answer of POST /v1/power."""

    n: int
    power_equivalence: float
    """Probability that TOST declares equivalence."""
    power_difference: float
    """Probability that the paired t test finds ``detect``."""
    units_for_equivalence: int | None
    """Null where a million subjects would not do."""
    units_for_difference: int | None
    smallest_margin: float
    """Smallest margin TOST can confirm at n with the wanted power if the true difference is zero."""
    smallest_difference: float
    """Smallest true difference the t test finds at n with the wanted power."""
    sd_range: tuple[float, float] | None
    """95 % interval of the standard deviation, where the pilot's size was given."""
    failure_rate_upper_bound: float
    """With 0 failures in n subjects the true rate may still be this high."""
    standard_error_factor: float
    method: str
    sentence: str
    simulated: SimulatedPower | None
    """Below nine subjects, for independent scores whose spread is possible between 0 and 1."""
    warnings: tuple[str, ...] = ()
