"""A guard that is cut off: beyond its lease it asks, or refuses. Nothing lets a token pass."""

import asyncio
import math
import time

import pytest

from curfew_guard import Guard
from fake_curfew import AUDIENCE, CLIENT_ID, CLIENT_SECRET, NUMBER, USER, eventually, stopwatch


@pytest.mark.parametrize("stale", ["allow", "", None, "Introspect"])
def test_there_is_no_third_way(stale):
    with pytest.raises(ValueError, match="stale"):
        Guard("https://login.example/", AUDIENCE, CLIENT_ID, CLIENT_SECRET, stale=stale)


@pytest.fixture(params=["introspect", "refuse"])
def ready(request, new_guard):
    """A guard of either mode, ready; with its mode."""
    guard = new_guard(stale=request.param).start()
    assert guard.wait_ready()
    return guard, request.param


def silence(curfew, way):
    """Keeps echoes from a guard, in one of the ways of networks and databases."""
    if way == "no echo":
        curfew.echoes = False
    elif way == "delayed stream":
        curfew.held_back = True
    elif way == "hanging probes":
        curfew.hanging.add("/endings/probe")
    elif way == "no database":
        curfew.statuses["/endings/probe"] = 503
    elif way == "cut":
        curfew.hanging |= {"/endings/feed", "/endings/probe"}
        curfew.cut()


WAYS = ["no echo", "delayed stream", "hanging probes", "no database", "cut"]


@pytest.mark.parametrize("way", WAYS)
def test_beyond_the_lease(ready, curfew, clock, way):
    guard, stale = ready
    token, ended = curfew.token(), curfew.token()
    curfew.inactive.add(ended)
    silence(curfew, way)
    # Whatever echo is on its way now is one of a probe from before this.
    clock.advance(11)
    assert not guard.status().trusted
    result = guard.check(token)
    if stale == "introspect":
        assert result.ok
        assert guard.check(token).ok
        assert guard.check(ended).status == 401
        assert curfew.introspected == [token, token, ended], "no answer is kept meanwhile"
    else:
        assert (result.status, result.retry_after, result.challenge) == (503, 1, None)
        assert guard.check(ended).status == 503
        assert curfew.introspected == []


def test_within_the_lease_the_view_is_trusted_whatever_happens(ready, curfew, clock):
    guard, _ = ready
    token = curfew.token()
    curfew.down = True
    curfew.cut()
    eventually(lambda: not guard.status().connected)
    clock.advance(10 - guard.status().age_seconds)
    assert guard.check(token).ok
    assert curfew.introspected == []
    clock.advance(0.001)
    assert guard.check(token).status == 503


def test_it_recovers_by_itself(ready, curfew, clock, heard):
    guard, _ = ready
    token = curfew.token()
    curfew.down = True
    curfew.cut()
    eventually(lambda: not guard.status().connected)
    curfew.end("user", USER, NUMBER + 1, curfew.until())
    clock.advance(11)
    assert guard.check(token).status == 503
    curfew.down = False
    assert guard.wait_ready()
    heard(guard)
    assert guard.check(token).status == 401
    assert guard.check(curfew.token(cfw={"u": USER, "n": NUMBER + 1})).ok


def test_a_guard_that_knows_nothing_yet(new_guard, curfew):
    curfew.statuses["/endings/snapshot"] = 503
    asking, refusing = new_guard(), new_guard(stale="refuse")
    token = curfew.token()
    assert asking.check(token).ok, "it began with the first check"
    assert eventually(lambda: refusing.check(token).status == 503)
    assert asking.status().age_seconds == math.inf
    assert not asking.wait_ready(0.05)
    curfew.statuses.clear()
    assert asking.wait_ready()
    assert refusing.wait_ready()
    assert refusing.check(token).ok


def test_a_server_that_was_never_there(new_guard, curfew):
    curfew.down = True
    for stale in ("introspect", "refuse"):
        assert new_guard(stale=stale).check(curfew.token()).status == 503


def cut_off_and_hang(curfew, clock):
    """The feed is gone for longer than the lease, and who is asked does not answer."""
    curfew.hanging.add("/oauth/introspect")
    silence(curfew, "cut")
    clock.advance(11)


def test_an_introspection_that_hangs_ends_after_two_seconds(guard, curfew, clock):
    cut_off_and_hang(curfew, clock)
    token = curfew.token()
    began = time.monotonic()
    with stopwatch() as elapsed_seconds:
        assert guard.check(token).status == 503
        assert asyncio.run(guard.check_async(token)).status == 503
        assert elapsed_seconds() < 10
    assert time.monotonic() - began > 3.9


def test_check_async_does_not_hold_up_the_loop(guard, curfew, clock, patient):
    cut_off_and_hang(curfew, clock)
    token = curfew.token()

    async def both():
        asked = asyncio.ensure_future(guard.check_async(token))
        await asyncio.to_thread(eventually, lambda: curfew.requests["/oauth/introspect"] == 1)
        assert not asked.done()
        assert (await guard.check_async(None)).status == 401
        curfew.hanging.clear()
        return await asked

    assert asyncio.run(both()).ok


def test_a_cancelled_request_leaves_nothing_behind(guard, curfew, clock, patient):
    cut_off_and_hang(curfew, clock)
    token = curfew.token()

    async def cancel_all():
        asked = [asyncio.ensure_future(guard.check_async(token)) for _ in range(100)]
        await asyncio.to_thread(eventually, lambda: curfew.requests["/oauth/introspect"] == 32)
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    asyncio.run(cancel_all())
    curfew.hanging.clear()
    eventually(lambda: guard._runtime._asked == 0)
    assert len(curfew.introspected) < 50, "those that waited for their turn were not asked any more"


def test_not_everybody_may_ask_at_once(guard, curfew, clock, patient):
    cut_off_and_hang(curfew, clock)
    token = curfew.token()
    asked = [guard._runtime.ask(token) for _ in range(1000)]
    assert None not in asked
    assert guard._runtime.ask(token) is None
    assert guard.check(token).status == 503
    for one in asked:
        one.cancel()
    curfew.hanging.clear()
    eventually(lambda: guard._runtime._asked == 0)
    assert guard.check(token).ok
