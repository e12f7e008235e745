"""Server-sent events and lines, read from pieces of any size with bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class TooLong(ValueError):
    """A line or an event is longer than any that this protocol has."""


class Event(NamedTuple):
    """One event: its name (`message` when it has none) and its data."""

    name: str
    data: str


class EventParser:
    """Reads an event stream (HTML Standard §9.2.6), whatever the pieces it arrives in.

    Lines end with LF, CR or CRLF, also when a piece ends between the two. Comments, `id` and `retry` are skipped. An event
    that the stream's end cuts off is never handed out.
    """

    def __init__(self, bytes_max: int = 1 << 18) -> None:
        self._bytes_max = bytes_max
        self._line = bytearray()
        self._after_cr = False
        self._first_line = True
        self._name = ""
        self._data: list[str] = []
        self._data_bytes = 0

    def feed(self, piece: bytes) -> Iterator[Event]:
        """The events that `piece` completes."""
        start = 0
        if self._after_cr and piece:
            self._after_cr = False
            start = 1 if piece[:1] == b"\n" else 0
        while start < len(piece):
            end = _line_end(piece, start)
            if end is None:
                self._extend(piece[start:])
                return
            self._extend(piece[start:end])
            start = end + 1
            if piece[end] == 13:
                if start == len(piece):
                    self._after_cr = True
                elif piece[start] == 10:
                    start += 1
            line = bytes(self._line)
            self._line.clear()
            event = self._take_line(line)
            if event is not None:
                yield event

    def _extend(self, piece: bytes) -> None:
        if len(self._line) + len(piece) > self._bytes_max:
            raise TooLong(f"a line of more than {self._bytes_max} bytes")
        self._line += piece

    def _take_line(self, line: bytes) -> Event | None:
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            self._name = value.decode("utf-8", "replace")
        elif field == b"data":
            self._data_bytes += len(value) + 1
            if self._data_bytes > self._bytes_max:
                raise TooLong(f"an event of more than {self._bytes_max} bytes")
            self._data.append(value.decode("utf-8", "replace"))
        return None

    def _dispatch(self) -> Event | None:
        event = (
            Event(self._name or "message", "\n".join(self._data))
            if self._data
            else None
        )
        self._name = ""
        self._data = []
        self._data_bytes = 0
        return event


def _line_end(piece: bytes, start: int) -> int | None:
    ends = [at for at in (piece.find(b"\n", start), piece.find(b"\r", start)) if at >= 0]
    return min(ends, default=None)


def lines(pieces: Iterable[bytes], bytes_max: int = 1 << 16) -> Iterator[bytes]:
    """The lines of `pieces`, which end with LF. The last one may end with the text."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
        if len(rest) > bytes_max:
            raise TooLong(f"a line of more than {bytes_max} bytes")
    if rest:
        yield rest
