"""Positions: vectors of lanes."""

import pytest

from curfew_guard import position


def test_read_and_write():
    assert position.parse("17.0.4") == (17, 0, 4)
    assert position.parse("0") == (0,)
    assert position.write((17, 0, 4)) == "17.0.4"


@pytest.mark.parametrize("text", ["", ".", "1.", "-1", "1.x", " 1", "+1", "１", "1" * 20, "0." * 5000 + "0", None, 1])
def test_what_is_no_position(text):
    with pytest.raises(ValueError):
        position.parse(text)


def test_reached_means_in_every_lane():
    assert position.reaches((3, 3), (3, 2))
    assert not position.reaches((4, 1), (3, 2))
    assert not position.reaches((3, 3, 3), (3, 3)), "of feeds with unlike lanes nothing can be said"


def test_a_position_only_goes_on():
    assert position.join((3, 1), (2, 5)) == (3, 5)
    assert position.advance((3, 1), 1, 9) == (3, 9)
    assert position.advance((3, 1), 0, 2) == (3, 1)
    for wrong in (-1, 2):
        with pytest.raises(ValueError):
            position.advance((3, 1), wrong, 1)
    with pytest.raises(ValueError):
        position.join((3, 1), (1,))
