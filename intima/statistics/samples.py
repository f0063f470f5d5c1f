"""What every statistic demands of its input, and the resolution at which scores are compared."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from intima.arrays import FloatMatrix, FloatVector
from intima.errors import Invalid

DECIMALS = 6
"""Scores are compared to six decimals: 0.9 - 0.8 and 0.8 - 0.7 are the same difference."""
LARGEST = 1e9
"""Scores beyond this have no six decimals left in float64."""
AT_A_TIME = 4_000_000
"""Random values that are held in memory at a time."""
SMALLEST_P = 1e-16
"""Floor of every p-value: below it, floating point and the model behind the test are both exhausted."""


def as_scores(values: Sequence[float] | FloatVector, *, pointer: str = "/scores") -> FloatVector:
    """Return scores as a float64 vector.

    Raises:
        Invalid: a value is not finite or too large; the message says which.
    """
    scores = np.asarray(values, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(scores) | (np.abs(scores) > LARGEST))
    if bad.size:
        place = int(bad[0])
        raise Invalid(
            f"Got {scores[place]} as score {place}; scores must be finite and within ±{LARGEST:.0e}.",
            code="score_not_finite",
            hint="Remove the subject from both sides, or score it by a stated rule such as 0 for a failure.",
            pointer=f"{pointer}/{place}",
        )
    return scores


def as_matrix(rows: Sequence[Sequence[float]] | FloatMatrix, *, pointer: str = "/scores") -> FloatMatrix:
    """Return a (subjects, models) float64 matrix.

    Raises:
        Invalid: rows of different length, fewer than two rows or columns, or a value that is not finite.
    """
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise Invalid(
            f"Got rows of {min(lengths)} to {max(lengths)} scores; every subject needs a score of every model.",
            code="unpaired",
            hint="Drop the incomplete subjects, or score the missing ones by a stated rule.",
            pointer=pointer,
        )
    matrix = np.array([as_scores(row, pointer=f"{pointer}/{i}") for i, row in enumerate(rows)], dtype=np.float64)
    need_subjects(len(lengths) and len(rows), 2, pointer=pointer)
    if matrix.shape[1] < 2:
        raise Invalid(f"Got {matrix.shape[1]} model; need at least 2.", code="too_few_models", pointer=pointer)
    return matrix


def need_subjects(count: int, least: int, *, pointer: str = "/scores", purpose: str = "") -> None:
    """Refuse samples that are too small.

    Raises:
        Invalid: ``count`` is below ``least``.
    """
    if count < least:
        noun = "subject" if count == 1 else "subjects"
        raise Invalid(
            f"Got {count} {noun}; {purpose or 'this statistic'} needs at least {least}.",
            code="too_few_subjects",
            pointer=pointer,
        )


def micro(values: FloatVector | FloatMatrix) -> NDArray[np.int64]:
    """Return values of any shape in whole millionths, so that ties and sums are exact."""
    return np.rint(values * 10.0**DECIMALS).astype(np.int64)


def rounded(values: FloatVector) -> FloatVector:
    """Return values rounded to the six decimals at which scores are compared."""
    return np.round(values, DECIMALS)


def has_spread(values: FloatVector) -> bool:
    """Tell whether at least two values differ at six decimals."""
    return bool(np.ptp(micro(values)) > 0)


def floor_p(p: float) -> float:
    """Return a p-value clipped to [SMALLEST_P, 1]."""
    return float(min(1.0, max(SMALLEST_P, p)))
