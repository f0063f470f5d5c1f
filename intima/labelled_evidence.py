"""What labelled sections of one's own laboratory say of a published model: evidence for a new version of its card."""

import time
from dataclasses import replace

from intima import registry
from intima.arrays import Json
from intima.contracts.dataset import Dataset, label_schema
from intima.contracts.evidence import LABELLED, HeldOutCase
from intima.contracts.labelled_evidence import EvidencePayload, EvidenceResult
from intima.contracts.model import ModelCard
from intima.contracts.segmentation import UncertaintySpec
from intima.errors import Invalid
from intima.evidence import Measured, pool_evidence
from intima.framing import working_scale
from intima.geometry import MicronsPerPixel, Size
from intima.held_out import measure_cases
from intima.inference import load_model, sample_passes
from intima.leakage import External, external_leaks, refuse_leaks
from intima.review import summary_of
from intima.serving_tiles import serving_tiles
from intima.store import catalog
from intima.store.storage import Storage
from intima.store.work import Report, UnitInput
from intima.training.data import Resolution
from intima.uncertainty import plan_passes

MOST_WORKING_PX = 16_000_000
"""Of one case, which is in memory as a whole."""


def run_evidence(unit: UnitInput, storage: Storage, report: Report) -> Json:
    """Do an "evidence" unit: look at every case in serving's passes and publish the model again with what that says.

    The networks are the same; only the card differs, and with it the version. All of every case is looked at.
    """
    started = time.monotonic()
    payload = EvidencePayload.model_validate(unit.payload)
    with storage.reading() as connection:
        dataset = catalog.get_dataset(connection, payload.dataset)
    model = load_model(storage, payload.model, provider=payload.provider, fallback=payload.provider_fallback)
    card, nets = model.card, model.nets
    _, passes = plan_passes(UncertaintySpec(), members=len(nets), dropout_rate=card.dropout_rate)
    predict, tiles = sample_passes(nets, passes, seed=0), serving_tiles(card)
    found = measure_cases(
        storage,
        dataset.cases,
        predict=predict,
        schema=label_schema(card.classes),
        resolution=Resolution(mpp=card.mpp, pixel_scale=card.pixel_scale),
        tile_px=tiles.tile_px,
        halo_px=tiles.halo_px,
    )
    gathered: list[HeldOutCase] = []
    for case in found:
        gathered.append(case)
        report(len(gathered) / len(dataset.cases), f"{len(gathered)}/{len(dataset.cases)} cases measured")
    measured = Measured(basis=LABELLED, protocol=None, selection_biased=False, members=len(nets))
    evidence = pool_evidence(gathered, measured).model_copy(update={"dataset": f"{dataset.id}@{dataset.version}"})
    summary = summary_of(evidence)
    version = registry.publish(storage, card.model_copy(update={"evidence": evidence, "calibration": summary}))
    result = EvidenceResult(model=version.ref, calibration=summary, seconds=time.monotonic() - started)
    return result.model_dump(mode="json")


def require_fit(card: ModelCard, dataset: Dataset) -> None:
    """Raise Invalid where a model cannot be measured on a dataset, or has been trained on it: before work begins."""
    if card.dataset_version == dataset.version:
        raise _misfit(
            "The model was trained on this dataset.", "evidence_is_training", "Give sections it has not seen."
        )
    wanted, found = (sorted((c.index, c.name) for c in classes) for classes in (card.classes, dataset.classes))
    if wanted != found:
        raise _misfit(
            f"The dataset has the classes {[n for _, n in found]}; the model has {[n for _, n in wanted]}.",
            "evidence_classes",
            "Give masks of the model's classes, in their order.",
        )
    bare = next((c.case for c in dataset.cases if c.mpp is None), None)
    if bare is not None and card.mpp is not None:
        raise _misfit(
            f"Case {bare!r} states no pixel size, and the model works at {card.mpp:g} µm per pixel.",
            "missing_pixel_size",
            "State mpp of every case in the dataset's manifest.",
        )
    for case in dataset.cases:
        mpp = None if case.mpp is None else MicronsPerPixel(case.mpp, case.mpp)
        size = Size(case.width, case.height).scaled(working_scale(card, mpp))
        if size.pixels > MOST_WORKING_PX:
            raise _misfit(
                f"Case {case.case!r} has {size.width} x {size.height} pixels at the model's resolution; at most "
                f"{MOST_WORKING_PX} are measured at once.",
                "case_too_large",
                "Check its mpp, or cut it.",
            )


def require_unseen(training: Dataset, external: External) -> None:
    """Raise Invalid "leakage" where a dataset shares a subject, a block or tissue with that of the training."""
    refuse_leaks([replace(leak, pointer="/dataset") for leak in external_leaks(training, external)])


def _misfit(message: str, code: str, hint: str) -> Invalid:
    return Invalid(message, code=code, hint=hint, pointer="/dataset")
