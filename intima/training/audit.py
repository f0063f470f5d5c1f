"""The HPO-noise audit: by how much the inner score of a search's winner flatters it."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from intima.contracts.benchmark import FoldResult
from intima.contracts.search import Gap, HpoNoise
from intima.labels import MACRO
from intima.subjects import mean_by_subject
from intima.training.leaderboard import METRIC, t_interval


@dataclass(frozen=True, slots=True)
class SplitGaps:
    """Inner best minus outer score of one fold."""

    selection: float | None
    """By the net of the winning trial."""
    refitted: float
    """By the net of the fold."""
    test_share: float
    """Test subjects over training subjects."""
    optimistic: bool


def hpo_noise(folds: Sequence[FoldResult]) -> tuple[HpoNoise, ...]:
    """Return the audit of each contender under each protocol, in order of protocol and name; folds without a search
    or without a score are left out."""
    found: dict[tuple[str, str], list[SplitGaps]] = defaultdict(list)
    for fold in folds:
        gaps = _gaps(fold)
        if gaps is not None:
            found[fold.rows[0].protocol, fold.rows[0].model].append(gaps)
    return tuple(_noise(protocol, model, gaps) for (protocol, model), gaps in sorted(found.items()))


def corrected_interval(
    values: Sequence[float], *, test_share: float, level: float = 0.95
) -> tuple[float, float] | None:
    """Return Student's t interval of the mean of J split scores with the variance (1/J + n_test/n_train) S^2.

    Splits share training subjects, so their scores are not independent (Nadeau and Bengio 2003).

    Args:
        values: one per split.
        test_share: n_test / n_train.
        level: of confidence.
    """
    n = len(values)
    if n < 2:
        return None
    mean = math.fsum(values) / n
    variance = math.fsum((v - mean) ** 2 for v in values) / (n - 1)
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * math.sqrt((1 / n + test_share) * variance)
    return (mean - half, mean + half)


def _gaps(fold: FoldResult) -> SplitGaps | None:
    """Compare means over subjects, as the score of a trial is one."""
    if fold.search is None or not fold.rows:
        return None
    ours = (r for r in fold.rows if (r.protocol, r.metric, r.class_) == (fold.rows[0].protocol, METRIC, MACRO))
    means = mean_by_subject((r.subject, r.value) for r in ours if r.value is not None)
    if not means:
        return None
    outer = math.fsum(means.values()) / len(means)
    inner, same_net = fold.search.value, fold.search.outer_value
    return SplitGaps(
        selection=None if same_net is None else inner - same_net,
        refitted=inner - outer,
        test_share=len(means) / fold.train_subjects,
        optimistic=fold.rows[0].selection_biased,
    )


def _noise(protocol: str, model: str, gaps: Sequence[SplitGaps]) -> HpoNoise:
    share = math.fsum(g.test_share for g in gaps) / len(gaps)
    selection = [g.selection for g in gaps if g.selection is not None]
    return HpoNoise(
        model=model,
        protocol=protocol,
        selection=_gap(selection, test_share=share) if selection else None,
        refitted=_gap([g.refitted for g in gaps], test_share=share),
        optimistic=any(g.optimistic for g in gaps),
    )


def _gap(values: Sequence[float], *, test_share: float) -> Gap:
    return Gap(
        splits=len(values),
        mean=math.fsum(values) / len(values),
        ci95=t_interval(values),
        ci95_corrected=corrected_interval(values, test_share=test_share),
    )
