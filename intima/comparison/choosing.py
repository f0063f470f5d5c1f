"""The cheapest of the models that are shown to be equivalent to the best."""

from collections.abc import Mapping, Sequence

import numpy as np

from intima.arrays import FloatMatrix
from intima.contracts.comparison import Margin
from intima.contracts.statistics import CostRule, EquivalentModel, RankingChoice
from intima.statistics.equivalence import FEWEST_FOR_VERDICT, TrainingOverlap, paired_t


def choose_cheapest(
    models: Sequence[str],
    oriented: FloatMatrix,
    *,
    margin: Margin,
    alpha: float,
    overlap: TrainingOverlap | None,
    costs: Mapping[str, float],
    rule: CostRule,
) -> RankingChoice:
    """Return the cheapest model among the one with the best mean and those equivalent to it.

    Equivalence is the paired TOST against the best at alpha / (K - 1), with the standard error corrected where training
    sets overlap. A model of unknown cost is not chosen.

    Args:
        models: names, K of them.
        oriented: (subjects, models) scores, larger is better.
        margin: the largest difference that does not matter.
        alpha: level of the whole, before its division.
        overlap: of the training sets behind the scores; None where they are independent or it is not known.
        costs: by name, any unit.
        rule: what the costs are.
    """
    best = int(np.argmax(oriented.mean(axis=0)))
    level = alpha / max(1, len(models) - 1)
    rows = [
        _against_best(models, oriented, best, other, margin=margin, overlap=overlap, level=level, costs=costs)
        for other in range(len(models))
    ]
    group = [r for r in rows if r.equivalent]
    known = [r for r in group if r.cost is not None]
    chosen = min(known, key=lambda r: r.cost or 0.0, default=None)
    return RankingChoice(
        best=models[best],
        model=None if chosen is None else chosen.model,
        rule=rule,
        margin=margin,
        alpha_each=level,
        models=tuple(rows),
        sentence=_sentence(models[best], chosen, len(group), len(known), rule=rule, margin=margin),
    )


def _against_best(
    models: Sequence[str],
    oriented: FloatMatrix,
    best: int,
    other: int,
    *,
    margin: Margin,
    overlap: TrainingOverlap | None,
    level: float,
    costs: Mapping[str, float],
) -> EquivalentModel:
    cost = costs.get(models[other])
    if other == best:
        return EquivalentModel(model=models[other], p_equivalence=None, equivalent=True, cost=cost)
    test = paired_t(oriented[:, other] - oriented[:, best], overlap=overlap)
    p = None if test is None else test.p_equivalence(margin.value)
    shown = p is not None and p < level and len(oriented) >= FEWEST_FOR_VERDICT
    return EquivalentModel(model=models[other], p_equivalence=p, equivalent=shown, cost=cost)


def _sentence(
    best: str, chosen: EquivalentModel | None, group: int, known: int, *, rule: CostRule, margin: Margin
) -> str:
    shown = rule.replace("_", " ")
    within = f"within ±{margin.value:.3g}"
    if chosen is None:
        return f"No cost ({shown}) is known of {best} or of a model equivalent to it {within}, so none is chosen."
    if group == 1:
        return f"No other model is shown to be equivalent to {best} {within}; there is nothing cheaper to choose."
    cheaper = "is itself the cheapest" if chosen.model == best else f"can be replaced by {chosen.model}, the cheapest"
    of = f"of the {known} of known cost that are equivalent {within} ({shown})"
    return f"{best} has the best mean and {cheaper} {of}."
