"""The ledger: jobs and the units they are cut into. It alone knows what is to be done; messages are hints.

A unit goes::

    waiting -> ready -> running -> done
                 ^         |-----> failed     (attempts used up, or trying again cannot help)
                 |---------+                  (attempt failed, or its worker fell silent)
    waiting -> skipped                        (something it needs has failed or was skipped)
    waiting | ready | running -> canceled

A unit *needs* the results of some and comes *after* the end of others: of those that failed or were skipped it is told
why. A retry lets it wait again with them, and so all that read its result.

Every function works in the caller's transaction. Those that change a unit lock its job first and hold only
where the claim's fence matches, so a worker that was given up cannot write; a heartbeat alone does not wait for that
lock. Times are the database's clock.
"""

from intima.store._advance import advance
from intima.store._asking import cancel_if_alone, is_alone, join_job
from intima.store._claims import (
    Answer,
    Claim,
    claim_in_turn,
    claim_next,
    claim_unit,
    fail_attempt,
    heartbeat,
    publish,
    release,
    tell_waiting,
)
from intima.store._jobs import UNIT_ATTEMPTS, cancel_job, create_job, retry_job
from intima.store._state import LedgerState, read_state
from intima.store._sweep import (
    RESEND_AFTER_S,
    UnitRef,
    expire_leases,
    expire_owner,
    running_owners,
    sweep,
    take_unsent,
)
from intima.store._views import (
    StoredUnit,
    best_trials,
    count_trials,
    failures_of,
    first_finished_at,
    job_payload,
    last_result,
    last_success,
    list_jobs,
    page_units,
    payloads_of,
    queue_depth,
    read_events,
    read_job,
    read_units,
    results_of,
    unit_keys,
)

__all__ = [
    "RESEND_AFTER_S",
    "UNIT_ATTEMPTS",
    "Answer",
    "Claim",
    "LedgerState",
    "StoredUnit",
    "UnitRef",
    "advance",
    "best_trials",
    "cancel_if_alone",
    "cancel_job",
    "claim_in_turn",
    "claim_next",
    "claim_unit",
    "count_trials",
    "create_job",
    "expire_leases",
    "expire_owner",
    "fail_attempt",
    "failures_of",
    "first_finished_at",
    "heartbeat",
    "is_alone",
    "job_payload",
    "join_job",
    "last_result",
    "last_success",
    "list_jobs",
    "page_units",
    "payloads_of",
    "publish",
    "queue_depth",
    "read_events",
    "read_job",
    "read_state",
    "read_units",
    "release",
    "results_of",
    "retry_job",
    "running_owners",
    "sweep",
    "take_unsent",
    "tell_waiting",
    "unit_keys",
]
