"""Captures of all forms are read alike; whatever else a file holds ends in one sentence or is passed over."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.captures.exchanges import rejections
from gateway.captures.pcap import CaptureError, Datagram, datagrams
from tests.captures.writer import pcap, pcapng

A, B = ("192.0.2.2", 5060), ("192.0.2.3", 5062)
SIX_A, SIX_B = ("2001:db8::1", 5060), ("2001:db8::2", 5060)
SOME = [Datagram(1_800_000_000.25, A, B, b"one"), Datagram(1_800_000_001.5, SIX_A, SIX_B, b"\r\n\r\n")]
HEAD = "Via: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{n}\r\nFrom: <sip:1@x>;tag=a\r\nCall-ID: {n}\r\n"


def message(start: str, number: int = 1, method: str = "INVITE", tag: str = "") -> bytes:
    to = f"To: <sip:2@x>{tag}\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    return (f"{start}\r\n{HEAD.format(n=number)}{to}").encode()


INVITE = "INVITE sip:2@x SIP/2.0"


def read(tmp_path: Path, data: bytes) -> list[Datagram]:
    path = tmp_path / "a.pcap"
    path.write_bytes(data)
    return list(datagrams(path))


@pytest.mark.parametrize("link", [1, 113, 276, 101, 228, 0])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_form_of_capture_gives_the_same(tmp_path: Path, link: int, order: str) -> None:
    assert read(tmp_path, pcap(SOME, link, order)) == SOME
    assert read(tmp_path, pcapng(SOME, link, order)) == SOME


def test_vlan_tags_are_looked_past(tmp_path: Path) -> None:
    assert read(tmp_path, pcap(SOME, vlans=[0x8100])) == SOME
    assert read(tmp_path, pcap(SOME, vlans=[0x88A8, 0x8100])) == SOME


@pytest.mark.parametrize("form", [pcap, pcapng])
def test_a_file_that_is_cut_off_ends_where_it_ends(tmp_path: Path, form: object) -> None:
    whole = form(SOME)  # type: ignore[operator]
    counts = [len(read(tmp_path, whole[:size])) for size in range(24, len(whole) + 1)]
    assert counts == sorted(counts)
    assert set(counts) == {0, 1, 2}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files_raise_nothing_but_a_sentence(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.sampled_from([pcap(SOME), pcapng(SOME), pcapng(SOME, order=">")])))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        list(rejections(read(tmp_path, bytes(whole))))
    except CaptureError as error:
        assert "\n" not in str(error)


def test_what_is_no_capture_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="this is no capture; give a pcap or pcapng file"):
        read(tmp_path, b"hello world")
    with pytest.raises(CaptureError, match="cannot be read: no such file"):
        list(datagrams(tmp_path / "missing"))


def test_rejections_are_found_once_each_with_when_they_rang() -> None:
    packets = [
        Datagram(10.0, A, B, message(INVITE)),
        Datagram(10.5, A, B, message(INVITE)),  # again
        Datagram(10.6, B, A, message("SIP/2.0 100 Trying")),
        Datagram(11.0, B, A, message("SIP/2.0 180 Ringing", tag=";tag=b")),
        Datagram(12.0, B, A, b"\x00noise"),
        Datagram(13.0, B, A, message("SIP/2.0 603 Decline", tag=";tag=b")),
        Datagram(13.5, B, A, message("SIP/2.0 603 Decline", tag=";tag=b")),  # again
        Datagram(13.6, A, B, message("ACK sip:2@x SIP/2.0", method="ACK", tag=";tag=b")),
        Datagram(14.0, A, B, message(INVITE, 2)),
        Datagram(15.0, B, A, message("SIP/2.0 200 OK", 2, tag=";tag=b")),
        Datagram(16.0, A, B, message("BYE sip:2@x SIP/2.0", 2, "BYE", ";tag=b")),
        Datagram(17.0, B, A, message("SIP/2.0 481 Gone", 2, "BYE", ";tag=b")),  # inside a dialog
    ]
    (found,) = rejections(packets)
    assert found.response is not None
    assert found.response.status == 603
    assert (found.asker, found.asked, found.begun, found.rang, found.ended) == (A, B, 10.0, 11.0, 13.0)
