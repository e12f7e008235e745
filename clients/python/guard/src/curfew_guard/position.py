"""Positions in the feed: how far each lane has been read."""

from __future__ import annotations

Position = tuple[int, ...]

_LANES_MAX = 4096
_DIGITS_MAX = 19


def parse(text: object) -> Position:
    """Reads `17.0.4`; `ValueError` for anything else."""
    if not isinstance(text, str) or len(text) > _LANES_MAX * (_DIGITS_MAX + 1):
        raise ValueError("a position is a text")
    lanes = text.split(".")
    if len(lanes) > _LANES_MAX or not all(
        lane.isascii() and lane.isdigit() and len(lane) <= _DIGITS_MAX for lane in lanes
    ):
        raise ValueError("a position is numbers with points between them")
    return tuple(int(lane) for lane in lanes)


def write(position: Position) -> str:
    """The position as it goes over the wire."""
    return ".".join(map(str, position))


def reaches(position: Position, other: Position) -> bool:
    """Whether `position` is, in every lane, at least `other`. Of feeds with unlike lanes nothing can be said: no."""
    return len(position) == len(other) and all(
        own >= needed for own, needed in zip(position, other)
    )


def join(position: Position, other: Position) -> Position:
    """The further one, lane by lane."""
    if len(position) != len(other):
        raise ValueError(f"{len(other)} lanes instead of {len(position)}")
    return tuple(map(max, position, other))


def advance(position: Position, lane: int, number: int) -> Position:
    """`position` with `lane` read up to `number`."""
    if not 0 <= lane < len(position):
        raise ValueError(f"lane {lane} of {len(position)}")
    if number <= position[lane]:
        return position
    return (*position[:lane], number, *position[lane + 1 :])
