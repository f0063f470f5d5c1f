"""Labels whose values come from outside are held to a number: every value is a time series for good."""

import threading

OTHER = "other"


class Bounded:
    """Lets the first values through and calls all later ones "other"."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, value: str) -> str:
        """Return the value, or "other"."""
        if value in self._known:
            return value
        with self._lock:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(value)
        return value
