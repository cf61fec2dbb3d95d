"""The gateway towards a carrier whose border is Kamailio, a proxy that stays on the path by Record-Route."""

from __future__ import annotations

import pytest

from tests.e2e.peers import Lab, Peer, Sipp

pytestmark = pytest.mark.e2e


def behind_kamailio(lab: Lab, scenario: str) -> tuple[Peer, Sipp]:
    """A carrier that plays `scenario` behind a Kamailio, and the gateway in front of both."""
    border = lab.free_port()
    carrier = lab.carrier(scenario)
    proxy = lab.kamailio(border, lab.carrier_port)
    lab.gateway(carriers={"carrier": border})
    return proxy, carrier


def seen_in_dialog(proxy: Peer) -> list[str]:
    """What Kamailio said about the requests it saw inside the dialog, in order."""
    lines = proxy.errors.read_text().splitlines()
    return [line.partition("in dialog: ")[2].strip() for line in lines if "in dialog: " in line]


def test_requests_of_the_gateway_follow_the_route_set(either_lab: Lab) -> None:
    proxy, carrier = behind_kamailio(either_lab, "uas_answered")
    either_lab.caller("uac_answered").succeeds()
    carrier.succeeds()

    assert seen_in_dialog(proxy) == ["ACK by its route set", "BYE by its route set"]
    # The proxy's Via above the gateway's, on each request that reached the carrier.
    assert [len(m.all("Via")) for m in carrier.received()] == [2, 2, 2]


def test_requests_of_the_carrier_reach_the_caller_through_the_route_set(either_lab: Lab) -> None:
    proxy, carrier = behind_kamailio(either_lab, "uas_hangs_up")
    caller = either_lab.caller("uac_hung_up").succeeds()
    carrier.succeeds()

    assert seen_in_dialog(proxy) == ["ACK by its route set", "BYE by its route set"]
    # The carrier's side of the route set is none of the caller's business.
    bye = caller.received()[-1]
    assert bye.start.startswith("BYE ")
    assert len(bye.all("Via")) == 1
    assert [m.all("Record-Route") for m in caller.received()] == [[]] * len(caller.received())


def test_a_reinvite_follows_the_route_set_both_ways(lab: Lab) -> None:
    proxy, carrier = behind_kamailio(lab, "uas_reinvited")
    lab.caller("uac_reinvited").succeeds()
    carrier.succeeds()

    assert seen_in_dialog(proxy) == [
        f"{method} by its route set" for method in ("ACK", "INVITE", "ACK", "INVITE", "ACK", "BYE")
    ]


def test_a_cancel_passes_the_proxy(lab: Lab) -> None:
    _, carrier = behind_kamailio(lab, "uas_cancelled")
    lab.caller("uac_cancelled").succeeds()
    carrier.succeeds()
