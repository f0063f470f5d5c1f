"""Messages between the doors: a unit's id on the queue it belongs to. Losing or doubling one changes only latency."""

import logging
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from celery import Celery

from intima.store.ledger import UnitRef

QUEUES = ("training", "inference")
TASKS = {"training": "intima.training.unit", "inference": "intima.inference.unit"}
"""Celery task by queue; each takes a unit id."""

Send: TypeAlias = Callable[[Sequence[UnitRef]], None]
"""Announces units that are ready. Called after the commit; never raises: the sweeper sends again."""

_log = logging.getLogger("intima.messages")


def send_nothing(refs: Sequence[UnitRef]) -> None:
    """Announce nothing: the local runner finds its work in the ledger."""


def open_send(queue: Literal["local", "celery"], *, redis_url: str) -> Send:
    """Return the way to announce units for this kind of queue. Connects at the first message."""
    return send_nothing if queue == "local" else celery_send(make_celery(redis_url=redis_url))


def make_celery(*, redis_url: str, include: Sequence[str] = ()) -> Celery:
    """Return a Celery app with the settings that lose least (each measured; see docs/decisions)."""
    app = Celery("intima", broker=redis_url, include=list(include), set_as_current=bool(include))
    app.conf.update(
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        task_ignore_result=True,
        broker_transport_options={
            "visibility_timeout": 60,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
            "health_check_interval": 25,
        },
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_pool_start_method="spawn",
        worker_soft_shutdown_timeout=20,
        task_publish_retry=False,
    )
    return app


def celery_send(app: Celery) -> Send:
    """Return a Send over a Celery app."""

    def send(refs: Sequence[UnitRef]) -> None:
        try:
            for ref in refs:
                app.send_task(TASKS[ref.queue], args=(ref.unit_id,), queue=ref.queue, retry=False)
        except Exception as error:  # noqa: BLE001 - a broker fails in many types, and none may fail the caller
            _log.warning("%d messages not sent (%s); the sweeper will send them", len(refs), error)

    return send
