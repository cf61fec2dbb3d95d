"""Twenty thousand calls at a time: what they keep while they stand, and that nothing of them is left."""

from __future__ import annotations

import gc
import re
from collections import Counter

from gateway.b2bua.call import Call
from gateway.b2bua.leg import Leg
from gateway.sip.dialog import Dialog
from gateway.sip.transaction import Transaction
from tests.helpers import CARRIER, GATEWAY, PBX, Address, Net

MANY = 20_000
_LINE = re.compile(rb"(Via|From|To|Call-ID|CSeq): [^\r]*\r\n")
_CALLED = re.compile(rb"To: <sip:([0-9]+)@")
_TO = re.compile(rb"To: ([^\r]*)\r\n")

INVITE = (
    b"INVITE sip:%d@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK-i%d\r\n"
    b"Max-Forwards: 70\r\n"
    b"From: <sip:pbx@192.0.2.2>;tag=f%d\r\nTo: <sip:%d@192.0.2.1>\r\nCall-ID: %d\r\nCSeq: 1 INVITE\r\n"
    b"Contact: <sip:pbx@192.0.2.2>\r\nContent-Length: 0\r\n\r\n"
)
WITHIN = (
    b"%b sip:192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK-%b%d\r\nMax-Forwards: 70\r\n"
    b"From: <sip:pbx@192.0.2.2>;tag=f%d\r\nTo: %b\r\nCall-ID: %d\r\nCSeq: %d %b\r\nContent-Length: 0\r\n\r\n"
)


class Swarm:
    """Callers and callees by the thousand, made of templates so that the gateway does most of the work."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.got: Counter[bytes] = Counter()
        self.to: dict[int, bytes] = {}  # the To with its tag, by call
        net.attach(PBX, self._at_the_pbx)
        net.attach(CARRIER, self._at_the_carrier)

    def send(self, data: bytes) -> None:
        self.net.transmit(data, PBX, GATEWAY)

    def _at_the_pbx(self, data: bytes, _source: Address) -> None:
        self.got[data[:11]] += 1
        if data.startswith(b"SIP/2.0 200") and b" INVITE\r\n" in data:
            called, to = _CALLED.search(data), _TO.search(data)
            assert called is not None and to is not None
            number = int(called[1])
            self.to[number] = to[1]
            self.send(WITHIN % (b"ACK", b"a", number, number, to[1], number, 1, b"ACK"))

    def _at_the_carrier(self, data: bytes, _source: Address) -> None:
        method = data[: data.index(b" ")]
        self.got[method] += 1
        if method == b"ACK":
            return
        lines = b"".join(match[0] for match in _LINE.finditer(data))
        if method == b"INVITE":
            lines = _TO.sub(rb"To: \1;tag=carrier\r\n", lines) + b"Contact: <sip:192.0.2.3>\r\n"
        answer = b"SIP/2.0 200 OK\r\n%bContent-Length: 0\r\n\r\n" % lines
        self.net.transmit(answer, CARRIER, GATEWAY)


def test_twenty_thousand_calls_stand_at_once_and_leave_nothing() -> None:
    net = Net()
    swarm = Swarm(net)
    for number in range(MANY):
        swarm.send(INVITE % (number, number, number, number, number))
        if number % 100 == 99:
            net.run(0.1)  # a thousand calls a second
    net.run(40)
    assert swarm.got[b"INVITE"] == swarm.got[b"ACK"] == swarm.got[b"SIP/2.0 200"] == MANY
    # A call that stands is two dialogs: no transaction, no timer, no key of its INVITE.
    assert (len(net.core.calls), len(net.endpoint.dialogs)) == (MANY, 2 * MANY)
    transient = (net.endpoint.servers, net.endpoint.clients, net.endpoint._merged, net.endpoint.timers)
    assert [len(table) for table in transient] == [0, 0, 0, 0]
    for number in range(MANY):
        swarm.send(WITHIN % (b"BYE", b"b", number, number, swarm.to[number], number, 2, b"BYE"))
        if number % 100 == 99:
            net.run(0.1)
    net.assert_all_freed()
    assert swarm.got[b"BYE"] == MANY
    assert swarm.got[b"SIP/2.0 200"] == 2 * MANY
    assert len(net.records) == MANY
    assert {(record.ended_by, record.end_reason) for record in net.records} == {("caller", "bye")}


def test_an_ended_call_needs_no_garbage_collector() -> None:
    """Calls, legs, dialogs and transactions form no cycles that outlive them."""
    net = Net()
    swarm = Swarm(net)
    gc.collect()
    gc.disable()
    try:
        for number in range(50):
            swarm.send(INVITE % (number, number, number, number, number))
        net.run(1)
        for number in range(50):
            swarm.send(WITHIN % (b"BYE", b"b", number, number, swarm.to[number], number, 2, b"BYE"))
        net.assert_all_freed()
        kinds = (Call, Leg, Dialog, Transaction)
        left = Counter(type(item).__name__ for item in gc.get_objects() if isinstance(item, kinds))
    finally:
        gc.enable()
    assert not left
