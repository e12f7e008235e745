"""The guard's own access token."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait

from .clock import Clock

_log = logging.getLogger("curfew_guard")

# How long a token is used that does not say how long it is good.
_UNKNOWN_SECONDS = 300.0
_RETRY_SECONDS = (1.0, 30.0)


class OwnToken:
    """The token that the guard shows, renewed long before it expires, so that there always is one.

    `obtain` answers a token and for how many seconds it is good, or None where it does not know. It runs on a thread of
    `executor`, never more than once at a time.
    """

    def __init__(
        self,
        obtain: Callable[[], tuple[str, float | None]],
        clock: Clock,
        random: Callable[[], float],
        executor: Executor,
    ) -> None:
        self._obtain = obtain
        self._clock = clock
        self._random = random
        self._executor = executor
        self._lock = threading.Lock()
        self._token: str | None = None
        self._expires = 0.0
        self._renew_at = 0.0
        self._failures = 0
        self._under_way: Future[None] | None = None
        self._tried = threading.Event()
        self.error: str | None = None

    def current(self) -> str | None:
        """The token, unless it has expired."""
        with self._lock:
            return self._token if self._clock.monotonic() < self._expires else None

    def renew_in_time(self) -> None:
        """Renews the token when it is time; called about once in a second."""
        with self._lock:
            is_due = self._clock.monotonic() >= self._renew_at
        if is_due:
            self.renew()

    def renew(self) -> Future[None] | None:
        """Gets a token now. Many callers share one renewal; None when there is nothing to renew, or the guard is closed."""
        with self._lock:
            if self._under_way is None:
                now = self._clock.monotonic()
                if self._token is not None and now < min(self._renew_at, self._expires):
                    return None
                try:
                    self._under_way = self._executor.submit(self._renew)
                except RuntimeError:
                    return None
            return self._under_way

    def wait(self, seconds: float) -> str | None:
        """The token, also one that is being got now."""
        self._tried.wait(seconds)
        with self._lock:
            renewal = self._under_way
        if renewal is not None:
            wait([renewal], seconds)
        return self.current()

    def refused(self, token: str) -> None:
        """The server no longer takes this token."""
        with self._lock:
            if self._token == token:
                self._token = None
                self._renew_at = 0.0

    def _renew(self) -> None:
        try:
            self._obtain_token()
        finally:
            with self._lock:
                self._under_way = None
            self._tried.set()

    def _obtain_token(self) -> None:
        # From before the request: what the answer took on its way is not life-time.
        asked = self._clock.monotonic()
        try:
            token, seconds = self._obtain()
            if not isinstance(token, str) or not token:
                raise TypeError("get_token has to answer a token")
        except Exception as error:
            with self._lock:
                first, last = _RETRY_SECONDS
                pause = min(last, first * 2.0 ** min(self._failures, 10))
                self._failures += 1
                self._renew_at = self._clock.monotonic() + pause * (0.5 + self._random() / 2)
                self.error = str(error) or type(error).__name__
            _log.warning("the guard gets no token: %s", self.error)
            return
        seconds = _UNKNOWN_SECONDS if seconds is None else seconds
        with self._lock:
            self._token = token
            self._expires = asked + seconds
            # Guards that were started together do not come back together.
            self._renew_at = asked + seconds * (0.5 + self._random() / 4)
            self._failures = 0
            self.error = None
