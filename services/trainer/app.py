"""Build the trainer: a Celery app that runs the units of the training queue."""

from celery import Celery

from services.devices import choose_gpus
from services.trainer.settings import Settings
from services.worker import make_worker


def create_app(settings: Settings) -> Celery:
    """Return the app; nothing is opened before its worker starts."""
    return make_worker(settings, include=["services.trainer.tasks"], gpus=choose_gpus(settings.device))
