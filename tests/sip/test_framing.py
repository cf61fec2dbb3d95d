"""Messages out of a stream (RFC 3261 18.3, RFC 5626 3.5.1), however its bytes are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.framing import MAX_HEAD, Framer
from gateway.sip.message import MAX_DATAGRAM

from .strategies import PROPERTY


def message(body: bytes = b"", length: bytes | None = None, extra: bytes = b"") -> bytes:
    """A request, with a Content-Length line that says `length`, or the truth."""
    line = b"Content-Length: %d\r\n" % len(body) if length is None else length
    return b"MESSAGE sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\n%b%b\r\n%b" % (extra, line, body)


def outcome(stream: bytes, cuts: list[int]) -> tuple[list[bytes], int, object]:
    """What comes of a stream that arrives in pieces cut at these places."""
    framer = Framer()
    messages = []
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for begin, end in itertools.pairwise(places):
        messages += framer.feed(stream[begin:end])
    return messages, framer.pings, framer.error


# -- whole messages --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"\r\n\r\n", b"MESSAGE sip:h SIP/2.0\r\n\r\n", b"\0\xff" * 999]
)
def test_a_message_comes_out_whole_byte_by_byte(body: bytes) -> None:
    framer = Framer()
    data = message(body)
    for at in range(len(data) - 1):
        assert framer.feed(data[at : at + 1]) == []
        assert framer.is_waiting
    assert framer.feed(data[-1:]) == [data]
    assert not framer.is_waiting


def test_many_messages_in_one_read_come_out_in_order() -> None:
    sent = [message(b"%d" % number) for number in range(50)]
    framer = Framer()
    assert framer.feed(b"".join(sent) + b"MESSAGE") == sent
    assert framer.is_waiting


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Length: 3\r\n",
        b"CONTENT-LENGTH:3\r\n",
        b"l: 3\r\n",
        b"L\t: 003\r\n",
        b"Content-Length:\r\n 3\r\n",  # folded (7.3.1)
        b"Content-Length: 3\r\nl: 3\r\n",  # twice, and of one mind
        b"Content-Length: 3\n",  # a bare LF ends a line, as in a datagram
    ],
)
def test_the_length_is_read_in_every_spelling(line: bytes) -> None:
    data = message(b"abc", line)
    assert Framer().feed(data + data) == [data, data]


def test_a_header_that_only_looks_like_the_length_does_not_count() -> None:
    extra = b"X-Content-Length: 9\r\nSubject: a\r\n Content-Length: 9\r\nLl: 9\r\n"
    data = message(b"abc", extra=extra)
    assert Framer().feed(data) == [data]


# -- keepalives ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "pings"),
    [
        (b"\r\n", 0),  # an answer to a ping, or a stray line end (7.5)
        (b"\r\n\r\n", 1),
        (b"\r\n\r\n\r\n", 1),
        (b"\r\n\r\n\r\n\r\n", 2),
        (b"\r\n\r\n" * 1000, 1000),
        (b"\r\n" + message() + b"\r\n", 0),  # not in a row
        (b"\r\n\r\n" + message() + b"\r\n\r\n", 2),
    ],
)
def test_two_line_ends_in_a_row_are_a_ping_rfc_5626_3_5_1(stream: bytes, pings: int) -> None:
    for cuts in ([], list(range(len(stream)))):
        messages, got, error = outcome(stream, cuts)
        assert (len(messages), got, error) == (stream.count(b"MESSAGE"), pings, None)


def test_pings_leave_nothing_that_waits() -> None:
    framer = Framer()
    framer.feed(b"\r\n\r\n\r\n")
    assert not framer.is_waiting


# -- what cannot be read on ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "why", "status"),
    [
        (b"", "no Content-Length", 400),
        (b"Content-Length: -1\r\n", "bad Content-Length", 400),
        (b"Content-Length: +1\r\n", "bad Content-Length", 400),
        (b"Content-Length: 1 2\r\n", "bad Content-Length", 400),
        (b"Content-Length: 0x10\r\n", "bad Content-Length", 400),
        (b"Content-Length:\r\n", "bad Content-Length", 400),
        (b"Content-Length: \xb2\r\n", "bad Content-Length", 400),
        (b"Content-Length: 99999999999\r\n", "bad Content-Length", 400),
        (b"Content-Length: 1\r\nContent-Length: 2\r\n", "Content-Length is repeated", 400),
        (b"l: 1\r\nContent-Length: 0\r\n", "Content-Length is repeated", 400),
        (b"Content-Length: 65535\r\n", "message too long", 513),
        (b"Content-Length: 9999999999\r\n", "message too long", 513),
    ],
)
def test_a_length_that_is_no_length_ends_the_stream(line: bytes, why: str, status: int) -> None:
    good, bad = message(b"good"), message(b"", line)
    framer = Framer()
    assert framer.feed(good + bad + good) == [good]  # what came before is served
    assert framer.error is not None
    assert (framer.error.why, framer.error.status, framer.error.head) == (why, status, bad)
    assert framer.feed(good) == []
    assert not framer.is_waiting


def test_headers_without_end_are_cut_off_at_the_limit() -> None:
    framer = Framer()
    start = b"MESSAGE sip:h SIP/2.0\r\n"
    assert framer.feed(start) == []
    line = b"X-Padding: " + b"x" * 87 + b"\r\n"
    fed = len(start)
    while framer.error is None:
        assert framer.feed(line) == []
        fed += len(line)
        assert fed <= MAX_HEAD + len(line)
    assert (framer.error.why, framer.error.status) == ("header block too long", 400)
    assert framer.error.head.startswith(start)
    assert framer.error.head.endswith(b"\r\n")


def test_noise_without_a_line_end_is_cut_off_at_the_limit() -> None:
    framer = Framer()
    assert framer.feed(b"x" * (MAX_HEAD + 100)) == []
    assert framer.error is not None


def test_the_longest_message_passes_and_one_byte_more_does_not() -> None:
    room = MAX_DATAGRAM - len(message(b"", b"Content-Length: 65000\r\n"))
    longest = message(b"x" * room)
    assert len(longest) == MAX_DATAGRAM
    assert Framer().feed(longest) == [longest]
    framer = Framer()
    assert framer.feed(message(b"x" * (room + 1))) == []
    assert framer.error is not None


# -- properties ------------------------------------------------------------------------------------------

_PIECES = st.sampled_from(
    [
        message(), message(b"body"), message(b"\r\n\r\n\r\n"), message(b"", b"l: 0\r\n"),
        b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"\n\n",
        message(b"", b""), message(b"", b"l: -1\r\n"), message(b"ab", b"l: 1\r\n"), b"\0\xff",
    ]
)  # fmt: skip


@PROPERTY
@given(st.lists(_PIECES | st.binary(max_size=40), max_size=12), st.lists(st.integers(0, 5000), max_size=40))
def test_any_cutting_of_a_stream_gives_the_same_messages(pieces: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(pieces)
    whole = outcome(stream, [])
    assert outcome(stream, cuts) == whole
    assert outcome(stream, list(range(len(stream)))) == whole


@PROPERTY
@given(st.lists(st.binary(max_size=300), max_size=20))
def test_every_well_framed_message_comes_out_as_it_was_sent(bodies: list[bytes]) -> None:
    sent = [message(body) for body in bodies]
    assert outcome(b"".join(sent), [7 * n for n in range(50)])[0] == sent


def test_each_byte_is_looked_at_once_however_small_the_pieces() -> None:
    """A search that began anew with each byte would look at half of 30,000 squared of them."""
    looked_at = 0

    framer = Framer()
    for _ in range(MAX_HEAD - 1):
        before = framer._searched
        framer.feed(b"x")
        looked_at += len(framer._buffer) - max(0, before - 2)
    assert looked_at <= 3 * MAX_HEAD
