"""decide_equivalence end to end on raw scores: rules, pairing, hostile input."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from intima.comparison.plans import PlansInMemory
from intima.comparison.scores import Selection, SubjectScores
from intima.comparison.verdict import decide_equivalence
from intima.contracts.comparison import ComparisonRequest, Contender, Verdict
from intima.errors import Invalid, NotFound

decide = partial(decide_equivalence, plans=PlansInMemory(now=lambda: "2026-01-01T00:00:00.000Z"))
SUBJECTS = [f"m{i}" for i in range(9)]
NOISE = np.array([0.004, -0.006, 0.002, -0.003, 0.005, -0.001, 0.003, -0.005, 0.001])
BASE = np.array([0.81, 0.86, 0.79, 0.90, 0.84, 0.77, 0.88, 0.83, 0.85])


def no_fetch(contender: Contender, selection: Selection) -> SubjectScores:
    raise NotFound(f"There is no model {contender.model!r}.", pointer="/model")


def compare(a: object, b: object, **more: object) -> Verdict:
    body = {
        "a": {"scores": list(np.asarray(a)), "subjects": SUBJECTS[: len(np.asarray(a))]},
        "b": {"scores": list(np.asarray(b)), "subjects": SUBJECTS[: len(np.asarray(b))]},
        "margin": {"value": 0.02},
    }
    return decide(ComparisonRequest.model_validate(body | more), fetch=no_fetch)


@pytest.mark.parametrize(
    ("shift", "spread", "verdict", "choice"),
    [
        (0.0, 1.0, "equivalent", "either"),
        (0.008, 1.0, "different_but_negligible", "either"),
        (0.05, 1.0, "better_a", "a"),
        (-0.05, 1.0, "better_b", "b"),
        (0.0, 20.0, "inconclusive", None),
    ],
)
def test_five_verdicts(shift: float, spread: float, verdict: str, choice: str | None) -> None:
    found = compare(BASE + shift + spread * NOISE, BASE)
    assert found.verdict == verdict
    assert found.no_winner == (not verdict.startswith("better"))
    assert (found.choose.model if found.choose else None) == choice
    assert found.exploratory
    assert found.difference.estimate == pytest.approx(shift, abs=1e-12)
    assert found.n_units == 9
    assert found.failure_rate_upper_bound == pytest.approx(0.2831, abs=1e-4)


def test_the_published_power_shows_in_the_answer() -> None:
    """S6: at a difference of 0.02, margin 0.02 and nine subjects the verdict is inconclusive in 3 of 4 data sets."""
    random = np.random.default_rng(20250905)
    found = [compare(BASE + d, BASE).verdict for d in random.normal(0.02, 0.0507, size=(200, 9))]
    assert found.count("inconclusive") >= 150
    assert found.count("equivalent") + found.count("different_but_negligible") <= 10


def test_lower_is_better_turns_the_winner() -> None:
    longer = compare(BASE + 0.05 + NOISE, BASE, metric="hd95")
    assert longer.verdict == "better_b"
    assert compare(BASE + 0.05 + NOISE, BASE, metric="hd95", higher_is_better=True).verdict == "better_a"
    unknown = compare(BASE + 0.05 + NOISE, BASE, metric="beauty")
    assert unknown.verdict == "better_a"
    assert any("does not know the metric" in w for w in unknown.warnings)
    with pytest.raises(Invalid, match="signed error"):
        compare(BASE, BASE, metric="area_error")


def test_dependence_widens_and_decides() -> None:
    a, dependence = BASE + 0.011 + 1.5 * NOISE, {"protocol": "loocv", "n_train": 8, "n_test": 1}
    naive, corrected = compare(a, BASE), compare(a, BASE, dependence=dependence)
    assert naive.verdict == "different_but_negligible"
    assert corrected.naive_difference == naive.difference
    assert naive.naive_difference is None
    assert naive.difference.ci95 is not None
    assert corrected.difference.ci95 is not None
    ratio = np.ptp(corrected.difference.ci95) / np.ptp(naive.difference.ci95)
    assert ratio == pytest.approx(math.sqrt(1 + 9 / 8))
    assert corrected.dependence.standard_error_factor == pytest.approx(1.4577, abs=1e-4)
    assert corrected.sensitivity[0].method == "paired_t_corrected"
    assert corrected.sensitivity[0].verdict == corrected.verdict
    assert corrected.difference.coverage_at_n is None
    assert naive.difference.coverage_at_n == 0.950
    assert naive.dependence.correction.startswith("none")
    assert any("state dependence" in w for w in naive.warnings)
    assert naive.units_needed_for_80_percent_power < corrected.units_needed_for_80_percent_power  # type: ignore[operator]


def test_three_folds_have_two_degrees_of_freedom() -> None:
    found = compare(BASE + NOISE, BASE, dependence={"protocol": "kfold3", "n_train": 6, "n_test": 3})
    assert found.dependence.standard_error_factor == pytest.approx(1.5811, abs=1e-4)
    assert found.difference.ci95 is not None
    expected = 4.3027 * 1.58114 * NOISE.std(ddof=1) / 3
    assert np.ptp(found.difference.ci95) / 2 == pytest.approx(expected, rel=1e-4)


def test_identical_scores_are_inconclusive_and_never_nan() -> None:
    found = compare(BASE, BASE)
    assert found.verdict == "inconclusive"
    assert found.difference.ci90 is None
    assert found.difference.estimate == 0
    assert found.units_needed_for_80_percent_power is None
    assert [s.method for s in found.sensitivity] == ["sign_flip"]
    assert found.sensitivity[0].p_equivalence == 2**-9
    assert "no spread" in found.sentence


@pytest.mark.parametrize("shift", [0.01, 0.05, -0.5])
def test_a_constant_difference_names_no_winner(shift: float) -> None:
    found = compare(BASE + shift, BASE)
    assert found.verdict == "inconclusive"
    assert found.no_winner


def test_two_subjects_decide_nothing() -> None:
    found = compare([0.9, 0.91], [0.5, 0.51001])
    assert found.verdict == "inconclusive"
    assert found.difference.ci95 is not None
    assert any("one degree of freedom" in w for w in found.warnings)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_subjects_are_refused(count: int) -> None:
    with pytest.raises(Invalid) as caught:
        compare(BASE[:count], BASE[:count])
    assert caught.value.message == f"Got {count} paired subject{'s' if count == 0 else ''}; need at least 2."


def test_a_missing_subject_is_named() -> None:
    with pytest.raises(Invalid) as caught:
        compare(BASE, BASE[:7])
    assert caught.value.code == "unpaired"
    assert "m7, m8" in caught.value.message
    assert caught.value.pointer == "/b/subjects"


def test_sections_of_a_subject_are_averaged_first() -> None:
    a = {"scores": [0.8, 0.9, 0.7, 0.6], "subjects": ["m1", "m1", "m2", "m3"]}
    b = {"scores": [0.6, 0.5, 0.8], "subjects": ["m3", "m2", "m1"]}
    request = ComparisonRequest.model_validate({"a": a, "b": b, "margin": {"value": 0.1}})
    found = decide(request, fetch=no_fetch)
    assert found.n_units == 3
    assert [(s.subject, round(s.a, 6), s.b) for s in found.subjects] == [
        ("m1", 0.85, 0.8),
        ("m2", 0.7, 0.5),
        ("m3", 0.6, 0.6),
    ]
    assert found.worst_case.subject == "m2"
    assert found.provenance["a"]["averaged"] == "4 scores averaged within 3 subjects"  # type: ignore[index]


@settings(max_examples=20)
@given(st.permutations(range(9)), st.integers(0, 3))
def test_order_of_subjects_does_not_matter_and_sides_mirror(order: list[int], scale: int) -> None:
    a = BASE + 0.01 + scale * NOISE
    names = [SUBJECTS[i] for i in order]
    body = {
        "a": {"scores": list(a), "subjects": SUBJECTS},
        "b": {"scores": list(BASE[order]), "subjects": names},
        "margin": {"value": 0.02},
    }
    found = decide(ComparisonRequest.model_validate(body), fetch=no_fetch)
    straight = compare(a, BASE)
    assert found == straight
    swapped = compare(BASE, a)
    mirrored = {"better_a": "better_b", "better_b": "better_a"}.get(found.verdict, found.verdict)
    assert swapped.verdict == mirrored
    assert swapped.difference.estimate == pytest.approx(-found.difference.estimate)
    assert swapped.provenance["score_sha256s"] == found.provenance["score_sha256s"][::-1]  # type: ignore[index]


@settings(max_examples=60)
@given(
    st.integers(2, 9).flatmap(
        lambda n: st.tuples(
            *(st.lists(st.one_of(st.floats(-1e9, 1e9), st.sampled_from([0.0, 0.5, 1.0])), min_size=n, max_size=n),) * 2
        )
    ),
    st.floats(1e-6, 1e9),
    st.booleans(),
)
def test_any_finite_scores_give_a_finite_answer(
    sides: tuple[list[float], list[float]], margin: float, dependent: bool
) -> None:
    n = len(sides[0])
    names = [f"s{i}" for i in range(n)]
    dependence = {"protocol": "loocv", "n_train": n - 1, "n_test": 1} if dependent else None
    body = {
        "a": {"scores": sides[0], "subjects": names},
        "b": {"scores": sides[1], "subjects": names},
        "margin": {"value": margin},
        "dependence": dependence,
    }
    found = decide(ComparisonRequest.model_validate(body), fetch=no_fetch)
    for name in ("NaN", "Infinity"):
        assert name not in found.model_dump_json()
    assert all(0 < p <= 1 for s in found.sensitivity for p in (s.p_equivalence, s.p_difference) if p is not None)
    if found.difference.ci90 and n > 2:
        inside = -margin < found.difference.ci90[0] and found.difference.ci90[1] < margin
        if inside:
            assert found.verdict in {"equivalent", "different_but_negligible"}
        elif found.verdict in {"equivalent", "different_but_negligible"}:
            assert max(map(abs, found.difference.ci90)) == pytest.approx(margin, rel=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_non_finite_scores_are_refused_by_the_contract(bad: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        compare([0.5, bad, 0.7], [0.5, 0.6, 0.7])


@pytest.mark.parametrize(
    "contender",
    [
        {},
        {"model": "m", "scores": [1.0], "subjects": ["a"]},
        {"benchmark": "b"},
        {"scores": [1.0]},
        {"scores": [1.0, 2.0], "subjects": ["a"]},
        {"scores": [1.0] * 10_001, "subjects": ["a"] * 10_001},
    ],
)
def test_ambiguous_contenders_are_refused(contender: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Contender.model_validate(contender)


def test_an_unknown_model_points_at_its_side() -> None:
    body = {"a": {"scores": list(BASE), "subjects": SUBJECTS}, "b": {"model": "nobody"}, "margin": {"value": 0.02}}
    with pytest.raises(NotFound) as caught:
        decide(ComparisonRequest.model_validate(body), fetch=no_fetch)
    assert caught.value.pointer == "/b/model"


def test_the_answer_is_the_same_on_every_run() -> None:
    many = np.random.default_rng(0).normal(0.8, 0.05, 40)
    names = [f"s{i}" for i in range(40)]
    body = {
        "a": {"scores": list(many), "subjects": names},
        "b": {"scores": list(many[::-1]), "subjects": names},
        "margin": {"value": 0.02},
    }
    runs = [decide(ComparisonRequest.model_validate(body | {"seed": s}), fetch=no_fetch) for s in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0].sensitivity != runs[2].sensitivity
    assert runs[0].verdict == runs[2].verdict


def test_effect_sizes_carry_their_interval() -> None:
    found = {e.name: e for e in compare(BASE + 0.01 + NOISE, BASE).effect_sizes}
    assert found["hedges_g_z"].value == pytest.approx(0.902703 * found["d_z"].value, rel=1e-5)  # type: ignore[operator]
    assert found["d_z"].ci95 is not None
    assert found["d_z"].ci95[0] < found["d_z"].value < found["d_z"].ci95[1]  # type: ignore[operator]
    assert found["p_a_above_b"].value == 1.0
    for effect in found.values():
        assert effect.method is not None
        assert effect.ci95 is not None
        assert effect.ci95[0] <= effect.value <= effect.ci95[1]  # type: ignore[operator]
    same = {e.name: e for e in compare(BASE, BASE).effect_sizes}
    assert {e.name for e in same.values() if e.ci95 is None} == {"d_z", "hedges_g_z", "d_av", "matched_rank_biserial"}
    assert {e.method for e in same.values() if e.ci95 is None} == {None}


def test_bayesian_methods_stand_beside_and_decide_nothing() -> None:
    found = {s.method: s for s in compare(BASE + NOISE, BASE).sensitivity}
    for name in ("bayes_correlated_t", "bayes_signed_rank"):
        row = found[name]
        assert row.verdict == "equivalent"
        assert row.p_equivalence is None
        assert row.probabilities is not None
        assert sum(row.probabilities.model_dump().values()) == pytest.approx(1)
    longer = compare(BASE + 0.05 + NOISE, BASE, metric="hd95")
    assert {s.verdict for s in longer.sensitivity} == {"better_b"}
    assert not [s for s in compare(BASE[:4] + NOISE[:4], BASE[:4]).sensitivity if s.probabilities]


@pytest.mark.parametrize(
    ("shift", "metric", "sides"),
    [
        (0.0, "dice", (True, True)),
        (0.05, "dice", (True, False)),
        (-0.05, "dice", (False, True)),
        (0.05, "hd95", (False, True)),
    ],
)
def test_non_inferiority_of_either_side(shift: float, metric: str, sides: tuple[bool, bool]) -> None:
    found = compare(BASE + shift + NOISE, BASE, metric=metric).non_inferiority
    assert found is not None
    assert (found.a, found.b) == sides
    assert (found.p_a < 0.05, found.p_b < 0.05) == sides


def test_without_spread_or_degrees_nothing_is_not_inferior() -> None:
    assert compare(BASE + 0.01, BASE).non_inferiority is None
    two = compare([0.9, 0.91], [0.5, 0.51001]).non_inferiority
    assert two is not None
    assert not two.a
