"""Final rejections: our own ACK to the callee, the rules' answer to the caller, each repeated as due."""

from __future__ import annotations

import pytest

from tests.helpers import Net, Peer, text

DEAD = 'Reason: Q.850;cause=1;text="Unallocated (unassigned) number"'


def reject(net: Net, status: int, phrase: str | None = None, headers: str = "", body: bytes = b"") -> None:
    """Play a call up to the callee's rejection, with the callee's ACK taken."""
    net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, status, phrase, headers=headers, body=body)
    net.carrier.take("ACK")


@pytest.mark.parametrize(
    "status", [300, 302, 305, 400, 401, 404, 407, 486, 488, 500, 503, 599, 600, 603, 699]
)
def test_a_rejection_without_a_rule_passes_as_it_came(status: int) -> None:
    net = Net()
    reject(net, status, "In their own words", "X-Why: because\nServer: carrier/1", b"<why/>")
    response = net.pbx.take_response(status)
    assert response.phrase == b"In their own words"
    assert (text(response, b"x-why"), text(response, b"Server")) == ("because", "carrier/1")
    assert (response.body, text(response, b"Content-Type")) == (b"<why/>", "application/sdp")
    record = net.only_record
    assert (record.original_status, record.emitted_status, record.origin) == (status, status, "peer")
    assert (record.rule, record.mode, record.ended_by, record.end_reason) == ("", "", "callee", "rejected")
    net.assert_all_freed()


def test_a_603_for_a_dead_number_reaches_the_caller_as_404() -> None:
    net = Net()
    reject(net, 603, "Decline", DEAD)
    response = net.pbx.take_response(404)
    assert response.phrase == b"Not Found"
    assert response.lines(b"Reason") == [
        b'Reason: Q.850;cause=1;text="Unallocated (unassigned) number"',
        b'Reason: SIP;cause=603;text="Decline"',
    ]
    record = net.only_record
    assert (record.original_status, record.original_phrase, record.original_q850) == (603, "Decline", 1)
    assert (record.emitted_status, record.emitted_phrase, record.emitted_q850) == (404, "Not Found", 1)
    assert (record.rule, record.mode, record.origin) == ("dead-number", "enforce", "peer")
    assert net.core.rewrites == {("dead-number", "carrier", "pbx", 603, 404): 1}
    net.assert_all_freed()


def test_our_ack_is_hop_by_hop_and_that_of_its_invite_3261_17_1_1_3() -> None:
    net = Net()
    net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 486, tag="busy")
    ack = net.carrier.take_request("ACK")
    assert (ack.uri, ack.via.raw, ack.call_id) == (offer.uri, offer.via.raw, offer.call_id)
    assert (ack.cseq, ack.to_tag, ack.sender.uri) == ((offer.cseq[0], b"ACK"), b"busy", offer.sender.uri)
    assert len(ack.lines(b"Via")) == 1
    net.pbx.take(486)
    net.assert_all_freed()


def test_a_rejection_that_comes_again_gets_its_ack_again_and_goes_no_further_3261_17_1_1_2() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 486)
    ack = net.carrier.take_request("ACK")
    net.pbx.ack(invite, net.pbx.take_response(486))
    for status in (486, 486, 603):  # a second final response that differs is no other (RFC 3261 17.1.1.2)
        net.carrier.reply(offer, status)
        assert net.carrier.take_request("ACK").rows == ack.rows
    net.carrier.reply(offer, 180)
    net.carrier.reply(offer, 200)
    net.carrier.nothing()
    net.pbx.nothing()
    net.assert_all_freed()


def take_raw(peer: Peer, status: int) -> bytes:
    raw = peer.raw[0]
    peer.take(status)
    return raw


def test_a_rewritten_rejection_is_repeated_byte_for_byte_until_its_ack_3261_17_2_1() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 603, headers=DEAD)
    net.pbx.net.run()
    first = take_raw(net.pbx, 404)
    net.run(8)  # timer G: after 0.5, 1.5, 3.5 and 7.5 s
    assert [take_raw(net.pbx, 404) for _ in range(4)] == [first] * 4
    net.pbx.again(invite)  # and when the INVITE comes again
    net.pbx.net.run()
    assert take_raw(net.pbx, 404) == first
    net.pbx.ack(invite, net.pbx.take_response(404)) if net.pbx.inbox else net.pbx.cancel(invite)
    net.assert_all_freed()


def test_the_ack_of_the_caller_stops_the_repetition() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    net.carrier.reply(net.carrier.take_request("INVITE"), 486)
    response = net.pbx.take_response(486)
    net.pbx.ack(invite, response)
    net.run(60)
    net.pbx.nothing()
    net.assert_all_freed()


def test_a_rejection_nobody_acknowledges_is_given_up_after_64_t1_3261_17_2_1() -> None:
    net = Net()
    reject(net, 486)
    net.run(33)
    for _ in range(11):
        net.pbx.take(486)
    net.run(60)
    net.pbx.nothing()
    net.assert_all_freed()


def test_a_302_keeps_the_contact_that_is_its_message_3261_21_3() -> None:
    net = Net()
    reject(net, 302, headers="Contact: <sip:new@198.51.100.7>;q=0.7, <tel:+4930123>\nDiversion: <sip:1001@c>")
    response = net.pbx.take_response(302)
    assert response.lines(b"Contact") == [b"Contact: <sip:new@198.51.100.7>;q=0.7, <tel:+4930123>"]
    assert text(response, b"Diversion") == "<sip:1001@c>"
    net.assert_all_freed()


def test_a_485_keeps_its_contacts_and_a_486_does_not_show_the_callees() -> None:
    net = Net()
    reject(net, 485, headers="Contact: <sip:a@198.51.100.7>")
    assert text(net.pbx.take_response(485), b"Contact") == "<sip:a@198.51.100.7>"
    net.assert_all_freed()
    net = Net()
    reject(net, 486, headers="Contact: <sip:a@198.51.100.7>")
    assert b"Contact" not in net.pbx.take_response(486).index
    net.assert_all_freed()


def test_challenges_pass_so_that_the_caller_can_answer_them() -> None:
    net = Net()
    challenge = 'Digest realm="carrier", nonce="abc", algorithm=SHA-256'
    invite = net.pbx.invite(call_id="challenged", from_="<sip:pbx@192.0.2.2>;tag=one")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 407, headers=f"Proxy-Authenticate: {challenge}")
    net.carrier.take("ACK")
    response = net.pbx.take_response(407)
    assert text(response, b"Proxy-Authenticate") == challenge
    net.pbx.ack(invite, response)
    credentials = 'Digest username="pbx", realm="carrier", nonce="abc", uri="sip:1001@c", response="0"'
    net.pbx.invite(
        call_id="challenged",
        from_="<sip:pbx@192.0.2.2>;tag=one",
        seq=2,
        headers=f"Proxy-Authorization: {credentials}",
    )
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert text(offer, b"Proxy-Authorization") == credentials
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    assert [record.emitted_status for record in net.records] == [407, 486]
    net.assert_all_freed()


def test_a_rejection_after_ringing_keeps_the_tag_of_the_early_dialog() -> None:
    net = Net()
    net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 180)
    ringing = net.pbx.take_response(180)
    net.run(5)
    net.carrier.reply(offer, 603)
    assert net.pbx.take_response(603).to_tag == ringing.to_tag
    record = net.only_record
    assert (record.ringing_at - record.invited_at, record.ended_at - record.ringing_at) == (0, 5)
    net.assert_all_freed()


def test_a_rejection_without_a_phrase_or_with_a_strange_one_passes() -> None:
    for phrase in ("", 'Nö ☎ ; , " <', "x" * 500):
        net = Net()
        reject(net, 480, phrase)
        assert net.pbx.take_response(480).phrase == phrase.encode()
        assert net.only_record.emitted_phrase == phrase
        net.assert_all_freed()
