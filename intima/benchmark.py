"""Use case: dataset + spec -> studies, scores, published models; one function per kind of unit.

Each public function is a ``Handler`` of ``intima.store.work``: its result follows from its payload and the results of
the units it needs, so a second attempt on any worker gives the same.
"""

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass

from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from intima import registry
from intima.architectures.build import build_bare, build_net
from intima.architectures.net import SegmentationNet
from intima.architectures.sources import find_weights
from intima.arrays import Json, Predict, TileBatch
from intima.contracts.benchmark import (
    CollectPayload,
    CollectResult,
    FitPayload,
    FitResult,
    FoldPayload,
    FoldResult,
    ParameterValue,
    PublishPayload,
    PublishResult,
    ScoreRow,
    StudyRef,
    TrialPayload,
    TrialResult,
)
from intima.contracts.dataset import Dataset
from intima.contracts.model import Member, ModelCard
from intima.errors import Invalid
from intima.folds import inner_split
from intima.formats.tables import scores_csv
from intima.inference import load_onnx
from intima.store import catalog
from intima.store.storage import Storage
from intima.store.work import Report, UnitInput
from intima.tiling import to_tile_batch
from intima.training.card import card_name, protocol_scores, write_card
from intima.training.data import Resolution, load_cases, read_working_image, working_resolution
from intima.training.export import Exported, export_net
from intima.training.leaderboard import rank_contenders
from intima.training.loop import as_predict, fit
from intima.training.presets import PRESETS, LoopSettings
from intima.training.scoring import ScoredCase, Tiling, mean_macro_dice, score_cases
from intima.training.search import best_parameters, suggest_parameters
from intima.training.seeds import derive_seed

_TRAINING_SHARE = 0.85
"""Part of a unit's progress that is training; the rest is scoring."""
_PARITY_CASES = 3


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what is trained, but for the cases."""

    dataset: Dataset
    study: StudyRef
    settings: LoopSettings
    parameters: dict[str, ParameterValue]
    resolution: Resolution


def run_trial(unit: UnitInput, storage: Storage, report: Report) -> Json:
    """Train one configuration on the inner fit set and score it on the inner validation set.

    Skipped once earlier trials have used up the time budget. A configuration that diverges scores 0.

    Raises:
        Invalid: the training cases are of one subject, so there is no inner split.
    """
    started = time.monotonic()
    payload = TrialPayload.model_validate(unit.payload)
    earlier = _trials(unit)
    if payload.budget_s is not None and sum(t.seconds for t in earlier) >= payload.budget_s:
        return _json(TrialResult(parameters={}, value=None, seconds=0.0))
    dataset = _dataset(storage, payload.dataset)
    parameters = _suggest(payload, earlier)
    settings = PRESETS[payload.preset].for_trial()
    recipe = _recipe(dataset, payload.study, settings=settings, parameters=parameters)
    subjects = {c.case: c.subject for c in dataset.cases}
    fit_on, validate_on = inner_split(subjects, cases=_studied(dataset, payload.study), seed=payload.study.seed)
    seed = derive_seed("trial", *_identity(payload.study), payload.number)
    value = _trial_value(storage, recipe, fit_on=fit_on, validate_on=validate_on, seed=seed, report=report)
    return _json(TrialResult(parameters=parameters, value=value, seconds=time.monotonic() - started))


def run_fold(unit: UnitInput, storage: Storage, report: Report) -> Json:
    """Train on the outer training set with the best parameters of the search, score every test case natively."""
    started = time.monotonic()
    payload = FoldPayload.model_validate(unit.payload)
    dataset = _dataset(storage, payload.dataset)
    recipe = _recipe(dataset, payload.study, settings=PRESETS[payload.preset], parameters=_chosen(unit, payload.study))
    seed = derive_seed("fold", *_identity(payload.study))
    net = _train(storage, recipe, cases=payload.split.train, seed=seed, report=report)
    scored = _score(storage, recipe, net, cases=payload.split.test, report=report)
    rows = tuple(row for item in scored for row in _rows(item, payload))
    seconds = time.monotonic() - started
    return _json(FoldResult(parameters=recipe.parameters, rows=rows, seconds=seconds))


def run_fit(unit: UnitInput, storage: Storage, report: Report) -> Json:
    """Train one ensemble member on all data and keep its weights as a safetensors blob."""
    started = time.monotonic()
    payload = FitPayload.model_validate(unit.payload)
    dataset = _dataset(storage, payload.dataset)
    recipe = _recipe(dataset, payload.study, settings=PRESETS[payload.preset], parameters=_chosen(unit, payload.study))
    seed = _member_seed(payload.study, payload.member)
    net = _train(storage, recipe, cases=[c.case for c in dataset.cases], seed=seed, report=report)
    weights = storage.blobs.put(save_tensors(net.state_dict()))
    seconds = time.monotonic() - started
    return _json(FitResult(parameters=recipe.parameters, weights_sha256=weights, seconds=seconds))


def run_publish(unit: UnitInput, storage: Storage, report: Report) -> Json:
    """Export every member to ONNX, compare it with torch on real tiles, write the card and publish.

    Raises:
        Invalid: a member's ONNX form differs from its torch form.
    """
    payload = PublishPayload.model_validate(unit.payload)
    dataset = _dataset(storage, payload.dataset)
    fits = [FitResult.model_validate(unit.results[key]) for key in _fit_keys(unit)]
    if not fits:
        raise Invalid("Got no trained members to publish; need at least one fit unit.")
    recipe = _recipe(dataset, payload.study, settings=PRESETS[payload.preset], parameters=dict(fits[0].parameters))
    tiles = _parity_tiles(storage, recipe)
    members, worst = [], 0.0
    for number, fitted in enumerate(fits):
        exported = _export(storage, recipe, fitted, tiles=tiles)
        members.append(_member(storage, exported, seed=_member_seed(payload.study, number)))
        worst = max(worst, exported.parity_max_abs)
        report((number + 1) / (len(fits) + 1), f"member {number + 1}/{len(fits)} exported")
    card = _card(unit, storage, recipe, payload=payload, members=members, parity=worst)
    version = registry.publish(storage, card)
    return _json(PublishResult(model=version.ref, parity_max_abs=worst))


def run_collect(unit: UnitInput, storage: Storage, report: Report) -> Json:
    """Gather the scores of all folds into one table and one leaderboard."""
    CollectPayload.model_validate(unit.payload)
    folds = [FoldResult.model_validate(unit.results[key]) for key in sorted(unit.results)]
    rows = sorted((row for fold in folds for row in fold.rows), key=_row_order)
    table = storage.blobs.put(scores_csv(rows))
    skipped = sum(row.value is None for row in rows)
    report(1.0, f"{len(rows)} scores of {len(folds)} folds")
    return _json(CollectResult(scores_sha256=table, leaderboard=rank_contenders(rows), skipped=skipped))


def _trials(unit: UnitInput) -> list[TrialResult]:
    """Return the results of the search this unit stands behind, in order of their numbers."""
    keys = sorted((k for k in unit.results if "/trial" in k), key=lambda k: int(k.rpartition("/trial")[2]))
    return [TrialResult.model_validate(unit.results[key]) for key in keys]


def _fit_keys(unit: UnitInput) -> list[str]:
    return sorted((k for k in unit.results if "/member" in k), key=lambda k: int(k.rpartition("/member")[2]))


def _chosen(unit: UnitInput, study: StudyRef) -> dict[str, ParameterValue]:
    return best_parameters(study.architecture.name, _trials(unit))


def _suggest(payload: TrialPayload, earlier: Sequence[TrialResult]) -> dict[str, ParameterValue]:
    seed = derive_seed("suggest", payload.study.label, *_identity(payload.study), payload.number)
    name = payload.study.architecture.name
    return suggest_parameters(name, earlier=earlier, sampler=payload.sampler, seed=seed)


def _identity(study: StudyRef) -> tuple[int | str, ...]:
    """Return what seeds derive from. The contender is left out: all of them see the same crops in the same order."""
    if study.split is None:
        return (study.seed, "final")
    return (study.seed, study.split.protocol, study.split.repeat, study.split.fold)


def _member_seed(study: StudyRef, member: int) -> int:
    return derive_seed("member", study.seed, member)


def _dataset(storage: Storage, dataset_id: str) -> Dataset:
    with storage.reading() as connection:
        return catalog.get_dataset(connection, dataset_id)


def _studied(dataset: Dataset, study: StudyRef) -> tuple[str, ...]:
    return tuple(c.case for c in dataset.cases) if study.split is None else study.split.train


def _recipe(
    dataset: Dataset, study: StudyRef, *, settings: LoopSettings, parameters: dict[str, ParameterValue]
) -> Recipe:
    """Fix the working resolution from the cases of the study: sizes of test images have no say."""
    studied = set(_studied(dataset, study))
    cases = [c for c in dataset.cases if c.case in studied]
    resolution = working_resolution(cases, input_px=study.architecture.input_px)
    return Recipe(dataset=dataset, study=study, settings=settings, parameters=parameters, resolution=resolution)


def _train(storage: Storage, recipe: Recipe, *, cases: Sequence[str], seed: int, report: Report) -> SegmentationNet:
    classes = len(recipe.dataset.classes)
    net = build_net(
        recipe.study.architecture,
        classes=classes,
        parameters=recipe.parameters,
        seed=seed,
        weights_folder=storage.weights_folder,
    )
    report(0.0, f"reading {len(cases)} cases")
    return fit(
        net,
        load_cases(storage, recipe.dataset, cases, resolution=recipe.resolution),
        classes=classes,
        settings=recipe.settings.within(recipe.study.architecture),
        parameters=recipe.parameters,
        seed=seed,
        watch=lambda fraction, message: report(_TRAINING_SHARE * fraction, message),
    )


def _score(
    storage: Storage, recipe: Recipe, net: SegmentationNet, *, cases: Sequence[str], report: Report
) -> list[ScoredCase]:
    scored: list[ScoredCase] = []
    for item in score_cases(
        storage,
        recipe.dataset,
        cases,
        predict=as_predict(net),
        resolution=recipe.resolution,
        tiling=Tiling.of(recipe.study.architecture),
    ):
        scored.append(item)
        done = len(scored) / len(cases)
        report(_TRAINING_SHARE + (1 - _TRAINING_SHARE) * done, f"scored {len(scored)}/{len(cases)} cases")
    return scored


def _trial_value(
    storage: Storage,
    recipe: Recipe,
    *,
    fit_on: Sequence[str],
    validate_on: Sequence[str],
    seed: int,
    report: Report,
) -> float:
    try:
        net = _train(storage, recipe, cases=fit_on, seed=seed, report=report)
    except Invalid as error:
        if error.code != "diverged":
            raise
        return 0.0
    return mean_macro_dice(_score(storage, recipe, net, cases=validate_on, report=report))


def _rows(item: ScoredCase, payload: FoldPayload) -> list[ScoreRow]:
    shared = {
        "case": item.case.case,
        "subject": item.case.subject,
        "protocol": payload.split.protocol,
        "repeat": payload.split.repeat,
        "fold": payload.split.fold,
        "seed": payload.study.seed,
        "architecture": payload.study.architecture.name,
        "model": payload.study.label,
        "selection_biased": payload.selection_biased,
    }
    return [
        ScoreRow.model_validate({**shared, "class": s.class_name, "metric": s.metric, "value": s.value, "unit": s.unit})
        for s in item.scores
    ]


def _row_order(row: ScoreRow) -> tuple[str, str, int, int, int, str, str, str]:
    return (row.model, row.protocol, row.seed, row.repeat, row.fold, row.case, row.metric, row.class_)


def _parity_tiles(storage: Storage, recipe: Recipe) -> list[TileBatch]:
    """Return the middle of the first cases as tiles, one batch each."""
    side = Tiling.of(recipe.study.architecture).tile_px
    tiles = []
    for case in recipe.dataset.cases[:_PARITY_CASES]:
        image = read_working_image(storage, case, resolution=recipe.resolution)
        top, left = (max(0, (n - side) // 2) for n in image.shape[:2])
        tiles.append(to_tile_batch([image[top : top + side, left : left + side]]))
    return tiles


def _export(storage: Storage, recipe: Recipe, fitted: FitResult, *, tiles: Sequence[TileBatch]) -> Exported:
    classes = len(recipe.dataset.classes)
    net = build_bare(recipe.study.architecture, classes=classes, parameters=fitted.parameters)
    net.load_state_dict(load_tensors(storage.blobs.read(fitted.weights_sha256)))
    return export_net(net, tiles=tiles, load=_serve)


def _serve(data: bytes) -> Predict:
    return load_onnx(data).predict


def _member(storage: Storage, exported: Exported, *, seed: int) -> Member:
    return Member(seed=seed, onnx_sha256=storage.blobs.put(exported.onnx), bytes=len(exported.onnx))


def _card(
    unit: UnitInput,
    storage: Storage,
    recipe: Recipe,
    *,
    payload: PublishPayload,
    members: Sequence[Member],
    parity: float,
) -> ModelCard:
    architecture, label = recipe.study.architecture, recipe.study.label
    collected = CollectResult.model_validate(unit.results["collect"])
    biased = _biased_protocols(storage.blobs.read(collected.scores_sha256), label=label)
    net = build_bare(architecture, classes=len(recipe.dataset.classes), parameters=recipe.parameters)
    return write_card(
        card_name(recipe.dataset.name, label),
        architecture=architecture,
        dataset=recipe.dataset,
        resolution=recipe.resolution,
        members=members,
        parameters=recipe.parameters,
        weights=find_weights(architecture, folder=storage.weights_folder),
        scores=protocol_scores(collected.leaderboard, label=label, biased=biased),
        benchmark=payload.benchmark,
        parity_max_abs=parity,
        parameter_count=sum(p.numel() for p in net.parameters()),
    )


def _biased_protocols(table: bytes, *, label: str) -> frozenset[str]:
    rows = csv.DictReader(io.StringIO(table.decode()))
    return frozenset(r["protocol"] for r in rows if r["model"] == label and r["selection_biased"] == "true")


def _json(result: TrialResult | FoldResult | FitResult | PublishResult | CollectResult) -> Json:
    return result.model_dump(mode="json", by_alias=True)
