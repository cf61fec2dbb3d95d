"""Listening points and flows: what peers are told of us, and which of our sockets reaches whom."""

from __future__ import annotations

import pytest

from gateway.sip.flow import Flows, Local, is_address

UDP4 = Local("udp", "192.0.2.1", 5060)
UDP4_TOO = Local("udp", "192.0.2.9", 5061)
UDP6 = Local("udp", "2001:db8::1", 5060)
TCP4 = Local("tcp", "192.0.2.1", 5060)


@pytest.mark.parametrize(
    ("local", "via", "contact"),
    [
        (UDP4, b"SIP/2.0/UDP 192.0.2.1:5060", b"<sip:192.0.2.1:5060>"),
        (UDP6, b"SIP/2.0/UDP [2001:db8::1]:5060", b"<sip:[2001:db8::1]:5060>"),
        (TCP4, b"SIP/2.0/TCP 192.0.2.1:5060", b"<sip:192.0.2.1:5060;transport=tcp>"),
        (
            Local("udp", "10.0.0.1", 5060, "gw.example.com"),
            b"SIP/2.0/UDP gw.example.com:5060",
            b"<sip:gw.example.com:5060>",
        ),
        (
            Local("udp", "10.0.0.1", 5060, "203.0.113.1:5070"),
            b"SIP/2.0/UDP 203.0.113.1:5070",
            b"<sip:203.0.113.1:5070>",
        ),
        (
            Local("udp", "10.0.0.1", 5062, "[2001:db8::7]"),
            b"SIP/2.0/UDP [2001:db8::7]:5062",
            b"<sip:[2001:db8::7]:5062>",
        ),
        (
            Local("udp", "10.0.0.1", 5062, "[2001:db8::7]:5070"),
            b"SIP/2.0/UDP [2001:db8::7]:5070",
            b"<sip:[2001:db8::7]:5070>",
        ),
    ],
)
def test_via_and_contact_show_what_is_advertised_or_bound(local: Local, via: bytes, contact: bytes) -> None:
    assert (local.via, local.contact) == (via, contact)


def test_udp_alone_is_unreliable() -> None:
    assert [Local(name, "192.0.2.1", 5060).reliable for name in ("udp", "tcp", "tls")] == [False, True, True]


def test_one_peer_on_one_socket_is_one_flow() -> None:
    flows = Flows([UDP4, UDP4_TOO])
    flow = flows.get(UDP4, ("192.0.2.2", 5060))
    assert flows.get(UDP4, ("192.0.2.2", 5060)) is flow
    assert flows.get(UDP4, ("192.0.2.2", 5061)) is not flow
    assert flows.get(UDP4_TOO, ("192.0.2.2", 5060)) is not flow


def test_an_ipv6_peer_stands_in_brackets_in_a_via() -> None:
    flows = Flows([UDP4, UDP6])
    assert flows.get(UDP6, ("2001:db8::2", 5060)).host == b"[2001:db8::2]"
    assert flows.get(UDP4, ("192.0.2.2", 5060)).host == b"192.0.2.2"


@pytest.mark.parametrize(
    ("host", "transport", "local"),
    [
        ("192.0.2.2", "udp", UDP4),  # the first that can
        ("192.0.2.2", "tcp", TCP4),
        ("2001:db8::2", "udp", UDP6),
        ("2001:db8::2", "tcp", None),
        ("192.0.2.2", "tls", None),
        ("phone.example.com", "udp", None),
        ("", "udp", None),
    ],
)
def test_towards_picks_the_listening_point_that_reaches_a_peer(
    host: str, transport: str, local: Local | None
) -> None:
    flows = Flows([UDP4, UDP4_TOO, UDP6, TCP4])
    for _ in range(2):  # remembered answers are the same answers, None among them
        flow = flows.towards(host, 5060, transport)
        assert (None if flow is None else flow.local) is local


def test_towards_and_get_agree() -> None:
    flows = Flows([UDP4])
    assert flows.towards("192.0.2.2", 5060) is flows.get(UDP4, ("192.0.2.2", 5060))


def test_peers_from_ever_new_ports_do_not_grow_the_tables() -> None:
    flows = Flows([UDP4], limit=100)
    for port in range(1000, 2000):
        assert flows.get(UDP4, ("192.0.2.2", port)).peer[1] == port
        assert flows.towards("192.0.2.3", port) is not None
        assert flows.towards(f"name{port}", port) is None
    assert len(flows._known) <= 100
    assert len(flows._towards) <= 100


@pytest.mark.parametrize(
    ("host", "is_one"),
    [
        ("192.0.2.1", True),
        ("2001:db8::1", True),
        ("::ffff:192.0.2.1", True),
        ("h", False),
        ("192.0.2", False),
    ],
)
def test_is_address(host: str, is_one: bool) -> None:
    assert is_address(host) is is_one
