"""The uncertainty layer: predictive entropy, ambiguity and disagreement where the net is right and where it is wrong.

Members are the eight orientations of the tile (test-time augmentation) and, where the net has dropout, passes with
dropout on (Gal and Ghahramani 2016). PE = H[mean p], AE = mean H[p_t], MI = PE - AE, all divided by ln C.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from intima.arrays import BinaryMask, LogitBatch, Logits, Predict, TileBatch, UncertaintyMap
from intima.contracts.explanation import SampledUncertainty
from intima.geometry import Size
from intima.resampling import resample_planes
from intima.selective import detection_auroc
from intima.uncertainty import Pass, stack_passes, summarise_passes

VIEWS = 8


@dataclass(frozen=True, slots=True)
class Maps:
    """Uncertainty of every pixel, (height, width) each, 0..1."""

    sampler: Literal["tta", "mc_dropout"]
    passes: int
    seed: int | None
    entropy: UncertaintyMap
    ambiguity: UncertaintyMap
    disagreement: UncertaintyMap

    def shrunk(self, step: int) -> "Maps":
        """Return every ``step``-th row and column."""
        thin = (slice(None, None, step),) * 2
        return replace(
            self, entropy=self.entropy[thin], ambiguity=self.ambiguity[thin], disagreement=self.disagreement[thin]
        )


def tta_predict(predict: Predict) -> Predict:
    """Return a Predict of all eight orientations, their logits stacked along the channels."""
    return stack_passes([predict], [Pass(0, view) for view in range(VIEWS)])


def has_dropout(net: nn.Module) -> bool:
    """Tell whether passes with dropout on can differ."""
    return any(layer.p > 0 for layer in _dropouts(net))


def dropout_predict(net: nn.Module, *, passes: int, seed: int) -> Predict:
    """Return a Predict of passes with dropout on, their logits stacked along the channels.

    Pass t draws from the generator of ``seed`` and t anew for every batch, so that results do not hang on the order of
    batches. Only dropout is in training mode: normalisation keeps its running statistics.
    """

    def predict(tiles: TileBatch) -> LogitBatch:
        images = torch.from_numpy(tiles).clone()
        with torch.inference_mode(), _dropout_on(net), torch.random.fork_rng(devices=[]):
            logits = [_seeded(net, images, seed=seed + t) for t in range(passes)]
        return np.concatenate(logits, axis=1)

    return predict


def maps_of(
    stacked: Logits, *, classes: int, size: Size, sampler: Literal["tta", "mc_dropout"], seed: int | None
) -> Maps:
    """Return the maps of stacked logits, resampled to a size.

    Args:
        stacked: (passes * classes, height, width) at the working resolution.
        classes: number of classes.
        size: native size, of the maps.
        sampler: how the passes were made.
        seed: of the passes; null where nothing was drawn.
    """
    statistics = summarise_passes(stacked, classes=classes)
    ambiguity = np.clip(statistics.entropy - statistics.disagreement, 0.0, 1.0)
    planes = np.stack([statistics.entropy, ambiguity, statistics.disagreement])
    entropy, ambiguity, disagreement = np.clip(resample_planes(planes, size), 0.0, 1.0)
    return Maps(sampler, len(stacked) // classes, seed, entropy, ambiguity, disagreement)


def summarise_maps(maps: Maps, wrong: BinaryMask) -> SampledUncertainty:
    """Return the means of the maps on right and on wrong pixels, and how well they tell one from the other."""
    return SampledUncertainty(
        sampler=maps.sampler,
        passes=maps.passes,
        seed=maps.seed,
        entropy_right=_mean(maps.entropy, ~wrong),
        entropy_wrong=_mean(maps.entropy, wrong),
        ambiguity_right=_mean(maps.ambiguity, ~wrong),
        ambiguity_wrong=_mean(maps.ambiguity, wrong),
        disagreement_right=_mean(maps.disagreement, ~wrong),
        disagreement_wrong=_mean(maps.disagreement, wrong),
        auroc_entropy=detection_auroc(maps.entropy, wrong),
        auroc_disagreement=detection_auroc(maps.disagreement, wrong),
    )


def _mean(values: NDArray[np.float32], where: BinaryMask) -> float | None:
    return float(values[where].mean(dtype=np.float64)) if where.any() else None


def _dropouts(net: nn.Module) -> list[_DropoutNd]:
    return [m for m in net.modules() if isinstance(m, _DropoutNd)]


@contextmanager
def _dropout_on(net: nn.Module) -> Iterator[None]:
    net.eval()
    for layer in _dropouts(net):
        layer.train()
    try:
        yield
    finally:
        net.eval()


def _seeded(net: nn.Module, images: torch.Tensor, *, seed: int) -> LogitBatch:
    torch.manual_seed(seed)
    logits: LogitBatch = net(images).float().numpy()
    return logits
