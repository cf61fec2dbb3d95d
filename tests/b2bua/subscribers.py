"""A subscription played out: SUBSCRIBE, the NOTIFYs in it, and its end (RFC 6665)."""

from __future__ import annotations

from gateway.sip.message import Request
from tests.helpers import End, Net, Peer

ACTIVE = "Subscription-State: active;expires=600"
TERMINATED = "Subscription-State: terminated;reason=noresource"
EVENT = "Event: dialog;id=a7"


def subscribe(net: Net, asks: Peer, tells: Peer, headers: str = "Expires: 600") -> tuple[End, End]:
    """Play a SUBSCRIBE and its 200; return both ends, the subscriber's and the notifier's."""
    sent = asks.request("SUBSCRIBE", headers=f"{EVENT}\n{headers}", seq=40)
    got = tells.take_request("SUBSCRIBE")
    tells.reply(got, 200, headers="Expires: 600")
    return End.of_caller(asks, sent, asks.take_response(200)), End.of_callee(tells, got)


def notify(tells: End, asks: End, state: str = ACTIVE, status: int = 200, event: str = EVENT) -> Request:
    """Play a NOTIFY and its answer; return it as the subscriber got it."""
    tells.request("NOTIFY", headers=f"{event}\n{state}", body=b"<dialog-info/>")
    got = asks.peer.take_request("NOTIFY")
    asks.peer.reply(got, status)
    tells.peer.take(status)
    return got


def end(tells: End, asks: End, event: str = EVENT) -> None:
    """Let the notifier end it."""
    notify(tells, asks, TERMINATED, event=event)
