"""Metrics of the sweeper: what it took back and what it announced again."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter

REGISTRY = CollectorRegistry()

_sweeps = Counter("intima_sweeps", "Looks for lost units and messages that went to their end.", registry=REGISTRY)
_expiries = Counter("intima_lease_expiries", "Attempts whose worker fell silent or is gone.", registry=REGISTRY)
_messages = Counter(
    "intima_messages_sent_by_sweeps", "Messages of units that sweeps sent.", ["queue"], registry=REGISTRY
)


def count_sweep() -> None:
    """Count one sweep."""
    _sweeps.inc()


def count_expiries(number: int) -> None:
    """Count leases that a sweep ended."""
    _expiries.inc(number)


def count_messages(queues: Iterable[str]) -> None:
    """Count messages that a sweep sent, one for each of these queues."""
    for queue in queues:
        _messages.labels(queue).inc()
