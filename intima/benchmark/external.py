"""The final ensemble of a contender, scored on a second dataset that no training and no search has seen."""

import time

import numpy as np
from safetensors.torch import load as load_tensors
from scipy.special import log_softmax, logsumexp

from intima.architectures.build import build_bare
from intima.arrays import Json, LogitBatch, Predict, TileBatch
from intima.benchmark.folds import score_rows
from intima.benchmark.recipe import Recipe, make_recipe, read_dataset, shared_start, to_json
from intima.contracts.benchmark import ExternalPayload, ExternalResult, FitResult, FoldPayload, Series, Split
from intima.folds import EXTERNAL
from intima.store.storage import Storage
from intima.store.work import Report, UnitInput
from intima.training.loop import as_predict
from intima.training.presets import PRESETS
from intima.training.scoring import ScoredCase, Tiling, score_cases


def run_external(unit: UnitInput, storage: Storage, report: Report) -> Json:
    """Score the ensemble of all members on every case of the external dataset, at its native resolution.

    The working resolution is that of the training data, as in serving. Classes are the same by the plan.
    """
    started = time.monotonic()
    payload = ExternalPayload.model_validate(unit.payload)
    dataset, external = (read_dataset(storage, name) for name in (payload.dataset, payload.external))
    fits = [FitResult.model_validate(unit.results[key]) for key in sorted(unit.results)]
    recipe = make_recipe(dataset, payload.study, settings=PRESETS[payload.preset], parameters=dict(fits[0].parameters))
    scored: list[ScoredCase] = []
    for item in score_cases(
        storage,
        external,
        [c.case for c in external.cases],
        predict=as_ensemble([_restored(storage, recipe, fitted) for fitted in fits]),
        resolution=recipe.resolution,
        tiling=Tiling.of(recipe.study.architecture),
    ):
        scored.append(item)
        report(len(scored) / len(external.cases), f"scored {len(scored)}/{len(external.cases)} external cases")
    as_fold, start = _as_fold(payload), shared_start(fits)
    rows = tuple(row for item in scored for row in score_rows(item, as_fold, start=start))
    return to_json(ExternalResult(rows=rows, seconds=time.monotonic() - started))


def as_ensemble(members: list[Predict]) -> Predict:
    """Return one Predict whose softmax is the mean of the members' softmax."""

    def predict(tiles: TileBatch) -> LogitBatch:
        each = np.stack([log_softmax(member(tiles), axis=1) for member in members])
        mean: LogitBatch = (logsumexp(each, axis=0) - np.log(len(members))).astype(np.float32)
        return mean

    return predict


def _restored(storage: Storage, recipe: Recipe, fitted: FitResult) -> Predict:
    classes = len(recipe.dataset.classes)
    net = build_bare(recipe.study.architecture, classes=classes, parameters=fitted.parameters)
    net.load_state_dict(load_tensors(storage.blobs.read(fitted.weights_sha256)))
    return as_predict(net)


def _as_fold(payload: ExternalPayload) -> FoldPayload:
    """Describe the scoring as a fold without training cases, so that its rows are made like all others."""
    return FoldPayload(
        dataset=payload.dataset,
        study=payload.study,
        reads=Series(prefix="", count=0),
        split=Split(protocol=EXTERNAL, repeat=0, fold=0, train=(), test=()),
        selection_biased=False,
        leakage_override=payload.leakage_override,
        preset=payload.preset,
    )
