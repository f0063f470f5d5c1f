"""Verdicts in one plain sentence for a biologist."""

from collections.abc import Sequence

import numpy as np

from intima.arrays import FloatVector
from intima.contracts.comparison import ComparisonRequest, VerdictName
from intima.statistics.equivalence import PairedT
from intima.statistics.samples import DECIMALS


def listed(names: Sequence[str], *, most: int = 10) -> str:
    """Return names as a readable list, cut after ``most``."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def verdict_sentence(
    request: ComparisonRequest,
    labels: tuple[str, str],
    differences: FloatVector,
    test: PairedT | None,
    verdict: VerdictName,
    *,
    needed: int | None,
) -> str:
    """Return the verdict as one sentence; without a test there was no spread."""
    found = f"On {len(differences)} subjects {_difference(request, labels, differences)}"
    if test is None:
        return (
            f"{found} on every single one, so there is no spread to judge by and nothing can be said of new subjects."
        )
    return f"{found} on average{_reason(request, labels, test, verdict)}{_advice(verdict, needed)}."


def _difference(request: ComparisonRequest, labels: tuple[str, str], differences: FloatVector) -> str:
    mean = round(float(np.mean(differences)), DECIMALS)
    score = request.metric if request.class_ == "macro" else f"{request.metric} ({request.class_})"
    if mean == 0:
        return f"{labels[0]} and {labels[1]} have the same {score}"
    return f"the {score} of {labels[0]} is {abs(mean):.3g} {'above' if mean > 0 else 'below'} that of {labels[1]}"


def _reason(request: ComparisonRequest, labels: tuple[str, str], test: PairedT, verdict: VerdictName) -> str:
    wide, narrow = _interval(test, 1 - request.alpha), _interval(test, 1 - 2 * request.alpha)
    margin = f"±{request.agreed_margin.value:.3g}"
    if verdict == "equivalent":
        return f"; the true difference lies within {margin} ({narrow}): they are equivalent"
    if verdict == "different_but_negligible":
        return f"; they differ ({wide}), but by less than {margin} ({narrow}): the difference is negligible"
    if verdict == "inconclusive":
        return f" ({wide}): these data show neither a difference nor equivalence within {margin}"
    winner = labels[0] if verdict == "better_a" else labels[1]
    return f" ({wide}): {winner} is better, and a difference within {margin} is not shown"


def _advice(verdict: VerdictName, needed: int | None) -> str:
    if verdict != "inconclusive" or needed is None:
        return ""
    return f"; to confirm equivalence about {needed} subjects would be needed"


def _interval(test: PairedT, confidence: float) -> str:
    interval = test.interval(confidence)
    return f"{100 * confidence:.4g} % interval {interval.low:.3g} to {interval.high:.3g}"
