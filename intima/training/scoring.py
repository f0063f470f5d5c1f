"""Score a trained net on cases: at the native resolution of their truth, whatever size the net works at."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from intima.architectures import ARCHITECTURES
from intima.arrays import LabelMask, Logits, Predict, RgbImage
from intima.contracts.benchmark import ArchitectureSpec
from intima.contracts.dataset import Dataset, StoredCase, label_schema
from intima.geometry import Size
from intima.labels import MACRO
from intima.metrics import METRICS, OF_PROBABILITIES, CaseScore, score_case
from intima.resampling import upsample_logits
from intima.store.storage import Storage
from intima.subjects import mean_over_subjects
from intima.tiling import predict_image
from intima.training.data import Resolution, read_truth, read_working_image

OBJECTIVE = "dice"
"""What a search is after, as the mean over foreground classes."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """How images are cut for a net, in scoring and in serving."""

    tile_px: int
    halo_px: int

    @classmethod
    def of(cls, architecture: ArchitectureSpec) -> "Tiling":
        """Return tiles that hold the typical image as a whole, overlapping by an eighth on each side."""
        fixed = ARCHITECTURES[architecture.name].fixed_input
        tile = architecture.input_px if fixed else min(max(256, architecture.input_px), 1024)
        return cls(tile_px=tile, halo_px=tile // 8)


@dataclass(frozen=True, slots=True)
class ScoredCase:
    """Scores of one case."""

    case: StoredCase
    scores: tuple[CaseScore, ...]

    @property
    def macro_dice(self) -> float | None:
        """Mean Dice over foreground classes; None where no class has a value."""
        return next(s.value for s in self.scores if (s.metric, s.class_name) == (OBJECTIVE, MACRO))


def score_cases(
    storage: Storage,
    dataset: Dataset,
    names: Sequence[str],
    *,
    predict: Predict,
    resolution: Resolution,
    tiling: Tiling,
    metrics: Collection[str] = tuple(METRICS),
) -> Iterator[ScoredCase]:
    """Predict and score cases by name, one at a time."""
    by_name = {c.case: c for c in dataset.cases}
    schema = label_schema(dataset.classes)
    for name in names:
        case = by_name[name]
        image = read_working_image(storage, case, resolution=resolution)
        logits = predict_logits(image, predict, size=Size(case.width, case.height), tiling=tiling)
        predicted: LabelMask = logits.argmax(axis=0).astype(np.uint8)
        truth = read_truth(storage, case)
        probabilities = None if OF_PROBABILITIES.isdisjoint(metrics) else softmax(logits, axis=0)
        scores = score_case(truth, predicted, schema=schema, mpp=case.mpp, probabilities=probabilities, metrics=metrics)
        yield ScoredCase(case, tuple(scores))


def predict_mask(image: RgbImage, predict: Predict, *, size: Size, tiling: Tiling) -> LabelMask:
    """Return the native-resolution mask of a working-resolution image."""
    mask: LabelMask = predict_logits(image, predict, size=size, tiling=tiling).argmax(axis=0).astype(np.uint8)
    return mask


def predict_logits(image: RgbImage, predict: Predict, *, size: Size, tiling: Tiling) -> Logits:
    """Return the native-resolution class scores of a working-resolution image, (classes, height, width)."""
    logits = predict_image(image, predict, tile_px=tiling.tile_px, halo_px=tiling.halo_px)
    return upsample_logits(logits, size)


def mean_macro_dice(scored: Sequence[ScoredCase]) -> float:
    """Return the mean macro Dice over subjects, sections of one subject averaged first; 0 where nothing has a value."""
    mean = mean_over_subjects((item.case.subject, item.macro_dice) for item in scored)
    return 0.0 if mean is None else mean
