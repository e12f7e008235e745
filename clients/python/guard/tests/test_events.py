"""The parser of event streams, and of lines."""

import itertools

import pytest

from curfew_guard.events import Event, EventParser, TooLong, lines

TEXT = (
    b"\xef\xbb\xbf: a comment\n\n"
    b"event: ending\ndata: {\"a\":1}\n\n"
    b"event:echo\r\ndata:one\r\ndata: two\r\nid: 7\r\nretry: 5\r\n\r\n"
    b"data: \xc3\xa9\r\r"
    b"event: without data\n\n"
    b"data\n\n"
    b"event: cut off\ndata: x\n"
)
EVENTS = [
    Event("ending", '{"a":1}'),
    Event("echo", "one\ntwo"),
    Event("message", "é"),
    Event("message", ""),
]


def parse(pieces, **options):
    parser = EventParser(**options)
    return [event for piece in pieces for event in parser.feed(piece)]


def test_in_one_piece():
    assert parse([TEXT]) == EVENTS


def test_in_pieces_of_every_size():
    for size in range(1, len(TEXT)):
        pieces = [TEXT[at : at + size] for at in range(0, len(TEXT), size)]
        assert parse(pieces) == EVENTS, size


def test_an_empty_piece_between_cr_and_lf():
    assert parse([b"data: a\r", b"", b"\n\r", b"\n"]) == [Event("message", "a")]


def test_an_event_is_handed_out_as_soon_as_it_is_complete():
    parser = EventParser()
    assert list(parser.feed(b"data: a\r\r")) == [Event("message", "a")]
    assert list(parser.feed(b"\ndata: b\n\n")) == [Event("message", "b")]


def test_lines_and_events_have_a_limit():
    assert parse([b"data: 12\n\n"], bytes_max=8) == [Event("message", "12")]
    with pytest.raises(TooLong):
        parse([b"data: 123456789"], bytes_max=8)
    with pytest.raises(TooLong):
        parse(itertools.repeat(b": endless"), bytes_max=1000)
    with pytest.raises(TooLong):
        parse(itertools.repeat(b"data: x\n"), bytes_max=1000)


def test_lines():
    assert list(lines([b"a\nb", b"", b"c\n\nd"])) == [b"a", b"bc", b"", b"d"]
    assert list(lines([])) == []
    with pytest.raises(TooLong):
        list(lines(itertools.repeat(b"endless"), bytes_max=1000))
