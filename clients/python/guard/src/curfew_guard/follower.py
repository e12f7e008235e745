"""The two threads of a guard: one follows the feed, one sends the probes."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from typing import Any, NamedTuple

from . import position as positions
from .activity import Activity
from .clock import Clock
from .events import Event, EventParser, lines
from .keys import Keys
from .own_token import OwnToken
from .server import Server, ServerError, Stream
from .view import UnknownCutoff, View

_log = logging.getLogger("curfew_guard")

_RECONNECT_SECONDS = (0.1, 5.0)
_TOKEN_SECONDS = 6.0
_IDLE_SECONDS = 1.0
_PROBE_SECONDS = (0.01, 60.0)
# A stream that owes an echo for so long is not alive, whatever its connection says.
_STALLED_SECONDS = 2.0
_JOIN_SECONDS = 2.0


class PositionUnknown(Exception):
    """The feed has not come so far as the guard's position: the database is another one."""


class ProtocolError(Exception):
    """The server said what the protocol does not have. Nothing can be concluded from it, so the view is dropped."""


class Announcement(NamedTuple):
    """How a guard presents itself with each probe."""

    name: str
    instance: str
    """Tells it from others of its name, from its start to its end."""
    lease_seconds: int
    stale: str


class _OpenStream:
    """The stream that is followed now, as the thread of the probes needs it."""

    def __init__(
        self, stream: Stream, view: View, bearer: str, hello: dict[str, Any], opened: float
    ) -> None:
        match hello:
            case {"stream": str(name), "probe_seconds": int() | float() as probe_seconds}:
                self.name = name
            case _:
                raise ProtocolError("a hello without stream or probe_seconds")
        least, most = _PROBE_SECONDS
        self.probe_seconds = min(max(float(probe_seconds), least), most)
        self.view = view
        self.bearer = bearer
        self.opened = opened
        self._stream = stream

    def abort(self) -> None:
        """Makes the thread that reads the stream come back."""
        self._stream.abort()


class Follower:
    """Holds the view up to date, from the start to `stop`."""

    def __init__(
        self,
        *,
        server: Server,
        token: OwnToken,
        keys: Keys,
        activity: Activity,
        issuer: str,
        announcement: Announcement,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._server = server
        self._token = token
        self._keys = keys
        self._activity = activity
        self._issuer = issuer
        self._announcement = announcement
        self._clock = clock
        self._random = random
        self._stopping = threading.Event()
        self._wake_prober = threading.Event()
        self._changed = threading.Condition()
        self._stream: _OpenStream | None = None
        self._opening: Stream | None = None
        self._failures = 0
        self._probe = 0
        self.view: View | None = None
        # The cutoff for which this guard is too old. It knows nothing from then on.
        self.outdated: str | None = None
        self.error: str | None = None
        self._threads = [
            threading.Thread(target=self._follow_always, name="curfew-guard-feed", daemon=True),
            threading.Thread(target=self._probe_always, name="curfew-guard-probes", daemon=True),
        ]

    def start(self) -> None:
        """Starts both threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends both threads; waits for them, but not for an answer that does not come."""
        self._stopping.set()
        self._wake_prober.set()
        for stream in (self._stream, self._opening):
            if stream is not None:
                stream.abort()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(_JOIN_SECONDS)

    @property
    def is_connected(self) -> bool:
        """Whether a stream is open."""
        return self._stream is not None

    def trusted_view(self) -> View | None:
        """The view, if it is no older than the lease."""
        view = self.view
        if view is None or not view.is_whole():
            return None
        return view if view.freshness.age() <= self._announcement.lease_seconds else None

    def wait_until_trusted(self, timeout: float | None) -> bool:
        """Waits for a view that may be trusted; false when there is none in time, or never will be."""

        def is_decided() -> bool:
            is_over = self._stopping.is_set() or self.outdated is not None
            return is_over or self.trusted_view() is not None

        with self._changed:
            self._changed.wait_for(is_decided, timeout)
        return self.trusted_view() is not None

    # ---- The thread of the feed

    def _follow_always(self) -> None:
        while not self._stopping.is_set() and self.outdated is None:
            pause = True
            try:
                pause = self._follow()
            except PositionUnknown:
                self._drop_view("the feed does not know the position; the database may have been restored")
            except ServerError as error:
                self._failed(str(error))
            except UnknownCutoff as error:
                self.outdated = str(error)
                self._drop_view(f"a cutoff that this version does not know: {error}. Update curfew-guard")
            except (ProtocolError, ValueError) as error:
                self._drop_view(str(error))
            except Exception as error:
                # Whatever was half done is not relied upon.
                self._drop_view(repr(error))
                _log.exception("the guard failed to follow the feed")
            if pause and not self._stopping.is_set():
                self._stopping.wait(self._pause_seconds())
        with self._changed:
            self._changed.notify_all()

    def _pause_seconds(self) -> float:
        """Full jitter: anything up to a bound that doubles."""
        first, last = _RECONNECT_SECONDS
        bound = min(last, first * 2.0 ** min(self._failures, 10))
        self._failures += 1
        return self._random() * bound

    def _failed(self, why: str) -> None:
        if self.error is None and not self._stopping.is_set():
            _log.warning("the guard lost the feed: %s", why)
        self.error = why

    def _drop_view(self, why: str) -> None:
        self.view = None
        self.error = why
        _log.error("the guard knows nothing: %s", why)

    def _follow(self) -> bool:
        """Follows the feed until it breaks off. False when to go on at once, because only the token is another."""
        bearer = self._bearer()
        view = self.view
        if view is not None and not view.is_whole():
            self._drop_view("the wall clock was set back")
            view = None
        if view is None:
            view = self._load(bearer)
            self.view = view
        with self._server.feed(bearer, view.position) as stream, self._abortable(stream):
            if stream.status == 410:
                raise PositionUnknown
            self._refuse_unless_ok(stream, bearer, "text/event-stream")
            try:
                return self._read(stream, view, bearer)
            finally:
                self._stream = None
                view.freshness.stream_ended()

    def _bearer(self) -> str:
        bearer = self._token.current()
        if bearer is None:
            renewal = self._token.renew()
            if renewal is not None:
                wait([renewal], _TOKEN_SECONDS)
            bearer = self._token.current()
        if bearer is None:
            raise ServerError(self._token.error or "no token for the guard")
        return bearer

    @contextlib.contextmanager
    def _abortable(self, stream: Stream) -> Iterator[None]:
        self._opening = stream
        if self._stopping.is_set():
            stream.abort()
        try:
            yield
        finally:
            self._opening = None

    def _refuse_unless_ok(self, stream: Stream, bearer: str, media_type: str) -> None:
        if stream.status == 401:
            self._token.refused(bearer)
        if stream.status != 200:
            raise ServerError(f"the feed answered {stream.status}", stream.status)
        if stream.media_type != media_type:
            raise ServerError(f"{stream.media_type} instead of {media_type}", stream.status)

    def _load(self, bearer: str) -> View:
        """A view of a new snapshot, and the keys of the same time: what was revoked long ago has no cutoff any more."""
        self._keys.load()
        with self._server.snapshot(bearer) as stream, self._abortable(stream):
            self._refuse_unless_ok(stream, bearer, "application/x-ndjson")
            read = lines(stream.pieces())
            try:
                head = json.loads(next(read, b""))
                position = positions.parse(head["position"])
                issuer, announced = head["issuer"], head["cutoffs"]
            except (ValueError, LookupError, TypeError):
                raise ProtocolError("a snapshot without a head") from None
            if issuer != self._issuer:
                raise ProtocolError(f"the snapshot is of {str(issuer)[:200]!r}, not of {self._issuer!r}")
            view = View(self._clock, position)
            count = 0
            for line in read:
                if line.strip():
                    self._apply(view, json.loads(line))
                    count += 1
            if count != announced:
                raise ProtocolError(f"a snapshot of {count} cutoffs instead of {announced}")
        return view

    def _apply(self, view: View, cutoff: object) -> None:
        view.apply(cutoff)
        match cutoff:
            case ["signing_key", str(kid), _]:
                self._keys.withdraw(kid)

    def _read(self, stream: Stream, view: View, bearer: str) -> bool:
        parser = EventParser()
        for piece in stream.pieces():
            for event in parser.feed(piece):
                data = _object(event)
                match event.name:
                    case "hello":
                        self._open(stream, view, bearer, data)
                    case "ending":
                        self._take_ending(view, data)
                    case "position":
                        self._take_position(view, data)
                    case "echo":
                        self._take_echo(view, data)
                    case "end":
                        if data.get("reason") in ("token_expired", "token_ended"):
                            self._token.refused(bearer)
                        raise ServerError(f"the stream ended: {str(data.get('reason'))[:100]}")
            view.drop_expired()
            if not view.is_whole():
                raise ProtocolError("the wall clock was set back")
            if self._stopping.is_set():
                return False
            if self._token.current() not in (bearer, None):
                # There is a newer token: the next stream begins where this one stops.
                return False
        raise ServerError("the stream broke off")

    def _open(self, stream: Stream, view: View, bearer: str, hello: dict[str, Any]) -> None:
        self._stream = _OpenStream(stream, view, bearer, hello, self._clock.monotonic())
        self._wake_prober.set()

    def _take_ending(self, view: View, data: dict[str, Any]) -> None:
        match data:
            case {"cutoff": cutoff, "lane": int(lane), "position": int(number)}:
                # In this order: a position says that what stands before it is applied.
                self._apply(view, cutoff)
                view.read_entry(lane, number)
            case _:
                raise ProtocolError("an ending without cutoff, lane or position")
        self._moved(view)

    def _take_position(self, view: View, data: dict[str, Any]) -> None:
        view.read_up_to(positions.parse(data.get("position")))
        self._moved(view)

    def _take_echo(self, view: View, data: dict[str, Any]) -> None:
        match data:
            case {"probe": int(probe), "position": str(position)}:
                view.read_up_to(positions.parse(position))
            case _:
                raise ProtocolError("an echo without probe or position")
        if view.freshness.echoed(probe):
            self._is_fresh()
        self._moved(view)

    def _moved(self, view: View) -> None:
        if view.freshness.moved(view.position):
            self._is_fresh()

    def _is_fresh(self) -> None:
        self._failures = 0
        if self.error is not None:
            _log.info("the guard follows the feed again")
            self.error = None
        with self._changed:
            self._changed.notify_all()

    # ---- The thread of the probes

    def _probe_always(self) -> None:
        while not self._stopping.is_set():
            # Before anything is looked at: a stream that opens from here on ends the wait below at once.
            self._wake_prober.clear()
            pause = _IDLE_SECONDS
            try:
                self._token.renew_in_time()
                stream = self._stream
                if stream is not None:
                    # A lease as short as the time between two probes would be over before the second is echoed.
                    interval = min(stream.probe_seconds, self._announcement.lease_seconds / 2)
                    pause = interval - self._send_probe(stream)
            except Exception:
                _log.exception("the guard failed to send a probe")
            self._wake_prober.wait(max(pause, _PROBE_SECONDS[0]))

    def _send_probe(self, stream: _OpenStream) -> float:
        """Sends a probe, and ends a stream that owes too old an echo. Answers how many seconds that took."""
        freshness = stream.view.freshness
        began = self._clock.monotonic()
        self._probe += 1
        probe = self._probe
        report = self._activity.take()
        body: dict[str, Any] = {
            "stream": stream.name,
            "probe": probe,
            "position": positions.write(stream.view.position),
            "guard": self._announcement._asdict(),
        }
        if report:
            body["activity"] = report
        bearer = self._token.current() or stream.bearer
        freshness.sending(probe)
        taken = False
        try:
            answer = self._server.probe(bearer, body)
            taken = answer.status in (200, 202)
            if answer.status == 202:
                freshness.accepted(probe)
            elif answer.status == 200:
                needed = positions.parse(answer.json().get("position"))
                if freshness.answered(probe, needed, stream.view.position):
                    self._is_fresh()
            elif answer.status == 401:
                self._token.refused(bearer)
            if not taken:
                self._failed(f"a probe was answered {answer.status}")
        except (ServerError, ValueError) as error:
            self._failed(str(error))
        finally:
            if report and not taken:
                self._activity.put_back(report)
        now = self._clock.monotonic()
        owed = min(freshness.waiting_seconds(), now - stream.opened)
        if owed > max(_STALLED_SECONDS, 2 * stream.probe_seconds, self._announcement.lease_seconds / 2):
            self._failed("the stream owes an echo")
            stream.abort()
        return now - began


def _object(event: Event) -> dict[str, Any]:
    try:
        data = json.loads(event.data)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise ProtocolError(f"an event {event.name[:100]!r} without an object")
    return data
