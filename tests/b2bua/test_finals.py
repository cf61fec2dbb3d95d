"""The corpus of final responses (``tests/corpus/finals``), each played through the gateway and `explain`."""

from __future__ import annotations

import re

import pytest

from gateway.commands.explain import explain
from gateway.rules import shipped_rules
from gateway.sip.message import parse
from tests.b2bua.finals import FINALS, FOLDER, Final
from tests.commands.conftest import Place, place
from tests.helpers import CONFIG, Net

__all__ = ["place"]
SHIPPED = shipped_rules().text
NO_RULES = "version = 1\n"
KNOWS = CONFIG.replace('kind = "pbx"', 'kind = "pbx"\nsupports = ["607", "608"]')
EACH = pytest.mark.parametrize("final", FINALS, ids=[final.file.removesuffix(".sip") for final in FINALS])
PASSING = [final for final in FINALS if final.outcome == "passes"]


def test_the_table_and_the_folder_name_the_same_files_and_there_are_enough() -> None:
    assert sorted(final.file for final in FINALS) == sorted(path.name for path in FOLDER.glob("*.sip"))
    assert len(FINALS) >= 60
    assert {final.outcome for final in FINALS} == {"passes", "dropped"}
    assert all(final.counted for final in FINALS if final.outcome == "dropped")


@EACH
@pytest.mark.parametrize("rules", [False, True], ids=["without-rules", "shipped-rules"])
def test_the_caller_is_told_what_the_table_says(final: Final, rules: bool) -> None:
    net = Net(KNOWS if final.knows else CONFIG, SHIPPED if rules else NO_RULES)
    caller, callee = (net.pbx, net.carrier) if final.answers == "carrier" else (net.carrier, net.pbx)
    invite = caller.invite()
    caller.take(100)
    offer = callee.take_request("INVITE")
    if final.rang:
        callee.reply(offer, 180, tag="early")
        early = caller.take_response(180).to_tag
    callee.send(final.answering(offer))
    if final.outcome == "dropped":
        callee.nothing()
        caller.nothing()
        assert {**net.endpoint.malformed, **net.endpoint.dropped} == {final.counted: 1}
        callee.reply(offer, 480)  # the next one counts
        callee.take("ACK")
        caller.ack(invite, caller.take_response(480))
        net.assert_all_freed()
        return

    ack = callee.take_request("ACK")  # RFC 3261 17.1.1.3: hop by hop, of the same transaction
    assert (ack.via.branch, ack.call_id, ack.cseq[0]) == (offer.via.branch, offer.call_id, offer.cseq[0])
    data = caller.raw[0]
    response = caller.take_response(int(final.expected(rules)[0][:3]))
    caller.ack(invite, response)
    start, reasons = final.expected(rules)
    assert data.split(b"\r\n", 1)[0] == b"SIP/2.0 " + start
    assert response.lines(b"Reason") == reasons
    assert_passes(data, final)
    assert response.call_id == invite.call_id
    assert response.lines(b"CSeq") == invite.lines(b"CSeq")
    assert len(response.lines(b"Via")) == 1
    assert response.to_tag not in (b"", b"callee", b"another")
    if final.rang:
        assert response.to_tag == early
    record = net.only_record
    assert record.original_status == int(final.start[:3])
    assert record.emitted_status == response.status
    assert (record.rule or record.guard) == (final.by if rules else final.guard)
    assert sum(net.core.near_misses.values()) == final.near_miss
    assert (net.endpoint.malformed, net.endpoint.dropped) == ({}, {})
    net.assert_all_freed()


def assert_passes(data: bytes, final: Final) -> None:
    """Each header line of the file that a leg does not own came out as it was, in order, and the body too."""
    head, _, body = data.partition(b"\r\n\r\n")
    got = re.split(rb"\r\n(?![ \t])", head)[1:]
    owned = (b"Via:", b"From:", b"To:", b"Call-ID:", b"CSeq:", b"Content-Length:")
    rest = [line for line in got if not line.startswith(owned) and not re.match(rb"(?i)reason[ \t]*:", line)]
    assert rest == final.lines(reasons=False)
    assert body == final.expected_body
    assert f"Content-Length: {len(body)}".encode() in got


@EACH
def test_explain_says_what_the_gateway_does(final: Final, place: Place) -> None:
    net = Net()
    net.pbx.invite()
    net.run()
    message = place.write("message.sip", final.answering(net.carrier.take_request("INVITE")))
    rules = place.write("rules.toml", SHIPPED)
    config = place.write("gateway.toml", KNOWS if final.knows else CONFIG)
    from_, to = ("carrier", "pbx") if final.answers == "carrier" else ("pbx", "carrier")
    options = {"from_": from_, "to": to, "rules": rules, "config": config, "json": True, "rang": final.rang}
    code = place.run(explain, str(message), **options)
    if final.outcome == "dropped":
        assert code in (0, 2)  # what was pasted may have lost its frame, and is explained without one
        return
    assert code == 0, place.err
    start, _ = final.expected(rules=True)
    said = place.json
    assert said["emitted"]["status"] == int(start[:3])
    assert (said["rule"] or said["guard"]) == final.by
    assert said["near_miss"] == final.near_miss


@pytest.mark.parametrize("final", PASSING, ids=[final.file.removesuffix(".sip") for final in PASSING])
def test_what_the_caller_gets_can_be_read_again_and_says_one_cause(final: Final) -> None:
    """What leaves after a rewrite is no riddle itself: at most one Q.850 and one SIP value (RFC 3326 2)."""
    net = Net(KNOWS if final.knows else CONFIG, SHIPPED)
    caller, callee = (net.pbx, net.carrier) if final.answers == "carrier" else (net.carrier, net.pbx)
    caller.invite()
    caller.forget()
    offer = callee.take_request("INVITE")
    callee.send(final.answering(offer))
    data = caller.raw[0]
    assert parse(data) is not None
    start, _ = final.expected(rules=True)
    if start != final.expected(rules=False)[0]:
        values = [line for line in data.split(b"\r\n") if line.lower().startswith(b"reason")]
        assert sum(b"Q.850" in value.upper() for value in values) == 1
        assert sum(len(re.findall(rb"(?i);\s*cause\s*=", value)) for value in values) == len(values)
