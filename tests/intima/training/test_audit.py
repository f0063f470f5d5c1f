"""The HPO-noise audit by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from intima.contracts.benchmark import FoldResult, ScoreRow
from intima.contracts.search import Gap, HpoNoise, StudySummary
from intima.training.audit import corrected_interval, hpo_noise


def row(fold: int, subject: str, value: float | None, **changes):
    body = {"case": f"{subject}.png", "subject": subject, "protocol": "loocv", "repeat": 0, "fold": fold, "seed": 0}
    body |= {"architecture": "unet", "model": "unet", "class": "macro", "metric": "dice", "value": value, "unit": ""}
    return ScoreRow.model_validate({**body, "selection_biased": False, **changes})


def fold(number: int, inner: float | None, *rows, same_net: float | None = None, train_subjects: int = 8):
    search = None
    if inner is not None:
        search = StudySummary(trials=3, best=0, value=inner, outer_value=same_net, importances=None, reason="few")
    return FoldResult(parameters={}, rows=rows, seconds=1.0, search=search, train_subjects=train_subjects)


def test_the_refitted_gap_is_inner_best_minus_outer_mean_over_subjects():
    folds = [
        fold(0, 0.8, row(0, "a", 0.5), row(0, "a", 0.7), row(0, "b", 0.2), row(0, "b", 9.0, metric="hd95")),
        fold(1, 0.7, row(1, "c", 0.6), row(1, "d", None)),
        fold(2, None, row(2, "e", 0.1)),
        fold(3, 0.9, row(3, "f", None)),
    ]
    (noise,) = hpo_noise(folds)
    assert (noise.model, noise.protocol, noise.refitted.splits, noise.optimistic) == ("unet", "loocv", 2, False)
    assert noise.refitted.mean == pytest.approx(((0.8 - 0.4) + (0.7 - 0.6)) / 2)
    assert noise.selection is None


def test_what_a_longer_training_gains_does_not_hide_what_selection_flatters():
    """The winner of every search scores .1 less outside; the fold's own net, trained longer, as much more."""
    folds = [fold(n, 0.7 + n / 100, row(n, "a", 0.8 + n / 100), same_net=0.6 + n / 100) for n in range(3)]
    (noise,) = hpo_noise([*folds, fold(3, 0.5, row(3, "a", 0.6))])
    assert (noise.selection.splits, noise.selection.mean) == (3, pytest.approx(0.1))
    assert noise.selection.ci95 == (pytest.approx(0.1), pytest.approx(0.1))
    assert (noise.refitted.splits, noise.refitted.mean) == (4, pytest.approx(-0.1))


def test_flat_searches_are_labelled_and_contenders_kept_apart():
    folds = [
        fold(0, 0.8, row(0, "a", 0.7, selection_biased=True)),
        fold(0, 0.8, row(0, "a", 0.6, model="other", protocol="kfold3")),
    ]
    assert [(n.protocol, n.model, n.optimistic) for n in hpo_noise(folds)] == [
        ("kfold3", "other", False),
        ("loocv", "unet", True),
    ]
    assert all(n.refitted.ci95 is None and n.refitted.ci95_corrected is None for n in hpo_noise(folds))


def test_the_audit_of_an_earlier_version_is_read_as_that_of_the_refitted_net():
    gap = {"splits": 3, "mean": 0.1, "ci95": [0.0, 0.2], "ci95_corrected": None}
    read = HpoNoise.model_validate({"model": "unet", "protocol": "loocv", "optimistic": False, **gap})
    assert (read.selection, read.refitted) == (None, Gap.model_validate(gap))
    assert HpoNoise.model_validate_json(read.model_dump_json()) == read


def test_the_corrected_interval_is_that_of_nadeau_and_bengio():
    values = np.random.default_rng(0).normal(0.1, 0.05, 9)
    low, high = corrected_interval(list(values), test_share=1 / 8)
    half = stats.t.ppf(0.975, 8) * math.sqrt((1 / 9 + 1 / 8) * values.var(ddof=1))
    assert (low, high) == (pytest.approx(values.mean() - half), pytest.approx(values.mean() + half))
    plain = stats.t.interval(0.95, 8, values.mean(), stats.sem(values))
    assert (high - low) / (plain[1] - plain[0]) == pytest.approx(1.46, abs=0.005)
    assert corrected_interval([0.1], test_share=0.1) is None
