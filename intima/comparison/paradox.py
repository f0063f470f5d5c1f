"""The paradox of competence between models: metric disagreement against disagreement beyond displaced borders."""

from itertools import combinations

import numpy as np

from intima.borders import read_difference
from intima.comparison.agreement import Ranked, view_of
from intima.contracts.statistics import ParadoxPair
from intima.statistics.equivalence import TrainingOverlap, paired_t

_DICE, _TOLERANT = "dice", "tolerant_dice"


def paradox_of(ranked: Ranked, *, overlap: TrainingOverlap | None) -> tuple[ParadoxPair, ...]:
    """Return what the difference in Dice of every pair is made of, on the subjects that have both scores."""
    if ranked.metric != _DICE or not ranked.higher_is_better:
        return ()
    views = [view_of(ranked, metric) for metric in (_DICE, _TOLERANT)]
    if views[0] is None or views[1] is None or views[0].subjects != views[1].subjects:
        return ()
    dice, tolerant = views[0].scores, views[1].scores
    found = []
    for i, j in combinations(range(len(ranked.models)), 2):
        first, second = (i, j) if dice[:, i].mean() >= dice[:, j].mean() else (j, i)
        difference = float(np.mean(dice[:, first] - dice[:, second]))
        forgiven = tolerant[:, first] - tolerant[:, second]
        test = paired_t(forgiven, overlap=overlap)
        interval = test.interval(0.95) if test else None
        pair = ParadoxPair(
            better=ranked.models[first],
            worse=ranked.models[second],
            difference=difference,
            forgiven=float(forgiven.mean()),
            forgiven_ci95=(interval.low, interval.high) if interval else None,
            reading=read_difference(difference, float(forgiven.mean())),
        )
        found.append(pair)
    return tuple(sorted(found, key=lambda p: (-p.difference, p.better, p.worse)))
