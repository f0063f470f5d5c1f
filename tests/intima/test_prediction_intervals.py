"""Coverage by simulation, what is refused, and that the value never leaves its interval."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intima.contracts.evidence import MeasuredPair, Residual
from intima.contracts.segmentation import Interval, Measure, RegionSpec, VesselMeasures
from intima.evidence.residuals import PairOf, pool_residuals
from intima.prediction_intervals import UNCALIBRATED, fit_spread, with_evidence, with_prediction_intervals
from tests.builders import evidence


def vessel(*measures: Measure) -> VesselMeasures:
    return VesselMeasures(
        vessel=1, bounds=RegionSpec(x=0, y=0, width=9, height=9), measures=measures, warnings=("old",)
    )


def pair(name: str, predicted: float, truth: float, *, unit: str = "", pass_sd: float | None = 0.0) -> MeasuredPair:
    return MeasuredPair(vessel=1, name=name, predicted=predicted, truth=truth, unit=unit, pass_sd=pass_sd)


def pooled(name: str, rows, *, unit: str = "") -> Residual:
    """Of rows (subject, predicted, true, spread over passes)."""
    (found,) = pool_residuals(PairOf(s, pair(name, p, t, unit=unit, pass_sd=v)) for s, p, t, v in rows)
    return found


def interval_of(residual: Residual, value: float, spread: float) -> Interval:
    measure = Measure(name=residual.name, value=value, unit=residual.unit, pass_sd=spread)
    (found,) = with_prediction_intervals(vessel(measure), evidence(residual)).measures
    assert found.interval is not None
    return found.interval


@pytest.mark.parametrize(("subjects", "sections"), [(9, 1), (9, 4), (30, 1), (5, 3)])
@pytest.mark.parametrize("seen", [0.0, 0.5, 1.0])
def test_a_section_of_a_new_subject_is_covered(subjects: int, sections: int, seen: float) -> None:
    """Errors between and within subjects, of which passes show none, a part or all, each more or less on each image."""
    rng = np.random.default_rng([subjects, sections, int(10 * seen)])
    hits = []
    for _ in range(400):
        between = rng.normal(0, 0.05, size=(subjects + 1, 1))
        spread = seen * rng.gamma(4, 0.02, size=(subjects + 1, sections))
        errors = between + rng.normal(0, 0.03, size=spread.shape) + rng.normal(size=spread.shape) * spread
        truth = rng.uniform(1000, 3000, size=spread.shape)
        predicted = (truth + 2000) * np.exp(errors) - 2000
        rows = [
            (str(s), predicted[s, k], truth[s, k], spread[s, k] * (predicted[s, k] + 2000))
            for s in range(subjects)
            for k in range(sections)
        ]
        residual = pooled("medial_area", rows)
        new = interval_of(residual, predicted[-1, 0], spread[-1, 0] * (predicted[-1, 0] + 2000))
        hits.append(new.low <= truth[-1, 0] <= new.high)
    assert 0.86 <= np.mean(hits) <= 0.96


def test_a_bias_widens_and_does_not_shift() -> None:
    rng = np.random.default_rng(0)
    rows = [(str(s), 50 + e, 50, 0.0) for s, e in enumerate(rng.normal(3, 1, size=20))]
    residual = pooled("stenosis", rows, unit="%")
    assert residual.bias == pytest.approx(3, abs=0.5)
    assert residual.sd == pytest.approx(1, abs=0.4)
    found = interval_of(residual, 50.0, 0.0)
    assert found.high - 50 == pytest.approx(50 - found.low)
    assert 4.7 < found.high - 50 < 6.2


def test_what_passes_show_is_not_counted_twice() -> None:
    """Errors that are all of the passes: the base is small beside them, the factor one."""
    rng = np.random.default_rng(1)
    spreads = rng.uniform(0.5, 2, size=4000)
    found = fit_spread(rng.normal(size=4000) * spreads, spreads, np.ones(4000))
    assert found is not None
    assert found.base < 0.25
    assert found.factor == pytest.approx(1, abs=0.04)
    mixed = fit_spread(rng.normal(size=4000) * np.hypot(spreads, 1.5), spreads, np.ones(4000))
    assert mixed is not None
    assert mixed.base == pytest.approx(1.5, rel=0.1)


def test_within_a_subject_sections_are_averaged_first() -> None:
    """One subject with a hundred sections weighs what any other does."""
    rows = [("many", 60.0, 50.0, 0.0)] * 100 + [(str(s), 50.0 + (-1) ** s, 50.0, 0.0) for s in range(9)]
    residual = pooled("stenosis", rows, unit="%")
    assert residual.subjects == 10
    assert residual.sections == 109
    assert residual.bias == pytest.approx((10 + sum((-1) ** s for s in range(9))) / 10)
    assert residual.base == pytest.approx(np.sqrt((100 + 9) / 10), rel=0.03)


@settings(max_examples=150)
@given(
    name=st.sampled_from(["medial_area", "stenosis", "intima_eccentricity", "intima_thickness_min"]),
    value=st.floats(0, 1, allow_nan=False),
    size=st.floats(1e-3, 1e6),
    spread=st.floats(0, 1e3),
    base=st.floats(1e-6, 20),
)
def test_the_value_is_always_inside(name: str, value: float, size: float, spread: float, base: float) -> None:
    plain = name in {"stenosis", "intima_eccentricity"}
    most = {"stenosis": 100.0, "intima_eccentricity": 1.0}.get(name, size)
    residual = Residual(
        name=name,
        scale="plain" if plain else "log",
        floor=0.0 if plain else size,
        unit="",
        subjects=3,
        sections=3,
        bias=0.0,
        sd=base,
        base=base,
        factor=1.0,
        reason="",
    )
    found = interval_of(residual, value * most, spread)
    assert np.isfinite([found.low, found.high]).all()
    assert found.low <= value * most <= found.high
    assert found.low >= (0.0 if plain else -size)
    assert found.low >= 0.0
    assert not plain or found.high <= most


def test_a_ratio_whose_denominator_may_be_zero_keeps_its_value_and_has_no_interval() -> None:
    rows = [(str(s), 100.0 * (1 + e), 100.0, 0.0) for s, e in enumerate((-0.5, 0.6, 0.4, -0.3))]
    ratio = pooled("intima_media_ratio", [(str(s), 1 + e, 1.0, 0.0) for s, e in enumerate((-0.1, 0.1, 0.2, 0.0))])
    found = with_prediction_intervals(
        vessel(
            Measure(name="medial_area", value=5.0, unit="", pass_sd=0.1),
            Measure(name="intima_media_ratio", value=1.2, unit="", pass_sd=0.1),
        ),
        evidence(pooled("medial_area", rows), ratio),
    )
    area, im = found.measures
    assert area.interval is not None
    assert area.interval.low == 0
    assert (im.value, im.interval) == (1.2, None)
    assert found.warnings[0] == "old"
    assert "denominator medial_area includes zero: intima_media_ratio" in found.warnings[1]


def test_measures_without_evidence_lose_the_range_and_say_why() -> None:
    """Two kinds of interval under one heading would be taken for one."""
    old = Interval(low=0.9, high=1.1)
    few = pooled("stenosis", [("a", 1.0, 2.0, 0.0), ("b", 1.0, 2.0, 0.0)], unit="%")
    perfect = pooled("eel_area", [(s, 5.0, 5.0, 0.0) for s in "abc"], unit="µm²")
    absent = pooled("intima_thickness_min", [(s, 0.1, 0.0, 0.0) for s in "abc"], unit="µm")
    pixels = pooled("lumen_area", [(s, 5.0 + k, 5.0, 0.0) for k, s in enumerate("abc")], unit="px^2")
    whole = pooled("iel_area", [(s, 5.0 + k, 5.0, 0.0) for k, s in enumerate("abc")], unit="µm²")
    found = with_prediction_intervals(
        vessel(
            Measure(name="stenosis", value=1.0, unit="%", interval=old, pass_sd=0.1),
            Measure(name="eel_area", value=1.0, unit="µm²", interval=old, pass_sd=0.1),
            Measure(name="intima_thickness_min", value=1.0, unit="µm", interval=old, pass_sd=0.1),
            Measure(name="lumen_area", value=1.0, unit="µm²", interval=old, pass_sd=0.1),
            Measure(name="iel_area", value=1.0, unit="µm²", interval=old, pass_sd=None),
            Measure(name="medial_area", value=1.0, unit="µm²", interval=old, pass_sd=0.1),
            Measure(name="eel_perimeter", value=None, unit="µm"),
        ),
        evidence(few, perfect, absent, pixels, whole),
    )
    assert all(m.interval is None for m in found.measures)
    said = " ".join(found.warnings)
    for part in (
        "2 held-out subject(s), and 3 are needed: stenosis",
        "no error was seen on the held-out sections: eel_area",
        "it is 0 on all held-out sections: intima_thickness_min",
        "known in px^2 only: lumen_area",
        "fewer than two passes have a value: iel_area",
        "not measured on held-out sections: medial_area",
    ):
        assert part in said
    assert "eel_perimeter" not in said


def test_units_that_differ_between_cases_are_not_mixed() -> None:
    rows = [PairOf(s, pair("lumen_area", 5.0 + k, 5.0, unit="µm²")) for k, s in enumerate("abcd")]
    rows += [PairOf(s, pair("lumen_area", 900.0, 5.0, unit="px^2")) for s in "ef"]
    (found,) = pool_residuals(rows)
    assert (found.unit, found.subjects) == ("µm²", 4)


def test_without_evidence_the_range_stays_and_says_that_it_is_not_calibrated() -> None:
    measured = (vessel(Measure(name="stenosis", value=1.0, unit="%", interval=Interval(low=0.5, high=2))),)
    assert with_evidence(measured, None, sampler="tta") == (measured, UNCALIBRATED)
    assert "not calibrated" in UNCALIBRATED
    assert with_evidence(measured, evidence(), sampler="none") == (measured, "none: one pass")
    assert "too narrow" in with_evidence((), evidence(biased=True), sampler="tta")[1]


def test_exact_sections_do_not_take_the_width_from_the_others() -> None:
    """A layer that is absent in both masks has no error and no spread."""
    rows = [(str(s), 0.0, 0.0, 0.0) for s in range(5)]
    rows += [(str(s), 20.0 + (-1) ** s, 20.0, 0.0) for s in range(5, 25)]
    residual = pooled("intima_thickness_min", rows, unit="µm")
    found = interval_of(residual, 20.0, 0.0)
    assert found.low < 19
    assert found.high > 21
