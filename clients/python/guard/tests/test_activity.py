"""Who made requests is reported, in batches."""

from curfew_guard import activity
from curfew_guard.activity import Activity
from fake_curfew import NUMBER, USER, eventually


def test_a_user_is_reported_once_in_fifteen_minutes(clock):
    noted = Activity(clock)
    noted.note("a")
    noted.note("b")
    noted.note("a")
    first = int(clock.wall())
    assert noted.take() == [("a", first), ("b", first)]
    clock.advance(899)
    noted.note("a")
    assert noted.take() == []
    clock.advance(1)
    noted.note("a")
    assert noted.take() == [("a", first + 900)]


def test_at_most_a_thousand_at_once_and_what_did_not_arrive_comes_again(clock):
    noted = Activity(clock)
    for number in range(2500):
        noted.note(f"u{number}")
    first = noted.take()
    assert len(first) == 1000
    noted.put_back(first)
    users = [user for _ in range(4) for user, _ in noted.take()]
    assert len(users) == 2500
    assert set(users) == {f"u{number}" for number in range(2500)}


def test_it_does_not_grow_without_limit(clock, monkeypatch):
    monkeypatch.setattr(activity, "_WAITING_MAX", 10)
    monkeypatch.setattr(activity, "_REMEMBERED_MAX", 20)
    noted = Activity(clock)
    for number in range(100):
        noted.note(f"u{number}")
    assert len(noted.take()) == 10
    noted.note("u50")
    assert [user for user, _ in noted.take()] == ["u50"], "whom there was no room for comes later"
    for number in range(100, 200):
        noted.note(f"u{number}")
        noted.take()
    assert len(noted._noted) == 20


def test_a_clock_that_is_set_back_does_not_silence_it(clock):
    noted = Activity(clock)
    noted.note("a")
    noted.take()
    clock.set_wall(-3600)
    noted.note("a")
    assert len(noted.take()) == 1


def test_it_travels_with_the_probes(guard, curfew):
    curfew.statuses["/endings/probe"] = 503
    for user in (USER, USER, "another"):
        assert guard.check(curfew.token(cfw={"u": user, "n": NUMBER})).ok
    assert guard.check(curfew.token(cfw={"c": 7})).ok
    curfew.statuses.clear()
    eventually(lambda: len(curfew.activity) == 2)
    second = int(curfew.clock.wall())
    assert sorted(curfew.activity) == [[USER, second], ["another", second]]
