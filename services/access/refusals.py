"""How a request is turned away at the gate."""

from intima.errors import Conflict


class Refused(Conflict):
    """A request that is not let in; ``retry_after_s`` where waiting helps."""

    def __init__(self, message: str, *, code: str, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, code=code, hint=hint)
        self.retry_after_s = retry_after_s


def unauthenticated(message: str, *, hint: str) -> Refused:
    """Return what is said to somebody whose token says nothing."""
    return Refused(message, code="unauthenticated", hint=hint)
