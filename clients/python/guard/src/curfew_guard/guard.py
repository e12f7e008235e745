"""The guard: what an application starts once, and asks for every request."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random as random_module
import secrets
import socket
import threading
import weakref
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal
from urllib.parse import urlsplit

from . import position as positions
from .activity import Activity
from .clock import Clock, SystemClock
from .follower import Announcement, Follower
from .keys import Keys
from .own_token import OwnToken
from .result import (
    ENDED,
    NO_TOKEN,
    UNAVAILABLE,
    UNDECIDED,
    CheckResult,
    Claims,
    accepted,
    insufficient_scope,
    invalid_token,
    required_scopes,
)
from .server import Server, ServerError
from .verify import InvalidToken, expiry_of, read_claims, read_header
from .view import TOLERANCE_SECONDS_MAX, Ended

# How long a request waits for the server where it has to ask.
_ASK_SECONDS = 2.0
_ASKING_THREADS = 32
_ASKED_MAX = 1000
_NAME_MAX = 100

Stale = Literal["introspect", "refuse"]
# A check that has to wait says for what; the others are over at once.
_Steps = Generator["Future[Any]", None, CheckResult]


@dataclass(frozen=True)
class GuardStatus:
    """What a health check may want to know. `age_seconds` is infinite for a guard that knows nothing."""

    trusted: bool
    connected: bool
    age_seconds: float
    position: str | None
    cutoffs: int
    outdated: str | None
    error: str | None


class _Runtime:
    """Everything of a guard that has threads, connections or locks. It belongs to one process."""

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        obtain: Callable[[Server], tuple[str, float | None]],
        announcement: Announcement,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self.server = Server(issuer)
        self._askers = ThreadPoolExecutor(_ASKING_THREADS, "curfew-guard-ask")
        self._fetchers = ThreadPoolExecutor(2, "curfew-guard-fetch")
        self._lock = threading.Lock()
        self._asked = 0
        self.token = OwnToken(lambda: obtain(self.server), clock, random, self._fetchers)
        self.keys = Keys(self.server.keys, clock, self._fetchers)
        self.activity = Activity(clock)
        self.follower = Follower(
            server=self.server,
            token=self.token,
            keys=self.keys,
            activity=self.activity,
            issuer=issuer,
            announcement=announcement,
            clock=clock,
            random=random,
        )
        self.follower.start()

    def stop(self) -> None:
        self.follower.stop()
        self._askers.shutdown(wait=False, cancel_futures=True)
        self._fetchers.shutdown(wait=False, cancel_futures=True)
        self.server.close()

    def ask(self, token: str) -> Future[bool | None] | None:
        """Whether the server calls the token active; None where too many are asking already."""
        with self._lock:
            if self._asked >= _ASKED_MAX:
                return None
            self._asked += 1
        try:
            asked = self._askers.submit(self._introspect, token)
        except RuntimeError:
            self._answered()
            return None
        asked.add_done_callback(lambda _: self._answered())
        return asked

    def _answered(self) -> None:
        with self._lock:
            self._asked -= 1

    def _introspect(self, token: str) -> bool | None:
        bearer = self.token.current()
        if bearer is None:
            # The guard may have been started just now.
            bearer = self.token.wait(_ASK_SECONDS)
        if bearer is None:
            return None
        try:
            answer = self.server.introspect(bearer, token)
            if answer.status == 401:
                self.token.refused(bearer)
            active = answer.json().get("active") if answer.status == 200 else None
        except ServerError:
            return None
        return active if isinstance(active, bool) else None


class Guard:
    """Stands before an API and refuses access tokens whose access has ended.

    It follows Curfew's feed on two threads of its own and keeps what has ended in memory, so that a check asks nobody.
    A guard that is cut off for longer than its lease asks the server about each token (`stale="introspect"`), or refuses
    all of them (`stale="refuse"`). Nothing makes it let a token pass about which it knows nothing.

    Its own token comes from `client_id` and `client_secret`, an application whose client grant for the API `audience` holds
    `curfew:guard`; or from `get_token`, which answers such a token whenever it is called, on a thread of the guard's.

    One guard serves every thread and every event loop of a process. After a fork it begins anew in the child.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        client_id: str | None = None,
        client_secret: str | None = None,
        *,
        get_token: Callable[[], str] | None = None,
        name: str | None = None,
        lease_seconds: int = 10,
        stale: Stale = "introspect",
        clock_tolerance_seconds: float = 5,
        clock: Clock | None = None,
        random: Callable[[], float] | None = None,
    ) -> None:
        if urlsplit(issuer).scheme not in ("https", "http") or not urlsplit(issuer).hostname:
            raise ValueError("issuer: the issuer's URL, as in `iss` of its tokens")
        if not audience:
            raise ValueError("audience: the identifier of the API")
        has_secret = client_id is not None and client_secret is not None
        has_any = client_id is not None or client_secret is not None
        if has_any if get_token is not None else not has_secret:
            raise ValueError("either client_id and client_secret, or get_token")
        if isinstance(lease_seconds, bool) or not isinstance(lease_seconds, int):
            raise TypeError("lease_seconds: a whole number")
        if not 1 <= lease_seconds <= 60:
            raise ValueError("lease_seconds: 1 to 60")
        if stale not in ("introspect", "refuse"):
            raise ValueError('stale: "introspect" or "refuse". Nothing lets such a token pass')
        if not 0 <= clock_tolerance_seconds <= TOLERANCE_SECONDS_MAX:
            raise ValueError(f"clock_tolerance_seconds: 0 to {TOLERANCE_SECONDS_MAX}")
        if name is not None and not 1 <= len(name) <= _NAME_MAX:
            raise ValueError(f"name: 1 to {_NAME_MAX} characters")
        self._issuer = issuer if issuer.endswith("/") else f"{issuer}/"
        self._audience = audience
        self._credentials = (client_id, client_secret)
        self._get_token = get_token
        self._name = name
        self._lease_seconds = lease_seconds
        self._stale = stale
        self._tolerance_seconds = clock_tolerance_seconds
        self._clock = clock or SystemClock()
        self._random = random or random_module.SystemRandom().random
        self._lock = threading.Lock()
        self._runtime: _Runtime | None = None
        self._closed = False
        # What a parent process left: kept, because to tidy it up would end connections that are the parent's.
        self._inherited: list[_Runtime] = []
        _guards.add(self)

    def __repr__(self) -> str:
        return f"<Guard of {self._audience!r} at {self._issuer!r}>"

    def start(self) -> Guard:
        """Begins to follow the feed. The first check does so too; who starts early has the view sooner."""
        if self._running() is None:
            raise RuntimeError("the guard was closed")
        return self

    def wait_ready(self, timeout: float | None = 10.0) -> bool:
        """Waits until tokens are checked from memory alone. False: not in time; they are asked about, or refused."""
        runtime = self._running()
        return runtime is not None and runtime.follower.wait_until_trusted(timeout)

    def close(self) -> None:
        """Ends the threads and the connections. From then on every check answers 503."""
        with self._lock:
            self._closed = True
            runtime, self._runtime = self._runtime, None
        if runtime is not None:
            runtime.stop()

    def __enter__(self) -> Guard:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def check(self, token: str | None, scopes: str | Iterable[str] = ()) -> CheckResult:
        """Whether a request with this access token may pass. Waits only where the server has to be asked, at most 2 s."""
        steps = self._decide(token, required_scopes(scopes))
        try:
            asked = next(steps)
            while True:
                wait([asked], _ASK_SECONDS)
                asked = next(steps)
        except StopIteration as decided:
            result: CheckResult = decided.value
            return result

    async def check_async(self, token: str | None, scopes: str | Iterable[str] = ()) -> CheckResult:
        """As `check`, for an event loop of asyncio: what has to be asked is asked on another thread."""
        steps = self._decide(token, required_scopes(scopes))
        try:
            asked = next(steps)
            while True:
                await _wait_async(asked)
                asked = next(steps)
        except StopIteration as decided:
            result: CheckResult = decided.value
            return result
        finally:
            # The request may have been cancelled while it waited.
            steps.close()

    def status(self) -> GuardStatus:
        """How the guard is doing now."""
        runtime = self._running()
        if runtime is None:
            return GuardStatus(False, False, math.inf, None, 0, None, "closed")
        follower = runtime.follower
        view = follower.view
        return GuardStatus(
            trusted=follower.trusted_view() is not None,
            connected=follower.is_connected,
            age_seconds=math.inf if view is None else view.freshness.age(),
            position=None if view is None else positions.write(view.position),
            cutoffs=0 if view is None else view.cutoffs(),
            outdated=follower.outdated,
            error=follower.error,
        )

    # ---- The decision

    def _decide(self, token: str | None, scopes: tuple[str, ...]) -> _Steps:
        """The steps of docs/guards.md, "What a guard checks itself", in that order.

        Yields what it has to wait for, and looks at it when it goes on: one that is not done then will not be.
        """
        if not token:
            return NO_TOKEN
        runtime = self._running()
        if runtime is None:
            return UNAVAILABLE
        try:
            header = read_header(token)
            key = runtime.keys.get(header.kid)
            if key is None:
                fetch = runtime.keys.fetch()
                if fetch is not None:
                    yield fetch
                    key = runtime.keys.get(header.kid)
            if key is None:
                if not runtime.keys.are_loaded:
                    return UNAVAILABLE
                raise InvalidToken("The access token is signed with an unknown key.")
            claims = read_claims(
                token,
                header,
                key,
                issuer=self._issuer,
                audience=self._audience,
                now=self._clock.wall(),
                tolerance_seconds=self._tolerance_seconds,
            )
        except InvalidToken as invalid:
            return invalid_token(str(invalid))
        refusal = yield from self._refusal(runtime, token, header.kid, claims)
        if refusal is not None:
            return refusal
        match claims.get("cfw"):
            case {"u": str(user)}:
                runtime.activity.note(user)
        if not set(scopes) <= set(claims.scopes):
            return insufficient_scope(scopes)
        return accepted(claims)

    def _refusal(
        self, runtime: _Runtime, token: str, kid: str, claims: Claims
    ) -> Generator[Future[Any], None, CheckResult | None]:
        """What the view, or the server, has against a valid token."""
        view = runtime.follower.trusted_view()
        if view is None:
            if self._stale == "refuse":
                return UNAVAILABLE
            # Never kept: as long as nothing is heard from the feed, each answer holds for one request.
            active = yield from _ask(runtime, token)
        else:
            found = view.judge(claims, kid, self._audience)
            if found is None:
                return None
            if isinstance(found, Ended):
                return ENDED
            if self._stale == "refuse":
                return UNDECIDED
            active = view.answers.get(token, found)
            if active is None:
                active = yield from _ask(runtime, token)
                if active is not None:
                    view.answers.put(token, found, active)
        if active is None:
            return UNAVAILABLE
        return None if active else ENDED

    # ---- One runtime for a process

    def _running(self) -> _Runtime | None:
        """The runtime of this process, started when there is none; None once the guard was closed."""
        runtime = self._runtime
        if runtime is not None:
            return runtime
        with self._lock:
            if self._runtime is None and not self._closed:
                self._runtime = _Runtime(
                    issuer=self._issuer,
                    audience=self._audience,
                    obtain=self._obtain,
                    announcement=Announcement(
                        self._name or f"{socket.gethostname()}-{os.getpid()}"[-_NAME_MAX:],
                        secrets.token_hex(8),
                        self._lease_seconds,
                        self._stale,
                    ),
                    clock=self._clock,
                    random=self._random,
                )
            return self._runtime

    def _obtain(self, server: Server) -> tuple[str, float | None]:
        if self._get_token is not None:
            token = self._get_token()
            expires = expiry_of(token)
            return token, None if expires is None else expires - self._clock.wall()
        client_id, client_secret = self._credentials
        return server.client_credentials(client_id or "", client_secret or "", self._audience)

    def _forked(self) -> None:
        """In the child of a fork: threads did not come along, and locks may be held by those that did not."""
        self._lock = threading.Lock()
        if self._runtime is not None:
            self._inherited.append(self._runtime)
            self._runtime = None


def _ask(runtime: _Runtime, token: str) -> Generator[Future[Any], None, bool | None]:
    asked = runtime.ask(token)
    if asked is None:
        return None
    try:
        yield asked
    finally:
        # Out of the queue with a question for whose answer nobody waits any more.
        asked.cancel()
    return asked.result() if asked.done() and not asked.cancelled() else None


async def _wait_async(asked: Future[Any]) -> None:
    """Waits without holding up the loop. Who gives up leaves the question to the others that may wait for it."""
    loop = asyncio.get_running_loop()
    is_done = asyncio.Event()

    def tell(_: Future[Any]) -> None:
        # The loop may be closed by then.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(is_done.set)

    asked.add_done_callback(tell)
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(is_done.wait(), _ASK_SECONDS)


_guards: weakref.WeakSet[Guard] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for guard in list(_guards):
        guard._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
