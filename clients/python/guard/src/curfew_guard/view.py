"""What a guard knows: everything that has ended and can still matter."""

from __future__ import annotations

import enum
import hashlib
import heapq
import math
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from .clock import Clock
from .freshness import Freshness
from .position import Position, advance, join

# Cutoffs that one call drops at most, so that no request waits for a great sweep.
_DROPPED_AT_ONCE = 1000
# How long past its `until` a cutoff is kept, and how close the wall clock may come to what was dropped. The second is
# what a token may be taken past its `exp`, the first is more: a clock that is set by a little changes nothing.
_KEPT_SECONDS = 60
TOLERANCE_SECONDS_MAX = 30
_MINUTE = 60
_ANSWERS_MAX = 10_000

# Number (where the kind has one), whatever else the kind has, and last the `until`.
_Cutoff = tuple[Any, ...]
# Why the server has to be asked: cutoffs, each with its number. Another one is another reason.
Reasons = tuple[tuple[str, float], ...]


class Ended(enum.Enum):
    """The one answer that needs no reasons."""

    ENDED = enum.auto()


class UnknownCutoff(Exception):
    """A cutoff of a kind, or of a shape, that this guard does not know: it is too old for the server."""


class _Table:
    """The cutoffs of one kind, by what they concern, and the minutes in which they may be dropped."""

    __slots__ = ("_due", "_minutes", "cutoffs")

    def __init__(self) -> None:
        self.cutoffs: dict[Any, _Cutoff] = {}
        self._due: dict[int, list[Any]] = {}
        self._minutes: list[int] = []

    def put(self, key: Any, cutoff: _Cutoff) -> None:
        """Of several cutoffs for the same thing the larger number counts, and the later `until`."""
        known = self.cutoffs.get(key)
        if known is not None:
            until = max(known[-1], cutoff[-1])
            larger = cutoff if cutoff[:1] > known[:1] else known
            cutoff = known if larger is known and until == known[-1] else (*larger[:-1], until)
        if cutoff is known:
            return
        self.cutoffs[key] = cutoff
        if known is None or cutoff[-1] > known[-1]:
            minute = cutoff[-1] // _MINUTE
            due = self._due.get(minute)
            if due is None:
                due = self._due[minute] = []
                heapq.heappush(self._minutes, minute)
            due.append(key)

    def drop(self, before: float, at_most: int) -> float:
        """Drops what was to be kept until before that instant. Answers the latest `until` among it."""
        latest = -math.inf
        while at_most > 0 and self._minutes and (self._minutes[0] + 1) * _MINUTE <= before:
            due = self._due[self._minutes[0]]
            while due and at_most > 0:
                at_most -= 1
                key = due.pop()
                cutoff = self.cutoffs.get(key)
                # One whose `until` became later stands in another list as well.
                if cutoff is not None and cutoff[-1] < before:
                    del self.cutoffs[key]
                    latest = max(latest, cutoff[-1])
            if not due:
                del self._due[heapq.heappop(self._minutes)]
        return latest


class View:
    """The cutoffs of one snapshot and of the feed since, how far that goes, and how old it is.

    Only the thread that follows the feed changes it; requests on any thread read it.
    """

    def __init__(self, clock: Clock, position: Position) -> None:
        self.freshness = Freshness(clock)
        self.answers = Answers()
        self._clock = clock
        self._position = position
        self._tables = {kind: _Table() for kind in _SHAPES}
        self._dropped_until = -math.inf
        # Bound once: they are read for every request.
        self._user = self._tables["user"].cutoffs
        self._user_sessions = self._tables["user_sessions"].cutoffs
        self._user_families = self._tables["user_families"].cutoffs
        self._user_client = self._tables["user_client"].cutoffs
        self._session = self._tables["session"].cutoffs
        self._session_expired = self._tables["session_expired"].cutoffs
        self._grant = self._tables["grant"].cutoffs
        self._client = self._tables["client"].cutoffs
        self._client_users = self._tables["client_users"].cutoffs
        self._users = self._tables["users"].cutoffs
        self._audience = self._tables["audience"].cutoffs
        self._signing_key = self._tables["signing_key"].cutoffs

    @property
    def position(self) -> Position:
        """How far the feed has been applied."""
        return self._position

    def cutoffs(self) -> int:
        """How many cutoffs are held."""
        return sum(len(table.cutoffs) for table in self._tables.values())

    def apply(self, cutoff: object) -> None:
        """Takes a cutoff as it came over the wire. [`UnknownCutoff`] leaves the view as it was."""
        if not isinstance(cutoff, list) or not cutoff or not isinstance(cutoff[0], str):
            raise UnknownCutoff("not a cutoff")
        kind, *members = cutoff
        shape = _SHAPES.get(kind)
        if shape is None:
            raise UnknownCutoff(kind[:100])
        entry = shape(members)
        if entry is None:
            raise UnknownCutoff(f"{kind}, but of another shape")
        self._tables[kind].put(*entry)

    def read_up_to(self, position: Position) -> None:
        """Everything up to here has been applied."""
        self._position = join(self._position, position)

    def read_entry(self, lane: int, number: int) -> None:
        """The entry `number` of `lane` has been applied."""
        self._position = advance(self._position, lane, number)

    def drop_expired(self) -> None:
        """Drops some of what can no longer matter; called often enough, all of it."""
        before = self._clock.wall() - _KEPT_SECONDS
        for table in self._tables.values():
            latest = table.drop(before, _DROPPED_AT_ONCE)
            self._dropped_until = max(self._dropped_until, latest)

    def is_whole(self) -> bool:
        """False when the wall clock was set back behind what was dropped: those tokens would be valid again."""
        return self._clock.wall() > self._dropped_until + TOLERANCE_SECONDS_MAX

    def judge(
        self, claims: Mapping[str, Any], kid: str, audience: str
    ) -> Ended | Reasons | None:
        """Whether the token has ended; the reasons to ask, where this alone cannot decide; or None: it lives."""
        cfw = claims.get("cfw")
        if not isinstance(cfw, dict):
            cfw = {}
        user, number = _text(cfw.get("u")), _number(cfw.get("n"))
        client_number, grant = _number(cfw.get("c")), _text(cfw.get("g"))
        sid = _text(claims.get("sid"))
        clients = {_text(claims.get("azp")), _text(claims.get("client_id"))} - {None}

        if kid in self._signing_key or sid in self._session or grant in self._grant:
            return Ended.ENDED
        deleted = self._audience.get(audience)
        if deleted is not None and claims["iat"] <= deleted[0]:
            return Ended.ENDED
        if _is_below(number, self._user.get(user)):
            return Ended.ENDED
        for client in clients:
            ended = self._client.get(client)
            if ended is not None and (ended[0] == math.inf or _is_below(client_number, ended)):
                return Ended.ENDED
            if user is not None and _is_below(client_number, self._client_users.get(client)):
                return Ended.ENDED
            if _is_below(number, self._user_client.get((user, client))):
                return Ended.ENDED

        reasons: list[tuple[str, float]] = []
        sessions = self._user_sessions.get(user)
        if sessions is not None and _is_below(number, sessions):
            if sid is None:
                reasons.append(("user_sessions", sessions[0]))
            elif sid != sessions[1]:
                return Ended.ENDED
        families = self._user_families.get(user)
        if families is not None and _is_below(number, families):
            reasons.append(("user_families", families[0]))
        everybody = self._users.get(None)
        if user is not None and everybody is not None and claims["iat"] <= everybody[0]:
            reasons.append(("users", everybody[0]))
        if sid in self._session_expired:
            if grant is None:
                return Ended.ENDED
            reasons.append(("session_expired", 0))
        return tuple(reasons) or None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_below(number: int | None, cutoff: _Cutoff | None) -> bool:
    """A member that the token does not have never matches."""
    return number is not None and cutoff is not None and number < cutoff[0]


# ---- The shapes of cutoffs: from the members to a key and what is kept, or None

_Entry = tuple[Any, _Cutoff]


def _keyed(members: list[Any]) -> _Entry | None:
    """`[key, until]`"""
    match members:
        case [str(key), int(until)]:
            return key, (until,)
    return None


def _numbered(members: list[Any]) -> _Entry | None:
    """`[key, number, until]`"""
    match members:
        case [str(key), int(number), int(until)]:
            return key, (number, until)
    return None


def _numbered_or_all(members: list[Any]) -> _Entry | None:
    """`[key, number or null, until]`"""
    match members:
        case [str(key), None, int(until)]:
            return key, (math.inf, until)
    return _numbered(members)


def _user_sessions(members: list[Any]) -> _Entry | None:
    """`[user, number, spared or null, until]`"""
    match members:
        case [str(user), int(number), None | str() as spared, int(until)]:
            return user, (number, spared, until)
    return None


def _user_client(members: list[Any]) -> _Entry | None:
    """`[user, client_id, number, until]`"""
    match members:
        case [str(user), str(client), int(number), int(until)]:
            return (user, client), (number, until)
    return None


def _users(members: list[Any]) -> _Entry | None:
    """`[instant, until]`"""
    match members:
        case [int(at), int(until)]:
            return None, (at, until)
    return None


_SHAPES = {
    "user": _numbered,
    "user_sessions": _user_sessions,
    "user_families": _numbered,
    "user_client": _user_client,
    "session": _keyed,
    "session_expired": _keyed,
    "grant": _keyed,
    "client": _numbered_or_all,
    "client_users": _numbered,
    "users": _users,
    "audience": _numbered,
    "signing_key": _keyed,
}


class Answers:
    """What the server said about tokens that it was asked about while the view was young.

    An answer holds for the reasons that it was asked for. Whatever ends the token later comes with the feed, either as a
    cutoff that decides, or as another reason to ask. The token that was used longest ago gives way.
    """

    def __init__(self, entries_max: int = _ANSWERS_MAX) -> None:
        self._lock = threading.Lock()
        self._entries_max = entries_max
        self._answers: OrderedDict[bytes, tuple[Reasons, bool]] = OrderedDict()

    def get(self, token: str, reasons: Reasons) -> bool | None:
        """Whether the token is active, or None if that was not asked."""
        key = _key(token)
        with self._lock:
            kept = self._answers.get(key)
            if kept is None or kept[0] != reasons:
                return None
            self._answers.move_to_end(key)
            return kept[1]

    def put(self, token: str, reasons: Reasons, active: bool) -> None:
        """Keeps an answer."""
        key = _key(token)
        with self._lock:
            self._answers[key] = (reasons, active)
            self._answers.move_to_end(key)
            while len(self._answers) > self._entries_max:
                self._answers.popitem(last=False)


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
