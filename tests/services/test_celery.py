"""Celery on a real redis-server: the same units as the local runner, kill -9 and a broker that forgets."""

import time
from pathlib import Path

import redis
from servers import Redis
from store_fixtures import StartWorker, kill_tree
from toy_jobs import (
    diamond,
    diamond_total,
    final_events,
    is_alive,
    lines,
    make_overdue,
    noted_pid,
    plan,
    states,
    submit_and_send,
    totals,
    wait_final,
    wait_until,
)

from intima.store import ledger
from intima.store.ledger import UnitRef
from intima.store.storage import Storage
from services.messages import TASKS, make_celery, open_send, send_nothing
from services.trainer.app import create_app
from services.trainer.settings import Settings
from services.worker import refresh_unacked


def test_celery_gives_what_the_local_runner_gives(
    sqlite_store: Storage, broker: Redis, start_worker: StartWorker
) -> None:
    """A poison unit and one out of memory beside the graph: neither ends the worker."""
    worker = start_worker()
    bad = [plan("bad", kind="fold", how="kill"), plan("z", "bad"), plan("m", kind="fold", how="memory")]
    job = submit_and_send(sqlite_store, broker.url, [*bad, *diamond()])
    wait_final(sqlite_store, job, timeout_s=60)
    done = dict.fromkeys(("a", "b", "m0", "m1", "m2", "end"), "done")
    assert states(sqlite_store, job) == done | {"bad": "failed", "z": "skipped", "m": "failed"}
    assert totals(sqlite_store, job)["end"] == diamond_total()
    assert final_events(sqlite_store, job) == ["failed"]
    assert worker.poll() is None


def test_cancel_reaches_a_unit_of_a_celery_worker(
    sqlite_store: Storage, broker: Redis, start_worker: StartWorker, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    start_worker()
    job = submit_and_send(sqlite_store, broker.url, [plan("long", kind="fit", sleep_s=60, notes=str(notes))])
    wait_until(lambda: bool(lines(notes)), timeout_s=60, what="the child")
    pid = noted_pid(notes)
    with sqlite_store.writing() as conn:
        ledger.cancel_job(conn, job)
    assert wait_until(lambda: not is_alive(pid)) < 5
    assert wait_final(sqlite_store, job).state == "canceled"


def test_kill_9_of_the_worker_in_the_middle_of_a_unit(
    sqlite_store: Storage, broker: Redis, start_worker: StartWorker, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    worker = start_worker()
    units = [plan("long", kind="fit", sleep_s=3, notes=str(notes)), plan("z", "long")]
    job = submit_and_send(sqlite_store, broker.url, units)
    wait_until(lambda: bool(lines(notes)), timeout_s=60, what="the child")
    kill_tree(worker)
    start_worker()
    assert wait_final(sqlite_store, job, timeout_s=90).state == "succeeded"
    assert len(lines(notes)) == 2
    assert totals(sqlite_store, job)["z"] == 2
    assert final_events(sqlite_store, job) == ["succeeded"]


def test_turns_hold_though_messages_come_in_another_order(
    sqlite_store: Storage, broker: Redis, start_worker: StartWorker, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    wanted = [(f"a{n}", "batch", n) for n in range(6)] + [("one", "", 0)]
    jobs = [
        submit_and_send(
            sqlite_store, broker.url, [plan(key, kind="fit", sleep_s=0.2, notes=str(notes))], flow=flow, place=place
        )
        for key, flow, place in wanted
    ]
    start_worker()
    for job in jobs:
        assert wait_final(sqlite_store, job, timeout_s=90).state == "succeeded"
    order = [line.split()[0] for line in lines(notes)]
    assert sorted(order) == sorted(key for key, _, _ in wanted), "each once"
    assert order.index("one") < order.index("a3"), "the last message, but its turn is that of the first"


def test_a_flushed_broker_loses_nothing(sqlite_store: Storage, broker: Redis, start_worker: StartWorker) -> None:
    job = submit_and_send(sqlite_store, broker.url, diamond())
    broker.flush()
    make_overdue(sqlite_store)
    start_worker()
    assert wait_final(sqlite_store, job, timeout_s=60).state == "succeeded"


def test_a_long_unit_is_not_delivered_again_while_it_runs(broker: Redis) -> None:
    """The boot step's effect on Redis itself: the times of messages in hand are renewed."""
    broker.flush()
    app = make_celery(redis_url=broker.url)
    app.send_task(TASKS["training"], args=("unit_x",), queue="training")
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        consumer = type("Consumer", (), {"task_consumer": type("TaskConsumer", (), {"channel": channel})})
        assert channel.basic_get("training", no_ack=False) is not None
        with redis.Redis(port=broker.port) as client:
            ((tag, _),) = client.zrange("unacked_index", 0, -1, withscores=True)
            client.zadd("unacked_index", {tag: 1.0})
            refresh_unacked(consumer)
            assert abs(client.zscore("unacked_index", tag) - time.time()) < 5
            client.delete("unacked_index")
            refresh_unacked(consumer)
            assert client.zcard("unacked_index") == 0, "an acknowledged message must not come back"


def test_the_settings_that_lose_least_are_set(tmp_path: Path) -> None:
    conf = create_app(Settings(data=tmp_path)).conf
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.task_ignore_result
    assert conf.worker_prefetch_multiplier == 1
    assert conf.accept_content == ["json"]
    assert conf.broker_transport_options["visibility_timeout"] == 60
    assert conf.worker_pool_start_method == "spawn"
    assert not conf.task_publish_retry


def test_without_a_broker_nothing_is_sent() -> None:
    assert open_send("local", redis_url="redis://nowhere") is send_nothing
    send_nothing([UnitRef("unit_x", "training")])
