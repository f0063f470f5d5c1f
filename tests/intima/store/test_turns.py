"""Whose turn it is: batches and single slides share what computes."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from intima.contracts.batch import BatchCounts
from intima.contracts.benchmark import UnitPlan
from intima.contracts.segmentation import SegmentationRequest
from intima.errors import NotFound
from intima.store import batches, ledger, tables
from intima.store.ledger import Claim
from intima.store.storage import Storage

Names = dict[str, str]
"""What tests call a job, by its id."""


def ask(store: Storage, names: Names, *wanted: str, kind: str = "segmentation") -> None:
    """Start jobs that one caller asks for together."""
    for place, name in enumerate(wanted):
        with store.writing() as connection:
            units = [UnitPlan(key="segment", kind="segment", queue="inference", payload={})]
            flow = wanted[0] if len(wanted) > 1 else ""
            job = ledger.create_job(
                connection, kind=kind, units=units, payload={}, result_url=None, flow=flow, place=place
            )
        names[job] = name


def claim(store: Storage) -> Claim | None:
    with store.writing() as connection:
        return ledger.claim_next(connection, owner="me", queues=["inference"], lease_s=60)


def serve(store: Storage, names: Names, count: int) -> str:
    """Do units one after the other, and return whose they were."""
    served = []
    for _ in range(count):
        taken = claim(store)
        if taken is None:
            break
        served.append(names[taken.job_id])
        with store.writing() as connection:
            ledger.publish(connection, taken, result={})
    return " ".join(served)


def test_two_batches_have_every_second_turn(store: Storage) -> None:
    names: Names = {}
    ask(store, names, "a0", "a1", "a2", "a3")
    assert serve(store, names, 1) == "a0"
    ask(store, names, "b0", "b1", "b2")
    assert serve(store, names, 9) == "b0 a1 b1 a2 b2 a3"


def test_one_slide_is_served_within_a_batch(store: Storage) -> None:
    names: Names = {}
    ask(store, names, *(f"a{n}" for n in range(6)))
    assert serve(store, names, 2) == "a0 a1"
    ask(store, names, "one")
    ask(store, names, "other")
    assert serve(store, names, 9) == "one a2 other a3 a4 a5"


def test_a_stream_of_single_slides_starves_no_batch(store: Storage) -> None:
    names: Names = {}
    ask(store, names, "a0", "a1", "a2")
    served = ""
    for n in range(6):
        ask(store, names, f"s{n}")
        served += serve(store, names, 1) + " "
    assert served.split() == ["a0", "s0", "a1", "s1", "a2", "s2"]
    assert serve(store, names, 9) == "s3 s4 s5"


def test_single_slides_keep_their_order(store: Storage) -> None:
    names: Names = {}
    for n in range(4):
        ask(store, names, f"s{n}")
    assert serve(store, names, 1) == "s0"
    ask(store, names, "s4")
    assert serve(store, names, 9) == "s1 s2 s3 s4"


def test_a_new_batch_waits_for_no_turn_of_the_past(store: Storage) -> None:
    names: Names = {}
    for n in range(5):
        ask(store, names, f"s{n}")
    assert serve(store, names, 9) == "s0 s1 s2 s3 s4"
    ask(store, names, "a0", "a1")
    ask(store, names, "s5")
    assert serve(store, names, 9) == "a0 a1 s5"


def test_a_benchmark_gives_way_to_all(store: Storage) -> None:
    names: Names = {}
    ask(store, names, "bench", kind="benchmark")
    ask(store, names, "a0", "a1")
    assert serve(store, names, 9) == "a0 a1 bench"


def test_who_joins_a_late_job_has_it_now(store: Storage) -> None:
    names: Names = {}
    ask(store, names, *(f"a{n}" for n in range(5)))
    last = next(job for job, name in names.items() if name == "a4")
    with store.writing() as connection:
        assert ledger.join_job(connection, last)
    assert serve(store, names, 9) == "a0 a4 a1 a2 a3"
    with store.writing() as connection:
        assert not ledger.join_job(connection, last), "done"


def test_joining_makes_nothing_later(store: Storage) -> None:
    names: Names = {}
    ask(store, names, "a0", "a1", "a2")
    first = next(iter(names))
    with store.writing() as connection:
        assert ledger.join_job(connection, first, place=400)
    assert serve(store, names, 9) == "a0 a1 a2"


def test_a_message_is_a_claim_on_whatever_comes_next(store: Storage) -> None:
    names: Names = {}
    ask(store, names, "a0", "a1", "one")
    with store.writing() as connection:
        sent = [ref.unit_id for ref in ledger.take_unsent(connection)]
    served = []
    for unit in reversed(sent):
        with store.writing() as connection:
            taken = ledger.claim_in_turn(connection, unit, owner="me", lease_s=60)
        assert taken is not None
        served.append(names[taken.job_id])
    assert served == ["a0", "a1", "one"]
    with store.writing() as connection:
        assert ledger.claim_in_turn(connection, sent[0], owner="me", lease_s=60) is None
        assert ledger.claim_in_turn(connection, "unit_of_nobody", owner="me", lease_s=60) is None


@pytest.mark.parametrize(
    ("counts", "state"),
    [
        ({"queued": 3}, "queued"),
        ({"queued": 2, "refused": 1}, "queued"),
        ({"queued": 2, "succeeded": 1}, "running"),
        ({"running": 1, "failed": 2}, "running"),
        ({"succeeded": 3}, "succeeded"),
        ({"succeeded": 3, "refused": 1}, "incomplete"),
        ({"succeeded": 1, "canceled": 1}, "incomplete"),
        ({"failed": 1, "canceled": 1}, "failed"),
        ({"canceled": 2}, "canceled"),
    ],
)
def test_the_state_of_a_batch_follows_from_its_slides(counts: dict[str, int], state: str) -> None:
    assert BatchCounts(**counts).state == state


def test_batches_are_listed_newest_first_and_unknown_ones_are_not_found(store: Storage) -> None:
    request = SegmentationRequest(model="m@1")
    made = []
    for n in range(3):
        with store.writing() as connection:
            made.append(batches.add_batch(connection, slides=[f"s{n}", "t"], request=request, refusals={}))
            connection.execute(
                update(tables.batches).where(tables.batches.c.id == made[-1]).values(created_at=float(n))
            )
    with store.reading() as connection:
        page = batches.list_batches(connection, page_size=2)
        rest = batches.list_batches(connection, page_size=2, page_token=page.next_page_token)
        assert [b.id for b in (*page.items, *rest.items)] == made[::-1]
        assert {b.counts.refused for b in page.items} == {2}
        for read in (batches.read_batch, batches.get_request):
            with pytest.raises(NotFound, match="no batch"):
                read(connection, "bat_none")


def claim_at_once(store: Storage, names: Names, name: str) -> None:
    """Do a job as POST /v1/segment does: claimed in the transaction that makes it."""
    with store.writing() as connection:
        units = [UnitPlan(key="segment", kind="segment", queue="inference", payload={})]
        job = ledger.create_job(connection, kind="segmentation", units=units, payload={}, result_url=None)
        (ref,) = ledger.take_unsent(connection, job)
        taken = ledger.claim_unit(connection, ref.unit_id, owner="me", lease_s=60)
        assert taken is not None
        ledger.publish(connection, taken, result={})
    names[job] = name


def test_who_takes_no_turn_moves_none(store: Storage) -> None:
    names: Names = {}
    ask(store, names, *(f"a{n}" for n in range(4)))
    assert serve(store, names, 1) == "a0"
    for n in range(20):
        claim_at_once(store, names, f"now{n}")
    ask(store, names, "b0", "b1")
    ask(store, names, "one")
    assert serve(store, names, 9) == "b0 one a1 b1 a2 a3"


def test_canceled_before_its_turn_moves_none(store: Storage) -> None:
    names: Names = {}
    ask(store, names, *(f"a{n}" for n in range(4)))
    for n in range(20):
        ask(store, names, f"gone{n}")
    for job, name in names.items():
        if name.startswith("gone"):
            with store.writing() as connection:
                ledger.cancel_job(connection, job)
    ask(store, names, "one")
    assert serve(store, names, 9) == "a0 one a1 a2 a3"


def test_a_running_benchmark_moves_no_turn(store: Storage) -> None:
    names: Names = {}
    for n in range(5):
        ask(store, names, f"s{n}")
    with store.writing() as connection:
        units = [UnitPlan(key="fold", kind="fold", queue="training", payload={})]
        ledger.create_job(connection, kind="benchmark", units=units, payload={}, result_url=None)
        assert ledger.claim_next(connection, owner="me", queues=["training"], lease_s=60) is not None
    ask(store, names, "a0", "a1")
    assert serve(store, names, 9) == "s0 a0 s1 a1 s2 s3 s4"


def test_single_slides_that_come_one_by_one_starve_no_batch(store: Storage) -> None:
    names: Names = {}
    ask(store, names, "a0", "a1", "a2")
    served = []
    for n in range(6):
        ask(store, names, f"s{n}")
        served += [serve(store, names, 1), serve(store, names, 1)]
    assert [name for name in served if name.startswith("a")] == ["a0", "a1", "a2"]


def test_many_claims_at_once_find_all_that_is_ready(store: Storage) -> None:
    names: Names = {}
    for n in range(40):
        ask(store, names, f"s{n}")
    start = threading.Barrier(20)

    def take(_number: int) -> str:
        start.wait()
        taken = claim(store)
        return "" if taken is None else names[taken.job_id]

    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(take, range(20)))
    assert "" not in found
    assert len(set(found)) == 20
