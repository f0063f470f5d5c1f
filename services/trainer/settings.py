"""Settings of the trainer, read from the environment once."""

from pathlib import Path

from pydantic import Field

from services.devices import Device
from services.stores import StoreConfiguration


class Settings(StoreConfiguration):
    """Every field is a variable with the prefix INTIMA_, e.g. INTIMA_DATA, or a file (services/configuration.py)."""

    redis_url: str = "redis://127.0.0.1:6379/0"
    slots: int | None = Field(default=None, ge=1)
    """Units at a time; null: one per GPU, or one per core where there is none."""
    alive_file: Path | None = None
    """A Celery worker touches it every 5 s while its event loop runs, for probes; null: none."""
    device: Device = "auto"
    """auto: train on GPUs where there are any; cpu; cuda: GPUs, or refuse to start."""
