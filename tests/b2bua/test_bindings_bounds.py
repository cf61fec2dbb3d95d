"""What is not bound: contacts beyond the bounds, and what the registrar or the gateway refuses."""

from __future__ import annotations

import pytest

from gateway.b2bua import bindings
from tests.b2bua.registering import (
    AOR,
    PHONE,
    REGISTRAR,
    TWO_TRUNKS,
    bound,
    granted,
    register,
    token_of,
)
from tests.helpers import Net, Peer, text


def test_contacts_of_one_address_are_bounded() -> None:
    net = Net(REGISTRAR)
    many = ", ".join(f"<sip:alice@192.0.2.77:{port}>" for port in range(5000, 5017))
    net.pbx.request("REGISTER", uri="sip:192.0.2.1", contact=False, headers=f"Contact: {many}")
    net.pbx.take(403)
    net.carrier.nothing()


def sixteen(peer: Peer, host: str) -> None:
    """A trunk registers as many contacts for alice as it may have."""
    many = ", ".join(f"<sip:alice@{host}:{port}>" for port in range(5000, 5016))
    peer.request("REGISTER", uri="sip:192.0.2.1", to=AOR, contact=False, headers=f"Contact: {many}")


def test_contacts_of_one_trunk_leave_room_for_those_of_another() -> None:
    net = Net(TWO_TRUNKS)
    sixteen(net.backup, "192.0.2.4")
    net.carrier.take("REGISTER")
    sixteen(net.pbx, "192.0.2.77")
    net.carrier.take("REGISTER")
    assert len(net.core.bindings) == 32
    net.backup.request("REGISTER", uri="sip:192.0.2.1", to=AOR, headers="Expires: 600")
    net.backup.take(403)  # its own still count
    net.carrier.nothing()


def test_contacts_that_have_expired_do_not_count_before_the_sweep() -> None:
    net = Net(REGISTRAR)
    sixteen(net.pbx, "192.0.2.77")  # and the registrar stays silent
    net.carrier.take("REGISTER")
    net.run(41)
    net.carrier.inbox.clear()
    got = register(net, "<sip:alice@192.0.2.78>")
    assert [token.decode() for token in net.core.contacts] == [token_of(text(got, b"Contact"))]
    assert len(net.core.bindings) == 1


@pytest.mark.parametrize("status", [300, 400, 403, 404, 500, 503, 603])
def test_what_the_registrar_refuses_is_not_bound_3261_10_3(status: int) -> None:
    net = Net(REGISTRAR)
    sixteen(net.pbx, "192.0.2.77")
    net.carrier.reply(net.carrier.take_request("REGISTER"), status)
    net.pbx.take(status)
    assert len(net.core.bindings) == len(net.core.contacts) == 0
    register(net, "<sip:alice@192.0.2.78>")


@pytest.mark.parametrize("status", [401, 407, 423])
def test_what_is_to_be_asked_again_stays_bound_for_it_3261_10_2_8_22_2(status: int) -> None:
    net = Net(REGISTRAR)
    sixteen(net.pbx, "192.0.2.77")
    net.carrier.reply(net.carrier.take_request("REGISTER"), status)
    net.pbx.take(status)
    assert len(net.core.bindings) == 16


def test_what_the_gateway_refuses_is_not_bound_either() -> None:
    net = Net(REGISTRAR)
    for bad, status in (("<sip:alice@192.0.2.77:5016>", 403), ("<sip:", 400)):
        many = ", ".join(f"<sip:alice@192.0.2.77:{port}>" for port in range(5000, 5016))
        headers = f"Contact: {many}\nContact: {bad}"
        net.pbx.request("REGISTER", uri="sip:192.0.2.1", to=AOR, contact=False, headers=headers)
        net.pbx.take(status)
        assert len(net.core.bindings) == len(net.core.contacts) == 0


def test_a_refused_refresh_leaves_what_was_granted_before_3261_10_3() -> None:
    net = Net(REGISTRAR)
    token = bound(net)
    got = register(net, "<sip:alice@192.0.2.77:5066>", "<sip:alice@192.0.2.78>")
    net.carrier.reply(got, 403)
    net.pbx.take(403)
    assert list(net.core.contacts) == [token.encode()]
    phone = net.peer(PHONE, "alice")
    net.carrier.request("MESSAGE", uri=f"sip:{token}@192.0.2.1", to=AOR)
    phone.take("MESSAGE")


def test_a_refusal_leaves_a_contact_that_another_register_has_named_since() -> None:
    net = Net(REGISTRAR)
    first = register(net, "<sip:alice@192.0.2.77:5066>")
    net.run(0.1)
    second = register(net, "<sip:alice@192.0.2.77:5066>")
    token = token_of(text(second, b"Contact"))
    net.carrier.reply(first, 500)
    net.pbx.take(500)
    response = granted(net, second, f"<sip:{token}@192.0.2.1:5060>;expires=600")
    assert text(response, b"Contact") == "<sip:alice@192.0.2.77:5066>;expires=600"
    phone = net.peer(PHONE, "alice")
    net.carrier.request("MESSAGE", uri=f"sip:{token}@192.0.2.1", to=AOR)
    phone.take("MESSAGE")


def test_a_registrar_that_leaves_it_to_the_next_one_keeps_nothing_bound_3263_4_3() -> None:
    net = Net(REGISTRAR.replace('to = ["carrier"]', 'to = ["carrier", "backup"]'))
    first = register(net, "<sip:alice@192.0.2.77:5066>")
    net.carrier.reply(first, 503)
    got = net.backup.take_request("REGISTER")
    token = token_of(text(got, b"Contact"))
    assert list(net.core.contacts) == [token.encode()]
    net.backup.reply(got, 200, contact=False, headers=f"Contact: <sip:{token}@192.0.2.1:5060>;expires=600")
    net.pbx.take(200)
    assert list(net.core.contacts) == [token.encode()]


def test_contacts_of_all_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bindings, "MAX_BINDINGS", 3)
    net = Net(REGISTRAR)
    for number in range(4):
        headers = f"Contact: <sip:a{number}@192.0.2.77>"
        net.pbx.request(
            "REGISTER", uri="sip:192.0.2.1", to=f"<sip:a{number}@x>", contact=False, headers=headers
        )
    net.pbx.take(503)
    assert len(net.core.bindings) == 3
    net.assert_all_freed()
    assert len(net.core.bindings) == len(net.core.contacts) == 0
