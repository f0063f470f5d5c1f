"""A job as its clients see it."""

from typing import Literal

from intima.contracts._base import Contract

JobState = Literal["queued", "validating", "running", "canceling", "succeeded", "failed", "canceled"]
OPEN: tuple[JobState, ...] = ("queued", "validating", "running")
"""States of a job that goes on by itself."""
UnitState = Literal["waiting", "ready", "running", "done", "failed", "skipped", "canceled"]


class Progress(Contract):
    """How far a job is."""

    done: int
    total: int
    unit: str = "units"
    message: str = ""
    eta_s: float | None = None
    """Rough time to the end: units left times the mean time of finished units of their kind, over the units that run
    at once now. Chains of units that wait for each other take longer. Null before the first unit is done and when
    nothing runs."""


class JobError(Contract):
    """Why a job failed."""

    code: str
    message: str
    unit: str | None = None


class JobView(Contract):
    """Answer of GET /v1/jobs/{id}."""

    id: str
    kind: str
    state: JobState
    attempt: int
    progress: Progress
    queued_s: float
    running_s: float
    created_at: str
    finished_at: str | None
    error: JobError | None
    result: str | None = None
    """URL of the result, e.g. /v1/segmentations/{id}."""


class UnitView(Contract):
    """One unit of a job."""

    key: str
    kind: str
    state: UnitState
    attempt: int
    seconds: float | None
    message: str
    error: str | None


class JobEvent(Contract):
    """One event of a job's stream; ids grow by one."""

    id: int
    at: str
    type: Literal["state", "unit", "progress", "log"]
    data: dict[str, object]
