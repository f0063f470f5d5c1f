"""Whether a number format of a model is as good as float32: macro Dice with the truth, paired over subjects.

On images that the model was trained on: what is compared are two forms of the same nets, not the nets with the world.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from intima.arrays import FloatVector, Predict
from intima.benchmark.external import as_ensemble
from intima.benchmark.recipe import Recipe
from intima.contracts.dataset import StoredCase
from intima.contracts.model import DiceEquivalence, Precision
from intima.inference import load_onnx
from intima.statistics.equivalence import FEWEST_FOR_VERDICT, decide, paired_t
from intima.store.storage import Storage
from intima.subjects import mean_by_subject
from intima.training.scoring import OBJECTIVE, Tiling, score_cases

MARGIN = 0.005
"""Loss of macro Dice that does not matter (goal P6)."""
ALPHA = 0.05
_MOST_CASES = 24
_DIGITS = 6
"""Of what stands on a card: enough to compare, and the same on machines that add in another order."""


def compare_formats(
    storage: Storage, recipe: Recipe, files: Mapping[Precision, Sequence[bytes]]
) -> dict[Precision, DiceEquivalence]:
    """Return for every number format but float32 how its macro Dice compares, on at most 24 cases."""
    if len(files) < 2:
        return {}
    full = _dice(storage, recipe, files["fp32"])
    return {
        precision: equivalence_of(full, _dice(storage, recipe, members))
        for precision, members in files.items()
        if precision != "fp32"
    }


def equivalence_of(full: Mapping[str, float], other: Mapping[str, float]) -> DiceEquivalence:
    """Compare macro Dice by subject: two one-sided t tests of the mean loss at the margin.

    Scores that are the same for every subject are called identical; fewer than 3 subjects decide nothing.
    """
    shared = [subject for subject in full if subject in other]
    losses: FloatVector = np.array([round(full[s] - other[s], _DIGITS) for s in shared], dtype=np.float64)
    mean = float(losses.mean()) if len(losses) else 0.0
    known = DiceEquivalence(
        margin=MARGIN, subjects=len(shared), loss=round(mean, _DIGITS), ci90=None, verdict="inconclusive"
    )
    if shared and all(full[s] == other[s] for s in shared):
        return known.model_copy(update={"verdict": "identical"})
    test = paired_t(losses) if len(shared) >= FEWEST_FOR_VERDICT else None
    if test is None:
        return known
    interval = test.interval(1 - 2 * ALPHA)
    verdict = decide(test.p_equivalence(MARGIN), test.p_difference(), mean, alpha=ALPHA)
    words = {"better_a": "worse", "better_b": "better"}
    limits = round(interval.low, _DIGITS), round(interval.high, _DIGITS)
    return known.model_copy(update={"ci90": limits, "verdict": words.get(verdict, verdict)})


def _dice(storage: Storage, recipe: Recipe, members: Sequence[bytes]) -> dict[str, float]:
    """Return the macro Dice of an ensemble by subject."""
    scored = score_cases(
        storage,
        recipe.dataset,
        in_turn(recipe.dataset.cases)[:_MOST_CASES],
        predict=as_ensemble([_served(data) for data in members]),
        resolution=recipe.resolution,
        tiling=Tiling.of(recipe.study.architecture),
        metrics=(OBJECTIVE,),
    )
    values = ((item.case.subject, item.macro_dice) for item in scored)
    return mean_by_subject((subject, value) for subject, value in values if value is not None)


def in_turn(cases: Sequence[StoredCase]) -> list[str]:
    """Return the cases in the order of a first section of every subject, then a second, and so on."""
    seen: Counter[str] = Counter()
    rounds = []
    for case in cases:
        rounds.append((seen[case.subject], case.case))
        seen[case.subject] += 1
    return [case for _, case in sorted(rounds, key=lambda pair: pair[0])]


def _served(data: bytes) -> Predict:
    return load_onnx(data).predict
