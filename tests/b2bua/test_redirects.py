"""A 3xx is passed to the caller, or followed in its place where the trunk says so (RFC 3261 8.1.3.4)."""

from __future__ import annotations

import pytest

from gateway.sip.message import Request
from tests.helpers import CONFIG, Net, Peer, text

FOLLOWING = CONFIG.replace('name = "carrier"\n', 'name = "carrier"\nredirect = "follow"\n')


def redirect(net: Net, contacts: str, peer: Peer | None = None) -> Request:
    """Place a call that the carrier redirects to these Contacts."""
    net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 302, headers=contacts)
    net.carrier.take("ACK")
    return offer


def refuse(peer: Peer, status: int, headers: str = "") -> Request:
    offer = peer.take_request("INVITE")
    peer.reply(offer, status, headers=headers)
    peer.take("ACK")
    return offer


def test_by_default_a_redirection_is_the_callers_affair() -> None:
    net = Net()
    redirect(net, "Contact: <sip:2002@192.0.2.4>")
    assert text(net.pbx.take_response(302), b"Contact") == "<sip:2002@192.0.2.4>"
    net.backup.nothing()
    net.assert_all_freed()


def test_a_contact_at_a_trunk_is_called_in_the_callers_place() -> None:
    net = Net(FOLLOWING)
    redirect(net, "Contact: <sip:2002@192.0.2.4;user=phone?Subject=x>")
    offer = refuse(net.backup, 486)
    assert offer.uri == b"sip:2002@192.0.2.4;user=phone"
    assert text(offer, b"To") == "<sip:1001@192.0.2.1>"
    net.pbx.take(486)
    record = net.only_record
    assert (record.attempts, record.original_status, record.callee_trunk) == (2, 486, "backup")
    net.assert_all_freed()


def test_a_number_takes_the_routes_of_the_callers_trunk() -> None:
    for contact in ("<tel:+15551234>", "<sip:+15551234@192.0.2.1>"):
        net = Net(FOLLOWING)
        redirect(net, f"Contact: {contact}")
        assert refuse(net.carrier, 404).uri.startswith(b"sip:+15551234@192.0.2.3:5060")
        net.pbx.take(404)
        net.assert_all_freed()


def test_the_most_wanted_contact_comes_first_and_the_next_when_it_refuses() -> None:
    net = Net(FOLLOWING)
    redirect(
        net,
        "Contact: <sip:c@192.0.2.4>;q=0.1, <sip:a@192.0.2.4>;q=0.9\n"
        "Contact: <sip:b@192.0.2.4>;q=0.5, <sip:x@192.0.2.4>;q=nan",
    )
    users = [refuse(net.backup, 480).uri.partition(b"@")[0] for _ in range(4)]
    assert users == [b"sip:x", b"sip:a", b"sip:b", b"sip:c"]
    net.pbx.take(480)
    net.assert_all_freed()


@pytest.mark.parametrize(
    "contacts",
    [
        "",
        "Contact: <sip:2002@203.0.113.9>",  # nobody's address: a redirection may not send calls anywhere
        "Contact: <sip:2002@elsewhere.example>",
        "Contact: <sip:2002@192.0.2.4;maddr=203.0.113.9>",  # where it would go is what counts (RFC 3263 4)
        "Contact: <mailto:a@b.example>",
        "Contact: <sip:>",
        "Contact: *",
        'Contact: "unbalanced <sip:x@192.0.2.4>',
        "Contact: <sip:1001@192.0.2.1>",  # what was called already
        "Contact: <tel:>",
    ],
)
def test_what_cannot_be_followed_is_passed(contacts: str) -> None:
    net = Net(FOLLOWING)
    redirect(net, contacts)
    net.pbx.take(302)
    net.backup.nothing()
    net.carrier.nothing()
    net.assert_all_freed()


def test_two_that_redirect_to_one_another_are_each_asked_once() -> None:
    net = Net(FOLLOWING)
    redirect(net, "Contact: <sip:a@192.0.2.3>")
    refuse(net.carrier, 302, "Contact: <sip:b@192.0.2.3>")
    refuse(net.carrier, 302, "Contact: <sip:a@192.0.2.3>")
    net.pbx.take(302)
    net.carrier.nothing()
    net.assert_all_freed()


def test_an_endless_chain_is_followed_only_so_far() -> None:
    net = Net(FOLLOWING)
    redirect(net, "Contact: <sip:0@192.0.2.3>")
    for number in range(1, 11):
        refuse(net.carrier, 302, f"Contact: <sip:{number}@192.0.2.3>")
    net.carrier.nothing()
    net.pbx.take(302)
    net.assert_all_freed()


def test_a_sips_contact_is_followed_over_tls_only_3261_26_2_2() -> None:
    config = FOLLOWING.replace("sip:192.0.2.4:5060", "sips:192.0.2.4:5061")
    for contact in ("<sips:2002@192.0.2.4>", "<sips:2002@192.0.2.4:5061;transport=tcp>"):
        net = Net(config, streams=("tls",))
        secure = net.peer(("192.0.2.4", 5061), "secure", "tls")
        redirect(net, f"Contact: {contact}")
        offer = refuse(secure, 486)
        assert offer.uri == contact[1:-1].encode()
        assert text(offer, b"Contact").startswith("<sips:")
        net.pbx.take(486)
        net.assert_all_freed()


def test_a_sips_contact_at_us_takes_only_targets_with_tls_3261_26_2_2() -> None:
    net = Net(FOLLOWING)
    redirect(net, "Contact: <sips:2002@192.0.2.1>")  # no target of the route has TLS
    net.pbx.take(302)
    net.carrier.nothing()
    tls = FOLLOWING.replace("sip:192.0.2.4:5060", "sips:192.0.2.4:5061")
    net = Net(tls.replace('to = ["carrier"]', 'to = ["carrier", "backup"]'), streams=("tls",))
    secure = net.peer(("192.0.2.4", 5061), "secure", "tls")
    redirect(net, "Contact: <sips:2002@192.0.2.1>")
    assert refuse(secure, 600).uri == b"sips:2002@192.0.2.4:5061"
    net.pbx.take(600)
    net.assert_all_freed()


GERMAN = FOLLOWING.replace(
    'redirect = "follow"\n', 'redirect = "follow"\nnumbers = {region = "DE", send = "national"}\n'
)
GERMAN_CALLS = '[[route]]\nfrom = ["pbx"]\ncalled.prefix = "+49"\nto = ["backup"]\n'


@pytest.mark.parametrize("contact", ["<tel:030123456>", "<sip:030123456@192.0.2.1>"])
def test_a_number_that_is_followed_is_read_and_written_as_the_trunks_say_it(contact: str) -> None:
    net = Net(GERMAN.replace("[[route]]", GERMAN_CALLS + "[[route]]", 1))
    redirect(net, f"Contact: {contact}")
    assert refuse(net.backup, 486).uri.startswith(b"sip:+4930123456@192.0.2.4:5060")
    net.pbx.take(486)
    net.assert_all_freed()
    net = Net(GERMAN)
    redirect(net, f"Contact: {contact}")
    assert refuse(net.carrier, 486).uri.startswith(b"sip:030123456@192.0.2.3:5060")
    net.pbx.take(486)
    net.assert_all_freed()


def test_the_number_of_a_signed_call_is_followed_as_it_is_8224_8_3() -> None:
    net = Net(GERMAN.replace("[[route]]", GERMAN_CALLS + "[[route]]", 1))
    net.pbx.invite(headers="Identity: x.y.z;info=<https://c.example/c>")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 302, headers="Contact: <tel:030123456>")
    net.carrier.take("ACK")
    assert refuse(net.carrier, 486).uri.startswith(b"sip:030123456@")
    net.pbx.take(486)
    net.assert_all_freed()
