"""A wildcard that cannot tell every peer the address on its side is spoken of."""

from __future__ import annotations

import pytest

from gateway.config import parse
from gateway.transport import wildcards
from gateway.transport.wildcards import misleading

ROUTES = {
    "198.51.100.7": "203.0.113.1",
    "10.1.0.2": "10.1.0.1",
    "127.0.0.1": "127.0.0.1",
    "fd00::2": "fd00::1",
}


SEEN = {"0.0.0.0": "203.0.113.1", "::": "2001:db8:1::1"}


@pytest.fixture(autouse=True)
def routes(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine is between two networks, with addresses of both families in each."""
    monkeypatch.setattr(wildcards, "source_of", lambda host: ROUTES.get(host, ""))
    monkeypatch.setattr(wildcards, "visible", lambda host, _family: SEEN.get(host, host))


def said(listen: str, *targets: str) -> list[str]:
    trunks = "".join(
        f'[[trunk]]\nname = "t{number}"\ntarget = ["{target}"]\n' for number, target in enumerate(targets)
    )
    return misleading(parse(f"[gateway]\n{listen}\n[ledger]\nurl = ''\n{trunks}"))


def test_a_trunk_on_the_other_side_is_told_an_address_that_is_not_there() -> None:
    assert said('listen = ["udp:0.0.0.0:5060"]', "sip:198.51.100.7", "sip:10.1.0.2") == [
        "requests to trunk t1 leave from 10.1.0.1, but its Via and Contact say 203.0.113.1, "
        "as udp:0.0.0.0:5060 is told to all; list the address in each network in listen"
    ]
    assert len(said('listen = ["udp:[::]:5060", "tcp:[::]:5060"]', "sip:[fd00::2]")) == 1


@pytest.mark.parametrize(
    ("listen", "target"),
    [
        ('listen = ["udp:10.1.0.1:5060", "udp:203.0.113.1:5060"]', "sip:10.1.0.2"),  # no wildcard
        ('listen = ["udp:0.0.0.0:5060"]\nadvertise = "gw.example"', "sip:10.1.0.2"),  # the operator knows
        ('listen = ["udp:0.0.0.0:5060"]', "sip:127.0.0.1:5070"),  # reaches all of this machine
        ('listen = ["udp:0.0.0.0:5060"]', "sip:pbx.example"),  # leads somewhere else tomorrow
        ('listen = ["udp:0.0.0.0:5060"]', "sip:192.0.2.99"),  # no way there now
        ('listen = ["udp:0.0.0.0:5060"]', "sip:[fd00::2]"),  # nothing to meet it with
    ],
)
def test_who_is_told_the_address_on_its_side_is_not_spoken_of(listen: str, target: str) -> None:
    assert said(listen, target) == []
