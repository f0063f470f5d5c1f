"""A file that a Celery worker touches while its event loop runs: what a liveness probe looks at.

Asking the worker over the broker (``celery inspect ping``) would take a lost broker for a hung worker and, where the
probe ends it, cost the units it runs.
"""

from pathlib import Path
from typing import Any

from celery import bootsteps

TOUCH_S = 5.0


def alive_step(path: Path) -> type[bootsteps.StartStopStep]:
    """Return a boot step of a worker's consumer that makes a file once it can take messages, and keeps it young."""

    class Alive(bootsteps.StartStopStep):  # type: ignore[misc]
        requires = ("celery.worker.consumer.tasks:Tasks",)

        def __init__(self, consumer: Any, **_: Any) -> None:
            self.timer: Any = None
            super().__init__(consumer)

        def start(self, consumer: Any) -> None:
            path.touch()
            self.timer = consumer.timer.call_repeatedly(TOUCH_S, path.touch)

        def stop(self, _consumer: Any) -> None:
            if self.timer is not None:
                self.timer.cancel()

    return Alive
