"""Subjects are the unit, what is fitted is judged on those left out, and few subjects get few numbers."""

import json

import numpy as np
import pytest

from intima.contracts.evidence import Detection, HeldOutCase, OutOfFoldEvidence, Reliability
from intima.errors import Invalid
from intima.evidence import Measured, pool_evidence
from intima.evidence.pool import figures_at
from intima.review import summary_of
from intima.temperature import TEMPERATURES

OUT_OF_FOLD = Measured("out-of-fold", protocol="loocv", selection_biased=False, members=1)
BINS = Reliability(pixels=(0,) * 14 + (100,), right=(0,) * 14 + (90,), confidence=(0.0,) * 14 + (99.0,))
FINDS = Detection(error_rate=0.1, auroc=0.9, aurc=0.02, excess_aurc=0.01, removed_12=0.8, removed_25=0.9)


def losses(best: float, *, level: float = 0.3) -> tuple[float, ...]:
    """A parabola in the logarithm of the temperature."""
    return tuple(level + 0.1 * (np.log(t) - np.log(best)) ** 2 for t in TEMPERATURES)


def case(subject: str, *, best: float = 1.5, slope: float = 0.1, number: int = 0, **changes) -> HeldOutCase:
    grid = len(TEMPERATURES)
    values = {
        "case": f"{subject}-{number}",
        "subject": subject,
        "mpp": 0.5,
        "passes": 8,
        "stride": 1,
        "pixels": 100,
        "foreground_pixels": 50,
        "nll": losses(best),
        "nll_foreground": losses(best, level=0.6),
        "brier": (0.2,) * grid,
        "ece": {"all": tuple(slope * abs(np.log(t / best)) for t in TEMPERATURES), "foreground": (0.3,) * grid},
        "reliability": {"all": BINS, "foreground": BINS},
        "reliability_foreground": (BINS,) * grid,
        "detection": (FINDS,) * 6,
        "dice": 0.9,
        "expected_dice": (0.95,) * grid,
        "reach_px": {"foreground": 4.0},
        "vessels": 1,
        "vessels_found": 1,
        "pairs": (),
    }
    return HeldOutCase.model_validate(values | changes)


def pooled(*cases: HeldOutCase, measured: Measured = OUT_OF_FOLD) -> OutOfFoldEvidence:
    found = pool_evidence(cases, measured)
    return OutOfFoldEvidence.model_validate(json.loads(json.dumps(found.model_dump(mode="json"), allow_nan=False)))


def figure(evidence: OutOfFoldEvidence, name: str):
    return next(f for f in evidence.calibration if f.name == name)


def test_the_temperature_of_the_mean_loss_is_fitted_and_judged_on_subjects_left_out() -> None:
    bests = (1.2, 1.5, 1.8, 2.4)
    found = pooled(*(case(f"s{n}", best=b) for n, b in enumerate(bests)))
    assert found.temperature.value == pytest.approx(np.exp(np.mean(np.log(bests))), rel=1e-3)
    nll = figure(found, "nll")
    without = [np.exp(np.mean(np.log([b for b in bests if b != left]))) for left in bests]
    honest = np.mean([0.3 + 0.1 * np.log(t / b) ** 2 for t, b in zip(without, bests, strict=True)])
    assert nll.after.mean == pytest.approx(honest, abs=2e-3)
    assert nll.before.mean == pytest.approx(np.mean([0.3 + 0.1 * np.log(b) ** 2 for b in bests]), abs=1e-6)
    assert found.temperature.nll_left_out == nll.after
    assert figure(found, "ece").after.mean < figure(found, "ece").before.mean
    assert figure(found, "auroc").before.mean == pytest.approx(0.9)


def test_a_temperature_that_does_not_help_those_left_out_is_not_served() -> None:
    found = pooled(*(case(f"s{n}", best=b) for n, b in enumerate((0.5, 1.0, 2.1))))
    assert found.temperature.value == 1.0
    assert found.temperature.fitted == pytest.approx((0.5 * 2.1) ** (1 / 3), rel=1e-3)
    assert "does not lower" in found.temperature.reason


def test_a_temperature_that_suits_the_background_and_harms_the_foreground_is_not_served() -> None:
    cases = [case(f"s{n}", best=0.6, nll_foreground=losses(1.4, level=0.9)) for n in range(5)]
    found = pooled(*cases)
    assert found.temperature.value == 1.0
    assert found.temperature.fitted == pytest.approx(0.6, rel=1e-3)
    assert "loss over foreground of subjects left out" in found.temperature.reason
    assert figure(found, "nll").after == figure(found, "nll").before


@pytest.mark.parametrize("count", [1, 2])
def test_so_few_subjects_get_no_temperature_and_no_margin_and_it_says_so(count: int) -> None:
    found = pooled(*(case(f"s{n}") for n in range(count)))
    assert (found.temperature.value, found.temperature.fitted) == (1.0, None)
    assert "too few" in found.temperature.reason
    assert all(f.after is None for f in found.calibration)
    (margin,) = found.margins
    assert margin.margin is None
    assert margin.smallest_alpha == pytest.approx(1 / (count + 1))
    assert f"nothing below alpha {1 / (count + 1):.3f} is attainable" in margin.reason
    assert margin.largest == 2.0
    assert "too few" in found.review.basis
    assert "without temperature" in summary_of(found)


def test_sections_of_a_subject_are_averaged_first() -> None:
    many = [case("many", slope=0.5, number=n) for n in range(30)]
    found = pooled(*many, case("a", slope=0.1), case("b", slope=0.1), case("c", slope=0.1))
    assert found.subjects == 4
    assert found.cases == 33
    assert figure(found, "ece").before.mean == pytest.approx((0.5 + 0.3) / 4 * np.log(1.5), rel=1e-3)
    assert figure(found, "ece").before.subjects == 4


def test_a_margin_counts_the_worst_section_of_a_subject_in_micrometres() -> None:
    cases = [case(f"s{n}", reach_px={"foreground": float(n), "media": 1.0}) for n in range(9)]
    cases.append(case("s0", number=1, reach_px={"foreground": 30.0}))
    margin = next(m for m in pooled(*cases).margins if m.target == "foreground")
    assert (margin.margin, margin.unit, margin.subjects, margin.alpha) == (15.0, "µm", 9, 0.1)
    unknown = [*cases, case("s9", reach_px={"foreground": 1.0}, mpp=None)]
    margin = next(m for m in pooled(*unknown).margins if m.target == "foreground")
    assert (margin.margin, margin.unit) == (30.0, "px")


def test_a_missed_vessel_is_no_finite_margin() -> None:
    cases = [case(f"s{n}", reach_px={"foreground": 2.0 if n else None}) for n in range(9)]
    (margin,) = pooled(*cases).margins
    assert (margin.margin, margin.missed, margin.largest) == (None, 1, None)
    assert "none of it in 1 of 9" in margin.reason
    (margin,) = pooled(*cases, *(case(f"t{n}") for n in range(12))).margins
    assert margin.margin == 2.0


def test_cases_without_foreground_leave_gaps_and_no_nan() -> None:
    empty = case(
        "empty",
        nll_foreground=None,
        ece={"all": (0.0,) * len(TEMPERATURES)},
        reliability={"all": BINS},
        reliability_foreground=(),
        detection=(FINDS.model_copy(update={"auroc": None, "removed_12": None, "removed_25": None}),) * 6,
        expected_dice=(None,) * len(TEMPERATURES),
        reach_px={},
    )
    found = pooled(empty, *(case(f"s{n}") for n in range(3)))
    assert figure(found, "ece_foreground").before.subjects == 3
    assert figure(found, "auroc").before.subjects == 3
    assert figure(found, "ece").before.subjects == 4
    only = pooled(empty)
    assert only.margins == ()
    assert only.residuals == ()
    assert not any(f.name in {"nll_foreground", "auroc"} for f in only.calibration)


def test_the_diagrams_are_pooled_and_say_at_which_temperature() -> None:
    found = pooled(*(case(f"s{n}", best=1.5) for n in range(4)))
    before, after = [d for d in found.reliability if d.group == "foreground"]
    assert before.temperature == 1.0
    assert after.temperature == pytest.approx(1.5, rel=0.08)
    assert after.temperature in TEMPERATURES
    assert sum(before.bins.pixels) == 400


def test_a_flat_search_is_named() -> None:
    biased = Measured("out-of-fold", protocol="kfold3", selection_biased=True, members=1)
    assert "a search has seen" in summary_of(pooled(case("a"), measured=biased))
    assert "9 subjects: ECE" in summary_of(pooled(*(case(f"s{n}") for n in range(9))))
    assert summary_of(None) == "not measured"


def test_a_temperature_fitted_elsewhere_is_applied_to_all() -> None:
    found = {f.name: f for f in figures_at([case("a"), case("b")], 1.5)}
    assert found["ece"].after.mean == pytest.approx(0, abs=2e-3)
    assert found["nll"].after.mean < found["nll"].before.mean


def test_nothing_is_refused() -> None:
    with pytest.raises(Invalid, match="no held-out case"):
        pool_evidence([], OUT_OF_FOLD)
