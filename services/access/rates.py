"""How often somebody asks, over all replicas where there is a Redis, else over this process."""

import logging
import time

from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter

_log = logging.getLogger("intima.access")
_TIMEOUT_S = 0.5
_REST_S = 10.0
"""After Redis did not answer, this process counts alone for so long."""


class Rates:
    """A moving window of a minute for each caller; safe for threads.

    Where Redis does not answer, each replica counts by itself, so that a broker that is down does not close the door.
    """

    def __init__(self, service: str, redis_url: str | None) -> None:
        self._service = service
        self._alone = MovingWindowRateLimiter(MemoryStorage())
        self._shared = None if redis_url is None else MovingWindowRateLimiter(_redis(redis_url))
        self._alone_until = 0.0

    def wait_s(self, caller: str, *, per_minute: int) -> float:
        """Count one request and return 0, or how long to wait where the minute is full."""
        item = RateLimitItemPerMinute(per_minute)
        if self._shared is None or time.monotonic() < self._alone_until:
            return _wait_s(self._alone, item, self._service, caller)
        try:
            return _wait_s(self._shared, item, self._service, caller)
        except StorageError as error:
            _log.warning("Redis does not count requests (%s); this replica counts by itself", error.__cause__ or error)
            self._alone_until = time.monotonic() + _REST_S
            return _wait_s(self._alone, item, self._service, caller)


def _redis(url: str) -> RedisStorage:
    return RedisStorage(
        url, key_prefix="intima", wrap_exceptions=True, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
    )


def _wait_s(limiter: MovingWindowRateLimiter, item: RateLimitItemPerMinute, *who: str) -> float:
    if limiter.hit(item, *who):
        return 0.0
    return max(0.001, limiter.get_window_stats(item, *who).reset_time - time.time())
