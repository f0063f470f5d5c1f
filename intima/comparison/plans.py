"""Comparisons under a locked plan: what it fixes, and whether a verdict may be called confirmatory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from intima.comparison.pairing import Paired
from intima.comparison.scores import FIRST_SCORES_AT, SubjectScores
from intima.comparison.words import listed
from intima.contracts.comparison import ComparisonRequest, PlanStanding, Verdict, VerdictName
from intima.contracts.plan import Plan, PlanRequest, PlanUse
from intima.errors import Invalid
from intima.store.plans import chained, locked, no_such_plan

_FIXED = ("metric", "class_", "protocol", "margin", "alpha", "dependence", "higher_is_better", "seed")


Enter = Callable[[Plan, str, Sequence[PlanUse]], PlanUse]
"""enter(plan with its trail, time RFC 3339, uses of the same scores under other plans) -> the use to add, or one that
the trail has already."""


class PlanBook(Protocol):
    """Locked plans and their trails."""

    def find(self, ref: str) -> Plan:
        """Return a plan by id or hash. Raises NotFound."""
        ...

    def record(self, plan_id: str, score_sha256s: Sequence[str], enter: Enter) -> PlanUse:
        """Add what ``enter`` makes of the trail as it is; no other use of the plan comes in between."""
        ...


@dataclass(slots=True)
class PlansInMemory:
    """A plan book that is gone with its process, with a clock that is told the time."""

    now: Callable[[], str]
    plans: dict[str, Plan] = field(default_factory=dict)

    def lock(self, content: PlanRequest) -> Plan:
        """Lock a plan, or return the one of the same content."""
        plan = locked(content, at=self.now())
        return self.plans.setdefault(plan.id, plan)

    def find(self, ref: str) -> Plan:
        """Return a plan by id or hash. Raises NotFound."""
        found = next((p for p in self.plans.values() if ref in {p.id, p.sha256}), None)
        if found is None:
            raise no_such_plan(ref)
        return found

    def record(self, plan_id: str, score_sha256s: Sequence[str], enter: Enter) -> PlanUse:
        """Add a use to a trail."""
        plan = self.find(plan_id)
        others = [u for p in self.plans.values() if p.id != plan_id for u in p.uses]
        use = enter(plan, self.now(), [u for u in others if set(u.score_sha256s) & set(score_sha256s)])
        if use not in plan.uses:
            self.plans[plan.id] = plan.model_copy(update={"uses": (*plan.uses, use)})
        return use


def request_under(plan: Plan, request: ComparisonRequest) -> ComparisonRequest:
    """Return a request with everything the plan fixes.

    Raises:
        Invalid: the request states something else than the plan.
    """
    for name in sorted(request.model_fields_set.intersection(_FIXED)):
        stated, fixed = getattr(request, name), getattr(plan.content, name)
        if stated is not None and stated != fixed:
            shown = name.rstrip("_")
            raise Invalid(
                f"The plan {plan.id} fixes another {shown.replace('_', ' ')} than the request states.",
                code="differs_from_plan",
                hint=f"Leave {shown} out, or compare without the plan; the verdict is then exploratory.",
                pointer=f"/{shown}",
            )
    return request.model_copy(update={name: getattr(plan.content, name) for name in _FIXED})


def without_excluded(plan: Plan, side: SubjectScores) -> SubjectScores:
    """Return scores without the subjects that the plan excludes."""
    excluded = {e.subject for e in plan.content.exclusions}
    kept = {s: v for s, v in side.by_subject.items() if s not in excluded}
    if len(kept) == len(side.by_subject):
        return side
    out = sorted(set(side.by_subject) - set(kept))
    note = f"Left out as the plan says: {listed(out)}."
    return replace(side, by_subject=kept, warnings=(*side.warnings, note))


def check_sides(plan: Plan, paired: Paired) -> None:
    """Refuse a comparison of other models than the plan names, in other order too: the sign of d is part of the plan.

    Raises:
        Invalid: a or b is another, or both have one name, so that the trail could not tell them apart.
    """
    if paired.a.contender == paired.b.contender or paired.a.label == paired.b.label:
        raise Invalid(
            f"Both sides are called {paired.a.label!r}.",
            code="same_name",
            hint="Under a plan the two need names of their own; give raw scores a label.",
            pointer="/b",
        )
    wanted = plan.content.models
    if wanted is None:
        return
    for side, name, found in zip("ab", wanted, (paired.a.label, paired.b.label), strict=True):
        if name != found:
            raise Invalid(
                f"The plan {plan.id} compares {wanted[0]} with {wanted[1]}; {side} is {found}.",
                code="differs_from_plan",
                hint="Name raw scores by label. Another pair needs another plan.",
                pointer=f"/{side}",
            )


def stand(plan: Plan, paired: Paired, verdict: Verdict, *, book: PlanBook) -> PlanStanding:
    """Record a verdict in the trail of its plan and say what it may call itself (decision 0018).

    It is confirmatory where no score of a benchmark existed when the plan was locked, none of the scores was compared
    under another plan before that, and neither other scores of the two models nor the same scores with another
    outcome were compared under this one.
    """
    sides = (paired.a, paired.b)
    hashes = [s.sha256 for s in sides]
    use = book.record(plan.id, hashes, lambda current, at, others: _entered(current, at, others, sides, verdict))
    return PlanStanding(
        id=plan.id,
        sha256=plan.sha256,
        locked_at=plan.locked_at,
        use=use.number,
        confirmatory=use.confirmatory,
        reasons=use.reasons,
        notes=_notes(book.find(plan.id), sides),
    )


def _entered(
    plan: Plan, at: str, others: Sequence[PlanUse], sides: Sequence[SubjectScores], verdict: Verdict
) -> PlanUse:
    finding: dict[str, Any] = {
        "models": [s.label for s in sides],
        "contenders": [s.contender for s in sides],
        "score_sha256s": [s.sha256 for s in sides],
        "verdict": verdict.verdict,
    }
    known = (u for u in plan.uses if u.model_dump(mode="json", include=set(finding)) == finding)
    if (same := next(known, None)) is not None:
        return same
    reasons = (*_older_scores(plan, sides), *_compared_before(plan, others), *_earlier_uses(plan, sides, verdict))
    return chained(plan, {"at": at, **finding, "confirmatory": not reasons, "reasons": list(reasons)})


def _older_scores(plan: Plan, sides: Sequence[SubjectScores]) -> tuple[str, ...]:
    made = [(s.label, str(s.provenance[FIRST_SCORES_AT])) for s in sides if s.provenance.get(FIRST_SCORES_AT)]
    return tuple(
        f"Scores of {label} existed at {at}, before the plan was locked at {plan.locked_at}."
        for label, at in made
        if at <= plan.locked_at
    )


def _compared_before(plan: Plan, others: Sequence[PlanUse]) -> tuple[str, ...]:
    first = min((use.at for use in others if use.at <= plan.locked_at), default=None)
    if first is None:
        return ()
    return (f"These scores were compared at {first} under another plan, before this one was locked.",)


def _earlier_uses(plan: Plan, sides: Sequence[SubjectScores], verdict: Verdict) -> tuple[str, ...]:
    """Return what speaks against a first look: other scores of this pair, another outcome, or scores already known."""
    hashes, scores = {s.sha256 for s in sides}, {(s.contender, s.sha256) for s in sides}
    found: dict[str, None] = {}
    for use in plan.uses:
        earlier = set(zip(use.contenders, use.score_sha256s, strict=True))
        if {name for name, _ in earlier} == {name for name, _ in scores} and earlier != scores:
            found[f"Other scores of these models were compared under the plan before, at {use.at}."] = None
        if set(use.score_sha256s) == hashes and use.verdict != _turned(verdict.verdict, use, sides):
            found[f"The same scores had another verdict under the plan before, at {use.at}."] = None
        if hashes & set(use.score_sha256s) and not use.confirmatory:
            found[f"Use {use.number} of these scores was exploratory: {use.reasons[0]}"] = None
    return tuple(found)


def _turned(verdict: VerdictName, use: PlanUse, sides: Sequence[SubjectScores]) -> VerdictName:
    """Return a verdict as it reads with the sides of an earlier use."""
    if use.score_sha256s[0] == sides[0].sha256 or verdict not in {"better_a", "better_b"}:
        return verdict
    return "better_b" if verdict == "better_a" else "better_a"


def _notes(plan: Plan, sides: Sequence[SubjectScores]) -> tuple[str, ...]:
    notes = []
    if raw := [s.label for s in sides if not s.provenance.get(FIRST_SCORES_AT)]:
        notes.append(f"When the scores of {' and '.join(raw)} were first seen, only whoever sent them knows.")
    pairs = {frozenset(use.contenders) for use in plan.uses}
    if len(pairs) > 1:
        notes.append(f"{len(pairs)} pairs of models were compared under this plan; alpha was not divided among them.")
    return tuple(notes)
