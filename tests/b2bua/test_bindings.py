"""REGISTER of a PBX through the gateway to a registrar trunk (RFC 3261 10, RFC 8197 6)."""

from __future__ import annotations

import re

import pytest

from tests.b2bua.registering import (
    AOR,
    OURS,
    PHONE,
    REGISTRAR,
    TWO_TRUNKS,
    bound,
    granted,
    register,
    registered_as,
    token_of,
)
from tests.helpers import SDP, Address, Net, hang_up, text
from tests.helpers import End as Ends


def test_a_register_to_the_gateway_goes_to_the_registrar_s_domain_3261_10_2() -> None:
    net = Net(REGISTRAR)
    got = register(net, "<sip:alice@192.0.2.77>", headers="Supported: path")
    assert got.uri == b"sip:192.0.2.3"
    assert (text(got, b"To"), text(got, b"Expires")) == (AOR, "600")
    assert text(got, b"Supported") == "path"
    granted(net, got)


def test_the_path_of_a_register_is_ours_to_follow_3327_5() -> None:
    """Phones behind an edge proxy: the registrar hears of neither, the proxy gets what is for its phone."""
    net = Net(REGISTRAR)
    edge, inner = "<sip:e7@192.0.2.2:5060;lr>", "<sip:10.0.0.9;lr>"
    got = register(net, "<sip:alice@10.0.0.5>", headers=f"Path: {edge},\nSupported: path\nPath: ,{inner}")
    assert not got.has(b"Path")
    token = token_of(text(got, b"Contact"))
    contact, beyond = f"<sip:{token}@192.0.2.1:5060>;expires=600", "Path: <sip:p1.carrier.example;lr>"
    response = granted(net, got, contact, headers=f"{beyond}\nService-Route: <sip:s1.carrier.example;lr>")
    assert response.values(b"Path") == [f"{edge},".encode(), f",{inner}".encode()]
    assert not response.has(b"Service-Route")

    invite = net.carrier.invite(uri=f"sip:{token}@192.0.2.1:5060")
    net.carrier.take(100)
    offer = net.pbx.take_request("INVITE")
    assert (offer.uri, text(offer, b"Route")) == (b"sip:alice@10.0.0.5", f"{edge}, {inner}")
    net.pbx.reply(offer, 486)
    ack = net.pbx.take_request("ACK")
    assert (ack.uri, ack.lines(b"Route")) == (offer.uri, offer.lines(b"Route"))
    net.carrier.ack(invite, net.carrier.take_response(486))

    net.carrier.request("MESSAGE", uri=f"sip:{token}@192.0.2.1:5060")
    message = net.pbx.take_request("MESSAGE")
    assert (message.uri, text(message, b"Route")) == (b"sip:alice@10.0.0.5", f"{edge}, {inner}")
    net.pbx.reply(message, 200)
    net.carrier.take(200)


def test_after_the_path_the_record_route_tells_the_way_3261_12_1_2() -> None:
    net = Net(REGISTRAR)
    got = register(net, "<sip:alice@10.0.0.5>", headers="Path: <sip:e7@192.0.2.2:5060;lr>")
    token = token_of(text(got, b"Contact"))
    granted(net, got, f"<sip:{token}@192.0.2.1:5060>;expires=600")
    invite = net.carrier.invite(uri=f"sip:{token}@192.0.2.1:5060")
    net.carrier.take(100)
    offer = net.pbx.take_request("INVITE")
    net.pbx.reply(
        offer, 200, body=SDP, contact=False,
        headers="Contact: <sip:alice@10.0.0.5>\nRecord-Route: <sip:192.0.2.2:5060;lr>",
    )  # fmt: skip
    net.carrier.ack(invite, net.carrier.take_response(200))
    ack = net.pbx.take_request("ACK")
    assert (ack.uri, text(ack, b"Route")) == (b"sip:alice@10.0.0.5", "<sip:192.0.2.2:5060;lr>")


def test_a_register_without_its_path_goes_to_the_contact_again_3327_5() -> None:
    """Each REGISTER of a contact says anew what leads to it."""
    net = Net(REGISTRAR)
    for headers in ("Path: <sip:192.0.2.99;lr>", ""):
        got = register(net, "<sip:alice@192.0.2.2:5060>", headers=headers)
        token = token_of(text(got, b"Contact"))
        granted(net, got, f"<sip:{token}@192.0.2.1:5060>;expires=600")
    net.carrier.invite(uri=f"sip:{token}@192.0.2.1:5060")
    assert not net.pbx.take_request("INVITE").has(b"Route")


@pytest.mark.parametrize("path", ["sip", "<tel:+15550100>", "<sip:a", f"<sip:{2100 * 'a'};lr>"])
def test_a_path_that_nobody_could_follow_is_refused_with_400(path: str) -> None:
    net = Net(REGISTRAR)
    headers = f"Contact: <sip:alice@10.0.0.5>\nPath: {path}"
    net.pbx.request("REGISTER", uri="sip:192.0.2.1", contact=False, headers=headers)
    net.pbx.take(400)
    net.carrier.nothing()
    assert not net.core.contacts
    net.assert_all_freed()


def test_a_register_without_a_route_gets_404() -> None:
    net = Net(REGISTRAR.replace('from = ["pbx"]', 'from = ["backup"]'))
    net.pbx.request("REGISTER", uri="sip:192.0.2.1", headers="Expires: 60")
    net.pbx.take(404)
    assert not net.core.contacts
    net.assert_all_freed()


def test_each_contact_is_mapped_both_ways_and_its_parameters_pass_3261_10_3() -> None:
    net = Net(REGISTRAR)
    got = register(
        net,
        '"<sip:alice@192.0.2.77>" <sip:alice@192.0.2.77>;q=0.7;+sip.instance="<urn:uuid:1>", '
        "sip:alice@192.0.2.78;expires=60;q=0.1",
        "<sip:alice@192.0.2.79>",
    )
    first, second = (line.decode() for line in got.lines(b"Contact"))
    tokens = OURS.findall(first)
    other, third = re.findall("sip:([0-9a-f]{16})@", first)[1], token_of(second)
    assert first == (
        f'Contact: "<sip:alice@192.0.2.77>" <sip:{tokens[0]}@192.0.2.1:5060>;q=0.7;'
        '+sip.instance="<urn:uuid:1>", '
        f"sip:{other}@192.0.2.1:5060;expires=60;q=0.1"
    )
    response = granted(
        net,
        got,
        f'<sip:{tokens[0]}@192.0.2.1:5060>;expires=599;q=0.7;+sip.instance="<urn:uuid:1>"',
        f"<sip:{other}@192.0.2.1:5060>;expires=55, <sip:{third}@192.0.2.1:5060>;expires=599",
        "<sip:alice@198.51.100.9>;expires=7",
    )
    assert [line.decode() for line in response.lines(b"Contact")] == [
        'Contact: <sip:alice@192.0.2.77>;expires=599;q=0.7;+sip.instance="<urn:uuid:1>"',
        "Contact: <sip:alice@192.0.2.78>;expires=55, <sip:alice@192.0.2.79>;expires=599",
        "Contact: <sip:alice@198.51.100.9>;expires=7",  # registered elsewhere
    ]
    assert len({tokens[0], other, third}) == len(net.core.bindings) == 3


def test_a_refresh_names_the_contact_that_the_registrar_knows_3261_10_2_4() -> None:
    net = Net(REGISTRAR)
    token = bound(net)
    again = register(net, "<sip:alice@192.0.2.77:5066>")
    assert token_of(text(again, b"Contact")) == token


def test_a_registrar_takes_a_register_after_a_restart_for_a_refresh_3261_10_2_4() -> None:
    """Asterisk refuses one more contact than ``max_contacts``, and the phone then never registers again."""
    token = bound(Net(REGISTRAR))
    net = Net(REGISTRAR)
    net.endpoint.new_token()  # nothing that is drawn is in it
    assert bound(net) == token
    phone = net.peer(PHONE, "alice")
    net.carrier.request("MESSAGE", uri=f"sip:{token}@192.0.2.1", to=AOR)
    phone.take("MESSAGE")


def test_contacts_that_differ_in_anything_have_user_parts_of_their_own() -> None:
    net = Net(TWO_TRUNKS)
    for peer in (net.pbx, net.backup):
        for aor in (AOR, "<sip:bob@example.org>"):
            for contact in ("<sip:alice@192.0.2.77:5066>", "<sip:alice@192.0.2.77:5067>"):
                peer.request(
                    "REGISTER", uri="sip:192.0.2.1", to=aor, contact=False, headers=f"Contact: {contact}"
                )
                net.carrier.take("REGISTER")
    assert len(net.core.contacts) == len(net.core.bindings) == 8


def test_a_call_to_the_registered_contact_reaches_the_phone_by_its_own_uri_3261_16_6() -> None:
    net = Net(REGISTRAR)
    phone = net.peer(PHONE, "alice")
    got = register(net, "<sip:al%69ce;x=1@192.0.2.77:5066;ob;transport=udp>")
    token = token_of(text(got, b"Contact"))
    granted(net, got, f"<sip:{token}@192.0.2.1:5060>;expires=600")
    invite = net.carrier.invite(uri=f"sip:{token}@192.0.2.1:5060", to=AOR)
    net.carrier.take(100)
    offer = phone.take_request("INVITE")
    assert offer.uri == b"sip:al%69ce;x=1@192.0.2.77:5066;ob;transport=udp"
    phone.reply(offer, 200, body=SDP)
    answer = net.carrier.take_response(200)
    net.carrier.ack(invite, answer)
    phone.take("ACK")
    hang_up(Ends.of_caller(net.carrier, invite, answer), Ends.of_callee(phone, offer))
    record = net.only_record
    assert (record.caller_trunk, record.callee_trunk) == ("carrier", "pbx")


def test_other_requests_to_the_registered_contact_reach_the_phone_too() -> None:
    net = Net(REGISTRAR)
    phone = net.peer(PHONE, "alice")
    token = bound(net)
    for method in ("MESSAGE", "NOTIFY", "OPTIONS"):
        net.carrier.request(method, uri=f"sip:{token}@192.0.2.1", to=AOR)
        got = phone.take_request(method)
        assert got.uri == b"sip:alice@192.0.2.77:5066"
        phone.reply(got, 200)
        net.carrier.take(200)


def test_the_contact_means_nothing_to_another_trunk() -> None:
    net = Net(REGISTRAR)
    phone = net.peer(PHONE, "alice")
    token = bound(net)
    net.backup.invite(uri=f"sip:{token}@192.0.2.1")
    net.backup.take(100)
    phone.nothing()
    assert net.pbx.take_request("INVITE").uri == f"sip:{token}@192.0.2.2:5060".encode()  # as any number


def test_a_contact_lives_as_long_as_the_registrar_grants() -> None:
    net = Net(REGISTRAR)
    token = bound(net, expires=90)
    net.run(89)
    phone = net.peer(PHONE, "alice")
    net.carrier.request("MESSAGE", uri=f"sip:{token}@192.0.2.1")
    phone.reply(phone.take_request("MESSAGE"), 200)
    net.carrier.take(200)
    net.run(1.1)
    net.carrier.request("MESSAGE", uri=f"sip:{token}@192.0.2.1")
    net.carrier.take(404)
    phone.nothing()
    net.run(60)
    assert len(net.core.bindings) == len(net.core.contacts) == 0
    net.assert_all_freed()


@pytest.mark.parametrize("contacts", [("*",), ("<sip:alice@192.0.2.77:5066>",)])
def test_contacts_are_removed_all_by_star_or_one_by_zero_3261_10_2_2(contacts: tuple[str, ...]) -> None:
    net = Net(REGISTRAR)
    token = bound(net)
    got = register(net, *contacts, expires=0)
    said = text(got, b"Contact")
    assert said == "*" if contacts == ("*",) else token_of(said) == token
    granted(net, got)
    assert len(net.core.bindings) == len(net.core.contacts) == 0


def test_a_contact_that_the_registrar_lists_no_more_is_forgotten_3261_10_2_4() -> None:
    net = Net(REGISTRAR)
    bound(net)
    got = register(net, "<sip:alice@192.0.2.78>")
    token = token_of(text(got, b"Contact"))
    granted(net, got, f"<sip:{token}@192.0.2.1:5060>;expires=600")
    assert list(net.core.contacts) == [token.encode()]


def test_a_contact_whose_own_register_is_under_way_is_not_forgotten_by_another_s_answer() -> None:
    net = Net(REGISTRAR)
    first = register(net, "<sip:alice@192.0.2.77>")
    second = register(net, "<sip:alice@192.0.2.78>")
    granted(net, first, f"{text(first, b'Contact')};expires=600")
    granted(net, second, f"{text(first, b'Contact')};expires=600, {text(second, b'Contact')};expires=600")
    assert len(net.core.bindings) == 2


def test_a_registrar_that_grants_for_ever_is_believed_for_a_week() -> None:
    net = Net(REGISTRAR)
    bound(net, expires=4_000_000_000)
    net.run(7 * 86_400 - 60)
    assert len(net.core.bindings) == 1
    net.run(120)
    assert len(net.core.bindings) == 0


def test_a_registrar_that_lists_nothing_has_granted_what_was_asked() -> None:
    net = Net(REGISTRAR)
    granted(net, register(net, "<sip:alice@192.0.2.78>", expires=120))
    net.run(61)
    assert len(net.core.bindings) == 1
    net.run(120)
    assert len(net.core.bindings) == 0


def test_a_fetch_shows_the_phone_its_own_contacts_3261_10_2_3() -> None:
    net = Net(REGISTRAR)
    token = bound(net)
    got = register(net, expires=None)
    assert b"Contact" not in got.index
    response = granted(net, got, f"<sip:{token}@192.0.2.1:5060>;expires=300")
    assert text(response, b"Contact") == "<sip:alice@192.0.2.77:5066>;expires=300"


def test_a_challenge_and_a_423_pass_and_the_binding_waits_for_them_3261_10_2_8() -> None:
    net = Net(REGISTRAR)
    got = register(net, "<sip:alice@192.0.2.77>", expires=10)
    token = token_of(text(got, b"Contact"))
    net.carrier.reply(got, 401, headers='WWW-Authenticate: Digest realm="r", nonce="n"')
    assert b"WWW-Authenticate" in net.pbx.take_response(401).index
    again = register(net, "<sip:alice@192.0.2.77>", expires=10, headers='Authorization: Digest username="a"')
    assert text(again, b"Authorization") == 'Digest username="a"'
    assert token_of(text(again, b"Contact")) == token
    net.carrier.reply(again, 423, headers="Min-Expires: 60")
    assert text(net.pbx.take_response(423), b"Min-Expires") == "60"
    assert len(net.core.bindings) == 1
    net.assert_all_freed()
    assert len(net.core.bindings) == 0


@pytest.mark.parametrize(
    ("listed", "emitted"),
    [
        ("", ["*;+sip.607"]),
        ("Feature-Caps: *;+sip.607", ["*;+sip.607"]),
        ("Feature-Caps: *;+g.x, *;+SIP.607", ["*;+g.x, *;+SIP.607"]),
        ("Feature-Caps: *;+g.x", ["*;+g.x", "*;+sip.607"]),
    ],
)
def test_a_registrar_that_processes_607_is_said_to_once_8197_6(listed: str, emitted: list[str]) -> None:
    net = Net(REGISTRAR)
    got = register(net, "<sip:alice@192.0.2.77>")
    contact = text(got, b"Contact")
    response = granted(net, got, contact, headers=listed)
    assert [value.decode() for value in response.values(b"Feature-Caps")] == emitted


def test_607_is_not_claimed_for_a_registrar_without_it_nor_in_a_rejection() -> None:
    net = Net()
    got = register(net, "<sip:alice@192.0.2.77>")
    assert b"Feature-Caps" not in granted(net, got, text(got, b"Contact")).index
    net = Net(REGISTRAR)
    net.carrier.reply(register(net, "<sip:alice@192.0.2.77>"), 403)
    assert b"Feature-Caps" not in net.pbx.take_response(403).index


@pytest.mark.parametrize(
    "contact",
    ["<sip:", '"', "<tel:1>", "<sip:t1@192.0.2.1>;expires=99999999999999", "*", "sip:t999@h, ,", "<sip:@>;q"],
)
def test_whatever_contact_a_registrar_answers_with_passes_or_is_mapped(contact: str) -> None:
    net = Net(REGISTRAR)
    got = register(net, "<sip:alice@192.0.2.77>")
    response = granted(net, got, contact)
    assert text(response, b"Contact") == contact.strip()


@pytest.mark.parametrize(
    ("contact", "status"),
    [
        ("<tel:+15550100>", 503),
        ("<sip:alice@phones.invalid>", 503),
        ("<sip:alice@192.0.2.77;transport=sctp>", 503),
    ],
)
def test_a_contact_that_cannot_be_reached_is_a_rejection_and_no_more(contact: str, status: int) -> None:
    net = Net(REGISTRAR)
    got = register(net, contact)
    token = token_of(text(got, b"Contact"))
    granted(net, got, f"<sip:{token}@192.0.2.1:5060>;expires=600")
    invite = net.carrier.invite(uri=f"sip:{token}@192.0.2.1")
    net.carrier.take(100)
    net.carrier.ack(invite, net.carrier.take_response(status))


def test_headers_in_a_contact_are_no_part_of_the_request_uri_3261_19_1_1() -> None:
    net = Net(REGISTRAR)
    phone = net.peer(PHONE, "alice")
    got = register(net, "<sip:alice@192.0.2.77:5066?Subject=x>")
    token = token_of(text(got, b"Contact"))
    granted(net, got, f"<sip:{token}@192.0.2.1:5060>;expires=600")
    net.carrier.request("MESSAGE", uri=f"sip:{token}@192.0.2.1")
    assert phone.take_request("MESSAGE").uri == b"sip:alice@192.0.2.77:5066"


@pytest.mark.parametrize(
    ("contact", "place"),
    [
        ("sip:alice@127.0.0.1:5038", ("127.0.0.1", 5038)),
        ("sip:alice@192.0.2.77;maddr=127.0.0.1", ("127.0.0.1", 5060)),
        ("sip:alice@0.0.0.0", ("0.0.0.0", 5060)),
        ("sip:alice@169.254.169.254:80", ("169.254.169.254", 80)),
        ("sip:alice@224.0.1.75", ("224.0.1.75", 5060)),
    ],
)
def test_a_contact_cannot_aim_requests_at_this_machine_or_at_groups_of_machines(
    contact: str, place: Address
) -> None:
    net = Net(REGISTRAR)
    aimed_at = net.peer(place, "victim")
    uri = registered_as(net, contact, net.pbx)
    net.carrier.request("MESSAGE", uri=uri)
    # As in a dialog, it goes to where the peer was heard from.
    assert net.pbx.take_request("MESSAGE").uri == contact.encode()
    aimed_at.nothing()


def test_a_phone_on_this_machine_is_reached_there() -> None:
    net = Net(REGISTRAR.replace('source = ["192.0.2.2"]', 'source = ["192.0.2.2", "127.0.0.1"]'))
    phone = net.peer(("127.0.0.1", 5070), "alice")
    line = net.peer(("127.0.0.2", 5071), "line")
    net.carrier.request("MESSAGE", uri=registered_as(net, "sip:alice@127.0.0.2:5071", phone))
    line.take("MESSAGE")


def test_a_contact_behind_a_nat_is_called_where_it_registered_from_last_3581_4() -> None:
    net = Net(REGISTRAR.replace('name = "pbx"\n', 'name = "pbx"\nnat = true\n'))
    inner = "sip:alice@10.0.0.5:5066"
    first, moved = net.peer(("192.0.2.2", 41000), "first"), net.peer(("192.0.2.2", 42000), "moved")
    uri = registered_as(net, inner, first)
    net.carrier.request("MESSAGE", uri=uri)
    assert first.take_request("MESSAGE").uri == inner.encode()
    assert registered_as(net, inner, moved) == uri
    net.carrier.request("MESSAGE", uri=uri)
    moved.take("MESSAGE")
    first.nothing()


def test_a_contact_that_takes_no_connection_is_called_on_the_one_it_registered_over_rfc_5923_1() -> None:
    net = Net(REGISTRAR, streams=("tcp",))
    phone = net.peer(("192.0.2.2", 41000), "phone", "tcp")
    uri = registered_as(net, "sip:alice@192.0.2.2:5066;transport=tcp", phone)
    net.carrier.request("MESSAGE", uri=uri)
    phone.reply(phone.take_request("MESSAGE"), 200)
    net.carrier.take(200)
    listening = net.peer(("192.0.2.2", 5066), "listening", "tcp")
    net.carrier.request("MESSAGE", uri=uri)
    listening.take("MESSAGE")
    phone.nothing()
