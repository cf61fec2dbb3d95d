"""A phone behind a NAT, and a peer whose name has several addresses: not to be reached where it says."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.peers import Lab
from tests.e2e.test_names import dnsmasq

pytestmark = pytest.mark.e2e


class Nat:
    """Forwards datagrams between whoever speaks to ``inside`` and ``peer``, which sees ``outside`` alone."""

    def __init__(self, lab: Lab, inside: int, outside: int, peer: int) -> None:
        self.went_in: list[bytes] = []
        self.went_out: list[bytes] = []
        self._inner, self._outer = self._socket(lab, inside), self._socket(lab, outside)
        self._peer = (lab.host, peer)
        self._phone: tuple[str, int] | None = None
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._forward)
        self._thread.start()

    def _socket(self, lab: Lab, port: int) -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.bind((lab.host, port))
        return opened

    def _forward(self) -> None:
        with selectors.DefaultSelector() as selector:
            for one in (self._inner, self._outer, self._woken):
                selector.register(one, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._woken:
                        return
                    self._pass(key.fileobj is self._inner)

    def _pass(self, outwards: bool) -> None:
        if outwards:
            data, self._phone = self._inner.recvfrom(65_535)
            self.went_out.append(data)
            self._outer.sendto(data, self._peer)
        else:
            data = self._outer.recv(65_535)
            self.went_in.append(data)
            if self._phone is not None:
                self._inner.sendto(data, self._phone)

    def close(self) -> None:
        """Stop forwarding."""
        self._wake.send(b"x")
        self._thread.join()
        for one in (self._inner, self._outer, self._wake, self._woken):
            one.close()


@contextmanager
def nat(lab: Lab, inside: int, outside: int, peer: int) -> Iterator[Nat]:
    """A NAT for as long as it is needed."""
    made = Nat(lab, inside, outside, peer)
    try:
        yield made
    finally:
        made.close()


def starts(messages: list[bytes]) -> list[str]:
    """The method of each request and the status of each response, but for what repeats the one before."""
    words = [message.split(b" ", 2) for message in messages]
    said = [(word[1] if word[0] == b"SIP/2.0" else word[0]).decode() for word in words]
    return [one for at, one in enumerate(said) if at == 0 or said[at - 1] != one]


@pytest.mark.parametrize("hangs_up", ["caller", "carrier"])
def test_a_phone_behind_a_nat_is_reached_where_it_was_heard_from_3581_4(lab: Lab, hangs_up: str) -> None:
    """Via and Contact name its inner address, without rport. It could be reached there too, on this machine:
    so all that it was sent must have come through the NAT.
    """
    inside, outside = lab.free_port(), lab.free_port()
    carrier = lab.carrier("uas_answered" if hangs_up == "caller" else "uas_hangs_up")
    lab.gateway(pbx_port=outside, keys={"pbx": "nat = true"})
    with nat(lab, inside, outside, lab.gateway_port) as through:
        phone = lab.caller("uac_answered" if hangs_up == "caller" else "uac_hung_up", to=inside).succeeds()
        carrier.succeeds()
    inner = lab.at(lab.pbx_port)
    invite = phone.sent()[0]
    assert inner in invite.one("Contact")
    assert inner in invite.one("Via")
    assert [m.start.encode() for m in phone.received()] == [m.partition(b"\r\n")[0] for m in through.went_in]
    final = {"caller": ["100", "180", "200"], "carrier": ["100", "180", "200", "BYE"]}
    assert starts(through.went_in) == final[hangs_up]


def test_an_ack_finds_the_address_of_a_name_that_lives_3263_4_3(lab: Lab) -> None:
    """The Contact of the 200 is a name with two servers, of which the preferred one is dead. No answer says
    so; only the 200 comes again, and the ACK then tries the other.
    """
    dead, second = lab.free_port(), lab.free_port()
    port = dnsmasq(
        lab,
        f"--srv-host=_sip._udp.callee.example,one.example,{dead},1,0",
        f"--srv-host=_sip._udp.callee.example,two.example,{second},2,0",
        f"--host-record=one.example,{lab.host}",
        f"--host-record=two.example,{lab.host}",
    )
    carrier = lab.carrier("uas_hangs_up", CONTACT="carrier@callee.example")

    more = f'[dns]\nservers = ["{lab.at(port)}"]\n'
    lab.gateway(more=more, targets={"callee": "sip:callee.example;transport=udp"}, carriers={
        "carrier": lab.carrier_port, "callee": second})  # fmt: skip

    with nat(lab, second, lab.free_port(), lab.carrier_port) as through:
        lab.caller("uac_hung_up").succeeds()
        carrier.succeeds()
    assert set(starts(through.went_out)) == {"ACK"}
