"""The guard's two clocks."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where a guard reads the time. Both clocks count seconds."""

    def monotonic(self) -> float:
        """A clock that nobody sets."""
        ...

    def wall(self) -> float:
        """The time of day, as a Unix time."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def monotonic(self) -> float:
        """Where there is one, a clock that also runs while the machine sleeps."""
        boottime = getattr(time, "CLOCK_BOOTTIME", None)
        return time.monotonic() if boottime is None else time.clock_gettime(boottime)

    def wall(self) -> float:
        return time.time()
