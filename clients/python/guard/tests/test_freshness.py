"""The age of a view."""

import math

import pytest

from curfew_guard.freshness import Freshness


@pytest.fixture
def freshness(clock):
    return Freshness(clock)


def test_without_an_echo_the_age_is_infinite(freshness, clock):
    assert freshness.age() == math.inf
    freshness.sending(1)
    freshness.accepted(1)
    assert freshness.age() == math.inf


def test_the_age_counts_from_the_sending(freshness, clock):
    freshness.sending(1)
    clock.advance(3)
    assert freshness.echoed(1)
    assert freshness.age() == 3
    clock.advance(2)
    assert freshness.age() == 5


def test_an_older_echo_makes_nothing_younger_or_older(freshness, clock):
    freshness.sending(1)
    clock.advance(1)
    freshness.sending(2)
    assert freshness.echoed(2)
    assert not freshness.echoed(1)
    assert freshness.age() == 0


def test_an_echo_of_a_probe_that_was_never_sent(freshness):
    assert not freshness.echoed(7)
    assert freshness.age() == math.inf


def test_a_machine_that_slept_knows_it(freshness, clock):
    freshness.sending(1)
    freshness.echoed(1)
    clock.set_wall(3600)
    assert freshness.age() == 3600


def test_a_wall_clock_that_goes_back_makes_no_view_younger(freshness, clock):
    freshness.sending(1)
    freshness.echoed(1)
    clock.advance(4)
    clock.set_wall(-3600)
    assert freshness.age() == 4
    clock.set_wall(7200)
    assert freshness.age() == 3604
    clock.set_wall(-3600)
    assert freshness.age() == 3604, "an age that was seen stays"
    clock.advance(1)
    assert freshness.age() == 3605
    freshness.sending(2)
    freshness.echoed(2)
    assert freshness.age() == 0


def test_another_nodes_answer_counts_once_its_position_is_reached_in_every_lane(freshness, clock):
    freshness.sending(1)
    assert not freshness.answered(1, (5, 2, 7), (5, 1, 7))
    clock.advance(1)
    assert not freshness.moved((9, 1, 7))
    assert freshness.age() == math.inf
    assert freshness.moved((9, 2, 7))
    assert freshness.age() == 1
    freshness.sending(2)
    assert freshness.answered(2, (5, 2, 7), (9, 2, 7)), "a guard that is further has it at once"
    assert freshness.age() == 0


def test_another_nodes_answer_outlives_the_stream_and_an_echo_does_not(freshness, clock):
    freshness.sending(1)
    freshness.accepted(1)
    freshness.sending(2)
    freshness.answered(2, (5,), (4,))
    freshness.stream_ended()
    assert not freshness.echoed(1)
    assert freshness.moved((5,))
    assert freshness.age() == 0


def test_what_a_stream_owes(freshness, clock):
    freshness.sending(1)
    clock.advance(1)
    assert freshness.waiting_seconds() == 0, "the server has not taken it"
    freshness.accepted(1)
    freshness.sending(2)
    freshness.answered(2, (5,), (4,))
    clock.advance(1)
    assert freshness.waiting_seconds() == 2
    freshness.echoed(1)
    assert freshness.waiting_seconds() == 1
    freshness.moved((5,))
    assert freshness.waiting_seconds() == 0


def test_probes_without_an_echo_do_not_pile_up(freshness):
    for probe in range(10_000):
        freshness.sending(probe)
        freshness.answered(probe, (5,), (4,))
    assert len(freshness._sent) == len(freshness._needed) == 128
