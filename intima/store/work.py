"""What a unit's function is given and what it returns; runs in a child process of its own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

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


@runtime_checkable
class ShowsCurves(Protocol):
    """A report that can show a training's curves too."""

    def show(self, make: Callable[[], Json]) -> None:
        """Show ``LiveCurves``, made only when it is time to; cheap, may be called at every step."""


def show_curves(report: Report, make: Callable[[], Json]) -> None:
    """Show curves to whoever watches, where a report can."""
    if isinstance(report, ShowsCurves):
        report.show(make)


Handler: TypeAlias = Callable[[UnitInput, Storage, Report], Json]
"""Does the unit and returns its result as JSON. Deterministic in its input, so that a second attempt gives
the same result; large outputs go to ``storage.blobs`` first and are named by SHA-256 in the result."""
