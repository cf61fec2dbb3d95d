"""Finding the peer among servers that lie: every search ends, within bounds, with possible addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.addresses import parse_ip
from gateway.routing.locate import (
    MAX_ADDRESSES,
    MAX_ALIASES,
    MAX_OF_ONE_NAME,
    MAX_QUESTIONS,
    MAX_SRV,
    Found,
    Place,
    Reach,
    order,
    search,
)
from gateway.routing.records import Answer, Naptr, Question, Srv
from tests.routing.zone import EVERYWHERE, LOOPBACK, UDP4, Zone, target, udp

HOST = "sip.example.com"
SRV = f"_sip._udp.{HOST}"


# --- loops -----------------------------------------------------------------------------------------------


def test_an_alias_of_itself_leads_nowhere() -> None:
    zone = Zone({(HOST, "A"): [Answer(300, alias=HOST)]})
    found = zone.find(f"sip:{HOST}:5060", UDP4)
    assert (found.services, found.is_broken) == ((), False)
    assert len(zone.asked) == MAX_ALIASES + 1


def test_a_chain_of_aliases_is_followed_so_far_and_no_further() -> None:
    def chain(length: int) -> Zone:
        zone = Zone({(f"a{length}.example.com", "A"): ["192.0.2.1"]})
        for at in range(length):
            zone.records[f"a{at}.example.com", "A"] = [Answer(300, alias=f"a{at + 1}.example.com")]
        return zone

    assert chain(MAX_ALIASES).addresses("sip:a0.example.com:5060", UDP4) == udp("192.0.2.1:5060")
    assert chain(MAX_ALIASES + 1).addresses("sip:a0.example.com:5060", UDP4) == []


def test_naptr_and_srv_that_point_at_themselves_lead_nowhere() -> None:
    zone = Zone(
        {
            (HOST, "NAPTR"): [Naptr(1, 1, "s", "SIP+D2U", "", HOST)],
            (HOST, "SRV"): [Srv(1, 1, 5060, HOST)],
        }
    )
    assert zone.addresses(f"sip:{HOST}", UDP4) == []
    assert zone.asked == [[f"{HOST} NAPTR"], [f"{HOST} SRV"], [f"{HOST} A"]]


# --- too much --------------------------------------------------------------------------------------------


def test_of_very_many_servers_the_first_by_priority_count() -> None:
    records = [Srv(priority, 1, 5060, f"h{priority}.example.com") for priority in range(1000)]
    zone = Zone({(SRV, "SRV"): records[::-1]})
    zone.records |= {(f"h{at}.example.com", "A"): [f"192.0.2.{at % 250 + 1}"] for at in range(1000)}
    found = zone.addresses(f"sip:{HOST};transport=udp", UDP4)
    assert found == udp(*(f"192.0.2.{at + 1}:5060" for at in range(MAX_SRV)))


def test_of_very_many_addresses_the_first_count() -> None:
    zone = Zone({(HOST, "A"): [f"10.0.{at // 250}.{at % 250 + 1}" for at in range(2000)]})
    found = zone.find(f"sip:{HOST}:5060", UDP4)
    assert len(found.services[0][0].addresses) == MAX_OF_ONE_NAME
    many = tuple(Place(1, 1, tuple(udp(f"192.0.2.{at}:5060"))) for at in range(MAX_ADDRESSES + 1))
    assert len(order(Found((many,), 300), lambda: 0.0)) == MAX_ADDRESSES


def test_a_search_asks_a_bounded_number_of_questions() -> None:
    """Every server is an alias of another one without end."""
    steps = search(target(f"sip:{HOST};transport=udp"), EVERYWHERE)
    questions = next(steps)
    asked = 0
    try:
        while True:
            asked += len(questions)
            answers = {
                question: Answer(
                    300,
                    srv=tuple(Srv(1, 1, 5060, f"h{at}.example.com") for at in range(100)),
                    alias="" if question.kind == "SRV" else f"x{asked}.{question.name}",
                )
                for question in questions
            }
            questions = steps.send(answers)
    except StopIteration as end:
        assert end.value.services == ()
    assert asked == MAX_QUESTIONS


# --- nonsense --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "169.254.0.1",
        "127.0.0.1",
        "::",
        "::1",
        "ff02::1",
        "fe80::1",
        "fe80::1%lo",
        "::ffff:192.0.2.1",
        "::ffff:127.0.0.1",
        "not an address",
        "",
    ],
)
def test_an_address_that_no_peer_can_have_is_left_out(address: str) -> None:
    zone = Zone({(HOST, kind): [address, good] for kind, good in (("A", "10.0.0.1"), ("AAAA", "fd00::1"))})
    assert zone.addresses(f"sip:{HOST}:5060") == udp("[fd00::1]:5060", "10.0.0.1:5060")


def test_loopback_counts_where_the_gateway_serves_loopback() -> None:
    zone = Zone({(HOST, "A"): ["127.0.0.1"], (HOST, "AAAA"): ["::1"]})
    assert zone.addresses(f"sip:{HOST}:5060", LOOPBACK) == udp("[::1]:5060", "127.0.0.1:5060")


def test_loopback_counts_where_this_machine_itself_says_so() -> None:
    zone = Zone({("localhost", "A"): [Answer(300, addresses=("127.0.0.1",), is_own=True)]})
    assert zone.addresses("sip:localhost:5060", UDP4) == udp("127.0.0.1:5060")


def test_an_address_of_the_wrong_family_is_left_out() -> None:
    zone = Zone({(HOST, "A"): ["2001:db8::1"], (HOST, "AAAA"): ["192.0.2.1"]})
    assert zone.addresses(f"sip:{HOST}:5060") == []


@pytest.mark.parametrize(
    "name", ["", ".", "a b.example", "a\\000.example", "192.0.2.1", "é.example", "-" * 64, "a..b"]
)
def test_a_server_whose_name_is_none_is_left_out(name: str) -> None:
    zone = Zone(
        {
            (SRV, "SRV"): [Srv(1, 1, 5060, name), Srv(2, 1, 5060, "good.example")],
            ("good.example", "A"): ["192.0.2.1"],
            (name, "A"): ["192.0.2.66"],
        }
    )
    assert zone.addresses(f"sip:{HOST};transport=udp", UDP4) == udp("192.0.2.1:5060")
    assert zone.asked[1] == ["good.example A"]


def test_a_server_at_port_0_is_left_out() -> None:
    zone = Zone({(SRV, "SRV"): [Srv(1, 1, 0, "a.example.com")], ("a.example.com", "A"): ["192.0.2.1"]})
    assert zone.addresses(f"sip:{HOST};transport=udp", UDP4) == []


# --- whatever is said --------------------------------------------------------------------------------------

names = st.sampled_from([HOST, SRV, "a.example", "b.example", "", ".", "é", "1.2.3.4", "x" * 300])
numbers = st.integers(0, 65_535)
texts = st.sampled_from(["s", "S", "a", "", "SIP+D2U", "sips+d2t", "!x!y!"])
answers = st.builds(
    Answer,
    st.integers(0, 2**32).map(float),
    naptr=st.lists(st.builds(Naptr, numbers, numbers, texts, texts, texts, names), max_size=20).map(tuple),
    srv=st.lists(st.builds(Srv, numbers, numbers, numbers, names), max_size=20).map(tuple),
    addresses=st.lists(st.ip_addresses().map(str) | texts, max_size=20).map(tuple),
    alias=names,
    failed=st.booleans(),
)
places = st.lists(
    st.builds(
        Place,
        st.integers(0, 3),
        st.integers(0, 5) | numbers,
        st.builds(lambda n: tuple(udp(f"192.0.2.1:{n}")), numbers),
    ),
    max_size=16,
    unique_by=lambda place: place.addresses,
)


@given(st.data(), st.sampled_from(["sip:", "sips:"]), st.sampled_from(["", ":5070", ";transport=tcp"]))
def test_every_search_ends_with_few_and_possible_addresses(
    data: st.DataObject, scheme: str, rest: str
) -> None:
    steps = search(target(f"{scheme}{HOST}{rest}"), EVERYWHERE)
    known: dict[Question, Answer] = {}
    asked = 0
    try:
        questions = next(steps)
        while True:
            assert questions, "a round without a question would never end"
            asked += len(questions)
            known |= {question: data.draw(answers) for question in questions if question not in known}
            questions = steps.send(known)
    except StopIteration as end:
        found: Found = end.value
    assert asked <= MAX_QUESTIONS
    assert 1 <= found.ttl <= 3600
    located = order(found, lambda: 0.5)
    assert len(located) <= MAX_ADDRESSES == 16
    assert bool(located) == bool(found.services)
    for host, port, transport in located:
        address = parse_ip(host)
        assert address is not None and not (
            address.is_loopback or address.is_multicast or address.is_unspecified
        )
        assert 0 < port <= 65_535
        assert transport == "tls" if scheme == "sips:" else transport in ("udp", "tcp", "tls")


# --- the order of trying ---------------------------------------------------------------------------------


@given(places, st.lists(st.floats(0, 1, exclude_max=True), min_size=16, max_size=16))
def test_every_draw_keeps_the_priorities_and_loses_nobody_2782(
    servers: list[Place], chances: list[float]
) -> None:
    servers.sort(key=lambda place: place.priority)
    draws = iter(chances)
    drawn = order(Found((tuple(servers),), 300), lambda: next(draws))
    priority = {place.addresses[0]: place.priority for place in servers}
    assert sorted(drawn) == sorted(priority)
    assert [priority[address] for address in drawn] == sorted(priority.values())


def test_each_server_is_first_as_often_as_its_weight_says_2782() -> None:
    """Each of the seven marks that the algorithm can draw, once."""
    weights = {1: 5, 2: 0, 3: 1}
    found = Found(
        (tuple(Place(1, weight, tuple(udp(f"192.0.2.{at}:5060"))) for at, weight in weights.items()),), 300
    )
    first = [order(found, lambda mark=mark: mark / 7)[0].host[-1] for mark in range(7)]
    assert {host: first.count(host) for host in "123"} == {"1": 5, "2": 1, "3": 1}


def test_only_servers_of_one_priority_need_a_draw() -> None:
    def found(*priorities: int) -> Found:
        return Found((tuple(Place(priority, 1, ()) for priority in priorities),), 300)

    assert [found(*some).is_drawn for some in ((), (1,), (1, 2), (1, 2, 2))] == [False, False, False, True]


def test_what_the_gateway_reaches_comes_from_its_listening_points() -> None:
    reach = Reach.of([("udp", "192.0.2.5"), ("udp", "2001:db8::5"), ("tcp", "192.0.2.5"), ("tls", "a name")])
    assert [reach.families(transport) for transport in ("udp", "tcp", "tls")] == [[6, 4], [4], []]
    assert not reach.loopback
    assert LOOPBACK.loopback
