"""Workers: who holds which unit, and how long the queues are."""

from fastapi import APIRouter

from intima.contracts.worker import WorkerReport
from intima.store.workers import read_workers
from services.api.dependencies import ReadDep

router = APIRouter(prefix="/v1/workers", tags=["jobs"])


@router.get("", operation_id="list_workers")
def list_workers(connection: ReadDep) -> WorkerReport:
    """Return the workers that hold units now, when each was last heard, and the depths of the queues."""
    return read_workers(connection)
