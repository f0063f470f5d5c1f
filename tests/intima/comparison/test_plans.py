"""Locked plans: what they fix, when a verdict is confirmatory, and the trail."""

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest
from pydantic import ValidationError

from intima.comparison.plans import PlansInMemory
from intima.comparison.scores import CONTENDER, FIRST_SCORES_AT, Selection, SubjectScores
from intima.comparison.verdict import decide_equivalence
from intima.contracts.comparison import ComparisonRequest, Contender, Verdict
from intima.contracts.plan import Plan, PlanRequest
from intima.errors import Invalid, NotFound
from intima.statistics.equivalence import TrainingOverlap
from intima.store.keys import contract_sha256, json_sha256

SUBJECTS = [f"m{i}" for i in range(9)]
NOISE = np.array([0.004, -0.006, 0.002, -0.003, 0.005, -0.001, 0.003, -0.005, 0.001])
BASE = np.array([0.81, 0.86, 0.79, 0.90, 0.84, 0.77, 0.88, 0.83, 0.85])


def clock() -> str:
    return f"2026-11-26T00:00:{next(TICKS):06.3f}Z"


TICKS = itertools.count(10)


@dataclass
class Lab:
    """A plan book, and benchmark scores that came to exist at a time."""

    book: PlansInMemory = field(default_factory=lambda: PlansInMemory(now=clock))
    scored_at: str = "2026-11-27T00:00:00.000Z"
    values: np.ndarray = field(default_factory=lambda: BASE + NOISE)
    overlap: TrainingOverlap | None = None
    alias: str | None = None

    def lock(self, **fields: object) -> Plan:
        return self.book.lock(PlanRequest.model_validate({"margin": {"value": 0.02}} | fields))

    def fetch(self, contender: Contender, _selection: Selection) -> SubjectScores:
        known = {FIRST_SCORES_AT: self.scored_at, CONTENDER: f"{contender.benchmark}/{contender.architecture}"}
        return SubjectScores(
            self.alias or str(contender.architecture),
            dict(zip(SUBJECTS, self.values.tolist(), strict=True)),
            overlap=self.overlap,
            provenance=known,
        )

    def compare(self, plan: str, a: object = BASE + NOISE, **more: object) -> Verdict:
        b = {"scores": list(BASE), "subjects": SUBJECTS}
        side = a if isinstance(a, dict) else {"scores": list(np.asarray(a)), "subjects": SUBJECTS}
        body = {"a": side, "b": b, "plan": plan} | more
        return decide_equivalence(ComparisonRequest.model_validate(body), fetch=self.fetch, plans=self.book)


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_a_plan_fixes_what_the_request_leaves_out(lab: Lab) -> None:
    plan = lab.lock(alpha=0.01, margin={"value": 0.03, "basis": "inter_observer"}, metric="iou")
    found = lab.compare(plan.id)
    assert found.margin == {"value": 0.03, "basis": "inter_observer", "plan_sha256": plan.sha256}
    assert found.metric == "iou"
    assert not found.exploratory
    assert found.plan is not None
    assert found.plan.confirmatory
    assert "98 % interval" in found.sentence
    assert lab.compare(plan.sha256) == found


@pytest.mark.parametrize(
    ("field_name", "value"), [("margin", {"value": 0.05}), ("metric", "iou"), ("class", "media"), ("alpha", 0.1)]
)
def test_a_request_that_differs_from_its_plan_is_refused(lab: Lab, field_name: str, value: object) -> None:
    plan = lab.lock()
    with pytest.raises(Invalid) as caught:
        lab.compare(plan.id, **{field_name: value})
    assert (caught.value.code, caught.value.pointer) == ("differs_from_plan", f"/{field_name}")
    assert lab.book.find(plan.id).uses == ()


def test_restating_the_plan_is_allowed(lab: Lab) -> None:
    assert lab.compare(lab.lock().id, margin={"value": 0.02}, metric="dice", alpha=0.05).plan is not None


def test_a_missing_plan_is_named(lab: Lab) -> None:
    with pytest.raises(NotFound) as caught:
        lab.compare("plan_0")
    assert (caught.value.code, caught.value.pointer) == ("plan_not_found", "/plan")


def test_without_plan_or_margin_nothing_is_compared(lab: Lab) -> None:
    request = ComparisonRequest.model_validate({"a": {"model": "x"}, "b": {"model": "y"}})
    with pytest.raises(Invalid, match=r"Got no margin\.") as caught:
        decide_equivalence(request, fetch=lab.fetch, plans=lab.book)
    assert caught.value.pointer == "/margin"


def test_scores_that_existed_before_the_plan_make_it_exploratory(lab: Lab) -> None:
    plan = lab.lock()
    unet = {"benchmark": "bmk_1", "architecture": "unet"}
    assert not lab.compare(plan.id, unet).exploratory
    lab.scored_at = "2026-11-25T00:00:00.000Z"
    later = lab.lock(title="the same, too late")
    found = lab.compare(later.id, unet)
    assert found.exploratory
    assert found.plan is not None
    assert found.plan.reasons[0].startswith("Scores of unet existed at 2026-11-25T00:00:00.000Z, before the plan")


def test_raw_scores_rest_on_the_word_of_who_sends_them(lab: Lab) -> None:
    found = lab.compare(lab.lock().id)
    assert found.plan is not None
    assert found.plan.notes == ("When the scores of a and b were first seen, only whoever sent them knows.",)


def test_other_scores_under_the_same_plan_are_exploratory(lab: Lab) -> None:
    plan = lab.lock()
    first = lab.compare(plan.id)
    second = lab.compare(plan.id, BASE + 3 * NOISE)
    again = lab.compare(plan.id)
    assert [v.exploratory for v in (first, second, again)] == [False, True, False]
    assert again.plan == first.plan
    assert second.plan is not None
    assert "Other scores of these models" in second.plan.reasons[0]
    assert [u.number for u in lab.book.find(plan.id).uses] == [1, 2]


def test_swapping_the_sides_is_no_second_chance(lab: Lab) -> None:
    plan = lab.lock()
    sides = [{"scores": list(v), "subjects": SUBJECTS, "label": n} for v, n in ((BASE + NOISE, "x"), (BASE, "y"))]
    other = {"scores": list(BASE - NOISE), "subjects": SUBJECTS, "label": "x"}
    assert not lab.compare(plan.id, sides[0], b=sides[1]).exploratory
    assert not lab.compare(plan.id, sides[1], b=sides[0]).exploratory
    assert lab.compare(plan.id, sides[1], b=other).exploratory


def test_several_pairs_under_one_plan_are_counted(lab: Lab) -> None:
    plan = lab.lock()
    for label in "xyz":
        found = lab.compare(plan.id, {"scores": list(BASE + NOISE), "subjects": SUBJECTS, "label": label})
    assert found.plan is not None
    assert any(n.startswith("3 pairs of models were compared") for n in found.plan.notes)


def test_the_same_scores_sent_raw_stay_exploratory(lab: Lab) -> None:
    """A benchmark's dependence is derived, raw scores count as independent: the way round must not open a door."""
    lab.scored_at = "2026-11-25T00:00:00.000Z"
    plan = lab.lock()
    assert lab.compare(plan.id, {"benchmark": "bmk_1", "architecture": "unet"}).exploratory
    raw = lab.compare(plan.id, {"scores": list(BASE + NOISE), "subjects": SUBJECTS, "label": "unet"})
    assert raw.exploratory
    assert raw.plan is not None
    assert "Use 1 of these scores was exploratory" in raw.plan.reasons[0]


def test_another_outcome_of_the_same_scores_is_exploratory(lab: Lab) -> None:
    plan, a = lab.lock(), BASE + 0.005 + 1.5 * NOISE
    first = lab.compare(plan.id, a)
    lab.overlap = TrainingOverlap(9, 1 / 8)
    lab.values = a
    second = lab.compare(plan.id, {"benchmark": "bmk_1", "architecture": "a"})
    assert first.verdict != second.verdict
    assert second.plan is not None
    assert any("another verdict" in r for r in second.plan.reasons)


def test_a_margin_locked_after_the_scores_were_compared_is_exploratory(lab: Lab) -> None:
    assert not lab.compare(lab.lock(margin={"value": 0.001}).id).exploratory
    wider = lab.compare(lab.lock(margin={"value": 0.05}).id)
    assert wider.exploratory
    assert wider.plan is not None
    assert "under another plan, before this one was locked" in wider.plan.reasons[0]


def test_two_plans_locked_before_both_stand(lab: Lab) -> None:
    one, two = lab.lock(margin={"value": 0.001}), lab.lock(margin={"value": 0.05})
    assert not lab.compare(one.id).exploratory
    assert not lab.compare(two.id).exploratory


def test_sides_of_one_name_are_refused(lab: Lab) -> None:
    plan = lab.lock()
    with pytest.raises(Invalid, match="Both sides are called 'b'") as caught:
        lab.compare(plan.id, {"scores": list(BASE), "subjects": SUBJECTS, "label": "b"})
    assert (caught.value.code, caught.value.pointer) == ("same_name", "/b")


def test_another_name_of_the_same_contender_is_no_second_chance(lab: Lab) -> None:
    plan, unet = lab.lock(), {"benchmark": "bmk_1", "architecture": "unet"}
    assert not lab.compare(plan.id, unet).exploratory
    lab.values, lab.alias = BASE - NOISE, "unet@best"
    found = lab.compare(plan.id, unet)
    assert found.models[0] == "unet@best"
    assert found.exploratory


def test_stated_nulls_are_no_contradiction(lab: Lab) -> None:
    plan = lab.lock(dependence={"protocol": "loocv", "n_train": 8, "n_test": 1})
    found = lab.compare(plan.id, margin=None, dependence=None, protocol=None, higher_is_better=None)
    assert found.dependence.protocol == "loocv"


def test_named_models_are_the_only_ones(lab: Lab) -> None:
    plan = lab.lock(models=["a", "b"])
    lab.compare(plan.id)
    with pytest.raises(Invalid, match=r"compares a with b; a is z\.") as caught:
        lab.compare(plan.id, {"scores": list(BASE), "subjects": SUBJECTS, "label": "z"})
    assert caught.value.pointer == "/a"


def test_excluded_subjects_are_left_out_on_both_sides(lab: Lab) -> None:
    plan = lab.lock(exclusions=[{"subject": "m3", "reason": "torn section"}, {"subject": "m99", "reason": "lost"}])
    found = lab.compare(plan.id)
    assert found.n_units == 8
    assert "m3" not in {s.subject for s in found.subjects}
    assert "Left out as the plan says: m3." in found.warnings
    one_side_only = {"scores": list(np.delete(BASE, 3)), "subjects": SUBJECTS[:3] + SUBJECTS[4:]}
    assert lab.compare(plan.id, one_side_only).n_units == 8


def test_too_few_subjects_left_are_refused(lab: Lab) -> None:
    plan = lab.lock(exclusions=[{"subject": s, "reason": "x"} for s in SUBJECTS[:8]])
    with pytest.raises(Invalid, match="Got 1 paired subject"):
        lab.compare(plan.id)
    assert lab.book.find(plan.id).uses == ()


def test_the_trail_can_be_checked_by_hand(lab: Lab) -> None:
    plan = lab.lock()
    for scale in (1, 2, 3):
        lab.compare(plan.id, BASE + scale * NOISE)
    found = lab.book.find(plan.id)
    assert found.sha256 == contract_sha256(found.content)
    previous = json_sha256({"plan": found.sha256, "locked_at": found.locked_at})
    for use in found.uses:
        assert use.previous_sha256 == previous
        assert use.sha256 == json_sha256(use.model_dump(mode="json", exclude={"sha256"}))
        previous = use.sha256


def test_the_same_plan_is_locked_once(lab: Lab) -> None:
    assert lab.lock() == lab.lock()
    assert lab.lock(seed=1).id != lab.lock().id


@pytest.mark.parametrize(
    "fields",
    [
        {"margin": {"value": 0}},
        {"margin": None},
        {"alpha": 0.5},
        {"models": ["x", "x"]},
        {"exclusions": [{"subject": "m1", "reason": "x"}, {"subject": "m1", "reason": "y"}]},
        {"exclusions": [{"subject": "m1"}]},
        {"colour": "red"},
    ],
)
def test_a_plan_that_says_nothing_or_too_much_is_refused(lab: Lab, fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        lab.lock(**fields)
