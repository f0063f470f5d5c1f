"""The paradox check and the choice of folds."""

import numpy as np
import pytest

from intima.borders import Scale
from intima.contracts.benchmark import FoldPayload, FoldResult
from intima.contracts.explanation import ExplanationRequest
from intima.errors import Conflict, Invalid
from intima.explanation.paradox import compare_folds, fold_boundary, macro_dice, measure_case
from intima.explanation.plan import FinishedFold, choose_folds, plan_explanation
from intima.labels import ARTERY
from tests.builders import rings

SCALE = Scale(1.0, "px", 2.0)
TRUTH = rings(160, radii=(30, 36, 42), center=80)


def fold(number: int, predicted: np.ndarray):
    case = measure_case(TRUTH, predicted, case=f"c{number}", subject="s", schema=ARTERY, scale=SCALE)
    return fold_boundary(number, [case])


def test_a_fold_that_is_shifted_by_a_pixel_differs_at_boundaries_only():
    paradox = compare_folds(fold(0, TRUTH), fold(1, np.roll(TRUTH, 1, axis=1)), scale=SCALE)
    assert paradox.reading == "boundary"
    assert paradox.dice_difference > 0.05
    assert paradox.difference_forgiven == 0
    assert (paradox.worst.band_share, paradox.worst.substance_share) == (1.0, 0.0)
    assert (paradox.best.errors, paradox.best.band_share) == (0, None)


def test_a_fold_that_misses_a_layer_is_wrong_in_substance():
    missing = np.where(TRUTH == 3, 0, TRUTH).astype(np.uint8)
    paradox = compare_folds(fold(0, TRUTH), fold(1, missing), scale=SCALE)
    assert paradox.reading == "substance"
    assert paradox.difference_forgiven > 0.5 * paradox.dice_difference
    assert "matters" in paradox.explanation


def test_like_folds_are_equal():
    assert compare_folds(fold(0, TRUTH), fold(1, TRUTH), scale=SCALE).reading == "equal"


def test_subjects_weigh_the_same_and_the_typical_case_is_shown():
    cases = [
        measure_case(TRUTH, np.roll(TRUTH, shift, axis=1), case=name, subject=subject, schema=ARTERY, scale=SCALE)
        for name, subject, shift in (("a", "s1", 0), ("b", "s1", 2), ("c", "s2", 1))
    ]
    found = fold_boundary(4, cases)
    dice = [c.dice for c in cases]
    assert found.dice == pytest.approx(((dice[0] + dice[1]) / 2 + dice[2]) / 2)
    assert found.shown == "c"
    assert found.errors == sum(c.errors for c in cases)


def test_macro_dice_counts_a_class_of_one_mask_as_zero_and_of_none_not_at_all():
    one = np.array([[1, 1, 0, 0]], np.uint8)
    two = np.array([[1, 1, 2, 0]], np.uint8)
    assert macro_dice(one, two, classes=4) == 0.5
    assert macro_dice(one * 0, one * 0, classes=4) is None


def finished(number: int, dice: float, *, protocol: str = "loocv", weights: str | None = "a" * 64) -> FinishedFold:
    split = {"protocol": protocol, "repeat": 0, "fold": number, "train": ["x"], "test": [f"c{number}"]}
    study = {
        "architecture": {"name": "unet"},
        "label": "small",
        "seed": 3,
        "seeds": {"split": 3, "init": 3, "augmentation": 3},
        "split": split,
    }
    body = {"dataset": "d", "study": study, "split": split, "selection_biased": False, "preset": "quick"}
    body |= {"reads": {"prefix": "", "count": 0}}
    shared = {"case": f"c{number}", "subject": f"s{number}", "protocol": protocol, "repeat": 0, "fold": number}
    row = {"seed": 3, "architecture": "unet", "model": "small", "unit": "", "selection_biased": False}
    score = {**shared, **row, "class": "macro", "metric": "dice", "value": dice}
    result = {"parameters": {}, "rows": [score], "seconds": 1.0, "weights_sha256": weights}
    return FinishedFold(FoldPayload.model_validate(body), FoldResult.model_validate(result))


FOLDS = [finished(0, 0.8), finished(1, 0.9), finished(2, 0.7), finished(0, 0.1, protocol="kfold3")]


def request(**changes) -> ExplanationRequest:
    return ExplanationRequest.model_validate({"model": "small", "protocol": "loocv", "seed": 3, **changes})


def test_best_and_worst_are_chosen_by_dice_within_their_protocol():
    chosen = choose_folds(request(), FOLDS)
    assert [f.number for f in chosen] == [1, 2]
    units = plan_explanation(request(), chosen)
    assert [(u.key, u.kind, u.needs) for u in units] == [
        ("fold1", "explain", ()),
        ("fold2", "explain", ()),
        ("paradox", "paradox", ("fold1", "fold2")),
    ]
    assert units[0].payload["cases"] == ["c1"]


def test_one_fold_has_no_paradox():
    chosen = choose_folds(request(folds=[2, 2]), FOLDS)
    assert [u.key for u in plan_explanation(request(folds=[2]), chosen)] == ["fold2"]


@pytest.mark.parametrize(
    ("changes", "pointer", "there"),
    [
        ({"model": "large"}, "/model", "small"),
        ({"protocol": "kfold5"}, "/protocol", "kfold3, loocv"),
        ({"seed": 0}, "/seed", "3"),
        ({"repeat": 1}, "/repeat", "0"),
        ({"folds": [0, 7]}, "/folds", "0, 1, 2"),
    ],
)
def test_what_is_not_there_is_refused_by_field(changes, pointer, there):
    with pytest.raises(Invalid, match=there) as refused:
        choose_folds(request(**changes), FOLDS)
    assert refused.value.pointer == pointer


def test_folds_of_versions_without_weights_are_refused():
    with pytest.raises(Conflict, match="kept no weights"):
        choose_folds(request(), [finished(0, 0.5, weights=None)])
