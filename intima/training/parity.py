"""How far a served net is from its torch form: in probability, in classes, in areas."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from intima.arrays import LogitBatch
from intima.contracts.model import Parity
from intima.errors import Invalid
from intima.training.export import probability_gap

_Labels = NDArray[np.int64]


def compare_logits(reference: Sequence[LogitBatch], found: Sequence[LogitBatch], *, classes: Sequence[str]) -> Parity:
    """Compare two nets on the same tiles.

    Args:
        reference: logits of the torch net in float32, one batch or more.
        found: logits of the other net on the same batches.
        classes: class names in order; the first is the background.

    Raises:
        Invalid: no batches.
    """
    if not reference:
        raise Invalid("Got no tiles; need at least one batch to compare two nets on.")
    differences = [probability_gap(a, b) for a, b in zip(reference, found, strict=True)]
    expected, labels = _labels(reference), _labels(found)
    return Parity(
        max_abs=max(float(d.max()) for d in differences),
        mean_abs=float(np.concatenate([d.ravel() for d in differences]).mean(dtype=np.float64)),
        argmax_agreement=float((expected == labels).mean()),
        macro_dice=_macro_dice(expected, labels, classes=len(classes)),
        area_change={name: _area_change(expected, labels, index) for index, name in enumerate(classes)},
    )


def worst_parity(parities: Sequence[Parity]) -> Parity:
    """Return the worst value of each figure over the members of a model.

    Raises:
        Invalid: no members.
    """
    if not parities:
        raise Invalid("Got no members; need at least one.")
    return Parity(
        max_abs=max(p.max_abs for p in parities),
        mean_abs=max(p.mean_abs for p in parities),
        argmax_agreement=min(p.argmax_agreement for p in parities),
        macro_dice=min(p.macro_dice for p in parities),
        area_change={
            name: max((p.area_change[name] for p in parities), key=_magnitude) for name in parities[0].area_change
        },
    )


def _labels(batches: Sequence[LogitBatch]) -> _Labels:
    return np.concatenate([batch.argmax(axis=1).ravel() for batch in batches])


def _macro_dice(expected: _Labels, labels: _Labels, *, classes: int) -> float:
    values = []
    for index in range(1, classes):
        one, two = expected == index, labels == index
        if one.any() or two.any():
            values.append(2 * float((one & two).sum()) / float(one.sum() + two.sum()))
    return sum(values) / len(values) if values else 1.0


def _area_change(expected: _Labels, labels: _Labels, index: int) -> float | None:
    area = int((expected == index).sum())
    return float((labels == index).sum()) / area - 1 if area else None


def _magnitude(change: float | None) -> float:
    return -1.0 if change is None else abs(change)
