"""Listening points and flows: what peers are told of us, and which of our sockets reaches whom."""

from __future__ import annotations

import pytest

from gateway.sip.flow import WAYS, Flows, Local, is_address

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


INSIDE = Local("udp", "10.1.0.2", 5060)
OUTSIDE = Local("udp", "203.0.113.2", 5060)
OUTSIDE_TOO = Local("udp", "203.0.113.2", 5070)
OUTSIDE_TCP = Local("tcp", "203.0.113.2", 5060)
ROUTES = {"10.1.0.10": "10.1.0.1", "203.0.113.9": "203.0.113.2", "198.51.100.7": "203.0.113.1"}
BETWEEN = [INSIDE, Local("tcp", "10.1.0.2", 5060), OUTSIDE, OUTSIDE_TOO, OUTSIDE_TCP]


def between_two_networks() -> Flows:
    return Flows(BETWEEN, source_of=lambda host: ROUTES.get(host, ""))


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("203.0.113.9", OUTSIDE),
        ("198.51.100.7", OUTSIDE),  # where the route starts from the interface's other address
        ("10.1.0.10", INSIDE),
        ("192.0.2.2", INSIDE),  # no route to there: it may come
    ],
)
def test_a_peer_is_reached_from_the_listening_point_on_the_way_to_it(host: str, local: Local) -> None:
    flow = between_two_networks().towards(host, 5060)
    assert flow is not None
    assert flow.local is local


def test_a_dialog_keeps_to_its_listening_point_where_another_would_do_as_well() -> None:
    flows = between_two_networks()
    for near, expected in ((OUTSIDE_TOO, OUTSIDE_TOO), (OUTSIDE, OUTSIDE), (INSIDE, OUTSIDE)):
        flow = flows.named("203.0.113.9", 5080, "udp", flows.get(near, ("203.0.113.9", 5060)))
        assert flow is not None
        assert flow.local is expected


def test_a_large_request_leaves_from_where_a_small_one_does() -> None:
    flows = between_two_networks()
    flow = flows.for_large(flows.get(OUTSIDE, ("203.0.113.9", 5060)), 0.0)
    assert flow is not None
    assert flow.local is OUTSIDE_TCP


def test_the_way_to_an_address_of_this_machine_starts_where_it_ends() -> None:
    flows = Flows([UDP4], source_of={"192.0.2.9": "192.0.2.9", "192.0.2.2": "192.0.2.1"}.__getitem__)
    assert [flows.is_own(host) for host in ("192.0.2.9", "192.0.2.2", "gw.example")] == [True, False, False]
    assert not Flows([UDP4]).is_own("192.0.2.1")  # nobody to ask


def test_routes_that_change_are_followed() -> None:
    routes = {"198.51.100.7": "10.1.0.1"}
    tls = [Local("tls", "10.1.0.2", 5061), Local("tls", "203.0.113.2", 5061)]
    flows = Flows(tls, source_of=lambda host: routes[host])
    flows.look_again(100.0)
    before = flows.towards("198.51.100.7", 5061, "tls", "carrier")
    assert before is not None
    assert before.local is tls[0]
    routes["198.51.100.7"] = "203.0.113.2"
    flows.look_again(100.0 + WAYS - 0.1)
    assert flows.towards("198.51.100.7", 5061, "tls", "carrier") is before
    flows.look_again(100.0 + WAYS)
    after = flows.towards("198.51.100.7", 5061, "tls", "carrier")
    assert after is not None
    assert after.local is tls[1]
    routes["198.51.100.7"] = "10.1.0.1"
    flows.look_again(100.0 + 2 * WAYS)
    assert flows.towards("198.51.100.7", 5061, "tls", "carrier") is before


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
