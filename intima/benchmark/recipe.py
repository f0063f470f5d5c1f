"""What every unit that trains shares: the recipe, made from its payload, and how it is trained and scored."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from intima.architectures.build import build_net
from intima.architectures.net import SegmentationNet
from intima.architectures.sources import EncoderWeights, find_weights
from intima.arrays import Json
from intima.contracts._base import Contract
from intima.contracts.benchmark import ArchitectureSpec, EncoderStart, FitResult, ParameterValue, StudyRef, TrialResult
from intima.contracts.dataset import Dataset
from intima.errors import Invalid
from intima.metrics import METRICS
from intima.spaces import apply_parameters
from intima.store import catalog
from intima.store.storage import Storage
from intima.store.work import Report, UnitInput
from intima.training.data import Resolution, load_cases, working_resolution
from intima.training.loop import NO_RUNGS, Record, Rungs, as_predict, fit, forget
from intima.training.presets import LoopSettings
from intima.training.scoring import ScoredCase, Tiling, score_cases
from intima.training.search import best_parameters
from intima.training.seeds import derive_seed
from intima.training.weights import restore_net

_TRAINING_SHARE = 0.85
"""Part of a unit's progress that is training; the rest is scoring."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what is trained, but for the cases."""

    dataset: Dataset
    study: StudyRef
    settings: LoopSettings
    parameters: dict[str, ParameterValue]
    resolution: Resolution


def make_recipe(
    dataset: Dataset, study: StudyRef, *, settings: LoopSettings, parameters: dict[str, ParameterValue]
) -> Recipe:
    """Apply the parameters to architecture and settings, and fix the working resolution from the cases of the study:
    sizes of test images have no say."""
    architecture = apply_parameters(study.architecture, parameters)
    resolution = resolution_of(dataset, study, input_px=architecture.input_px)
    return Recipe(
        dataset=dataset,
        study=study.model_copy(update={"architecture": architecture}),
        settings=settings.chosen(parameters),
        parameters=parameters,
        resolution=resolution,
    )


def resolution_of(dataset: Dataset, study: StudyRef, *, input_px: int) -> Resolution:
    """Return the working resolution of a study: of the cases it may see.

    It is one of pixels in every study where any case of the dataset has no pixel size: it would else depend on who is
    held out whether a fold is trained in micrometres.
    """
    studied = set(studied_cases(dataset, study))
    seen = [c for c in dataset.cases if c.case in studied]
    if any(c.mpp is None for c in dataset.cases):
        seen = [c.model_copy(update={"mpp": None}) for c in seen]
    return working_resolution(seen, input_px=input_px)


def studied_cases(dataset: Dataset, study: StudyRef) -> tuple[str, ...]:
    """Return the cases a study may see: those of its outer training set, or all."""
    return tuple(c.case for c in dataset.cases) if study.split is None else study.split.train


def read_dataset(storage: Storage, dataset_id: str) -> Dataset:
    """Return a dataset. Raises NotFound."""
    with storage.reading() as connection:
        return catalog.get_dataset(connection, dataset_id)


@dataclass(frozen=True, slots=True)
class TrainingSeeds:
    """What a training draws from."""

    init: int
    """Initial weights."""
    augmentation: int
    """Crops, their augmentation, dropout."""


def seeds_for(what: str, study: StudyRef, *more: int) -> TrainingSeeds:
    """Return the seeds of one training of a study; equal where the study's own two are equal."""
    return TrainingSeeds(
        init=derive_seed(what, *identity_of(study, study.seeds.init), *more),
        augmentation=derive_seed(what, *identity_of(study, study.seeds.augmentation), *more),
    )


def encoder_seed(study: StudyRef) -> int | None:
    """Return what draws an encoder that is random and stays so, one for all trainings of a seed; null: any other."""
    architecture = study.architecture
    if architecture.weights != "random" or architecture.encoder_training != "frozen":
        return None
    return derive_seed("frozen encoder", study.seeds.init)


def identity_of(study: StudyRef, seed: int) -> tuple[int | str, ...]:
    """Return what seeds derive from. The contender is left out: all of them see the same crops in the same order."""
    if study.split is None:
        return (seed, "final")
    return (seed, study.split.protocol, study.split.repeat, study.split.fold)


def trials_behind(unit: UnitInput) -> list[TrialResult]:
    """Return the results of the search this unit stands behind, in order of their numbers, without outer scores.

    Whatever proposes, prunes or chooses reads results here.
    """
    return [trial.model_copy(update={"outer_value": None}) for trial in _stored_trials(unit)]


def audited_outer_value(unit: UnitInput, *, best: int) -> float | None:
    """Return the outer score of one trial's own net. For the audit, once that trial has been chosen."""
    return _stored_trials(unit)[best].outer_value


def _stored_trials(unit: UnitInput) -> list[TrialResult]:
    keys = sorted((k for k in unit.results if "/trial" in k), key=lambda k: int(k.rpartition("/trial")[2]))
    return [TrialResult.model_validate(unit.results[key]) for key in keys]


def chosen_parameters(unit: UnitInput, study: StudyRef) -> dict[str, ParameterValue]:
    """Return the best parameters of the search behind a unit; the defaults where there was none."""
    return best_parameters(study.space, trials_behind(unit))


def starting_weights(storage: Storage, recipe: Recipe) -> EncoderWeights:
    """Return what the encoder of a recipe starts from.

    Raises:
        Invalid: the weights are not there, or not those that the benchmark was submitted with.
    """
    architecture = recipe.study.architecture
    start = recipe.study.starts.get(architecture.encoder)
    return find_weights(architecture, folder=storage.weights_folder, start=start)


def shared_start(fits: Sequence[FitResult]) -> EncoderStart | None:
    """Return what all members of one model started from, as their trainings recorded it; null where none did.

    Raises:
        Invalid: they did not start from the same.
    """
    starts = [fit.start for fit in fits]
    if len({None if start is None else (start.kind, start.sha256, start.licence) for start in starts}) > 1:
        found = ", ".join("not recorded" if start is None else start.origin for start in starts)
        raise Invalid(
            f"The members of this model did not start from the same encoder weights: {found}.",
            code="mixed_start_weights",
            hint="Submit the benchmark again.",
        )
    return starts[0]


def restore_trained(
    storage: Storage,
    study: StudyRef,
    *,
    classes: int,
    parameters: dict[str, ParameterValue],
    weights_sha256: str,
) -> tuple[ArchitectureSpec, SegmentationNet]:
    """Return the architecture a search has chosen, and the net that a fold of it has kept.

    Raises:
        Invalid: the weights cannot be restored.
    """
    architecture = apply_parameters(study.architecture, parameters)
    net = restore_net(
        storage.blobs.read(weights_sha256),
        architecture,
        classes=classes,
        parameters=parameters,
        weights_folder=storage.weights_folder,
        start=study.starts.get(architecture.encoder),
    )
    return architecture, net


def train_net(
    storage: Storage,
    recipe: Recipe,
    *,
    cases: Sequence[str],
    seeds: TrainingSeeds,
    report: Report,
    rungs: Rungs = NO_RUNGS,
    record: Record = forget,
    weights: EncoderWeights | None = None,
) -> SegmentationNet:
    """Return a net trained on these cases; training is the first part of the progress.

    ``weights`` is what ``starting_weights`` has found, where the caller keeps a record of it.
    """
    classes = len(recipe.dataset.classes)
    net = build_net(
        recipe.study.architecture,
        classes=classes,
        parameters=recipe.parameters,
        seed=seeds.init,
        weights=weights or starting_weights(storage, recipe),
        encoder_seed=encoder_seed(recipe.study),
    )
    report(0.0, f"reading {len(cases)} cases")
    return fit(
        net,
        load_cases(storage, recipe.dataset, cases, resolution=recipe.resolution),
        classes=classes,
        settings=recipe.settings.within(recipe.study.architecture),
        parameters=recipe.parameters,
        seed=seeds.augmentation,
        watch=lambda fraction, message: report(_TRAINING_SHARE * fraction, message),
        cache=storage.cache,
        rungs=rungs,
        record=record,
    )


def score_net(
    storage: Storage,
    recipe: Recipe,
    net: SegmentationNet,
    *,
    cases: Sequence[str],
    report: Report,
    metrics: Collection[str] = tuple(METRICS),
) -> list[ScoredCase]:
    """Return the native-resolution scores of a net; scoring is the last part of the progress."""
    scored: list[ScoredCase] = []
    for item in score_cases(
        storage,
        recipe.dataset,
        cases,
        predict=as_predict(net),
        resolution=recipe.resolution,
        tiling=Tiling.of(recipe.study.architecture),
        metrics=metrics,
    ):
        scored.append(item)
        done = len(scored) / len(cases)
        report(_TRAINING_SHARE + (1 - _TRAINING_SHARE) * done, f"scored {len(scored)}/{len(cases)} cases")
    return scored


def to_json(result: Contract) -> Json:
    """Return a result as the JSON the ledger keeps."""
    return result.model_dump(mode="json", by_alias=True)
