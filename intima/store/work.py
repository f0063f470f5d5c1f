"""What a unit's function is given and what it returns; runs in a child process of its own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from intima.arrays import Json
from intima.store.storage import Storage


@dataclass(frozen=True, slots=True)
class UnitInput:
    """One claimed unit."""

    job_id: str
    key: str
    attempt: int
    payload: Json
    results: dict[str, Json]
    """Results of the units named in ``needs``, and of those in ``after`` that have one, by key."""
    failures: dict[str, str] = field(default_factory=dict)
    """Why the others of ``after`` have none, by key in the order of the plan."""


Report: TypeAlias = Callable[[float, str], None]
"""report(fraction 0..1, message): shown to whoever watches the job; cheap, may be called often."""

Handler: TypeAlias = Callable[[UnitInput, Storage, Report], Json]
"""Does the unit and returns its result as JSON. Deterministic in its input, so that a second attempt gives
the same result; large outputs go to ``storage.blobs`` first and are named by SHA-256 in the result."""
