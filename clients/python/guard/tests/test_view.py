"""Cutoffs: what is kept of several, what is dropped, what is not understood."""

import pytest

from curfew_guard.view import Answers, Ended, UnknownCutoff, View

AUDIENCE = "https://api.example.com/orders"


@pytest.fixture
def view(clock):
    return View(clock, (0, 0, 7))


def fate(view, sid=None, kid="k", iat=100, **cfw):
    claims = {"azp": "app", "iat": iat, "cfw": cfw}
    if sid is not None:
        claims["sid"] = sid
    return view.judge(claims, kid, AUDIENCE)


def test_the_larger_number_counts_in_whatever_order(view):
    for number in (5, 9, 7):
        view.apply(["user", "u", number, 2_000_000_000])
    assert fate(view, u="u", n=8) is Ended.ENDED
    assert fate(view, u="u", n=9) is None
    assert view.cutoffs() == 1


def test_the_session_that_the_larger_number_spares_is_spared(view):
    view.apply(["user_sessions", "u", 9, "spared", 2_000_000_000])
    view.apply(["user_sessions", "u", 5, None, 2_000_000_001])
    assert fate(view, u="u", n=4, sid="spared") is None
    assert fate(view, u="u", n=4, sid="other") is Ended.ENDED
    view.apply(["user_sessions", "u", 10, None, 2_000_000_000])
    assert fate(view, u="u", n=4, sid="spared") is Ended.ENDED


def test_a_deleted_client_stays_deleted(view):
    view.apply(["client", "app", None, 2_000_000_000])
    view.apply(["client", "app", 3, 2_000_000_000])
    assert fate(view, c=99) is Ended.ENDED
    assert fate(view) is Ended.ENDED, "also a token without the client's counter"


def test_reasons_change_with_the_cutoffs(view):
    view.apply(["user_families", "u", 5, 2_000_000_000])
    first = fate(view, u="u", n=4, g="g")
    view.apply(["user_families", "u", 6, 2_000_000_000])
    second = fate(view, u="u", n=4, g="g")
    view.apply(["session_expired", "s", 2_000_000_000])
    third = fate(view, u="u", n=4, g="g", sid="s")
    assert len({first, second, third}) == 3
    assert None not in (first, second, third)
    assert Ended.ENDED not in (first, second, third)


@pytest.mark.parametrize(
    "cutoff",
    [
        ["planet", "mars", 2_000_000_000],
        ["user", "u", 2_000_000_000],
        ["user", "u", 1, 2_000_000_000, "more"],
        ["user", "u", "1", 2_000_000_000],
        ["user", 1, 1, 2_000_000_000],
        ["user", "u", 1, None],
        ["user", "u", 1.5, 2_000_000_000],
        ["user_sessions", "u", 1, 2, 2_000_000_000],
        ["user_client", "u", None, 1, 2_000_000_000],
        ["session", None, 2_000_000_000],
        ["client_users", "app", None, 2_000_000_000],
        [["user"], "u", 1, 2_000_000_000],
        [],
        {},
        "user",
        None,
    ],
)
def test_what_is_not_understood(view, cutoff):
    with pytest.raises(UnknownCutoff):
        view.apply(cutoff)
    assert view.cutoffs() == 0


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"cfw": None},
        {"cfw": ["u"]},
        {"cfw": {"u": ["u"], "n": "1", "c": True, "g": {}}},
        {"sid": {}, "azp": [], "client_id": 5},
        {"cfw": {"u": "u"}},
        {"cfw": {"n": 1, "c": 1}},
    ],
)
def test_a_member_that_a_token_does_not_have_never_matches(view, claims):
    for cutoff in (
        ["user", "u", 9],
        ["user_sessions", "u", 9, None],
        ["user_families", "u", 9],
        ["user_client", "u", "app", 9],
        ["session", "s"],
        ["session_expired", "s"],
        ["grant", "g"],
        ["client", "app", 9],
        ["client_users", "app", 9],
        ["signing_key", "other"],
        ["audience", "another", 200],
    ):
        view.apply([*cutoff, 2_000_000_000])
    assert view.judge({"iat": 100, **claims}, "k", AUDIENCE) is None


def test_cutoffs_are_dropped_when_they_are_over(view, clock):
    now = int(clock.wall())
    view.apply(["session", "short", now + 100])
    view.apply(["session", "long", now + 1000])
    view.apply(["user", "prolonged", 5, now + 100])
    view.apply(["user", "prolonged", 4, now + 1000])
    clock.advance(99)
    view.drop_expired()
    assert view.cutoffs() == 3
    clock.advance(181)
    view.drop_expired()
    assert view.cutoffs() == 2
    assert fate(view, sid="long") is Ended.ENDED
    assert fate(view, u="prolonged", n=4) is Ended.ENDED, "with the later until"
    clock.advance(1000)
    view.drop_expired()
    assert view.cutoffs() == 0


def test_many_are_dropped_bit_by_bit(view, clock):
    now = int(clock.wall())
    for number in range(2500):
        view.apply(["session", f"s{number}", now + number % 50])
    clock.advance(1000)
    left = []
    while view.cutoffs():
        view.drop_expired()
        left.append(view.cutoffs())
    assert left == [1500, 500, 0]


def test_a_clock_that_is_set_back_behind_what_was_dropped(view, clock):
    view.apply(["session", "s", int(clock.wall()) + 100])
    assert view.is_whole()
    clock.advance(1000)
    view.drop_expired()
    clock.set_wall(-100)
    assert view.is_whole(), "the token is over all the same"
    clock.set_wall(-800)
    assert not view.is_whole(), "the token would be valid again"


def test_answers_hold_for_their_reasons_and_are_bounded():
    answers = Answers(entries_max=3)
    answers.put("token", (("user_families", 5),), True)
    assert answers.get("token", (("user_families", 5),)) is True
    assert answers.get("token", (("user_families", 6),)) is None
    assert answers.get("another", (("user_families", 5),)) is None
    for number in range(10):
        answers.put(f"t{number}", (("user_families", 5),), False)
        answers.get("t0", (("user_families", 5),))
    assert len(answers._answers) == 3
    assert answers.get("t0", (("user_families", 5),)) is False, "the one in use stays"
    assert answers.get("token", (("user_families", 5),)) is None
