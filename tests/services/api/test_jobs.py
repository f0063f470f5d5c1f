"""Events of a long job come in pages: the log by request, the stream by itself."""

import pytest
from fastapi.testclient import TestClient
from toy_jobs import all_events, plan, submit

from intima.contracts.job import JobEvent
from intima.store import ledger
from intima.store.storage import Storage
from services.api.routes import jobs


@pytest.fixture
def job(storage: Storage) -> str:
    made = submit(storage, [plan(f"u{n}") for n in range(30)])
    with storage.writing() as connection:
        while claim := ledger.claim_next(connection, owner="me", queues=["training"], lease_s=60):
            ledger.publish(connection, claim, result={})
    return made


@pytest.fixture
def events(storage: Storage, job: str) -> list[JobEvent]:
    with storage.reading() as connection:
        return all_events(connection, job)


def test_the_log_comes_in_pages(client: TestClient, job: str, events: list[JobEvent]) -> None:
    path = f"/v1/jobs/{job}/logs"
    first = client.get(path, params={"limit": 40}).json()
    rest = client.get(path, params={"after": first[-1]["id"]}).json()
    assert (len(first), [e["id"] for e in first + rest]) == (40, [e.id for e in events])
    for limit in (0, 1001):
        assert client.get(path, params={"limit": limit}).status_code == 422


@pytest.mark.parametrize("after", [0, 17])
def test_the_stream_reads_few_events_at_once_and_leaves_none_out(
    client: TestClient, job: str, events: list[JobEvent], after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "EVENTS_AT_ONCE", 8)
    answer = client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": str(after)})
    told = [int(line[4:]) for line in answer.text.splitlines() if line.startswith("id: ")]
    assert told == [e.id for e in events if e.id > after]
    assert answer.text.count("event: job") == 1
