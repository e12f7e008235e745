"""Positions in the feed: how far each lane has been read, and last the number of the feed itself."""

from __future__ import annotations

Position = tuple[int, ...]

_NUMBERS_MAX = 4096
_DIGITS_MAX = 19


def parse(text: object) -> Position:
    """Reads `17.0.4.2716057`; `ValueError` for anything else."""
    if not isinstance(text, str) or len(text) > _NUMBERS_MAX * (_DIGITS_MAX + 1):
        raise ValueError("a position is a text")
    numbers = text.split(".")
    if not 2 <= len(numbers) <= _NUMBERS_MAX or not all(
        number.isascii() and number.isdigit() and len(number) <= _DIGITS_MAX for number in numbers
    ):
        raise ValueError("a position is numbers with points between them")
    return tuple(int(number) for number in numbers)


def write(position: Position) -> str:
    """The position as it goes over the wire."""
    return ".".join(map(str, position))


def reaches(position: Position, other: Position) -> bool:
    """Whether `position` is, in every lane, at least `other`. Where that is of another feed nothing can be said: no."""
    return _are_of_one_feed(position, other) and all(
        own >= needed for own, needed in zip(position, other)
    )


def _are_of_one_feed(position: Position, other: Position) -> bool:
    return len(position) == len(other) and position[-1] == other[-1]


def join(position: Position, other: Position) -> Position:
    """The further one, lane by lane."""
    if not _are_of_one_feed(position, other):
        raise ValueError("a position of another feed")
    return tuple(map(max, position, other))


def advance(position: Position, lane: int, number: int) -> Position:
    """`position` with `lane` read up to `number`."""
    lanes = len(position) - 1
    if not 0 <= lane < lanes:
        raise ValueError(f"lane {lane} of {lanes}")
    if number <= position[lane]:
        return position
    return (*position[:lane], number, *position[lane + 1 :])
