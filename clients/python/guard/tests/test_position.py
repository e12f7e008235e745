"""Positions: vectors of lanes, with the number of the feed behind them."""

import pytest

from curfew_guard import position


def test_read_and_write():
    assert position.parse("17.0.4.7") == (17, 0, 4, 7)
    assert position.parse("0.7") == (0, 7)
    assert position.write((17, 0, 4, 7)) == "17.0.4.7"


@pytest.mark.parametrize("text", ["", ".", "1", "1.", "-1", "1.x", " 1", "+1", "１", "1" * 20 + ".7", "0." * 5000 + "0", None, 1])
def test_what_is_no_position(text):
    with pytest.raises(ValueError):
        position.parse(text)


def test_reached_means_in_every_lane():
    assert position.reaches((3, 3, 7), (3, 2, 7))
    assert not position.reaches((4, 1, 7), (3, 2, 7))
    for other in ((3, 7), (3, 2, 6), (3, 2, 8)):
        assert not position.reaches((3, 3, 7), other), "of another feed nothing can be said"


def test_a_position_only_goes_on():
    assert position.join((3, 1, 7), (2, 5, 7)) == (3, 5, 7)
    assert position.advance((3, 1, 7), 1, 9) == (3, 9, 7)
    assert position.advance((3, 1, 7), 0, 2) == (3, 1, 7)
    for wrong in (-1, 2):
        with pytest.raises(ValueError):
            position.advance((3, 1, 7), wrong, 9)
    for other in ((1, 7), (3, 1, 6), (3, 1, 8)):
        with pytest.raises(ValueError):
            position.join((3, 1, 7), other)
