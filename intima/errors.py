"""The error tree: one base, four families.

IntimaError
├── NotFound      the thing named does not exist                    -> 404
├── Invalid       the input cannot be used; says what to do         -> 422
├── Conflict      the state does not allow it now                   -> 409
└── Unavailable   a resource is missing or full; try again later    -> 503
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ErrorPlace:
    """One of several places at fault."""

    pointer: str
    message: str
    hint: str = ""
    about: Mapping[str, object] = field(default_factory=dict)
    """JSON for programs: what the message names."""


class IntimaError(Exception):
    """Base of every error Intima raises on purpose.

    ``code`` is stable and machine readable, ``hint`` says what to do, ``pointer`` is a JSON pointer
    to the field at fault (RFC 6901) or "" when no single field is. ``places`` names several where there are several.
    ``retry_after_s`` says how long to wait where that is known.
    """

    code = "error"
    retry_after_s: float | None = None

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str = "",
        pointer: str = "",
        places: Sequence[ErrorPlace] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.hint = hint
        self.pointer = pointer
        self.places = tuple(places)


class NotFound(IntimaError):
    """The thing named does not exist."""

    code = "not_found"


class Invalid(IntimaError):
    """The input cannot be used."""

    code = "invalid"


class Conflict(IntimaError):
    """The current state does not allow the request."""

    code = "conflict"


class Unavailable(IntimaError):
    """A resource that is needed is missing, full or not ready."""

    code = "unavailable"
