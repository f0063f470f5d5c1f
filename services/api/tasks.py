"""The api's task. Start with ``celery -A services.api.tasks worker -Q inference``."""

from celery import shared_task

from services import worker
from services.api.settings import Settings
from services.messages import TASKS
from services.runner import PRELOAD

settings = Settings()
app = worker.make_worker(settings, include=["services.api.tasks"])


@shared_task(name=TASKS["inference"], acks_late=True)  # type: ignore[untyped-decorator]
def run_unit(unit_id: str) -> str:
    """Run one unit: the segmentation of a slide."""
    return worker.run_unit(settings, unit_id, preload=PRELOAD["inference"])
