"""SIP messages come out of fragments and streams whole, however they were cut, lost and mixed up."""

from __future__ import annotations

from itertools import count, pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.captures import streams
from gateway.captures.packets import Segment
from gateway.captures.pcap import Datagram, Notes, messages
from tests.captures.test_pcap import INVITE, SIX_A, SIX_B, A, B, message
from tests.captures.writer import Caught, frame, ip_packets, pcap, pcap_of, tcp, udp

QUICK = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MESSAGES = [
    message(INVITE).replace(b"Content-Length: 0\r\n\r\n", b"Content-Length: 900\r\n\r\n" + bytes(900)),
    message(INVITE, 2),
    message("SIP/2.0 603 Decline", 3),
]
START = 1_800_000_000.0


def read(tmp_path: Path, packets: list[Caught]) -> tuple[list[bytes], Notes]:
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap_of(packets))
    notes = Notes()
    return [each.payload for each in messages(path, notes)], notes


def timed(packets: list[bytes]) -> list[Caught]:
    return [(START + place / 1000, packet) for place, packet in enumerate(packets)]


def fragments(ends: tuple[tuple[str, int], tuple[str, int]], mtu: int = 400) -> list[bytes]:
    source, destination = ends
    packets = []
    for key, payload in enumerate(MESSAGES):
        data = udp(Datagram(START, source, destination, payload))
        packets += [frame(ip) for ip in ip_packets(source[0], destination[0], 17, data, mtu, key)]
    return packets


@QUICK
@given(st.data())
@pytest.mark.parametrize("ends", [(A, B), (SIX_A, SIX_B)])
def test_fragments_are_put_together_in_any_order(
    tmp_path: Path, ends: tuple[tuple[str, int], tuple[str, int]], data: st.DataObject
) -> None:
    packets = fragments(ends, data.draw(st.integers(24, 900)))
    mixed = data.draw(st.permutations(packets))
    found, notes = read(tmp_path, timed([*mixed, *mixed[:2]]))  # some are caught twice
    assert set(found) == set(MESSAGES)
    assert notes.fragments_lost <= 2


def test_a_datagram_without_one_of_its_fragments_is_counted(tmp_path: Path) -> None:
    packets = fragments((A, B))
    del packets[1]
    found, notes = read(tmp_path, timed(packets))
    assert found == MESSAGES[1:]
    assert notes.fragments_lost == 1


def test_a_fragment_of_another_age_does_not_belong(tmp_path: Path) -> None:
    packets = fragments((A, B))[:3]
    late = [(START + 100 * place, packet) for place, packet in enumerate(packets)]
    assert read(tmp_path, late)[0] == []


def segments(cuts: list[int], begin: int = 2**32 - 100, syn: bool = True) -> list[bytes]:
    """The stream of all messages, cut at these places; its numbers run over."""
    stream = b"\r\n\r\n".join(MESSAGES)
    places = [0, *sorted(cut % len(stream) for cut in cuts), len(stream)]
    packets = [tcp(A, B, begin - 1, b"", syn=True)] if syn else []
    for first, last in pairwise(places):
        if first != last:
            packets.append(tcp(A, B, begin + first, stream[first:last]))
    return packets


@QUICK
@given(st.lists(st.integers(0, 5000), max_size=40), st.data())
def test_a_stream_is_read_however_it_is_cut_and_mixed_up(
    tmp_path: Path, cuts: list[int], data: st.DataObject
) -> None:
    opening, *rest = segments(cuts)
    mixed = data.draw(st.permutations([*rest, *rest[:3]]))  # some are sent again
    found, notes = read(tmp_path, timed([opening, *mixed]))
    assert found == MESSAGES
    assert notes.segments_lost == 0


def test_a_stream_that_began_before_the_capture(tmp_path: Path) -> None:
    stream = b"".join(MESSAGES)
    tail = tcp(A, B, 1000 - 14, b"tail of a body")
    packets = [tail, tcp(A, B, 1300, stream[300:]), tcp(A, B, 1000, stream[:300])]
    assert read(tmp_path, timed(packets))[0] == MESSAGES


def test_a_lost_segment_costs_no_more_than_its_message(tmp_path: Path) -> None:
    ends = [0, 700, len(MESSAGES[0]), len(MESSAGES[0]) + len(MESSAGES[1])]
    stream = b"".join(MESSAGES)
    packets = [tcp(A, B, 1, stream[: ends[1]])]  # what is between is lost
    packets += [tcp(A, B, 1 + ends[2], stream[ends[2] : ends[3]]), tcp(A, B, 1 + ends[3], stream[ends[3] :])]
    caught = [(START + 2.0 * place, packet) for place, packet in enumerate(packets)]
    caught.append((START + 10, tcp(A, B, 1 + len(stream), MESSAGES[1])))
    found, notes = read(tmp_path, caught)
    assert found == [MESSAGES[1], MESSAGES[2], MESSAGES[1]]
    assert notes.segments_lost == 1


def small(number: int) -> bytes:
    return b"BYE sip:a SIP/2.0\r\nCall-ID: %d\r\nContent-Length: 0\r\n\r\n" % number


def test_a_gap_is_passed_over_when_many_segments_wait_behind_it_however_small(tmp_path: Path) -> None:
    some = [small(number) for number in range(1000, 1200)]
    packets = [tcp(A, B, 0, b"", syn=True)]
    packets += [tcp(A, B, 700 + len(each) * place, each) for place, each in enumerate(some)]
    found, notes = read(tmp_path, [(START, packet) for packet in packets])
    assert found == some
    assert notes.segments_lost == 1


def test_what_waits_behind_a_gap_is_not_gone_through_for_each_segment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = count()
    distance = streams._distance

    def looked(here: int, there: int) -> int:
        next(looks)
        return distance(here, there)

    monkeypatch.setattr(streams, "_distance", looked)
    stream = streams.Streams(Notes())
    stream.feed(0, START, Segment(6, A, B, b"", 99, True))
    for number in range(2_000, 1, -1):
        assert stream.feed(0, START, Segment(6, A, B, b"x", number + 200)) == []
    assert next(looks) < 4 * 2_000


def test_gap_behind_gap_before_a_large_segment_ends_in_no_recursion() -> None:
    stream = streams.Streams(Notes())
    stream.feed(0, START, Segment(6, A, B, b"", 99, True))
    for number in range(1_500):
        assert stream.feed(0, START, Segment(6, A, B, b"SIP/2.0 200 ", 101 + 13 * number)) == []
    assert stream.feed(0, START, Segment(6, A, B, small(1) + bytes(65_000), 100_000)) == []


def test_streams_of_something_else_are_passed_over(tmp_path: Path) -> None:
    other = [tcp(B, A, 1 + 1000 * place, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 30) for place in range(20)]
    assert read(tmp_path, timed([tcp(B, A, 0, b"", syn=True), *other, *segments([])]))[0] == MESSAGES


def test_messages_out_of_order_are_put_in_order(tmp_path: Path) -> None:
    times = count(1)
    some = [Datagram(START + next(times), A, B, message(INVITE, number)) for number in range(9)]
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(some[::-1]))
    notes = Notes()
    assert [each.at for each in messages(path, notes)] == [each.at for each in some]
    assert notes.unordered == 8
