"""Rules at work in calls: the shipped ones, the guards, shadow mode, and a reload between two calls."""

from __future__ import annotations

import pytest

from gateway.rules import shipped_rules
from gateway.sip.message import Response
from tests.helpers import CONFIG, RULES, SDP, End, Net, Peer, hang_up, make_setup, text

SHIPPED = shipped_rules().text
KNOWS_607 = CONFIG.replace('kind = "pbx"', 'kind = "pbx"\nsupports = ["607", "608"]')


def rejection(
    net: Net,
    caller: Peer,
    callee: Peer,
    status: int,
    phrase: str | None = None,
    headers: str = "",
    body: bytes = b"",
    rings: bool = False,
) -> tuple[Response, bytes]:
    """What the caller gets, parsed and as bytes, when the callee rejects."""
    invite = caller.invite()
    caller.take(100)
    offer = callee.take_request("INVITE")
    if rings:
        callee.reply(offer, 180)
        caller.take(180)
    callee.reply(offer, status, phrase, headers=headers, body=body)
    callee.take("ACK")
    raw = caller.raw[0]
    (got,) = caller.inbox
    assert isinstance(got, Response)
    response = caller.take_response(got.status)
    caller.ack(invite, response)
    return response, raw


# -- the six decisions that the gateway exists for ---------------------------------------------------------


@pytest.mark.parametrize("cause", [1, 2, 3, 26])
def test_a_carriers_603_for_a_number_that_does_not_exist_is_404(cause: int) -> None:
    net = Net(rules=SHIPPED)
    response, _ = rejection(net, net.pbx, net.carrier, 603, headers=f"Reason: Q.850;cause={cause}")
    assert (response.status, response.phrase) == (404, b"Not Found")
    assert response.lines(b"Reason")[0].startswith(b"Reason: Q.850;cause=1")
    assert response.lines(b"Reason")[1] == b'Reason: SIP;cause=603;text="Decline"'
    net.assert_all_freed()


@pytest.mark.parametrize("phrase", ["Unallocated number", "Number not in service", "No such subscriber"])
def test_the_phrase_is_evidence_too(phrase: str) -> None:
    net = Net(rules=SHIPPED)
    response, _ = rejection(net, net.pbx, net.carrier, 603, phrase)
    assert response.status == 404
    assert net.only_record.original_phrase == phrase
    net.assert_all_freed()


@pytest.mark.parametrize(
    ("phrase", "headers"), [("Decline", "Reason: Q.850;cause=22"), ("Number changed", "")]
)
def test_a_carriers_603_for_a_number_that_is_gone_is_410(phrase: str, headers: str) -> None:
    net = Net(rules=SHIPPED)
    response, _ = rejection(net, net.pbx, net.carrier, 603, phrase, headers)
    assert (response.status, response.phrase) == (410, b"Gone")
    assert response.lines(b"Reason")[0].startswith(b"Reason: Q.850;cause=22")
    net.assert_all_freed()


def test_a_603_of_one_phone_of_the_pbx_is_486() -> None:
    net = Net(rules=SHIPPED)
    response, _ = rejection(net, net.carrier, net.pbx, 603, rings=True)
    assert (response.status, response.phrase) == (486, b"Busy Here")
    assert response.lines(b"Reason") == [
        b'Reason: Q.850;cause=17;text="User busy"',
        b'Reason: SIP;cause=603;text="Decline"',
    ]
    net.assert_all_freed()


def test_a_486_that_means_do_not_disturb_everywhere_is_603() -> None:
    net = Net(rules=SHIPPED)
    response, _ = rejection(net, net.carrier, net.pbx, 486, "Do Not Disturb")
    assert (response.status, response.phrase) == (603, b"Decline")
    assert response.lines(b"Reason") == [
        b'Reason: Q.850;cause=21;text="Call rejected"',
        b'Reason: SIP;cause=486;text="Do Not Disturb"',
    ]
    net.assert_all_freed()


def test_607_towards_a_peer_that_lacks_it_is_603_and_keeps_the_fact() -> None:
    net = Net(rules=SHIPPED)
    response, _ = rejection(net, net.pbx, net.carrier, 607)
    assert (response.status, response.phrase) == (603, b"Decline")
    assert b'Reason: SIP;cause=607;text="Unwanted"' in response.lines(b"Reason")
    record = net.only_record
    assert (record.original_status, record.emitted_status, record.guard) == (607, 603, "unwanted-607")
    net.assert_all_freed()


def test_603_that_stands_for_607_is_607_towards_a_peer_that_has_it() -> None:
    net = Net(KNOWS_607, SHIPPED)
    response, _ = rejection(net, net.pbx, net.carrier, 603, headers='Reason: SIP;cause=607;text="Unwanted"')
    assert (response.status, response.phrase) == (607, b"Unwanted")
    assert response.lines(b"Reason")[-1] == b'Reason: SIP;cause=607;text="Unwanted"'
    net.assert_all_freed()


def test_a_carriers_bare_603_is_no_evidence_and_stays() -> None:
    net = Net(rules=SHIPPED)
    response, _ = rejection(net, net.pbx, net.carrier, 603)
    assert response.status == 603
    assert b"Reason" not in response.index
    assert net.core.rewrites == {}
    net.assert_all_freed()


def test_607_goes_there_and_back_through_two_gateways_unchanged() -> None:
    """A peer without 607 in the middle: what leaves it as 603 is 607 again behind the next gateway."""
    first = Net(rules=SHIPPED)
    middle, _ = rejection(first, first.pbx, first.carrier, 607, "Unwanted")
    reasons = "\n".join(line.decode() for line in middle.lines(b"Reason"))
    second = Net(KNOWS_607, SHIPPED)
    last, _ = rejection(second, second.pbx, second.carrier, middle.status, middle.phrase.decode(), reasons)
    assert (last.status, last.phrase) == (607, b"Unwanted")
    first.assert_all_freed()
    second.assert_all_freed()


# -- what passes whatever rules say ------------------------------------------------------------------------

EVERYTHING_TO_480 = """
version = 1
[[rule]]
name = "everything"
when.status = "400-699"
then.status = 480
"""
REDRESS = [
    'Reason: SIP;cause=603;text="v=analytics1;url=https://example.com/redress";location=RLN',
    'reason : Q.850;cause=21;text="v=analytics1;url=https://example.com/redress;tel=+12155551212";location=LN',
]


def after_via(raw: bytes) -> bytes:
    """A response as bytes, without what each leg owns."""
    head, _, body = raw.partition(b"\r\n\r\n")
    owned = (b"via:", b"from:", b"to:", b"call-id:", b"cseq:", b"content-length:")
    return b"\r\n".join(
        [line for line in head.split(b"\r\n") if not line.lower().startswith(owned)] + [b"", body]
    )


@pytest.mark.parametrize("rings", [False, True])
@pytest.mark.parametrize("reason", REDRESS)
@pytest.mark.parametrize("config", [CONFIG, KNOWS_607])
def test_603_plus_passes_byte_for_byte(reason: str, rings: bool, config: str) -> None:
    net = Net(config, EVERYTHING_TO_480)
    headers = f"{reason}\nCall-Info: <https://c/jcard>;purpose=jwscard"
    _, raw = rejection(net, net.pbx, net.carrier, 603, "NETWORK blocked", headers, rings=rings)
    assert after_via(raw) == (
        b"SIP/2.0 603 NETWORK blocked\r\n%b\r\nCall-Info: <https://c/jcard>;purpose=jwscard\r\n\r\n"
        % reason.encode()
    )
    record = net.only_record
    assert (record.guard, record.rule) == ("network-blocked", "")
    net.assert_all_freed()


@pytest.mark.parametrize(
    ("phrase", "headers", "defect"),
    [
        ("Network Blocked", "", "no-text"),
        ("Decline", REDRESS[0], "phrase"),
        ("Network Blocked", 'Reason: SIP;cause=603;text="v=2"', "version"),
    ],
)
def test_a_near_miss_of_603_plus_is_a_plain_603_and_is_counted(
    phrase: str, headers: str, defect: str
) -> None:
    net = Net(rules=EVERYTHING_TO_480)
    response, _ = rejection(net, net.pbx, net.carrier, 603, phrase, headers)
    assert response.status == 480
    assert net.core.near_misses == {"carrier": 1}
    assert net.core.defects == {("carrier", defect): 1}
    net.assert_all_freed()


def test_the_receiving_trunk_alone_lifts_the_guard_on_603_plus() -> None:
    config = CONFIG.replace('kind = "pbx"', 'kind = "pbx"\nrewrite_network_blocked = true')
    net = Net(config, EVERYTHING_TO_480)
    response, _ = rejection(net, net.pbx, net.carrier, 603, "Network Blocked", REDRESS[0])
    assert response.status == 480
    net.assert_all_freed()


def test_608_passes_byte_for_byte_to_a_peer_that_has_it_8688() -> None:
    net = Net(KNOWS_607, EVERYTHING_TO_480)
    info = "Call-Info: <https://block.example.net/complaint-jws>;purpose=jwscard"
    _, raw = rejection(net, net.pbx, net.carrier, 608, "Rejected", info, rings=True)
    assert after_via(raw) == b"SIP/2.0 608 Rejected\r\n%b\r\n\r\n" % info.encode()
    assert net.only_record.guard == "rejected-608"
    net.assert_all_freed()


def test_608_towards_a_peer_that_lacks_it_is_603_and_keeps_fact_and_call_info_8688() -> None:
    net = Net(rules=EVERYTHING_TO_480)
    info = "<https://block.example.net/complaint-jws>;purpose=jwscard"
    response, _ = rejection(net, net.pbx, net.carrier, 608, headers=f"Call-Info: {info}")
    assert (response.status, text(response, b"Call-Info")) == (603, info)
    assert b'Reason: SIP;cause=608;text="Rejected"' in response.lines(b"Reason")
    net.assert_all_freed()


@pytest.mark.parametrize("status", [401, 407, 422, 423, 428, 436, 437, 438, 487, 491])
def test_what_steers_the_protocol_passes(status: int) -> None:
    net = Net(rules=EVERYTHING_TO_480)
    response, _ = rejection(net, net.pbx, net.carrier, status, headers="Reason: Q.850;cause=1")
    assert (response.status, text(response, b"Reason")) == (status, "Q.850;cause=1")
    assert net.only_record.guard == "protocol"
    net.assert_all_freed()


# -- what rules see and do ---------------------------------------------------------------------------------


def test_rules_see_how_long_it_took_and_whether_it_rang() -> None:
    rules = """
version = 1
[[rule]]
name = "voicemail-gone"
when.rang = true
when.ringing = "2s..10s"
when.after = ">4s"
when.status = 486
then.status = 410
"""
    for before, ringing, status in ((3, 5, 410), (3, 1, 486), (0.5, 2.5, 486), (3, 11, 486)):
        net = Net(rules=rules)
        net.pbx.invite()
        net.pbx.take(100)
        offer = net.carrier.take_request("INVITE")
        net.carrier.reply(offer, 100)
        net.run(before)
        net.carrier.reply(offer, 180)
        net.pbx.take(180)
        net.run(ringing)
        net.carrier.reply(offer, 486)
        net.pbx.take(status)
        net.assert_all_freed()


def test_rules_may_turn_the_gateways_own_408_into_something_truer() -> None:
    rules = """
version = 1
[[rule]]
name = "carrier-is-dead"
when.origin = "local"
when.status = 408
then.status = 503
"""
    net = Net(rules=rules)
    net.pbx.invite()
    net.pbx.take(100)
    net.run(32.1)
    response = net.pbx.take_response(503)
    assert response.lines(b"Reason")[0].startswith(b"Reason: Q.850;cause=41")
    record = net.only_record
    assert (record.origin, record.original_status, record.emitted_status) == ("local", 408, 503)
    net.assert_all_freed()


def test_a_rule_sets_and_removes_headers_and_labels_the_record() -> None:
    rules = """
version = 1
[[rule]]
name = "edit"
when.status = 503
then.status = 480
then.phrase = "Try later"
then.retry_after = 30
then.set.X-Why = "maintenance"
then.remove = ["Server"]
then.label = "planned"
"""
    net = Net(rules=rules)
    response, _ = rejection(
        net, net.pbx, net.carrier, 503, headers="Server: secret\nX-Why: theirs\nRetry-After: 5"
    )
    assert (response.status, response.phrase) == (480, b"Try later")
    assert (text(response, b"Retry-After"), text(response, b"x-why")) == ("30", "maintenance")
    assert b"Server" not in response.index
    assert net.only_record.label == "planned"
    net.assert_all_freed()


def test_a_shadow_rule_is_recorded_and_changes_nothing() -> None:
    net = Net(rules=RULES.replace("then.status", 'mode = "shadow"\nthen.status'))
    _, raw = rejection(net, net.pbx, net.carrier, 603, headers="Reason: Q.850;cause=1")
    assert after_via(raw) == b"SIP/2.0 603 Decline\r\nReason: Q.850;cause=1\r\n\r\n"
    record = net.only_record
    assert (record.mode, record.rule, record.shadow_rule) == ("shadow", "", "dead-number")
    assert (record.emitted_status, record.shadow_status) == (603, 404)
    assert net.core.rewrites == {}
    net.assert_all_freed()


def test_new_rules_take_effect_between_two_messages() -> None:
    net = Net(rules="version = 1\n")
    response, _ = rejection(net, net.pbx, net.carrier, 603, headers="Reason: Q.850;cause=1")
    assert response.status == 603
    net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.core.reload(make_setup(CONFIG, RULES))  # while this call rings
    net.carrier.reply(offer, 603, headers="Reason: Q.850;cause=1")
    net.carrier.take("ACK")
    net.pbx.take(404)
    assert [record.rule for record in net.records] == ["", "dead-number"]
    net.assert_all_freed()


def test_a_reload_disturbs_no_call_that_stands() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.core.reload(make_setup(CONFIG.replace("192.0.2.3", "192.0.2.99"), "version = 1\n"))
    net.carrier.reply(offer, 200, body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    caller, callee = End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer)
    callee.request("INFO", contact=False)  # from an address that is no trunk's any more
    net.pbx.reply(net.pbx.take_request("INFO"), 200)
    net.carrier.take(200)
    hang_up(caller, callee)
    net.carrier.invite()
    net.carrier.take(403)
    net.assert_all_freed()
