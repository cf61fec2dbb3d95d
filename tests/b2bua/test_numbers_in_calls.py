"""Numbers in calls: one form for routes, rules and records, and each trunk's own on its leg."""

from __future__ import annotations

from gateway.sip.message import Request
from tests.helpers import CONFIG, SDP, End, Net, hang_up, text

GERMAN_PBX = CONFIG.replace(
    'target = ["sip:192.0.2.2:5060"]\n',
    'target = ["sip:192.0.2.2:5060"]\nnumbers = {region = "DE", send = "national"}\n',
)
CALL = {"uri": "sip:030123456@192.0.2.1", "to": "<sip:030123456@192.0.2.1>"}
CALLER = '"A" <sip:089654321@192.0.2.2;user=phone>;tag=x'
E164_ONLY = GERMAN_PBX.replace('to = ["carrier"]', 'to = ["carrier"]\ncalled.prefix = ["+49"]')
RULES = """
version = 1
[[rule]]
name = "berlin"
when.called.prefix = ["+4930"]
when.caller.prefix = ["+4989"]
when.status = 603
then.status = 404
"""


def test_a_carrier_gets_e164_and_routes_rules_and_records_see_it() -> None:
    net = Net(E164_ONLY, RULES)
    net.pbx.invite(from_=CALLER, headers="P-Asserted-Identity: <sip:089654321@192.0.2.2>", **CALL)
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert offer.uri == b"sip:+4930123456@192.0.2.3:5060"
    assert text(offer, b"To") == "<sip:+4930123456@192.0.2.1>"
    assert text(offer, b"From").startswith('"A" <sip:+4989654321@192.0.2.2;user=phone>;tag=')
    assert text(offer, b"P-Asserted-Identity") == "<sip:+4989654321@192.0.2.2>"
    net.carrier.reply(offer, 603)
    refused = net.pbx.take_response(404)
    assert (text(refused, b"From"), refused.need(b"To").partition(b";")[0]) == (CALLER, CALL["to"].encode())
    record = net.only_record
    assert (record.called, record.caller, record.rule) == ("+4930123456", "+4989654321", "berlin")
    net.carrier.take("ACK")
    net.assert_all_freed()


def test_a_pbx_gets_national_numbers() -> None:
    net = Net(GERMAN_PBX)
    uri = "sip:+4930123456@192.0.2.1"
    net.carrier.invite(uri=uri, to=f"<{uri}>", from_="<sip:+442079460000@192.0.2.3>;tag=x")
    net.carrier.take(100)
    offer = net.pbx.take_request("INVITE")
    assert offer.uri == b"sip:030123456@192.0.2.2:5060"
    assert text(offer, b"From").startswith("<sip:00442079460000@192.0.2.3>;tag=")
    assert net.core.calls
    net.pbx.reply(offer, 486)
    net.pbx.take("ACK")
    net.carrier.take(486)
    assert net.only_record.called == "+4930123456"
    net.assert_all_freed()


def test_inside_its_dialog_each_leg_keeps_the_uris_it_began_with_3261_12() -> None:
    net = Net(GERMAN_PBX)
    invite = net.pbx.invite(from_=CALLER, **CALL)
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 200, body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    ack = net.carrier.take_request("ACK")
    assert ends(ack) == ends(offer)
    caller, callee = End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer)
    caller.request("INFO", contact=False)
    info = net.carrier.take_request("INFO")
    assert ends(info) == ends(offer)
    net.carrier.reply(info, 200)
    net.pbx.take(200)
    callee.request("INFO", contact=False)
    info = net.pbx.take_request("INFO")
    assert ends(info) == ends(invite)[::-1]
    net.pbx.reply(info, 200)
    net.carrier.take(200)
    hang_up(callee, caller)
    net.assert_all_freed()


def ends(request: Request) -> tuple[bytes, bytes]:
    """The URIs of From and To."""
    return request.sender.uri, request.receiver.uri


def test_a_cancel_names_the_invites_numbers_3261_9_1() -> None:
    net = Net(GERMAN_PBX)
    invite = net.pbx.invite(from_=CALLER, **CALL)
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    net.pbx.cancel(invite)
    net.pbx.take(200)
    net.pbx.take(487)
    cancel = net.carrier.take_request("CANCEL")
    assert (cancel.uri, ends(cancel)) == (offer.uri, ends(offer))
    net.carrier.reply(cancel, 200)
    net.carrier.reply(offer, 487)
    net.carrier.take("ACK")
    net.assert_all_freed()


def test_messages_outside_of_calls_have_numbers_too() -> None:
    net = Net(GERMAN_PBX)
    net.pbx.request("MESSAGE", from_=CALLER, **CALL)
    got = net.carrier.take_request("MESSAGE")
    assert (got.uri, ends(got)[1]) == (b"sip:+4930123456@192.0.2.3:5060", b"sip:+4930123456@192.0.2.1")
    net.carrier.reply(got, 200)
    net.pbx.take(200)
    net.assert_all_freed()


def test_a_signed_call_is_not_touched_8224() -> None:
    net = Net(GERMAN_PBX)
    net.pbx.invite(from_=CALLER, headers="Identity: e30..c2ln;info=<https://c.example/c>", **CALL)
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert offer.uri == b"sip:030123456@192.0.2.3:5060"
    assert ends(offer) == (b"sip:089654321@192.0.2.2;user=phone", b"sip:030123456@192.0.2.1")
    net.carrier.reply(offer, 486)
    net.carrier.take("ACK")
    net.pbx.take(486)
    net.assert_all_freed()


def test_numbers_and_hidden_hosts_go_together() -> None:
    net = Net(GERMAN_PBX.replace('name = "carrier"\n', 'name = "carrier"\nhide_topology = true\n'))
    net.pbx.invite(from_=CALLER, **CALL)
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert ends(offer) == (b"sip:+4989654321@192.0.2.1;user=phone", b"sip:+4930123456@192.0.2.1")
    net.carrier.reply(offer, 486)
    net.carrier.take("ACK")
    net.pbx.take(486)
    net.assert_all_freed()
