"""What the tests of reliable responses, session timers and dialog pings share."""

from __future__ import annotations

from gateway.sip.message import Request, Response
from tests.b2bua.test_timeouts import with_carrier
from tests.helpers import CONFIG, SDP, End, Net, text


def with_pbx(keys: str, config: str = CONFIG) -> str:
    """The configuration with further keys for the trunk "pbx"."""
    return config.replace('name = "pbx"\n', f'name = "pbx"\n{keys}\n')


TIMER = 'session_timer = "1800s"'
CALLEE_OWN = with_carrier(TIMER)
CALLER_OWN = with_pbx(TIMER)
BOTH_OWN = with_carrier(TIMER, CALLER_OWN)
UPDATES = "Allow: INVITE, ACK, BYE, UPDATE"
ANSWER = b"v=0 answer"
TORN_DOWN_AFTER = 1800 - 32


def timer_headers(message: Request | Response) -> dict[bytes, str]:
    """What a message says about session timers."""
    keys = (b"Session-Expires", b"Min-SE", b"Supported", b"Require")
    return {key: ", ".join(v.decode() for v in message.values(key)) for key in keys if key in message.index}


def call(
    net: Net, offer: str = "", answer: str = "", answer_body: bytes = ANSWER, body: bytes = SDP
) -> tuple[End, End, Request, Response]:
    """Play a call up to the ACK: both ends, the INVITE that the callee got, the 2xx that the caller got."""
    sent = net.pbx.invite(body, headers=offer)
    net.pbx.take(100)
    got = net.carrier.take_request("INVITE")
    net.carrier.reply(got, 200, headers=answer, body=answer_body)
    response = net.pbx.take_response(200)
    net.pbx.ack(sent, response)
    net.carrier.take("ACK")
    return End.of_caller(net.pbx, sent, response), End.of_callee(net.carrier, got), got, response


def torn_down(net: Net, reason: str = "session expired") -> None:
    """Both sides get a BYE that says why, and so does the record."""
    for peer in (net.pbx, net.carrier):
        bye = peer.take_request("BYE")
        assert text(bye, b"Reason") == f'SIP;cause=408;text="{reason}"'
        peer.reply(bye, 200)
    assert (net.only_record.ended_by, net.only_record.end_reason) == ("gateway", reason)
    net.assert_all_freed()
