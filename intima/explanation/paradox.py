"""The paradox check: is the fold with the bad score wrong in a way that matters?

Thin rings make overlap scores fall for errors that no measure feels: a one-pixel shift of a ring t pixels thick costs
about 1/t of Dice. Two folds may therefore differ widely in Dice and be equally competent (science.md 5, the "paradox of
competence"). For the best and the worst fold of a contender this sets side by side

- D: mean macro Dice over the subjects of the fold;
- band share: error pixels within t of a true boundary / all error pixels (pooled over the cases of the fold);
- substance share: errors that no border displaced by at most t explains (``intima.borders``) / pixels that
  are foreground in truth or prediction;
- D*: Dice once displaced borders are taken as right: what is left is error of substance.

The reading is that of ``borders.read_difference``; the numbers are given beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from intima.arrays import LabelMask
from intima.borders import EQUAL_BELOW, Scale, boundary_distance, displaced_borders, error_mask, read_difference
from intima.contracts.explanation import FoldBoundary, Paradox
from intima.labels import LabelSchema
from intima.subjects import mean_over_subjects


@dataclass(frozen=True, slots=True)
class CaseBoundary:
    """Counts of one case."""

    case: str
    subject: str
    errors: int
    band_errors: int
    displaced: int
    foreground: int
    """Pixels that are foreground in truth or prediction."""
    dice: float | None
    dice_forgiven: float | None


def measure_case(
    truth: LabelMask, predicted: LabelMask, *, case: str, subject: str, schema: LabelSchema, scale: Scale
) -> CaseBoundary:
    """Count the errors of one case within and beyond the band. Raises Invalid where the shapes differ."""
    wrong = error_mask(truth, predicted)
    near = boundary_distance(truth, pixel=scale.pixel) <= scale.band
    displaced = displaced_borders(truth, predicted, scale=scale)
    return CaseBoundary(
        case=case,
        subject=subject,
        errors=int(np.count_nonzero(wrong)),
        band_errors=int(np.count_nonzero(wrong & near)),
        displaced=int(np.count_nonzero(displaced)),
        foreground=int(np.count_nonzero((truth > 0) | (predicted > 0))),
        dice=macro_dice(truth, predicted, classes=len(schema)),
        dice_forgiven=macro_dice(truth, np.where(displaced, truth, predicted), classes=len(schema)),
    )


def macro_dice(truth: LabelMask, predicted: LabelMask, *, classes: int) -> float | None:
    """Return the mean Dice over foreground classes that occur in either mask; null where none does."""
    table = np.bincount(truth.astype(np.intp).ravel() * classes + predicted.ravel(), minlength=classes**2)
    counts = table.reshape(classes, classes)
    sums = counts.sum(0) + counts.sum(1)
    values = [2.0 * counts[c, c] / sums[c] for c in range(1, classes) if sums[c]]
    return float(np.mean(values)) if values else None


def fold_boundary(fold: int, cases: Sequence[CaseBoundary]) -> FoldBoundary:
    """Pool the cases of a fold; the case shown is the one whose Dice is nearest to the fold's, first by name."""
    errors, foreground = sum(c.errors for c in cases), sum(c.foreground for c in cases)
    band, displaced = sum(c.band_errors for c in cases), sum(c.displaced for c in cases)
    dice = subject_mean([(c.subject, c.dice) for c in cases])
    shown = min(cases, key=lambda c: (abs((0.0 if c.dice is None else c.dice) - dice), c.case))
    return FoldBoundary(
        fold=fold,
        cases=tuple(c.case for c in cases),
        shown=shown.case,
        dice=dice,
        errors=errors,
        band_share=band / errors if errors else None,
        substance_share=(errors - displaced) / foreground if foreground else None,
        dice_forgiven=subject_mean([(c.subject, c.dice_forgiven) for c in cases]),
    )


def compare_folds(best: FoldBoundary, worst: FoldBoundary, *, scale: Scale) -> Paradox:
    """Set the difference in Dice beside what is left of it once displaced borders count as right."""
    difference = best.dice - worst.dice
    forgiven = best.dice_forgiven - worst.dice_forgiven
    reading = read_difference(difference, forgiven)
    return Paradox(
        best=best,
        worst=worst,
        unit=scale.unit,
        band=scale.band,
        dice_difference=difference,
        difference_forgiven=forgiven,
        reading=reading,
        explanation=_in_words(reading, difference=difference, forgiven=forgiven, scale=scale),
    )


def subject_mean(values: Sequence[tuple[str, float | None]]) -> float:
    """Return the mean over subjects, sections of a subject averaged first; 0 where nothing has a value."""
    mean = mean_over_subjects(values)
    return 0.0 if mean is None else mean


def _in_words(reading: str, *, difference: float, forgiven: float, scale: Scale) -> str:
    if reading == "equal":
        return f"Dice differs by {difference:.3f}, less than {EQUAL_BELOW:g}: the folds are alike."
    left = (
        f"Dice differs by {difference:.3f}; with borders displaced by ≤ {scale.band:g} {scale.unit} taken as right, "
        f"by {forgiven:.3f}"
    ).replace("-", "−")
    if reading == "boundary":
        return f"{left}: the worse fold mostly draws its borders a little elsewhere."
    return f"{left}: the worse fold is wrong in substance, in a way that matters."
