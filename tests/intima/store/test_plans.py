"""Plans on SQLite and PostgreSQL: locked once, found by id or hash, trails that only grow."""

import threading
from collections.abc import Sequence

import pytest

from intima.contracts.plan import Plan, PlanRequest, PlanUse
from intima.errors import Invalid, NotFound
from intima.store import plans
from intima.store.storage import Storage

CONTENT = PlanRequest.model_validate({"margin": {"value": 0.02}, "title": "primary"})
FINDING = {
    "models": ["a", "b"],
    "contenders": ["a", "b"],
    "score_sha256s": ["0" * 64, "1" * 64],
    "verdict": "inconclusive",
}


HASHES = ("0" * 64, "1" * 64)


def lock(store: Storage, content: PlanRequest = CONTENT) -> Plan:
    with store.writing() as conn:
        return plans.lock_plan(conn, content)


def next_use(plan: Plan, at: str, _others: Sequence[PlanUse]) -> PlanUse:
    return plans.chained(plan, {"at": at, **FINDING, "confirmatory": True, "reasons": []})


def test_a_plan_is_locked_once_and_keeps_its_time(store: Storage) -> None:
    first = lock(store)
    assert lock(store) == first
    with store.reading() as conn:
        assert plans.get_plan(conn, first.id) == plans.get_plan(conn, first.sha256) == first
    assert first == plans.locked(CONTENT, at=first.locked_at)


def test_plans_come_in_pages(store: Storage) -> None:
    made = [lock(store, CONTENT.model_copy(update={"seed": seed})).id for seed in range(5)]
    with store.reading() as conn:
        first = plans.list_plans(conn, page_size=3)
        rest = plans.list_plans(conn, page_size=3, page_token=first.next_page_token)
        with pytest.raises(Invalid):
            plans.list_plans(conn, page_size=0)
    assert sorted(p.id for p in (*first.items, *rest.items)) == sorted(made)


def test_an_unknown_plan_is_not_found(store: Storage) -> None:
    with store.reading() as conn, pytest.raises(NotFound):
        plans.get_plan(conn, "plan_" + "0" * 32)
    with store.writing() as conn, pytest.raises(NotFound):
        plans.add_use(conn, "plan_x", (), next_use)


def test_uses_at_once_make_one_chain(store: Storage) -> None:
    plan = lock(store)

    def use() -> None:
        with store.writing() as conn:
            plans.add_use(conn, plan.id, HASHES, next_use)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.reading() as conn:
        found = plans.get_plan(conn, plan.id)
    assert [u.number for u in found.uses] == list(range(1, 9))
    assert [u.previous_sha256 for u in found.uses[1:]] == [u.sha256 for u in found.uses[:-1]]


def test_a_use_that_is_there_already_is_not_added_again(store: Storage) -> None:
    plan = lock(store)
    with store.writing() as conn:
        first = plans.add_use(conn, plan.id, HASHES, next_use)
    with store.writing() as conn:
        assert plans.add_use(conn, plan.id, HASHES, lambda current, *_: current.uses[0]) == first
    with store.reading() as conn:
        assert plans.get_plan(conn, plan.id).uses == (first,)


def test_uses_of_the_same_scores_under_other_plans_are_told(store: Storage) -> None:
    first, second = lock(store), lock(store, CONTENT.model_copy(update={"seed": 1}))
    with store.writing() as conn:
        use = plans.add_use(conn, first.id, HASHES, next_use)
    told: list[Sequence[PlanUse]] = []

    def enter(plan: Plan, at: str, others: Sequence[PlanUse]) -> PlanUse:
        told.append(others)
        return next_use(plan, at, others)

    for plan, hashes in ((second, ("x" * 64, HASHES[1])), (first, HASHES), (second, ("x" * 64,))):
        with store.writing() as conn:
            plans.add_use(conn, plan.id, hashes, enter)
    assert list(told[0]) == [use]
    assert [u.number for u in told[1]] == [1], "the use of the second plan"
    assert list(told[2]) == []
