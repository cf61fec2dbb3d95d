"""Contacts and Record-Routes that are host names: where requests inside the dialog go (RFC 3263 4)."""

from __future__ import annotations

import pytest

from gateway.routing.locate import Address, Waiter
from gateway.routing.trunk import Target
from gateway.sip.message import Request
from tests.helpers import CARRIER, CARRIER2, CONFIG, SDP, End, Net, Peer, begin, establish, text

OTHER = ("192.0.2.9", 5070)
NAME = "Contact: <sip:carrier@callee.example>"


class Names:
    """A locator: what is asked for waits until it is told, or is known already."""

    def __init__(self, net: Net, *known: Address) -> None:
        self.net = net
        self.known = known
        self.asked: list[tuple[str, int, str, bool]] = []
        self.waiting: list[Waiter] = []
        net.core.locator = self

    def locate(self, target: Target, waiter: Waiter, _now: float) -> tuple[Address, ...] | None:
        self.asked.append((target.host, target.port, target.transport, target.srv))
        if self.known:
            return self.known
        self.waiting.append(waiter)
        return None

    def tell(self, *addresses: Address) -> None:
        self.waiting.pop(0).on_located(addresses, self.net.now)


def answered(net: Net, headers: str) -> tuple[End, End]:
    """A call that the carrier answers with this Contact, or these headers more, up to the ACK."""
    invite, offer = begin(net)
    net.carrier.reply(offer, 200, headers=headers, contact="Contact" not in headers, body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    return End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer)


def bye_at(net: Net, caller: End, peer: Peer) -> None:
    caller.request("BYE", contact=False)
    peer.reply(peer.take_request("BYE"), 200)
    net.pbx.take(200)
    net.assert_all_freed()


def test_a_name_in_a_contact_is_looked_up_and_followed_3261_12_2_1_1() -> None:
    net = Net()
    other = net.peer(OTHER, "other")
    names = Names(net, Address(*OTHER, "udp"))
    caller, _ = answered(net, NAME)
    ack = other.take_request("ACK")
    assert ack.uri == b"sip:carrier@callee.example"
    assert names.asked == [("callee.example", 5060, "udp", True)]
    bye_at(net, caller, other)
    net.carrier.nothing()


def test_until_the_name_is_known_requests_go_to_where_the_peer_was_heard_from() -> None:
    net = Net()
    other = net.peer(OTHER, "other")
    names = Names(net)
    caller, _ = answered(net, NAME)
    net.carrier.take("ACK")
    names.tell(Address(*OTHER, "udp"))
    bye_at(net, caller, other)


def test_a_caller_that_names_itself_is_found_too() -> None:
    net = Net()
    other = net.peer(OTHER, "other")
    names = Names(net, Address(*OTHER, "udp"))
    invite = net.pbx.invite(contact=False, headers="Contact: <sip:pbx@caller.example:5070>")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 200, body=SDP)
    net.pbx.ack(invite, net.pbx.take_response(200))
    net.carrier.take("ACK")
    assert names.asked == [("caller.example", 5070, "udp", False)]
    End.of_callee(net.carrier, offer).request("BYE", contact=False)
    other.reply(other.take_request("BYE"), 200)
    net.carrier.take(200)
    net.assert_all_freed()


def test_the_first_of_the_record_routes_is_what_is_looked_up() -> None:
    net = Net()
    other = net.peer(OTHER, "other")
    names = Names(net, Address(*OTHER, "udp"))
    caller, _ = answered(net, "Record-Route: <sip:192.0.2.77;lr>\nRecord-Route: <sip:edge.example;lr>")
    assert text(other.take_request("ACK"), b"Route").startswith("<sip:edge.example;lr>")
    assert [asked[0] for asked in names.asked] == ["edge.example"]
    bye_at(net, caller, other)


def test_a_dialog_stays_with_the_server_it_talks_to_when_the_name_has_several() -> None:
    net = Net()
    Names(net, Address(*CARRIER2, "udp"), Address(*CARRIER, "udp"))
    caller, _ = answered(net, NAME)
    net.carrier.take("ACK")
    bye_at(net, caller, net.carrier)
    net.backup.nothing()


def test_an_answer_for_a_target_that_was_given_up_changes_nothing() -> None:
    net = Net()
    other = net.peer(OTHER, "other")
    names = Names(net)
    caller, callee = answered(net, NAME)
    net.carrier.take("ACK")
    callee.request("UPDATE")
    net.pbx.reply(net.pbx.take_request("UPDATE"), 200)
    net.carrier.take(200)
    names.tell(Address(*OTHER, "udp"))
    other.nothing()
    bye_at(net, caller, net.carrier)


@pytest.mark.parametrize("addresses", [(), (Address("2001:db8::1", 5060, "udp"),)])
def test_a_name_that_leads_nowhere_leaves_the_dialog_where_it_was(addresses: tuple[Address, ...]) -> None:
    net = Net()
    names = Names(net)
    caller, _ = answered(net, NAME)
    net.carrier.take("ACK")
    names.tell(*addresses)
    bye_at(net, caller, net.carrier)


def test_a_name_that_becomes_known_after_the_call_harms_nothing() -> None:
    net = Net()
    names = Names(net)
    caller, _ = answered(net, NAME)
    net.carrier.take("ACK")
    bye_at(net, caller, net.carrier)
    names.tell(Address(*OTHER, "udp"))
    net.run(1)
    net.assert_all_freed()


def test_addresses_are_not_asked_for_nor_are_peers_behind_a_nat_3581_4() -> None:
    net = Net()
    names = Names(net)
    establish(net)
    answered(net, "Contact: <sip:c@[2001:db8::1]>")
    net = Net(CONFIG.replace('name = "carrier"\n', 'name = "carrier"\nnat = true\n'))
    behind = Names(net)
    answered(net, NAME)
    assert (names.asked, behind.asked) == ([], [])


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "169.254.169.254"],
)
def test_a_peer_cannot_aim_requests_at_this_machine_or_at_groups_of_machines(
    host: str, transport: str
) -> None:
    for header in (
        f"Contact: <sip:x@{host}:6379;transport={transport}>",
        f"Record-Route: <sip:{host}:11211;lr>",
    ):
        net = Net(streams=("tcp",))
        aimed_at = [net.peer((host, port), "x", over) for port in (6379, 11211) for over in ("udp", "tcp")]
        caller, _ = answered(net, header)
        net.carrier.take("ACK")
        bye_at(net, caller, net.carrier)
        for service in aimed_at:
            service.nothing()


def test_peers_on_this_machine_name_its_addresses_rightly() -> None:
    net = Net(CONFIG.replace("192.0.2.3", "127.0.0.1"))
    here, other = net.peer(("127.0.0.1", 5060), "carrier"), net.peer(("127.0.0.1", 5070), "other")
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = here.take_request("INVITE")
    here.reply(offer, 200, contact=False, headers="Contact: <sip:other@127.0.0.1:5070>", body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    other.take("ACK")
    bye_at(net, End.of_caller(net.pbx, invite, answer), other)


# -- a name with several addresses (RFC 3263 4.3) -----------------------------------------------------------


def two_addresses(
    transport: str = "udp", config: str = CONFIG, headers: str = ""
) -> tuple[Net, Peer, Peer, End, End]:
    """A call whose callee named itself, and stands at two addresses; it has the first one's ACK."""
    net = Net(config, streams=("tcp",))
    first, second = net.peer(OTHER, "first", transport), net.peer(("192.0.2.10", 5070), "second", transport)
    Names(net, Address(*first.address, transport), Address(*second.address, transport))
    contact = f"Contact: <sip:carrier@callee.example;transport={transport}>"
    caller, callee = answered(net, f"{contact}\n{headers}")
    first.take("ACK")
    return net, first, second, caller, callee


def reinvited(net: Net, caller: End) -> Request:
    """The caller's re-INVITE, on its way."""
    reinvite = caller.request("INVITE", body=SDP)
    net.pbx.take(100)
    return reinvite


def test_a_bye_goes_to_the_next_address_when_a_new_connection_breaks_too_3263_4_3() -> None:
    net, first, second, caller, _ = two_addresses("tcp")
    caller.request("BYE", contact=False)
    bye = first.take_request("BYE")
    net.lose(first.address)
    assert first.take_request("BYE").via.branch == bye.via.branch
    net.lose(first.address)
    again = second.take_request("BYE")
    assert (again.cseq[0], again.uri) == (bye.cseq[0] + 1, bye.uri)
    second.reply(again, 200)
    net.pbx.take(200)
    net.assert_all_freed()


def test_a_503_inside_a_dialog_is_left_for_the_next_address_and_the_dialog_stays_there_3263_4_3() -> None:
    net, first, second, caller, _ = two_addresses()
    caller.request("INFO")
    first.reply(first.take_request("INFO"), 503)
    net.pbx.nothing()
    second.reply(second.take_request("INFO"), 200)
    net.pbx.take(200)
    bye_at(net, caller, second)
    first.nothing()


def test_when_every_address_says_503_so_do_we_3263_4_3() -> None:
    net, first, second, caller, _ = two_addresses()
    caller.request("INFO")
    for peer in (first, second):
        peer.reply(peer.take_request("INFO"), 503, "Busy Here Too")
    assert net.pbx.take_response(503).phrase == b"Busy Here Too"
    bye_at(net, caller, second)


def test_any_other_refusal_inside_a_dialog_is_the_answer() -> None:
    net, first, second, caller, _ = two_addresses()
    caller.request("INFO")
    first.reply(first.take_request("INFO"), 500)
    net.pbx.take(500)
    second.nothing()
    bye_at(net, caller, first)


def test_a_reinvite_that_meets_silence_goes_to_the_next_address_3263_4_3() -> None:
    net, first, second, caller, _ = two_addresses()
    reinvite = reinvited(net, caller)
    first.take_repeated("INVITE")
    net.run(33)
    first.forget()
    second.reply(second.take_repeated("INVITE"), 200, body=SDP, contact=False)
    net.pbx.take(200)
    caller.ack(reinvite)
    second.take("ACK")
    bye_at(net, caller, second)
    first.nothing()


def test_a_reinvite_that_was_cancelled_goes_nowhere_else() -> None:
    net, first, second, caller, _ = two_addresses()
    reinvite = reinvited(net, caller)
    offer = first.take_request("INVITE")
    first.reply(offer, 100, tag="")
    net.pbx.cancel(reinvite)
    net.pbx.take(200)
    first.reply(first.take_request("CANCEL"), 200)
    first.reply(offer, 503)
    first.take("ACK")
    caller.ack_refusal(reinvite)
    net.pbx.take(503)
    second.nothing()
    bye_at(net, caller, second)


def test_a_cancel_goes_where_its_reinvite_went_last_3261_9_1() -> None:
    net, first, second, caller, _ = two_addresses()
    reinvite = reinvited(net, caller)
    first.reply(first.take_request("INVITE"), 503)
    first.take("ACK")
    offer = second.take_request("INVITE")
    second.reply(offer, 100, tag="")
    net.pbx.cancel(reinvite)
    net.pbx.take(200)
    second.reply(second.take_request("CANCEL"), 200)
    second.reply(offer, 487)
    second.take("ACK")
    net.pbx.take(487)
    caller.ack_refusal(reinvite)
    bye_at(net, caller, second)


@pytest.mark.parametrize("method", ["INFO", "UPDATE"])
def test_after_silence_the_next_request_goes_to_the_next_address_4320_4_2(method: str) -> None:
    net, first, second, caller, _ = two_addresses()
    caller.request(method)
    net.run(33)
    first.forget()
    net.pbx.take(100)
    for peer in (second, net.pbx):
        peer.nothing()
    bye_at(net, caller, second)
    first.nothing()


@pytest.mark.parametrize("allow", ["", "Allow: INVITE, ACK, BYE, UPDATE"])
def test_a_refresh_that_meets_silence_goes_to_the_next_address_4028_10(allow: str) -> None:
    net, first, second, caller, _ = two_addresses(
        config=CONFIG.replace('name = "carrier"\n', 'name = "carrier"\nsession_timer = "1800s"\n'),
        headers=allow,
    )
    method = "UPDATE" if allow else "INVITE"
    net.run(900.1)
    first.take_repeated(method)
    net.run(37)
    first.forget()
    net.pbx.nothing()
    second.reply(second.take_repeated(method), 200, contact=False)
    net.run(0.1)
    second.forget()
    bye_at(net, caller, second)


def test_a_refresh_that_meets_silence_at_every_address_ends_the_call_in_time_4028_10() -> None:
    net, first, second, *_ = two_addresses(
        config=CONFIG.replace('name = "carrier"\n', 'name = "carrier"\nsession_timer = "1800s"\n'),
        headers="Allow: INVITE, ACK, BYE, UPDATE",
    )
    net.run(1800)
    for peer in (first, second):
        peer.take_repeated("UPDATE")
    net.pbx.take_repeated("BYE")
    assert net.only_record.end_reason == "session expired"


PINGED = CONFIG.replace('name = "carrier"\n', 'name = "carrier"\ndialog_ping = "60s"\n')


def test_a_ping_that_meets_silence_goes_to_the_next_address_5057_5_1() -> None:
    net, first, second, caller, _ = two_addresses(config=PINGED)
    net.run(60.1 + 32 + 60)
    first.take_repeated("OPTIONS")
    second.reply(second.take_repeated("OPTIONS"), 200)
    net.run(60.1 + 32 + 60)  # now the second falls silent
    second.take_repeated("OPTIONS")
    first.reply(first.take_repeated("OPTIONS"), 200)
    bye_at(net, caller, first)


def test_a_ping_that_meets_silence_at_every_address_ends_the_call_5057_5_1() -> None:
    net, first, second, *_ = two_addresses(config=PINGED)
    net.run(60.1 + 32 + 60 + 31)
    first.take_repeated("OPTIONS")
    second.take_repeated("OPTIONS")
    net.pbx.nothing()
    net.run(2)
    net.pbx.take_repeated("BYE")
    assert net.only_record.end_reason == "dialog lost"


def test_a_reinvite_that_meets_silence_at_every_address_ends_the_call_3261_14_1() -> None:
    net, first, second, caller, _ = two_addresses()
    reinvited(net, caller)
    net.run(64.1)
    first.take_repeated("INVITE")
    second.take_repeated("INVITE")
    net.pbx.take(408)
    net.pbx.take("BYE")
    assert net.only_record.end_reason == "dialog lost"


def test_a_peer_that_is_at_work_is_not_left_for_its_silence_3263_4_3() -> None:
    net, first, second, caller, _ = two_addresses()
    caller.request("INFO")
    first.reply(first.take_repeated("INFO"), 100, tag="")
    net.run(33)
    first.forget()
    net.pbx.take(100)
    bye_at(net, caller, first)
    second.nothing()


def test_requests_that_fail_at_one_address_together_turn_the_dialog_once() -> None:
    net, first, second, caller, _ = two_addresses()
    caller.request("INFO")
    caller.request("MESSAGE")
    info, message = first.take_request("INFO"), first.take_request("MESSAGE")
    first.reply(info, 503)
    first.reply(message, 503)
    for method in ("INFO", "MESSAGE"):
        second.reply(second.take_request(method), 200)
        net.pbx.take(200)
    bye_at(net, caller, second)
    first.nothing()


def test_a_challenge_at_the_next_address_is_answered_there_3261_22() -> None:
    account = 'name = "carrier"\nusername = "gw"\npassword_env = "PASSWORD"\n'
    net, first, second, caller, _ = two_addresses(config=CONFIG.replace('name = "carrier"\n', account))
    caller.request("INFO")
    first.reply(first.take_request("INFO"), 503)
    challenge = 'WWW-Authenticate: Digest realm="x", nonce="1", qop="auth"'
    second.reply(second.take_request("INFO"), 401, headers=challenge)
    again = second.take_request("INFO")
    assert b"Authorization" in again.index
    second.reply(again, 200)
    net.pbx.take(200)
    bye_at(net, caller, second)


def test_a_contact_that_becomes_an_address_has_no_others() -> None:
    net, first, second, caller, callee = two_addresses()
    callee.peer = net.carrier
    update = callee.request("UPDATE")
    net.pbx.reply(net.pbx.take_request("UPDATE"), 200)
    net.carrier.take(200)
    assert b"192.0.2.3" in update.need(b"Contact")
    caller.request("INFO")
    net.carrier.reply(net.carrier.take_request("INFO"), 503)
    net.pbx.take(503)
    bye_at(net, caller, net.carrier)
    for peer in (first, second):
        peer.nothing()


def test_an_ack_tries_the_next_address_when_the_2xx_keeps_coming_3263_4_3() -> None:
    """Nothing is answered to an ACK, so only the 2xx tells that nobody hears it where it goes."""
    net = Net()
    other = net.peer(OTHER, "other")
    Names(net, Address(*OTHER, "udp"), Address(*CARRIER2, "udp"))
    invite, offer = begin(net)
    net.carrier.reply(offer, 200, headers=NAME, contact=False, body=SDP)
    net.pbx.ack(invite, net.pbx.take_response(200))
    first = other.take_request("ACK")
    for hears in (other, net.backup, other):
        net.carrier.reply(offer, 200, headers=NAME, contact=False, body=SDP)
        assert hears.take_request("ACK").rows == first.rows
    net.backup.nothing()
    other.nothing()
    End.of_callee(net.carrier, offer).request("BYE", contact=False)
    net.pbx.reply(net.pbx.take_request("BYE"), 200)
    net.carrier.take(200)
    net.assert_all_freed()
