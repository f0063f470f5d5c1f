"""Workers as the ledger knows them: by what they hold."""

from intima.contracts._base import Contract


class RunningUnit(Contract):
    """A unit that somebody has claimed."""

    job: str
    """GET /v1/jobs/{job}; for a benchmark GET /v1/benchmarks names it."""
    job_kind: str
    key: str
    kind: str
    queue: str
    attempt: int
    since: str
    seconds: float
    """How long it runs."""
    silent_s: float | None
    """Since the last heartbeat; null: claimed by a version that did not note it."""
    late: bool
    """The lease has run out: the next sweep gives the unit to another."""
    fraction: float
    message: str


class WorkerView(Contract):
    """One owner of claims: a process that runs units."""

    owner: str
    """Boot, process-id space, process id and start of the process; it may run several units at once."""
    late: bool
    """Whether one of its leases has run out."""
    silent_s: float | None
    """Since its last heartbeat for any unit."""
    running: tuple[RunningUnit, ...]


class QueueDepth(Contract):
    """How much waits in one queue."""

    queue: str
    ready: int
    """Could start now."""
    running: int
    waiting: int
    """Behind others of their job."""
    oldest_ready_s: float | None
    """For how long the longest ready one has been ready; null where none is."""


class WorkerReport(Contract):
    """Who works now. A worker without a unit is not known to the ledger and so not named."""

    workers: tuple[WorkerView, ...]
    queues: tuple[QueueDepth, ...]
    complete: bool
    """False where there are more claims than are named."""
