"""Sampled uncertainty: several passes over one image, stacked along the channels of one Predict.

Predictive entropy PE = H[mean p], ambiguity AE = mean H[p_t], disagreement MI = PE - AE >= 0, all divided by ln C.
No promise is made that these are "aleatoric" and "epistemic" parts.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax, xlogy

from intima.arrays import BinaryMask, FloatMatrix, LogitBatch, Predict, TileBatch, UncertaintyMap
from intima.contracts.segmentation import UncertaintySpec
from intima.errors import Invalid
from intima.review import expected_overlap
from intima.temperature import tempered


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass: which ensemble member sees the tile in which of its eight orientations, under which draw of dropout."""

    member: int
    view: int
    """0..7: quarter turns (view % 4), mirrored first when view >= 4; 0 is the tile as it is."""
    draw: int | None = None
    """Number of the draw from 1; None: without dropout."""


RATE_KEY = "dropout_rate"
"""Entry of an ONNX file's metadata: the rate at which its masks are drawn."""


def mask_name(place: int) -> str:
    """Return the name of a network's input that is the mask of one place where channel dropout acts."""
    return f"dropout.{place}"


@dataclass(frozen=True, slots=True)
class DropoutLayer:
    """A place in a network where channel dropout acts."""

    name: str
    """Of the input that is its mask."""
    channels: int
    rate: float
    """Share of channels dropped, above 0 and below 1."""


Masks: TypeAlias = Mapping[str, NDArray[np.float32]]
"""By layer, (draws, channels, 1, 1) of 0 and 1 / (1 - rate)."""

SamplerName = Literal["ensemble", "tta", "mc_dropout", "none"]
VIEWS = 8
FEWEST_PASSES = 8
"""Where the request names no number: at least so many, or every member once."""
MOST_PASSES = 64
"""Of one request."""
_LOGITS_AT_ONCE = 2**22
_PIXELS_AT_ONCE = 2**20
"""Below 2**24, up to which float32 counts exactly."""


def plan_passes(
    spec: UncertaintySpec, *, members: int, dropout_rate: float | None = None
) -> tuple[SamplerName, tuple[Pass, ...]]:
    """Decide which passes to run. The seed chooses the order of views and the masks of dropout.

    Every member runs in the same views, or as many draws, so that each weighs the same in the mean, as where the model
    was scored.

    Args:
        spec: what was asked for.
        members: networks of the model.
        dropout_rate: rate of the channel dropout whose masks they take; None where they take none.

    Returns:
        The sampler really used, and its passes. "none" runs every member once, unturned, and reports nothing.

    Raises:
        Invalid: the model cannot be sampled in the way asked for, or not in so many passes.
    """
    if spec.sampler == "none":
        return "none", tuple(Pass(m, 0) for m in range(members))
    if spec.sampler == "mc_dropout":
        return "mc_dropout", _draws(spec, members, dropout_rate)
    if spec.sampler == "tta" or (spec.sampler == "auto" and members == 1):
        return "tta", _views(spec, members, fewest=2)
    if members < 2:
        raise _not_supported("This model has one member; an ensemble needs at least 2.", 'Use the sampler "tta".')
    return "ensemble", _views(spec, members, fewest=1)


def _draws(spec: UncertaintySpec, members: int, dropout_rate: float | None) -> tuple[Pass, ...]:
    if dropout_rate is None:
        raise _not_supported(
            "The files of this model take no masks of dropout, so MC dropout would be the same map on every pass.",
            'Use the sampler "ensemble" or "tta".',
        )
    draws = _of_each(spec, members, fewest=2, most=MOST_PASSES, what="draws")
    return tuple(Pass(member, 0, draw) for member in range(members) for draw in range(1, draws + 1))


def _views(spec: UncertaintySpec, members: int, *, fewest: int) -> tuple[Pass, ...]:
    """Return every member in each of as many views as the passes make, the tile as it is first."""
    views = _of_each(spec, members, fewest=fewest, most=VIEWS, what="views")
    turns = [0, *(int(v) for v in 1 + np.random.default_rng(spec.seed).permutation(VIEWS - 1))]
    return tuple(Pass(member, view) for view in turns[:views] for member in range(members))


def _of_each(spec: UncertaintySpec, members: int, *, fewest: int, most: int, what: str) -> int:
    """Return how many passes each member makes; all members together make at most 64."""
    most = min(most, MOST_PASSES // members)
    passes = spec.passes or members * max(fewest, math.ceil(FEWEST_PASSES / members))
    each, rest = divmod(passes, members)
    if most < fewest:
        raise _not_supported(
            f"This model has {members} members, which would need {fewest} {what} each, and a request makes at most "
            f"{MOST_PASSES} passes.",
            'Use the sampler "none".',
        )
    if rest or not fewest <= each <= most:
        raise Invalid(
            f"Got {passes} passes; this model has {members} member(s), each to be run in the same {fewest} to "
            f"{most} {what}.",
            code="unequal_passes",
            hint=f"Leave passes out, or ask for a multiple of {members} from {fewest * members} to {most * members}.",
            pointer="/uncertainty/passes",
        )
    return each


def _not_supported(message: str, hint: str) -> Invalid:
    return Invalid(message, code="sampler_not_supported", hint=hint, pointer="/uncertainty/sampler")


def draw_masks(layers: Sequence[DropoutLayer], *, seed: int, member: int, draws: Sequence[int]) -> Masks:
    """Return the masks of some draws of one member: every channel is dropped at the rate, the others scaled up.

    A mask depends on seed, member, draw and layer alone (Philox streams).
    """
    return {
        layer.name: np.stack([_mask(layer, [seed, member, draw, place]) for draw in draws])
        for place, layer in enumerate(layers)
    }


def _mask(layer: DropoutLayer, entropy: Sequence[int]) -> NDArray[np.float32]:
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence(list(entropy))))
    kept = random.random(layer.channels) >= layer.rate
    mask: NDArray[np.float32] = (kept / (1 - layer.rate)).astype(np.float32)[:, None, None]
    return mask


def stack_passes(predicts: Sequence[Predict], passes: Sequence[Pass]) -> Predict:
    """Return one Predict that runs all passes and stacks their logits: (tiles, passes * classes, h, w)."""

    def predict(tiles: TileBatch) -> LogitBatch:
        return np.concatenate([_run(predicts[p.member], tiles, p.view) for p in passes], axis=1)

    return predict


def _run(predict: Predict, tiles: TileBatch, view: int) -> LogitBatch:
    return unturn(predict(np.ascontiguousarray(turn(tiles, view))), view)


def turn(batch: NDArray[np.float32], view: int) -> NDArray[np.float32]:
    """Apply one of the eight symmetries of the square to the last two axes."""
    mirrored = batch[..., ::-1] if view >= 4 else batch
    return np.rot90(mirrored, view % 4, axes=(-2, -1))


def unturn(batch: NDArray[np.float32], view: int) -> NDArray[np.float32]:
    """Undo ``turn``."""
    turned = np.rot90(batch, -(view % 4), axes=(-2, -1))
    return turned[..., ::-1] if view >= 4 else turned


@dataclass(frozen=True, slots=True)
class PassStatistics:
    """What several passes say of one strip."""

    probabilities: NDArray[np.float32]
    """(classes, rows, width) mean over passes."""
    entropy: UncertaintyMap
    """Predictive entropy / ln C."""
    disagreement: UncertaintyMap
    """Mutual information / ln C."""
    labels: NDArray[np.uint8]
    """(passes, rows, width) class of each pass."""
    calibrated: NDArray[np.float32]
    """The mean over passes after temperature, (classes, rows, width)."""

    @property
    def overlap(self) -> FloatMatrix:
        """(classes, 3) what the calibrated mean expects of its own mask (``intima.review``)."""
        return expected_overlap(self.calibrated)

    def where(self, kept: BinaryMask) -> "PassStatistics":
        """Return the same where (rows, width) is true, and certain background elsewhere."""
        if kept.all():
            return self
        background = np.zeros((len(self.probabilities), 1, 1), np.float32)
        background[0] = 1
        return PassStatistics(
            probabilities=np.where(kept, self.probabilities, background),
            entropy=np.where(kept, self.entropy, np.float32(0)),
            disagreement=np.where(kept, self.disagreement, np.float32(0)),
            labels=np.where(kept, self.labels, np.uint8(0)),
            calibrated=np.where(kept, self.calibrated, background),
        )


def summarise_passes(stacked: NDArray[np.float32], *, classes: int, temperature: float = 1.0) -> PassStatistics:
    """Split stacked logits (passes * classes, rows, width) and compute mean, entropy and disagreement.

    The temperature acts on the logarithm of the mean, for its entropy and what it expects of its mask. The mean itself,
    and with it the mask, and the disagreement stay as the nets say it.
    """
    step = max(1, _LOGITS_AT_ONCE // (stacked.shape[0] * stacked.shape[2]))
    rows = range(0, stacked.shape[1], step)
    return joined([_summarised(stacked[:, row : row + step], classes, temperature) for row in rows])


def joined(parts: Sequence[PassStatistics]) -> PassStatistics:
    """Return what passes say of rows that follow each other."""
    return PassStatistics(
        probabilities=np.concatenate([p.probabilities for p in parts], axis=1),
        entropy=np.concatenate([p.entropy for p in parts]),
        disagreement=np.concatenate([p.disagreement for p in parts]),
        labels=np.concatenate([p.labels for p in parts], axis=1),
        calibrated=np.concatenate([p.calibrated for p in parts], axis=1),
    )


def _summarised(stacked: NDArray[np.float32], classes: int, temperature: float) -> PassStatistics:
    logits = stacked.reshape(-1, classes, *stacked.shape[1:])
    each = softmax(logits, axis=1)
    mean = each.mean(0)
    scale = np.float32(1.0 / np.log(classes))
    entropy = -xlogy(mean, mean).sum(0) * scale
    calibrated = tempered(mean, temperature)
    calibrated_entropy = entropy if temperature == 1.0 else -xlogy(calibrated, calibrated).sum(0) * scale
    ambiguity = -xlogy(each, each).sum(1).mean(0) * scale
    return PassStatistics(
        probabilities=mean.astype(np.float32),
        entropy=np.clip(calibrated_entropy, 0.0, 1.0).astype(np.float32),
        disagreement=np.clip(entropy - ambiguity, 0.0, 1.0).astype(np.float32),
        labels=each.argmax(1).astype(np.uint8),
        calibrated=calibrated.astype(np.float32),
    )


class PassAgreement:
    """Gathers over parts of an image how far passes agree."""

    def __init__(self, *, passes: int, classes: int) -> None:
        """Start without pixels."""
        self._common = np.zeros((classes - 1, passes, passes))

    def add(self, labels: NDArray[np.uint8]) -> None:
        """Count a part of the image: (passes, height, width)."""
        flat = labels.reshape(len(labels), -1)
        for start in range(0, flat.shape[1], _PIXELS_AT_ONCE):
            some = flat[:, start : start + _PIXELS_AT_ONCE]
            for index in range(len(self._common)):
                shown = (some == index + 1).astype(np.float32)
                self._common[index] += shown @ shown.T

    def dice(self) -> float | None:
        """Return the mean Dice over foreground classes and pairs of passes.

        None with fewer than two passes or where no pass shows any foreground. A class that neither pass of a pair shows
        does not count.
        """
        each = np.diagonal(self._common, axis1=1, axis2=2)
        totals = each[:, :, None] + each[:, None, :]
        pairs = np.triu(np.ones(totals.shape[1:], bool), 1) & (totals > 0)
        values = 2.0 * self._common[pairs] / totals[pairs]
        return float(values.mean()) if len(values) else None


def mean_probabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean over passes of the probabilities of (passes, classes, rows, width) logits."""
    mean: NDArray[np.float32] = softmax(logits, axis=1).mean(0).astype(np.float32)
    return mean
