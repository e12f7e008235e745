"""How old a view is."""

from __future__ import annotations

import math
import threading
from typing import NamedTuple

from .clock import Clock
from .position import Position, reaches

# Probes that wait for their echo. At one in a second this is longer than the longest lease.
_AWAITED_MAX = 128


class _Instant(NamedTuple):
    monotonic: float
    wall: float


class Freshness:
    """The age of a view: the time since the sending of the last probe that was echoed.

    It is the larger of what the two clocks say, and only an echo makes it smaller: a wall clock that is set back takes
    nothing away from an age that was once seen.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # By the number of the probe, oldest first.
        self._sent: dict[int, _Instant] = {}
        self._accepted: set[int] = set()
        self._needed: dict[int, Position] = {}
        self._echoed: _Instant | None = None
        self._echoed_probe = -1
        # How far the wall clock has been seen to run ahead of the other one since that probe.
        self._ahead = 0.0

    def sending(self, probe: int) -> None:
        """A probe leaves now. Its age counts from here, however long it travels."""
        with self._lock:
            self._sent[probe] = _Instant(self._clock.monotonic(), self._clock.wall())
            while len(self._sent) > _AWAITED_MAX:
                self._forget(next(iter(self._sent)))

    def accepted(self, probe: int) -> None:
        """The node that holds the stream will echo this probe in it."""
        with self._lock:
            if probe in self._sent:
                self._accepted.add(probe)

    def answered(self, probe: int, needed: Position, own: Position) -> bool:
        """Another node answered: the probe is echoed once the guard's own position has reached `needed`."""
        with self._lock:
            if probe not in self._sent:
                return False
            if reaches(own, needed):
                return self._echo(probe)
            self._needed[probe] = needed
            return False

    def echoed(self, probe: int) -> bool:
        """The echo stood in the stream. Answers whether the view is younger for it."""
        with self._lock:
            return self._echo(probe)

    def moved(self, own: Position) -> bool:
        """The guard's own position is this now. Answers whether the view is younger for it."""
        with self._lock:
            reached = [
                probe for probe, needed in self._needed.items() if reaches(own, needed)
            ]
            return bool(reached) and self._echo(max(reached))

    def stream_ended(self) -> None:
        """What was to be echoed in the stream that ended never will be."""
        with self._lock:
            for probe in [probe for probe in self._sent if probe not in self._needed]:
                self._forget(probe)

    def waiting_seconds(self) -> float:
        """How long the oldest probe that the server took has been waiting for its echo."""
        with self._lock:
            waiting = self._accepted | self._needed.keys()
            if not waiting:
                return 0.0
            return self._clock.monotonic() - self._sent[min(waiting)].monotonic

    def age(self) -> float:
        """In seconds; infinite as long as nothing was echoed."""
        with self._lock:
            if self._echoed is None:
                return math.inf
            age = self._clock.monotonic() - self._echoed.monotonic
            self._ahead = max(
                self._ahead, self._clock.wall() - self._echoed.wall - age
            )
            return age + self._ahead

    def _echo(self, probe: int) -> bool:
        sent = self._sent.get(probe)
        if sent is None:
            return False
        for older in [number for number in self._sent if number <= probe]:
            self._forget(older)
        if probe <= self._echoed_probe:
            return False
        self._echoed, self._echoed_probe, self._ahead = sent, probe, 0.0
        return True

    def _forget(self, probe: int) -> None:
        self._sent.pop(probe, None)
        self._accepted.discard(probe)
        self._needed.pop(probe, None)
