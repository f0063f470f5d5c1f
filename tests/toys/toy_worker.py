"""A Celery worker for toy units: ``celery -A toy_worker worker -Q training``."""

from celery import shared_task
from toy_units_of import HANDLERS

from services import worker
from services.messages import TASKS
from services.runner import Pace
from services.trainer.settings import Settings

settings = Settings()
app = worker.make_worker(settings, include=["toy_worker"])
PACE = Pace(lease_s=6.0, beat_s=0.5)


@shared_task(name=TASKS["training"], acks_late=True)
def run_unit(unit_id: str) -> str:
    return worker.run_unit(settings, unit_id, handlers=HANDLERS, preload=["toy_units"], pace=PACE)
