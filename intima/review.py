"""How good a mask is by its own probabilities, and whether a person should look at it.

Where probabilities are calibrated, a class with mask A and probabilities p is expected to share the sum over A of p
with the truth, whose expected size is the sum of p: the expected Dice is 2 sum_A p / (|A| + sum p), a ratio of
expectations. Over the whole foreground numerators and denominators are added first, so that a class that is hardly
there does not decide. It knows of no error that the net is sure of.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from intima.arrays import FloatMatrix
from intima.conformal import conformal_quantile
from intima.contracts.evidence import OutOfFoldEvidence, ReviewRule
from intima.contracts.segmentation import UncertaintySummary

ALPHA = 0.10
"""Share of subjects like the held-out ones that are flagged."""
FIXED = 0.8
"""Threshold where no evidence gives one: a convention."""
_FIXED_BASIS = "a fixed convention, not derived from data"


def expected_overlap(probabilities: NDArray[np.float32]) -> FloatMatrix:
    """Return by class the probability within its own mask, in all, and the pixels of the mask; adds up over strips."""
    labels = probabilities.argmax(axis=0)
    rows = [
        (p[labels == c].sum(dtype=np.float64), p.sum(dtype=np.float64), np.count_nonzero(labels == c))
        for c, p in enumerate(probabilities)
    ]
    return np.array(rows, dtype=np.float64)


def expected_dice(overlap: FloatMatrix) -> tuple[float | None, ...]:
    """Return the expected Dice of each foreground class; None where none of it was predicted."""
    return tuple(float(2 * inside / (pixels + mass)) if pixels else None for inside, mass, pixels in overlap[1:])


def expected_foreground_dice(overlap: FloatMatrix) -> float | None:
    """Return the expected Dice over all foreground classes together; None where no foreground was predicted."""
    inside, mass, pixels = overlap[1:].sum(axis=0)
    return float(2 * inside / (pixels + mass)) if pixels else None


UNKNOWN_DOUBT = -1.0
"""Below that of every mask of which anything is known."""
NOT_MEASURED = "not measured"


def doubt_of(summary: UncertaintySummary | None) -> float:
    """Return where a mask stands in the queue of those to look at: the higher, the sooner.

    It is the expected error, 1 - expected Dice over the foreground; masks to review come before all others, and those
    without any foreground before these. Without evidence of the model on held-out subjects probabilities say nothing of
    errors: such masks come last.
    """
    if why_unranked(summary) or summary is None:
        return UNKNOWN_DOUBT
    error = 2.0 if summary.expected_foreground_dice is None else 1.0 - summary.expected_foreground_dice
    return error + 2.0 if summary.review else error


def why_unranked(summary: UncertaintySummary | None) -> str:
    """Say why nothing is known of the error of a mask; "" where something is."""
    if summary is None:
        return "It was made without sampling uncertainty (sampler none)."
    if summary.calibration == NOT_MEASURED:
        return "Its model was never measured on held-out subjects, so its probabilities say nothing of its errors."
    if summary.review is None:
        return "It was made by a version that did not estimate errors. Segment it again with force."
    return ""


def review_rule(worst: Sequence[float]) -> ReviewRule:
    """Return the threshold that held-out subjects give, each by the lowest expected Dice of its sections.

    A new subject like them falls below it with probability of at most ``ALPHA``; so few that none can be given leave
    the convention.
    """
    if (negative := conformal_quantile([-w for w in worst], alpha=ALPHA)) is None:
        return ReviewRule(threshold=FIXED, basis=f"{_FIXED_BASIS}: {len(worst)} held-out subjects are too few")
    return ReviewRule(
        threshold=-negative, basis=f"at most {ALPHA:.0%} of subjects like the {len(worst)} held-out ones lie below"
    )


def temperature_of(evidence: OutOfFoldEvidence | None) -> float:
    """Return the temperature that a model is served with."""
    return 1.0 if evidence is None else evidence.temperature.value


def judge(dice: float | None, evidence: OutOfFoldEvidence | None) -> tuple[bool, str]:
    """Tell whether a person should look at a mask, and why."""
    rule = ReviewRule(threshold=FIXED, basis=_FIXED_BASIS) if evidence is None else evidence.review
    if dice is None:
        return True, "No foreground was found."
    below = dice < rule.threshold
    sides = "below" if below else "not below"
    return below, f"Expected Dice {dice:.3f} is {sides} {rule.threshold:.3f} ({rule.basis})."


def summary_of(evidence: OutOfFoldEvidence | None) -> str:
    """Say in one line how far the uncertainty of a model can be believed."""
    if evidence is None:
        return NOT_MEASURED
    figures = {f.name: f for f in evidence.calibration}
    ece = figures["ece"].after or figures["ece"].before
    limits = "" if ece.ci95 is None else f" [{ece.ci95[0]:.4f}, {ece.ci95[1]:.4f}]"
    after = f"after temperature {evidence.temperature.value:.2f}" if figures["ece"].after else "without temperature"
    biased = "; a search has seen these cases" if evidence.selection_biased else ""
    return f"{evidence.basis}, {evidence.subjects} subjects: ECE {ece.mean:.4f}{limits} {after}{biased}"
