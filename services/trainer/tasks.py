"""The trainer's task. Start with ``celery -A services.trainer.tasks worker -Q training``."""

from celery import shared_task

from services import worker
from services.devices import choose_gpus
from services.messages import TASKS
from services.runner import PRELOAD
from services.trainer.app import create_app
from services.trainer.settings import Settings

settings = Settings()
app = create_app(settings)
gpus = choose_gpus(settings.device)


@shared_task(name=TASKS["training"], acks_late=True)  # type: ignore[untyped-decorator]
def run_unit(unit_id: str) -> str:
    """Run one unit: a trial, a fold, a fit, a publication, a table."""
    return worker.run_unit(settings, unit_id, preload=PRELOAD["training"], gpus=gpus)
