"""Who has no trunk is told of once; a flood of others costs neither memory nor a long log."""

from __future__ import annotations

import pytest

from gateway.routing.strangers import Strangers
from gateway.sip.flow import Flow, Local
from tests.helpers import CARRIER, PBX, Net, Peer

UDP = Local("udp", "192.0.2.1", 5060)


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "REGISTER"])
def test_who_is_refused_is_told_of_by_its_address(method: str) -> None:
    net = Net()
    strangers = net.core.trunks().strangers
    nobody = net.peer(("198.51.100.7", 5080), "nobody")
    net.pbx.request("OPTIONS", uri="sip:192.0.2.1")
    net.pbx.take(200)
    for _ in range(3):
        nobody.request(method)
        nobody.take(403)
    assert [flow.peer for flow in strangers.news()] == [("198.51.100.7", 5080)]
    nobody.request(method)
    nobody.take(403)
    assert not strangers.news()


def test_who_speaks_of_no_dialog_and_responses_are_no_news() -> None:
    net = Net()
    for address in (PBX, CARRIER):
        peer = Peer(net, (address[0], 40_001), "known")
        peer.request("BYE", headers="To: <sip:x@y>;tag=1")
    nobody = net.peer(("198.51.100.7", 5080), "nobody")
    nobody.send(b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n\r\n")
    nobody.nothing()
    assert not net.core.trunks().strangers.news()


def test_a_flood_of_strangers_is_bounded() -> None:
    strangers = Strangers()

    def come(first: int, count: int) -> int:
        for number in range(first, first + count):
            strangers.note(Flow(UDP, (f"198.51.{number >> 8}.{number & 255}", 5060)))
        return len(strangers.news())

    assert come(0, 5_000) == 16
    assert come(0, 16) == 0  # told of
    assert sum(come(number, 16) for number in range(16, 16 + 1_200, 16)) == 1_200
    assert come(0, 16) == 16  # the table has begun anew
