"""Carriers found by name: a real name server on loopback, a gateway that asks it, SIPp where it points."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.peers import Lab, Peer, need
from tests.transport.name_server import NameServer, Vice, failing, name_server, silent

pytestmark = pytest.mark.e2e

QUICK = '[timers]\nt1 = "20ms"\n'  # a target that is dead is given up after 64 times that


@pytest.fixture
def server() -> Iterator[NameServer]:
    with name_server("a.example. 300 A 127.0.0.1") as server:
        yield server


def dns(server: NameServer) -> str:
    return f'[dns]\nservers = ["{server.address}"]\ntimeout = "1s"\n'


def test_a_call_goes_to_the_port_that_srv_names_3263_4_2(lab: Lab, server: NameServer) -> None:
    server.records += [
        'carrier.example. 300 NAPTR 1 1 "s" "SIP+D2U" "" _sip._udp.carrier.example.',
        f"_sip._udp.carrier.example. 300 SRV 1 1 {lab.carrier_port} a.example.",
    ]
    carrier = lab.carrier("uas_answered")
    lab.gateway(targets={"carrier": "sip:carrier.example"}, more=dns(server))
    lab.caller("uac_answered").succeeds()
    carrier.succeeds()
    assert server.asked == [
        "UDP carrier.example. NAPTR",
        "UDP _sip._udp.carrier.example. SRV",
        "UDP a.example. A",
    ]


def test_a_dead_server_of_a_service_is_passed_over_for_the_next_3263_4_3(
    lab: Lab, server: NameServer
) -> None:
    server.records += [
        f"_sip._udp.carrier.example. 300 SRV 1 1 {lab.free_port()} a.example.",
        f"_sip._udp.carrier.example. 300 SRV 2 1 {lab.carrier_port} a.example.",
    ]
    carrier = lab.carrier("uas_answered")
    lab.gateway(targets={"carrier": "sip:carrier.example;transport=udp"}, more=QUICK + dns(server))
    lab.caller("uac_answered").succeeds()
    carrier.succeeds()


@pytest.mark.parametrize(
    "uri", ["sip:nobody.example", "sip:nobody.example:5060", "sip:a.example;transport=tcp"]
)
def test_a_name_that_leads_nowhere_is_answered_503(lab: Lab, server: NameServer, uri: str) -> None:
    lab.gateway(targets={"carrier": uri}, more=dns(server))
    lab.caller("uac_rejected", STATUS="503").succeeds()


@pytest.mark.parametrize("vice", [silent, failing])
def test_a_name_that_nobody_answers_for_is_hunted_past(lab: Lab, server: NameServer, vice: Vice) -> None:
    server.vice = vice
    carrier = lab.carrier("uas_answered", name="second")
    lab.gateway(
        carriers={"first": lab.free_port(), "second": lab.carrier_port},
        targets={"first": "sip:nobody.example"},
        more=dns(server),
    )
    lab.caller("uac_answered").succeeds()
    carrier.succeeds()


def test_calls_go_on_when_the_name_server_has_died(lab: Lab) -> None:
    carrier = lab.carrier("uas_answered", calls=2)
    with name_server("carrier.example. 1 A 127.0.0.1") as server:
        gateway = lab.gateway(
            targets={"carrier": f"sip:carrier.example:{lab.carrier_port}"}, more=dns(server)
        )
        lab.caller("uac_answered", name="before").succeeds()
    gateway.says("its last known addresses serve on")
    lab.caller("uac_answered", name="after").succeeds()
    carrier.succeeds()


def test_a_name_of_this_machine_needs_no_name_server(lab: Lab, server: NameServer) -> None:
    carrier = lab.carrier("uas_answered")
    lab.gateway(targets={"carrier": f"sip:localhost:{lab.carrier_port}"}, more=dns(server))
    lab.caller("uac_answered").succeeds()
    carrier.succeeds()
    assert server.asked == []


def dnsmasq(lab: Lab, *records: str) -> int:
    """Start dnsmasq, which serves these records and nothing else; its port."""
    need("dnsmasq")
    port = lab.free_port()
    options = ["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"]
    options += [f"--port={port}", f"--listen-address={lab.host}", "--bind-interfaces", "--local-ttl=60"]
    server = Peer("dnsmasq", ("dnsmasq", *options, *records), lab.folder)
    lab.peers.append(server)
    lab.wait_bound(server, port)
    return port


def test_a_real_name_server_leads_by_naptr_srv_and_aliases_to_the_peer_3263_4(either_lab: Lab) -> None:
    """Of two servers of weight 0 one is dead, and the other has a name that is an alias of an alias."""
    lab = either_lab
    port = dnsmasq(
        lab,
        "--naptr-record=carrier.example,10,10,s,SIP+D2U,,_sip._udp.carrier.example",
        f"--srv-host=_sip._udp.carrier.example,first.example,{lab.free_port()},1,0",
        f"--srv-host=_sip._udp.carrier.example,alias.example,{lab.carrier_port},1,0",
        "--cname=alias.example,another.example",
        "--cname=another.example,real.example",
        f"--host-record=first.example,{lab.host}",
        f"--host-record=real.example,{lab.host}",
    )
    carrier = lab.carrier("uas_answered", calls=5)
    more = f'{QUICK}[dns]\nservers = ["{lab.at(port)}"]\n'
    lab.gateway(targets={"carrier": "sip:carrier.example"}, more=more)
    lab.caller("uac_answered", calls=5).succeeds()
    carrier.succeeds()
