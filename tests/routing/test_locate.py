"""Finding the peer, branch by branch of RFC 3263."""

from __future__ import annotations

import pytest

from gateway.routing.locate import Reach, target_of_uri
from gateway.routing.records import Answer, Naptr, Srv
from gateway.sip.uri import parse_uri
from tests.routing.zone import EVERYWHERE, UDP4, Zone, over, target, udp

FAILED = Answer(5.0, failed=True)
HOST = "sip.example.com"


def naptr(order: int, preference: int, service: str, replacement: str, flags: str = "s") -> Naptr:
    return Naptr(order, preference, flags, service, "", replacement)


# --- what is asked ---------------------------------------------------------------------------------------


def test_a_port_that_is_given_leaves_only_the_address_to_ask_for_3263_4_2() -> None:
    zone = Zone({(HOST, "A"): ["192.0.2.1"], (HOST, "AAAA"): ["2001:db8::1"]})
    assert zone.addresses(f"sip:{HOST}:5070") == udp("[2001:db8::1]:5070", "192.0.2.1:5070")
    assert zone.asked == [[f"{HOST} AAAA", f"{HOST} A"]]


def test_a_transport_that_is_given_asks_for_its_service_only_3263_4_1() -> None:
    zone = Zone(
        {
            ("_sip._tcp." + HOST, "SRV"): [Srv(1, 1, 5064, "a.example.com")],
            ("a.example.com", "A"): ["192.0.2.1"],
        }
    )
    assert zone.addresses(f"sip:{HOST};transport=tcp") == over("tcp", "192.0.2.1:5064")
    assert zone.asked == [["_sip._tcp.sip.example.com SRV"], ["a.example.com AAAA", "a.example.com A"]]


def test_the_transport_of_the_trunk_counts_as_given_3263_4_1() -> None:
    zone = Zone({(HOST, "A"): ["192.0.2.1"]})
    assert zone.addresses(f"sip:{HOST}", transport="tls") == over("tls", "192.0.2.1:5061")
    assert zone.asked[0] == ["_sips._tcp.sip.example.com SRV"]


def test_without_port_and_transport_naptr_chooses_both_3263_4_1() -> None:
    """The example of section 4.1: the server prefers TLS, then TCP, then UDP."""
    zone = Zone(
        {
            ("example.com", "NAPTR"): [
                naptr(90, 50, "SIP+D2T", "_sip._tcp.example.com"),
                naptr(50, 50, "SIPS+D2T", "_sips._tcp.example.com"),
                naptr(100, 50, "SIP+D2U", "_sip._udp.example.com"),
            ],
            ("_sip._tcp.example.com", "SRV"): [
                Srv(0, 1, 5060, "server1.example.com"),
                Srv(0, 2, 5060, "server2.example.com"),
            ],
            ("server1.example.com", "A"): ["192.0.2.1"],
            ("server2.example.com", "A"): ["192.0.2.2"],
        }
    )
    reach = Reach.of([("udp", "192.0.2.5"), ("tcp", "192.0.2.5")])
    assert zone.addresses("sip:example.com", reach) == over("tcp", "192.0.2.1:5060", "192.0.2.2:5060")
    assert zone.asked == [
        ["example.com NAPTR"],
        ["_sip._tcp.example.com SRV"],
        ["server1.example.com A", "server2.example.com A"],
    ]


def test_naptr_of_one_order_are_tried_by_preference_3403_4_1() -> None:
    zone = Zone(
        {
            (HOST, "NAPTR"): [
                naptr(10, 20, "SIP+D2U", "u.example.com"),
                naptr(10, 10, "sip+d2t", "T.example.com", flags="S"),
                naptr(20, 1, "SIPS+D2T", "s.example.com"),
            ],
            ("u.example.com", "SRV"): [Srv(1, 1, 5060, "a.example.com")],
            ("t.example.com", "SRV"): [Srv(1, 1, 5060, "a.example.com")],
            ("a.example.com", "A"): ["192.0.2.1"],
        }
    )
    expected = over("tcp", "192.0.2.1:5060") + over("udp", "192.0.2.1:5060")
    assert zone.addresses(f"sip:{HOST}") == expected
    assert zone.asked[1] == ["t.example.com SRV", "u.example.com SRV"]


def test_without_naptr_the_services_of_our_transports_are_asked_for_3263_4_1() -> None:
    zone = Zone(
        {
            ("_sip._tcp." + HOST, "SRV"): [Srv(1, 1, 5061, "a.example.com")],
            ("_sip._udp." + HOST, "SRV"): [Srv(1, 1, 5062, "a.example.com")],
            ("a.example.com", "A"): ["192.0.2.1"],
        }
    )
    expected = udp("192.0.2.1:5062") + over("tcp", "192.0.2.1:5061")
    assert zone.addresses(f"sip:{HOST}") == expected
    assert zone.asked[:2] == [
        [f"{HOST} NAPTR"],
        [f"_sip._udp.{HOST} SRV", f"_sip._tcp.{HOST} SRV", f"_sips._tcp.{HOST} SRV"],
    ]


def test_without_naptr_and_srv_the_address_of_the_name_counts_3263_4_2() -> None:
    zone = Zone({(HOST, "A"): ["192.0.2.1", "192.0.2.2"]})
    assert zone.addresses(f"sip:{HOST}", UDP4) == udp("192.0.2.1:5060", "192.0.2.2:5060")
    assert zone.asked == [[f"{HOST} NAPTR"], [f"_sip._udp.{HOST} SRV"], [f"{HOST} A"]]


@pytest.mark.parametrize("uri", [f"sips:{HOST}", f"sips:{HOST};transport=tcp"])
def test_sips_goes_over_tls_only_3263_4_1(uri: str) -> None:
    zone = Zone(
        {
            (HOST, "NAPTR"): [
                naptr(1, 1, "SIP+D2T", "_sip._tcp." + HOST),
                naptr(2, 1, "SIPS+D2T", "_sips._tcp." + HOST),
            ],
            ("_sip._tcp." + HOST, "SRV"): [Srv(1, 1, 5060, "plain.example.com")],
            ("_sips._tcp." + HOST, "SRV"): [Srv(1, 1, 5071, "safe.example.com")],
            ("plain.example.com", "A"): ["192.0.2.1"],
            ("safe.example.com", "A"): ["192.0.2.2"],
        }
    )
    assert zone.addresses(uri) == over("tls", "192.0.2.2:5071")


def test_sips_without_records_goes_to_port_5061_3263_4_2() -> None:
    zone = Zone({(HOST, "A"): ["192.0.2.1"]})
    assert zone.addresses(f"sips:{HOST}") == over("tls", "192.0.2.1:5061")
    assert zone.asked[1] == [f"_sips._tcp.{HOST} SRV"]


def test_a_sip_uri_may_be_sent_over_tls_when_naptr_prefers_it_3263_4_1() -> None:
    zone = Zone(
        {
            (HOST, "NAPTR"): [naptr(1, 1, "SIPS+D2T", "s.example.com")],
            ("s.example.com", "SRV"): [Srv(1, 1, 5061, "a.example.com")],
            ("a.example.com", "A"): ["192.0.2.1"],
        }
    )
    assert zone.addresses(f"sip:{HOST}") == over("tls", "192.0.2.1:5061")


def test_naptr_without_srv_still_chooses_the_transport_3263_4_2() -> None:
    zone = Zone({(HOST, "NAPTR"): [naptr(1, 1, "SIPS+D2T", "s.example.com")], (HOST, "A"): ["192.0.2.1"]})
    assert zone.addresses(f"sip:{HOST}") == over("tls", "192.0.2.1:5061")


def test_naptr_for_other_applications_count_as_none() -> None:
    zone = Zone(
        {
            (HOST, "NAPTR"): [
                naptr(1, 1, "E2U+sip", "enum.example.com"),
                naptr(1, 1, "SIP+D2U", "a.example.com", flags="a"),
                Naptr(1, 1, "s", "SIP+D2U", "!^.*$!sip:x@y!", "."),
            ],
            (HOST, "A"): ["192.0.2.1"],
        }
    )
    assert zone.addresses(f"sip:{HOST}", UDP4) == udp("192.0.2.1:5060")


def test_naptr_that_offers_only_what_we_have_not_leads_nowhere() -> None:
    zone = Zone({(HOST, "NAPTR"): [naptr(1, 1, "SIPS+D2T", "s.example.com")], (HOST, "A"): ["192.0.2.1"]})
    found = zone.find(f"sip:{HOST}", UDP4)
    assert (found.services, found.is_broken) == ((), False)
    assert zone.asked == [[f"{HOST} NAPTR"]]


def test_a_transport_without_a_listening_point_is_not_asked_about() -> None:
    zone = Zone({(HOST, "A"): ["192.0.2.1"]})
    assert zone.addresses(f"sip:{HOST};transport=tcp", UDP4) == []
    assert zone.addresses(f"sip:{HOST}:5061;transport=tls", UDP4) == []
    assert zone.asked == []


# --- servers ---------------------------------------------------------------------------------------------


def test_servers_are_tried_by_priority_and_each_with_all_its_addresses_3263_4_3() -> None:
    zone = Zone(
        {
            ("_sip._udp." + HOST, "SRV"): [
                Srv(20, 0, 5060, "late.example.com"),
                Srv(10, 0, 5062, "early.example.com"),
            ],
            ("late.example.com", "A"): ["192.0.2.9"],
            ("early.example.com", "A"): ["192.0.2.1", "192.0.2.2"],
        }
    )
    expected = udp("192.0.2.1:5062", "192.0.2.2:5062", "192.0.2.9:5060")
    assert zone.addresses(f"sip:{HOST};transport=udp") == expected


def test_two_ports_of_one_host_are_two_servers_and_one_question() -> None:
    zone = Zone(
        {
            ("_sip._udp." + HOST, "SRV"): [
                Srv(1, 1, 5060, "A.example.com"),
                Srv(1, 1, 5062, "a.example.com"),
            ],
            ("a.example.com", "A"): ["192.0.2.1"],
        }
    )
    found = zone.addresses(f"sip:{HOST};transport=udp", UDP4)
    assert sorted(found) == udp("192.0.2.1:5060", "192.0.2.1:5062")
    assert zone.asked[1] == ["a.example.com A"]


def test_a_service_that_is_declared_absent_is_not_looked_for_elsewhere_2782() -> None:
    zone = Zone({("_sip._udp." + HOST, "SRV"): [Srv(0, 0, 0, ".")], (HOST, "A"): ["192.0.2.1"]})
    found = zone.find(f"sip:{HOST};transport=udp")
    assert (found.services, found.is_broken, found.ttl) == ((), False, 300)
    assert zone.asked == [[f"_sip._udp.{HOST} SRV"]]


def test_both_families_are_tried_by_turns_ipv6_first_8305_4() -> None:
    zone = Zone({(HOST, "A"): ["192.0.2.1", "192.0.2.2"], (HOST, "AAAA"): ["2001:db8::1"]})
    expected = udp("[2001:db8::1]:5060", "192.0.2.1:5060", "192.0.2.2:5060")
    assert zone.addresses(f"sip:{HOST}:5060") == expected


def test_only_families_with_a_listening_point_are_asked_for() -> None:
    zone = Zone({(HOST, "A"): ["192.0.2.1"], (HOST, "AAAA"): ["2001:db8::1"]})
    assert zone.addresses(f"sip:{HOST}:5060", Reach.of([("udp", "2001:db8::5")])) == udp("[2001:db8::1]:5060")
    assert zone.asked == [[f"{HOST} AAAA"]]


def test_an_alias_that_the_reply_does_not_resolve_is_followed_1034_3_6_2() -> None:
    zone = Zone(
        {
            (HOST, "A"): [Answer(30.0, alias="Real.example.com.")],
            ("real.example.com", "A"): ["192.0.2.1"],
        }
    )
    found = zone.find(f"sip:{HOST}:5060", UDP4)
    assert [place.addresses for place in found.services[0]] == [tuple(udp("192.0.2.1:5060"))]
    assert zone.asked == [[f"{HOST} A"], ["real.example.com A"]]
    assert found.ttl == 30.0


# --- how long it counts, and what failed -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "counts"),
    [(300, 300), (0, 1), (0.5, 1), (86_400, 3600), (2**31 - 1, 3600), (2**31, 1), (2**32 - 1, 1)],
)
def test_an_answer_counts_for_its_time_to_live_within_bounds_2181_8(told: float, counts: float) -> None:
    assert Zone({(HOST, "A"): ["192.0.2.1"]}, ttl=told).find(f"sip:{HOST}:5060", UDP4).ttl == counts


@pytest.mark.parametrize(("told", "counts"), [(60, 60), (0, 5), (86_400, 300)])
def test_that_there_is_nothing_counts_for_its_time_to_live_within_bounds_2308_5(
    told: float, counts: float
) -> None:
    zone = Zone()
    zone.negative_ttl = told
    found = zone.find(f"sip:{HOST}")
    assert (found.services, found.ttl, found.is_broken) == ((), counts, False)


def test_the_shortest_time_to_live_of_all_answers_counts() -> None:
    zone = Zone({("_sip._udp." + HOST, "SRV"): [Srv(1, 1, 5060, "a.example.com")]}, ttl=200)
    zone.records["a.example.com", "A"] = [Answer(20.0, addresses=("192.0.2.1",))]
    assert zone.find(f"sip:{HOST};transport=udp", UDP4).ttl == 20.0


def test_when_nobody_answers_nothing_is_known() -> None:
    zone = Zone({(HOST, "A"): [FAILED], (HOST, "AAAA"): [FAILED]})
    found = zone.find(f"sip:{HOST}:5060")
    assert (found.services, found.is_broken, found.ttl) == ((), True, 5.0)


def test_one_family_that_fails_leaves_the_other_for_a_short_time() -> None:
    zone = Zone({(HOST, "A"): ["192.0.2.1"], (HOST, "AAAA"): [FAILED]})
    found = zone.find(f"sip:{HOST}:5060")
    assert (found.services[0][0].addresses, found.ttl) == (tuple(udp("192.0.2.1:5060")), 5.0)


def test_when_services_cannot_be_asked_for_the_name_itself_is_not_called() -> None:
    zone = Zone({("_sip._udp." + HOST, "SRV"): [FAILED], (HOST, "A"): ["192.0.2.1"]})
    found = zone.find(f"sip:{HOST};transport=udp")
    assert (found.services, found.is_broken) == ((), True)


def test_one_service_that_fails_leaves_the_others() -> None:
    zone = Zone(
        {
            ("_sip._udp." + HOST, "SRV"): [FAILED],
            ("_sip._tcp." + HOST, "SRV"): [Srv(1, 1, 5060, "a.example.com")],
            ("a.example.com", "A"): ["192.0.2.1"],
        }
    )
    assert zone.addresses(f"sip:{HOST}") == over("tcp", "192.0.2.1:5060")


def test_a_server_that_does_not_know_naptr_counts_as_one_that_has_none() -> None:
    zone = Zone({(HOST, "NAPTR"): [FAILED], (HOST, "A"): ["192.0.2.1"]})
    found = zone.find(f"sip:{HOST}", UDP4)
    assert [place.addresses for place in found.services[0]] == [tuple(udp("192.0.2.1:5060"))]
    empty = Zone({(HOST, "NAPTR"): [FAILED]}).find(f"sip:{HOST}", UDP4)
    assert (empty.services, empty.is_broken) == ((), False)


# --- targets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "trunk_transport", "expected"),
    [
        ("sip:h.example", None, ("h.example", 5060, "udp", True, True)),
        ("sip:h.example", "tcp", ("h.example", 5060, "tcp", True, False)),
        ("sip:h.example;transport=TCP", None, ("h.example", 5060, "tcp", True, False)),
        ("sip:h.example:5070", None, ("h.example", 5070, "udp", False, False)),
        ("sip:192.0.2.1", None, ("192.0.2.1", 5060, "udp", False, False)),
        ("sips:h.example", None, ("h.example", 5061, "tls", True, True)),
        ("sips:h.example;transport=tcp", None, ("h.example", 5061, "tls", True, False)),
    ],
)
def test_what_a_configured_target_leaves_open_3263_4_1(
    uri: str, trunk_transport: str | None, expected: tuple[object, ...]
) -> None:
    made = target(uri, trunk_transport)
    assert (made.host, made.port, made.transport, made.srv, made.naptr) == expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (b"sip:bob@h.example", ("h.example", 5060, "udp", True, True)),
        (b"sip:bob@h.example;transport=TCP", ("h.example", 5060, "tcp", True, False)),
        (b"sip:bob@h.example:5070;lr", ("h.example", 5070, "udp", False, False)),
        (b"sip:bob@[2001:db8::1]", ("2001:db8::1", 5060, "udp", False, False)),
        (b"sip:bob@h.example;maddr=192.0.2.7", ("192.0.2.7", 5060, "udp", False, False)),
        (b"sips:bob@h.example", ("h.example", 5061, "tls", True, True)),
        (b"sips:bob@h.example;transport=tcp", ("h.example", 5061, "tls", True, False)),
        (b"sips:bob@h.example;transport=udp", ("h.example", 5060, "", True, False)),
        (b"sip:bob@h.example;transport=ws", ("h.example", 5060, "ws", True, False)),
    ],
)
def test_the_target_of_a_contact_or_route_3263_4(uri: bytes, expected: tuple[object, ...]) -> None:
    made = target_of_uri(parse_uri(uri))
    assert (made.host, made.port, made.transport, made.srv, made.naptr) == expected
    assert made.uri == uri


@pytest.mark.parametrize(
    "uri", [b"sip:h.example;transport=ws", b"sips:h.example;transport=udp", b"sip:h;maddr=a%00"]
)
def test_a_uri_that_cannot_be_served_leads_nowhere_without_a_question(uri: bytes) -> None:
    zone = Zone({("h.example", "A"): ["192.0.2.1"]})
    assert zone.find_target(target_of_uri(parse_uri(uri)), EVERYWHERE).services == ()
    assert zone.asked == []
