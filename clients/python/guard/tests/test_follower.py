"""Following the feed: resuming, starting anew, renewing the token, and being told nonsense."""

import threading

import pytest

from curfew_guard.follower import Announcement, Follower
from fake_curfew import GRANT, NUMBER, SID, USER, eventually, stopwatch


def test_it_announces_itself_and_says_how_far_it_is(guard, curfew, heard):
    number = curfew.end("session", "x", curfew.until(), lane=2)
    heard(guard)
    last = eventually(lambda: curfew.probes[-1] if curfew.probes[-1]["position"] != "0.0.0.7" else None)
    assert last["position"] == f"0.0.{number}.7"
    assert len(instance := last["guard"].pop("instance")) == 16
    assert last["guard"] == {"name": "tests", "lease_seconds": 10, "stale": "introspect"}
    assert {probe["guard"].get("instance", instance) for probe in curfew.probes} == {instance}
    numbers = [probe["probe"] for probe in curfew.probes]
    assert numbers == sorted(set(numbers))
    assert {probe["stream"] for probe in curfew.probes} == set(curfew.streams)


def test_it_resumes_where_it_was_without_a_new_snapshot(guard, curfew, heard):
    curfew.end("session", "x", curfew.until(), lane=0)
    heard(guard)
    curfew.cut()
    token = curfew.token()
    curfew.end("user", USER, NUMBER + 1, curfew.until(), lane=2)
    heard(guard)
    assert guard.check(token).status == 401
    assert curfew.requests["/endings/snapshot"] == 1
    assert curfew.feed_positions == ["0.0.0.7", "1.0.0.7"]


@pytest.mark.parametrize("reason", ["stopping", "too_slow", "silent", "token_ended", "of another day"])
def test_it_comes_back_after_an_end(guard, curfew, reason):
    curfew.end_streams(reason)
    eventually(lambda: len(curfew.feed_positions) == 2)
    assert guard.wait_ready()
    eventually(lambda: guard.status().connected and guard.status().error is None)
    assert len(curfew.issued) == (2 if reason == "token_ended" else 1)
    assert curfew.requests["/endings/snapshot"] == 1


def test_it_begins_anew_where_the_feed_does_not_know_its_position(guard, curfew, heard):
    curfew.end("session", SID, curfew.until())
    heard(guard)
    token = curfew.token()
    assert guard.check(token).status == 401
    with curfew.lock:
        # A backup from before that ending is restored, and something else ends.
        curfew.heads = [0, 0, 0]
        curfew.ended = []
        curfew.cut()
    eventually(lambda: curfew.requests["/endings/snapshot"] == 2)
    assert guard.wait_ready()
    assert guard.check(token).ok, "what the server does not know has not ended"
    curfew.end("grant", GRANT, curfew.until())
    heard(guard)
    assert guard.check(token).status == 401


def test_its_token_is_renewed_in_time_without_a_gap(new_guard, curfew, clock):
    curfew.token_seconds = 20
    guard = new_guard().start()
    assert guard.wait_ready()
    first = curfew.issued[0]
    oldest = 0.0
    while len(curfew.issued) < 3:
        clock.advance(1)
        probes = len(curfew.probes)
        eventually(lambda: len(curfew.probes) > probes + 1)
        oldest = max(oldest, guard.status().age_seconds)
        assert guard.status().trusted
    assert oldest < 5
    eventually(lambda: curfew.streams[curfew.probes[-1]["stream"]].token != first)
    assert curfew.requests["/endings/snapshot"] == 1
    assert curfew.introspected == []


def test_its_token_is_renewed_between_half_and_three_quarters_of_its_life(new_guard, curfew, clock):
    guard = new_guard(random=lambda: 0.999).start()
    assert guard.wait_ready()

    def wait_for_probes():
        probes = len(curfew.probes)
        eventually(lambda: len(curfew.probes) > probes + 2)

    for _ in range(9):
        clock.advance(290)
        wait_for_probes()
    assert len(curfew.issued) == 1
    clock.advance(100)
    eventually(lambda: len(curfew.issued) == 2)


def test_a_token_that_the_server_takes_back_is_replaced(guard, curfew):
    curfew.expire_tokens()
    eventually(lambda: len(curfew.issued) == 2)
    eventually(lambda: guard.status().connected)
    assert curfew.requests["/endings/snapshot"] == 1


def test_get_token_is_asked_for_the_token(new_guard, curfew):
    threads = []

    def get_token():
        threads.append(threading.current_thread())
        token = curfew.token(exp=int(curfew.clock.wall()) + 600)
        with curfew.lock:
            curfew.valid.add(token)
        return token

    guard = new_guard(get_token=get_token).start()
    assert guard.wait_ready()
    assert guard.check(curfew.token()).ok
    assert curfew.issued == []
    assert threading.current_thread() not in threads
    curfew.clock.advance(500)
    eventually(lambda: len(threads) == 2)


def test_a_get_token_that_fails_is_tried_again(new_guard, curfew, clock):
    fails = True

    def get_token():
        if fails:
            raise OSError("the vault is closed")
        token = curfew.token()
        curfew.valid.add(token)
        return token

    guard = new_guard(get_token=get_token)
    assert guard.check(curfew.token()).status == 503
    eventually(lambda: guard.status().error == "the vault is closed")
    fails = False
    assert guard.wait_ready()


@pytest.mark.parametrize("told_by", ["the feed", "the snapshot"])
def test_a_cutoff_of_a_kind_that_it_does_not_know(new_guard, curfew, told_by):
    asking, refusing = new_guard(), new_guard(stale="refuse")
    token = curfew.token()
    if told_by == "the feed":
        assert asking.wait_ready()
        assert refusing.wait_ready()
        assert refusing.check(token).ok
    curfew.end("planet", "mars", curfew.until())
    for guard in (asking, refusing):
        eventually(lambda: guard.status().outdated == "planet")
        assert not guard.wait_ready(), "it never will be again"
    assert asking.check(token).ok
    assert curfew.introspected == [token]
    assert refusing.check(token).status == 503


def test_probes_that_another_node_answers(guard, curfew, clock, heard):
    curfew.other_node = True
    curfew.echoes = False
    for _ in range(3):
        clock.advance(8)
        eventually(lambda: guard.status().age_seconds == 0)
    assert guard.status().trusted


def test_another_nodes_answer_counts_only_when_the_stream_has_come_so_far(guard, curfew, clock):
    curfew.other_node = True
    # Of the two entries the first is under way for long: the node that answers probes knows both.
    curfew.held_back = True
    curfew.end("user", USER, NUMBER + 1, curfew.until(), lane=0)
    probes = len(curfew.probes)
    eventually(lambda: len(curfew.probes) > probes + 1)
    clock.advance(4)
    probes = len(curfew.probes)
    eventually(lambda: len(curfew.probes) > probes + 2)
    assert guard.status().age_seconds == 4
    curfew.let_go()
    eventually(lambda: guard.status().age_seconds == 0)
    assert guard.check(curfew.token()).status == 401


def test_a_stream_that_owes_an_echo_is_given_up(guard, curfew, clock):
    curfew.echoes = False
    probes = len(curfew.probes)
    eventually(lambda: len(curfew.probes) > probes + 1)
    clock.advance(6)
    eventually(lambda: len(curfew.feed_positions) > 1)
    curfew.echoes = True
    eventually(lambda: guard.status().age_seconds == 0)


def test_positions_move_without_endings(guard, curfew):
    with curfew.lock:
        curfew.heads[0] = 12
        for stream in curfew.streams.values():
            stream.put("position", {"position": "12.0.0.7"})
    eventually(lambda: guard.status().position == "12.0.0.7")


NONSENSE = [
    b"data: {}\nevent: ending\n\n",
    b"event: ending\ndata: {\"cutoff\": [\"session\", \"x\", 9]}\n\n",
    b"event: ending\ndata: {\"cutoff\": [\"session\", \"x\", 9], \"lane\": 3, \"position\": 1}\n\n",
    b"event: echo\ndata: [1]\n\n",
    b"event: echo\ndata: {\"probe\": 1, \"position\": \"1.1.7\"}\n\n",
    b"event: echo\ndata: {\"probe\": 1, \"position\": \"0.0.0.6\"}\n\n",
    b"event: position\ndata: {\"position\": \"0.0.0.8\"}\n\n",
    b"event: position\ndata: {\"position\": null}\n\n",
    b"event: position\ndata: not json\n\n",
    b"event: position\ndata: " + b"[" * 100_000 + b"\n\n",
    b"x" * 300_000,
]


@pytest.mark.parametrize("nonsense", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense_makes_it_begin_anew(guard, curfew, nonsense):
    with curfew.lock:
        for stream in curfew.streams.values():
            stream.events.put(nonsense)
    eventually(lambda: curfew.requests["/endings/snapshot"] == 2)
    assert guard.wait_ready()


def test_events_of_another_day_are_passed_over(guard, curfew, heard):
    with curfew.lock:
        for stream in curfew.streams.values():
            stream.put("weather", {"sun": True})
    curfew.end("session", SID, curfew.until())
    heard(guard)
    assert guard.check(curfew.token()).status == 401
    assert curfew.requests["/endings/snapshot"] == 1


@pytest.mark.parametrize(
    ("switch", "value", "right"),
    [
        ("snapshot_count_off_by", 1, 0),
        ("snapshot_count_off_by", -1, 0),
        ("snapshot_issuer", "https://other.example/", None),
    ],
)
def test_a_snapshot_that_is_not_whole_is_no_view(new_guard, curfew, switch, value, right):
    curfew.end("session", SID, curfew.until())
    setattr(curfew, switch, value)
    guard = new_guard(stale="refuse").start()
    eventually(lambda: curfew.requests["/endings/snapshot"] > 1)
    assert guard.check(curfew.token()).status == 503
    setattr(curfew, switch, right)
    assert guard.wait_ready()
    assert guard.check(curfew.token()).status == 401


@pytest.mark.parametrize("endpoint", ["snapshot", "feed"])
@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_refusals_of_the_feed(new_guard, curfew, endpoint, status):
    curfew.statuses[f"/endings/{endpoint}"] = status
    guard = new_guard().start()
    eventually(lambda: guard.status().error == f"the feed answered {status}")
    curfew.statuses.clear()
    assert guard.wait_ready()
    assert guard.status().error is None


def test_reconnections_are_spread_and_become_rarer(clock):
    follower = Follower(
        server=None,
        token=None,
        keys=None,
        activity=None,
        issuer="",
        announcement=Announcement("tests", "one", 10, "refuse"),
        clock=clock,
        random=lambda: 0.5,
    )
    pauses = [follower._pause_seconds() for _ in range(9)]
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.5, 2.5, 2.5]


def test_a_wall_clock_that_is_set_back_makes_it_begin_anew(guard, curfew, clock, heard):
    curfew.end("session", SID, int(clock.wall()) + 100)
    heard(guard)
    clock.advance(5)
    eventually(lambda: guard.status().age_seconds == 0)
    clock.set_wall(900)
    eventually(lambda: guard.status().cutoffs == 0)
    clock.set_wall(-900)
    assert guard.check(curfew.token()).status in (200, 401)
    eventually(lambda: curfew.requests["/endings/snapshot"] == 2)
    assert guard.wait_ready()
    assert guard.check(curfew.token()).status == 401


def test_close_ends_everything_and_lets_nothing_pass(new_guard, curfew):
    token = curfew.token()
    with new_guard() as guard:
        assert guard.wait_ready()
        assert guard.check(token).ok
        threads = guard._runtime.follower._threads
    assert not any(thread.is_alive() for thread in threads)
    assert guard.check(token).status == 503
    assert not guard.wait_ready()
    assert guard.status().error == "closed"
    with pytest.raises(RuntimeError):
        guard.start()
    guard.close()


def test_close_does_not_wait_for_a_server_that_hangs(new_guard, curfew):
    curfew.hanging.add("/endings/feed")
    guard = new_guard().start()
    eventually(lambda: curfew.requests["/endings/feed"] == 1)
    with stopwatch() as elapsed_seconds:
        guard.close()
        assert elapsed_seconds() < 8
