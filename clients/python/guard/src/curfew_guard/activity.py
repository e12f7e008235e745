"""Who made requests: told to the server with the probes, so that a busy person does not count as inactive."""

from __future__ import annotations

import threading

from .clock import Clock

# One report for a user in this time is enough.
_EVERY_SECONDS = 900
REPORTED_AT_ONCE = 1000
_WAITING_MAX = 20_000
_REMEMBERED_MAX = 100_000

Report = list[tuple[str, int]]


class Activity:
    """Users by the key their tokens give them (`cfw.u`), with the Unix second of a request."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # Both in the order in which they were noted.
        self._noted: dict[str, int] = {}
        self._waiting: dict[str, int] = {}

    def note(self, user: str) -> None:
        """That user made a request just now."""
        now = int(self._clock.wall())
        noted = self._noted.get(user)
        if noted is not None and abs(now - noted) < _EVERY_SECONDS:
            return
        with self._lock:
            if len(self._waiting) >= _WAITING_MAX:
                # Noted at a later request, when there is room again.
                return
            self._noted.pop(user, None)
            self._noted[user] = now
            while len(self._noted) > _REMEMBERED_MAX:
                del self._noted[next(iter(self._noted))]
            self._waiting[user] = now

    def take(self) -> Report:
        """The next users to report."""
        with self._lock:
            users = [user for user, _ in zip(self._waiting, range(REPORTED_AT_ONCE))]
            return [(user, self._waiting.pop(user)) for user in users]

    def put_back(self, report: Report) -> None:
        """The report did not arrive."""
        with self._lock:
            for user, second in report:
                if len(self._waiting) < _WAITING_MAX:
                    self._waiting.setdefault(user, second)
