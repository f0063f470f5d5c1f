"""Explain folds of a benchmark: one figure and one JSON per test case, and best against worst fold."""

import re
import time
from dataclasses import dataclass

from intima.architectures.net import SegmentationNet
from intima.arrays import Json
from intima.benchmark.recipe import read_dataset, resolution_of, restore_trained, to_json
from intima.borders import Scale, boundary_distance
from intima.contracts._base import Contract
from intima.contracts.benchmark import ArchitectureSpec
from intima.contracts.dataset import Dataset, StoredCase, label_schema
from intima.contracts.explanation import (
    CaseArtefacts,
    CaseExplanation,
    ErrorLayer,
    ExplainPayload,
    ExplainResult,
    ExplanationSettings,
    ParadoxPayload,
    ParadoxResult,
)
from intima.contracts.segmentation import Artefact
from intima.explanation.case import CaseView, Explained, explain_layers
from intima.explanation.crop import Crop
from intima.explanation.error import explain_errors
from intima.explanation.figure import draw_case, draw_paradox
from intima.explanation.panels import LONGEST_PX, Picture, picture_of
from intima.explanation.paradox import (
    CaseBoundary,
    compare_folds,
    fold_boundary,
    macro_dice,
    measure_case,
    subject_mean,
)
from intima.formats.png import mask_png
from intima.geometry import Size
from intima.slides import read_mask
from intima.store.keys import canonical_json
from intima.store.storage import Storage
from intima.store.work import Report, UnitInput
from intima.tiling import predict_image
from intima.training.data import Resolution, read_truth, read_working_image
from intima.training.loop import as_predict
from intima.training.scoring import Tiling, predict_mask


@dataclass(frozen=True, slots=True)
class _Fold:
    """What the cases of a fold share."""

    payload: ExplainPayload
    dataset: Dataset
    architecture: ArchitectureSpec
    """With what the search has chosen."""
    net: SegmentationNet
    resolution: Resolution
    tiling: Tiling


def run_explain(unit: UnitInput, storage: Storage, report: Report) -> Json:
    """Explain every test case of one fold by the net that was trained on it.

    Raises:
        Invalid: the fold's weights cannot be restored.
    """
    started = time.monotonic()
    fold = _restore(storage, ExplainPayload.model_validate(unit.payload))
    by_name = {c.case: c for c in fold.dataset.cases}
    made: list[CaseArtefacts] = []
    for number, name in enumerate(fold.payload.cases):
        report(number / len(fold.payload.cases), f"explaining {name}")
        made.append(_explain_case(storage, fold, by_name[name], prefix=f"fold{fold.payload.fold}-{number}"))
    report(1.0, f"{len(made)} cases explained")
    result = ExplainResult(
        repeat=fold.payload.repeat,
        fold=fold.payload.fold,
        dice=subject_mean([(m.subject, m.dice) for m in made]),
        cases=tuple(made),
        seconds=time.monotonic() - started,
    )
    return to_json(result)


def run_paradox(unit: UnitInput, storage: Storage, report: Report) -> Json:
    """Set the best of the explained folds beside the worst: difference in Dice, errors near and far from borders."""
    payload = ParadoxPayload.model_validate(unit.payload)
    dataset = read_dataset(storage, payload.dataset)
    folds = [ExplainResult.model_validate(r) for r in unit.results.values()]
    ordered = sorted(folds, key=lambda f: (-f.dice, f.fold))
    chosen = (ordered[0], ordered[-1])
    scales = _scales(dataset, chosen, payload.settings)
    sides = []
    for number, found in enumerate(chosen):
        report(number / 2, f"measuring fold {found.fold}")
        measured = [_measure(storage, dataset, c, scale=scales[c.case]) for c in found.cases]
        sides.append(fold_boundary(found.fold, measured))
    paradox = compare_folds(sides[0], sides[1], scale=next(iter(scales.values())))
    shown = [next(c for c in f.cases if c.case == side.shown) for f, side in zip(chosen, sides, strict=True)]
    best, worst = (_drawn(storage, dataset, case, scale=scales[case.case]) for case in shown)
    figure = draw_paradox(paradox, (best[0], worst[0]), (best[1], worst[1]), schema=label_schema(dataset.classes))
    report(1.0, paradox.explanation)
    result = ParadoxResult(
        paradox=paradox,
        figure=_put(storage, "paradox.png", figure, media_type="image/png"),
        json_file=_put(storage, "paradox.json", _json_bytes(paradox), media_type="application/json"),
    )
    return to_json(result)


def _restore(storage: Storage, payload: ExplainPayload) -> _Fold:
    dataset = read_dataset(storage, payload.dataset)
    architecture, net = restore_trained(
        storage,
        payload.study,
        classes=len(dataset.classes),
        parameters=payload.parameters,
        weights_sha256=payload.weights_sha256,
    )
    resolution = resolution_of(dataset, payload.study, input_px=architecture.input_px)
    return _Fold(payload, dataset, architecture, net, resolution, Tiling.of(architecture))


def _explain_case(storage: Storage, fold: _Fold, case: StoredCase, *, prefix: str) -> CaseArtefacts:
    view, predict, tiling = _view(storage, fold, case), as_predict(fold.net), fold.tiling
    found = explain_layers(
        view,
        fold.net,
        predict,
        run=lambda p: predict_image(view.image, p, tile_px=tiling.tile_px, halo_px=tiling.halo_px),
        mpp=case.mpp,
        settings=fold.payload.settings,
    )
    explanation = _gathered(fold, case, view, found)
    picture = picture_of(view.image, view.truth, view.predicted, scale=view.scale, mpp=case.mpp)
    figure = draw_case(explanation, found.error, picture, found.maps, schema=view.schema)
    prediction = mask_png(view.predicted, schema=view.schema)
    name = f"{prefix}-{_slug(case.case)}"
    return CaseArtefacts(
        case=case.case,
        subject=case.subject,
        dice=explanation.dice,
        figure=_put(storage, f"{name}.png", figure, media_type="image/png"),
        json_file=_put(storage, f"{name}.json", _json_bytes(explanation), media_type="application/json"),
        prediction=_put(storage, f"{name}-prediction.png", prediction, media_type="image/png"),
    )


def _view(storage: Storage, fold: _Fold, case: StoredCase) -> CaseView:
    """Read a case and predict it as the benchmark did."""
    image, truth = read_working_image(storage, case, resolution=fold.resolution), read_truth(storage, case)
    predicted = predict_mask(image, as_predict(fold.net), size=Size(case.width, case.height), tiling=fold.tiling)
    settings = fold.payload.settings
    scale = Scale.of(case.mpp, band_um=settings.band_um, band_px=settings.band_px)
    working = Size(image.shape[1], image.shape[0])
    return CaseView(
        image=image,
        truth=truth,
        predicted=predicted,
        distance=boundary_distance(truth, pixel=scale.pixel),
        scale=scale,
        schema=label_schema(fold.dataset.classes),
        crop=Crop.around(truth > 0, working=working, tile_px=fold.tiling.tile_px),
    )


def _gathered(fold: _Fold, case: StoredCase, view: CaseView, found: Explained) -> CaseExplanation:
    payload = fold.payload
    return CaseExplanation(
        case=case.case,
        subject=case.subject,
        model=payload.study.label,
        architecture=fold.architecture,
        protocol=payload.protocol,
        repeat=payload.repeat,
        fold=payload.fold,
        seed=payload.study.seed,
        width=case.width,
        height=case.height,
        mpp=case.mpp,
        dice=macro_dice(view.truth, view.predicted, classes=len(view.schema)),
        region=view.crop.region,
        error=found.error if "error" in payload.settings.layers else None,
        uncertainty=found.uncertainty,
        morphology=found.morphology,
        attention=found.attention,
        saliency=found.saliency,
        settings=payload.settings,
        weights_sha256=payload.weights_sha256,
    )


def _scales(
    dataset: Dataset, folds: tuple[ExplainResult, ExplainResult], settings: ExplanationSettings
) -> dict[str, Scale]:
    """Return the scale of every case: µm where all have a pixel size, else pixels for all."""
    names = [c.case for f in folds for c in f.cases]
    sizes = {c.case: c.mpp for c in dataset.cases if c.case in set(names)}
    known = all(size is not None for size in sizes.values())
    return {
        name: Scale.of(sizes[name] if known else None, band_um=settings.band_um, band_px=settings.band_px)
        for name in names
    }


def _measure(storage: Storage, dataset: Dataset, made: CaseArtefacts, *, scale: Scale) -> CaseBoundary:
    truth = read_truth(storage, _stored(dataset, made))
    predicted = read_mask(storage.blobs.path(made.prediction.sha256))
    schema = label_schema(dataset.classes)
    return measure_case(truth, predicted, case=made.case, subject=made.subject, schema=schema, scale=scale)


def _drawn(storage: Storage, dataset: Dataset, made: CaseArtefacts, *, scale: Scale) -> tuple[Picture, ErrorLayer]:
    case = _stored(dataset, made)
    truth, predicted = read_truth(storage, case), read_mask(storage.blobs.path(made.prediction.sha256))
    distance = boundary_distance(truth, pixel=scale.pixel)
    image = read_working_image(storage, case, resolution=Resolution(mpp=None, pixel_scale=_display_scale(case)))
    picture = picture_of(image, truth, predicted, scale=scale, mpp=case.mpp)
    error = explain_errors(truth, predicted, distance=distance, schema=label_schema(dataset.classes), scale=scale)
    return picture, error


def _stored(dataset: Dataset, made: CaseArtefacts) -> StoredCase:
    return next(c for c in dataset.cases if c.case == made.case)


def _display_scale(case: StoredCase) -> float:
    return min(1.0, LONGEST_PX / max(case.width, case.height))


def _slug(name: str) -> str:
    """Return a name that is safe in a URL and a file system."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name.rpartition("/")[2].rpartition(".")[0] or name).strip("-")[:60] or "case"


def _json_bytes(contract: Contract) -> bytes:
    return canonical_json(contract.model_dump(mode="json", by_alias=True)).encode()


def _put(storage: Storage, name: str, data: bytes, *, media_type: str) -> Artefact:
    return Artefact(name=name, sha256=storage.blobs.put(data), bytes=len(data), media_type=media_type)
