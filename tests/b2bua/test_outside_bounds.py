"""How many requests outside of calls may wait for their answer: a silent carrier must not fill our memory."""

from __future__ import annotations

import pytest

from gateway.b2bua.core import B2bua
from tests.helpers import HUNTING, Net, establish, hang_up, make_setup, text


def narrow(config: str | None = None) -> Net:
    """A gateway that lets two such requests wait at a time."""
    net = Net(config) if config else Net()
    net.core = B2bua(net.endpoint, make_setup(config) if config else make_setup(), (net,), max_relays=2)
    return net


@pytest.mark.parametrize("method", ["OPTIONS", "MESSAGE", "SUBSCRIBE", "FOO"])
def test_one_request_too_many_gets_503_and_when_to_try_again_3261_21_5_4(method: str) -> None:
    net = narrow()
    waiting = [net.pbx.request(method, headers="Event: presence") for _ in range(2)]
    got = [net.carrier.take_request(method) for _ in waiting]
    net.pbx.request(method, headers="Event: presence")
    refused = net.pbx.take_response(503)
    assert text(refused, b"Retry-After") == "5"
    assert net.core.refused["too many requests under way"] == 1
    net.carrier.nothing()
    # Calls are not its affair, and an answer makes room.
    hang_up(*establish(net))
    net.carrier.reply(got[0], 404)
    net.pbx.take(404)
    net.pbx.request(method, headers="Event: presence")
    net.carrier.take(method)
    net.assert_all_freed()


@pytest.mark.parametrize("status", [200, 486, 503, 0])
def test_however_a_request_ends_its_place_is_free_again(status: int) -> None:
    net = narrow(HUNTING)
    for _ in range(5):
        net.pbx.request("MESSAGE")
        got = net.carrier.take_repeated("MESSAGE")
        if status:
            net.carrier.reply(got, status)
        net.run(70)
        assert not net.core.relays
        for peer in (net.pbx, net.carrier, net.backup):
            peer.forget()
    net.assert_all_freed()


def test_a_request_that_cannot_be_read_takes_no_place() -> None:
    net = narrow()
    for _ in range(3):
        net.pbx.request("SUBSCRIBE", headers='Event: presence;"')
        net.pbx.take(400)
    assert not net.core.relays
    net.assert_all_freed()
