"""A ladder of a call's messages: who stands where, what is folded, what is marked, and how it is drawn."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from gateway.ladder import Ladder, Participant, build
from gateway.ladder.page import page
from gateway.ladder.svg import svg
from gateway.ladder.text import render
from gateway.wire import Address, WireMessage, without_secrets

PBX, GATEWAY, CARRIER = ("127.0.0.1", 5070), ("127.0.0.1", 5060), ("127.0.0.1", 5080)
NAMES = {PBX: ("pbx", "caller"), GATEWAY: ("gw1", "gateway"), CARRIER: ("carrier", "callee")}


def message(
    at: float, source: Address, target: Address, start: str, *, leg: str = "a", more: str = ""
) -> WireMessage:
    method = start.partition(" ")[0] if not start.startswith("SIP/2.0") else "INVITE"
    text = (
        f"{start}\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK{leg}\r\n"
        f"To: <sip:2@x>\r\nFrom: <sip:1@x>;tag=1\r\n"
        f"Call-ID: {leg}\r\nCSeq: 1 {method}\r\n{more}\r\n"
    )
    return WireMessage(at, "udp", source, target, text.encode())


def who(address: Address, _call_id: str) -> Participant:
    name, role = NAMES[address]
    return Participant(name, f"{address[0]}:{address[1]}", role)  # type: ignore[arg-type]


INVITE = "INVITE sip:+12025550123@x SIP/2.0"
CALL = [
    message(10.0, PBX, GATEWAY, INVITE, more="Content-Type: application/sdp\r\n"),
    message(10.001, GATEWAY, CARRIER, INVITE, leg="b"),
    message(10.501, GATEWAY, CARRIER, INVITE, leg="b"),
    message(10.9, CARRIER, GATEWAY, "SIP/2.0 603 Decline", leg="b", more="Reason: Q.850;cause=1\r\n"),
    message(10.9005, GATEWAY, PBX, "SIP/2.0 404 Not Found"),
]


def rewritten() -> Ladder:
    ladder = build(reversed(CALL), who)
    ladder.arrows[-1].mark = "rule dead-number: 603 Decline → 404 Not Found"
    return ladder


@pytest.mark.parametrize("at", [1e12, 1e30, -1e12])
def test_a_time_that_no_calendar_has_is_shown_in_seconds(at: float) -> None:
    ladder = build([message(at, PBX, GATEWAY, INVITE)], who)
    assert f"UDP {at:.6f}</span>" in page("call", [], ladder)


def test_both_legs_stand_side_by_side_in_the_order_of_time() -> None:
    ladder = build([CALL[3], *CALL[:3], CALL[4]], who)
    assert [participant.name for participant in ladder.participants] == ["pbx", "gw1", "carrier"]
    assert [(arrow.source, arrow.target, arrow.label) for arrow in ladder.arrows] == [
        (0, 1, "INVITE +12025550123"),
        (1, 2, "INVITE +12025550123"),
        (2, 1, "603 Decline"),
        (1, 0, "404 Not Found"),
    ]
    assert [arrow.kind for arrow in ladder.arrows] == ["request", "request", "global", "rejection"]
    assert [arrow.detail for arrow in ladder.arrows] == ["SDP", "", "Q.850 1", ""]


def test_a_message_that_was_sent_again_is_one_arrow_with_a_count() -> None:
    again = build(CALL, who).arrows[1]
    assert (again.times, again.at, again.last_at) == (2, 10.001, 10.501)


def test_the_same_answer_to_another_request_is_an_arrow_of_its_own() -> None:
    challenged = message(11.0, GATEWAY, PBX, "SIP/2.0 404 Not Found")
    second = challenged._replace(payload=challenged.payload.replace(b"CSeq: 1", b"CSeq: 2"))
    assert [arrow.times for arrow in build([challenged, second], who).arrows] == [1, 1]


def test_what_is_left_out_is_said_in_every_form() -> None:
    ladder = build(CALL, who)
    assert ladder.note == ""
    ladder.left_out = 1_995
    note = "the first 5 of 2,000 messages; a capture (pcap) has them all"
    assert str(render(ladder, 100)).splitlines()[-1] == note
    assert note in svg(ladder) and page("call", [], ladder).count(note) == 2


def test_without_names_participants_are_addresses_as_they_appeared() -> None:
    assert [each.name for each in build(CALL).participants] == [
        "127.0.0.1:5070", "127.0.0.1:5060", "127.0.0.1:5080",
    ]  # fmt: skip


def test_what_cannot_be_read_is_shown_and_keep_alives_are_not() -> None:
    ladder = build([CALL[0]._replace(payload=b"\r\n\r\n"), CALL[0]._replace(payload=b"\x00\x1b[2J")])
    assert [(arrow.kind, arrow.label) for arrow in ladder.arrows] == [("unreadable", "unreadable, 5 bytes")]
    assert "\x1b" not in ladder.arrows[0].text


def test_in_the_terminal_each_message_is_a_row_with_its_times() -> None:
    assert str(render(rewritten(), 100)).splitlines() == [
        "                               pbx                         gw1                       carrier",
        "                         127.0.0.1:5070              127.0.0.1:5060              127.0.0.1:5080",
        "    0.000 s                     │─── INVITE +12025550123 ──▶│                           │",
        "    0.001 s  +1.0 ms            │                           │── INVITE +12025550123 ×2 ▶│",
        "    0.900 s  +0.90 s            │                           │◀─ 603 Decline · Q.850 1 ──│",
        "                                │                   ◆ rule dead-number: 603 Decline → 404 Not Found",
        "    0.900 s  +0.5 ms            │◀───── 404 Not Found ──────│                           │",
    ]


@pytest.mark.parametrize("width", [20, 80, 300])
def test_a_terminal_of_any_width_gets_a_ladder(width: int) -> None:
    rows = str(render(rewritten(), width, plain=True)).splitlines()
    assert len(rows) == 2 + 4 + 1
    assert all(row.isascii() for row in rows)
    assert "x2" in rows[3]  # how often it was sent is never cut off
    assert "* rule dead-number: 603 Decline > 404 Not Found" in rows[5]


def test_no_messages_are_no_ladder() -> None:
    assert str(render(build([]))) == "no messages"
    ET.fromstring(svg(build([])))


def test_the_picture_is_xml_that_holds_every_message_and_nothing_of_it_is_markup() -> None:
    evil = message(12.0, PBX, GATEWAY, "SIP/2.0 499 <script>alert(1)</script>", more="X: </title><b>\r\n")
    ladder = build([*CALL, evil], who)
    drawn = ET.fromstring(svg(ladder))
    titles = [title.text or "" for title in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert any("X: </title><b>" in title for title in titles)
    assert any("sent 2 times in 0.500 s" in title for title in titles)
    shown = page("call <1>", [("caller", "<i>1</i>"), ("label", "")], ladder)
    assert "<script" not in shown and "<b>\r" not in shown and "<i>" not in shown
    assert "<dt>label" not in shown
    assert 'href="#message-0"' in shown and 'id="message-0"' in shown


def test_credentials_are_never_in_a_ladder() -> None:
    secret = 'Proxy-Authorization: Digest response="5ccc069c403ebaf9f0171e9517f40e41"\r\n'
    ladder = build([message(1.0, PBX, GATEWAY, INVITE, more=secret)], who)
    assert "5ccc069c" not in svg(ladder) and "Proxy-Authorization: xxxxxx" in ladder.arrows[0].text


@pytest.mark.parametrize(
    "line",
    [
        b"Authorization: Digest a=1\r\n b=2",
        b"PROXY-AUTHORIZATION :Digest secret",
        b'authentication-info: nextnonce="1"',
    ],
)
def test_blanked_credentials_have_the_length_they_had(line: bytes) -> None:
    payload = b"INVITE sip:a@b SIP/2.0\r\n" + line + b"\r\nTo: <sip:a@b>\r\n\r\nAuthorization: of the body"
    blanked = without_secrets(payload)
    assert len(blanked) == len(payload)
    assert b"Digest" not in blanked and b"nonce" not in blanked and b"b=2" not in blanked
    assert blanked.endswith(b"To: <sip:a@b>\r\n\r\nAuthorization: of the body")
