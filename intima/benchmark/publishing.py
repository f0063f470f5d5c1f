"""The published ensemble: members trained on all data, exported to ONNX, with a card."""

import time
from collections.abc import Sequence
from itertools import chain

from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from intima import registry
from intima.architectures.build import build_bare
from intima.architectures.net import SegmentationNet
from intima.arrays import Json, Predict, TileBatch
from intima.benchmark.certificate import compare_formats
from intima.benchmark.held_out import pool_folds
from intima.benchmark.recipe import (
    Recipe,
    TrainingSeeds,
    chosen_parameters,
    make_recipe,
    read_dataset,
    shared_start,
    starting_weights,
    to_json,
    train_net,
    trials_behind,
)
from intima.contracts.benchmark import (
    EncoderStart,
    ExternalResult,
    FitPayload,
    FitResult,
    FoldResult,
    PublishPayload,
    PublishResult,
    ScoreRow,
    StudyRef,
)
from intima.contracts.dataset import StoredCase, label_schema
from intima.contracts.evidence import OutOfFoldEvidence
from intima.contracts.model import Member, MemberFile, ModelCard
from intima.errors import Invalid
from intima.inference import load_onnx
from intima.store.storage import Storage
from intima.store.work import Report, UnitInput
from intima.tiling import to_tile_batch
from intima.training.card import Published, card_name, protocol_scores, write_card
from intima.training.cost import count_cost, time_predict
from intima.training.curves import TrainingCurves
from intima.training.data import read_working_image
from intima.training.importance import summarise_study
from intima.training.leaderboard import rank_contenders
from intima.training.masks import dropout_rate
from intima.training.presets import PRESETS
from intima.training.scoring import Tiling
from intima.training.seeds import derive_seed
from intima.training.variants import MemberVariants, Samples, common_precisions, export_variants, join_variants

_PARITY_CASES = 3
_CALIBRATION_CASES = 6


def run_fit(unit: UnitInput, storage: Storage, report: Report) -> Json:
    """Train one ensemble member on all data and keep its weights as a safetensors blob."""
    started = time.monotonic()
    payload = FitPayload.model_validate(unit.payload)
    dataset = read_dataset(storage, payload.dataset)
    recipe = make_recipe(
        dataset, payload.study, settings=PRESETS[payload.preset], parameters=chosen_parameters(unit, payload.study)
    )
    seed = _member_seed(payload.study, payload.member)
    seeds = TrainingSeeds(init=seed, augmentation=seed)
    losses, cases = TrainingCurves(report), [c.case for c in dataset.cases]
    start = starting_weights(storage, recipe)
    net = train_net(storage, recipe, cases=cases, seeds=seeds, report=report, record=losses.add, weights=start)
    weights = storage.blobs.put(save_tensors(net.state_dict()))
    seconds = time.monotonic() - started
    search = summarise_study(payload.study.space, trials_behind(unit))
    result = FitResult(
        parameters=recipe.parameters,
        weights_sha256=weights,
        search=search,
        losses=losses.points(),
        start=start.start,
        seconds=seconds,
    )
    return to_json(result)


def run_publish(unit: UnitInput, storage: Storage, report: Report) -> Json:
    """Export every member to ONNX, compare it with torch on real tiles, write the card and publish.

    Raises:
        Invalid: a member's ONNX form differs from its torch form, the members started from different weights, or there
            are no members or no scores.
    """
    payload = PublishPayload.model_validate(unit.payload)
    dataset = read_dataset(storage, payload.dataset)
    fits = [FitResult.model_validate(unit.results[key]) for key in _fit_keys(unit)]
    if not fits:
        raise Invalid("Got no trained members to publish; need at least one fit unit.")
    start = shared_start(fits)
    rows = _score_rows(unit)
    recipe = make_recipe(dataset, payload.study, settings=PRESETS[payload.preset], parameters=dict(fits[0].parameters))
    samples = _samples(storage, recipe)
    nets = [_read_net(storage, recipe, fitted) for fitted in fits]
    exported = []
    for number, net in enumerate(nets):
        exported.append(export_variants(net, samples=samples, load=_serve))
        report((number + 1) / (len(fits) + 1), f"member {number + 1}/{len(fits)} exported")
    seeds = [_member_seed(payload.study, number) for number in range(len(fits))]
    members, files = _store(storage, exported, nets[0], seeds=seeds, recipe=recipe)
    evidence = pool_folds(_folds(unit))
    card = _card(recipe, payload=payload, rows=rows, members=members, files=files, start=start, evidence=evidence)
    version = registry.publish(storage, card)
    return to_json(PublishResult(model=version.ref, parity_max_abs=card.parity_max_abs))


def _fit_keys(unit: UnitInput) -> list[str]:
    return sorted((k for k in unit.results if "/member" in k), key=lambda k: int(k.rpartition("/member")[2]))


def _score_rows(unit: UnitInput) -> list[ScoreRow]:
    """Return the scores of all folds and on the external dataset, where there are any. Raises Invalid."""
    folds = [fold.rows for fold in _folds(unit)]
    outside = [ExternalResult.model_validate(r).rows for k, r in unit.results.items() if k.endswith("/external")]
    if not folds:
        raise Invalid("Got no scores for the card of the model; need its folds.")
    return list(chain.from_iterable(folds + outside))


def _folds(unit: UnitInput) -> list[FoldResult]:
    return [FoldResult.model_validate(r) for k, r in sorted(unit.results.items()) if k.endswith("/fold")]


def _member_seed(study: StudyRef, member: int) -> int:
    return derive_seed("member", study.seed, member)


def _samples(storage: Storage, recipe: Recipe) -> Samples:
    """Compare on the first cases and calibrate on the next; on the same where there are no others."""
    cases = recipe.dataset.cases
    compare = [_middle_tile(storage, recipe, case) for case in cases[:_PARITY_CASES]]
    others = cases[_PARITY_CASES : _PARITY_CASES + _CALIBRATION_CASES]
    calibrate = [_middle_tile(storage, recipe, case) for case in others] or compare
    schema = label_schema(recipe.dataset.classes)
    return Samples(compare=compare, calibrate=calibrate, classes=[c.name for c in schema.classes])


def _middle_tile(storage: Storage, recipe: Recipe, case: StoredCase) -> TileBatch:
    side = Tiling.of(recipe.study.architecture).tile_px
    image = read_working_image(storage, case, resolution=recipe.resolution)
    top, left = (max(0, (n - side) // 2) for n in image.shape[:2])
    return to_tile_batch([image[top : top + side, left : left + side]])


def _read_net(storage: Storage, recipe: Recipe, fitted: FitResult) -> SegmentationNet:
    classes = len(recipe.dataset.classes)
    net = build_bare(recipe.study.architecture, classes=classes, parameters=fitted.parameters)
    net.load_state_dict(load_tensors(storage.blobs.read(fitted.weights_sha256)))
    return net


def _serve(data: bytes) -> Predict:
    return load_onnx(data).predict


def _store(
    storage: Storage, exported: Sequence[MemberVariants], net: SegmentationNet, *, seeds: Sequence[int], recipe: Recipe
) -> tuple[list[Member], Published]:
    """Store the files of all variants; count and time the first member."""
    kept = common_precisions(exported)
    stored = {p: [_stored(storage, member.files[p]) for member in exported] for p in kept}
    members = [
        Member(seed=seed, onnx_sha256=file.sha256, bytes=file.bytes)
        for seed, file in zip(seeds, stored["fp32"], strict=True)
    ]
    tile_px = Tiling.of(recipe.study.architecture).tile_px
    equivalence = compare_formats(storage, recipe, {p: [member.files[p] for member in exported] for p in kept})
    variants, left_out = join_variants(exported, files=stored, equivalence=equivalence)
    latency = tuple(time_predict(_serve(exported[0].files[p]), precision=p, tile_px=tile_px) for p in kept)
    cost = count_cost(net, tile_px=tile_px)
    return members, Published(variants=variants, left_out=left_out, cost=cost, latency=latency)


def _stored(storage: Storage, data: bytes) -> MemberFile:
    return MemberFile(sha256=storage.blobs.put(data), bytes=len(data))


def _card(
    recipe: Recipe,
    *,
    payload: PublishPayload,
    rows: Sequence[ScoreRow],
    members: Sequence[Member],
    files: Published,
    start: EncoderStart | None,
    evidence: OutOfFoldEvidence | None,
) -> ModelCard:
    architecture, label = recipe.study.architecture, recipe.study.label
    biased = frozenset(row.protocol for row in rows if row.selection_biased)
    net = build_bare(architecture, classes=len(recipe.dataset.classes), parameters=recipe.parameters)
    return write_card(
        card_name(recipe.dataset.name, label),
        architecture=architecture,
        dataset=recipe.dataset,
        resolution=recipe.resolution,
        members=members,
        parameters=recipe.parameters,
        start=start,
        scores=protocol_scores(rank_contenders(rows), label=label, biased=biased),
        benchmark=payload.benchmark,
        leakage_override=payload.leakage_override,
        parity_max_abs=files.variants[0].parity.max_abs,
        parameter_count=sum(p.numel() for p in net.parameters()),
        dropout_rate=dropout_rate(net),
        files=files,
        evidence=evidence,
    )
